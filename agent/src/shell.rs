//! The loop that owns the core: everything that happens comes in as an [`Event`], everything that is to be done goes out as an effect.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rialto_core::agent::{Agent, Config, Effect, Input, Journal, Record};
use rialto_core::gate::{Gate, Outbox};
use rialto_core::model::{
    Attribute, Device, FromAgent, Launch, Reject, ResourceName, Resources, TaskId, TaskKey, Time, VolumeKey, WallTime,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::bulk::{Files, Place};
use crate::fetch::Fetcher;
use crate::images::Images;
use crate::journal::{self, Job, JournalFile, Writer, Written};
use crate::launcher::{Group, Isolation, Kill, Launcher, Order, cgroup_name};
use crate::link::{Dialer, Epoch, Link, LinkEvent};
use crate::network::Networks;
use crate::quota::Quotas;
use crate::secrets::Secrets;
use crate::sources::{self, DeviceSource, Look, Plugin};
use crate::spare::Spare;
use crate::supervisor::Spawner;
use crate::users::Users;
use crate::volumes::Age;
use crate::work_dir::{Boot, WorkDir};
use crate::{AgentError, OnStop, Options, crash, detect, gc, metrics};

/// The most events that wait for the core; who has more to say waits.
const MAX_EVENTS: usize = 4096;
/// The most events that are taken between two looks at the clock and the journal.
const MAX_BURST: usize = 256;
/// The most kills of one group that wait for its supervisor; further ones say nothing new.
const MAX_KILLS: usize = 16;
/// How long a device may stay open after its tenant is gone before it is quarantined.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often sources that can change are asked again.
const DISCOVER_EVERY: Duration = Duration::from_secs(30);
/// How long a plug-in may take for its first word when the agent starts; later it is heard all the same.
const PLUGIN_PATIENCE: Duration = Duration::from_secs(5);
const COLLECT_EVERY: Duration = Duration::from_secs(3600);
/// How often it is looked whether the disk fills up.
const PRESSURE_EVERY: Duration = Duration::from_secs(30);
/// How long the last records may take when the agent stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// What happens to the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something for the core.
    Input(Input),
    /// The journal's thread says something.
    Journal(Written),
    /// Something happens on a connection to the master.
    Link(Epoch, LinkEvent),
}

/// A group that is not forgotten.
struct Handle {
    kills: mpsc::Sender<Kill>,
    members: Vec<TaskKey>,
}

/// Why the loop is to end.
#[derive(Debug)]
enum Stopping {
    /// It was asked to, and the tasks run on.
    KeepTasks,
    /// It was asked to, once the tasks have ended.
    EndTasks,
    /// The master does not want it; the tasks end first.
    Refused(Reject),
}

/// Runs an agent until `stop` is ready, or the master refuses it.
///
/// # Errors
/// The work directory can't be used, an option is not acceptable, or the master refuses the agent for good. A master that is away is
/// no error: the agent keeps its tasks and tries again.
pub async fn run(options: Options, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
    let dialer = Dialer::new(&options)?;
    let work_dir = WorkDir::open(&options.work_dir)?;
    let boot = work_dir.boot()?;
    let (journal, file) = journal::load(&work_dir.journal())?;
    let file = file.tuned(options.compact_after_bytes, options.sync_delay);
    let mut shell = Shell::new(&options, work_dir, journal, file)?;
    if let Some(address) = options.metrics_listen {
        let listener = metrics::listen(address).await?;
        shell.jobs.spawn(metrics::serve(listener, shell.files.clone()));
    }
    shell.discover(&options.device_sources).await;
    shell.resume(boot);
    shell.dial(dialer);
    shell.turn(&options, stop).await
}

struct Shell {
    start: Instant,
    core: Agent,
    gate: Gate<Record, Effect>,
    outbox: Outbox<Record, Effect>,
    released: Vec<Effect>,
    /// Before the writer, which may wait for room here: it must find nobody listening when it is dropped.
    incoming: mpsc::Receiver<Event>,
    writer: Writer,
    /// Whether a batch is being written.
    writing: bool,
    compact: bool,
    events: mpsc::Sender<Event>,
    master: Option<(Epoch, mpsc::Sender<FromAgent>)>,
    link: Option<AbortHandle>,
    launcher: Arc<Launcher>,
    files: Arc<Files>,
    /// By leader.
    groups: HashMap<TaskKey, Handle>,
    /// Of each member: its leader, and its index.
    members: HashMap<TaskKey, (TaskKey, usize)>,
    devices: BTreeMap<Arc<str>, Vec<Device>>,
    jobs: JoinSet<()>,
    refused: Option<Reject>,
    /// Last, so that the folder is free only when nothing writes to it any more.
    work_dir: WorkDir,
}

impl Shell {
    fn new(options: &Options, work_dir: WorkDir, journal: Journal, file: JournalFile) -> Result<Self, AgentError> {
        let (events, incoming) = mpsc::channel(MAX_EVENTS);
        let told = events.clone();
        let tell = move |written| {
            // Nobody listens once the agent has stopped.
            let _stopped = told.blocking_send(Event::Journal(written));
        };
        let path = work_dir.journal();
        let writer = Writer::start(file, tell).map_err(AgentError::io(&path))?;
        let layout = work_dir.layout();
        let exe = options.supervisor_exe.canonicalize().map_err(AgentError::io(&options.supervisor_exe))?;
        let resources = detect::resources(&options.work_dir, &options.resources);
        let disks = options.resources.iter().filter_map(|(flavor, _)| flavor.disk_source.as_deref());
        let quotas = Quotas::detect(&layout, disks);
        let isolation = isolate(options, layout.root(), &exe, &resources, &quotas)?;
        let mut attributes = options.attributes.clone();
        attributes.entry("isolation".into()).or_insert_with(|| Attribute::text(&isolation.describe()));
        let meter = isolation.meter();
        let launcher = Launcher {
            fetcher: Fetcher::new(options.fetch.clone(), layout.root())?,
            images: Images::new(options.images.clone(), &layout)?,
            secrets: Secrets::of(layout.root()),
            users: Users::of(layout.root(), options.user_namespaces),
            networks: Networks::of(layout.root(), options.cni_plugins.as_deref(), &options.bridge_subnet),
            quotas,
            lookers: Arc::default(),
            known: Arc::default(),
            layout: layout.clone(),
            spawner: Spawner::new(&exe),
            spare: Spare::below(layout.root()).map_err(AgentError::io(layout.root()))?,
            exe,
            isolation,
            path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            starting: Semaphore::new(std::thread::available_parallelism().map_or(4, |cpus| (2 * cpus.get()).max(4))),
            events: events.clone(),
        };
        launcher.spawner.warm_up();
        let known = launcher.known.clone();
        let config = Config {
            name: options.name.as_str().into(),
            resources,
            attributes,
            domain: options.domain.clone(),
            host_share_milli: options.host_share_milli,
            origin: wall_clock(),
            seed: seed(),
        };
        Ok(Self {
            start: Instant::now(),
            core: Agent::recover(Time::ZERO, config, journal),
            gate: Gate::default(),
            outbox: Outbox::new(),
            released: Vec::new(),
            writer,
            writing: false,
            compact: false,
            events,
            incoming,
            master: None,
            link: None,
            launcher: Arc::new(launcher),
            files: Arc::new(Files::new(layout, meter, known)),
            groups: HashMap::new(),
            members: HashMap::new(),
            devices: BTreeMap::new(),
            jobs: JoinSet::new(),
            refused: None,
            work_dir,
        })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Asks every source what it has, and keeps asking those that may change.
    async fn discover(&mut self, sources: &[DeviceSource]) {
        for source in sources.iter().cloned() {
            let name: Arc<str> = source.to_string().into();
            let first = match source.plugin() {
                Some(plugin) => self.follow_plugin(&name, plugin).await,
                None => {
                    let mut watch =
                        Watch { source, name: name.clone(), launcher: self.launcher.clone(), last: Look::default() };
                    let devices = watch.look().await.unwrap_or_default();
                    if watch.source.changes() {
                        self.jobs.spawn(watch.again(self.events.clone()));
                    }
                    devices
                }
            };
            self.devices.insert(name.clone(), first.clone());
            self.step(Input::Discovered { source: name, devices: first });
        }
        self.flush();
    }

    /// Follows what a plug-in says, and waits a moment for the first that it does.
    async fn follow_plugin(&mut self, name: &Arc<str>, plugin: Plugin) -> Vec<Device> {
        let (lists, mut heard) = mpsc::channel(1);
        self.jobs.spawn(plugin.clone().discover(lists));
        let first = tokio::time::timeout(PLUGIN_PATIENCE, heard.recv()).await.ok().flatten().unwrap_or_default();
        let launcher = self.launcher.clone();
        launcher.known.learn_plugin(&plugin, &first);
        self.jobs.spawn(sources::watch(plugin.clone(), launcher.known.clone()));
        let (name, events) = (name.clone(), self.events.clone());
        self.jobs.spawn(async move {
            while let Some(devices) = heard.recv().await {
                launcher.known.learn_plugin(&plugin, &devices);
                if events.send(Event::Input(Input::Discovered { source: name.clone(), devices })).await.is_err() {
                    return;
                }
            }
        });
        first
    }

    /// Takes up every group that the journal knows, and removes what it does not.
    fn resume(&mut self, boot: Boot) {
        let launches: Vec<Launch> = self.core.journal().launches().collect();
        let live: BTreeSet<TaskKey> = self.core.journal().live_tasks().cloned().collect();
        for launch in launches {
            let leader = TaskKey::new(launch.framework, launch.group.leader().clone());
            let lives =
                launch.group.tasks.iter().any(|task| live.contains(&TaskKey::new(launch.framework, task.id.clone())));
            if lives {
                let devices = self.devices_of(&launch);
                self.add_group(launch, devices, move |group| group.resume(boot));
            } else {
                tracing::debug!(%leader, "ended before; its updates wait to be acknowledged");
            }
        }
        // Looked for now: a moment later there may be new ones, which the journal knows only then.
        let known: BTreeSet<TaskKey> = self
            .core
            .journal()
            .launches()
            .map(|launch| TaskKey::new(launch.framework, launch.group.leader().clone()))
            .collect();
        let runs = self.launcher.layout.runs().unwrap_or_default();
        let strays =
            runs.into_iter().filter(|leader| !known.contains(leader)).map(|leader| self.launcher.layout.run(&leader));
        self.jobs.spawn(gc::remove_strays(strays.collect()));
        let cgroups = self.launcher.isolation.strays(&live);
        let launcher = self.launcher.clone();
        let groups: Vec<String> =
            known.iter().filter(|leader| self.groups.contains_key(leader)).map(cgroup_name).collect();
        self.jobs.spawn(gc::blocking(move || {
            launcher.isolation.clear_strays(&cgroups);
            launcher.networks.take_away_strays(&groups);
            launcher.users.give_back_strays(&groups);
        }));
    }

    fn devices_of(&self, launch: &Launch) -> BTreeMap<TaskId, Vec<Arc<Device>>> {
        let all = || self.devices.values().flatten();
        let of = |task: &rialto_core::model::Task| {
            let held = task.resources.device_shares().filter_map(|(id, _)| all().find(|device| device.id == *id));
            held.map(|device| Arc::new(device.clone())).collect()
        };
        launch.group.tasks.iter().map(|task| (task.id.clone(), of(task))).collect()
    }

    fn dial(&mut self, dialer: Dialer) {
        let cluster = self.core.journal().cluster();
        let link = Link { dialer, cluster, events: self.events.clone(), bulk: self.files.clone() };
        self.link = Some(self.jobs.spawn(link.keep()));
    }

    async fn turn(mut self, options: &Options, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
        let mut stop = pin!(stop);
        let mut stopping = None;
        let mut collect = tokio::time::interval(COLLECT_EVERY);
        let mut pressure = tokio::time::interval(PRESSURE_EVERY);
        let mut burst = Vec::new();
        loop {
            let deadline = self.core.next_deadline().map_or(DISCOVER_EVERY, |due| due.since(self.now()));
            tokio::select! {
                taken = self.incoming.recv_many(&mut burst, MAX_BURST) => debug_assert!(taken > 0, "this loop holds a sender itself"),
                () = &mut stop, if stopping.is_none() => stopping = Some(self.begin_stop(options.on_stop)),
                () = tokio::time::sleep(deadline) => self.step(Input::Tick),
                Some(_) = self.jobs.join_next() => {}
                _ = collect.tick() => self.collect(options.sandbox_retention),
                _ = pressure.tick() => if gc::is_tight(self.work_dir.layout().root()) { self.collect(options.sandbox_retention) },
            }
            for event in burst.drain(..) {
                self.take(event);
            }
            self.flush();
            if let Some(reject) = self.refused.take() {
                self.hang_up();
                stopping = Some(Stopping::Refused(reject));
            }
            if stopping.as_ref().is_some_and(|stopping| self.may_stop(stopping)) {
                break;
            }
        }
        self.finish(stopping).await
    }

    fn begin_stop(&mut self, on_stop: OnStop) -> Stopping {
        self.hang_up();
        match on_stop {
            OnStop::KeepTasks => Stopping::KeepTasks,
            OnStop::EndTasks => {
                self.step(Input::EndTasks);
                Stopping::EndTasks
            }
        }
    }

    fn may_stop(&self, stopping: &Stopping) -> bool {
        let ended = || self.core.journal().live_tasks().next().is_none();
        matches!(stopping, Stopping::KeepTasks) || ended()
    }

    /// Writes what has gathered, then lets everything go.
    async fn finish(mut self, stopping: Option<Stopping>) -> Result<(), AgentError> {
        let flushed = tokio::time::timeout(FLUSH_TIMEOUT, async {
            while !self.gate.is_idle() {
                let Some(event) = self.incoming.recv().await else { return };
                self.take(event);
                self.flush();
            }
        });
        if flushed.await.is_err() {
            tracing::error!("the last records could not be written; what they tell is found again at the next start");
        }
        self.jobs.shutdown().await;
        self.launcher.isolation.leave();
        let journal = self.work_dir.journal();
        drop(self.incoming);
        drop(self.writer);
        match stopping {
            Some(Stopping::Refused(reject)) => {
                std::fs::remove_file(&journal).map_err(AgentError::io(&journal))?;
                Err(AgentError::Refused(reject))
            }
            _ => Ok(()),
        }
    }

    fn hang_up(&mut self) {
        if let Some(link) = self.link.take() {
            link.abort();
        }
        self.disconnected();
    }

    fn disconnected(&mut self) {
        if self.master.take().is_some() {
            self.step(Input::Disconnected);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Input(input) => {
                crash::point("agent: something happened");
                if let Input::Ended { task, .. } = &input {
                    self.files.end(task);
                    self.launcher.secrets.remove(task);
                }
                if let Input::Discovered { source, devices } = &input {
                    self.devices.insert(source.clone(), devices.clone());
                }
                self.step(input);
            }
            Event::Journal(written) => self.written(written),
            Event::Link(epoch, event) => self.linked(epoch, event),
        }
    }

    fn written(&mut self, written: Written) {
        match written {
            Written::Durable { batch, compact } => {
                self.writing = false;
                self.compact = compact;
                self.gate.durable(batch, &mut self.released);
                self.act();
            }
            Written::Degraded(error) => {
                tracing::error!("the journal can't be written: {error}; nothing new is started until it can");
                self.step(Input::Journal { degraded: true });
            }
            Written::Recovered => self.step(Input::Journal { degraded: false }),
        }
    }

    fn linked(&mut self, epoch: Epoch, event: LinkEvent) {
        let current = self.master.as_ref().is_some_and(|(current, _)| *current == epoch);
        match event {
            LinkEvent::Up(sender) if self.link.is_some() => {
                self.disconnected();
                self.master = Some((epoch, sender));
                self.step(Input::Connected);
            }
            LinkEvent::Down if current => self.disconnected(),
            LinkEvent::Heard(term, messages) if current => {
                for mut message in messages {
                    // Before anything is written down.
                    self.launcher.secrets.take_out(&mut message);
                    self.step(Input::FromMaster { term, message });
                }
            }
            LinkEvent::Up(_) | LinkEvent::Down | LinkEvent::Heard(..) => {}
        }
    }

    fn step(&mut self, input: Input) {
        self.core.step(self.now(), input, &mut self.outbox);
        self.gate.push(self.outbox.drain(..), &mut self.released);
        self.act();
    }

    /// Hands the journal what has gathered, unless it is still busy with what came before.
    fn flush(&mut self) {
        if self.writing {
            return;
        }
        let Some((batch, records)) = self.gate.take_batch() else { return };
        // A snapshot taken now holds these records' effects too, and nothing later.
        let job = if std::mem::take(&mut self.compact) {
            Job::Rewrite(batch, self.core.snapshot())
        } else {
            Job::Append(batch, records)
        };
        self.writer.submit(job);
        self.writing = true;
    }

    fn act(&mut self) {
        let mut released = std::mem::take(&mut self.released);
        for effect in released.drain(..) {
            self.carry_out(effect);
        }
        if self.released.is_empty() {
            self.released = released;
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        crash::point(name_of(&effect));
        match effect {
            Effect::ToMaster(message) => self.say(message),
            Effect::Start { launch, devices } => self.add_group(launch, devices, Group::start),
            Effect::Kill { task, grace } => self.kill(&task, grace),
            Effect::Release { device, generation, slice } => self.release(device, generation, slice.is_some()),
            Effect::MakeVolume { volume, fresh } => self.make_volume(&volume, fresh),
            Effect::DestroyVolume(volume) => self.destroy_volume(volume),
            Effect::Forget { task } => self.forget(&task),
            Effect::Shutdown(reject) => self.refused = Some(reject),
            Effect::Notice(text) => tracing::info!("{text}"),
        }
    }

    fn say(&mut self, message: FromAgent) {
        let Some((_, sender)) = &self.master else { return };
        if sender.try_send(message).is_err() {
            // It is gone, or does not keep up. Dropping the sender closes it; everything is said again on the next one.
            self.disconnected();
        }
    }

    fn add_group<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        launch: Launch,
        devices: BTreeMap<TaskId, Vec<Arc<Device>>>,
        life: impl FnOnce(Group) -> F,
    ) {
        let leader = TaskKey::new(launch.framework, launch.group.leader().clone());
        let members: Vec<TaskKey> =
            launch.group.tasks.iter().map(|task| TaskKey::new(launch.framework, task.id.clone())).collect();
        let mut disk = Vec::new();
        for (index, key) in members.iter().enumerate() {
            let held = devices.get(&key.task).map(Vec::as_slice).unwrap_or_default();
            let mut kinds = BTreeMap::new();
            held.iter().for_each(|device| *kinds.entry(Arc::from(&*device.kind)).or_default() += 1);
            let held = held.iter().map(|device| device.id.clone()).collect();
            let place = Place { leader: leader.clone(), member: index, devices: kinds, held, disk: Arc::default() };
            disk.push(place.disk.clone());
            self.files.begin(key.clone(), place);
            self.members.insert(key.clone(), (leader.clone(), index));
        }
        let (kills, received) = mpsc::channel(MAX_KILLS);
        self.groups.insert(leader, Handle { kills, members });
        let order = Order { launch, devices, agent: self.core.journal().agent(), disk };
        self.jobs.spawn(life(Group::new(self.launcher.clone(), order, received)));
    }

    fn kill(&mut self, task: &TaskKey, grace: Duration) {
        let Some((leader, member)) = self.members.get(task) else { return };
        let Some(group) = self.groups.get(leader) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = group.kills.try_send(Kill { member: *member, grace }) {
            tracing::debug!(%task, "its supervisor has been told often enough");
        }
    }

    /// Others may have the device open while a slice of it is cleaned: then the tenant's processes being gone is all there is to see.
    fn release(&mut self, device: Arc<Device>, generation: u64, is_slice: bool) {
        let events = self.events.clone();
        let plugin = self.launcher.known.plugin(&device.id);
        self.jobs.spawn(async move {
            let cleaned = device.clone();
            crash::point("release: before");
            let mut result = match device.nodes.is_empty() || is_slice {
                true => Ok(()),
                false => {
                    let released =
                        tokio::task::spawn_blocking(move || sources::release(&cleaned, RELEASE_TIMEOUT)).await;
                    released.unwrap_or_else(|_| Err("the release step was cut short".into()))
                }
            };
            if let (Ok(()), Some(plugin), false) = (&result, plugin, is_slice) {
                result = plugin.release(&device.id, generation).await.map_err(|error| error.to_string().into());
            }
            crash::point("release: done");
            let input = Input::Released { device: device.id.clone(), generation, result };
            let _stopped = events.send(Event::Input(input)).await;
        });
    }

    /// Done at once, so that it is there before any task that uses it; a task that does not find it says why it can't be started.
    fn make_volume(&self, volume: &VolumeKey, fresh: bool) {
        let age = if fresh { Age::New } else { Age::Known };
        if let Err(error) = self.launcher.layout.volumes().make(volume, age) {
            tracing::error!("volume {volume} can't be made: {error}");
        }
    }

    fn destroy_volume(&mut self, volume: VolumeKey) {
        let (events, launcher) = (self.events.clone(), self.launcher.clone());
        self.jobs.spawn(async move {
            let doomed = volume.clone();
            let destroy = move || {
                let volumes = launcher.layout.volumes();
                let held = volumes.open(&doomed).ok();
                launcher.quotas.removing(held.as_ref(), || volumes.destroy(&doomed))
            };
            let removed = tokio::task::spawn_blocking(destroy).await;
            let result = match removed {
                Ok(removed) => removed.map_err(|error| error.to_string().into()),
                Err(_) => Err("the removal was cut short".into()),
            };
            let _stopped = events.send(Event::Input(Input::VolumeDestroyed { volume, result })).await;
        });
    }

    fn forget(&mut self, leader: &TaskKey) {
        let members = self.groups.remove(leader).map(|group| group.members).unwrap_or_default();
        for member in members {
            self.members.remove(&member);
        }
        let (launcher, directory) = (self.launcher.clone(), self.launcher.layout.run(leader));
        self.jobs.spawn(gc::give_run(launcher, directory));
    }

    fn collect(&mut self, retention: Duration) {
        let known: BTreeSet<TaskKey> = self.members.keys().cloned().collect();
        self.launcher.secrets.remove_strays(&known);
        self.jobs.spawn(gc::collect(self.launcher.clone(), known, retention));
    }
}

/// How tasks are kept apart, as the options have it.
fn isolate(
    options: &Options,
    work_dir: &Path,
    exe: &Path,
    resources: &Resources,
    quotas: &Quotas,
) -> Result<Isolation, AgentError> {
    let mut isolation = Isolation::detect(options.launcher, &options.cgroup_root, work_dir, exe)?;
    isolation.hide_volumes(options.resources.iter().filter_map(|(flavor, _)| flavor.disk_source.as_deref()));
    if let Some(profile) = &options.seccomp_profile {
        isolation.confine(profile, work_dir)?;
    }
    isolation.leave_images_to(&options.oci_runtime)?;
    isolation.probe_files(work_dir, exe);
    if quotas.is_any() {
        isolation.hold_disk();
    }
    isolation.guard_ports(&resources.ranges(&ResourceName::ports()));
    Ok(isolation)
}

/// A source that is looked at again and again.
struct Watch {
    source: DeviceSource,
    name: Arc<str>,
    launcher: Arc<Launcher>,
    last: Look,
}

impl Watch {
    /// What it has now, if that is something else than before; `None` too if the agent is stopping. New problems are said.
    async fn look(&mut self) -> Option<Vec<Device>> {
        let asked = self.source.clone();
        let look = tokio::task::spawn_blocking(move || asked.look()).await.ok()?;
        for problem in look.problems.iter().filter(|problem| !self.last.problems.contains(problem)) {
            tracing::warn!("{problem}");
        }
        let before = std::mem::replace(&mut self.last, look);
        if before.found == self.last.found {
            return None;
        }
        self.launcher.known.learn(&self.last.found);
        Some(self.last.found.iter().map(|found| found.device.clone()).collect())
    }

    async fn again(mut self, events: mpsc::Sender<Event>) {
        loop {
            tokio::time::sleep(DISCOVER_EVERY).await;
            if let Some(devices) = self.look().await {
                let input = Input::Discovered { source: self.name.clone(), devices };
                if events.send(Event::Input(input)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// For the points at which a test lets the agent die.
const fn name_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::ToMaster(_) => "agent: before it says something",
        Effect::Start { .. } => "agent: before a start",
        Effect::Kill { .. } => "agent: before a kill",
        Effect::Release { .. } => "agent: before a release",
        Effect::Forget { .. } => "agent: before it forgets",
        Effect::MakeVolume { .. } | Effect::DestroyVolume(_) => "agent: before a volume",
        Effect::Shutdown(_) | Effect::Notice(_) => "agent: before a notice",
    }
}

fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A seed that no other start of an agent has.
fn seed() -> u64 {
    u64::from(crate::random_u32()) << 32 | u64::from(crate::random_u32())
}
