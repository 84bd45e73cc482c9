//! The master machine: who may use what.
//!
//! [`Master::step`] is told the time and one [`Input`]; it pushes records and [`Effect`]s. The shell writes the records, sends the
//! messages and feeds the read model ([`view::View`]); the simulator does the same in virtual time.

mod accept;
mod agents;
mod available;
mod capacity;
mod class_order;
mod clients;
mod common;
mod conduct;
mod confirm;
mod deck;
mod declared;
mod devices;
mod filters;
mod frameworks;
mod gangs;
mod headroom;
mod host_share;
mod invariants;
mod known_roles;
mod leaving;
mod modes;
mod offer_list;
mod offers;
mod operations;
mod patience;
mod pile;
mod preempt;
mod prices;
mod questions;
mod quota;
mod recovering;
pub mod registry;
mod round;
mod rules;
mod show;
mod state;
mod stats;
mod tasks;
mod timers;
pub mod view;
mod when;
mod why;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

pub use stats::Stats;

use self::capacity::Capacity;
use self::clients::Clients;
use self::filters::Reasons;
use self::preempt::Preemption;
use self::registry::{Record, Registry};
use self::state::{Agent, Framework, OfferEntry, PeerOf, TaskEntry, Touched};
use self::timers::{Timer, TimerKey, Timers};
use crate::allocator::quota::{Force, Quota, Quotas};
use crate::allocator::sorter::{ClientIndex, DEFAULT_WEIGHT, Sorter};
use crate::gate::Output;
use crate::model::{
    AgentId, Call, ClientId, ClusterId, DeviceId, Domain, Event, FrameworkId, FromAgent, Least, Milli, Offer, OfferId,
    OfferMode, Operation, PeerId, PriceKey, Principal, Quote, Reject, RequestId, Role, TaskKey, Term, Time, ToAgent,
    WallTime,
};
use crate::planted::{Fault, planted};

/// What a step of the master yields.
pub type Outbox = crate::gate::Outbox<Record, Effect>;

/// What a master is told at its start. Durations are those of `semantics`, section 7 and 8, unless configured otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The wall time at [`Time::ZERO`](crate::model::Time::ZERO).
    pub origin: WallTime,
    /// Seeds the generator of update ids; drawn by the shell.
    pub seed: u64,
    /// How long an agent whose connection is lost has to come back before its tasks are unreachable.
    pub agent_timeout: Duration,
    /// How long after a failover the known agents have to come back before they are unreachable.
    pub recovery_timeout: Duration,
    /// The longest failover timeout that a framework may ask for.
    pub failover_timeout_max: Duration,
    /// How long an exclusive offer stands, unless its framework asks otherwise.
    pub offer_timeout: Duration,
    /// The longest that a framework may ask for.
    pub offer_timeout_max: Duration,
    /// Where the master stands: agents of other regions are for frameworks that ask for them. None means that all are near.
    pub domain: Option<Domain>,
    /// The smallest offers that are made to frameworks that neither ask for others nor have declared what they wait for.
    pub least: Least,
    /// The longest that a refusal grows to which its framework repeats and leaves to the master.
    pub refusal_max: Duration,
    /// In how many optimistic offers one resource may be at once.
    pub offer_fanout: usize,
    /// How many agents are offered at once to a framework that has declared what it waits for, beside one for each task that waits.
    pub offers_per_demand: u32,
    /// How long changes are gathered before a round of offers; zero means every step ends with one.
    pub allocation_delay: Duration,
    /// How long an optimistic offer stands before a larger one of the same agent replaces it, unless only the larger one meets a demand.
    /// A framework that uses its offer is offered all that is left at once; this is for those that let it stand on a busy agent.
    pub offer_growth_delay: Duration,
    /// How long a demand waits before it may preempt: one that is soon met needs not.
    pub preemption_delay: Duration,
    /// The longest that a task gets after SIGTERM when it is preempted.
    pub preemption_grace_max: Duration,
    /// How long what preemption freed is kept for its demand, after the grace periods.
    pub nomination_timeout: Duration,
    /// How long a device is believed to take to be cleaned, when the loss of ending its tenant is weighed.
    pub cleaning_estimate: Duration,
    /// The roles that there may be, with all below them; none means any.
    pub roles: Vec<Role>,
    /// The kinds of device that count in the dominant share.
    pub fair_share_kinds: Vec<Arc<str>>,
    /// How many tasks that ended people may still see.
    pub history_max: usize,
    /// How many ids of tasks that ended are remembered for each framework, so that a repeated launch is recognised.
    pub completed_ids_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origin: WallTime::default(),
            seed: 0,
            agent_timeout: Duration::from_secs(30),
            recovery_timeout: Duration::from_secs(60),
            failover_timeout_max: Duration::from_secs(14 * 24 * 3600),
            offer_timeout: Duration::from_secs(30),
            offer_timeout_max: Duration::from_secs(600),
            refusal_max: Duration::from_secs(300),
            domain: None,
            least: Least::usual(),
            offer_fanout: 4,
            offers_per_demand: 200,
            allocation_delay: Duration::ZERO,
            offer_growth_delay: Duration::ZERO,
            preemption_delay: Duration::ZERO,
            preemption_grace_max: Duration::from_secs(30),
            nomination_timeout: Duration::from_secs(60),
            cleaning_estimate: Duration::from_secs(5),
            roles: Vec::new(),
            fair_share_kinds: vec!["gpu".into()],
            history_max: 1000,
            completed_ids_max: 200,
        }
    }
}

/// What happens to a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A deadline has come.
    Tick,
    /// An agent's connection says something. The first message is [`FromAgent::Register`].
    FromAgent {
        /// Which connection.
        peer: PeerId,
        /// Who is behind it.
        principal: Principal,
        /// What it says.
        message: FromAgent,
    },
    /// A framework's connection says something. The first call is [`Call::Subscribe`].
    FromFramework {
        /// Which connection.
        peer: PeerId,
        /// Who is behind it.
        principal: Principal,
        /// What it says.
        call: Call,
    },
    /// An operator asks for something; answered by [`Effect::Reply`].
    FromOperator {
        /// Names the reply.
        request: RequestId,
        /// Who asks.
        principal: Principal,
        /// For what.
        command: Command,
    },
    /// A connection is closed.
    PeerClosed(PeerId),
}

/// What operators ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// End a task.
    Kill {
        /// Which.
        task: TaskKey,
        /// How long it gets; none means what the task says.
        grace: Option<Duration>,
    },
    /// Remove a framework and kill its tasks.
    Teardown(FrameworkId),
    /// Declare an agent, and what ran on it, gone for good.
    MarkGone(AgentId),
    /// Set a role's weight, in thousandths; 1000 is the default.
    SetWeight {
        /// Which role.
        role: Role,
        /// Its weight.
        weight_milli: u32,
    },
    /// Set how the frameworks of a role, and of those below it, are made offers, whatever they ask for themselves.
    SetOfferMode {
        /// Which role.
        role: Role,
        /// How; none takes it back.
        mode: Option<OfferMode>,
    },
    /// Clean a device that is quarantined once more, and give it out again if that succeeds.
    ClearDevice {
        /// Of which agent.
        agent: AgentId,
        /// Which.
        device: DeviceId,
    },
    /// Change the reservations or volumes of an agent, of what is free there.
    Operate {
        /// Whose.
        agent: AgentId,
        /// What to do; no launch.
        operation: Operation,
    },
    /// Set the quotas of roles, or take them back: all or none.
    SetQuota {
        /// Each role with its quota; none takes it back.
        quotas: Vec<(Role, Option<Quota>)>,
        /// Also limits below what is held, and guarantees that the cluster does not have.
        force: Force,
    },
    /// The agent will be taken away: what runs there ends before, and nothing that would outlast it is begun there.
    Notice {
        /// Which.
        agent: AgentId,
        /// After how long; none means that it stays after all.
        after: Option<Duration>,
    },
    /// Say what machines cost from now on: all or none.
    SetPrices(Vec<Quote>),
    /// Why does it wait?
    Why(Target),
    /// When will it run?
    When(Target),
    /// What would help it to run?
    WhatWouldHelp(Target),
}

/// What `why` asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that a framework waits for.
    Framework(FrameworkId),
    /// One shape of its demand, by name.
    Shape(FrameworkId, String),
    /// A launched task.
    Task(TaskKey),
}

/// What a master does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the agent behind that connection, in this master's term.
    ToAgent(PeerId, ToAgent),
    /// Tell the framework behind that connection.
    ToFramework(PeerId, Event),
    /// Close that connection; the peer is told why.
    Close(PeerId, Reject),
    /// Answer an operator.
    Reply(RequestId, Result<Reply, Reject>),
    /// Tell the read model; the shell numbers these.
    Changed(view::Change),
}

/// An answer to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done, or begun.
    Done,
    /// Why it waits.
    Why(Box<crate::allocator::explain::Explanation>),
    /// When it will run.
    When(Box<crate::allocator::when::Forecast>),
    /// What would help it to run.
    WhatWouldHelp(Box<crate::allocator::help::Advice>),
}

/// Rows by the ids that masters give out. What a round looks up many times is found by hashing; the hash is always the same, and so is the
/// order in which rows are walked.
type ById<K, V> = indexmap::IndexMap<K, V, rustc_hash::FxBuildHasher>;

/// The master of a cluster, in one term.
#[derive(Debug)]
pub struct Master {
    config: Config,
    cluster: ClusterId,
    term: Term,
    now: Time,
    agents: ById<AgentId, Box<Agent>>,
    agent_clients: ById<ClientId, AgentId>,
    /// Agents of the registry that have not confirmed this master's term, and may yet.
    unheard: BTreeSet<AgentId>,
    frameworks: ById<FrameworkId, Framework>,
    framework_clients: BTreeMap<ClientId, FrameworkId>,
    tasks: BTreeMap<TaskKey, TaskEntry>,
    /// Tasks that ended and are only in the view, oldest first.
    history: VecDeque<TaskKey>,
    offers: ById<OfferId, OfferEntry>,
    /// Offers that were replaced, with those that replaced them.
    replaced: BTreeMap<OfferId, OfferId>,
    /// Kills whose tasks are not known, because agents are away.
    kills: BTreeMap<TaskKey, registry::KillRecord>,
    gangs: gangs::Gangs,
    operations: operations::Pending,
    /// Agents on which a reservation may have ended.
    expiring: BTreeSet<AgentId>,
    peers: ById<PeerId, PeerOf>,
    weights: BTreeMap<Role, u32>,
    offer_modes: BTreeMap<Role, OfferMode>,
    prices: BTreeMap<PriceKey, registry::PriceRecord>,
    /// Agents that will be taken away.
    leaving: BTreeSet<AgentId>,
    sorter: Sorter,
    class_order: class_order::ClassOrder,
    quotas: Quotas,
    recovering: recovering::Recovering,
    /// Limited roles of tasks that were found in this step: what is locked for them may be too much now.
    found: BTreeSet<Role>,
    /// When those who were held back by limits are looked at again.
    relax_due: Option<TimerKey>,
    /// Who waits for something, by role.
    demanding: BTreeMap<Role, BTreeSet<FrameworkId>>,
    /// Agents on which something was kept for roles under their guarantees.
    held_back: BTreeSet<AgentId>,
    preemption: Preemption,
    clients: Clients,
    capacity: Capacity,
    common: common::Common,
    reasons: Reasons,
    rules: rules::Rules,
    /// The last look at an agent that saw each client.
    seen: Vec<u64>,
    looks: u64,
    /// Offers of this round that their frameworks have not been told of.
    unsent: Vec<(FrameworkId, Arc<Offer>)>,
    /// Where they are put together for each framework; empty between rounds, kept for its room.
    letters: ById<FrameworkId, Vec<Arc<Offer>>>,
    timers: Timers,
    /// Agents on which something may be offered that was not before.
    dirty_agents: pile::Pile,
    /// Clients that may be offered something that they were not before.
    dirty_clients: BTreeSet<ClientIndex>,
    /// When the next round of offers is due.
    round_at: Option<Time>,
    /// A round that goes on.
    begun: round::Round,
    touched: Touched,
    random: Pcg64Mcg,
    /// The last agent, framework and offer of this term.
    last_seq: u64,
    stats: Stats,
    questions: questions::Questions,
}

impl Master {
    /// A master for a new term over what the registry holds. Known agents have [`Config::recovery_timeout`] to come back.
    pub fn recover(now: Time, config: Config, registry: Registry, out: &mut Outbox) -> Self {
        let term = Term(registry.term.0 + u64::from(!planted(Fault::TermNotRaised)));
        out.push(Output::Persist(Record::Term(term)));
        let mut master = Self {
            cluster: registry.cluster,
            term,
            now,
            agents: ById::default(),
            agent_clients: ById::default(),
            unheard: BTreeSet::new(),
            frameworks: ById::default(),
            framework_clients: BTreeMap::new(),
            tasks: BTreeMap::new(),
            history: VecDeque::new(),
            offers: ById::default(),
            replaced: BTreeMap::new(),
            gangs: gangs::Gangs::default(),
            kills: if planted(Fault::ForgetKillsOnFailover) { BTreeMap::new() } else { registry.kills },
            operations: operations::recover_pending(registry.operations),
            expiring: BTreeSet::new(),
            peers: ById::default(),
            weights: registry.weights,
            offer_modes: registry.offer_modes,
            leaving: BTreeSet::new(),
            sorter: Sorter::new(&config.fair_share_kinds),
            class_order: class_order::ClassOrder::default(),
            quotas: Quotas::new(),
            recovering: recovering::Recovering::default(),
            relax_due: None,
            found: BTreeSet::new(),
            demanding: BTreeMap::new(),
            held_back: BTreeSet::new(),
            preemption: Preemption::default(),
            clients: Clients::default(),
            capacity: Capacity::default(),
            common: common::Common::default(),
            reasons: Reasons::default(),
            rules: rules::Rules::new(&config.least),
            seen: Vec::new(),
            looks: 0,
            unsent: Vec::new(),
            letters: ById::default(),
            timers: Timers::default(),
            dirty_agents: pile::Pile::default(),
            dirty_clients: BTreeSet::new(),
            round_at: None,
            begun: round::Round::default(),
            touched: Touched { prices: registry.prices.keys().cloned().collect(), ..Touched::default() },
            prices: registry.prices,
            random: Pcg64Mcg::seed_from_u64(config.seed),
            last_seq: 0,
            stats: Stats::default(),
            questions: questions::Questions::default(),
            config,
        };
        master.recover_roles(registry.quotas);
        master.recover_frameworks(registry.frameworks);
        master.recover_agents(registry.agents);
        master.recover_leaving(registry.leaving, out);
        master.drop_vain_kills(out);
        master.show(out);
        master
    }

    fn recover_roles(&mut self, quotas: BTreeMap<Role, Quota>) {
        for (role, weight) in &self.weights {
            self.sorter.set_weight(role, *weight);
            self.class_order.set_weight(role, *weight);
            self.touched.roles.insert(role.clone());
        }
        for (role, quota) in quotas {
            self.quotas.restore(&role, quota);
            self.touched.roles.insert(role);
        }
        self.quotas.take_relaxed();
        self.touched.roles.extend(self.offer_modes.keys().cloned());
    }

    /// Fires what is due, then applies the input.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Outbox) {
        self.step_unshown(now, input, out);
        self.show(out);
    }

    /// The same, but the rows that have changed are left for a later step, or for [`Master::show`]. For shells that take many inputs at a
    /// time: a row that changes with each of them is shown once.
    pub fn step_unshown(&mut self, now: Time, input: Input, out: &mut Outbox) {
        self.now = self.now.max(now);
        self.fire_timers(out);
        match input {
            Input::Tick => {}
            Input::FromAgent { peer, principal, message } => self.on_agent(peer, principal, message, out),
            Input::FromFramework { peer, principal, call } => self.on_framework(peer, principal, call, out),
            Input::FromOperator { request, principal, command } => self.on_operator(request, &principal, command, out),
            Input::PeerClosed(peer) => self.on_peer_closed(peer, out),
        }
        self.settle_gangs(out);
        self.withdraw_beside_found(out);
        self.end_reservations(out);
        self.maybe_round(out);
        self.stats.steps += 1;
    }

    /// When it wants a [`Input::Tick`] at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next().into_iter().chain(self.round_at).min()
    }

    /// The term that this master leads.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The cluster that it leads.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// What it has counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn fire_timers(&mut self, out: &mut Outbox) {
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::AgentSilent(agent) => self.on_agent_silent(agent, out),
                Timer::FrameworkAway(framework) => self.on_framework_away(framework, out),
                Timer::Offer(offer) => self.on_offer_expired(offer, out),
                Timer::Leaving(agent) => self.on_leaving(agent, out),
                Timer::Filters(agent) => self.on_filters_end(agent),
                Timer::Turn(agent) => self.on_turn(agent),
                Timer::Gang(gang) => self.on_gang_late(gang, out),
                Timer::Reservation(agent) => drop(self.expiring.insert(agent)),
                Timer::LimitsRelaxed => self.on_limits_relaxed(),
                Timer::Preempt => self.on_preempt(out),
                Timer::Nomination(nomination) => self.on_nomination_expired(nomination),
            }
        }
    }

    fn on_peer_closed(&mut self, peer: PeerId, out: &mut Outbox) {
        match self.peers.swap_remove(&peer) {
            Some(PeerOf::Agent(agent)) => self.on_agent_disconnected(agent, out),
            Some(PeerOf::Framework(framework)) => self.on_framework_disconnected(framework),
            None => {}
        }
    }

    /// Every principal that the shell lets in is an operator.
    fn on_operator(&mut self, request: RequestId, principal: &Principal, command: Command, out: &mut Outbox) {
        let reply = match command {
            Command::Kill { task, grace } => self.kill(&task, grace, out).map(|()| Reply::Done),
            Command::Teardown(framework) => self.teardown(framework, out).map(|()| Reply::Done),
            Command::MarkGone(agent) => self.mark_gone(agent, out).map(|()| Reply::Done),
            Command::SetWeight { role, weight_milli } => self.set_weight(role, weight_milli, out).map(|()| Reply::Done),
            Command::SetOfferMode { role, mode } => self.set_offer_mode(&role, mode, out).map(|()| Reply::Done),
            Command::ClearDevice { agent, device } => self.clear_device(agent, device, out).map(|()| Reply::Done),
            Command::Operate { agent, operation } => {
                self.operate_free(agent, &operation, principal, out).map(|()| Reply::Done)
            }
            Command::SetQuota { quotas, force } => self.set_quotas(quotas, force, out).map(|()| Reply::Done),
            Command::Notice { agent, after } => self.notice(agent, after, out).map(|()| Reply::Done),
            Command::SetPrices(quotes) => self.set_prices(&quotes, out).map(|()| Reply::Done),
            Command::Why(target) => self.why(&target).map(|explanation| Reply::Why(Box::new(explanation))),
            Command::When(target) => self.when(&target).map(|forecast| Reply::When(Box::new(forecast))),
            Command::WhatWouldHelp(target) => {
                self.what_would_help(&target).map(|advice| Reply::WhatWouldHelp(Box::new(advice)))
            }
        };
        self.stats.operator_commands += 1;
        out.push(Output::Effect(Effect::Reply(request, reply)));
    }

    fn set_weight(&mut self, role: Role, weight_milli: u32, out: &mut Outbox) -> Result<(), Reject> {
        if !(1..=1_000_000).contains(&weight_milli) {
            let got = Milli(u64::from(weight_milli));
            return Err(Reject::invalid("weight", format!("expected 0.001 to 1000, got {got}")));
        }
        self.check_role("role", &role)?;
        if self.weights.len() >= known_roles::WEIGHTS_MAX && !self.weights.contains_key(&role) {
            return Err(Reject::Limit { what: "roles with a weight", limit: known_roles::WEIGHTS_MAX as u64 });
        }
        self.sorter.set_weight(&role, weight_milli);
        self.class_order.set_weight(&role, weight_milli);
        // The default is the same as none.
        let kept = Some(weight_milli).filter(|weight| *weight != DEFAULT_WEIGHT);
        match kept {
            Some(weight) => drop(self.weights.insert(role.clone(), weight)),
            None => drop(self.weights.remove(&role)),
        }
        self.touched.roles.insert(role.clone());
        out.push(Output::Persist(Record::Weight(role, kept)));
        Ok(())
    }

    fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    fn wall(&self) -> WallTime {
        WallTime(self.config.origin.0.saturating_add_unsigned(self.now.0))
    }
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod operator_laws;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod tests;
