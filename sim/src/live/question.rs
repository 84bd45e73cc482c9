//! The questions to a snapshot.

use std::sync::Arc;
use std::time::Duration;

use rialto_core::allocator::quota::Force;
use rialto_core::master::{Command, Config};
use rialto_core::model::{AgentInfo, Device, DeviceMode, DeviceReport, DeviceState, Role, Time};

use super::replica::{Order, Replica};
use super::snapshot::{Agent, Snapshot};
use crate::market::{Machine, Market, info};

/// After so long what ran has been taken up, or never will be.
const TAKEN_UP: Duration = Duration::from_secs(1);
/// How often it is looked whether all that waits has started.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// More machines than this are not tried.
const MACHINES_MAX: u32 = 1024;

/// What is taken for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumptions {
    /// How long a task runs that declares nothing, from now; none means without end.
    pub run_time: Option<Duration>,
    /// How far to look ahead.
    pub horizon: Duration,
}

/// Machines that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// Like which, by its place in [`Snapshot::agents`].
    pub like: usize,
    /// How many.
    pub count: u32,
    /// When, from now.
    pub after: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One for each thing that waits, by framework.
    pub waits: Vec<WaitOutcome>,
    /// Tasks that run on the cluster and found no room in the simulation, as `framework/task`: what is known of them disagrees.
    pub not_taken_up: Vec<String>,
}

/// When what waits starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitOutcome {
    /// Whose it is.
    pub framework: String,
    /// For which role.
    pub role: Role,
    /// Its name.
    pub shape: Arc<str>,
    /// How many wait.
    pub count: u32,
    /// How many of them start within the horizon.
    pub started: u32,
    /// When the first starts, from now.
    pub first: Option<Duration>,
    /// When all have.
    pub all: Option<Duration>,
}

/// Machines that suffice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enough {
    /// Like this one.
    pub like: Arc<str>,
    /// So many.
    pub count: u32,
}

/// Runs the snapshot on, with these machines coming, until all that waits has started or the horizon is reached.
pub fn run_on(snapshot: &Snapshot, assumptions: &Assumptions, additions: &[Addition]) -> Outcome {
    let config = Config {
        offer_fanout: Config::default().offer_fanout.max(snapshot.frameworks.len()),
        // What is taken up is not preempted before all of it is there.
        ..Config::default()
    };
    let mut market: Market<Replica> = Market::new(config, Duration::ZERO, &[]);
    for agent in &snapshot.agents {
        market.join_as(&machine(agent, &agent.info.name), agent.info.clone());
    }
    let hosts: Vec<usize> = snapshot
        .frameworks
        .iter()
        .map(|framework| {
            let replica = Replica::new(framework, snapshot, assumptions.run_time);
            let roles = replica.roles().clone();
            let first = roles.first().cloned().unwrap_or_else(Role::any);
            market.subscribe(rialto_core::model::FrameworkInfo { roles, ..info(&first) }, replica)
        })
        .collect();
    market.run_until(Time::ZERO + TAKEN_UP);
    set_terms(&mut market, snapshot);
    hosts.iter().for_each(|host| market.command(Time::ZERO + TAKEN_UP, *host, Order::Begin));
    let mut coming = additions.to_vec();
    coming.sort_by_key(|addition| addition.after);
    let start = Time::ZERO + TAKEN_UP;
    let (mut coming, end) = (coming.into_iter().enumerate().peekable(), start + assumptions.horizon);
    let mut next = start;
    loop {
        market.run_until(next);
        while let Some((number, addition)) = coming.next_if(|(_, addition)| start + addition.after <= next) {
            join(&mut market, snapshot, number, &addition);
        }
        market.run_until(next);
        let is_through = hosts.iter().all(|host| market.policy(*host).is_through());
        if is_through || next >= end {
            break;
        }
        let arrival = coming.peek().map_or(end, |(_, addition)| start + addition.after);
        next = (next + LOOK_EVERY).min(arrival).min(end);
    }
    outcome(snapshot, &market, &hosts, start)
}

/// The smallest number of machines like each kind there is that lets all of what `is_asked` names start within `within`; none for a
/// kind of which even many do not help. The kinds with fewer machines to add come first.
pub fn what_suffices(
    snapshot: &Snapshot,
    assumptions: &Assumptions,
    within: Duration,
    is_asked: &dyn Fn(&WaitOutcome) -> bool,
) -> Vec<Enough> {
    let assumptions = Assumptions { horizon: within, ..*assumptions };
    let suffices = |like: usize, count: u32| {
        let addition = Addition { like, count, after: Duration::ZERO };
        let outcome = run_on(snapshot, &assumptions, &[addition]);
        outcome.waits.iter().filter(|wait| is_asked(wait)).all(|wait| wait.all.is_some())
    };
    let mut found = Vec::new();
    for like in kinds(snapshot) {
        let Some(mut high) = (0..)
            .map(|power| 1_u32 << power)
            .take_while(|count| *count <= MACHINES_MAX)
            .find(|count| suffices(like, *count))
        else {
            continue;
        };
        let mut low = high / 2;
        while high - low > 1 {
            let middle = u32::midpoint(low, high);
            if suffices(like, middle) { high = middle } else { low = middle }
        }
        found.push(Enough { like: snapshot.agents[like].info.name.clone(), count: high });
    }
    found.sort_by_key(|enough| enough.count);
    found
}

/// One machine of each kind: those with other resources, devices or attributes.
fn kinds(snapshot: &Snapshot) -> Vec<usize> {
    let mut kinds: Vec<usize> = Vec::new();
    for (number, agent) in snapshot.agents.iter().enumerate() {
        let models = |agent: &Agent| {
            agent.devices.iter().map(|device| (device.kind.clone(), device.model.clone())).collect::<Vec<_>>()
        };
        let is_like = |other: &usize| {
            let other = &snapshot.agents[*other];
            other.resources == agent.resources
                && other.info.attributes == agent.info.attributes
                && models(other) == models(agent)
        };
        if !kinds.iter().any(is_like) {
            kinds.push(number);
        }
    }
    kinds
}

fn set_terms(market: &mut Market<Replica>, snapshot: &Snapshot) {
    for terms in &snapshot.roles {
        if terms.weight_milli != 1000 {
            market.operate(Command::SetWeight { role: terms.role.clone(), weight_milli: terms.weight_milli });
        }
        if !terms.quota.is_empty() {
            let quotas = vec![(terms.role.clone(), Some(terms.quota.clone()))];
            market.operate(Command::SetQuota { quotas, force: Force::Yes });
        }
    }
}

fn join(market: &mut Market<Replica>, snapshot: &Snapshot, number: usize, addition: &Addition) {
    let like = &snapshot.agents[addition.like];
    for copy in 0..addition.count {
        let name = format!("{}+{number}.{copy}", like.info.name);
        let info = AgentInfo { name: Arc::from(name.as_str()), ..like.info.clone() };
        market.join_as(&machine(like, &name), info);
    }
}

fn machine(agent: &Agent, name: &str) -> Machine {
    // Emulated agents clean nothing, and tell of parts that are free only; whoever claims a whole device gets it as a whole here too.
    let report = |device: &Arc<Device>| DeviceReport {
        device: Arc::new(Device { mode: DeviceMode::Shared, ..(**device).clone() }),
        state: DeviceState::Free,
    };
    Machine {
        name: name.to_owned(),
        resources: agent.resources.clone(),
        devices: agent.devices.iter().map(report).collect(),
    }
}

fn outcome(snapshot: &Snapshot, market: &Market<Replica>, hosts: &[usize], start: Time) -> Outcome {
    let mut found = Outcome { waits: Vec::new(), not_taken_up: Vec::new() };
    for (framework, host) in snapshot.frameworks.iter().zip(hosts) {
        let replica = market.policy(*host);
        let missing = replica.missing.values().map(|held| format!("{}/{}", framework.id, held.running.task));
        found.not_taken_up.extend(missing);
        found.waits.extend(replica.waiting.iter().map(|waiting| WaitOutcome {
            framework: framework.id.clone(),
            role: waiting.role.clone(),
            shape: waiting.shape.name.clone(),
            count: waiting.shape.count,
            started: u32::try_from(waiting.started.len()).unwrap_or(u32::MAX),
            first: waiting.started.first().map(|at| at.since(start)),
            all: waiting.started.get(waiting.shape.count.max(1) as usize - 1).map(|at| at.since(start)),
        }));
    }
    found
}
