//! Why it waits: every reason that holds, with the number of agents for which it does. Agents of equal stock are judged once.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::clients::Client;
use super::filters::ReasonId;
use super::questions::condition;
use super::state::{Agent, Framework, TaskEntry};
use super::view::AgentStatus;
use super::{Master, Target};
use crate::allocator::agent_classes::{Class, Classes};
use crate::allocator::explain::{
    CauseKind, ClauseKind, DeviceNote, Explanation, Only, Outlook, Tally, TaskNote, TaskWait, Wait, Waiting,
};
use crate::allocator::help::Site;
use crate::allocator::history::{Row, asks};
use crate::allocator::quota::Exceeded;
use crate::allocator::sorter::kind_quantity;
use crate::allocator::stock::{Condition, Finding, Standing, Stock, suits};
use crate::model::{
    AgentId, Attributes, Claim, Count, DeviceState, FrameworkId, Milli, OfferMode, Reject, Relaxed, Role, Selector,
    Shape, TaskKey, TaskState, Time,
};

/// Devices of one agent, and offers of one agent, are told up to so many.
const EXAMPLES_MAX: usize = 8;

impl Master {
    pub(super) fn why(&mut self, target: &Target) -> Result<Explanation, Reject> {
        self.refresh_classes();
        match target {
            Target::Framework(id) => self.why_framework(*id, None),
            Target::Shape(id, name) => self.why_framework(*id, Some(name)),
            Target::Task(key) => self.why_task(key),
        }
    }

    fn why_task(&self, key: &TaskKey) -> Result<Explanation, Reject> {
        let Some(entry) = self.tasks.get(key) else { return self.why_member(key) };
        let message = match entry.status.reason {
            Some(reason) => Arc::from(format!("{reason}: {}", entry.status.message)),
            None => entry.status.message.clone(),
        };
        let lasting = self.wall().0.saturating_sub(entry.changed.0);
        let note = TaskNote {
            key: key.clone(),
            state: entry.state,
            message,
            lasting: Duration::from_micros(u64::try_from(lasting).unwrap_or(0)),
            agent: Some(self.agent_ref(entry.agent)),
            waits_for: self.task_waits_for(entry),
        };
        Ok(Explanation { subject: format!("task {key}"), waits: Vec::new(), task: Some(note) })
    }

    /// A task that is to start with its gang is none yet.
    fn why_member(&self, key: &TaskKey) -> Result<Explanation, Reject> {
        let (holding, agents) = self.gangs.progress(key).ok_or_else(|| Reject::UnknownTask(key.task.clone()))?;
        let note = TaskNote {
            key: key.clone(),
            state: TaskState::Staging,
            message: Arc::from(""),
            lasting: Duration::ZERO,
            agent: None,
            waits_for: Some(TaskWait::Gang { holding, agents }),
        };
        Ok(Explanation { subject: format!("task {key}"), waits: Vec::new(), task: Some(note) })
    }

    fn task_waits_for(&self, entry: &TaskEntry) -> Option<TaskWait> {
        let agent = &self.agents[&entry.agent];
        if entry.state.is_terminal() {
            return Some(TaskWait::Acknowledgement);
        }
        if agent.status != AgentStatus::Active {
            let given_up_in = agent.silent.map(|silent| silent.at().since(self.now));
            return Some(TaskWait::AgentsReturn { given_up_in });
        }
        if let Some(kill) = &entry.kill {
            return Some(TaskWait::End { grace: kill.grace.unwrap_or(entry.task.kill_grace) });
        }
        match entry.state {
            TaskState::Staging => Some(TaskWait::AgentsAnswer),
            TaskState::Starting => Some(TaskWait::Preparation),
            TaskState::Killing => Some(TaskWait::End { grace: entry.task.kill_grace }),
            _ => None,
        }
    }

    fn why_framework(&self, id: FrameworkId, name: Option<&str>) -> Result<Explanation, Reject> {
        let framework = self.frameworks.get(&id).ok_or(Reject::UnknownFramework)?;
        let shapes =
            framework.demand.iter().flat_map(|(role, demand)| demand.shapes.iter().map(move |shape| (role, shape)));
        let asked = shapes.filter(|(_, shape)| name.is_none_or(|name| *shape.name == *name));
        let waits: Vec<Wait> = asked.map(|(role, shape)| self.why_shape(id, framework, role, shape)).collect();
        Ok(Explanation { subject: format!("framework {id} ({})", framework.record.info.name), waits, task: None })
    }

    fn why_shape(&self, id: FrameworkId, framework: &Framework, role: &Role, shape: &Shape) -> Wait {
        let asker = self.asker(id, framework, role, shape);
        let mut answer = Answer::default();
        for (missing, cause) in [
            (framework.peer.is_none(), CauseKind::FrameworkAway),
            (framework.suppressed.contains(role), CauseKind::Suppressed),
        ] {
            if missing {
                answer.tally.count(Finding { clause: ClauseKind::Framework, cause, miss: 0 }, 0, None, Only::Not);
            }
        }
        if let Some(cause) = self.over_quota(role, shape) {
            answer.tally.count(Finding { clause: ClauseKind::Quota, cause, miss: 0 }, 0, None, Only::Not);
        }
        let outlook = self.outlook(asker.client, shape);
        let classes = if outlook == Outlook::Possible { &self.questions.classes } else { &self.questions.kinds };
        for (_, class) in classes.iter() {
            self.judge_class(&asker, class, outlook, &mut answer);
        }
        Wait {
            what: self.waiting(id, role, shape),
            outlook,
            agents: classes.agents(),
            ready: answer.ready,
            evaluations: answer.evaluations,
            clauses: answer.tally.clauses(),
        }
    }

    /// What waits, and since when.
    pub(super) fn waiting(&self, id: FrameworkId, role: &Role, shape: &Shape) -> Waiting {
        let since = self.row(id, role, shape).and_then(Row::since);
        Waiting {
            framework: id,
            role: role.clone(),
            shape: shape.name.clone(),
            asks: asks(shape),
            count: shape.count,
            waited: since.map_or(Duration::ZERO, |since| self.now.since(since)),
        }
    }

    fn asker<'a>(&'a self, id: FrameworkId, framework: &Framework, role: &'a Role, shape: &'a Shape) -> Asker<'a> {
        let client = framework.clients.get(role).and_then(|client| self.clients.get(*client));
        Asker { id, role, shape, client, standing: self.overlay(id, framework, role) }
    }

    /// The limit that one more of the shape would exceed. Devices count by kind; which models they will be is not known.
    pub(super) fn over_quota(&self, role: &Role, shape: &Shape) -> Option<CauseKind> {
        let mut asked = shape.resources.plain_quantities();
        for wanted in shape.claims.iter().filter_map(|claim| claim.alternatives.first()) {
            let count = match wanted.count {
                Count::Exactly(count) => u64::from(count),
                Count::All => 1,
            };
            let kind = kind_quantity(&wanted.kind);
            let each = u64::from(wanted.share.0);
            asked.set(&kind, asked.get(&kind).plus(Milli(count * each)));
        }
        let Exceeded { role, resource, limit, held, asked } = self.quotas.check(role, &asked).err()?;
        let over = held.plus(asked).minus(limit).unwrap_or_default();
        Some(CauseKind::OverQuota { role, resource: Arc::from(resource.as_str()), limit, held, over })
    }

    /// What is kept of a shape that waits.
    pub(super) fn row(&self, id: FrameworkId, role: &Role, shape: &Shape) -> Option<&Row> {
        let queue = self.questions.queues.get(&id)?.get(role)?;
        queue.rows().iter().find(|row| row.shape.name == shape.name)
    }

    /// The agents as they are now, and as if empty, for `what would help`.
    pub(super) fn sites<'a>(
        &'a self,
        id: FrameworkId,
        framework: &'a Framework,
        role: &'a Role,
        shape: &'a Shape,
    ) -> (Vec<Site<'a>>, Vec<Site<'a>>) {
        let mut asker = self.asker(id, framework, role, shape);
        let relaxed = shape.constraint.relaxations();
        let all = |asker: &Asker<'a>, classes: &'a Classes| -> Vec<Site<'a>> {
            let cells = |class: &'a Class| {
                self.cells(asker, class).into_values().map(|cell| self.site(asker, &class.stock, &cell, &relaxed))
            };
            classes.iter().flat_map(|(_, class)| cells(class).collect::<Vec<_>>()).collect()
        };
        let sites = all(&asker, &self.questions.classes);
        asker.standing.clear();
        (sites, all(&asker, &self.questions.kinds))
    }

    fn site<'a>(&self, asker: &Asker<'_>, stock: &'a Stock, cell: &Cell, relaxed: &[Relaxed]) -> Site<'a> {
        let agent = &self.agents[&cell.first];
        let attributes = &*agent.record.info;
        let is_admitted = asker.client.is_none_or(|client| agent.admits(client));
        let unmet = asker.shape.constraint.unmet(attributes).len() + usize::from(!is_admitted);
        let met_without = if unmet == 0 {
            Vec::new()
        } else {
            relaxed.iter().map(|one| is_admitted && one.rest.matches(attributes)).collect()
        };
        Site {
            stock,
            example: self.agent_ref(cell.first),
            agents: cell.count,
            unmet,
            refused: cell.filter.map(|filter| filter.until.since(self.now)),
            holders: if stock.locked.is_empty() { Vec::new() } else { self.holders_of_offers(agent) },
            met_without,
        }
    }

    /// Judges one class, and counts what is found for each part of it whose agents differ in what the asker has to do with them.
    fn judge_class(&self, asker: &Asker<'_>, class: &Class, outlook: Outlook, answer: &mut Answer) {
        answer.evaluations += 1;
        let now = outlook == Outlook::Possible;
        let found = if now {
            class.stock.judge(asker.role, asker.shape)
        } else {
            class.stock.judge_empty(asker.role, asker.shape)
        };
        for cell in self.cells(asker, class).into_values() {
            let mut findings = found.clone();
            let example = self.agent_ref(cell.first);
            if class.stock.standing == Standing::Ready || !now {
                self.judge_cell(asker, &cell, now, &mut findings);
            }
            answer.ready += if now && findings.iter().all(|finding| finding.cause.is_free()) { cell.count } else { 0 };
            let only = if findings.len() == 1 { Only::This } else { Only::Not };
            let mut clauses: Vec<ClauseKind> = findings.iter().map(|finding| finding.clause.clone()).collect();
            for mut finding in findings {
                self.name_examples(asker, cell.first, &class.stock, &mut finding);
                answer.tally.count(finding, cell.count, Some(&example), only);
            }
            clauses.sort_unstable();
            clauses.dedup();
            clauses.iter().for_each(|clause| answer.tally.missed(clause, cell.count));
        }
    }

    fn judge_cell(&self, asker: &Asker<'_>, cell: &Cell, now: bool, findings: &mut Vec<Finding>) {
        let agent = &self.agents[&cell.first];
        let constraint = &asker.shape.constraint;
        let unmet = if constraint.is_any() { Vec::new() } else { constraint.unmet(&*agent.record.info) };
        if !unmet.is_empty() {
            let clause = ClauseKind::Constraint { text: constraint.to_string() };
            let miss = unmet.len() as u64;
            findings.push(Finding { clause, cause: CauseKind::ConstraintNotMet { unmet: unmet.join(", ") }, miss });
        }
        findings.extend(asker.client.into_iter().flat_map(|client| agent.barred_from(client)));
        if !now {
            return;
        }
        findings.extend(asker.client.and_then(|client| agent.too_small_for(client)));
        if let Some(filter) = cell.filter {
            let left = filter.until.since(self.now);
            let cause = CauseKind::Filtered { left, reason: self.reasons.text(filter.reason).cloned() };
            findings.push(Finding { clause: ClauseKind::Filters, cause, miss: 0 });
        }
        if findings.is_empty() && cell.offered {
            findings.push(Finding { clause: ClauseKind::Offers, cause: CauseKind::Offered, miss: 0 });
        } else if findings.is_empty() {
            findings.push(Finding {
                clause: ClauseKind::Order,
                cause: self.others_first(asker, cell.first, agent),
                miss: 0,
            });
        }
    }

    /// The agent has room, and the asker has no offer of it: who has.
    fn others_first(&self, asker: &Asker<'_>, id: AgentId, agent: &Agent) -> CauseKind {
        let available = agent.available(asker.role);
        let left = self.shielded(id, asker.id, asker.role, &available);
        if left.is_some_and(|left| !agent.fits(asker.shape, &left)) {
            return CauseKind::HeldForOthers;
        }
        let client = self.sorter.client(asker.role, asker.id).and_then(|client| self.clients.get(client));
        if let Some(client) = client.filter(|client| client.is_bounded) {
            return CauseKind::OfferLimit { standing: client.standing };
        }
        let own = self.sorter.share(asker.role);
        let offers =
            agent.offers.iter().map(|(offer, _)| &self.offers[offer]).filter(|entry| entry.framework != asker.id);
        let mut others: Vec<(FrameworkId, Role)> =
            offers.map(|entry| (entry.framework, entry.offer.role.clone())).collect();
        others.sort_unstable();
        others.dedup();
        let smaller_share = others.iter().filter(|(_, role)| self.sorter.share(role) < own).count();
        others.truncate(EXAMPLES_MAX);
        CauseKind::OthersFirst { others, smaller_share }
    }

    /// What the asker has to do with agents: its refusals that hold, and its offers that stand.
    fn overlay(&self, id: FrameworkId, framework: &Framework, role: &Role) -> BTreeMap<AgentId, Overlay> {
        let mut overlay: BTreeMap<AgentId, Overlay> = BTreeMap::new();
        let refuser = framework.clients.get(role).and_then(|client| self.clients.refuser(*client));
        if let Some(refuser) = refuser {
            for (agent, state) in self.agents.iter().filter(|(_, state)| !state.filters.is_empty()) {
                let mut of = state.filters.of(refuser).filter(|filter| filter.until() > self.now).peekable();
                if of.peek().is_some() {
                    let available = state.available(role);
                    let holds = of.filter(|filter| filter.holds(&available)).max_by_key(|filter| filter.until());
                    let filter = holds.map(|filter| Refused { until: filter.until(), reason: filter.reason() });
                    overlay.entry(*agent).or_default().filter = filter;
                }
            }
        }
        for entry in framework.offers.named().filter_map(|offer| self.offers.get(&offer)) {
            debug_assert_eq!(entry.framework, id, "a framework's offer is to it");
            if entry.offer.role == *role {
                overlay.entry(entry.offer.agent).or_default().offered = true;
            }
        }
        overlay
    }

    /// The agents of the class, parted by what makes a difference beside their stock.
    fn cells(&self, asker: &Asker<'_>, class: &Class) -> BTreeMap<(u64, bool, bool), Cell> {
        let mut cells: BTreeMap<(u64, bool, bool), Cell> = BTreeMap::new();
        let constraint = &asker.shape.constraint;
        let mut put = |agent: AgentId, print: u64, overlay: Overlay, count: usize| {
            let key = (print, overlay.filter.is_some(), overlay.offered);
            let fresh = Cell { first: agent, count: 0, filter: overlay.filter, offered: overlay.offered };
            cells.entry(key).or_insert(fresh).count += count;
        };
        let rules = asker.client.filter(|client| self.has_agent_rules(client));
        if !constraint.is_any() || rules.is_some() {
            for agent in &class.members {
                let overlay = asker.standing.get(agent).copied().unwrap_or_default();
                put(*agent, attributes_print(constraint, rules, &self.agents[agent]), overlay, 1);
            }
            return cells;
        }
        let mut rest = class.members.len();
        if class.members.len() <= asker.standing.len() {
            for agent in &class.members {
                put(*agent, 0, asker.standing.get(agent).copied().unwrap_or_default(), 1);
            }
            return cells;
        }
        for (agent, overlay) in asker.standing.iter().filter(|(agent, _)| class.members.contains(agent)) {
            put(*agent, 0, *overlay, 1);
            rest -= 1;
        }
        if let Some(first) = class.members.iter().find(|agent| !asker.standing.contains_key(agent)) {
            put(*first, 0, Overlay::default(), rest);
        }
        cells
    }

    /// Names devices and offers of one of the agents for which the finding holds.
    fn name_examples(&self, asker: &Asker<'_>, id: AgentId, stock: &Stock, finding: &mut Finding) {
        let agent = &self.agents[&id];
        let claims: &[Claim] = match &finding.clause {
            ClauseKind::Claim { number, .. } => asker.shape.claims.get(*number).map_or(&[], std::slice::from_ref),
            _ => &[],
        };
        match &mut finding.cause {
            CauseKind::DevicesHeld { devices } => *devices = self.notes(id, claims, Condition::Held),
            CauseKind::DevicesCleaning { devices } => *devices = self.notes(id, claims, Condition::Cleaning),
            CauseKind::DevicesBroken { devices } => *devices = self.notes(id, claims, Condition::Broken),
            CauseKind::Locked { frameworks } if !stock.locked.is_empty() => {
                *frameworks = self.holders_of_offers(agent);
                frameworks.truncate(EXAMPLES_MAX);
            }
            _ => {}
        }
    }

    fn notes(&self, id: AgentId, claims: &[Claim], wanted: Condition) -> Vec<DeviceNote> {
        let agent = self.agent_ref(id);
        let asked = |device| claims.iter().flat_map(|claim| &claim.alternatives).any(|wanted| suits(wanted, device));
        let entries =
            self.agents[&id].devices.values().filter(|entry| condition(entry) == wanted && asked(&*entry.device));
        let mut notes = Vec::new();
        for entry in entries.take(EXAMPLES_MAX) {
            let note = |holder: Option<&TaskKey>, problem: Option<Arc<str>>| DeviceNote {
                agent: agent.clone(),
                device: Arc::from(entry.device.id.as_str()),
                holder: holder.cloned(),
                left: holder.and_then(|holder| self.declared_rest(holder)),
                problem,
            };
            match &entry.state {
                DeviceState::Allocated(_) | DeviceState::Sliced(_) if wanted == Condition::Held => {
                    let holders = entry.state.holders().take(EXAMPLES_MAX);
                    notes.extend(holders.map(|(holder, _)| note(Some(holder), None)));
                }
                DeviceState::Quarantined { reason } => {
                    notes.push(note(None, Some(Arc::from(format!("quarantined: {reason}")))));
                }
                DeviceState::Free => notes.push(note(None, Some(Arc::from(entry.device.health.as_str())))),
                DeviceState::Allocated(_) | DeviceState::Sliced(_) | DeviceState::Cleaning { .. } => {
                    notes.push(note(None, None));
                }
            }
        }
        notes
    }

    /// How much longer the task runs, by what was declared at its launch; none if nothing was, or it is over that.
    pub(super) fn declared_rest(&self, key: &TaskKey) -> Option<Duration> {
        let entry = self.tasks.get(key)?;
        let ran = u64::try_from(self.wall().0.saturating_sub(entry.launched.0)).unwrap_or(0);
        entry.task.expected_run_time?.checked_sub(Duration::from_micros(ran))
    }

    fn holders_of_offers(&self, agent: &Agent) -> Vec<FrameworkId> {
        let entries = agent.offers.iter().map(|(offer, _)| &self.offers[offer]);
        let exclusive = entries.filter(|entry| entry.offer.mode == OfferMode::Exclusive);
        let mut holders: Vec<FrameworkId> = exclusive.map(|entry| entry.framework).collect();
        holders.sort_unstable();
        holders.dedup();
        holders
    }
}

/// Who asks, for what.
struct Asker<'a> {
    id: FrameworkId,
    role: &'a Role,
    shape: &'a Shape,
    client: Option<&'a Client>,
    standing: BTreeMap<AgentId, Overlay>,
}

/// A refusal of the asker that still holds.
#[derive(Clone, Copy)]
struct Refused {
    until: Time,
    reason: ReasonId,
}

/// What the asker has to do with one agent.
#[derive(Clone, Copy, Default)]
struct Overlay {
    filter: Option<Refused>,
    offered: bool,
}

/// Agents of a class that are alike for the asker.
struct Cell {
    first: AgentId,
    count: usize,
    filter: Option<Refused>,
    offered: bool,
}

/// What was found so far.
#[derive(Default)]
struct Answer {
    tally: Tally,
    ready: usize,
    evaluations: usize,
}

/// A number that tells agents apart by the attributes that the constraint looks at, and by what the client asks of agents.
fn attributes_print(constraint: &Selector, client: Option<&Client>, agent: &Agent) -> u64 {
    let mut hasher = DefaultHasher::new();
    client.map(|client| (agent.admits(client), agent.is_too_far(client))).hash(&mut hasher);
    for name in constraint.names() {
        agent.record.info.attribute(name).hash(&mut hasher);
    }
    hasher.finish()
}
