//! Services: the web framework with an app for each size of instance. A job is an instance more, from its submission on and for as long as it
//! lasts, wherever it is served meanwhile; what the app then has too many is for the policy to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Operation, Role, Status, TaskId, TaskState, Time};
use rialto_core::scheduler::placement::gpu::GpuAsk;
use rialto_core::scheduler::{Happening, Out, Scheduler, Wish};
use rialto_web::policy::{Ask as Request, Command, Effect, MAX_APPS, Policy};
use rialto_web::spec::{self, SpecError};

use super::super::demand::Job;
use super::super::jobs::Traits;
use super::super::policy::{Ask, Entry, Fate, Order};
use crate::market::{Think, body};

/// The most sizes of instances that a workload may have.
pub(in crate::planning) const MAX_SIZES: usize = MAX_APPS;

/// The framework of one workload.
pub(in crate::planning) struct Services {
    pub(super) log: Vec<Entry>,
    policy: Policy,
    asks: Arc<[Ask]>,
    /// By what is asked for; none that nobody has wanted yet.
    apps: BTreeMap<usize, App>,
    /// What each job asks for.
    jobs: Vec<usize>,
    /// When the jobs that are wanted now end, the next first.
    ends: BTreeSet<(Time, usize)>,
    /// The instances that were told to end and have not yet.
    ending: BTreeSet<TaskId>,
    requests: u64,
}

/// One app: as many jobs are served as instances run, those that have come first.
#[derive(Default)]
struct App {
    running: BTreeSet<TaskId>,
    served: BTreeSet<usize>,
    waiting: BTreeSet<usize>,
}

impl App {
    fn wanted(&self) -> usize {
        self.served.len() + self.waiting.len()
    }

    /// What changes for jobs, now that so many instances run.
    fn settle(&mut self, now: Time, log: &mut Vec<Entry>) {
        while self.served.len() > self.running.len()
            && let Some(job) = self.served.pop_last()
        {
            self.waiting.insert(job);
            // The requests of the moment are lost, and no work that would have to be done again.
            log.push(Entry { at: now, job, fate: Fate::Interrupted(Duration::ZERO) });
        }
        while self.served.len() < self.running.len()
            && let Some(job) = self.waiting.pop_first()
        {
            self.served.insert(job);
            log.push(Entry { at: now, job, fate: Fate::Started });
        }
    }
}

impl Services {
    pub(in crate::planning) fn new(role: Role, asks: Arc<[Ask]>) -> Self {
        Self {
            log: Vec::new(),
            policy: Policy::recover(role, &BTreeMap::new()).expect("nothing is saved, so nothing can be unreadable"),
            asks,
            apps: BTreeMap::new(),
            jobs: Vec::new(),
            ends: BTreeSet::new(),
            ending: BTreeSet::new(),
            requests: 0,
        }
    }

    /// One instance more is wanted.
    fn begin(&mut self, now: Time, job: &Job, out: &mut Out<Think>) {
        let number = self.jobs.len();
        self.jobs.push(job.ask);
        if !self.apps.contains_key(&job.ask) {
            let (name, text) = (name(job.ask), Arc::from(file(job.ask, &self.asks[job.ask])));
            // Without instances, so that it is there at once; none of what follows can then be too late to be kept.
            self.request(now, Request::Deploy { name, text }, out).expect("the sizes of a workload were checked");
        }
        let app = self.apps.entry(job.ask).or_default();
        app.waiting.insert(number);
        match self.scale(now, job.ask, out) {
            Ok(()) => drop(self.ends.insert((job.submit + job.duration, number))),
            Err(TooMany) => {
                self.apps.entry(job.ask).or_default().waiting.remove(&number);
                self.log.push(Entry { at: now, job: number, fate: Fate::GivenUp });
            }
        }
    }

    /// The jobs whose time is over are no longer wanted; who was not served up to now never is.
    fn end(&mut self, now: Time, out: &mut Out<Think>) {
        while let Some(&(at, number)) = self.ends.first().filter(|(at, _)| *at <= now) {
            self.ends.remove(&(at, number));
            let ask = self.jobs[number];
            let app = self.apps.entry(ask).or_default();
            let fate = if app.served.remove(&number) { Fate::Finished } else { Fate::GivenUp };
            app.waiting.remove(&number);
            self.log.push(Entry { at: now, job: number, fate });
            self.scale(now, ask, out).expect("the app has had more instances");
        }
    }

    fn scale(&mut self, now: Time, ask: usize, out: &mut Out<Think>) -> Result<(), TooMany> {
        let instances = u32::try_from(self.apps[&ask].wanted()).unwrap_or(u32::MAX);
        self.request(now, Request::Scale { name: name(ask), instances }, out)?;
        self.settle(now, ask);
        Ok(())
    }

    fn request(&mut self, now: Time, ask: Request, out: &mut Out<Think>) -> Result<(), TooMany> {
        self.requests += 1;
        self.tell(now, Happening::Command(Command { request: self.requests, ask }), out)
    }

    /// The policy decides. An error is its answer to a request.
    fn tell(&mut self, now: Time, event: Happening<Command>, out: &mut Out<Think>) -> Result<(), TooMany> {
        let mut answer = Ok(());
        for wish in out.lend(|out| self.policy.on_event(now, event, out)) {
            match wish.or_effect() {
                Ok(wish) => out.wish(self.lasting(now, wish)),
                Err(Effect::Reply(_, Err(_))) => answer = Err(TooMany),
                Err(Effect::Reply(..) | Effect::Note(_)) => {}
            }
        }
        answer
    }

    /// The wish, with instances that run until they are told to end; whoever is told so serves no longer.
    fn lasting(&mut self, now: Time, mut wish: Wish<Think>) -> Wish<Think> {
        match &mut wish {
            Wish::Accept { operations, .. } => {
                let groups = operations.iter_mut().filter_map(|operation| match operation {
                    Operation::Launch(group) => Some(group),
                    _ => None,
                });
                groups.flat_map(|group| &mut group.tasks).for_each(|task| task.body = body(None));
            }
            Wish::Kill { task, .. } => {
                self.ending.insert(task.clone());
                self.stops(now, &task.clone());
            }
            _ => {}
        }
        wish
    }

    fn note(&mut self, now: Time, status: &Status) {
        let task = &status.task;
        match status.state {
            TaskState::Running if !self.ending.contains(task) => {
                let Some(ask) = ask_of(task) else { return };
                self.apps.entry(ask).or_default().running.insert(task.clone());
                self.settle(now, ask);
            }
            state if state.is_terminal() || matches!(state, TaskState::Unreachable | TaskState::Unknown) => {
                if state.is_terminal() {
                    self.ending.remove(task);
                }
                self.stops(now, task);
            }
            _ => {}
        }
    }

    fn stops(&mut self, now: Time, task: &TaskId) {
        let Some(ask) = ask_of(task) else { return };
        if self.apps.entry(ask).or_default().running.remove(task) {
            self.settle(now, ask);
        }
    }

    fn settle(&mut self, now: Time, ask: usize) {
        self.apps.entry(ask).or_default().settle(now, &mut self.log);
    }
}

/// The policy refuses so many instances of one app.
#[derive(Debug)]
struct TooMany;

impl Scheduler for Services {
    type Command = Order;
    type Effect = Think;

    fn on_event(&mut self, now: Time, event: Happening<Order>, out: &mut Out<Think>) {
        self.end(now, out);
        match event.or_command() {
            Err(Order::Run(job)) => self.begin(now, &job, out),
            Ok(event) => {
                if let Happening::Update(status) = &event {
                    self.note(now, status);
                }
                self.tell(now, event, out).expect("only requests are answered");
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.policy.next_deadline().into_iter().chain(self.ends.first().map(|(at, _)| *at)).min()
    }
}

/// That an app may ask for that.
pub(in crate::planning) fn check_size(each: &GpuAsk) -> Result<(), SpecError> {
    let ask = Ask { each: each.clone(), traits: Traits::default() };
    spec::parse("as an app", &file(0, &ask)).map(|_| ())
}

fn name(ask: usize) -> String {
    format!("size{ask}")
}

/// What the app of an instance's task asks for.
fn ask_of(task: &TaskId) -> Option<usize> {
    task.as_str().rsplit_once('-')?.0.strip_prefix("size")?.parse().ok()
}

/// The app file: instances lie close, as work does that the SDK's library places, and none is there at first.
fn file(number: usize, Ask { each, traits }: &Ask) -> String {
    let needs = each.needs();
    let amount = |name| needs.resources.get(name);
    let devices: Vec<String> = needs.claims.iter().map(ToString::to_string).collect();
    let (cpus, mem) = (amount(&rialto_core::model::ResourceName::Cpus), amount(&rialto_core::model::ResourceName::Mem));
    let bound = traits.bound.map_or_else(String::new, |bound| format!("max_per_agent = {}\n", bound.max));
    format!(
        "name = {:?}\ncommand = \"serve\"\ninstances = 0\ncpus = {cpus}\nmem = {mem}\ndevices = {devices:?}\nspread = false\n{bound}",
        name(number)
    )
}
