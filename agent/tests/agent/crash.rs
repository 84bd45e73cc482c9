//! The agent and its supervisors die at every point of a task's and a device's life, once each, and the story still ends as it should.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

use rialto_agent::{LauncherKind, Options};
use rialto_core::model::{
    AgentReport, Announce, DeviceReport, DeviceState, FromAgent, Launch, Reason, Status, Task, TaskGroup, TaskState,
    ToAgent, UpdateId,
};
use rialto_proto::spec::TaskSpec;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::harness::{FRAMEWORK, Next, TIMEOUT, World, key, lives, spec_task, task, until, with_devices};
use crate::image_kit::{Layout, busybox};
use crate::images::Registry;

/// How many stories are told at once.
const AT_ONCE: usize = 4;
const DEVICE: &str = "gpu-G2-0";

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_plain_agent_dies_the_story_ends_once() {
    walk(LauncherKind::Process, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_containing_agent_dies_the_story_ends_once() {
    let mut asked = Options::new("127.0.0.1:1", format!("/nowhere/{}", std::process::id()), "/nowhere");
    asked.launcher = LauncherKind::Linux;
    if let Err(error) = rialto_agent::check_launcher(&asked) {
        return println!("skipped: {error}");
    }
    walk(LauncherKind::Linux, 60).await;
}

/// Tells the story once undisturbed, which shows all points, and then once for each point with a death there.
async fn walk(launcher: LauncherKind, least: usize) {
    let told = Story::tell(launcher, None).await;
    assert_eq!(told.ends.values().copied().collect::<Vec<_>>(), [TaskState::Finished, TaskState::Killed]);
    let points = told.points;
    assert!(points.len() >= least, "{} points: {points:?}", points.len());
    let mut stories = tokio::task::JoinSet::new();
    let mut died = 0;
    for point in points.clone() {
        if stories.len() == AT_ONCE {
            died += u32::from(stories.join_next().await.expect("there is one").expect("it ends as it should"));
        }
        stories.spawn(async move {
            let told = Story::tell(launcher, Some(point.clone())).await;
            told.judge(&point);
            told.died
        });
    }
    while let Some(ended) = stories.join_next().await {
        died += u32::from(ended.expect("it ends as it should"));
    }
    // Which points are passed how often depends on timing, a little.
    let points = u32::try_from(points.len()).expect("not so many");
    assert!(died * 10 >= points * 8, "{died} of {points} points were reached again");
    println!("died at {died} of {points} points");
}

/// A task that holds a device finishes; another takes the device, and is killed.
struct Story {
    world: World,
    /// What the tasks see too: not in a folder for temporary files.
    folder: tempfile::TempDir,
    launcher: LauncherKind,
    agent: Option<Child>,
    ends: BTreeMap<String, TaskState>,
    reasons: BTreeMap<String, Option<Reason>>,
    uuids: BTreeSet<UpdateId>,
    free: bool,
}

/// What came of it.
struct Told {
    ends: BTreeMap<String, TaskState>,
    reasons: BTreeMap<String, Option<Reason>>,
    starts: BTreeMap<String, usize>,
    points: Vec<String>,
    died: bool,
}

impl Told {
    fn judge(&self, point: &str) {
        for (id, state) in &self.ends {
            let (starts, reason) = (self.starts[id], self.reasons[id]);
            assert!(starts <= 1, "{point}: {id} was started {starts} times");
            let expected = if id == "t1" { TaskState::Finished } else { TaskState::Killed };
            if *state == expected {
                continue;
            }
            let of_supervisor = ["supervisor:", "contain:"].iter().any(|of| point.starts_with(of));
            let infrastructure = matches!(reason, Some(Reason::SupervisorLost | Reason::LaunchFailed));
            assert!(of_supervisor && infrastructure, "{point}: {id} ended as {state}, {reason:?}");
        }
        assert!(self.died || self.ends["t1"] == TaskState::Finished, "{point}: nobody died");
    }
}

impl Story {
    async fn tell(launcher: LauncherKind, point: Option<String>) -> Told {
        let mut story = Self {
            world: World::idle(|options| {
                options.launcher = launcher;
                options.cgroup_root = "rialto-test".to_owned();
            })
            .await,
            folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder"),
            launcher,
            agent: None,
            ends: BTreeMap::new(),
            reasons: BTreeMap::new(),
            uuids: BTreeSet::new(),
            free: false,
        };
        story.start(point.as_deref());
        let told = tokio::time::timeout(*TIMEOUT * 2, story.play()).await;
        assert!(told.is_ok(), "{point:?}: the story does not end; so far {:?}", story.ends);
        story.end().await
    }

    fn start(&mut self, point: Option<&str>) {
        let options = &self.world.options;
        let mut command = Command::new(crash_agent());
        let kind = if self.launcher == LauncherKind::Linux { "linux" } else { "process" };
        command.arg(&options.master).arg(&options.work_dir).arg(kind).kill_on_drop(true);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.env("RIALTO_CRASH_LOG", self.log()).env("RIALTO_CRASH_AT", point.unwrap_or_default());
        self.agent = Some(command.spawn().expect("it can be started"));
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("points")
    }

    /// As a master does: what it does not know to have ended it asks for again on each connection.
    async fn play(&mut self) {
        while !(self.ends.len() == 2 && self.free) {
            let agent = self.agent.as_mut().expect("an agent runs");
            tokio::select! {
                _ = agent.wait() => self.start(None),
                next = self.world.next() => match next {
                    Next::Registered(report) => self.registered(&report).await,
                    Next::Said(message) => self.hear(message).await,
                    Next::HungUp => {}
                },
            }
        }
    }

    async fn registered(&mut self, report: &AgentReport) {
        self.see(&report.devices);
        let next = if self.ends.is_empty() { "t1" } else { "t2" };
        let known = report.tasks.iter().find(|task| task.task.id.as_str() == next);
        match known {
            // What it was told may be forgotten, and so may be that it runs.
            Some(task) if !task.state.is_terminal() => self.push_on(next).await,
            Some(_) => {}
            None => self.go_on().await,
        }
    }

    fn see(&mut self, devices: &[DeviceReport]) {
        let device = devices.iter().find(|device| device.device.id.as_str() == DEVICE);
        if let Some(device) = device {
            assert!(!matches!(device.state, DeviceState::Quarantined { .. }), "{device:?}");
            self.free = matches!(device.state, DeviceState::Free);
        }
    }

    /// Lets a task that runs come to its end.
    async fn push_on(&mut self, id: &str) {
        if id == "t1" {
            std::fs::write(self.folder.path().join("go"), "").expect("it can be written");
        } else {
            self.kill(id).await;
        }
    }

    async fn kill(&mut self, id: &str) {
        let reason = Reason::KillRequested;
        self.world.tell(ToAgent::Kill { task: key(id), grace: None, reason, announce: Announce::No }).await;
    }

    /// Launches what is to run now.
    async fn go_on(&mut self) {
        let next = match self.ends.len() {
            0 => self.task("t1", "while ! [ -e go ]; do sleep 0.01; done"),
            1 if self.free => self.task("t2", "trap '' TERM; while :; do sleep 0.02; done"),
            _ => return,
        };
        self.free = false;
        let launch = Launch {
            framework: FRAMEWORK,
            group: TaskGroup { tasks: vec![next] },
            user: "".into(),
            remember: Duration::from_secs(600),
        };
        self.world.tell(ToAgent::Launch(launch)).await;
    }

    async fn go_on_after_an_end(&mut self) {
        if self.ends.len() == 1 {
            self.go_on().await;
        }
    }

    /// It says that it was started, and holds a lock as long as it lives.
    fn task(&self, id: &str, then: &str) -> Task {
        let folder = self.folder.path().display();
        let command = format!(
            "echo {id} >> {folder}/starts; exec 9> {folder}/lock; flock -n 9 || echo {id} >> {folder}/doubles; \
             trap '' PIPE; cd {folder}; {then}"
        );
        let mut task = with_devices(task(id, &command), &[DEVICE], "gpu");
        task.kill_grace = Duration::from_millis(100);
        task
    }

    async fn hear(&mut self, message: FromAgent) {
        match message {
            FromAgent::Update { status, .. } => self.update(status).await,
            FromAgent::Devices(devices) => {
                self.see(&devices);
                self.go_on_after_an_end().await;
            }
            FromAgent::DevicesFree(_) => {
                self.free = true;
                self.go_on_after_an_end().await;
            }
            _ => {}
        }
    }

    async fn update(&mut self, status: Status) {
        let id = status.task.to_string();
        if let Some(uuid) = status.uuid {
            self.world.tell(ToAgent::Acknowledge { task: key(&id), uuid }).await;
            if !self.uuids.insert(uuid) {
                return;
            }
        }
        if status.state == TaskState::Running {
            self.push_on(&id).await;
        } else if status.state.is_terminal() {
            let before = self.ends.insert(id.clone(), status.state);
            assert!(before.is_none_or(|before| before == status.state), "{id} ended twice: {before:?}, {status:?}");
            self.reasons.insert(id, status.reason);
            self.go_on_after_an_end().await;
        }
    }

    /// Nothing is left when the agent is gone too.
    async fn end(mut self) -> Told {
        let mut agent = self.agent.take().expect("an agent runs");
        until("every supervisor to be gone", || self.world.supervisors().is_empty().then_some(())).await;
        let here = self.folder.path().to_owned();
        until("every process to be gone", || strangers(&here).is_empty().then_some(())).await;
        until("every cgroup to be gone", || crate::contained::cgroups(&self.world).is_empty().then_some(())).await;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        let work_dir = self.world.options.work_dir.display().to_string();
        assert!(!mounts.contains(&work_dir), "a mount is left: {mounts}");
        agent.kill().await.expect("it can be ended");
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        assert_eq!(read("doubles"), "", "a task had the device while another lived");
        let starts = read("starts");
        let starts = ["t1", "t2"].map(|id| (id.to_owned(), starts.lines().filter(|line| *line == id).count()));
        Told {
            starts: starts.into(),
            points: read("points").lines().map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect(),
            died: self.folder.path().join("points.died").exists(),
            ends: self.ends,
            reasons: self.reasons,
        }
    }
}

/// Processes that work in this folder.
fn strangers(folder: &Path) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_there =
        |pid: &i32| lives(*pid) && std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder);
    pids.filter(is_there).collect()
}

/// Built with the points, which no other build has.
fn crash_agent() -> PathBuf {
    static BUILD: Once = Once::new();
    let test = std::env::current_exe().expect("the test has a path");
    let exe = test.parent().and_then(Path::parent).expect("tests lie in deps").join("examples/crash-agent");
    BUILD.call_once(|| {
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "crash-agent", "--features", "crash-points"]);
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
        assert!(built.success(), "the example builds");
    });
    exe
}

/// A task with an image of a registry that asks for a login, holding a device with hooks, takes more disk than it may; the journal is
/// compacted all the while.
struct Rich {
    world: World,
    folder: tempfile::TempDir,
    image: String,
    agent: Option<Child>,
    uuids: BTreeSet<UpdateId>,
    end: Option<Status>,
    free: bool,
}

/// Points of this story that the other one does not pass, or passes for other reasons.
const OF_RICH: [&str; 8] = [
    "hook: before it is run",
    "hook: run",
    "image: before a layer is kept",
    "image: with a layer kept",
    "journal: before it is replaced",
    "journal: replaced",
    "group: with an excess kept",
    "group: before it is told to have ended",
];
const CARD: &str = "vendor.com/card=good";

#[tokio::test(flavor = "multi_thread")]
async fn wherever_an_agent_dies_hooks_logins_the_limit_of_disk_and_compaction_are_as_they_should() {
    let mut asked = Options::new("127.0.0.1:1", format!("/nowhere/{}", std::process::id()), "/nowhere");
    asked.launcher = LauncherKind::Linux;
    if let Err(error) = rialto_agent::check_launcher(&asked) {
        return println!("skipped: {error}");
    }
    let (Some(base), Some(registry)) = (busybox(), Registry::private()) else { return };
    let mut layout = Layout::new();
    layout.add("v1", &[base], &json!({}));
    if !registry.takes(&layout) {
        return;
    }
    let (points, reason) = Rich::tell(&registry, None).await;
    assert_eq!(reason, Some(Reason::DiskLimit));
    let points: Vec<String> =
        points.into_iter().filter(|point| OF_RICH.iter().any(|name| point.split('#').next() == Some(name))).collect();
    for name in OF_RICH {
        assert!(points.iter().any(|point| point.starts_with(name)), "{name} is not passed: {points:?}");
    }
    for point in &points {
        let (_, reason) = Rich::tell(&registry, Some(point)).await;
        // With a supervisor that dies before its task began, or ran over, so does the launch.
        let of_hook =
            point.starts_with("hook:") && matches!(reason, Some(Reason::SupervisorLost | Reason::LaunchFailed));
        assert!(reason == Some(Reason::DiskLimit) || of_hook, "{point}: {reason:?}");
    }
    println!("died at {} points", points.len());
}

impl Rich {
    /// What points were passed, and why the task ended.
    async fn tell(registry: &Registry, point: Option<&str>) -> (BTreeSet<String>, Option<Reason>) {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it can be written");
        std::fs::create_dir(folder.path().join("cdi")).expect("it can be made");
        let log = folder.path().join("hooks").display().to_string();
        let hook = |name: &str| json!({"hookName": name, "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >> {log}")]});
        let hooks = ["createRuntime", "poststart", "poststop"].map(hook);
        let edits = json!({"hooks": hooks});
        let cdi = json!({"cdiVersion": "0.6.0", "kind": "vendor.com/card", "devices": [{"name": "good", "containerEdits": edits}]});
        write("cdi/spec.json", &cdi.to_string());
        // Base64 of tester:s3cret.
        write("logins.json", &json!({"auths": {&*registry.address: {"auth": "dGVzdGVyOnMzY3JldA=="}}}).to_string());
        std::fs::copy(registry.folder.path().join("cert"), folder.path().join("authority.pem")).expect("it is there");
        let mut story = Self {
            world: World::idle(|options| {
                options.launcher = LauncherKind::Linux;
                options.cgroup_root = "rialto-test".to_owned();
            })
            .await,
            folder,
            image: format!("docker://{}/team/tool:v1", registry.address),
            agent: None,
            uuids: BTreeSet::new(),
            end: None,
            free: false,
        };
        story.start(point);
        let told = tokio::time::timeout(*TIMEOUT * 2, story.play()).await;
        assert!(told.is_ok(), "{point:?}: the story does not end; so far {:?}", story.end);
        story.finish(point).await
    }

    fn start(&mut self, point: Option<&str>) {
        let options = &self.world.options;
        let mut command = Command::new(crash_agent());
        command.arg(&options.master).arg(&options.work_dir).arg("linux").arg(self.folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.env("RIALTO_CRASH_LOG", self.folder.path().join("points"));
        command.env("RIALTO_CRASH_AT", point.unwrap_or_default());
        self.agent = Some(command.spawn().expect("it can be started"));
    }

    async fn play(&mut self) {
        while !(self.end.is_some() && self.free) {
            let agent = self.agent.as_mut().expect("an agent runs");
            tokio::select! {
                _ = agent.wait() => self.start(None),
                next = self.world.next() => match next {
                    Next::Registered(report) => self.registered(&report).await,
                    Next::Said(FromAgent::Update { status, .. }) => self.update(status).await,
                    Next::Said(FromAgent::Devices(devices)) => self.see(&devices),
                    Next::Said(FromAgent::DevicesFree(_)) => self.free = true,
                    Next::Said(_) | Next::HungUp => {}
                },
            }
        }
    }

    async fn registered(&mut self, report: &AgentReport) {
        self.see(&report.devices);
        let known = report.tasks.iter().any(|task| task.task.id.as_str() == "t1");
        if !known && self.end.is_none() {
            self.launch().await;
        }
    }

    async fn launch(&mut self) {
        self.free = false;
        let mut spec = TaskSpec::shell("cat /bin/busybox /bin/busybox /bin/busybox > large; exec sleep 1000");
        spec.container.image = Some(self.image.clone());
        let mut task = with_devices(spec_task("t1", &spec), &[CARD], "card");
        task.resources.add(&"mem:128;disk:1".parse().expect("they are well formed"));
        let launch = Launch {
            framework: FRAMEWORK,
            group: TaskGroup { tasks: vec![task] },
            user: "".into(),
            remember: Duration::from_secs(600),
        };
        self.world.tell(ToAgent::Launch(launch)).await;
    }

    fn see(&mut self, devices: &[DeviceReport]) {
        if let Some(device) = devices.iter().find(|device| device.device.id.as_str() == CARD) {
            assert!(!matches!(device.state, DeviceState::Quarantined { .. }), "{device:?}");
            self.free = matches!(device.state, DeviceState::Free);
        }
    }

    async fn update(&mut self, status: Status) {
        if let Some(uuid) = status.uuid {
            self.world.tell(ToAgent::Acknowledge { task: key("t1"), uuid }).await;
            if !self.uuids.insert(uuid) {
                return;
            }
        }
        if status.state.is_terminal() {
            assert!(self.end.is_none(), "it ended twice: {:?}, {status:?}", self.end);
            self.end = Some(status);
        }
    }

    /// Nothing is left, and each hook was run once at most.
    async fn finish(mut self, point: Option<&str>) -> (BTreeSet<String>, Option<Reason>) {
        let mut agent = self.agent.take().expect("an agent runs");
        until("every supervisor to be gone", || self.world.supervisors().is_empty().then_some(())).await;
        until("every cgroup to be gone", || crate::contained::cgroups(&self.world).is_empty().then_some(())).await;
        agent.kill().await.expect("it can be ended");
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        for name in ["createRuntime", "poststart", "poststop"] {
            let runs = read("hooks").lines().filter(|line| *line == name).count();
            assert!(runs <= 1, "{point:?}: {name} was run {runs} times");
        }
        let died = self.folder.path().join("points.died").exists();
        assert_eq!(died, point.is_some(), "{point:?}: somebody dies where it is asked for");
        let points = read("points").lines().map(str::to_owned).collect();
        (points, self.end.and_then(|status| status.reason))
    }
}

#[test]
fn only_the_build_of_this_test_can_be_told_to_die() {
    let has = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        bytes.windows(16).any(|window| window == b"RIALTO_CRASH_LOG")
    };
    assert!(has(crash_agent()), "the words are looked for in the right way");
    assert!(!has(crate::harness::supervisor_exe()), "an ordinary build has no such points");
}
