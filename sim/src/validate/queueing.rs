//! V12: closed forms of queueing theory, through the production master and the planner's framework.
//!
//! Jobs of one core come at random to a machine of `c` cores and are served in the order in which they came. Each run is held against
//! the closed form, and, job by job, against the exact queue of the same jobs: there nothing is random, so it must be met to the
//! microsecond. Little's law and the sum of all work are bookkeeping, and exact.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rialto_core::model::Milli;

use super::check::{Check, Row, mean};
use super::{Effort, Part};
use crate::dice::Dice;
use crate::planning::{Outcome, Pool, Scenario, TraceJob, WEEK, Workload, host};

/// The mean time of service.
const SERVICE_S: f64 = 600.0;
/// What random numbers of a service time are.
#[derive(Clone, Copy, Debug)]
enum Service {
    Exponential,
    Always,
}

/// A queue: so many servers, so busy.
#[derive(Clone, Copy, Debug)]
struct Queue {
    name: &'static str,
    servers: u32,
    load: f64,
    service: Service,
}

const QUEUES: [Queue; 3] = [
    Queue { name: "M/M/1 at 0.7", servers: 1, load: 0.7, service: Service::Exponential },
    Queue { name: "M/M/8 at 0.8", servers: 8, load: 0.8, service: Service::Exponential },
    Queue { name: "M/D/1 at 0.7", servers: 1, load: 0.7, service: Service::Always },
];

pub(super) fn check(effort: Effort) -> Check {
    let (jobs, seeds) = match effort {
        Effort::Quick => (4_000, 1),
        Effort::Usual => (200_000, 3),
        Effort::Full => (2_000_000, 1),
    };
    let mut parts: Vec<Part> = Vec::new();
    for queue in QUEUES {
        parts.extend((0..seeds).map(|seed| -> Part { Box::new(move || queue.run(jobs, seed)) }));
    }
    let customers = if effort == Effort::Quick { 60 } else { 1000 };
    parts.extend((0..seeds).map(|seed| -> Part { Box::new(move || shared(customers, seed)) }));
    let judge = move |found: &[Vec<f64>]| {
        let mut found = found.chunks(seeds as usize);
        let mut rows: Vec<Row> =
            QUEUES.iter().zip(&mut found).flat_map(|(queue, found)| queue.judge(found, effort)).collect();
        rows.extend(found.next().map(judge_shared).unwrap_or_default());
        rows
    };
    Check { parts, judge: Box::new(judge) }
}

impl Queue {
    /// The mean wait that theory gives, in seconds.
    fn expected(&self) -> f64 {
        match self.service {
            Service::Exponential => {
                let c = f64::from(self.servers);
                erlang_c(self.servers, self.load * c) * SERVICE_S / (c * (1.0 - self.load))
            }
            Service::Always => self.load * SERVICE_S / (2.0 * (1.0 - self.load)),
        }
    }

    fn jobs(&self, count: usize, seed: u64) -> Vec<TraceJob> {
        let mut dice = Dice::child(seed, self.name);
        let gap = SERVICE_S / (f64::from(self.servers) * self.load);
        let mut at = 0.0;
        let job = |_| {
            let submit = Duration::from_secs_f64(at);
            at += gap * dice.exponential();
            let duration = match self.service {
                Service::Exponential => Duration::from_secs_f64(SERVICE_S * dice.exponential()),
                Service::Always => Duration::from_secs_f64(SERVICE_S),
            };
            TraceJob { submit, duration, ask: host(1.0, 1.0) }
        };
        (0..count).map(job).collect()
    }

    /// The mean wait, the largest difference to the exact queue, jobs that did not end, and both sides of each law.
    fn run(&self, count: usize, seed: u64) -> Vec<f64> {
        let jobs = self.jobs(count, seed);
        let exact = exact_waits(&jobs, self.servers);
        let length = jobs.last().map_or(0.0, |job| job.submit.as_secs_f64());
        // Long enough for the last of them to end.
        let horizon = WEEK * (length / WEEK.as_secs_f64() + 4.0) as u32;
        let work: f64 = jobs.iter().map(|job| job.duration.as_secs_f64()).sum();
        let pool = Pool::plain("m", 1, Milli::from_whole(u64::from(self.servers)), Milli::from_whole(1 << 20));
        let scenario = Scenario::plain(vec![pool], vec![Workload::plain("jobs", jobs)], horizon);
        let outcome = scenario.replayed(seed, false);
        let waits: Vec<f64> = outcome.jobs.iter().map(|job| job.wait_s().unwrap_or(f64::NAN)).collect();
        let worst = waits.iter().zip(&exact).map(|(wait, exact)| (wait - exact).abs()).fold(0.0, f64::max);
        let unfinished = outcome.jobs.iter().filter(|job| job.ended.is_none()).count();
        let stays = outcome.jobs.iter().filter_map(|job| Some(job.ended?.since(job.submitted).as_secs_f64()));
        let stayed: f64 = stays.sum();
        vec![
            mean(waits.iter().copied()),
            worst,
            unfinished as f64,
            total(&outcome, |week| week.demand),
            stayed,
            total(&outcome, |week| week.used),
            work,
        ]
    }

    fn judge(&self, found: &[Vec<f64>], effort: Effort) -> Vec<Row> {
        let what = |what: &str| format!("{}: {what}", self.name);
        let of = |at: usize| mean(found.iter().map(|numbers| numbers[at]));
        let worst = |at: usize| found.iter().map(|numbers| numbers[at]).fold(0.0, f64::max);
        let (wait, expected) = (what("mean wait, s"), self.expected());
        let formula = match effort {
            Effort::Quick => Row::told("V12", wait, format!("{expected:.1} of many more jobs"), of(0)),
            Effort::Usual => Row::relative("V12", wait, expected, of(0), 0.05),
            Effort::Full => Row::relative("V12", wait, expected, of(0), 0.02),
        };
        vec![
            formula,
            Row::at_most("V12", what("largest difference of a job's wait to the exact queue, s"), 1e-5, worst(1)),
            Row::at_most("V12", what("jobs that did not end"), 0.0, worst(2)),
            Row::relative("V12", what("Little's law, jobs in the system times time, s"), of(4), of(3), 1e-6),
            Row::relative("V12", what("time that cores were busy, s, of the work of all jobs"), of(6), of(5), 1e-6),
        ]
    }
}

/// A number of cores over all weeks, in core-seconds.
fn total(outcome: &Outcome, of: fn(&crate::planning::Week) -> f64) -> f64 {
    outcome.weeks.iter().map(of).sum::<f64>() * WEEK.as_secs_f64()
}

/// The probability that somebody must wait: Erlang's second formula, for an offered load in servers.
fn erlang_c(servers: u32, offered: f64) -> f64 {
    let blocked = (1..=servers).fold(1.0, |blocked, n| offered * blocked / (f64::from(n) + offered * blocked));
    let load = offered / f64::from(servers);
    blocked / (1.0 - load + load * blocked)
}

/// How long each job waits where they are served in the order of arrival, in seconds.
fn exact_waits(jobs: &[TraceJob], servers: u32) -> Vec<f64> {
    let mut free: BinaryHeap<Reverse<u64>> = (0..servers).map(|_| Reverse(0)).collect();
    let micros = |span: Duration| span.as_micros() as u64;
    let wait = |job: &TraceJob| {
        let Reverse(at) = free.pop().expect("there are servers");
        let starts = at.max(micros(job.submit));
        free.push(Reverse(starts + micros(job.duration)));
        (starts - micros(job.submit)) as f64 / 1e6
    };
    jobs.iter().map(wait).collect()
}

/// Cores of the machine that customers share.
const SHARED_CORES: u32 = 4;
/// Roles among which customers are spread, so that each has one to itself.
const ROLES: usize = 40;
/// A customer is so many tasks,
const TASKS: usize = 400;
/// of so many seconds in the mean.
const TASK_S: f64 = 0.1;
const SHARED_LOAD: f64 = 0.6;

/// Customers that share a machine: each is many small tasks of a role of its own, between which the master is fair. The mean stay, what
/// it is under exact processor sharing, and how many customers found their role in use.
fn shared(customers: usize, seed: u64) -> Vec<f64> {
    let (arrivals, tasks) = customers_of(customers, seed);
    let work: Vec<f64> = tasks.iter().map(|tasks| tasks.iter().sum::<f64>() / f64::from(SHARED_CORES)).collect();
    let exact = exact_sharing(&arrivals, &work);
    let roles = roles_of(&exact);
    let mut lists: Vec<Vec<TraceJob>> = vec![Vec::new(); ROLES];
    for ((at, tasks), role) in arrivals.iter().zip(&tasks).zip(&roles) {
        let task = |seconds: &f64| TraceJob {
            submit: Duration::from_secs_f64(*at),
            duration: Duration::from_secs_f64(*seconds),
            ask: host(1.0, 1.0),
        };
        lists[*role].extend(tasks.iter().map(task));
    }
    let workloads =
        lists.into_iter().enumerate().map(|(role, jobs)| Workload::plain(&format!("customers{role}"), jobs)).collect();
    let pool = Pool::plain("m", 1, Milli::from_whole(u64::from(SHARED_CORES)), Milli::from_whole(1 << 20));
    let outcome = Scenario::plain(vec![pool], workloads, WEEK).replayed(seed, false);
    let mut stays = vec![0.0_f64; customers];
    let mut next = vec![0; ROLES];
    let of_role = |role: usize| -> Vec<usize> { (0..customers).filter(|customer| roles[*customer] == role).collect() };
    let by_role: Vec<Vec<usize>> = (0..ROLES).map(of_role).collect();
    for job in &outcome.jobs {
        let customer = by_role[job.workload][next[job.workload] / TASKS];
        next[job.workload] += 1;
        let stay = job.ended.map_or(f64::NAN, |ended| ended.0 as f64 / 1e6 - arrivals[customer]);
        stays[customer] = stays[customer].max(stay);
    }
    let crowded =
        by_role.iter().flat_map(|its| its.windows(2)).filter(|two| arrivals[two[0]] + stays[two[0]] > arrivals[two[1]]);
    vec![
        mean(stays.iter().copied()),
        mean(exact.iter().zip(&arrivals).map(|(end, at)| end - at)),
        crowded.count() as f64,
    ]
}

fn customers_of(count: usize, seed: u64) -> (Vec<f64>, Vec<Vec<f64>>) {
    let mut dice = Dice::child(seed, "customers");
    let alone = TASKS as f64 * TASK_S / f64::from(SHARED_CORES);
    let mut at = 0.0;
    let arrivals = (0..count).map(|_| {
        at += alone / SHARED_LOAD * dice.exponential();
        // To the microsecond, as the market keeps time.
        (at * 1e6).round() / 1e6
    });
    let arrivals = arrivals.collect();
    let tasks = (0..count).map(|_| (0..TASKS).map(|_| TASK_S * dice.exponential()).collect()).collect();
    (arrivals, tasks)
}

/// When each customer is done if all that are there are always served at the same rate.
fn exact_sharing(arrivals: &[f64], work: &[f64]) -> Vec<f64> {
    let mut ends = vec![0.0; arrivals.len()];
    let mut left: Vec<(usize, f64)> = Vec::new();
    let (mut now, mut next) = (0.0, 0);
    while next < arrivals.len() || !left.is_empty() {
        let least = left.iter().map(|(_, left)| *left).fold(f64::MAX, f64::min);
        let done = if left.is_empty() { f64::MAX } else { now + least * left.len() as f64 };
        let comes = arrivals.get(next).copied().unwrap_or(f64::MAX);
        let then = done.min(comes);
        let served = if left.is_empty() { 0.0 } else { (then - now) / left.len() as f64 };
        left.iter_mut().for_each(|(_, left)| *left -= served);
        now = then;
        if done <= comes {
            left.retain(|(customer, rest)| {
                let is_done = *rest <= 1e-9;
                if is_done {
                    ends[*customer] = now;
                }
                !is_done
            });
        } else {
            left.push((next, work[next]));
            next += 1;
        }
    }
    ends
}

/// A role for each customer: the one that has been idle for longest.
fn roles_of(ends: &[f64]) -> Vec<usize> {
    let mut idle_since = [f64::MIN; ROLES];
    let pick = |end: &f64| {
        let role = (0..ROLES).min_by(|a, b| idle_since[*a].total_cmp(&idle_since[*b])).expect("there are roles");
        idle_since[role] = *end;
        role
    };
    ends.iter().map(pick).collect()
}

fn judge_shared(found: &[Vec<f64>]) -> Vec<Row> {
    let of = |at: usize| mean(found.iter().map(|numbers| numbers[at]));
    let alone = TASKS as f64 * TASK_S / f64::from(SHARED_CORES);
    let limit = alone / (1.0 - SHARED_LOAD);
    let crowded = found.iter().map(|numbers| numbers[2]).sum();
    vec![
        Row::relative("V12", "processor sharing of the same customers: mean stay, s", of(1), of(0), 0.02),
        Row::told("V12", "processor sharing: mean stay, s", format!("{limit:.1} of many more customers"), of(0)),
        Row::at_most("V12", "customers that shared a role", 0.0, crowded),
    ]
}
