//! What a contained group sees of the agent's folders.

use std::fs;

use rialto_agent::supervisor::protocol::{
    Container, Durability, Namespaces, Network, Outcome, Right, Root, Spec, VERSION,
};

use crate::harness::{Run, home, line, shell};

#[test]
fn a_group_sees_its_sandbox_and_its_volume_and_nothing_else_of_the_agent() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: containment needs root");
    }
    let home = home();
    // Not below /tmp, which is the group's own.
    let agent = tempfile::tempdir_in("/var").expect("a temporary directory");
    let path = |name: &str| agent.path().join(name);
    for folder in ["sandboxes/mine", "sandboxes/other", "volumes/mine", "volumes/other"] {
        fs::create_dir_all(path(folder)).expect("a directory");
    }
    fs::write(path("journal"), "secret").expect("a file");
    fs::write(path("volumes/mine/kept"), "kept\n").expect("a file");
    std::os::unix::fs::symlink(path("volumes/mine"), path("sandboxes/mine/data")).expect("a link");
    let script = format!(
        "cat data/kept > seen; echo more >> data/kept; (cd {} && find . -type f -o -type d | sort) >> seen; echo end >> seen",
        agent.path().display()
    );
    let mut task = shell(&home, "main", &script);
    task.sandbox = path("sandboxes/mine");
    let namespaces = Namespaces {
        image: None,
        hidden: vec![agent.path().to_owned()],
        shown: vec![path("volumes/mine")],
        root: Root::Shared,
        network: Network::Host,
        right: Right::Root,
    };
    let container = Container { namespaces: Some(namespaces), ..Container::default() };
    let spec =
        Spec { version: VERSION, durability: Durability::ProcessLoss, container: Some(container), tasks: vec![task] };
    let mut run = Run::of(home, &spec);
    assert_eq!(run.end().outcome, Outcome::Exited { code: 0 });
    let seen = line(&path("sandboxes/mine/seen"));
    let expected = "kept\n.\n./sandboxes\n./sandboxes/mine\n./sandboxes/mine/seen\n./sandboxes/mine/stderr\n\
        ./sandboxes/mine/stdout\n./volumes\n./volumes/mine\n./volumes/mine/kept\nend";
    assert_eq!(seen, expected);
    assert_eq!(fs::read_to_string(path("volumes/mine/kept")).expect("a file"), "kept\nmore\n");
}
