//! What one seed means: every parameter of a run, drawn before it starts and printed first.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{
    Claim, Device, DeviceId, DeviceMode, Health, Milli, OfferMode, OfferRules, Pace, Proof, Quantities, ResourceName,
    Resources, Role, Topology,
};

use crate::dice::Dice;
use crate::fault::Fault;

/// The parameters of one run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How long anything may fail.
    pub(crate) unsafe_for: Duration,
    pub(crate) agents: Vec<AgentPlan>,
    pub(crate) frameworks: Vec<FrameworkPlan>,
    pub(crate) latency: (Duration, Duration),
    /// How often a message takes much longer, in thousandths, and up to how long.
    pub(crate) spikes: (u64, Duration),
    pub(crate) commit: (Duration, Duration),
    pub(crate) start: (Duration, Duration),
    pub(crate) release: (Duration, Duration),
    pub(crate) release_fails: u64,
    pub(crate) launch_fails: u64,
    pub(crate) fault_every: (Duration, Duration),
    pub(crate) faults: Vec<(Fault, u64)>,
    pub(crate) agent_timeout: Duration,
    pub(crate) recovery_timeout: Duration,
    pub(crate) offer_timeout: Duration,
    pub(crate) offer_fanout: usize,
    pub(crate) allocation_delay: Duration,
    pub(crate) offer_growth_delay: Duration,
    pub(crate) completed_max: usize,
    /// How often a process crashes while it writes several records, in thousandths of these writes.
    pub(crate) tears: u64,
    /// Whether machines stand in regions.
    pub(crate) has_regions: bool,
}

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct AgentPlan {
    pub(crate) resources: Resources,
    /// What it has after somebody took memory out of it, so that its tasks may not fit any more.
    pub(crate) small: Resources,
    pub(crate) devices: Vec<Device>,
    /// How much of it is kept for the tenants of its devices; so little that every job still fits the first machine.
    pub(crate) host_share_milli: u16,
    /// Whether it stands in another region than the master; none if it was not told where it stands.
    pub(crate) domain: Option<&'static str>,
    pub(crate) is_far: bool,
    /// Whether it has the attribute that constraints ask for.
    pub(crate) in_rack: bool,
}

/// What a framework is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Runs its jobs to the end.
    Batch,
    /// Keeps its jobs running until it is told to stop.
    Service,
    /// Takes every offer and does nothing with it.
    Hoarder,
    /// Declines every offer.
    Decliner,
}

/// A framework.
#[derive(Clone, Debug)]
pub(crate) struct FrameworkPlan {
    pub(crate) manner: Manner,
    pub(crate) role: Role,
    pub(crate) mode: OfferMode,
    pub(crate) failover_timeout: Duration,
    /// Whether it says what it waits for.
    pub(crate) declares: bool,
    /// Whether it suppresses offers while it needs none.
    pub(crate) suppresses: bool,
    /// How long it thinks before it answers offers.
    pub(crate) slow: Option<Duration>,
    /// Whether it asks for far more than it needs, and keeps what it does not use.
    pub(crate) greedy: bool,
    /// Whether it says nonsense now and then.
    pub(crate) buggy: bool,
    /// Whether it declines what it is offered once, for each job, before it takes it.
    pub(crate) hesitates: bool,
    /// Whether the master may make its refusals longer.
    pub(crate) pace: Pace,
    /// What it asks of offers.
    pub(crate) rules: OfferRules,
    /// Whether these ask for an attribute.
    pub(crate) wants_rack: bool,
    /// How many cpus there must be in each offer, by these.
    pub(crate) least_cpus: Option<Milli>,
    pub(crate) jobs: Vec<JobPlan>,
}

/// Tasks that a framework runs together.
#[derive(Clone, Debug)]
pub(crate) struct JobPlan {
    pub(crate) members: usize,
    /// Whether each member may run on another machine, and they start together or not at all; else they are one group.
    pub(crate) gang: bool,
    pub(crate) resources: Quantities,
    pub(crate) claims: Vec<Claim>,
    /// How long its command runs; none for ever.
    pub(crate) run: Option<Duration>,
    pub(crate) exit: u8,
    pub(crate) grace: Duration,
    pub(crate) priority: i32,
    /// When it is handed to its framework.
    pub(crate) arrives: Duration,
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const SEC: fn(u64) -> Duration = Duration::from_secs;

impl Plan {
    /// Draws every parameter from `seed`.
    pub(crate) fn draw(seed: u64, minutes: u64) -> Self {
        let dice = &mut Dice::child(seed, "plan");
        let unsafe_for = SEC(minutes * 60);
        let agents: Vec<AgentPlan> = (0..dice.count(1, 5)).map(|at| draw_agent(dice, at)).collect();
        let mut frameworks: Vec<FrameworkPlan> =
            (0..dice.count(1, 4)).map(|at| draw_framework(dice, at, unsafe_for)).collect();
        unlock_hoarders(&mut frameworks);
        let fast = dice.chance(500);
        let long = SEC(dice.between(2, 40));
        let mut plan = Self {
            seed,
            unsafe_for,
            agents,
            frameworks,
            latency: if fast { (MS(0), MS(2)) } else { (MS(1), MS(200)) },
            spikes: (dice.between(0, 30), MS(dice.between(200, 20_000))),
            commit: if dice.chance(600) { (MS(0), MS(5)) } else { (MS(5), MS(1_000)) },
            start: (MS(1), MS(dice.between(10, 3_000))),
            release: (MS(1), MS(dice.between(10, 10_000))),
            release_fails: if dice.chance(300) { 50 } else { 0 },
            launch_fails: if dice.chance(300) { 30 } else { 0 },
            fault_every: (SEC(1), long),
            faults: draw_faults(dice),
            agent_timeout: SEC(dice.between(1, 60)),
            recovery_timeout: SEC(dice.between(1, 90)),
            offer_timeout: SEC(dice.between(2, 60)),
            offer_fanout: dice.count(1, 4),
            allocation_delay: if dice.chance(500) { Duration::ZERO } else { MS(dice.between(1, 500)) },
            completed_max: dice.count(0, 20),
            offer_growth_delay: if dice.chance(500) { Duration::ZERO } else { MS(dice.between(1, 500)) },
            tears: 0,
            has_regions: false,
        };
        plan.widen();
        plan
    }
}

/// Who does not say what it waits for has no right against one that locks all there is; so there is none such beside it.
fn unlock_hoarders(frameworks: &mut [FrameworkPlan]) {
    let all_declare = frameworks.iter().all(|plan| plan.declares || plan.jobs.is_empty());
    for hoarder in frameworks.iter_mut().filter(|plan| plan.manner == Manner::Hoarder && !all_declare) {
        hoarder.mode = OfferMode::Optimistic;
    }
}

/// Each kind of fault is on or off in a run, so that some runs see one kind only, and often.
fn draw_faults(dice: &mut Dice) -> Vec<(Fault, u64)> {
    draw_some(Fault::ALL.into_iter().filter(|fault| !fault.is_later()), dice)
}

/// The kinds of fault that came later.
pub(crate) fn draw_later_faults(dice: &mut Dice) -> Vec<(Fault, u64)> {
    draw_some(Fault::ALL.into_iter().filter(|fault| fault.is_later()), dice)
}

fn draw_some(faults: impl Iterator<Item = Fault>, dice: &mut Dice) -> Vec<(Fault, u64)> {
    let share = *dice.pick(&[0, 200, 500, 900]).expect("four shares");
    let on = |dice: &mut Dice| if dice.chance(share) { dice.between(1, 10) } else { 0 };
    faults.map(|fault| (fault, on(dice))).filter(|(_, weight)| *weight > 0).collect()
}

pub(crate) fn draw_agent(dice: &mut Dice, at: usize) -> AgentPlan {
    // Every job fits the first machine, so that each of them can be run.
    let least = u64::from(at == 0);
    let cpus = Milli::from_whole(dice.between(2 + least * 4, 8));
    let mem = Milli::from_whole(dice.between(8 + least * 24, 64) * 128);
    let kinds = dice.count(usize::from(at == 0), 3);
    let devices = (0..kinds).map(|at| device(at, dice.chance(500), dice.chance(300))).collect();
    let disk = Milli::from_whole(dice.between(1, 64) * 64);
    let machine = |cpus: Milli, mem: Milli| {
        let mut all = Quantities::of(cpus, mem);
        all.set(&ResourceName::Disk, disk);
        Resources::scalars(all)
    };
    let small = machine(Milli(cpus.0 / 2), Milli(mem.0 / 4));
    let host_share_milli = *dice.pick(&[0, 0, 100, 200]).expect("four shares");
    let resources = machine(cpus, mem);
    AgentPlan { resources, small, devices, host_share_milli, domain: None, is_far: false, in_rack: true }
}

fn device(at: usize, is_large: bool, is_shared: bool) -> Device {
    Device {
        id: DeviceId::new(&format!("gpu{at}")),
        kind: Arc::from("gpu"),
        vendor: Arc::from("acme"),
        model: Arc::from(if is_large { "L" } else { "S" }),
        generation: if is_large { 2 } else { 1 },
        attributes: [].into(),
        topology: Topology::default(),
        mode: if is_shared { DeviceMode::Shared } else { DeviceMode::Exclusive },
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: Quantities::new(),
    }
}

fn draw_framework(dice: &mut Dice, at: usize, unsafe_for: Duration) -> FrameworkPlan {
    let manner = match (at, dice.between(0, 9)) {
        (0, 0..=7) | (_, 0..=4) => Manner::Batch,
        (0, _) | (_, 5..=7) => Manner::Service,
        (_, 8) => Manner::Hoarder,
        _ => Manner::Decliner,
    };
    let jobs = match manner {
        Manner::Batch => dice.count(5, 40),
        Manner::Service => dice.count(1, 5),
        Manner::Hoarder | Manner::Decliner => 0,
    };
    let text = *dice.pick(&["*", "eng", "eng/ci", "ops"]).expect("four roles");
    FrameworkPlan {
        manner,
        role: Role::new(text).expect("a literal role"),
        mode: if dice.chance(650) { OfferMode::Optimistic } else { OfferMode::Exclusive },
        // Longer than anything fails, for partitions may follow each other without a gap: only one that is gone on purpose stays away past it.
        failover_timeout: unsafe_for + SEC(dice.between(120, 600)),
        declares: dice.chance(500),
        suppresses: dice.chance(300),
        slow: None,
        greedy: false,
        buggy: false,
        hesitates: false,
        pace: Pace::AsSaid,
        rules: OfferRules::default(),
        wants_rack: false,
        least_cpus: None,
        jobs: (0..jobs).map(|_| draw_job(dice, manner, unsafe_for)).collect(),
    }
}

fn draw_job(dice: &mut Dice, manner: Manner, unsafe_for: Duration) -> JobPlan {
    let cpus = Milli(dice.between(1, 15) * 100);
    let mem = Milli::from_whole(dice.between(1, 8) * 32);
    let claims = ["", "", "", "gpu", "gpu: model == \"L\" | gpu", "gpu share 0.3: mode == shared | gpu share 0.5"];
    let claim = *dice.pick(&claims).expect("six claims");
    let run = dice.span((MS(20), SEC(120)));
    let runs_on = manner == Manner::Service && dice.chance(600);
    let gang = dice.chance(150);
    JobPlan {
        // The devices of the first machine are enough for one that asks for them.
        members: if claim.is_empty() && (gang || dice.chance(150)) { dice.count(2, 3) } else { 1 },
        gang,
        resources: Quantities::of(cpus, mem),
        claims: if claim.is_empty() { Vec::new() } else { vec![claim.parse().expect("a literal claim")] },
        run: if runs_on { None } else { Some(run) },
        exit: if dice.chance(200) { 3 } else { 0 },
        grace: dice.duration((MS(1), SEC(5))),
        priority: if dice.chance(300) { i32::try_from(dice.between(1, 3)).expect("it is small") } else { 0 },
        arrives: dice.duration((Duration::ZERO, unsafe_for)),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {} s of faults, then it must converge", self.seed, self.unsafe_for.as_secs())?;
        writeln!(
            f,
            "network {:?} to {:?}, {} in 1000 up to {:?}; commits {:?} to {:?}",
            self.latency.0, self.latency.1, self.spikes.0, self.spikes.1, self.commit.0, self.commit.1
        )?;
        writeln!(
            f,
            "agent timeout {:?}, recovery {:?}, offers {:?} in {} at once, rounds gathered for {:?}, offers grow after {:?}, {} ended tasks remembered",
            self.agent_timeout,
            self.recovery_timeout,
            self.offer_timeout,
            self.offer_fanout,
            self.allocation_delay,
            self.offer_growth_delay,
            self.completed_max
        )?;
        writeln!(f, "a fault every {:?} to {:?}: {:?}", self.fault_every.0, self.fault_every.1, self.faults)?;
        for (at, agent) in self.agents.iter().enumerate() {
            writeln!(f, "a{}: {} and {} devices", at + 1, agent.resources, agent.devices.len())?;
        }
        for (at, plan) in self.frameworks.iter().enumerate() {
            write!(
                f,
                "f{}: {:?} for {}, {:?} offers, {} jobs, declares {}, suppresses {}{}{}{}",
                at + 1,
                plan.manner,
                plan.role,
                plan.mode,
                plan.jobs.len(),
                plan.declares,
                plan.suppresses,
                plan.slow.map(|slow| format!(", thinks for {slow:?}")).unwrap_or_default(),
                if plan.greedy { ", greedy" } else { "" },
                if plan.buggy { ", buggy" } else { "" }
            )?;
            plan.describe_rules(f)?;
        }
        Ok(())
    }
}
