//! An emulated agent: it starts what it is told to, says so, and says when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::master::Input;
use rialto_core::model::{
    AgentId, AgentInfo, AgentReport, Body, ClientId, FrameworkId, FromAgent, GangId, Launch, PeerId, Principal,
    Resources, Source, Status, TaskKey, TaskState, Term, ToAgent, UpdateId,
};

use super::{Machine, Seen};

/// Peers of agents are numbered from here.
const PEERS: u64 = 1 << 32;

pub(super) struct Agent {
    number: usize,
    report: AgentReport,
    tasks: BTreeMap<TaskKey, Run>,
    updates: u64,
    /// What is held for gangs that are to start.
    held: BTreeMap<GangId, Vec<Launch>>,
}

struct Run {
    resources: Resources,
    state: TaskState,
    /// The update that its framework has not acknowledged, with what it said.
    outstanding: Option<(UpdateId, TaskState)>,
}

/// What an agent does in answer.
#[derive(Default)]
pub(super) struct Say {
    pub(super) messages: Vec<FromAgent>,
    pub(super) ends: Vec<(TaskKey, Duration)>,
    pub(super) seen: Vec<Seen>,
}

/// The body of a task that runs for so long; none means without end.
pub(crate) fn body(duration: Option<Duration>) -> Body {
    let micros = duration.map(|duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    Body::new(micros.map_or_else(Vec::new, |micros| micros.to_le_bytes().to_vec()))
}

fn duration(body: &Body) -> Option<Duration> {
    let bytes: [u8; 8] = body.as_bytes().try_into().ok()?;
    Some(Duration::from_micros(u64::from_le_bytes(bytes)))
}

impl Agent {
    pub(super) fn new(number: usize, machine: &Machine, info: AgentInfo) -> Self {
        let report = AgentReport {
            agent: None,
            term: Term::default(),
            client: ClientId(number as u128 + 1),
            info: Arc::new(info),
            resources: machine.resources.clone(),
            devices: machine.devices.clone(),
            tasks: Vec::new(),
            held: Vec::new(),
            operated: None,
            connection: 0,
        };
        Self { number, report, tasks: BTreeMap::new(), updates: 0, held: BTreeMap::new() }
    }

    pub(super) const fn peer(&self) -> PeerId {
        PeerId(PEERS + self.number as u64)
    }

    /// The id that the master gave it last, once it has.
    pub(super) fn id(&self) -> Option<AgentId> {
        self.report.agent.map(|(id, _)| id)
    }

    /// The master has given it up: should the machine come back, it is another agent.
    fn begin_anew(&mut self) {
        self.report.agent = None;
        self.report.client = ClientId(self.report.client.0 + (1 << 64));
    }

    pub(super) fn register(&self) -> Input {
        let message = FromAgent::Register(Box::new(self.report.clone()));
        Input::FromAgent { peer: self.peer(), principal: Principal::new("agent"), message }
    }

    pub(super) fn hear(&mut self, message: ToAgent, say: &mut Say) {
        match message {
            ToAgent::Launch(launch) => self.launch(launch, say),
            ToAgent::Hold { gang, groups } => {
                self.held.insert(gang, groups);
                say.messages.push(FromAgent::Held(gang));
            }
            ToAgent::Start(gang) => {
                let groups = self.held.remove(&gang).unwrap_or_default();
                groups.into_iter().for_each(|launch| self.launch(launch, say));
            }
            ToAgent::Release(gang) => drop(self.held.remove(&gang)),
            ToAgent::Kill { task, .. } => self.end(&task, TaskState::Killed, say),
            ToAgent::Acknowledge { task, uuid } => self.acknowledged(&task, uuid, say),
            ToAgent::RemoveFramework(framework) => self.remove_framework(framework, say),
            ToAgent::Registered { agent, cluster } => self.report.agent = Some((agent, cluster)),
            ToAgent::Shutdown(_) => self.begin_anew(),
            ToAgent::Message { .. } | ToAgent::Operate { .. } | ToAgent::ClearDevice(_) => {}
        }
    }

    fn launch(&mut self, launch: Launch, say: &mut Say) {
        for task in launch.group.tasks {
            let key = TaskKey::new(launch.framework, task.id);
            let run = Run { resources: task.resources.clone(), state: TaskState::Running, outstanding: None };
            self.tasks.insert(key.clone(), run);
            say.seen.push(Seen::Started { machine: self.number, resources: task.resources });
            say.ends.extend(duration(&task.body).map(|after| (key.clone(), after)));
            self.update(&key, say);
        }
    }

    pub(super) fn task_ends(&mut self, key: &TaskKey, say: &mut Say) {
        self.end(key, TaskState::Finished, say);
    }

    fn end(&mut self, key: &TaskKey, state: TaskState, say: &mut Say) {
        let Some(run) = self.tasks.get_mut(key).filter(|run| !run.state.is_terminal()) else { return };
        run.state = state;
        say.seen.push(Seen::Ended { machine: self.number, resources: run.resources.clone() });
        self.update(key, say);
    }

    /// What runs is lost, without a word.
    pub(super) fn crash(&mut self, say: &mut Say) {
        self.held.clear();
        for run in std::mem::take(&mut self.tasks).into_values().filter(|run| !run.state.is_terminal()) {
            say.seen.push(Seen::Ended { machine: self.number, resources: run.resources });
        }
    }

    /// What runs here is no more than the machine has, and no part of a device is held twice.
    pub(super) fn check(&self) {
        let running: Vec<&Resources> =
            self.tasks.values().filter(|run| !run.state.is_terminal()).map(|run| &run.resources).collect();
        let total = self.report.resources.quantities();
        for (name, have) in total.iter() {
            let used: u64 = running.iter().map(|resources| resources.quantities().get(name).0).sum();
            assert!(used <= have.0, "{}: {used} of {} {name} run", self.report.info.name, have.0);
        }
        let mut shares: BTreeMap<&str, u32> = BTreeMap::new();
        for (device, share) in running.iter().flat_map(|resources| resources.device_shares()) {
            let held = shares.entry(device.as_str()).or_default();
            *held += u32::from(share.0);
            assert!(*held <= 1000, "{}: {held} thousandths of {device} are held", self.report.info.name);
        }
    }

    fn remove_framework(&mut self, framework: FrameworkId, say: &mut Say) {
        let its: Vec<TaskKey> = self.tasks.keys().filter(|key| key.framework == framework).cloned().collect();
        for key in its {
            self.end(&key, TaskState::Killed, say);
        }
    }

    /// Says the task's newest state, unless an older one is still to be acknowledged.
    fn update(&mut self, key: &TaskKey, say: &mut Say) {
        let Some(run) = self.tasks.get_mut(key).filter(|run| run.outstanding.is_none()) else { return };
        self.updates += 1;
        let uuid = UpdateId((self.number as u128 + 1) << 64 | u128::from(self.updates));
        run.outstanding = Some((uuid, run.state));
        let mut status = Status::new(key.task.clone(), run.state, Source::Executor);
        status.uuid = Some(uuid);
        say.messages.push(FromAgent::Update { framework: key.framework, status, latest: run.state });
        if run.state.is_terminal() {
            // There is nothing to clean; the parts of shared devices that it held can be given out again.
            let slices: Vec<_> = run.resources.device_shares().map(|(id, _)| (id.clone(), key.clone())).collect();
            say.messages.extend((!slices.is_empty()).then_some(FromAgent::SlicesFree(slices)));
        }
    }

    fn acknowledged(&mut self, key: &TaskKey, uuid: UpdateId, say: &mut Say) {
        let Some(run) = self.tasks.get_mut(key) else { return };
        let Some((_, said)) = run.outstanding.take_if(|(outstanding, _)| *outstanding == uuid) else { return };
        if said.is_terminal() {
            self.tasks.remove(key);
        } else if said != run.state {
            self.update(key, say);
        }
    }
}
