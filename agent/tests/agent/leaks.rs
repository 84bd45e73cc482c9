//! After a thousand tasks of all kinds nothing of them is left, counted; and what runs does not mind that the agent's program is replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use rialto_agent::DeviceSource;
use rialto_core::model::{DeviceState, Exit, FromAgent, TaskState};

use rialto_proto::journal::MAGIC;

use crate::contained::{cgroups, nothing_is_left};
use crate::harness::{World, lives, task, until, with_devices};

/// How many tasks are run.
const TASKS: u32 = 1000;
/// How many of them at once.
const AT_ONCE: u32 = 20;
/// What tasks do; `sleep` in the first word means that they are killed.
const COMMANDS: [&str; 10] = [
    "true",
    "exit 3",
    "kill -9 $$",
    "(setsid sleep 1000 &)",
    "sleep 1000",
    "exec 9>/tmp/file; (sleep 1000 &); true",
    "i=0; while [ $i -lt 20 ]; do (true &); i=$((i+1)); done",
    "sleep 1000 & trap '' TERM; wait; wait",
    "mkfifo /tmp/p; (cat /tmp/p > /dev/shm/x &); true",
    "(setsid sh -c \"trap '' TERM HUP INT; sleep 1000\" &); kill -SEGV $$",
];

/// What there is of things that tasks could leave.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    mounts: usize,
    namespaces: usize,
    /// Of this process, which is the agent.
    descriptors: usize,
    /// Children that nobody has waited for.
    zombies: usize,
}

impl Counted {
    fn now() -> Self {
        let own = std::process::id().to_string();
        let fields = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let rest = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            rest.map(str::to_owned).collect::<Vec<_>>()
        };
        let is_zombie =
            |fields: Vec<String>| fields.first().is_some_and(|state| state == "Z") && fields.get(1) == Some(&own);
        let zombies = processes().iter().filter(|pid| is_zombie(fields(pid))).count();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted").lines().count();
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
        Self { mounts, namespaces: namespaces().len(), descriptors, zombies }
    }
}

fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Mount and process namespaces of the processes below this one.
fn namespaces() -> BTreeSet<std::path::PathBuf> {
    let own = std::process::id();
    let session = |pid: &String| descends(pid, own);
    let links = processes().into_iter().filter(session);
    let links = links.flat_map(|pid| ["mnt", "pid", "ipc", "uts"].map(|kind| format!("/proc/{pid}/ns/{kind}")));
    links.filter_map(|link| std::fs::read_link(link).ok()).collect()
}

fn descends(pid: &str, from: u32) -> bool {
    let mut pid = pid.to_owned();
    for _ in 0..64 {
        if pid == from.to_string() {
            return true;
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        match stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) {
            Some(parent) if parent != "0" => parent.clone_into(&mut pid),
            _ => return false,
        }
    }
    false
}

#[tokio::test]
async fn after_a_thousand_tasks_nothing_is_left() {
    let source = DeviceSource::parse("fake:gpu,model=G2").expect("it is well formed");
    let Some(mut world) = World::contained(|options| options.device_sources = vec![source]).await else { return };
    world.run("warm", "true").await;
    world.expect("warm", TaskState::Finished).await;
    nothing_is_left(&world).await;
    let before = Counted::now();
    let mut draw = 88_172_645_463_325_252_u64;
    let mut held = 0;
    for round in 0..TASKS / AT_ONCE {
        let mut ids = Vec::new();
        for index in 0..AT_ONCE {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            let command = COMMANDS[usize::try_from(draw % COMMANDS.len() as u64).expect("it is small")];
            let mut task = task(&format!("t{round}-{index}"), command);
            task.kill_grace = Duration::from_millis(20);
            // One of them holds the device.
            if index == 0 {
                task = with_devices(task, &["gpu-G2-0"], "gpu");
                held += 1;
            }
            ids.push((task.id.to_string(), command.starts_with("sleep")));
            world.launch(vec![task]).await;
        }
        for (id, kill) in ids {
            if kill {
                world.kill(&id).await;
            }
            world.expect_end(&id).await;
        }
        device_is_free(&mut world, held).await;
    }
    nothing_is_left(&world).await;
    let mut after = Counted::now();
    until("everything to be as it was", || {
        after = Counted::now();
        let as_before = after.mounts == before.mounts && after.zombies == 0 && after.namespaces <= before.namespaces;
        (as_before && after.descriptors <= before.descriptors).then_some(())
    })
    .await;
    assert!(cgroups(&world).is_empty(), "{:?}", cgroups(&world));
    world.crash().await;
    let report = world.restart().await;
    assert!(report.devices.iter().all(|device| matches!(device.state, DeviceState::Free)), "{:?}", report.devices);
    assert_eq!(report.devices.len(), 1);
}

async fn device_is_free(world: &mut World, generation: u64) {
    let free = |message: &FromAgent| match message {
        FromAgent::DevicesFree(devices) => Some(devices[0].1),
        _ => None,
    };
    assert_eq!(world.hear("the device to be free", free).await, generation, "one tenancy after the other");
}

#[tokio::test]
async fn a_running_task_does_not_mind_an_upgrade_of_the_program() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let old = folder.path().join("rialto");
    std::fs::copy(crate::harness::supervisor_exe(), &old).expect("it can be copied");
    let Some(mut world) = World::contained(|options| options.supervisor_exe.clone_from(&old)).await else { return };
    world.run("t1", "while ! [ -e go ]; do sleep 0.01; done; exit 7").await;
    let supervisor = world.supervisors()[0];
    world.crash().await;
    // As a package manager does it: another file takes the name of the one that runs.
    let new = folder.path().join("rialto.new");
    let mut bytes = std::fs::read(&old).expect("it can be read");
    bytes.extend(b"another version");
    std::fs::write(&new, bytes).expect("it can be written");
    std::fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    std::fs::rename(&new, &old).expect("it can be renamed");
    world.restart().await;
    assert_eq!(world.supervisors(), [supervisor], "the same supervisor goes on");
    assert!(lives(supervisor));
    world.run("t2", "exec sleep 1000").await;
    let exe = |pid: i32| std::fs::read_link(format!("/proc/{pid}/exe")).expect("it lives");
    let second = world.supervisors().into_iter().find(|pid| *pid != supervisor).expect("a new one");
    assert!(exe(supervisor).to_string_lossy().ends_with(" (deleted)"), "the old program: {:?}", exe(supervisor));
    assert_eq!(exe(second), old.canonicalize().expect("it is there"), "the new one");
    std::fs::write(world.sandbox("t1").join("go"), "").expect("it can be written");
    assert_eq!(world.expect("t1", TaskState::Failed).await.exit, Some(Exit::Code(7)));
    world.kill("t2").await;
    world.expect("t2", TaskState::Killed).await;
    nothing_is_left(&world).await;
}

#[tokio::test]
async fn a_journal_that_is_torn_at_its_end_doubles_and_loses_nothing() {
    let Some(mut world) = World::contained(|_| {}).await else { return };
    world.run("t1", "exec sleep 1000").await;
    let supervisors = world.supervisors();
    world.crash().await;
    let journal = world.options.work_dir.join("journal");
    let whole = std::fs::read(&journal).expect("it is there");
    // What was said to be durable can't be torn; what follows can.
    for torn in [1, 3, 7, 8, 9, 12] {
        // The beginning of a record, as the first in the file has it.
        let mut bytes = whole.clone();
        bytes.extend(&whole[MAGIC.len()..MAGIC.len() + torn]);
        std::fs::write(&journal, bytes).expect("it can be written");
        let report = world.restart().await;
        let tasks: Vec<(String, TaskState)> =
            report.tasks.iter().map(|task| (task.task.id.to_string(), task.state)).collect();
        assert_eq!(tasks, [("t1".to_owned(), TaskState::Running)]);
        assert_eq!(world.supervisors(), supervisors, "it was started once");
        world.crash().await;
    }
    world.restart().await;
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
    nothing_is_left(&world).await;
}
