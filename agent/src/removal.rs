//! Removing what tasks have left.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// How deep folders may lie in each other that this user can't look into.
const MAX_DEPTH: u32 = 256;

/// Removes a folder with all that is in it; one that is not there is as good. Nothing runs there any more. Who is not root may not look into
/// every folder that is its own: an overlay makes one, and tasks make others; those are opened first.
///
/// # Errors
/// Something in it can't be removed.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            unlock(folder, MAX_DEPTH);
            fs::remove_dir_all(folder)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Lets this user look into a folder and those below, as far as they are its own. What can't be opened is told by the removal that follows.
fn unlock(folder: &Path, depth: u32) {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    if depth == 0 || !is_folder || fs::set_permissions(folder, Permissions::from_mode(0o700)).is_err() {
        return;
    }
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.for_each(|entry| unlock(&entry.path(), depth - 1));
}

#[cfg(test)]
#[path = "removal_tests.rs"]
mod tests;
