//! When it will run, and what would help: what the pure answers need is taken out of the master's state, and no more of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::available::AgentAttributes;
use super::state::{Agent, Framework};
use super::{Master, Target};
use crate::allocator::explain::Outlook;
use crate::allocator::help::{Advice, Effect, Site, Step, StepKind, WaitAdvice, what_would_help};
use crate::allocator::history::{Estimate, asks};
use crate::allocator::when::{Bound, Forecast, Freed, Machine, Replayed, Snapshot, WaitForecast, Waiting};
use crate::model::{AgentId, FrameworkId, Reject, Role, Shape};

/// The most machines that a replay looks at: those on which something ends first.
const MACHINES_MAX: usize = 1000;
/// The most shapes that wait in a replay.
const WAITING_MAX: usize = 1000;

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
        let waited = row.and_then(|row| row.since()).map_or(Duration::ZERO, |since| self.now.since(since));
        let history = &self.questions.history;
        let estimate = row.and_then(|row| history.estimate_after(role, &row.asks, waited));
        let rest = |estimate: Estimate| Estimate {
            waits: estimate.waits,
            median: estimate.median.saturating_sub(waited),
            p90: estimate.p90.saturating_sub(waited),
        };
        WaitForecast {
            framework: id,
            role: role.clone(),
            shape: shape.name.clone(),
            asks: asks(shape),
            count: shape.count,
            waited,
            bound: self.bound(id, role, shape, order),
            estimate: estimate.map(rest),
            calibration: history.calibration(),
        }
    }

    fn bound(&self, id: FrameworkId, role: &Role, shape: &Shape, order: &[(Role, FrameworkId)]) -> Bound {
        if self.outlook(shape) == Outlook::Hopeless {
            return Bound::Never;
        }
        let concerned = self.concerned(role, shape);
        let agents: Vec<AgentId> = concerned.agents.iter().map(|(_, agent)| *agent).collect();
        let mut queue = Vec::new();
        let mut target = None;
        // Who takes no offers now is not in the order, and is asked about as if he came last.
        let last = (!order.iter().any(|(of, client)| of == role && *client == id)).then(|| (role.clone(), id));
        for (of, client) in order.iter().chain(&last) {
            let Some(demand) = self.frameworks.get(client).and_then(|client| client.demand.get(of)) else { continue };
            for waiting in &demand.shapes {
                let is_target = (of, *client) == (role, id) && waiting.name == shape.name;
                if queue.len() < WAITING_MAX || is_target {
                    target = if is_target && target.is_none() { Some(queue.len()) } else { target };
                    queue.push(self.waiting(of, waiting, &agents));
                }
            }
        }
        let Some(target) = target else { return concerned.unknown() };
        let machines = agents.iter().map(|agent| self.machine(*agent)).collect();
        match (Snapshot { machines, queue }).replay(target) {
            Replayed::Room { after: Duration::ZERO, agent, .. } => Bound::Now { agent },
            Replayed::Room { after, agent, ends, ahead } => Bound::By { after, agent, ends, ahead },
            Replayed::NoRoom => concerned.unknown(),
            Replayed::TooIntricate => Bound::TooIntricate,
        }
    }

    /// The machines where the shape could run and has room, or where something says when it ends; at most [`MACHINES_MAX`].
    fn concerned(&self, role: &Role, shape: &Shape) -> Concerned {
        let mut found = Concerned::default();
        for (_, kind) in self.questions.kinds.iter().filter(|(_, kind)| kind.stock.could_hold(shape)) {
            for id in &kind.members {
                let agent = &self.agents[id];
                let like = shape.constraint.is_any() || shape.constraint.matches(&AgentAttributes(agent));
                if !like || !agent.is_usable() || agent.overcommitted {
                    continue;
                }
                if let Some(first) = self.first_end(agent, role, shape, &mut found) {
                    found.agents.insert((first, *id));
                }
                if found.agents.len() > MACHINES_MAX {
                    found.agents.pop_last();
                }
            }
        }
        found
    }

    /// After how long something first ends on the agent, at once if there is room; none if nothing says.
    fn first_end(&self, agent: &Agent, role: &Role, shape: &Shape, found: &mut Concerned) -> Option<Duration> {
        let mut first = None;
        for key in &agent.tasks {
            match (self.declared_rest(key), self.tasks[key].task.expected_run_time) {
                (Some(rest), _) => first = first.into_iter().chain([rest]).min(),
                (None, Some(_)) => found.overdue += 1,
                (None, None) => found.undeclared += 1,
            }
        }
        let expiries = agent.offers.iter().filter_map(|(offer, _)| self.offers[offer].expiry);
        let first_expiry = expiries.map(|expiry| expiry.at().since(self.now)).min();
        if agent.fits(shape, &agent.available(role)) {
            Some(Duration::ZERO)
        } else {
            first.into_iter().chain(first_expiry).min()
        }
    }

    fn machine(&self, id: AgentId) -> Machine {
        let agent = &self.agents[&id];
        let tasks = agent.tasks.iter().filter_map(|key| {
            let rest = self.declared_rest(key)?;
            Some((rest, Freed::Task(self.tasks[key].task.resources.clone())))
        });
        let offers = agent.offers.iter().map(|(offer, _)| &self.offers[offer]).filter_map(|entry| {
            let expiry = entry.expiry?;
            Some((expiry.at().since(self.now), Freed::Offer((*entry.offer.resources).clone())))
        });
        Machine { agent: self.agent_ref(id), stock: agent.stock(), ends: tasks.chain(offers).collect() }
    }

    fn waiting(&self, role: &Role, shape: &Shape, agents: &[AgentId]) -> Waiting {
        let likes =
            |id: &AgentId| shape.constraint.is_any() || shape.constraint.matches(&AgentAttributes(&self.agents[id]));
        let machines = agents.iter().enumerate().filter(|(_, id)| likes(id)).map(|(number, _)| number).collect();
        Waiting { role: role.clone(), shape: shape.clone(), machines }
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
        steps.extend(what_would_help(role, shape, &sites, &kinds));
        let has_room = |site: &&Site<'_>| site.unmet == 0 && site.refused.is_none() && site.stock.fits(role, shape);
        WaitAdvice {
            framework: id,
            role: role.clone(),
            shape: shape.name.clone(),
            asks: asks(shape),
            count: shape.count,
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
