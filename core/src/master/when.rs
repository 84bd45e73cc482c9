//! When it will run, and what would help: what the pure answers need is taken out of the master's state, and no more of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::questions::Questions;
use super::state::{Agent, Framework};
use super::{Master, Target};
use crate::allocator::agent_classes::{Class, ClassId};
use crate::allocator::explain::{CauseKind, Outlook};
use crate::allocator::help::{Advice, Effect, Site, Step, StepKind, WaitAdvice, what_would_help};
use crate::allocator::history::Estimate;
use crate::allocator::when::{Bound, Forecast, Freed, Machine, Queued, Replayed, Snapshot, WaitForecast};
use crate::model::{AgentId, FrameworkId, Reject, Role, Shape};

/// The most machines that a replay looks at: those on which something ends first.
const MACHINES_MAX: usize = 1000;
/// The most shapes that wait in a replay.
const WAITING_MAX: usize = 1000;
/// For so many of these, those that come first, it is looked where they have room at once.
const ROWS_MAX: usize = 64;

impl Master {
    /// When what `target` names will run.
    pub(super) fn when(&mut self, target: &Target) -> Result<Forecast, Reject> {
        self.refresh_classes();
        let (id, name) = asked(target)?;
        let order = self.sorter.order();
        let framework = self.frameworks.get(&id).ok_or(Reject::UnknownFramework)?;
        let shapes = asked_shapes(framework, name);
        let waits = shapes.map(|(role, shape)| self.forecast(id, role, shape, &order)).collect();
        Ok(Forecast { subject: format!("framework {id} ({})", framework.record.info.name), waits })
    }

    fn forecast(&self, id: FrameworkId, role: &Role, shape: &Shape, order: &[(Role, FrameworkId)]) -> WaitForecast {
        let row = self.row(id, role, shape);
        let what = self.waiting(id, role, shape);
        let waited = what.waited;
        let history = &self.questions.history;
        let estimate = row.and_then(|row| history.estimate_after(role, &row.asks, waited));
        let rest = |estimate: Estimate| Estimate {
            waits: estimate.waits,
            median: estimate.median.saturating_sub(waited),
            p90: estimate.p90.saturating_sub(waited),
        };
        WaitForecast {
            what,
            bound: self.bound(id, role, shape, order),
            estimate: estimate.map(rest),
            calibration: history.calibration(),
        }
    }

    fn bound(&self, id: FrameworkId, role: &Role, shape: &Shape, order: &[(Role, FrameworkId)]) -> Bound {
        if self.outlook(self.client_of(id, role), shape) == Outlook::Hopeless {
            return Bound::Never;
        }
        let mut rows: Vec<(&Role, &Shape)> = Vec::new();
        let mut whose = Vec::new();
        let mut target = None;
        // Who takes no offers now is not in the order, and is asked about as if he came last.
        let last = (!order.iter().any(|(of, client)| of == role && *client == id)).then(|| (role.clone(), id));
        for (of, client) in order.iter().chain(&last) {
            let Some(demand) = self.frameworks.get(client).and_then(|client| client.demand.get(of)) else { continue };
            for waiting in &demand.shapes {
                let is_target = target.is_none() && (of, *client) == (role, id) && waiting.name == shape.name;
                if rows.len() < WAITING_MAX || is_target {
                    target = target.or_else(|| is_target.then_some(rows.len()));
                    rows.push((of, waiting));
                    whose.push(*client);
                }
            }
        }
        let concerned = self.concerned(shape, &rows);
        let agents: Vec<AgentId> = concerned.agents.iter().map(|(_, agent)| *agent).collect();
        let queue =
            rows.iter().zip(whose).map(|((of, waiting), client)| self.queued(client, of, waiting, &agents)).collect();
        let Some(target) = target else { return concerned.unknown() };
        let machines = agents.iter().map(|agent| self.machine(*agent)).collect();
        match (Snapshot { machines, queue }).replay(target) {
            Replayed::Room { after: Duration::ZERO, agent, .. } => Bound::Now { agent },
            Replayed::Room { after, agent, ends, ahead } => Bound::By { after, agent, ends, ahead },
            Replayed::NoRoom => concerned.unknown(),
            Replayed::TooIntricate => Bound::TooIntricate,
        }
    }

    /// The machines where something of what waits could run, and has room or may get it: those where something ends first, at most
    /// [`MACHINES_MAX`]. What others take on machines that are too small for the asked decides what they leave of the larger ones.
    fn concerned(&self, shape: &Shape, rows: &[(&Role, &Shape)]) -> Concerned {
        let mut found = Concerned::default();
        let Questions { classes, kinds, .. } = &self.questions;
        let has_room = |class: &Class| rows.iter().take(ROWS_MAX).any(|(of, row)| class.stock.fits(of, row));
        let roomy: BTreeSet<ClassId> = classes.iter().filter(|(_, class)| has_room(class)).map(|(id, _)| id).collect();
        let of_use = |kind: &Class| rows.iter().any(|(_, row)| kind.stock.could_hold(row));
        for (_, kind) in kinds.iter().filter(|(_, kind)| of_use(kind)) {
            let for_asked = kind.stock.could_hold(shape);
            for id in &kind.members {
                let agent = &self.agents[id];
                if !agent.is_usable() || agent.overcommitted || agent.leaving.is_some() {
                    continue;
                }
                let like = shape.constraint.is_any() || shape.constraint.matches(&*agent.record.info);
                if for_asked && like {
                    self.count_silent(agent, &mut found);
                }
                let has_room = classes.of(*id).is_some_and(|class| roomy.contains(&class));
                let first = if has_room { Some(Duration::ZERO) } else { self.first_end(agent) };
                found.agents.extend(first.map(|first| (first, *id)));
                if found.agents.len() > MACHINES_MAX {
                    found.agents.pop_last();
                }
            }
        }
        found
    }

    /// Counts the tasks of the agent that don't say when they end.
    fn count_silent(&self, agent: &Agent, found: &mut Concerned) {
        for key in &agent.tasks {
            match (self.declared_rest(key), self.tasks[key].task.expected_run_time) {
                (Some(_), _) => {}
                (None, Some(_)) => found.overdue += 1,
                (None, None) => found.undeclared += 1,
            }
        }
    }

    /// After how long a task or an offer on the agent first ends; none if nothing says.
    fn first_end(&self, agent: &Agent) -> Option<Duration> {
        let tasks = agent.tasks.iter().filter_map(|key| self.declared_rest(key));
        let expiries = agent.offers.iter().filter_map(|(offer, _)| self.offers[offer].expiry);
        tasks.chain(expiries.map(|expiry| expiry.at().since(self.now))).min()
    }

    fn machine(&self, id: AgentId) -> Machine {
        let agent = &self.agents[&id];
        let tasks = agent.tasks.iter().filter_map(|key| {
            let rest = self.declared_rest(key)?;
            Some((rest, Freed::Task(self.tasks[key].task.resources.clone())))
        });
        let offers = agent.offers.iter().map(|(offer, _)| &self.offers[offer]).filter_map(|entry| {
            let expiry = entry.expiry?;
            Some((expiry.at().since(self.now), Freed::Offer(entry.offer.resources.without_shared())))
        });
        Machine { agent: self.agent_ref(id), stock: agent.stock(), ends: tasks.chain(offers).collect() }
    }

    fn queued(&self, framework: FrameworkId, role: &Role, shape: &Shape, agents: &[AgentId]) -> Queued {
        let likes = |id: &AgentId| {
            let agent = &self.agents[id];
            let is_like = shape.constraint.is_any() || shape.constraint.matches(&*agent.record.info);
            is_like && self.is_admitted(framework, role, agent)
        };
        let machines = agents.iter().enumerate().filter(|(_, id)| likes(id)).map(|(number, _)| number).collect();
        Queued { role: role.clone(), shape: shape.clone(), machines }
    }

    /// What would help what `target` names.
    pub(super) fn what_would_help(&mut self, target: &Target) -> Result<Advice, Reject> {
        self.refresh_classes();
        let (id, name) = asked(target)?;
        let framework = self.frameworks.get(&id).ok_or(Reject::UnknownFramework)?;
        let waits =
            asked_shapes(framework, name).map(|(role, shape)| self.advise(id, framework, role, shape)).collect();
        Ok(Advice { subject: format!("framework {id} ({})", framework.record.info.name), waits })
    }

    fn advise(&self, id: FrameworkId, framework: &Framework, role: &Role, shape: &Shape) -> WaitAdvice {
        let (sites, kinds) = self.sites(id, framework, role, shape);
        let mut steps: Vec<Step> = Vec::new();
        let mut own = |kind| steps.push(Step { kind, agent: None, agents: 0, effect: Effect::Now });
        if framework.peer.is_none() {
            own(StepKind::Reconnect);
        } else if framework.suppressed.contains(role) {
            own(StepKind::Unsuppress);
        }
        if let Some(CauseKind::OverQuota { role, resource, over, .. }) = self.over_quota(role, shape) {
            own(StepKind::RaiseLimit { role, resource, by: over });
        }
        steps.extend(what_would_help(role, shape, &sites, &kinds));
        let has_room = |site: &&Site<'_>| site.unmet == 0 && site.refused.is_none() && site.stock.fits(role, shape);
        WaitAdvice {
            what: self.waiting(id, role, shape),
            ready: sites.iter().filter(has_room).map(|site| site.agents).sum(),
            steps,
            evaluations: self.questions.classes.iter().count() + self.questions.kinds.iter().count(),
        }
    }
}

/// The agents that a bound may come from, by when something first ends there.
#[derive(Default)]
struct Concerned {
    agents: BTreeSet<(Duration, AgentId)>,
    undeclared: usize,
    overdue: usize,
}

impl Concerned {
    fn unknown(&self) -> Bound {
        Bound::Unknown { undeclared: self.undeclared, overdue: self.overdue }
    }
}

/// Whose shapes are asked about, and which; a launched task waits for nothing that could be forecast.
fn asked(target: &Target) -> Result<(FrameworkId, Option<&str>), Reject> {
    match target {
        Target::Framework(id) => Ok((*id, None)),
        Target::Shape(id, name) => Ok((*id, Some(name))),
        Target::Task(_) => {
            Err(Reject::invalid("target", "expected a framework or a shape that waits; a task is launched already"))
        }
    }
}

fn asked_shapes<'a>(framework: &'a Framework, name: Option<&'a str>) -> impl Iterator<Item = (&'a Role, &'a Shape)> {
    let shapes =
        framework.demand.iter().flat_map(|(role, demand)| demand.shapes.iter().map(move |shape| (role, shape)));
    shapes.filter(move |(_, shape)| name.is_none_or(|name| *shape.name == *name))
}
