//! A cluster of one agent and a master that the test plays. Everything that is waited for is waited for with a bound.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{LazyLock, Once};
use std::time::Duration;

use rialto_agent::cgroup::Hierarchies;
use rialto_agent::supervisor::client::{self, Liveness};
use rialto_agent::{AgentError, DeviceSource, LauncherKind, OnStop, Options};
use rialto_core::model::{
    AgentReport, Announce, ClusterId, DeviceId, ExecutorRef, FrameworkId, FromAgent, Launch, Reason, Resources, Role,
    Status, Task, TaskGroup, TaskId, TaskKey, TaskState, Term, ToAgent, UpdateId,
};
use rialto_proto::hello::Hello;
use rialto_proto::logs::OpenBulk;
use rialto_proto::spec::TaskSpec;
use rialto_proto::v1::agents_server::{Agents, AgentsServer};
use rialto_proto::{Wire, frames, v1};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Streaming};

/// The longest that anything may take, on a machine that is busy with other things; longer where it is said that this one is slow.
pub(crate) static TIMEOUT: LazyLock<Duration> = LazyLock::new(|| {
    let slowness = std::env::var("RIALTO_TEST_SLOWNESS").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1);
    Duration::from_secs(30) * slowness
});
pub(crate) const FRAMEWORK: FrameworkId = FrameworkId::new(Term(1), 1);
const CLUSTER: ClusterId = ClusterId(7);

/// Waits for `what`, not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(*TIMEOUT, future).await;
    waited.unwrap_or_else(|_| panic!("waited {:?} for {what}", *TIMEOUT))
}

/// Looks again and again until `found` finds something.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(what, look).await
}

pub(crate) fn key(id: &str) -> TaskKey {
    TaskKey::new(FRAMEWORK, id.parse().expect("a good name"))
}

pub(crate) fn task(id: &str, command: &str) -> Task {
    spec_task(id, &TaskSpec::shell(command))
}

pub(crate) fn spec_task(id: &str, spec: &TaskSpec) -> Task {
    Task {
        id: TaskId::new(id).expect("a good name"),
        name: id.into(),
        role: Role::any(),
        resources: "cpus:0.1;mem:32".parse().expect("they are well formed"),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::from_secs(2),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: spec.to_body(),
    }
}

/// What the master hears and says on one connection.
struct Connection {
    from: Streaming<v1::FromAgentFrame>,
    to: mpsc::Sender<Result<v1::ToAgentFrame, tonic::Status>>,
}

/// A bulk stream that an agent has dialled.
pub(crate) struct Bulk {
    pub(crate) from: Streaming<v1::BulkUp>,
    /// Dropping it tells the agent that nobody reads.
    pub(crate) _to: mpsc::Sender<Result<v1::BulkDown, tonic::Status>>,
}

struct Service {
    connections: mpsc::Sender<Connection>,
    bulks: mpsc::Sender<Bulk>,
}

type Outgoing<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl Agents for Service {
    type ConnectStream = Outgoing<v1::ToAgentFrame>;
    type BulkStream = Outgoing<v1::BulkDown>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::FromAgentFrame>>,
    ) -> Result<Response<Self::ConnectStream>, tonic::Status> {
        let (to, outgoing) = mpsc::channel(1024);
        let connection = Connection { from: request.into_inner(), to };
        self.connections.send(connection).await.map_err(|_| tonic::Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn bulk(&self, request: Request<Streaming<v1::BulkUp>>) -> Result<Response<Self::BulkStream>, tonic::Status> {
        let (to, outgoing) = mpsc::channel(16);
        let bulk = Bulk { from: request.into_inner(), _to: to };
        self.bulks.send(bulk).await.map_err(|_| tonic::Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// What the master of a world meets.
pub(crate) enum Next {
    Registered(AgentReport),
    Said(FromAgent),
    HungUp,
}

/// A running agent.
struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), AgentError>>,
}

/// One agent, and the test as its master.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) options: Options,
    agent: Option<Running>,
    connections: mpsc::Receiver<Connection>,
    bulks: mpsc::Receiver<Bulk>,
    connection: Option<Connection>,
    heard: VecDeque<FromAgent>,
    pub(crate) term: u64,
    acknowledged: BTreeSet<UpdateId>,
}

impl World {
    /// An agent that is registered.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with_sources(sources: &[&str]) -> Self {
        let sources = sources.iter().map(|source| DeviceSource::parse(source).expect("it is well formed")).collect();
        Self::with(|options| options.device_sources = sources).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut world = Self::idle(change).await;
        world.start();
        world.register().await;
        world
    }

    /// An agent that contains its tasks. `None`, and a word, where this user can't.
    pub(crate) async fn contained(change: impl FnOnce(&mut Options)) -> Option<Self> {
        let launcher = |options: &mut Options| {
            options.launcher = LauncherKind::Linux;
            options.cgroup_root = "rialto-test".to_owned();
        };
        let mut asked = Options::new("127.0.0.1:1", format!("/nowhere/{}", std::process::id()), "/nowhere");
        launcher(&mut asked);
        if let Err(error) = rialto_agent::check_launcher(&asked) {
            println!("skipped: {error}");
            return None;
        }
        let both = |options: &mut Options| {
            launcher(options);
            change(options);
        };
        Some(Self::with(both).await)
    }

    /// No agent yet.
    pub(crate) async fn idle(change: impl FnOnce(&mut Options)) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (connected, connections) = mpsc::channel(16);
        let (dialled, bulks) = mpsc::channel(16);
        let service = AgentsServer::new(Service { connections: connected, bulks: dialled });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut options = Options::new(address.to_string(), folder.path().join("work"), supervisor_exe());
        options.launcher = LauncherKind::Process;
        options.resources = "cpus:8;mem:8192".parse().expect("they are well formed");
        change(&mut options);
        Self {
            _folder: folder,
            options,
            agent: None,
            connections,
            bulks,
            connection: None,
            heard: VecDeque::new(),
            term: 1,
            acknowledged: BTreeSet::new(),
        }
    }

    pub(crate) fn start(&mut self) {
        let (stop, stopped) = oneshot::channel::<()>();
        let options = self.options.clone();
        let run = async move { rialto_agent::run(options, async move { drop(stopped.await) }).await };
        self.agent = Some(Running { stop, ended: tokio::spawn(run) });
    }

    /// The agent is gone from one moment to the next: nothing is said, nothing is written any more.
    pub(crate) async fn crash(&mut self) {
        let running = self.agent.take().expect("an agent runs");
        running.ended.abort();
        let ended = within("the agent to be gone", running.ended).await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "it was aborted");
        self.connection = None;
        self.heard.clear();
    }

    /// The agent is asked to stop, and does.
    pub(crate) async fn stop(&mut self, on_stop: OnStop) -> Result<(), AgentError> {
        assert_eq!(self.options.on_stop, on_stop, "the test has configured it so");
        let running = self.agent.take().expect("an agent runs");
        drop(running.stop);
        let ended = within("the agent to stop", running.ended).await.expect("it does not panic");
        self.connection = None;
        self.heard.clear();
        ended
    }

    pub(crate) async fn ended(&mut self) -> Result<(), AgentError> {
        let running = self.agent.take().expect("an agent runs");
        within("the agent to end", running.ended).await.expect("it does not panic")
    }

    pub(crate) async fn restart(&mut self) -> AgentReport {
        self.start();
        self.register().await
    }

    /// Takes the next connection and its registration, and answers it.
    pub(crate) async fn register(&mut self) -> AgentReport {
        let mut connection = within("a connection", self.connections.recv()).await.expect("the service runs");
        let first =
            within("the first frame", connection.from.message()).await.expect("it is sent").expect("it is not the end");
        Hello::expect(first.hello.clone()).expect("a good hello");
        let hello = Hello::master(CLUSTER, Term(self.term)).to_wire();
        let frame = v1::ToAgentFrame { hello: Some(hello), term: self.term, messages: Vec::new(), open: Vec::new() };
        connection.to.send(Ok(frame)).await.expect("the agent listens");
        self.connection = Some(connection);
        self.heard = frames::from_agent(first).expect("well formed").into();
        let report = self.hear("a registration", |message| match message {
            FromAgent::Register(report) => Some((**report).clone()),
            _ => None,
        });
        let report = report.await;
        let agent = report.agent.map_or_else(|| "A1-1".parse().expect("a good id"), |(agent, _)| agent);
        self.say(ToAgent::Registered { agent, cluster: CLUSTER }).await;
        report
    }

    /// What comes next, whatever it is; a new connection is registered.
    pub(crate) async fn next(&mut self) -> Next {
        if let Some(message) = self.heard.pop_front() {
            return Next::Said(message);
        }
        let Some(connection) = self.connection.as_mut() else {
            let connection = self.connections.recv().await.expect("the service runs");
            return self.welcome(connection).await.map_or(Next::HungUp, Next::Registered);
        };
        match connection.from.message().await {
            Ok(Some(frame)) => self.heard.extend(frames::from_agent(frame).expect("well formed")),
            Ok(None) | Err(_) => self.hang_up(),
        }
        self.heard.pop_front().map_or(Next::HungUp, Next::Said)
    }

    /// Answers a registration, unless the agent is gone before that.
    async fn welcome(&mut self, mut connection: Connection) -> Option<AgentReport> {
        let first = connection.from.message().await.ok()??;
        let hello = Hello::master(CLUSTER, Term(self.term)).to_wire();
        let frame = v1::ToAgentFrame { hello: Some(hello), term: self.term, messages: Vec::new(), open: Vec::new() };
        connection.to.send(Ok(frame)).await.ok()?;
        let mut messages = frames::from_agent(first).expect("well formed");
        while messages.is_empty() {
            messages = frames::from_agent(connection.from.message().await.ok()??).expect("well formed");
        }
        let FromAgent::Register(report) = messages.remove(0) else { panic!("expected a registration first") };
        self.heard = messages.into();
        self.connection = Some(connection);
        let agent = report.agent.map_or_else(|| "A1-1".parse().expect("a good id"), |(agent, _)| agent);
        self.tell(ToAgent::Registered { agent, cluster: CLUSTER }).await;
        Some(*report)
    }

    /// As [`Self::say`], to an agent that may be gone.
    pub(crate) async fn tell(&mut self, message: ToAgent) {
        let frame = frames::to_agent_frame(Term(self.term), &[message]);
        if let Some(connection) = &self.connection {
            let _gone = connection.to.send(Ok(frame)).await;
        }
    }

    pub(crate) fn hang_up(&mut self) {
        self.connection = None;
        self.heard.clear();
    }

    pub(crate) async fn say(&mut self, message: ToAgent) {
        let frame = frames::to_agent_frame(Term(self.term), &[message]);
        self.send(frame).await;
    }

    pub(crate) async fn open(&mut self, open: &OpenBulk) -> Bulk {
        let mut frame = frames::to_agent_frame(Term(self.term), &[]);
        frame.open = vec![open.to_wire()];
        self.send(frame).await;
        let mut bulk = within("a bulk stream", self.bulks.recv()).await.expect("the service runs");
        let first =
            within("its first message", bulk.from.message()).await.expect("it is sent").expect("it is not the end");
        assert_eq!(first.message, Some(v1::bulk_up::Message::StreamId(open.stream_id)));
        bulk
    }

    async fn send(&mut self, frame: v1::ToAgentFrame) {
        let connection = self.connection.as_ref().expect("the agent is connected");
        connection.to.send(Ok(frame)).await.expect("the agent listens");
    }

    pub(crate) async fn launch(&mut self, tasks: Vec<Task>) {
        let launch = Launch {
            framework: FRAMEWORK,
            group: TaskGroup { tasks },
            user: "".into(),
            remember: Duration::from_secs(600),
        };
        self.say(ToAgent::Launch(launch)).await;
    }

    /// Launches one task and waits until it runs.
    pub(crate) async fn run(&mut self, id: &str, command: &str) {
        self.launch(vec![task(id, command)]).await;
        self.expect(id, TaskState::Running).await;
    }

    pub(crate) async fn kill(&mut self, id: &str) {
        self.say(ToAgent::Kill { task: key(id), grace: None, reason: Reason::KillRequested, announce: Announce::No })
            .await;
    }

    /// The next message that `pick` takes; others are kept.
    pub(crate) async fn hear<T>(&mut self, what: &str, pick: impl Fn(&FromAgent) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|message| pick(message).is_some()) {
            return pick(&self.heard.remove(at).expect("it is there")).expect("it was picked before");
        }
        let connection = self.connection.as_mut().expect("the agent is connected");
        loop {
            let frame = within(what, connection.from.message()).await;
            let frame = frame.unwrap_or_else(|status| panic!("waiting for {what}: {status}"));
            let messages =
                frames::from_agent(frame.unwrap_or_else(|| panic!("hung up instead of {what}"))).expect("well formed");
            self.heard.extend(messages);
            if let Some(at) = self.heard.iter().position(|message| pick(message).is_some()) {
                return pick(&self.heard.remove(at).expect("it is there")).expect("it was picked before");
            }
        }
    }

    /// The next update of a task, without acknowledging it.
    pub(crate) async fn update(&mut self, id: &str) -> Status {
        let wanted = key(id);
        let of_task = |message: &FromAgent| match message {
            FromAgent::Update { framework, status, .. }
                if wanted.framework == *framework && wanted.task == status.task =>
            {
                Some(status.clone())
            }
            _ => None,
        };
        self.hear(&format!("an update of {id}"), of_task).await
    }

    /// The next update of a task that was not acknowledged before is of `state`; it is acknowledged.
    #[track_caller]
    pub(crate) fn expect(&mut self, id: &str, state: TaskState) -> impl Future<Output = Status> {
        let caller = std::panic::Location::caller();
        async move {
            let status = loop {
                let status = self.update(id).await;
                let Some(uuid) = status.uuid else { break status };
                self.say(ToAgent::Acknowledge { task: key(id), uuid }).await;
                if self.acknowledged.insert(uuid) {
                    break status;
                }
            };
            assert_eq!(status.state, state, "at {caller}: {status:?}");
            status
        }
    }

    /// The next update, which tells of an end; it is acknowledged.
    pub(crate) async fn expect_end(&mut self, id: &str) -> Status {
        loop {
            let status = self.update(id).await;
            if let Some(uuid) = status.uuid {
                self.say(ToAgent::Acknowledge { task: key(id), uuid }).await;
            }
            if status.state.is_terminal() {
                return status;
            }
        }
    }

    /// Supervisors of this world that live.
    pub(crate) fn supervisors(&self) -> Vec<i32> {
        let runs = self.options.work_dir.join("runs");
        let folders = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
        let pids = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            lives(*pid) && String::from_utf8_lossy(&line).contains(&*runs.to_string_lossy())
        };
        pids.filter(is_ours).collect()
    }

    /// The name of the agent's folder in each cgroup hierarchy.
    pub(crate) fn cgroup_key(&self) -> String {
        rialto_agent::cgroup::key(&self.options.work_dir.canonicalize().expect("it exists"))
    }

    pub(crate) fn sandbox(&self, id: &str) -> PathBuf {
        self.options.work_dir.join("sandboxes").join(FRAMEWORK.to_string()).join(id)
    }

    pub(crate) fn run_dir(&self, id: &str) -> PathBuf {
        self.options.work_dir.join("runs").join(FRAMEWORK.to_string()).join(id)
    }

    /// What a task has written to its standard output.
    pub(crate) fn stdout(&self, id: &str) -> String {
        std::fs::read_to_string(self.sandbox(id).join("stdout")).unwrap_or_default()
    }

    /// The first line of a task's output, as a number.
    pub(crate) async fn number(&self, id: &str) -> i32 {
        let line = || self.stdout(id).lines().next().filter(|_| self.stdout(id).ends_with('\n')).map(str::to_owned);
        until("a number", line).await.trim().parse().expect("a number")
    }
}

pub(crate) fn with_devices(mut task: Task, devices: &[&str], claim: &str) -> Task {
    task.resources.add(&Resources::devices(devices.iter().map(|device| DeviceId::new(device))));
    task.claims = vec![claim.parse().expect("a good claim")];
    task
}

/// Whether a process lives, zombies not counted.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// The example that is nothing but a supervisor. Cargo builds it with all tests of the package, but not with a selection of them.
pub(crate) fn supervisor_exe() -> PathBuf {
    static BUILD: Once = Once::new();
    let test = std::env::current_exe().expect("the test has a path");
    let exe = test.parent().and_then(Path::parent).expect("tests lie in deps").join("examples/supervise");
    BUILD.call_once(|| {
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "supervise"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(!is_stale(&exe) || build.status().expect("cargo runs").success(), "the example builds");
    });
    exe
}

fn is_stale(exe: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/supervisor");
    let sources = std::fs::read_dir(sources).expect("the sources").flatten();
    sources.map(|entry| modified(&entry.path())).max().flatten() > modified(exe)
}

impl Drop for World {
    /// Ends what the test has left running, and waits until it is gone: a supervisor needs its folder to the end.
    fn drop(&mut self) {
        if let Some(running) = self.agent.take() {
            running.ended.abort();
        }
        let runs = self.options.work_dir.join("runs").join(FRAMEWORK.to_string());
        let end = std::time::Instant::now() + *TIMEOUT;
        for run in std::fs::read_dir(runs).into_iter().flatten().flatten().map(|run| run.path()) {
            while matches!(client::terminate(&run), Ok(Liveness::Alive { .. })) && std::time::Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if self.options.launcher != LauncherKind::Process {
            let found = Hierarchies::detect_here(&self.options.cgroup_root, &self.cgroup_key());
            found.expect("/proc is mounted").hierarchies.remove();
        }
    }
}
