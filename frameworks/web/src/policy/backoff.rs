use std::time::Duration;

use rialto_sdk::core::model::Time;

use crate::spec::Restart;

/// How often the cluster may lose instances in a row before starting them again is slowed down too.
const FREE_LOSSES: u32 = 3;

/// The pause before instances are started again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    ends: u32,
    losses: u32,
    until: Option<Time>,
}

impl Backoff {
    /// Until when nothing is started.
    pub(super) const fn until(&self) -> Option<Time> {
        self.until
    }

    /// How many instances have ended by themselves, one after the other.
    pub(super) const fn ends(&self) -> u32 {
        self.ends
    }

    /// An instance ended by itself after it had run for `lasted`.
    pub(super) fn on_crash(&mut self, now: Time, lasted: Duration, restart: &Restart) {
        // Several that end at once are one reason to pause, not several.
        if self.until.is_some_and(|until| until > now) {
            return;
        }
        self.ends = if lasted >= restart.reset_after { 1 } else { self.ends.saturating_add(1) };
        self.until = Some(now + restart.pause(self.ends));
    }

    /// The cluster lost an instance after it had run for `lasted`: not its fault, so it is started at once, unless that goes on and on.
    pub(super) fn on_loss(&mut self, now: Time, lasted: Duration, restart: &Restart) {
        self.losses = if lasted.is_zero() { self.losses.saturating_add(1) } else { 1 };
        if let Some(slow @ 1..) = self.losses.checked_sub(FREE_LOSSES) {
            self.until = self.until.max(Some(now + restart.pause(slow)));
        }
    }
}
