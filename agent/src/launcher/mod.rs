//! Task groups as processes: one [`Group`] for each, from its plan to the word of its end.
//!
//! A group is started by making its sandboxes, writing its plan into the supervisor's folder and spawning `rialto supervise`. From then on
//! the group follows the supervisor's socket and turns what it says into the core's inputs. The connection, and this agent, may be lost
//! and found again at any time; what counts is what the supervisor's folder says.

mod equip;
mod excess;
mod fetching;
mod follow;
mod isolation;
mod plan;
mod remains;
mod room;

use self::fetching::Fetched;
pub use isolation::check_launcher;
pub(crate) use isolation::{Isolation, START, bytes_of_mib, cgroup_name};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rialto_core::agent::{End, Input};
use rialto_core::model::{AgentId, Device, Launch, TaskId, TaskKey};
use rialto_proto::spec::{Artefact, Secret};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::crash;
use crate::disk::{self, Allowance, Excess, Lookers};
use crate::fetch::Fetcher;
use crate::health;
use crate::images::{Images, Lease};
use crate::network::{Mapped, Networks};
use crate::quota::Quotas;
use crate::secrets::Secrets;
use crate::shell::Event;
use crate::sources::Known;
use crate::spare::Spare;
use crate::supervisor::client::{self, Liveness, PidNamespace};
use crate::supervisor::{Child, Spawner, owner, owner_within, protocol};
use crate::users::Users;
use crate::volumes::{Link, Volumes};
use crate::work_dir::{Boot, Layout};

/// Asks a group's supervisor to end the group because of one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// The member's index.
    pub(crate) member: usize,
    pub(crate) grace: Duration,
}

/// What all groups of an agent share.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) layout: Layout,
    pub(crate) exe: PathBuf,
    pub(crate) spawner: Spawner,
    /// Folders for supervisors.
    pub(crate) spare: Spare,
    /// `PATH` of tasks that set none.
    pub(crate) path: String,
    pub(crate) isolation: Isolation,
    pub(crate) fetcher: Fetcher,
    pub(crate) images: Images,
    /// What the sources of devices have said.
    pub(crate) known: Arc<Known>,
    pub(crate) secrets: Secrets,
    pub(crate) networks: Networks,
    pub(crate) users: Users,
    pub(crate) quotas: Quotas,
    /// Who measures sandboxes.
    pub(crate) lookers: Arc<Lookers>,
    /// Bounds how many groups are being started at once.
    pub(crate) starting: Semaphore,
    pub(crate) events: mpsc::Sender<Event>,
}

/// What is to be started, or was.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) launch: Launch,
    pub(crate) devices: BTreeMap<TaskId, Vec<Arc<Device>>>,
    pub(crate) agent: Option<AgentId>,
    /// Where it is said how much disk each member takes.
    pub(crate) disk: Vec<Arc<AtomicU64>>,
}

/// How far a member's story has been told.
#[derive(Debug, Default)]
struct Member {
    ran: bool,
    ended: bool,
    check: Option<AbortHandle>,
    /// Looks at its disk.
    look: Option<AbortHandle>,
    /// How it took more disk than it may.
    excess: Option<Excess>,
}

impl Member {
    fn stop_looking(&mut self) {
        self.check.take().into_iter().chain(self.look.take()).for_each(|job| job.abort());
    }
}

/// One group, as the agent knows it.
pub(crate) struct Group {
    launcher: Arc<Launcher>,
    order: Order,
    tasks: Vec<TaskKey>,
    members: Vec<Member>,
    checks: Vec<Option<health::Plan>>,
    artefacts: Vec<Vec<Artefact>>,
    secrets: Vec<Vec<Secret>>,
    /// The ports that lead into the group's own network, if it has one on a bridge.
    bridge: Option<Vec<Mapped>>,
    /// Whether its users are its own.
    own_users: bool,
    image: Option<String>,
    /// Keeps the image's layers until the supervisor's folder says that they are used.
    layers: Option<Lease>,
    directory: PathBuf,
    kills: mpsc::Receiver<Kill>,
    /// Checks that are to be run, and who waits for the answer, by member.
    requests: mpsc::Receiver<health::Request>,
    ask: mpsc::Sender<health::Request>,
    asked: BTreeMap<usize, oneshot::Sender<bool>>,
    /// Members that take more disk than they may.
    excesses: mpsc::Receiver<Excess>,
    exceed: mpsc::Sender<Excess>,
    child: Option<Child>,
    namespace: PidNamespace,
    /// Why the supervisor refused what it was told, if it did.
    refused: Option<String>,
}

impl Group {
    pub(crate) fn new(launcher: Arc<Launcher>, order: Order, kills: mpsc::Receiver<Kill>) -> Self {
        let key = |id: &TaskId| TaskKey::new(order.launch.framework, id.clone());
        let tasks: Vec<TaskKey> = order.launch.group.tasks.iter().map(|task| key(&task.id)).collect();
        let directory = launcher.layout.run(&tasks[0]);
        let members = tasks.iter().map(|_| Member::default()).collect();
        let (ask, requests) = mpsc::channel(tasks.len().max(1));
        let (exceed, excesses) = mpsc::channel(tasks.len().max(1));
        Self {
            launcher,
            order,
            tasks,
            members,
            checks: Vec::new(),
            artefacts: Vec::new(),
            secrets: Vec::new(),
            bridge: None,
            own_users: false,
            image: None,
            layers: None,
            directory,
            kills,
            requests,
            ask,
            asked: BTreeMap::new(),
            excesses,
            exceed,
            child: None,
            namespace: PidNamespace::Same,
            refused: None,
        }
    }

    /// Starts the group and stays with it until it has ended.
    pub(crate) async fn start(mut self) {
        let Some(spec) = self.plan().await else { return };
        if self.kills.try_recv().is_ok() {
            self.end_all(&End::Killed(None)).await;
            return;
        }
        self.spawn_and_stay(Some(spec)).await;
    }

    /// Takes up a group that an earlier agent started, or was about to.
    pub(crate) async fn resume(mut self, boot: Boot) {
        let directory = self.directory.clone();
        let found = blocking(move || {
            let found = (client::terminal(&directory)?, client::liveness(&directory)?, client::is_prepared(&directory));
            Ok((found, excess::kept(&directory)))
        })
        .await;
        let found = found.map(|(found, excesses)| {
            self.recall(excesses);
            found
        });
        let Some(spec) = self.plan().await else { return };
        match found {
            // With the power goes what was not written yet, and leaves whatever was there.
            Err(_) if boot == Boot::New => self.rebooted().await,
            Err(error) => self.launch_failed(format!("its supervisor's folder can't be read: {error}")).await,
            Ok((Some(terminal), _, _)) => self.finished(terminal).await,
            Ok((None, _, _)) if boot == Boot::New => self.rebooted().await,
            Ok((None, Liveness::Alive { .. } | Liveness::Dead, _)) => self.stay(None).await,
            // It was never started. Should a supervisor be about to claim the folder, only one of the two can.
            Ok((None, Liveness::Never, prepared)) => self.spawn_and_stay((!prepared).then_some(spec)).await,
        }
    }

    /// Its processes are gone; what outlives them is taken away.
    async fn rebooted(&mut self) {
        self.end_all(&End::Rebooted).await;
        self.reap().await;
    }

    async fn spawn_and_stay(&mut self, mut spec: Option<protocol::Spec>) {
        // With a folder but no word of a supervisor, what is to be fetched is there already.
        if let Some(spec) = &mut spec
            && self.make_ready(spec).await == Fetched::Ended
        {
            return self.reap().await;
        }
        match self.spawn(spec).await {
            Ok(stream) => self.stay(Some(stream)).await,
            Err(message) => {
                self.launch_failed(message).await;
                self.reap().await;
            }
        }
    }

    /// Has ready what the group needs before its supervisor is spawned.
    async fn make_ready(&mut self, spec: &mut protocol::Spec) -> Fetched {
        // First: files are made as its users' own.
        if let Err(message) = self.take_users(spec).await {
            return self.not_ready(End::LaunchFailed(message.into())).await;
        }
        self.limit_disk(spec).await;
        if self.fetch_image(spec).await == Fetched::Ended || self.fetch(spec).await == Fetched::Ended {
            return Fetched::Ended;
        }
        match self.equip_unless_killed(spec).await {
            Some(Ok(())) => {}
            Some(Err(message)) => return self.not_ready(End::LaunchFailed(message.into())).await,
            None => return self.not_ready(End::Killed(None)).await,
        }
        let given = match self.give_secrets(spec).await {
            Ok(()) => self.lay_network(spec).await,
            Err(message) => Err(message),
        };
        if let Err(message) = given {
            return self.not_ready(End::LaunchFailed(message.into())).await;
        }
        Fetched::Ready
    }

    async fn not_ready(&mut self, end: End) -> Fetched {
        self.end_all(&end).await;
        Fetched::Ended
    }

    /// Gives the group users of its own, if it is to have them.
    async fn take_users(&self, spec: &mut protocol::Spec) -> Result<(), String> {
        if !self.own_users {
            return Ok(());
        }
        let (launcher, leader) = (self.launcher.clone(), self.tasks[0].clone());
        let taken = tokio::task::spawn_blocking(move || launcher.users.take(&leader)).await;
        let range = taken.map_err(|_| "the agent is stopping".to_owned())??;
        spec.tasks.iter_mut().for_each(|task| task.users = Some(range));
        Ok(())
    }

    /// Makes the group's network, if it has one on a bridge.
    async fn lay_network(&self, spec: &mut protocol::Spec) -> Result<(), String> {
        let Some(ports) = self.bridge.clone() else { return Ok(()) };
        let (launcher, leader) = (self.launcher.clone(), self.tasks[0].clone());
        let laid = tokio::task::spawn_blocking(move || launcher.networks.lay(&leader, ports)).await;
        let namespace = laid.map_err(|_| "the agent is stopping".to_owned())??;
        if let Some(namespaces) = spec.container.as_mut().and_then(|container| container.namespaces.as_mut()) {
            namespaces.network = protocol::Network::Joined(namespace);
        }
        Ok(())
    }

    /// Shows each member what only it is to know.
    async fn give_secrets(&self, spec: &mut protocol::Spec) -> Result<(), String> {
        if self.secrets.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let (launcher, tasks, secrets) = (self.launcher.clone(), self.tasks.clone(), self.secrets.clone());
        let members = spec.tasks.clone();
        let given = tokio::task::spawn_blocking(move || {
            let namespaces = launcher.isolation.has_namespaces();
            let give = |((task, secrets), member): ((&TaskKey, &Vec<Secret>), &protocol::TaskSpec)| {
                sandbox(member).map_err(|error| format!("sandbox {}: {error}", member.sandbox.display()))?;
                launcher.secrets.give(task, secrets, &member.sandbox, owner(member), namespaces)
            };
            tasks.iter().zip(&secrets).zip(&members).map(give).collect::<Result<Vec<_>, String>>()
        });
        let mounts = given.await.map_err(|_| "the agent is stopping".to_owned())??;
        for (task, mount) in spec.tasks.iter_mut().zip(mounts) {
            task.edits.mounts.extend(mount);
        }
        Ok(())
    }

    async fn launch_failed(&mut self, message: String) {
        self.end_all(&End::LaunchFailed(message.into())).await;
    }

    /// What is to be run. A description that can't be run ends the group.
    async fn plan(&mut self) -> Option<protocol::Spec> {
        match plan::plan(&self.launcher, &self.order, &self.tasks) {
            Ok(plan) => {
                self.checks = plan.checks;
                self.artefacts = plan.artefacts;
                self.secrets = plan.secrets;
                self.bridge = plan.bridge;
                self.own_users = plan.own_users;
                self.image = plan.image;
                self.namespace = PidNamespace::of(&plan.spec);
                Some(plan.spec)
            }
            Err(plan::PlanError { member, message }) => {
                self.ended(member, End::NotStarted(message.into())).await;
                self.end_all(&End::GroupEnded).await;
                None
            }
        }
    }

    /// Spawns the supervisor; with a spec, makes its folder and the sandboxes first.
    async fn spawn(&mut self, spec: Option<protocol::Spec>) -> Result<UnixStream, String> {
        let _permit = self.launcher.starting.acquire().await.map_err(|_| "the agent is stopping".to_owned())?;
        let (launcher, directory) = (self.launcher.clone(), self.directory.clone());
        let mounts =
            Mounts { volumes: self.launcher.layout.volumes(), links: Volumes::links(&self.order.launch.group.tasks) };
        let namespace = self.namespace;
        let spawned = move || spawn(&launcher, &directory, namespace, spec.as_ref(), &mounts);
        let spawned = tokio::task::spawn_blocking(spawned).await;
        let spawned = spawned.map_err(|_| "the agent is stopping".to_owned())??;
        self.child = Some(spawned.child);
        spawned.stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        UnixStream::from_std(spawned.stream).map_err(|error| error.to_string())
    }

    async fn running(&mut self, member: usize) {
        if std::mem::replace(&mut self.members[member].ran, true) || self.members[member].ended {
            return;
        }
        crash::point("group: before it is told to run");
        let task = self.tasks[member].clone();
        if let Some(plan) = self.checks[member].take() {
            let runner = health::Runner { member, requests: self.ask.clone() };
            let check = health::watch(task.clone(), plan, runner, self.launcher.events.clone());
            self.members[member].check = Some(tokio::spawn(check).abort_handle());
        }
        if let Some(look) = self.look_at_disk(member) {
            self.members[member].look = Some(tokio::spawn(look).abort_handle());
        }
        self.tell(Input::Running { task }).await;
    }

    /// Watches a member's sandbox, if there is a limit; of the first member also what the group writes to its own `/tmp`, and over its image.
    fn look_at_disk(&self, member: usize) -> Option<impl Future<Output = ()> + use<>> {
        let limit_bytes = room::of_sandbox(&self.order.launch.group.tasks[member].resources);
        let allowance = (limit_bytes > 0).then(|| Allowance { limit_bytes, taken: self.order.disk[member].clone() })?;
        let shared: &[&str] = if member == 0 { &room::SHARED } else { &[] };
        let folders = shared.iter().map(|part| self.directory.join(part));
        let folders = folders.chain([self.launcher.layout.sandbox(&self.tasks[member])]).collect();
        Some(disk::watch(folders, allowance, member, self.launcher.lookers.clone(), self.exceed.clone()))
    }

    async fn ended(&mut self, member: usize, end: End) {
        if std::mem::replace(&mut self.members[member].ended, true) {
            return;
        }
        self.members[member].stop_looking();
        crash::point("group: before it is told to have ended");
        let task = self.tasks[member].clone();
        self.tell(Input::Ended { task, end }).await;
    }

    async fn end_all(&mut self, end: &End) {
        for member in 0..self.tasks.len() {
            self.ended(member, end.clone()).await;
        }
    }

    async fn tell(&self, input: Input) {
        // Nobody listens once the agent has stopped; the next one learns the same from the supervisor's folder.
        let _stopped = self.launcher.events.send(Event::Input(input)).await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.members.iter_mut().for_each(Member::stop_looking);
    }
}

/// The volumes of a group, and where its tasks find them.
struct Mounts {
    volumes: Volumes,
    links: Vec<Link>,
}

fn spawn(
    launcher: &Launcher,
    directory: &Path,
    namespace: PidNamespace,
    spec: Option<&protocol::Spec>,
    mounts: &Mounts,
) -> Result<client::Spawned, String> {
    crash::point("start: before the folders");
    if let Some(spec) = spec {
        prepare(launcher, directory, spec, mounts)?;
    }
    crash::point("start: before the supervisor");
    let spawned = launcher.spawner.spawn(directory, namespace).map_err(|error| error.to_string());
    crash::point("start: with the supervisor");
    spawned
}

fn prepare(launcher: &Launcher, directory: &Path, spec: &protocol::Spec, mounts: &Mounts) -> Result<(), String> {
    for task in &spec.tasks {
        sandbox(task).map_err(|error| format!("sandbox {}: {error}", task.sandbox.display()))?;
    }
    for link in &mounts.links {
        let task = &spec.tasks[link.member];
        // Its files are of the same users whoever looks at them: they are shown to a group as those of its own.
        mounts.volumes.link(link, &task.sandbox, owner_within(task))?;
    }
    let parent = directory.parent().expect("it lies below the work directory");
    crash::point("start: with the sandboxes");
    std::fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    launcher.spare.take(directory);
    room::share(&launcher.quotas, directory, spec);
    client::prepare(directory, spec).map_err(|error| error.to_string())
}

/// Makes a task's sandbox, its user's own.
fn sandbox(task: &protocol::TaskSpec) -> std::io::Result<()> {
    std::fs::create_dir_all(&task.sandbox)?;
    let Some((uid, gid)) = owner(task) else { return Ok(()) };
    std::os::unix::fs::chown(&task.sandbox, Some(uid), Some(gid))
}

/// Reads or writes files where waiting for them holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, client::ClientError> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| "the agent is stopping".to_owned())?;
    done.map_err(|error| error.to_string())
}
