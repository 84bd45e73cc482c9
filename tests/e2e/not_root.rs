//! What an agent says at its start of what it can't do, and what it does instead.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::{Process, rialto_binary, wait_until};

const NOBODY: u32 = 65534;

/// Starts an agent without a master and gives what it says until it looks for one.
fn said(uid: u32) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    chown(folder.path(), Some(uid), Some(uid)).expect("it is this user's to give");
    let mut command = Command::new(rialto_binary());
    command.args(["agent", "--master", "127.0.0.1:9", "--work-dir"]).arg(folder.path().join("agent"));
    command.env_remove("RIALTO_LOG").current_dir("/").uid(uid).gid(uid);
    let outputs = tempfile::tempdir().expect("a temporary folder");
    let mut agent = Process::start("agent", outputs.path(), &mut command);
    wait_until("it looks for its master", || agent.stderr().contains("no connection to the master"));
    let said = agent.stderr();
    agent.kill9();
    said
}

fn lines_with<'a>(said: &'a str, words: &str) -> Vec<&'a str> {
    said.lines().filter(|line| line.contains(words)).collect()
}

#[test]
fn an_agent_that_is_not_root_says_each_thing_that_it_can_not_do_in_one_line() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can start an agent as somebody else");
    }
    let said = said(NOBODY);
    for words in
        ["memory limits: off", "process limits: off", "device control: off", "disk limits: sandboxes are measured"]
    {
        let lines = lines_with(&said, words);
        assert!(lines.len() == 1 && lines[0].contains("because"), "{words}: {said}");
    }
    assert_eq!(lines_with(&said, "namespaces: ").len(), 1, "by user namespaces, or off: {said}");
}

#[test]
fn an_agent_says_in_one_line_how_disk_is_limited() {
    let uid = rustix::process::geteuid().as_raw();
    let said = said(uid);
    assert_eq!(lines_with(&said, "disk limits: ").len(), 1, "{said}");
}
