//! Who has a device node open.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rialto_core::model::{Device, Proof};

/// Between two looks at who holds a node.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What "nobody has it open" rests on here: only root sees the open files of every process. Anybody else sees those of processes of
/// the same user, tasks among them; that a process of another user has no business with the node is not shown.
pub(super) fn proof() -> Proof {
    if rustix::process::geteuid().is_root() { Proof::NodeClosed } else { Proof::TreeGone }
}

/// The release step: waits until no process that can be seen has a node of `device` open. Blocks for at most `timeout`.
///
/// # Errors
/// Says who holds it.
pub(crate) fn release(device: &Device, timeout: Duration) -> Result<(), Arc<str>> {
    let end = Instant::now() + timeout;
    loop {
        let Some(holder) = device.nodes.iter().find_map(|node| holder(Path::new(&**node))) else { return Ok(()) };
        if Instant::now() >= end {
            return Err(holder.into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A process that has `node` open, in words.
fn holder(node: &Path) -> Option<String> {
    let number = fs::metadata(node).ok()?.rdev();
    let own = std::process::id();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids =
        processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != own);
    let pid = pids.find(|pid| has_open(*pid, number))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({}) has {} open", name.trim(), node.display()))
}

fn has_open(pid: u32, number: u64) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    // A device number of 0 belongs to files that are no device.
    files.flatten().any(|file| number != 0 && fs::metadata(file.path()).is_ok_and(|metadata| metadata.rdev() == number))
}
