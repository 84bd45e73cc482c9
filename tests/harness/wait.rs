//! Waiting for conditions, never for time to pass.

use std::time::{Duration, Instant};

/// The longest that anything may take, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `condition` holds.
///
/// # Panics
/// If it does not hold within [`PATIENCE`].
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    find(what, || condition().then_some(()));
}

/// Looks again and again until `look` finds something.
///
/// # Panics
/// If it finds nothing within [`PATIENCE`].
#[track_caller]
pub(crate) fn find<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(PAUSE);
    }
}
