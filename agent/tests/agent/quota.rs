//! Sandboxes and volumes on a file system with project quotas: the kernel refuses what is too much, and the end says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rialto_core::model::{
    FromAgent, Operation, OperationId, Reason, Resources, Role, Task, TaskState, Term, ToAgent, Volume, VolumeId,
};

use crate::harness::{World, spec_task, task, until};
use rialto_proto::spec::TaskSpec;

/// The file systems that have such quotas, and what makes one with them.
const KINDS: [(&str, &[&str]); 2] =
    [("ext4", &["mkfs.ext4", "-q", "-O", "quota,project"]), ("xfs", &["mkfs.xfs", "-q"])];
/// The smallest that XFS takes.
const DISK_BYTES: u64 = 320 << 20;

/// A file system of its own, mounted for as long as this lives.
struct Disk {
    kind: &'static str,
    folder: tempfile::TempDir,
}

impl Disk {
    /// One of each kind that can be made here; a word for each other.
    fn all() -> Vec<Self> {
        KINDS
            .iter()
            .filter_map(|(kind, make)| Self::make(kind, make).map_err(|why| println!("skipped: {kind}: {why}")).ok())
            .collect()
    }

    fn make(kind: &'static str, make: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let image = folder.path().join("image");
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(DISK_BYTES).map_err(|error| error.to_string())?;
        let at = folder.path().join("mounted");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        run(Command::new(make[0]).args(&make[1..]).arg(&image))?;
        run(Command::new("mount").args(["-t", kind, "-o", "loop,prjquota"]).arg(&image).arg(&at))?;
        let disk = Self { kind, folder };
        std::fs::create_dir(disk.root()).map_err(|error| error.to_string())?;
        Ok(disk)
    }

    fn mounted(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Below which an agent may keep everything.
    fn root(&self) -> PathBuf {
        self.mounted().join("agent")
    }

    /// An agent that keeps everything here.
    async fn agent(&self) -> Option<World> {
        let root = self.root();
        World::contained(|options| {
            options.work_dir = root;
            options.resources = "cpus:8;mem:8192;disk:200;disk(eng):50".parse().expect("they are well formed");
            options.sandbox_retention = Duration::ZERO;
        })
        .await
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = run(Command::new("umount").arg("-l").arg(self.mounted()));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let done =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let said = String::from_utf8_lossy(&done.stderr);
    let first = said.lines().next().unwrap_or_default();
    if done.status.success() { Ok(()) } else { Err(format!("{:?}: {first}", command.get_program())) }
}

/// The project of a file or folder, as `lsattr` has it.
fn project(path: &Path) -> u32 {
    let listed = Command::new("lsattr").arg("-pd").arg(path).output().expect("it comes with mkfs.ext4");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let number = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&listed.stderr)))
}

fn limited(id: &str, command: &str, disk_mib: u32) -> Task {
    let mut task = task(id, command);
    task.resources = format!("cpus:0.1;mem:64;disk:{disk_mib}").parse().expect("they are well formed");
    task
}

/// Runs a task to its end.
async fn end(world: &mut World, task: Task) -> (TaskState, Option<Reason>, String, String) {
    let id = task.id.to_string();
    world.launch(vec![task]).await;
    world.expect(&id, TaskState::Running).await;
    let status = world.expect_end(&id).await;
    (status.state, status.reason, status.message.to_string(), world.stdout(&id))
}

const WRITE: &str = "head -c 20000000 /dev/zero > large";

#[tokio::test]
async fn what_goes_beyond_its_limit_is_refused_by_the_kernel_and_the_end_says_so() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let Some(mut world) = disk.agent().await else { return };
        let (state, reason, message, _) =
            end(&mut world, limited("t1", &format!("{WRITE} || {{ echo refused; exit 3; }}"), 8)).await;
        assert_eq!((state, reason), (TaskState::Failed, Some(Reason::DiskLimit)), "{kind}: {message}");
        assert!(message.contains("no room left: its sandbox had") && message.contains("8.0 MiB"), "{kind}: {message}");
        // XFS has no room for what it says either.
        assert!(["refused\n", ""].contains(&&*world.stdout("t1")), "{kind}: {}", world.stdout("t1"));
        let large = std::fs::metadata(world.sandbox("t1").join("large")).expect("it began to write");
        assert!(large.len() <= 8 << 20, "{kind}: {large:?}");
        // What copes with it is not disturbed, and others have their own room.
        let copes = format!("{WRITE} 2> /dev/null || {{ rm large; echo coped; }}");
        let (state, _, message, said) = end(&mut world, limited("t2", &copes, 8)).await;
        assert_eq!((state, &*said), (TaskState::Finished, "coped\n"), "{kind}: {message}");
        let (state, reason, message, _) = end(&mut world, limited("t3", "exit 4", 8)).await;
        assert_eq!((state, reason == Some(Reason::DiskLimit)), (TaskState::Failed, false), "{kind}: {message}");
        let fits = "head -c 7000000 /dev/zero > large && mkdir -p a/b && echo x > a/b/c";
        assert_eq!(end(&mut world, limited("t4", fits, 8)).await.0, TaskState::Finished, "{kind}");
        assert_eq!(project(&world.sandbox("t4").join("a/b")), project(&world.sandbox("t4")), "{kind}");
        let (state, _, message, _) = end(&mut world, task("t5", WRITE)).await;
        assert_eq!(state, TaskState::Finished, "{kind}: without a limit there is none: {message}");
        assert_eq!(project(&world.sandbox("t5")), 0, "{kind}");
    }
}

#[tokio::test]
async fn numbers_of_projects_are_not_used_twice_and_come_back_when_their_sandbox_is_gone() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let Some(mut world) = disk.agent().await else { return };
        world.launch(vec![limited("lives", "echo here > file; exec sleep 1000", 4)]).await;
        world.expect("lives", TaskState::Running).await;
        end(&mut world, limited("over", "echo over > file", 4)).await;
        let (lives, over) = (project(&world.sandbox("lives")), project(&world.sandbox("over")));
        assert!(lives >= 1 << 30 && over >= 1 << 30 && lives != over, "{kind}: {lives}, {over}");
        world.crash().await;
        // At its start an agent removes what has been over for a while.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        world.restart().await;
        until("the old sandbox to be removed", || (!world.sandbox("over").exists()).then_some(())).await;
        assert_eq!(project(&world.sandbox("lives")), lives, "{kind}");
        let mut numbers = Vec::new();
        for id in ["a", "b", "c"] {
            assert_eq!(end(&mut world, limited(id, "echo new > file", 4)).await.0, TaskState::Finished, "{kind}");
            numbers.push(project(&world.sandbox(id)));
        }
        assert!(!numbers.contains(&lives), "{kind}: {numbers:?}");
        assert!(numbers.contains(&over), "{kind}: one is used again: {over}, {numbers:?}");
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 3, "{kind}: each its own");
        world.kill("lives").await;
        world.expect("lives", TaskState::Killed).await;
    }
}

#[tokio::test]
async fn a_volume_holds_no_more_than_it_is_large() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let Some(mut world) = disk.agent().await else { return };
        let volume = volume(10);
        operate(&mut world, 1, Operation::Create(volume.clone())).await;
        let with_volume = |id: &str, command: &str| {
            let mut task = limited(id, command, 4);
            task.resources.add(&volume);
            task.role = Role::new("eng").expect("a role");
            task
        };
        let write = "head -c 30000000 /dev/zero > data/large || exit 5";
        let (state, reason, message, _) = end(&mut world, with_volume("t1", write)).await;
        assert_eq!((state, reason), (TaskState::Failed, Some(Reason::DiskLimit)), "{kind}: {message}");
        assert!(message.contains("volume eng/data had") || message.contains("10.0 MiB"), "{kind}: {message}");
        let large = world.sandbox("t1").join("data/large");
        assert!((8 << 20..=10 << 20).contains(&std::fs::metadata(&large).expect("it is kept").len()), "{kind}");
        let number = project(&large);
        let small = "rm data/large && head -c 9000000 /dev/zero > data/small";
        let (state, _, message, _) = end(&mut world, with_volume("t2", small)).await;
        assert_eq!(state, TaskState::Finished, "{kind}: more than the sandbox may hold: {message}");
        world.crash().await;
        world.restart().await;
        end(&mut world, limited("t3", "echo x > x", 4)).await;
        assert_ne!(project(&world.sandbox("t3")), number, "{kind}: the volume keeps its number");
        operate(&mut world, 2, Operation::Destroy(volume.clone())).await;
        let folder = world.options.work_dir.join("volumes/roles/eng/data");
        until("its data to be gone", || (!folder.exists()).then_some(())).await;
    }
}

/// Has the agent change its volumes.
pub(crate) async fn operate(world: &mut World, sequence: u64, operation: Operation) {
    world.say(ToAgent::Operate { id: OperationId::new(Term(1), sequence), operation }).await;
    let confirmed = |message: &FromAgent| match message {
        FromAgent::Operated { result, .. } => Some(result.clone()),
        _ => None,
    };
    world.hear("that it was done", confirmed).await.expect("it can be done");
}

/// One called `data`, of the disk that is reserved for `eng`.
pub(crate) fn volume(size_mib: u32) -> Resources {
    let disk: Resources = format!("disk(eng):{size_mib}").parse().expect("they are well formed");
    let (flavor, amounts) = disk.iter().next().expect("it was just made");
    let mut flavor = flavor.clone();
    flavor.volume = Some(Volume::new(VolumeId::new("data").expect("a name"), "data").expect("a path"));
    Resources::flavored(flavor, amounts.clone())
}

#[tokio::test]
async fn what_is_fetched_for_a_task_counts_as_its_own() {
    for disk in Disk::all() {
        let kind = disk.kind;
        let root = disk.root();
        let shared = disk.folder.path().join("shared");
        std::fs::create_dir(&shared).expect("it can be made");
        std::fs::write(shared.join("tool"), vec![1; 3 << 20]).expect("it can be written");
        let folders = vec![shared.clone()];
        let world = World::contained(|options| {
            options.work_dir = root;
            options.fetch.folders = folders;
            options.resources = "cpus:8;mem:8192;disk:200".parse().expect("they are well formed");
        });
        let Some(mut world) = world.await else { return };
        let mut spec = TaskSpec::shell("cat tool > second && exit 0; exit 6");
        spec.artefacts = vec![rialto_proto::spec::Artefact {
            uri: format!("file://{}", shared.join("tool").display()),
            ..rialto_proto::spec::Artefact::default()
        }];
        let mut with_room = spec_task("t1", &spec);
        with_room.resources = "cpus:0.1;mem:64;disk:8".parse().expect("they are well formed");
        assert_eq!(end(&mut world, with_room.clone()).await.0, TaskState::Finished, "{kind}");
        let mut without = with_room;
        without.id = "t2".parse().expect("a good name");
        without.resources = "cpus:0.1;mem:64;disk:5".parse().expect("they are well formed");
        let (state, reason, message, _) = end(&mut world, without).await;
        assert_eq!((state, reason), (TaskState::Failed, Some(Reason::DiskLimit)), "{kind}: {message}");
        assert_eq!(project(&world.sandbox("t2").join("tool")), project(&world.sandbox("t2")), "{kind}");
        if let Err(why) = repository(&shared.join("repo.git")) {
            return println!("skipped: {why}");
        }
        // A checkout is moved in, which the kernel does not do with what is of another project.
        let mut spec = TaskSpec::shell("cat repo/folder/file");
        spec.artefacts = vec![rialto_proto::spec::Artefact {
            uri: format!("git+file://{}#main", shared.join("repo.git").display()),
            ..rialto_proto::spec::Artefact::default()
        }];
        let mut checked_out = spec_task("t3", &spec);
        checked_out.resources = "cpus:0.1;mem:64;disk:5".parse().expect("they are well formed");
        let (state, _, message, said) = end(&mut world, checked_out).await;
        assert_eq!((state, &*said), (TaskState::Finished, "content\n"), "{kind}: {message}");
        let file = world.sandbox("t3").join("repo/folder/file");
        assert_eq!(project(&file), project(&world.sandbox("t3")), "{kind}");
    }
}

/// Makes a repository with one commit.
fn repository(at: &Path) -> Result<(), String> {
    std::fs::create_dir_all(at.join("folder")).map_err(|error| error.to_string())?;
    std::fs::write(at.join("folder/file"), "content\n").map_err(|error| error.to_string())?;
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(args);
        run(git.current_dir(at))
    };
    git(&["init", "--quiet", "."])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "-m", "one"])
}
