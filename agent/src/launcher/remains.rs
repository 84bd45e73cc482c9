use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::supervisor::client::{self, ClientError};

/// How long processes get to die of SIGKILL; longer only if the kernel is stuck in a driver or a file system.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Ends the processes that a dead supervisor left behind, as far as they can be found.
pub(super) fn kill(directory: &Path) -> Result<(), ClientError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = client::left_behind(directory)?;
        if left.is_empty() || Instant::now() > end {
            return Ok(());
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            // One that is gone already needs no signal.
            let _gone = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
