//! The condition of a device: what its source tells, debounced, so that one bad look does not take it out and one good look does not
//! bring it back.
//!
//! `healthy ⇄ degraded` until [`BAD`] of the last [`LOOKS`] looks were bad, then `unhealthy`; after as many good looks
//! `probation`, and after [`TRIAL`] without a bad look what its source says. A device that is taken out [`FALLS`] times within
//! [`FALLS_WITHIN`] is condemned: it does not come back before a person has seen to it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Health, Time};

/// How many looks count.
pub(super) const LOOKS: usize = 5;
/// How many of them must be bad for the device to be unhealthy.
pub(super) const BAD: usize = 3;
/// Between two looks while it is not clear what the device is. What its source tells in between is a look as well.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a device that was unhealthy is on trial.
pub(super) const TRIAL: Duration = Duration::from_secs(60);
/// How often a device may be taken out before it is condemned.
pub(super) const FALLS: usize = 4;
/// Within this time.
pub(super) const FALLS_WITHIN: Duration = Duration::from_secs(3600);

/// What is made of what a device's source tells.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// What its source told last.
    told: Health,
    health: Health,
    /// Whether each of the last looks was bad, the newest last.
    looks: VecDeque<bool>,
    /// When it was taken out lately.
    falls: VecDeque<Time>,
    trial_ends: Option<Time>,
    look_at: Option<Time>,
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Same,
    /// Its health.
    Changed,
    /// It was taken out once too often.
    Condemned,
}

impl Condition {
    /// The condition of a device that was not known before: its source is believed.
    pub(super) fn new(told: Health) -> Self {
        Self { told, health: told, looks: VecDeque::new(), falls: VecDeque::new(), trial_ends: None, look_at: None }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// When it is to be looked at again, if it is.
    pub(super) fn look_at(&self) -> Option<Time> {
        self.look_at
    }

    /// Its source tells of it.
    pub(super) fn hear(&mut self, now: Time, told: Health) -> Verdict {
        let news = self.told != told;
        self.told = told;
        if news || self.look_at.is_some() { self.look(now) } else { Verdict::Same }
    }

    /// Its source does not see it any more: there is nothing to debounce.
    pub(super) fn lose(&mut self, now: Time) -> Verdict {
        self.told = Health::Unhealthy;
        self.turn(now, Health::Unhealthy)
    }

    /// A look at what its source told last.
    pub(super) fn look(&mut self, now: Time) -> Verdict {
        self.looks.push_back(!self.told.is_usable());
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        self.turn(now, self.judge(now))
    }

    /// A person has seen to it: what was before counts no more.
    pub(super) fn pardon(&mut self) {
        *self = Self::new(self.told);
    }

    fn judge(&self, now: Time) -> Health {
        let bad = self.looks.iter().filter(|bad| **bad).count();
        let good = self.looks.len() - bad;
        match self.health {
            Health::Unknown => self.told,
            Health::Unhealthy if good < BAD => Health::Unhealthy,
            Health::Unhealthy => Health::Probation,
            Health::Probation if bad > 0 => Health::Unhealthy,
            Health::Probation if self.trial_ends.is_some_and(|end| end > now) => Health::Probation,
            _ if bad >= BAD => Health::Unhealthy,
            _ if !self.told.is_usable() => Health::Degraded,
            _ => self.told,
        }
    }

    /// Its health is `next` from now on.
    fn turn(&mut self, now: Time, next: Health) -> Verdict {
        let before = std::mem::replace(&mut self.health, next);
        if before == next {
            self.look_at = self.next_look(now);
            return Verdict::Same;
        }
        if !(before.is_usable() && next.is_usable()) {
            self.looks.clear();
        }
        self.trial_ends = (next == Health::Probation).then(|| now + TRIAL);
        self.look_at = self.next_look(now);
        if next != Health::Unhealthy {
            return Verdict::Changed;
        }
        self.falls.retain(|fall| *fall + FALLS_WITHIN > now);
        self.falls.push_back(now);
        if self.falls.len() >= FALLS { Verdict::Condemned } else { Verdict::Changed }
    }

    /// Nothing, once what the source tells is what the device is taken for: a quiet device costs nothing.
    fn next_look(&self, now: Time) -> Option<Time> {
        match self.health {
            Health::Unknown => None,
            Health::Probation => self.trial_ends,
            Health::Unhealthy => self.told.is_usable().then(|| now + LOOK_EVERY),
            Health::Healthy | Health::Degraded => self.looks.contains(&true).then(|| now + LOOK_EVERY),
        }
    }
}
