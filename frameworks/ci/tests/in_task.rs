//! Pipelines whose jobs really run: the policy, the file store, the wrapper and the scripts, each task a process in a folder of its own.
//! Only master and agent are played by the test. The program is also the wrapper that the tasks start, so it has its own `main`.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the test plays the agent: it makes folders and starts programs"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rialto_ci::git::Checkout;
use rialto_ci::policy::{CiPolicy, Command, Effect, Io, PipelineResult, Setup, check_device, script_bytes};
use rialto_ci::spec::{Context, PipelineFile, Variables};
use rialto_sdk::blobs::{BlobServer, BlobStore, Grant, Limits, Report, ServeOptions, TokenKey, task_io};
use rialto_sdk::model::{
    AgentId, AgentInfo, Exit, FrameworkId, Milli, Offer, OfferId, OfferMode, Operation, Resources, Role, Source,
    Status, TaskId, TaskState, Term, Time,
};
use rialto_sdk::{CommandSpec, Happening, Out, Scheduler, TaskSpec, scheduler::Wish};
use tempfile::TempDir;
use tokio::sync::mpsc;

const PIPELINE: &str = r#"
stages: [build, test, report]
variables: {WHO: world}
build:
  stage: build
  before_script: [mkdir -p out/deep]
  script:
    - test "$PWD" = "$CI_PROJECT_DIR"
    - test -z "$RIALTO_IO_TOKEN"
    - echo "hello $WHO" > out/deep/text
    - printf '#!/bin/sh\ncat out/deep/text source.txt\n' > out/tool && chmod +x out/tool
    - touch not-kept
  artifacts: {paths: [out/]}
matrix:
  stage: test
  parallel: {matrix: [{LETTER: [x, y]}]}
  script:
    - test ! -e not-kept
    - ./out/tool > "said-$LETTER"
  artifacts: {paths: ["said-*"]}
fails:
  stage: test
  script: [echo "because" > log.txt, exit 7, echo unreachable > never.txt]
  artifacts: {paths: ["*.txt"], when: on_failure}
  allow_failure: {exit_codes: [7]}
report:
  stage: report
  script:
    - cat said-x said-y log.txt source.txt > all
    - test "$(cat all | tr '\n' '|')" = "hello world|the source|hello world|the source|because|the source|"
    - test ! -e never.txt
"#;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == "task-io") {
        let code = task_io::main(args.into_iter().skip(1));
        return ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX));
    }
    const TESTS: [(&str, fn()); 2] =
        [("jobs_hand_on_what_they_make", jobs_hand_on_what_they_make), ("the_examples_pass", the_examples_pass)];
    // What test runners ask a test program for.
    if args.iter().any(|arg| arg == "--list") {
        let is_listed = !args.iter().any(|arg| arg == "--ignored");
        TESTS.iter().filter(|_| is_listed).for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).filter(|arg| !arg.starts_with('-')).collect();
    for (name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part)) {
            test();
            println!("test {name} ... ok");
        }
    }
    ExitCode::SUCCESS
}

fn jobs_hand_on_what_they_make() {
    let ended = run(PIPELINE, &[]);
    ended.expect("build passed, matrix: [x] passed, matrix: [y] passed, fails failed (allowed), report passed");
    assert!(ended.logs.contains("$ test ! -e not-kept"), "scripts say what they run");
}

fn the_examples_pass() {
    let example = |name: &str| fs::read_to_string(examples().join(name)).unwrap();
    run(&example("minimal.yml"), &[]).expect("build passed, test passed");
    run(&example("rialto.yml"), &[("DEVICES", "no"), ("LIMIT", "1000")]).expect(
        "format passed, lines passed, long-lines passed, compile: [O0] passed, compile: [O2] passed, compare passed, \
         tidy-up skipped, publish manual",
    );
}

struct Ended {
    states: String,
    result: PipelineResult,
    logs: String,
}

impl Ended {
    #[track_caller]
    fn expect(&self, states: &str) {
        assert_eq!(self.states, states, "{}", self.logs);
        assert_eq!(self.result, PipelineResult::Passed);
    }
}

fn run(pipeline: &str, given: &[(&str, &str)]) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut cluster = Cluster::start(pipeline, given).await;
        let result = tokio::time::timeout(Duration::from_secs(60), cluster.run_to_its_end()).await;
        let jobs = cluster.policy.summary().jobs.into_iter();
        let states: Vec<String> = jobs.map(|job| format!("{} {}", job.name, job.state.as_str())).collect();
        let (states, logs) = (states.join(", "), cluster.logs());
        let result = result.unwrap_or_else(|_| panic!("not over in a minute: {states}\n{logs}"));
        Ended { states, result, logs }
    })
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ci")
}

/// A store, a policy, and one machine that runs everything at once.
struct Cluster {
    policy: CiPolicy,
    server: BlobServer,
    key: TokenKey,
    reports: mpsc::Receiver<Report>,
    ended: mpsc::Receiver<Status>,
    ends: mpsc::Sender<Status>,
    folder: TempDir,
    offers: u64,
    result: Option<PipelineResult>,
    live: BTreeSet<TaskId>,
}

impl Cluster {
    async fn start(text: &str, given: Variables) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let context = Context { given, ..Context::default() };
        let pipeline = PipelineFile::parse("test.yml", text).unwrap().expand(&context, &check_device).unwrap();
        let store = Arc::new(BlobStore::open(&folder.path().join("store"), Limits::default()).unwrap());
        let checkout = Checkout::of(repository(&folder.path().join("repo")).to_str().unwrap(), "HEAD").await.unwrap();
        let source = checkout.archive(&store).await.unwrap().digest;
        for job in &pipeline.jobs {
            let mut writer = store.writer().unwrap();
            writer.write(&script_bytes(job)).unwrap();
            writer.finish(None).unwrap();
        }
        let (reports_in, reports) = mpsc::channel(16);
        let server = BlobServer::start(&ServeOptions::default(), store, reports_in).await.unwrap();
        let key = TokenKey::from_bytes(&[3; 32]);
        let io = Io { url: server.url().to_owned(), key: key.clone(), source };
        let setup = Setup { role: Role::any(), play: BTreeSet::new(), io };
        let policy = CiPolicy::new(Arc::new(pipeline), setup).unwrap();
        let (ends, ended) = mpsc::channel(16);
        Self { policy, server, key, reports, ended, ends, folder, offers: 0, result: None, live: BTreeSet::new() }
    }

    async fn run_to_its_end(&mut self) -> PipelineResult {
        self.happens(Happening::Subscribed { framework: FrameworkId::new(Term(1), 1), term: Term(1) });
        loop {
            if let Some(result) = self.result {
                return result;
            }
            let event = tokio::select! {
                biased;
                Some(report) = self.reports.recv() => {
                    let task = TaskId::new(&report.task).unwrap();
                    Happening::Command(Command::Uploaded { task, outputs: report.outputs })
                }
                Some(status) = self.ended.recv() => Happening::Update(status),
            };
            self.happens(event);
        }
    }

    fn happens(&mut self, event: Happening<Command>) {
        self.offers += 1;
        let offer = Offer {
            id: OfferId::new(Term(1), self.offers),
            agent: AgentId::new(Term(1), 1),
            info: Arc::new(AgentInfo { name: Arc::from("here"), ..AgentInfo::default() }),
            role: Role::any(),
            resources: Arc::new(Resources::of(Milli::from_whole(100), Milli::from_whole(1 << 20))),
            devices: Arc::new([]),
            mode: OfferMode::Optimistic,
            expires_in: None,
            guarantee: Default::default(),
        };
        let mut out = Out::over([offer]);
        self.policy.on_event(Time(self.offers), event, &mut out);
        for wish in out.into_wishes() {
            self.grant(wish);
        }
    }

    fn grant(&mut self, wish: Wish<Effect>) {
        match wish {
            Wish::Effect(Effect::Grant { task, manifest }) => {
                let grant = Grant { task: task.to_string(), manifest, upload_limit: 1 << 30 };
                self.server.grants().grant(&self.key.token(task.as_str()), grant);
            }
            Wish::Effect(Effect::Finished(summary)) => self.result = Some(summary.result),
            Wish::Accept { operations, .. } => {
                for operation in operations {
                    let Operation::Launch(group) = operation else { panic!("a pipeline only launches") };
                    group.tasks.iter().for_each(|task| self.spawn(&task.id, &TaskSpec::from_body(&task.body).unwrap()));
                }
            }
            _ => {}
        }
    }

    /// As the agent does: a folder, the environment that the task says and no other, the outputs in files.
    fn spawn(&mut self, id: &TaskId, spec: &TaskSpec) {
        assert!(self.live.insert(id.clone()), "a task id was used twice");
        let sandbox = self.folder.path().join(id.as_str());
        fs::create_dir(&sandbox).unwrap();
        let output = |name: &str| Stdio::from(fs::File::create(sandbox.join(name)).unwrap());
        let CommandSpec::Shell(line) = &spec.command else { panic!("jobs are shell lines") };
        let mut program = tokio::process::Command::new("/bin/sh");
        program.args(["-c", line]).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
        program.env("PATH", std::env::var_os("PATH").unwrap()).env("RIALTO_EXE", std::env::current_exe().unwrap());
        program
            .current_dir(&sandbox)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .kill_on_drop(true);
        let mut child = program.spawn().unwrap();
        let (id, ends) = (id.clone(), self.ends.clone());
        tokio::spawn(async move {
            let code = child.wait().await.unwrap().code().unwrap();
            let state = if code == 0 { TaskState::Finished } else { TaskState::Failed };
            let mut status = Status::new(id, state, Source::Executor);
            status.exit = Some(Exit::Code(code));
            ends.send(status).await.unwrap();
        });
    }

    fn logs(&self) -> String {
        let read = |task: &TaskId, name: &str| {
            let text = fs::read_to_string(self.folder.path().join(task.as_str()).join(name)).unwrap_or_default();
            format!("--- {task} {name}\n{text}")
        };
        self.live.iter().map(|task| read(task, "stdout") + &read(task, "stderr")).collect()
    }
}

fn repository(folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("source.txt"), "the source\n").unwrap();
    fs::write(folder.join("Cargo.toml"), "[package]\nname = \"small\"\nedition = \"2024\"\n").unwrap();
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/lib.rs"), "//! Small.\n").unwrap();
    fs::create_dir_all(folder.join("examples/ci")).unwrap();
    fs::copy(examples().join("primes.c"), folder.join("examples/ci/primes.c")).unwrap();
    let commit = ["-c", "user.name=T", "-c", "user.email=t@x", "commit", "--quiet", "-m", "x"];
    for arguments in [&["init", "--quiet"] as &[&str], &["add", "--all"], &commit] {
        assert!(Program::new("git").arg("-C").arg(folder).args(arguments).status().unwrap().success());
    }
    folder.to_owned()
}
