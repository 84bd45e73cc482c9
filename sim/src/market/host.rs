//! The process of a framework: a driver around its policy, and the time that the policy takes to think.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rialto_core::gate::{Outbox, Output};
use rialto_core::model::{Call, ClientId, FrameworkInfo, PeerId, Time};
use rialto_core::scheduler::{Driver, DriverConfig, DriverEffect, DriverInput, DriverRecord, Durability, Scheduler};

/// What the policy has just decided took it so long: its calls go out when that has passed, and what comes in meanwhile waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Think(pub(crate) Duration);

pub(super) struct Host<S: Scheduler> {
    number: usize,
    pub(super) driver: Driver<S>,
    pub(super) inbox: VecDeque<DriverInput<S::Command>>,
    /// What it will say when it has thought; none while it listens.
    thinking: Option<Vec<Call>>,
    tick: Option<Time>,
    out: Outbox<DriverRecord, DriverEffect<Think>>,
}

impl<S: Scheduler<Effect = Think>> Host<S> {
    pub(super) fn new(number: usize, info: FrameworkInfo, policy: S) -> Self {
        let config = DriverConfig { info, client: ClientId(number as u128 + 1), durability: Durability::Volatile };
        let driver =
            Driver::new(config, policy, &BTreeMap::new()).expect("nothing is saved, so nothing can be unreadable");
        Self { number, driver, inbox: VecDeque::new(), thinking: None, tick: None, out: Vec::new() }
    }

    pub(super) const fn peer(&self) -> PeerId {
        PeerId(self.number as u64)
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.thinking.is_some()
    }

    /// Whether the tick that is here is the one that it waits for.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        self.tick.take_if(|tick| *tick <= now).is_some()
    }

    /// The deadline for which no tick is set yet.
    pub(super) fn wants_tick(&mut self, now: Time) -> Option<Time> {
        if self.is_busy() {
            return None;
        }
        let deadline = self.driver.next_deadline()?.max(now);
        if self.tick.is_some_and(|tick| tick <= deadline) {
            return None;
        }
        self.tick = Some(deadline);
        Some(deadline)
    }

    /// One step: what it wants to say, and how long it takes to.
    pub(super) fn step(&mut self, now: Time, input: DriverInput<S::Command>) -> (Vec<Call>, Duration) {
        self.driver.step(now, input, &mut self.out);
        let (mut calls, mut thinks) = (Vec::new(), Duration::ZERO);
        for output in self.out.drain(..) {
            match output {
                Output::Effect(effect) | Output::Ungated(effect) => match effect {
                    DriverEffect::ToMaster { call, .. } => calls.push(call),
                    DriverEffect::App(Think(duration)) => thinks += duration,
                    DriverEffect::Ended(_) => {}
                },
                Output::Persist(_) => {}
            }
        }
        (calls, thinks)
    }

    pub(super) fn think(&mut self, calls: Vec<Call>) {
        self.thinking = Some(calls);
    }

    pub(super) fn done(&mut self) -> Vec<Call> {
        self.thinking.take().unwrap_or_default()
    }
}
