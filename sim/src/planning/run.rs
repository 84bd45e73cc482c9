//! One run of one seed: the production master and drivers, with the jobs and machines of the scenario around them.

mod waits;
mod why;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::allocator::quota::{Force, Quota};
use rialto_core::allocator::sorter::kind_quantity;
use rialto_core::master::{Command, Config};
use rialto_core::model::{Milli, Prices, ResourceName, Resources, Role, Time};
use rialto_core::scheduler::placement::board::{GpuBoard, GpuChoice, Scores, Ties};
use rialto_core::scheduler::placement::fgd::Fragmentation;
use rialto_core::scheduler::placement::gpu::GpuAsk;
use rialto_core::scheduler::placement::policy::{GpuPolicy, Largest};

use self::waits::BySize;
use super::account::{Account, PoolDays};
use super::demand::{Job, Stream};
use super::fleet::{Change, Fleet};
use super::jobs::{TraceJob, Traits};
use super::left::{Kind, Left, Taken};
use super::outcome::{Integral, Outcome, Reasons, Waits, Week, Why, week_of};
use super::policy::{Ask, Entry, Fate, Order, Planner};
use super::prices::{self, Told};
use super::records::End;
use super::scenario::{Change as Alter, Framework, Order as Purchase, Quota as Bound, Rent, Scenario, What, Workload};
use super::shipped::{Crew, Errand, Services};
use super::units::WEEK;
use crate::live::Terms;
use crate::market::{Market, Seen, info};

const DAY: Duration = Duration::from_secs(86_400);

/// What is run: the scenario, and what a question changes about it.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    pub(super) scenario: &'a Scenario,
    /// Machines of each pool at the start.
    pub(super) counts: Vec<u32>,
    pub(super) orders: Vec<Purchase>,
    pub(super) rents: Vec<Rent>,
    /// By when they happen.
    pub(super) changes: Vec<Alter>,
    /// Machines that arrive at a moment, whenever they were ordered.
    pub(super) deliveries: Vec<(usize, u32, Time)>,
    pub(super) placement: GpuPolicy,
    pub(super) until: Time,
    /// Whether it ends with the first week in which a limit is not kept.
    pub(super) stops_at_failure: bool,
    /// The first week whose waits are judged, counted from 0.
    pub(super) judged_from: usize,
    /// Whether the outcome says what became of each job.
    pub(super) keeps_jobs: bool,
    /// Whether all invariants are checked after every event.
    pub(super) audits: bool,
}

impl<'a> Way<'a> {
    /// The scenario as it is.
    pub(super) fn of(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            counts: scenario.pools.iter().map(|pool| pool.count).collect(),
            orders: scenario.orders.clone(),
            rents: scenario.rents.clone(),
            changes: scenario.changes.clone(),
            deliveries: Vec::new(),
            placement: scenario.placement,
            until: Time::ZERO + WEEK * u32::try_from(scenario.weeks()).unwrap_or(u32::MAX),
            stops_at_failure: false,
            judged_from: scenario.warmup_weeks,
            keeps_jobs: false,
            audits: false,
        }
    }

    pub(super) fn run(&self, seed: u64) -> Outcome {
        Outcome { seed, ..Run::new(self, seed).into_outcome() }
    }
}

/// What is known of a workload's jobs while it runs.
struct Crowd {
    /// Its framework, where one has all its jobs.
    host: Option<usize>,
    stream: Peekable<Stream>,
    /// By the place in the list: which of the distinct asks.
    kinds: Vec<usize>,
    jobs: Vec<Known>,
    /// The jobs that do not run and are not over.
    waiting: BTreeSet<usize>,
    /// By week of submission.
    waits: Vec<Vec<f64>>,
    account: Account,
}

impl Crowd {
    fn that_wait(&self) -> impl Iterator<Item = &Known> {
        self.waiting.iter().map(|number| &self.jobs[*number])
    }

    fn not_started(&self) -> impl Iterator<Item = &Known> {
        self.that_wait().filter(|known| known.started.is_none())
    }
}

/// Whose jobs a framework has.
struct Owner {
    crowd: usize,
    /// What it counts from zero begins with this job of the crowd.
    first: usize,
    /// How far its log was read.
    read: usize,
}

/// What is known of a job.
struct Known {
    submit: Time,
    duration: Duration,
    /// Which job of the list it is like.
    listed: u32,
    /// How much it asks for.
    size: f64,
    /// Whether its wait counts.
    counts: bool,
    started: Option<Time>,
    started_last: Option<Time>,
    ended: Option<(Time, End)>,
    starts: u32,
    interruptions: u32,
    why: Option<Why>,
}

impl Known {
    const fn new(job: &Job, listed: u32, size: f64) -> Self {
        Self {
            submit: job.submit,
            duration: job.duration,
            listed,
            size,
            counts: !job.is_prefill,
            started: None,
            started_last: None,
            ended: None,
            starts: 0,
            interruptions: 0,
            why: None,
        }
    }
}

struct Run<'a> {
    way: &'a Way<'a>,
    market: Market<Crew>,
    /// By the number of a framework.
    owners: Vec<Owner>,
    speeds: Arc<BTreeMap<Arc<str>, f64>>,
    fleet: Fleet<'a>,
    prices: Told,
    /// What is to be changed, the next first.
    changes: VecDeque<Alter>,
    /// Of each workload, as it is now.
    quotas: Vec<Option<Bound>>,
    crowds: Vec<Crowd>,
    asks: Vec<Arc<[Ask]>>,
    counts_gpus: bool,
    demand: Integral,
    used: Integral,
    capacity: Integral,
    machines: Vec<Vec<u32>>,
    redone_hours: f64,
    finished: u64,
    given_up: u64,
    reasons: Reasons,
    left: Left,
    /// By day.
    fragmented: Vec<f64>,
    pools: PoolDays,
    /// What was submitted last and waits, as far as is known, where it is to be said why.
    fresh: Vec<(usize, usize)>,
}

impl<'a> Run<'a> {
    fn new(way: &'a Way<'a>, seed: u64) -> Self {
        let scenario = way.scenario;
        let mut fleet = Fleet::new(&scenario.pools, &way.counts, seed);
        way.orders.iter().enumerate().for_each(|(number, order)| fleet.order(order, seed, number));
        way.deliveries.iter().for_each(|(pool, count, at)| fleet.deliver(*pool, *count, *at));
        way.rents.iter().for_each(|rent| fleet.rent(rent));
        let mut market = Market::new(config(scenario, seed), Duration::ZERO, &[]);
        market.audits = way.audits;
        let fragmentation =
            Fragmentation::of_workload(scenario.workloads.iter().flat_map(|of| of.jobs.iter().map(|job| &job.ask)));
        let mut run = Self {
            way,
            market,
            owners: Vec::new(),
            speeds: Arc::new(scenario.pools.iter().map(|pool| (pool.name.clone(), pool.speed)).collect()),
            fleet,
            prices: Told::of(scenario),
            changes: by_time(&way.changes),
            quotas: scenario.workloads.iter().map(|workload| workload.quota).collect(),
            crowds: Vec::new(),
            asks: Vec::new(),
            counts_gpus: scenario.counts_gpus(),
            demand: Integral::new(),
            used: Integral::new(),
            capacity: Integral::new(),
            machines: Vec::new(),
            redone_hours: 0.0,
            finished: 0,
            given_up: 0,
            reasons: Reasons::default(),
            left: Left::new(fragmentation.clone()),
            fragmented: Vec::new(),
            pools: PoolDays::new(scenario.pools.len()),
            fresh: Vec::new(),
        };
        run.tell_prices(Time::ZERO);
        run.change_fleet(Time::ZERO);
        run.set_terms();
        for workload in &scenario.workloads {
            run.admit(workload, &fragmentation, seed);
        }
        run.market.run_until(Time::ZERO);
        run
    }

    fn admit(&mut self, workload: &'a Workload, fragmentation: &Fragmentation, seed: u64) {
        let scenario = self.way.scenario;
        let mut distinct: BTreeMap<(&GpuAsk, Traits), usize> = BTreeMap::new();
        let of = |at: usize, job: &'a TraceJob| (&job.ask, workload.traits_of(at));
        for (at, job) in workload.jobs.iter().enumerate() {
            let next = distinct.len();
            distinct.entry(of(at, job)).or_insert(next);
        }
        let kinds = workload.jobs.iter().enumerate().map(|(at, job)| distinct[&of(at, job)]).collect();
        let mut asks: Vec<((&GpuAsk, Traits), usize)> = distinct.into_iter().collect();
        asks.sort_by_key(|(_, number)| *number);
        let asks: Arc<[Ask]> = asks.into_iter().map(|((each, traits), _)| Ask { each: each.clone(), traits }).collect();
        let largest = Largest {
            cpus: scenario.pools.iter().map(|pool| pool.cpus).max().unwrap_or_default(),
            gpus: scenario.pools.iter().map(|pool| pool.gpus).max().unwrap_or_default().max(1),
        };
        let choice =
            GpuChoice { policy: self.way.placement, scores: Scores::Percent, ties: Ties::First, largest, seed };
        let board = GpuBoard::new(choice, fragmentation.clone());
        let role = &workload.role;
        if (workload.weight - 1.0).abs() > f64::EPSILON {
            self.weigh(role, workload.weight);
        }
        if let Some(quota) = &workload.quota {
            self.bound(role, quota);
        }
        let crew = match workload.framework {
            Framework::Library => {
                let planner = Planner::new(role.clone(), board, asks.clone(), self.speeds.clone(), workload.checkpoint);
                Some(Crew::Library(Box::new(planner.with_max_price(workload.max_price))))
            }
            Framework::Web => Some(Crew::Web(Box::new(Services::new(role.clone(), asks.clone())))),
            Framework::Ci | Framework::Analytics => None,
        };
        let host = crew.map(|crew| self.subscribe(self.crowds.len(), crew));
        self.asks.push(asks);
        let stream = Stream::new(workload, seed).peekable();
        let (jobs, waiting, waits, account) = (Vec::new(), BTreeSet::new(), Vec::new(), Account::new());
        self.crowds.push(Crowd { host, stream, kinds, jobs, waiting, waits, account });
    }

    /// A framework for the jobs of that crowd that come from now on.
    fn subscribe(&mut self, crowd: usize, crew: Crew) -> usize {
        let first = self.crowds.get(crowd).map_or(0, |crowd| crowd.jobs.len());
        self.owners.push(Owner { crowd, first, read: 0 });
        self.market.subscribe(info(&self.way.scenario.workloads[crowd].role), crew)
    }

    /// The roles of a cluster that it begins with are weighted and bounded as there.
    fn set_terms(&mut self) {
        for Terms { role, weight_milli, quota } in self.way.scenario.cluster.iter().flat_map(|cluster| &cluster.terms) {
            self.market.operate(Command::SetWeight { role: role.clone(), weight_milli: *weight_milli });
            let quotas = vec![(role.clone(), Some(quota.clone()))];
            self.market.operate(Command::SetQuota { quotas, force: Force::Yes });
        }
    }

    fn weigh(&mut self, role: &Role, weight: f64) {
        let weight_milli = (weight * 1000.0).round() as u32;
        self.market.operate(Command::SetWeight { role: role.clone(), weight_milli });
    }

    fn bound(&mut self, role: &Role, quota: &Bound) {
        let quotas = vec![(role.clone(), Some(quota_of(quota)))];
        self.market.operate(Command::SetQuota { quotas, force: Force::Yes });
    }

    /// What an operator does at `now`.
    fn alter(&mut self, now: Time) {
        let scenario = self.way.scenario;
        while let Some(change) = self.changes.pop_front_if(|change| change.at <= now) {
            match change.what {
                What::Terms { workload, weight, quota } => {
                    let role = &scenario.workloads[workload].role;
                    weight.into_iter().for_each(|weight| self.weigh(role, weight));
                    if let Some(quota) = quota {
                        self.bound(role, &quota);
                        self.quotas[workload] = Some(quota);
                    }
                }
                What::Retire { pool, count, notice } => self.fleet.retire(now, pool, count, notice),
            }
        }
    }

    fn into_outcome(mut self) -> Outcome {
        let mut day = Time::ZERO + DAY;
        loop {
            let arrival = self.crowds.iter_mut().filter_map(|crowd| Some(crowd.stream.peek()?.submit)).min();
            let next = [
                arrival,
                self.fleet.next(),
                self.prices.next(),
                self.changes.front().map(|change| change.at),
                Some(day),
            ]
            .into_iter()
            .flatten()
            .min()
            .expect("there is always a next day");
            if next > self.way.until {
                break;
            }
            self.market.run_until(next);
            self.look();
            self.ask_the_fresh();
            self.tell_prices(next);
            self.alter(next);
            self.change_fleet(next);
            self.submit(next);
            if next == day {
                day = day + DAY;
                self.ask_why();
                self.pools.count(&self.left);
                self.fragmented.push(if self.counts_gpus { self.left.fragmented() } else { 0.0 });
                if week_of(next) > self.machines.len() {
                    self.machines.push(self.fleet.up());
                    if self.way.stops_at_failure && !self.failures(next).is_empty() {
                        return self.outcome(next);
                    }
                }
            }
        }
        let until = self.way.until;
        self.market.run_until(until);
        self.look();
        self.outcome(until)
    }

    /// The master is told of the prices that hold from `now` on.
    fn tell_prices(&mut self, now: Time) {
        let quotes = self.prices.step(now);
        for quotes in quotes.chunks(Prices::MAX) {
            self.market.operate(Command::SetPrices(quotes.to_vec()));
        }
    }

    /// What happens to machines at `now`.
    fn change_fleet(&mut self, now: Time) {
        for change in self.fleet.step(now) {
            match change {
                Change::Join(machine, class) => {
                    let pool = &self.way.scenario.pools[self.fleet.pool_of(self.market.machines())];
                    let kind =
                        Kind { pool: self.fleet.pool_of(self.market.machines()), is_rented: class != prices::OWNED };
                    let unit = self.market.join_as(&machine, prices::info(&machine.name, pool, class));
                    self.left.join(pool, kind);
                    self.capacity.add(now, self.size_of(unit));
                }
                Change::Notice(unit, after) => self.market.notice(unit, after),
                Change::Fail(unit) => {
                    self.market.fail(unit);
                    self.left.set_up(unit, false);
                    self.capacity.add(now, -self.size_of(unit));
                }
                Change::Repair(unit) => {
                    self.market.repair(unit);
                    self.left.set_up(unit, true);
                    self.capacity.add(now, self.size_of(unit));
                }
            }
        }
    }

    /// What a machine has of what is counted.
    fn size_of(&self, unit: usize) -> f64 {
        let pool = &self.way.scenario.pools[self.fleet.pool_of(unit)];
        if self.counts_gpus { f64::from(pool.gpus) } else { pool.cpus.0 as f64 / 1000.0 }
    }

    fn size_asked(&self, Ask { each, traits }: &Ask) -> f64 {
        let milli = if self.counts_gpus { u64::from(each.gpus) * u64::from(each.share.0) } else { each.cpus.0 };
        milli as f64 / 1000.0 * f64::from(traits.members)
    }

    /// The jobs that are submitted at `now`.
    fn submit(&mut self, now: Time) {
        for at in 0..self.crowds.len() {
            while let Some(job) = self.crowds[at].stream.next_if(|job| job.submit <= now) {
                let listed = u32::try_from(job.ask).expect("a list has at most ALL_TASKS_MAX jobs");
                let job = Job { ask: self.crowds[at].kinds[job.ask], ..job };
                match self.crowds[at].host {
                    Some(host) => self.market.command(now, host, Order::Run(job)),
                    None => self.send_for(at, &job),
                }
                let size = self.size_asked(&self.asks[at][job.ask]);
                let crowd = &mut self.crowds[at];
                if self.way.keeps_jobs {
                    self.fresh.push((at, crowd.jobs.len()));
                }
                crowd.waiting.insert(crowd.jobs.len());
                crowd.jobs.push(Known::new(&job, listed, size));
                crowd.account.demand.add(now, size);
                self.demand.add(now, size);
            }
        }
    }

    /// A framework of its own comes with the job.
    fn send_for(&mut self, crowd: usize, job: &Job) {
        let workload = &self.way.scenario.workloads[crowd];
        let errand = Errand {
            role: workload.role.clone(),
            ask: self.asks[crowd][job.ask].clone(),
            duration: job.duration,
            speeds: self.speeds.clone(),
            max_price: workload.max_price,
        };
        if let Some(crew) = Crew::of(workload.framework, errand) {
            self.subscribe(crowd, crew);
        }
    }

    /// What happened on machines and to jobs since the last look.
    fn look(&mut self) {
        let seen = std::mem::take(&mut self.market.seen);
        for (at, seen) in &seen {
            match seen {
                Seen::Started { machine, resources } => {
                    self.left.change(*machine, resources, Taken::More);
                    self.used.add(*at, self.size_used(resources));
                }
                Seen::Ended { machine, resources } => {
                    self.left.change(*machine, resources, Taken::Less);
                    self.used.add(*at, -self.size_used(resources));
                }
            }
        }
        for host in std::mem::take(&mut self.market.moved) {
            let read = self.owners[host].read;
            let entries = self.market.policy(host).log()[read..].to_vec();
            self.owners[host].read += entries.len();
            entries.iter().for_each(|entry| self.note(host, entry));
            self.market.let_go(host);
        }
    }

    /// What became of a job.
    fn note(&mut self, host: usize, entry: &Entry) {
        let Owner { crowd, first, .. } = self.owners[host];
        let (crowd, number) = (&mut self.crowds[crowd], first + entry.job);
        let known = &mut crowd.jobs[number];
        match entry.fate {
            Fate::Started => {
                if crowd.waiting.remove(&number) {
                    crowd.account.held.add(entry.at, known.size);
                }
                if known.started.is_none() && known.counts {
                    let week = week_of(known.submit);
                    crowd.waits.resize(crowd.waits.len().max(week + 1), Vec::new());
                    crowd.waits[week].push(entry.at.since(known.submit).as_secs_f64());
                }
                known.started.get_or_insert(entry.at);
                known.started_last = Some(entry.at);
                known.starts += 1;
            }
            Fate::Finished | Fate::GivenUp => {
                let ran = !crowd.waiting.remove(&number);
                crowd.account.ends(entry.at, known.size, ran);
                self.demand.add(entry.at, -known.size);
                let (end, count) = match entry.fate {
                    Fate::Finished => (End::Finished, &mut self.finished),
                    _ => (End::GivenUp, &mut self.given_up),
                };
                known.ended = Some((entry.at, end));
                *count += 1;
            }
            Fate::Interrupted(after) => {
                crowd.account.waits_again(entry.at, known.size, crowd.waiting.insert(number));
                known.interruptions += 1;
                self.redone_hours += known.size * after.as_secs_f64() / 3600.0;
            }
            Fate::Saved => {
                crowd.account.waits_again(entry.at, known.size, crowd.waiting.insert(number));
            }
        }
    }

    fn size_used(&self, resources: &Resources) -> f64 {
        if self.counts_gpus {
            resources.device_shares().map(|(_, share)| f64::from(share.0)).sum::<f64>() / 1000.0
        } else {
            resources.quantities().get(&ResourceName::Cpus).0 as f64 / 1000.0
        }
    }

    fn outcome(mut self, now: Time) -> Outcome {
        self.market.check();
        [&mut self.demand, &mut self.used, &mut self.capacity].into_iter().for_each(|integral| integral.advance(now));
        self.crowds.iter_mut().for_each(|crowd| crowd.account.advance(now));
        let failures = self.failures(now);
        let waits: Vec<Vec<Waits>> = self.crowds.iter().map(|crowd| self.waits(crowd, now)).collect();
        let by_size: Vec<Vec<BySize>> = self.crowds.iter().map(|crowd| self.waits_by_size(crowd, now)).collect();
        let up = self.fleet.up();
        let week = |number: usize| Week {
            demand: self.demand.mean(number, WEEK),
            used: self.used.mean(number, WEEK),
            capacity: self.capacity.mean(number, WEEK),
            fragmented: self.fragmented_in(number),
            machines: self.machines.get(number).unwrap_or(&up).clone(),
            waits: waits.iter().map(|of| of.get(number).copied().unwrap_or_default()).collect(),
            waits_by_size: by_size.iter().map(|of| of.get(number).cloned().unwrap_or_default()).collect(),
            queues: self.crowds.iter().map(|crowd| crowd.account.week(number)).collect(),
            pools: self.pools.week(number),
        };
        let weeks = (0..week_of(now)).map(week).collect();
        let not_started = self.crowds.iter().map(|crowd| crowd.not_started().count() as u64).sum();
        self.fleet.end(now);
        let jobs = if self.way.keeps_jobs { self.jobs() } else { Vec::new() };
        Outcome {
            seed: 0,
            weeks,
            costs: self.fleet.costs,
            redone_hours: self.redone_hours,
            finished: self.finished,
            given_up: self.given_up,
            not_started,
            reasons: self.reasons,
            failures,
            events: self.market.events,
            master: *self.market.master(),
            machines: self.fleet.records(),
            jobs,
        }
    }

    /// In the mean of the days of a week.
    fn fragmented_in(&self, week: usize) -> f64 {
        let days = self.fragmented.iter().skip(week * 7).take(7);
        days.clone().sum::<f64>() / days.count().max(1) as f64
    }
}

fn by_time(changes: &[Alter]) -> VecDeque<Alter> {
    let mut changes = changes.to_vec();
    changes.sort_by_key(|change| change.at);
    changes.into()
}

/// The master's defaults, but that every workload's framework is offered everything: they don't declare what they wait for, and those
/// that wait for nothing would keep what is free from the others.
fn config(scenario: &Scenario, seed: u64) -> Config {
    let defaults = Config::default();
    Config { seed, offer_fanout: defaults.offer_fanout.max(scenario.workloads.len()), ..defaults }
}

fn quota_of(bound: &Bound) -> Quota {
    let names = [kind_quantity("gpu"), ResourceName::Cpus];
    let mut quota = Quota::default();
    for (name, amount) in names.iter().zip([bound.gpus_max, bound.cpus_max]) {
        if let Some(amount) = amount {
            quota.limit.insert(name.clone(), milli(amount));
        }
    }
    for (name, amount) in names.iter().zip([bound.gpus_guaranteed, bound.cpus_guaranteed]) {
        if let Some(amount) = amount {
            quota.guarantee.set(name, milli(amount));
        }
    }
    quota
}

fn milli(amount: f64) -> Milli {
    Milli((amount * 1000.0).round() as u64)
}
