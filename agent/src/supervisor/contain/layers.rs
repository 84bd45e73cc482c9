//! Whether who is not root can stack the layers of an image.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{XattrFlags, setxattr};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use super::ContainError;
use super::image::mount_overlay;
use crate::supervisor::protocol::{ImageRoot, Right};
use crate::supervisor::sys;

/// Stacks layers in a folder that is there for that, as an image's are stacked, and removes a file of the lower one.
pub(in crate::supervisor) fn probe_layers(folder: &Path) -> Result<(), ContainError> {
    sys::unshare(UnshareFlags::NEWNS).map_err(ContainError::at("namespaces"))?;
    let follow = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", follow).map_err(ContainError::at("mounts of the machine"))?;
    let layer = folder.join("layers/one");
    let own = ["root", "upper", "work"].map(|part| folder.join(part));
    let made = own.iter().chain([&layer]).try_for_each(fs::create_dir_all);
    made.and_then(|()| fs::write(layer.join("file"), "")).map_err(ContainError::at(folder.display().to_string()))?;
    // By this a layer says that a folder has nothing of those below.
    let marked = setxattr(&layer, "user.overlay.opaque", b"y", XattrFlags::empty());
    marked.map_err(ContainError::at("attributes of users"))?;
    let opened = fs::File::open(folder).map(OwnedFd::from).map_err(ContainError::at(folder.display().to_string()))?;
    mount_overlay(&ImageRoot { layers: vec![layer], runtime: None }, &opened, Right::UserNamespace)?;
    fs::remove_file(folder.join("root/file")).map_err(ContainError::at("removal of a layer's file"))
}
