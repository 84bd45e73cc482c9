use std::fs;
use std::path::Path;

use crate::supervisor::client;
use crate::supervisor::protocol::{CommandLine, Durability, LogLimits, Spec, Stdio, TaskSpec, VERSION};

use super::Spare;

/// The record of a supervisor of an earlier start of the machine.
const RECORD: &str = r#"{"version":1,"pid":1,"start_ticks":1,"boot_id":"earlier"}"#;

fn spec(folder: &Path, word: &str) -> Spec {
    let task = TaskSpec {
        name: "0".to_owned(),
        command: CommandLine::Argv(vec![word.to_owned()]),
        env: Vec::new(),
        sandbox: folder.to_owned(),
        grace_ms: 0,
        max_run_ms: None,
        logs: LogLimits { file_bytes: 1, keep: 0 },
        user: None,
        cgroup: None,
        devices: Vec::new(),
        edits: Default::default(),
        working_dir: None,
        rlimits: Vec::new(),
        check: None,
        users: None,
        stdio: Stdio::Output,
    };
    Spec { version: VERSION, durability: Durability::ProcessLoss, container: None, tasks: vec![task] }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    names
}

/// A group's folder, as its supervisor leaves it.
fn ended(home: &Path, name: &str) -> std::path::PathBuf {
    let directory = home.join(name);
    client::prepare(&directory, &spec(home, &"long ".repeat(100))).expect("a valid spec");
    fs::write(directory.join("pid"), format!("{RECORD}\nand more\n")).expect("a record");
    fs::write(directory.join("supervisor.log"), "what went wrong").expect("a log");
    fs::create_dir_all(directory.join("tmp/of/the/task")).expect("a folder");
    directory
}

#[test]
fn a_folder_is_used_again_and_nothing_of_the_group_before_is_in_it() {
    let home = tempfile::tempdir().expect("a folder");
    let spare = Spare::below(home.path()).expect("writable");
    let first = ended(home.path(), "first");
    fs::write(first.join("pid"), format!("{RECORD}\n")).expect("a record");
    spare.give(&first).expect("removable");
    assert!(!first.exists());
    let second = home.path().join("second");
    spare.take(&second);
    assert_eq!(names(&second), ["record.new", "spec.new"]);
    assert!(!client::is_prepared(&second));
    assert_eq!(client::liveness(&second).expect("readable"), client::Liveness::Never);
    let new = spec(home.path(), "short");
    client::prepare(&second, &new).expect("a valid spec");
    assert_eq!(client::spec(&second).expect("all of it is new"), Some(new));
    assert_eq!(names(&home.path().join("spare")), [""; 0]);
}

#[test]
fn a_group_does_not_get_what_one_of_its_name_had_before() {
    let home = tempfile::tempdir().expect("a folder");
    let spare = Spare::below(home.path()).expect("writable");
    let first = ended(home.path(), "first");
    fs::write(first.join("pid"), format!("{RECORD}\n")).expect("a record");
    spare.give(&first).expect("removable");
    spare.take(&first);
    assert!(!first.exists());
    spare.take(&home.path().join("second"));
    assert!(home.path().join("second").exists());
}

#[test]
fn a_record_of_another_group_that_a_loss_of_power_has_brought_back_says_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("F1/second");
    fs::create_dir_all(&folder).expect("a folder");
    let record = |boot: &str, group: &str| {
        let first = format!(r#"{{"version":1,"pid":1,"start_ticks":1,"boot_id":"{boot}","group":"{group}"}}"#);
        let last = r#"{"terminal":{"version":1,"finished_unix_ms":1,"tasks":[]}}"#;
        fs::write(folder.join("pid"), format!("{first}\n{last}\n")).expect("a record");
        client::terminal(&folder).expect("readable").is_some()
    };
    assert!(!record("earlier", "F1/first"));
    assert!(record("earlier", "F1/second"));
    // While the machine runs nothing comes back; then it is the folder that has another name.
    let now = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("it has one");
    assert!(record(now.trim(), "F1/first"));
}

#[test]
fn a_folder_without_a_record_or_with_a_broken_one_is_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let spare = Spare::below(home.path()).expect("writable");
    let broken = ended(home.path(), "broken");
    spare.give(&broken).expect("removable");
    let never = home.path().join("never");
    client::prepare(&never, &spec(home.path(), "true")).expect("a valid spec");
    spare.give(&never).expect("removable");
    spare.give(&home.path().join("absent")).expect("nothing to remove");
    assert_eq!(names(home.path()), ["spare"]);
    assert_eq!(names(&home.path().join("spare")), [""; 0]);
}

#[test]
fn what_lies_where_a_group_is_to_begin_is_not_replaced() {
    let home = tempfile::tempdir().expect("a folder");
    let spare = Spare::below(home.path()).expect("writable");
    let first = ended(home.path(), "first");
    fs::write(first.join("pid"), format!("{RECORD}\n")).expect("a record");
    spare.give(&first).expect("removable");
    let second = ended(home.path(), "second");
    spare.take(&second);
    assert!(client::is_prepared(&second));
    assert_eq!(names(&home.path().join("spare")), [""; 0]);
}

#[test]
fn what_an_earlier_agent_kept_is_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let spare = Spare::below(home.path()).expect("writable");
    let first = ended(home.path(), "first");
    fs::write(first.join("pid"), format!("{RECORD}\n")).expect("a record");
    spare.give(&first).expect("removable");
    assert_eq!(names(&home.path().join("spare")), ["1"]);
    let again = Spare::below(home.path()).expect("writable");
    assert_eq!(names(&home.path().join("spare")), [""; 0]);
    again.take(&home.path().join("second"));
    assert!(!home.path().join("second").exists());
}
