//! The test language: sentences about one agent. Every step checks the invariants, and that the journal can be replayed and compacted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::{Agent, Config, Effect, End, Finding, Input, Journal, Record};
use crate::gate::{Gate, Output};
use crate::model::{
    AgentReport, Attribute, Body, ClusterId, Device, DeviceId, DeviceMode, DeviceReport, DeviceState, ExecutorRef,
    Exit, FrameworkId, FromAgent, GangId, Health, Launch, Proof, Reason, Resources, Role, Share, Status, Task,
    TaskGroup, TaskId, TaskKey, TaskState, Term, Time, ToAgent, Topology, UpdateId, WallTime,
};

pub(super) const FRAMEWORK: FrameworkId = FrameworkId::new(Term(1), 1);
pub(super) const REMEMBER: Duration = Duration::from_secs(600);

/// Whether records reach the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disk {
    Good,
    Stalled,
}

pub(super) struct World {
    pub(super) agent: Agent,
    gate: Gate<Record, Effect>,
    disk: Disk,
    durable: Vec<Record>,
    pub(super) now: Time,
    /// What has left the gate and was not expected yet.
    pub(super) seen: Vec<Effect>,
    term: Term,
    heard: BTreeMap<TaskKey, UpdateId>,
    starts: u64,
    resources: Resources,
}

/// An agent with 4 cores, 8 GiB and ten ports, connected and registered.
pub(super) fn agent() -> World {
    let mut world = new_agent();
    world.connect();
    world
}

/// The same, with two exclusive GPUs: `gpu-0` and `gpu-1`.
pub(super) fn agent_with_gpus() -> World {
    let mut world = new_agent();
    world.discover(&["gpu-0", "gpu-1"]);
    world.connect();
    world
}

/// An agent that has never been connected.
pub(super) fn new_agent() -> World {
    agent_that_keeps(0)
}

/// The same, that keeps so many thousandths of its machine for the tenants of its devices.
pub(super) fn agent_that_keeps(host_share_milli: u16) -> World {
    let config = Config { host_share_milli, ..config(1) };
    let resources = config.resources.clone();
    World {
        agent: Agent::recover(Time::ZERO, config, Journal::default()),
        gate: Gate::default(),
        disk: Disk::Good,
        durable: Vec::new(),
        now: Time::ZERO,
        seen: Vec::new(),
        term: Term(1),
        heard: BTreeMap::new(),
        starts: 1,
        resources,
    }
}

pub(super) fn config(seed: u64) -> Config {
    Config {
        name: "host-1".into(),
        resources: "cpus:4;mem:8192;ports:[31000-31009]".parse().expect("they are well formed"),
        attributes: BTreeMap::new(),
        domain: None,
        host_share_milli: 0,
        origin: WallTime(1_000_000),
        seed,
    }
}

pub(super) fn key(task: &str) -> TaskKey {
    TaskKey::new(FRAMEWORK, TaskId::new(task).expect("a good name"))
}

pub(super) fn gang(number: u64) -> GangId {
    GangId::new(Term(1), number)
}

pub(super) fn gpu(id: &str) -> Device {
    Device {
        id: DeviceId::new(id),
        kind: "gpu".into(),
        vendor: "acme".into(),
        model: "G2".into(),
        generation: 2,
        attributes: BTreeMap::from([("memory".into(), Attribute::Quantity(40 << 30))]),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: crate::model::Quantities::new(),
    }
}

pub(super) fn task(id: &str, resources: &str) -> Task {
    Task {
        id: TaskId::new(id).expect("a good name"),
        name: id.into(),
        role: Role::any(),
        resources: resources.parse().expect("they are well formed"),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::from_secs(5),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new(&b"body"[..]),
    }
}

/// A task that was given these devices for a claim of as many GPUs.
pub(super) fn gpu_task(id: &str, devices: &[&str]) -> Task {
    let mut task = task(id, "cpus:1");
    task.resources.add(&Resources::devices(devices.iter().map(|device| DeviceId::new(device))));
    task.claims = vec![format!("{} gpu", devices.len()).parse().expect("a good claim")];
    task
}

/// A task with a part of a shared device.
pub(super) fn slice_task(id: &str, device: &str, share: u16) -> Task {
    let mut task = task(id, "cpus:1");
    let mut amounts = crate::model::Amounts::default();
    amounts.devices.insert(DeviceId::new(device), Share(share));
    task.resources.add(&Resources::flavored(crate::model::Flavor::default(), amounts));
    task
}

pub(super) fn launch_of(tasks: Vec<Task>) -> Launch {
    Launch { framework: FRAMEWORK, group: TaskGroup { tasks }, user: "".into(), remember: REMEMBER }
}

impl World {
    // What happens.

    pub(super) fn step(&mut self, input: Input) {
        let mut out = Vec::new();
        self.agent.step(self.now, input, &mut out);
        self.agent.check_invariants();
        self.gate.push(out, &mut self.seen);
        if self.disk == Disk::Good {
            self.sync();
        }
        assert_eq!(
            &replay(&self.agent.snapshot()),
            self.agent.journal(),
            "a compacted journal leads to the same state"
        );
    }

    /// Connects, and the master answers with an id.
    pub(super) fn connect(&mut self) -> AgentReport {
        self.step(Input::Connected);
        let report = self.expect_report();
        self.registered();
        report
    }

    pub(super) fn registered(&mut self) {
        let agent = "A1-1".parse().expect("a good id");
        self.master_says(ToAgent::Registered { agent, cluster: ClusterId(7) });
    }

    pub(super) fn master_says(&mut self, message: ToAgent) {
        self.step(Input::FromMaster { term: self.term, message });
    }

    pub(super) fn disconnect(&mut self) {
        self.step(Input::Disconnected);
    }

    pub(super) fn new_term(&mut self, term: u64) {
        self.term = Term(term);
    }

    pub(super) fn launch(&mut self, id: &str, resources: &str) {
        self.launch_group(vec![task(id, resources)]);
    }

    pub(super) fn launch_on(&mut self, id: &str, devices: &[&str]) {
        self.launch_group(vec![gpu_task(id, devices)]);
    }

    pub(super) fn launch_group(&mut self, tasks: Vec<Task>) {
        self.master_says(ToAgent::Launch(launch_of(tasks)));
    }

    pub(super) fn kill(&mut self, id: &str) {
        self.master_says(ToAgent::Kill { task: key(id), grace: None, reason: Reason::KillRequested });
    }

    pub(super) fn running(&mut self, id: &str) {
        self.step(Input::Running { task: key(id) });
    }

    pub(super) fn exits(&mut self, id: &str, code: i32) {
        self.ends(id, End::Exited(Exit::Code(code)));
    }

    pub(super) fn ends(&mut self, id: &str, end: End) {
        self.step(Input::Ended { task: key(id), end });
    }

    pub(super) fn finds(&mut self, id: &str, finding: Finding) {
        self.step(Input::Health { task: key(id), finding });
    }

    pub(super) fn discover(&mut self, ids: &[&str]) {
        self.discover_devices(ids.iter().map(|id| gpu(id)).collect());
    }

    pub(super) fn discover_devices(&mut self, devices: Vec<Device>) {
        self.step(Input::Discovered { source: "test".into(), devices });
    }

    pub(super) fn cleaned(&mut self, id: &str, generation: u64) {
        self.step(Input::Released { device: DeviceId::new(id), generation, result: Ok(()) });
    }

    pub(super) fn not_cleaned(&mut self, id: &str, generation: u64, why: &str) {
        self.step(Input::Released { device: DeviceId::new(id), generation, result: Err(why.into()) });
    }

    /// The framework acknowledges the update that was expected last.
    pub(super) fn ack(&mut self, id: &str) {
        let uuid = *self.heard.get(&key(id)).expect("an update was expected before");
        self.master_says(ToAgent::Acknowledge { task: key(id), uuid });
    }

    /// An operator has seen to a device.
    pub(super) fn clear(&mut self, id: &str) {
        self.master_says(ToAgent::ClearDevice(DeviceId::new(id)));
    }

    /// The source of `gpu-0`, which has only that, tells how it is.
    pub(super) fn gpu_is(&mut self, health: Health) {
        self.discover_devices(vec![Device { health, ..gpu("gpu-0") }]);
    }

    #[track_caller]
    pub(super) fn expect_health(&self, id: &str, health: Health) {
        let report = self.agent.device_reports().into_iter().find(|report| report.device.id.as_str() == id);
        assert_eq!(report.map(|report| report.device.health), Some(health));
    }

    /// Time passes; whatever becomes due is done when it is due.
    pub(super) fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.agent.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.step(Input::Tick);
        }
        self.now = end;
    }

    pub(super) fn wait_s(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// Records gather and nothing becomes durable.
    pub(super) fn disk_stalls(&mut self) {
        self.disk = Disk::Stalled;
    }

    pub(super) fn disk_recovers(&mut self) {
        self.disk = Disk::Good;
        self.sync();
    }

    pub(super) fn journal_fails(&mut self) {
        self.disk_stalls();
        self.step(Input::Journal { degraded: true });
    }

    pub(super) fn journal_works(&mut self) {
        self.disk_recovers();
        self.step(Input::Journal { degraded: false });
    }

    /// The agent dies and is started anew; what was not durable is lost. Devices are not discovered yet, nothing is connected.
    pub(super) fn crash_and_recover(&mut self) {
        let journal = replay(&self.durable);
        if self.gate.is_idle() {
            assert_eq!(&journal, self.agent.journal(), "the records lead to the state");
        }
        self.starts += 1;
        let config = Config { resources: self.resources.clone(), ..config(self.starts) };
        self.agent = Agent::recover(self.now, config, journal);
        self.gate = Gate::default();
        self.disk = Disk::Good;
        self.seen.clear();
        self.step(Input::Tick);
    }

    /// From its next start on, this is what the agent is configured with.
    pub(super) fn configure(&mut self, resources: &str) {
        self.resources = resources.parse().expect("they are well formed");
    }

    pub(super) fn forget_last_records(&mut self, count: usize) {
        self.durable.truncate(self.durable.len() - count);
    }

    /// What is written is not what the agent had in mind: the next crash does not compare the two.
    pub(super) fn gate_is_lost(&mut self) {
        self.gate.push([Output::Persist(Record::Term(Term(0)))], &mut Vec::new());
    }

    fn sync(&mut self) {
        if let Some((batch, records)) = self.gate.take_batch() {
            self.durable.extend(records);
            self.gate.durable(batch, &mut self.seen);
        }
    }

    // What is expected.

    /// The first effect that is not expected yet and that `pick` takes.
    #[track_caller]
    pub(super) fn expect<T>(&mut self, what: &str, pick: impl Fn(&Effect) -> Option<T>) -> T {
        let at = self.seen.iter().position(|effect| pick(effect).is_some());
        let Some(at) = at else { panic!("expected {what}, got {:#?}", self.seen) };
        pick(&self.seen.remove(at)).expect("it was picked before")
    }

    #[track_caller]
    pub(super) fn expect_report(&mut self) -> AgentReport {
        self.expect("a registration", |effect| match effect {
            Effect::ToMaster(FromAgent::Register(report)) => Some((**report).clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn expect_start(&mut self, id: &str) -> BTreeMap<TaskId, Vec<Arc<Device>>> {
        let leader = key(id).task;
        self.expect(&format!("the start of {id}"), |effect| match effect {
            Effect::Start { launch, devices } if *launch.group.leader() == leader => Some(devices.clone()),
            _ => None,
        })
    }

    /// The next update of a task is of `state`.
    #[track_caller]
    pub(super) fn expect_update(&mut self, id: &str, state: TaskState) -> Status {
        let task = key(id);
        let (status, _) = self.expect(&format!("an update of {id}"), |effect| match effect {
            Effect::ToMaster(FromAgent::Update { framework, status, latest })
                if task.framework == *framework && task.task == status.task =>
            {
                Some((status.clone(), *latest))
            }
            _ => None,
        });
        assert_eq!(status.state, state, "{status:?}");
        if let Some(uuid) = status.uuid {
            self.heard.insert(task, uuid);
        }
        status
    }

    #[track_caller]
    pub(super) fn expect_kill(&mut self, id: &str) -> Duration {
        let wanted = key(id);
        self.expect(&format!("the kill of {id}"), |effect| match effect {
            Effect::Kill { task, grace } if *task == wanted => Some(*grace),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn expect_forget(&mut self, id: &str) {
        let wanted = key(id);
        self.expect(&format!("{id} to be forgotten"), |effect| {
            matches!(effect, Effect::Forget { task } if *task == wanted).then_some(())
        });
    }

    #[track_caller]
    pub(super) fn expect_release(&mut self, id: &str) -> u64 {
        self.expect(&format!("the release step of {id}"), |effect| match effect {
            Effect::Release { device, generation, slice: None } if device.id.as_str() == id => Some(*generation),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn expect_slice_release(&mut self, id: &str, of: &str) -> u64 {
        let of = key(of);
        self.expect(&format!("the release step of a slice of {id}"), |effect| match effect {
            Effect::Release { device, generation, slice }
                if device.id.as_str() == id && slice.as_ref() == Some(&of) =>
            {
                Some(*generation)
            }
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn expect_notice(&mut self, text: &str) {
        self.expect(&format!("a notice of {text:?}"), |effect| {
            matches!(effect, Effect::Notice(notice) if notice.contains(text)).then_some(())
        });
    }

    #[track_caller]
    pub(super) fn expect_message(&mut self, wanted: &FromAgent) {
        self.expect(&format!("{wanted:?}"), |effect| {
            matches!(effect, Effect::ToMaster(message) if message == wanted).then_some(())
        });
    }

    #[track_caller]
    pub(super) fn expect_devices(&mut self) -> Vec<DeviceReport> {
        self.expect("a report of all devices", |effect| match effect {
            Effect::ToMaster(FromAgent::Devices(reports)) => Some(reports.clone()),
            _ => None,
        })
    }

    #[track_caller]
    pub(super) fn expect_nothing(&self) {
        assert!(self.seen.is_empty(), "expected nothing more, got {:#?}", self.seen);
    }

    #[track_caller]
    pub(super) fn expect_device(&self, id: &str, state: &DeviceState) {
        let report = self.agent.device_reports().into_iter().find(|report| report.device.id.as_str() == id);
        assert_eq!(report.as_ref().map(|report| &report.state), Some(state));
    }

    /// A task that was launched, runs, and is acknowledged to run.
    pub(super) fn run(&mut self, id: &str, resources: &str) {
        self.launch(id, resources);
        self.runs(id);
    }

    pub(super) fn run_on(&mut self, id: &str, devices: &[&str]) {
        self.launch_on(id, devices);
        self.runs(id);
    }

    fn runs(&mut self, id: &str) {
        self.expect_start(id);
        self.running(id);
        self.expect_update(id, TaskState::Running);
        self.ack(id);
    }
}

pub(super) fn replay(records: &[Record]) -> Journal {
    let mut journal = Journal::default();
    records.iter().for_each(|record| journal.apply(record));
    journal
}

/// The effects that need not wait, of one step of a lone agent.
pub(super) fn ungated(agent: &mut Agent, now: Time, input: Input) -> Vec<Effect> {
    let mut out = Vec::new();
    agent.step(now, input, &mut out);
    out.into_iter()
        .filter_map(|output| if let Output::Ungated(effect) = output { Some(effect) } else { None })
        .collect()
}
