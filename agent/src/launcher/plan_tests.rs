use std::collections::BTreeMap;
use std::time::Duration;

use rialto_core::model::{Body, ExecutorRef, Launch, Role, TaskGroup};
use rialto_proto::spec;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::fetch::Fetcher;
use crate::images::Images;
use crate::launcher::Isolation;
use crate::secrets::Secrets;
use crate::users::{UserNamespaces, Users};
use crate::work_dir::WorkDir;
use crate::{FetchPolicy, ImagePolicy};

fn planned(body: Body) -> Result<Plan, PlanError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = WorkDir::open(folder.path()).expect("it is free").layout();
    let launcher = Launcher {
        layout: layout.clone(),
        exe: "/bin/true".into(),
        spawner: crate::supervisor::Spawner::new(Path::new("/bin/true")),
        spare: crate::spare::Spare::below(folder.path()).expect("it can be made"),
        path: "/usr/bin:/bin".to_owned(),
        isolation: Isolation::default(),
        fetcher: Fetcher::new(FetchPolicy::default(), folder.path()).expect("it can be made"),
        images: Images::new(ImagePolicy::default(), &layout).expect("it can be made"),
        known: Arc::default(),
        secrets: Secrets::of(folder.path()),
        users: Users::of(folder.path(), UserNamespaces::AsAsked),
        networks: Networks::of(folder.path(), None, "10.0.0.0/24"),
        quotas: crate::quota::Quotas::default(),
        lookers: Arc::default(),
        starting: Semaphore::new(1),
        events: mpsc::channel(1).0,
    };
    let task = Task {
        id: "t1".parse().expect("a good name"),
        name: "t1".into(),
        role: Role::any(),
        resources: "cpus:1".parse().expect("they are well formed"),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::from_millis(1500),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body,
    };
    let framework = "F1-1".parse().expect("a good id");
    let launch = Launch { framework, group: TaskGroup::single(task), user: "".into(), remember: Duration::ZERO };
    let keys = [TaskKey::new(framework, "t1".parse().expect("a good name"))];
    plan(&launcher, &Order { launch, devices: BTreeMap::new(), agent: None, disk: Vec::new() }, &keys)
}

#[test]
fn a_plan_is_one_that_a_supervisor_takes() {
    let mut body = TaskSpec::shell("true");
    body.max_run = Some(Duration::from_secs(60));
    body.log_limits = Some(spec::LogLimits { bytes_per_file: 100, files: 3 });
    let plan = planned(body.to_body()).expect("it is well formed");
    plan.spec.validate().expect("a supervisor takes it");
    let task = &plan.spec.tasks[0];
    assert_eq!((task.grace_ms, task.max_run_ms), (1500, Some(60_000)));
    assert_eq!(task.logs, LogLimits { file_bytes: 100, keep: 2 });
    assert!(task.sandbox.ends_with("sandboxes/F1-1/t1"));
}

#[test]
fn output_is_bounded_by_default() {
    let plan = planned(TaskSpec::shell("true").to_body()).expect("it is well formed");
    assert_eq!(plan.spec.tasks[0].logs, LOG_LIMITS);
}

#[test]
fn a_body_that_is_no_specification_names_the_field() {
    let error = planned(Body::new(&b"\xff"[..])).expect_err("it is no specification");
    assert!(error.message.starts_with("body"), "{}", error.message);
}

#[test]
fn a_folder_outside_the_sandbox_is_not_made() {
    let shell = CommandSpec::Shell("pwd".to_owned());
    let CommandLine::Argv(args) = command(shell.clone(), Path::new("/sandbox"), "/srv") else {
        panic!("expected a program")
    };
    assert_eq!(args, ["/bin/sh", "-c", "cd -- \"$0\" && exec \"$@\"", "/srv", "/bin/sh", "-c", "pwd"]);
    let CommandLine::Argv(args) = command(shell, Path::new("/sandbox"), "build") else { panic!("expected a program") };
    assert_eq!(args[2..4], ["mkdir -p -- \"$0\" && cd -- \"$0\" && exec \"$@\"", "/sandbox/build"]);
}

#[test]
fn only_root_chooses_the_user() {
    let own = rustix::process::geteuid();
    assert_eq!(user("", ""), Ok(None));
    if own.is_root() {
        assert_eq!(user("", "builder"), Ok(Some("builder".to_owned())));
        assert_eq!(user("tester", "builder"), Ok(Some("tester".to_owned())));
    } else {
        assert_eq!(user("", "builder"), Ok(None));
        assert_eq!(user(&own.as_raw().to_string(), "builder"), Ok(None));
        assert!(user("somebody", "").expect_err("it is another user").contains("does not run as root"));
    }
}
