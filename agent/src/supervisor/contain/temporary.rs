//! The group's own folders for temporary files.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, listxattr, statx};

use super::ContainError;
use crate::quota;

/// Below the supervisor's folder, and where they are seen.
const FOLDERS: [(&str, &str); 2] = [("tmp", "/tmp"), ("var-tmp", "/var/tmp")];
const MODE: u32 = 0o1777;
/// A folder that was never large; what was does not always shrink.
const SMALL_BYTES: u64 = 4096;

/// Makes those that the machine has too.
pub(super) fn make() -> Result<Vec<(&'static str, &'static str)>, ContainError> {
    let is_there = |path: &str| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let made: Vec<_> = FOLDERS.into_iter().filter(|(_, path)| is_there(path)).collect();
    for (own, path) in &made {
        let make = || match fs::create_dir(own) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::set_permissions(own, Permissions::from_mode(MODE)),
        };
        make().map_err(ContainError::at(*path))?;
    }
    Ok(made)
}

/// Whether a file of the supervisor's folder has the name of one.
pub(in crate::supervisor) fn is_temporary(name: &str) -> bool {
    FOLDERS.iter().any(|(own, _)| *own == name)
}

/// Whether one is as it was made, so that another group could not tell who had it before: a task of root can change more of it than what
/// is in it.
///
/// # Errors
/// It can't be looked at.
pub(in crate::supervisor) fn is_untouched(folder: &Path) -> io::Result<bool> {
    let basic = StatxFlags::BASIC_STATS;
    let stat = statx(CWD, folder, AtFlags::SYMLINK_NOFOLLOW, basic)?;
    let attributes = StatxAttributes::from_bits_retain(stat.stx_attributes.bits() & stat.stx_attributes_mask.bits());
    let marked = StatxAttributes::COMPRESSED
        | StatxAttributes::IMMUTABLE
        | StatxAttributes::APPEND
        | StatxAttributes::NODUMP
        | StatxAttributes::ENCRYPTED;
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let is_as_made = u32::from(stat.stx_mode) & 0o7777 == MODE
        && (stat.stx_uid, stat.stx_gid) == own
        && stat.stx_size <= SMALL_BYTES
        && !attributes.intersects(marked);
    let has_more = match listxattr(folder, &mut [0_u8; 256]) {
        Ok(bytes) => bytes > 0,
        Err(rustix::io::Errno::RANGE) => true,
        Err(rustix::io::Errno::NOTSUP) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(is_as_made && !has_more && fs::read_dir(folder)?.next().is_none() && !quota::is_someones(folder)?)
}

#[cfg(test)]
#[path = "temporary_tests.rs"]
mod tests;
