//! Workloads whose jobs the shipped frameworks run: their own policies, as they are, behind the production driver.
//!
//! As in a real cluster each pipeline and each analytics job is a framework of its own, which comes with the job and leaves with it. The
//! policy decides; around it [`Shipped`] says how long its tasks take, reports what they would have uploaded, and keeps the account. The web
//! framework stays, with all services of the workload: [`Services`].

mod analytics;
mod ci;
mod web;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{AgentId, GangPart, OfferId, Operation, Role, Status, Task, TaskId, TaskState, Term, Time};
use rialto_core::scheduler::{Happening, Out, Scheduler, Wish};

pub(super) use self::web::{MAX_SIZES, Services, check_size};
use super::policy::{Ask, Entry, Fate, Order, Planner};
use super::scenario::Framework;
use crate::market::{Think, body};

/// Which policy runs the jobs of a workload.
pub(super) enum Crew {
    /// One framework for all of them.
    Library(Box<Planner>),
    Ci(Box<Shipped<rialto_ci::policy::CiPolicy>>),
    Analytics(Box<Shipped<rialto_analytics::policy::Policy>>),
    /// One framework for all of them.
    Web(Box<Services>),
}

/// What a framework of its own is told of its job.
pub(super) struct Errand {
    pub(super) role: Role,
    pub(super) ask: Ask,
    /// How long the job runs on a machine of speed 1.
    pub(super) duration: Duration,
    /// By the name of the pool: how much faster work is done there.
    pub(super) speeds: Arc<BTreeMap<Arc<str>, f64>>,
    pub(super) max_price: Option<rialto_core::model::Price>,
}

impl Crew {
    /// The framework of one job; none where one framework has them all.
    pub(super) fn of(framework: Framework, errand: Errand) -> Option<Self> {
        match framework {
            Framework::Library | Framework::Web => None,
            Framework::Ci => Some(Self::Ci(Box::new(Shipped::new(ci::policy(&errand), errand)))),
            Framework::Analytics => Some(Self::Analytics(Box::new(Shipped::new(analytics::policy(&errand), errand)))),
        }
    }

    /// What became of its jobs, from the beginning.
    pub(super) fn log(&self) -> &[Entry] {
        match self {
            Self::Library(planner) => &planner.log,
            Self::Ci(shipped) => &shipped.log,
            Self::Analytics(shipped) => &shipped.log,
            Self::Web(services) => &services.log,
        }
    }
}

impl Scheduler for Crew {
    type Command = Order;
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<Order>, out: &mut Out<Think>) {
        match self {
            Self::Library(planner) => planner.on_event(now, event, out),
            Self::Ci(shipped) => shipped.on_event(now, event, out),
            Self::Analytics(shipped) => shipped.on_event(now, event, out),
            Self::Web(services) => services.on_event(now, event, out),
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        match self {
            Self::Library(planner) => planner.next_deadline(),
            Self::Ci(shipped) => shipped.policy.next_deadline(),
            Self::Analytics(shipped) => shipped.policy.next_deadline(),
            Self::Web(services) => services.next_deadline(),
        }
    }
}

/// What there is to know of a shipped policy to run it without its shell.
pub(super) trait Foreman: Scheduler {
    /// What the shell tells it when a task has ended well: what the task has uploaded.
    fn report(task: &TaskId) -> Option<Self::Command>;

    /// What an effect says of the whole job.
    fn judge(effect: &Self::Effect) -> Verdict;

    /// What the shell tells it when the job is over, so that it leaves the cluster; none if it leaves by itself.
    fn leave() -> Option<Self::Command>;
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoesOn,
    Passed,
    /// Its framework will not try again.
    GivenUp,
}

/// A shipped policy with one job.
pub(super) struct Shipped<P> {
    policy: P,
    errand: Errand,
    log: Vec<Entry>,
    newest: OfferId,
    /// How fast the agents are that have offered something.
    speeds: BTreeMap<AgentId, f64>,
    /// The tasks that stand for the job now, and whether each runs.
    tasks: BTreeMap<TaskId, bool>,
    started: Option<Time>,
    is_over: bool,
}

impl<P: Foreman> Shipped<P> {
    const fn new(policy: P, errand: Errand) -> Self {
        Self {
            policy,
            errand,
            log: Vec::new(),
            newest: OfferId::new(Term(0), 0),
            speeds: BTreeMap::new(),
            tasks: BTreeMap::new(),
            started: None,
            is_over: false,
        }
    }

    fn on_event(&mut self, now: Time, event: Happening<Order>, out: &mut Out<Think>) {
        // Its only job came with it.
        let Ok(event) = event.or_command() else { return };
        let mut report = None;
        match &event {
            Happening::Offers => self.note_speeds(out),
            Happening::Rejected { tasks, .. } => self.tasks.retain(|task, _| !tasks.contains(task)),
            Happening::Update(status) => {
                self.note(now, status);
                report = Some(status).filter(|status| status.state == TaskState::Finished);
            }
            _ => {}
        }
        let report = report.and_then(|status| P::report(&status.task));
        self.tell(now, event, out);
        if let Some(report) = report {
            self.tell(now, Happening::Command(report), out);
        }
    }

    /// The policy decides.
    fn tell(&mut self, now: Time, event: Happening<P::Command>, out: &mut Out<Think>) {
        let wishes = out.lend(|out| self.policy.on_event(now, event, out));
        for wish in wishes {
            match wish.or_effect() {
                Ok(wish) => out.wish(self.timed(wish)),
                Err(effect) => self.conclude(now, P::judge(&effect), out),
            }
        }
    }

    fn conclude(&mut self, now: Time, verdict: Verdict, out: &mut Out<Think>) {
        let fate = match verdict {
            Verdict::Passed => Fate::Finished,
            Verdict::GivenUp => Fate::GivenUp,
            Verdict::GoesOn => return,
        };
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.log.push(Entry { at: now, job: 0, fate });
        if let Some(leave) = P::leave() {
            self.tell(now, Happening::Command(leave), out);
        }
    }

    fn note_speeds(&mut self, out: &Out<Think>) {
        for offer in out.offers_after(self.newest) {
            self.newest = offer.id;
            let pool = offer.info.name.rsplit_once('-').map_or("", |(pool, _)| pool);
            self.speeds.insert(offer.agent, self.errand.speeds.get(pool).copied().unwrap_or(1.0));
        }
    }

    /// The job has started when all of its tasks run, and is interrupted when one of them is lost.
    fn note(&mut self, now: Time, status: &Status) {
        let Some(runs) = self.tasks.get_mut(&status.task) else { return };
        match status.state {
            TaskState::Running => {
                *runs = true;
                let running = self.tasks.values().filter(|runs| **runs).count();
                if self.started.is_none() && running == self.errand.ask.traits.members as usize {
                    self.started = Some(now);
                    self.log.push(Entry { at: now, job: 0, fate: Fate::Started });
                }
            }
            TaskState::Finished => {}
            state if state.is_terminal() || state == TaskState::Unreachable => {
                self.tasks.remove(&status.task);
                if let Some(started) = self.started.take() {
                    self.log.push(Entry { at: now, job: 0, fate: Fate::Interrupted(now.since(started)) });
                }
            }
            _ => {}
        }
    }

    /// The wish, with tasks that run as long as they do where they are started; the slowest machine sets the pace of a gang.
    fn timed(&mut self, mut wish: Wish<Think>) -> Wish<Think> {
        match &mut wish {
            Wish::Accept { agent, operations, .. } => {
                let speed = self.speed_of(*agent);
                for operation in operations {
                    if let Operation::Launch(group) = operation {
                        group.tasks.iter_mut().for_each(|task| self.time(task, speed));
                    }
                }
            }
            Wish::AcceptGang { parts, .. } => {
                let speed = parts.iter().map(|part| self.speed_of(part.agent)).fold(f64::INFINITY, f64::min);
                let tasks = |part: &mut GangPart| std::mem::take(&mut part.groups);
                for part in parts {
                    let mut groups = tasks(part);
                    groups.iter_mut().flat_map(|group| &mut group.tasks).for_each(|task| self.time(task, speed));
                    part.groups = groups;
                }
            }
            _ => {}
        }
        wish
    }

    fn speed_of(&self, agent: AgentId) -> f64 {
        self.speeds.get(&agent).copied().unwrap_or(1.0)
    }

    fn time(&mut self, task: &mut Task, speed: f64) {
        task.body = body(Some(self.errand.duration.div_f64(speed)));
        self.tasks.insert(task.id.clone(), false);
    }
}

#[cfg(test)]
mod tests;
