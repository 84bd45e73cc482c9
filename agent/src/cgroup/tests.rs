use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::group::enter;
use super::mounts::mounts;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/systemd rw shared:12 - cgroup cgroup rw,name=systemd
34 30 0:30 / /mnt/a\\040b rw - cgroup cgroup rw,blkio
35 30 0:30 / /mnt/again rw - cgroup cgroup rw,blkio
";

#[test]
fn mounts_of_both_versions_are_found() {
    let found: Vec<_> =
        mounts(HYBRID).into_iter().map(|mount| (mount.path, mount.version, mount.controllers)).collect();
    assert_eq!(
        found,
        [
            (PathBuf::from("/sys/fs/cgroup/unified"), Version::V2, vec![]),
            ("/sys/fs/cgroup/cpu,cpuacct".into(), Version::V1, vec![Controller::Cpu, Controller::CpuAcct]),
            ("/mnt/a b".into(), Version::V1, vec![Controller::Io]),
        ]
    );
}

#[test]
fn a_machine_without_cgroups_says_what_is_off() {
    let found = Hierarchies::detect("", "rialto", "test");
    assert_eq!(found.hierarchies, Hierarchies::default());
    let memory = "memory limits: off, because no cgroup hierarchy offers memory".to_owned();
    assert!(found.missing.contains(&(Controller::Memory, memory)));
    assert_eq!(found.missing.len(), 6);
}

#[test]
fn a_hierarchy_that_cannot_be_written_names_the_folder() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = file.path().display();
    let mountinfo = format!("34 30 0:30 / {path} rw - cgroup cgroup rw,memory\n");
    let found = Hierarchies::detect(&mountinfo, "rialto", "test");
    let of_memory = |(controller, _): &&(Controller, String)| *controller == Controller::Memory;
    let (_, line) = found.missing.iter().find(of_memory).expect("a line about memory");
    assert!(line.contains(&format!("cgroup {path}/rialto/test: ")), "{line}");
}

#[test]
fn what_was_delegated_to_a_user_begins_with_the_topmost_folder_that_is_the_users() {
    let with = |own: &str| {
        let mut found = mounts("34 30 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n").remove(0);
        found.delegate(own, |folder| folder.starts_with("/sys/fs/cgroup/user.slice/user@1000.service"));
        found.base
    };
    let service = PathBuf::from("/sys/fs/cgroup/user.slice/user@1000.service");
    assert_eq!(with("1:name=systemd:/x\n0::/user.slice/user@1000.service/app.slice/agent.service\n"), service);
    assert_eq!(with("0::/user.slice/user@1000.service\n"), service);
    assert_eq!(with("0::/user.slice/session-1.scope\n"), PathBuf::from("/sys/fs/cgroup"), "nothing is this user's");
    assert_eq!(with("0::/\n"), PathBuf::from("/sys/fs/cgroup"));
}

/// The hierarchies of this machine that `keep` names, with folders for this test alone.
struct Here {
    hierarchies: Hierarchies,
}

impl Here {
    /// `None`, and a word, where there is nothing to test with.
    fn only(test: &str, keep: impl Fn(&str) -> bool) -> Option<Self> {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        let mountinfo: String = mountinfo.lines().filter(|line| keep(line)).map(|line| format!("{line}\n")).collect();
        let key = format!("test-{test}-{}", std::process::id());
        let hierarchies = Hierarchies::detect(&mountinfo, "rialto-test", &key).hierarchies;
        let usable = hierarchies.of(Controller::Freezer).is_some();
        if !usable {
            println!("skipped: no cgroups that this user may write to");
        }
        usable.then_some(Self { hierarchies })
    }

    fn group(&self, limits: &Limits, devices: Option<&[DeviceRule]>) -> Group {
        Group::create(&self.hierarchies, "one", limits, devices).expect("the group can be made")
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        for name in self.hierarchies.groups() {
            self.hierarchies.clear(&name).expect("it can be removed");
        }
        self.hierarchies.remove();
    }
}

fn is_v1(line: &str) -> bool {
    line.contains(" - cgroup ")
}

fn is_v2(line: &str) -> bool {
    line.contains(" - cgroup2 ")
}

/// A shell that is in the group from its first moment.
#[expect(unsafe_code, reason = "a step between fork and exec")]
fn shell(group: &Group, script: &str) -> Child {
    let entrances = group.entrances(Birth::Outside).expect("they can be opened");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::null());
    // SAFETY: it only makes system calls.
    unsafe { command.pre_exec(move || enter(&entrances)) };
    command.spawn().expect("there is a shell")
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn limits() -> Limits {
    Limits { cpu_share_milli: 500, cpu_max_milli: Some(500), memory_bytes: Some(64 << 20), pids: Some(200) }
}

/// Everything that a group does, in one kind of hierarchy.
fn lives_and_dies(here: &Here) {
    let group = here.group(&limits(), None);
    let mut child = shell(&group, "for i in 1 2 3 4 5; do setsid sleep 100 & done; wait");
    until("six processes", || group.processes().expect("readable").len() == 6);
    assert_eq!(group.remove().expect_err("it is not empty").source.kind(), io::ErrorKind::ResourceBusy);
    group.freeze().expect("it can be frozen");
    assert_eq!(group.kill().expect("it can be killed"), 6, "frozen processes die too");
    child.wait().expect("a child");
    until("the group to be empty", || group.processes().expect("readable").is_empty());
    let stats = group.stats();
    assert!(stats.cpu_us.is_some_and(|used| used > 0), "{stats:?}");
    group.remove().expect("it is empty");
    group.remove().expect("twice is no error");
    assert!(here.hierarchies.groups().is_empty());
    assert!(Group::open(&here.hierarchies, "one").expect("readable").is_none());
}

#[test]
fn a_group_lives_and_dies() {
    if let Some(here) = Here::only("all", |_| true) {
        lives_and_dies(&here);
    }
}

#[test]
fn a_group_of_version_1_lives_and_dies() {
    if let Some(here) = Here::only("v1", is_v1) {
        lives_and_dies(&here);
    }
}

#[test]
fn a_group_of_version_2_lives_and_dies() {
    if let Some(here) = Here::only("v2", is_v2) {
        lives_and_dies(&here);
    }
}

fn fork_bomb(here: &Here) {
    let group = here.group(&Limits { pids: Some(300), ..limits() }, None);
    let mut child = shell(&group, "b() { b & b & exec sleep 100; }; b");
    until("many processes", || group.processes().expect("readable").len() > 100);
    until("an empty group", || group.kill().expect("it can be killed") == 0);
    child.wait().expect("a child");
    here.hierarchies.clear("one").expect("it can be removed");
}

#[test]
fn a_fork_bomb_is_killed() {
    if let Some(here) = Here::only("bomb", |_| true) {
        fork_bomb(&here);
    }
}

#[test]
fn a_fork_bomb_in_version_1_is_killed() {
    if let Some(here) = Here::only("bomb-v1", is_v1) {
        fork_bomb(&here);
    }
}

#[test]
fn a_group_that_was_left_is_cleared() {
    let Some(here) = Here::only("left", |_| true) else { return };
    let group = here.group(&limits(), None);
    let mut child = shell(&group, "trap '' TERM; sleep 100");
    until("a process", || !group.processes().expect("readable").is_empty());
    drop(group);
    assert_eq!(here.hierarchies.groups(), ["one"]);
    // It is this test's child: a zombie does not keep a group.
    here.hierarchies.clear("one").expect("it can be removed");
    here.hierarchies.clear("one").expect("twice is no error");
    child.wait().expect("a child");
}

#[test]
fn memory_beyond_the_limit_is_told() {
    let Some(here) = Here::only("memory", |_| true) else { return };
    if here.hierarchies.of(Controller::Memory).is_none() {
        return println!("skipped: no memory controller");
    }
    let group = here.group(&Limits { memory_bytes: Some(16 << 20), ..limits() }, None);
    let mut child = shell(&group, "head -c 200000000 /dev/zero | tail -c 200000000 > /dev/null; echo survived");
    child.wait().expect("a child");
    let stats = group.stats();
    assert!(stats.memory_kills.is_some_and(|kills| kills > 0), "{stats:?}");
    assert!(stats.memory_peak_bytes.is_some_and(|peak| peak <= 16 << 20 && peak > 8 << 20), "{stats:?}");
}

#[test]
fn processes_beyond_the_limit_are_not_made() {
    let Some(here) = Here::only("pids", |_| true) else { return };
    if here.hierarchies.of(Controller::Pids).is_none() {
        return println!("skipped: no pids controller");
    }
    let group = here.group(&Limits { pids: Some(3), ..limits() }, None);
    let child = shell(&group, "for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done; echo made it");
    until("three processes", || group.stats().pids == Some(3));
    until("an empty group", || group.kill().expect("it can be killed") == 0);
    let output = child.wait_with_output().expect("a child");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

fn devices(here: &Here) {
    if here.hierarchies.of(Controller::Devices).is_none() {
        return println!("skipped: no device control");
    }
    if !Path::new("/dev/loop0").exists() {
        return println!("skipped: no /dev/loop0");
    }
    let open =
        "dd if=/dev/zero of=/dev/null count=1 && for d in /dev/loop0 /dev/loop1 /dev/kmsg; do : < $d && echo $d; done";
    let opened = |rules: &[DeviceRule]| {
        let group = here.group(&limits(), Some(rules));
        let output = shell(&group, open).wait_with_output().expect("a child");
        until("an empty group", || group.remove().is_ok());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(opened(&DeviceRule::BASE), "");
    let mut rules = DeviceRule::BASE.to_vec();
    rules.push(DeviceRule::of(Path::new("/dev/loop0")).expect("it is a device"));
    assert_eq!(opened(&rules), "/dev/loop0\n");
}

#[test]
fn only_the_devices_of_a_group_can_be_opened() {
    if let Some(here) = Here::only("devices", |_| true) {
        devices(&here);
    }
}

#[test]
fn only_the_devices_of_a_group_of_version_2_can_be_opened() {
    if let Some(here) = Here::only("bpf", is_v2) {
        devices(&here);
    }
}

#[test]
fn a_file_is_no_device() {
    assert!(DeviceRule::of(Path::new("/etc/passwd")).is_err());
    assert!(DeviceRule::of(Path::new("/nothing")).is_err());
    assert_eq!(DeviceRule::of(Path::new("/dev/null")).expect("a device"), DeviceRule::BASE[0]);
    let lines: BTreeSet<String> = DeviceRule::BASE.into_iter().map(DeviceRule::line).collect();
    assert!(lines.contains("c 1:3 rwm") && lines.contains("c 136:* rwm"));
}
