//! The test language: machines that give what they have, and jobs that do as the test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_sdk::blobs::{Digest, Manifest, Output, Pack, TokenKey};
use rialto_sdk::model::{
    AgentId, AgentInfo, Amounts, Device, DeviceId, DeviceMode, Exit, FrameworkId, Health, Milli, Offer, OfferId,
    OfferMode, Operation, Proof, Quantities, Reason, Reject, Resources, Role, Source, Status, Task, TaskId, TaskState,
    Term, Time, Topology,
};
use rialto_sdk::scheduler::{Happening, Out, Scheduler, Wish};

use crate::policy::{CiPolicy, Command, Effect, Io, PipelineResult, Setup, check_device};
use crate::spec::{Context, Pipeline, PipelineFile};

struct Machine {
    left: Resources,
    devices: Vec<Arc<Device>>,
}

/// A pipeline that runs on machines of the test's making.
pub(super) struct Bench {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) policy: CiPolicy,
    pub(super) now: Time,
    machines: Vec<Machine>,
    offers: u64,
    pub(super) tasks: BTreeMap<TaskId, (usize, Task)>,
    pub(super) effects: Vec<Effect>,
    pub(super) kills: Vec<TaskId>,
    pub(super) demanded: Vec<String>,
}

impl Bench {
    /// `file` on one machine with room for all; the pipeline has started.
    pub(super) fn of(file: &str) -> Self {
        Self::on(file, &[64])
    }

    /// `file` on machines with so many cores.
    pub(super) fn on(file: &str, cores: &[u64]) -> Self {
        Self::with(file, cores, &[])
    }

    /// `file`, with these manual jobs started by the user.
    pub(super) fn played(file: &str, play: &[&str]) -> Self {
        Self::with(file, &[64], play)
    }

    fn with(file: &str, cores: &[u64], play: &[&str]) -> Self {
        let file = PipelineFile::parse("test.yml", file).unwrap();
        let pipeline = Arc::new(file.expand(&Context::default(), &check_device).unwrap());
        let index = |name: &&str| pipeline.jobs.iter().position(|job| job.name == **name).unwrap();
        let io =
            Io { url: "http://store".to_owned(), key: TokenKey::from_bytes(&[1; 32]), source: Digest::of(b"source") };
        let setup = Setup { role: Role::any(), play: play.iter().map(index).collect(), io };
        let machine = |cores: &u64| Machine {
            left: Resources::of(Milli::from_whole(*cores), Milli::from_whole(1 << 20)),
            devices: Vec::new(),
        };
        let mut bench = Self {
            policy: CiPolicy::new(pipeline.clone(), setup).unwrap(),
            pipeline,
            now: Time(1_000_000),
            machines: cores.iter().map(machine).collect(),
            offers: 0,
            tasks: BTreeMap::new(),
            effects: Vec::new(),
            kills: Vec::new(),
            demanded: Vec::new(),
        };
        bench.happens(Happening::Subscribed { framework: FrameworkId::new(Term(1), 1), term: Term(1) });
        bench
    }

    /// Adds a machine of 8 cores with one device of `kind`.
    pub(super) fn add_machine_with(&mut self, kind: &str) {
        let device = Device {
            id: DeviceId::new(&format!("{kind}-0")),
            kind: Arc::from(kind),
            vendor: Arc::from(""),
            model: Arc::from("X1"),
            generation: 0,
            attributes: BTreeMap::new(),
            topology: Topology::default(),
            mode: DeviceMode::Exclusive,
            health: Health::Healthy,
            nodes: Vec::new(),
            proof: Proof::default(),
            host_share: Quantities::new(),
        };
        let mut left = Resources::of(Milli::from_whole(8), Milli::from_whole(1 << 20));
        left.add(&Resources::devices([device.id.clone()]));
        self.machines.push(Machine { left, devices: vec![Arc::new(device)] });
        self.happens(Happening::Offers);
    }

    pub(super) fn happens(&mut self, event: Happening<Command>) {
        let offers = self.book();
        let mut out = Out::over(offers);
        self.policy.on_event(self.now, event, &mut out);
        for wish in out.into_wishes() {
            self.grant(wish);
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        self.happens(Happening::Command(command));
    }

    /// Time goes on, with a tick at every deadline on the way.
    pub(super) fn after(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.policy.next_deadline().filter(|deadline| *deadline <= end) {
            assert!(
                deadline > self.now || self.now == Time(1_000_000),
                "a deadline of the past would be asked for over and over"
            );
            self.now = deadline;
            self.happens(Happening::Tick);
        }
        self.now = end;
    }

    fn book(&mut self) -> Vec<Offer> {
        let mut book = Vec::new();
        for (at, machine) in self.machines.iter().enumerate() {
            self.offers += 1;
            let free = |device: &&Arc<Device>| machine.left.device_shares().any(|(id, _)| *id == device.id);
            book.push(Offer {
                id: OfferId::new(Term(1), self.offers),
                agent: agent(at),
                info: Arc::new(AgentInfo { name: Arc::from(format!("m{at}")), ..AgentInfo::default() }),
                role: Role::any(),
                resources: Arc::new(machine.left.clone()),
                devices: machine.devices.iter().filter(free).cloned().collect(),
                mode: OfferMode::Optimistic,
                expires_in: None,
                guarantee: Default::default(),
            });
        }
        book
    }

    fn grant(&mut self, wish: Wish<Effect>) {
        match wish {
            Wish::Accept { agent, operations, .. } => {
                let at = usize::try_from(agent.seq).unwrap();
                for operation in operations {
                    let Operation::Launch(group) = operation else { panic!("a pipeline only launches") };
                    for task in group.tasks {
                        assert!(self.machines[at].left.subtract(&task.resources), "more was launched than is there");
                        assert!(self.tasks.insert(task.id.clone(), (at, task)).is_none(), "a task id was used twice");
                    }
                }
            }
            Wish::Effect(effect) => self.effects.push(effect),
            Wish::Kill { task, .. } => self.kills.push(task),
            Wish::Demand { demand, .. } => {
                self.demanded = demand.unwrap().shapes.iter().map(|shape| shape.name.to_string()).collect();
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// The newest task of `job`.
    pub(super) fn task(&self, job: &str) -> TaskId {
        let mut tasks: Vec<&TaskId> = Vec::new();
        for effect in &self.effects {
            if let Effect::JobLaunched { job: at, task, .. } = effect
                && self.pipeline.jobs[*at].name == job
            {
                tasks.push(task);
            }
        }
        (*tasks.last().unwrap_or_else(|| panic!("{job} was not launched; it is {}", self.states()))).clone()
    }

    /// What the newest task of `job` may fetch and upload.
    pub(super) fn manifest(&self, job: &str) -> Manifest {
        let id = self.task(job);
        let granted = self.effects.iter().find_map(|effect| match effect {
            Effect::Grant { task, manifest } if *task == id => Some(manifest.clone()),
            _ => None,
        });
        granted.expect("every task gets a grant")
    }

    pub(super) fn status(&mut self, job: &str, state: TaskState, reason: Option<Reason>, exit: Option<Exit>) {
        let id = self.task(job);
        let mut status = Status::new(id.clone(), state, Source::Agent);
        status.reason = reason;
        status.exit = exit;
        if state.is_terminal() {
            self.give_back(&id);
        }
        self.happens(Happening::Update(status));
    }

    /// The master refuses the newest launch of `job`.
    pub(super) fn is_refused(&mut self, job: &str, reject: Reject) {
        let id = self.task(job);
        self.give_back(&id);
        self.happens(Happening::Rejected { tasks: vec![id], reject });
    }

    fn give_back(&mut self, id: &TaskId) {
        let (at, task) = &self.tasks[id];
        self.machines[*at].left.add(&task.resources);
    }

    pub(super) fn runs(&mut self, job: &str) {
        self.status(job, TaskState::Running, None, None);
    }

    pub(super) fn passes(&mut self, job: &str) {
        if !self.manifest(job).outputs.is_empty() {
            self.uploads(job);
        }
        self.status(job, TaskState::Finished, None, Some(Exit::Code(0)));
    }

    /// Its script ends with `code`.
    pub(super) fn exits(&mut self, job: &str, code: i32) {
        self.status(job, TaskState::Failed, Some(Reason::CommandFailed), Some(Exit::Code(code)));
    }

    /// The cluster fails it.
    pub(super) fn is_lost(&mut self, job: &str) {
        self.status(job, TaskState::Gone, Some(Reason::AgentRemoved), None);
    }

    /// Its task reports an archive, which contains the task's id.
    pub(super) fn uploads(&mut self, job: &str) -> Digest {
        let task = self.task(job);
        let digest = Digest::of(task.as_str().as_bytes());
        let output = Output { name: "artifacts".to_owned(), digest, bytes: 1, pack: Pack::Tar };
        self.command(Command::Uploaded { task, outputs: vec![output] });
        digest
    }

    /// Every job's state, in the pipeline's order.
    pub(super) fn states(&self) -> String {
        let states = self.policy.summary().jobs.into_iter().map(|job| format!("{} {}", job.name, job.state.as_str()));
        states.collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    pub(super) fn expect(&self, states: &str) {
        assert_eq!(self.states(), states);
    }

    /// The result, once it was given.
    pub(super) fn result(&self) -> Option<PipelineResult> {
        let mut results = self.effects.iter().filter_map(|effect| match effect {
            Effect::Finished(summary) => Some(summary.result),
            _ => None,
        });
        let result = results.next();
        assert_eq!(results.next(), None, "the summary is given once");
        result
    }
}

fn agent(at: usize) -> AgentId {
    AgentId::new(Term(1), at as u64)
}

/// The devices among `resources`.
pub(super) fn devices(resources: &Resources) -> Vec<String> {
    let amounts = resources.iter().flat_map(|(_, amounts): (_, &Amounts)| amounts.devices.keys());
    amounts.map(ToString::to_string).collect()
}
