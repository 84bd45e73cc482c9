//! What a command gets, and what is said when it cannot be executed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rialto_agent::supervisor::client::{self, Liveness, PidNamespace};
use rialto_agent::supervisor::protocol::{CommandLine, Frame, Outcome, TaskSpec};

use crate::harness::{Run, exe, home, shell};

fn argv(arguments: &[&str]) -> CommandLine {
    CommandLine::Argv(arguments.iter().map(|&argument| argument.to_owned()).collect())
}

fn run(change: impl FnOnce(&mut TaskSpec)) -> Run {
    let home = home();
    let mut task = shell(&home, "main", "true");
    change(&mut task);
    Run::start(home, vec![task])
}

fn failure(change: impl FnOnce(&mut TaskSpec)) -> (Option<i32>, String) {
    let end = run(change).end();
    assert_eq!((end.killed, end.started_unix_ms), (None, None));
    let Outcome::FailedToStart { errno, error } = end.outcome else { panic!("{:?}", end.outcome) };
    (errno, error)
}

#[test]
fn exit_code() {
    let end = Run::script("exit 7").end();
    assert_eq!(end.outcome, Outcome::Exited { code: 7 });
    assert_eq!(end.killed, None);
    assert!(end.started_unix_ms.is_some_and(|started| started <= end.ended_unix_ms));
}

#[test]
fn signal() {
    assert_eq!(Run::script("kill -KILL $$").end().outcome, Outcome::Signaled { signal: 9 });
}

#[test]
fn usage() {
    let end = Run::script("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").end();
    assert!(end.usage.user_us > 1_000, "{:?}", end.usage);
    assert!(end.usage.max_rss_kib > 100, "{:?}", end.usage);
}

#[test]
fn command_not_found() {
    let (errno, error) = failure(|task| task.command = argv(&["no-such-program"]));
    assert_eq!(errno, Some(2));
    assert_eq!(error, "command \"no-such-program\": No such file or directory (os error 2)");
}

#[test]
fn command_not_executable() {
    let (errno, error) = failure(|task| task.command = argv(&["/etc/passwd"]));
    assert_eq!(errno, Some(13));
    assert!(error.starts_with("command \"/etc/passwd\": Permission denied"), "{error}");
}

#[test]
fn sandbox_missing() {
    let (errno, error) = failure(|task| task.sandbox = "/no/such/sandbox".into());
    assert_eq!(
        (errno, error.as_str()),
        (Some(2), "sandbox \"/no/such/sandbox\": No such file or directory (os error 2)")
    );
}

#[test]
fn user_unknown() {
    let (errno, error) = failure(|task| task.user = Some("nobody-by-this-name".to_owned()));
    assert_eq!(errno, None);
    assert_eq!(error, "user \"nobody-by-this-name\": expected a name of /etc/passwd, UID or UID:GID");
}

#[test]
fn user_is_switched_where_that_is_allowed() {
    let home = home();
    let mut task = shell(&home, "main", "test $(id -u):$(id -g):$(id -G) = 65534:65534:65534");
    task.user = Some("65534:65534".to_owned());
    for directory in [home.path(), &task.sandbox] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("own directories");
    }
    let mut run = Run::start(home, vec![task]);
    let outcome = run.end().outcome;
    if rustix::process::geteuid().is_root() {
        assert_eq!(outcome, Outcome::Exited { code: 0 });
    } else {
        assert!(matches!(outcome, Outcome::FailedToStart { errno: Some(1), .. }), "{outcome:?}");
    }
}

#[test]
fn environment_is_exact() {
    let pairs = [("A", "1"), ("EMPTY", ""), ("UNICODE", "größe\nnew line")];
    let mut run = run(|task| {
        task.env = pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        task.command = argv(&["/usr/bin/env", "-0"]);
    });
    run.end();
    let output = fs::read_to_string(run.sandbox("stdout")).expect("output");
    let mut lines: Vec<_> = output.split_terminator('\0').collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1", "EMPTY=", "UNICODE=größe\nnew line"]);
}

#[test]
fn environment_of_a_megabyte() {
    let mut run = run(|task| {
        task.env = (0..1024).map(|number| (format!("V{number:04}"), "x".repeat(1017))).collect();
        task.command = argv(&["/usr/bin/env", "-0"]);
        task.logs.file_bytes = 4 << 20;
    });
    assert_eq!(run.end().outcome, Outcome::Exited { code: 0 });
    assert_eq!(fs::metadata(run.sandbox("stdout")).expect("output").len(), 1 << 20);
}

#[test]
fn environment_string_that_is_too_long() {
    let (errno, error) = failure(|task| task.env.push(("LONG".to_owned(), "x".repeat(1 << 20))));
    assert_eq!((errno, error.as_str()), (Some(7), "command \"/bin/sh\": Argument list too long (os error 7)"));
}

#[test]
fn surroundings_are_clean() {
    let mut run = Run::script(
        "ls /proc/self/fd | wc -l; readlink /proc/$$/fd/0; pwd; umask; ps -o sid= -p $$; ps -o pgid= -p $$; echo $$; \
         exec grep -E '^Sig(Blk|Ign)' /proc/self/status",
    );
    let supervisor = i32::try_from(run.spawned.child.id()).expect("a pid");
    run.end();
    let output = fs::read_to_string(run.sandbox("stdout")).expect("output");
    let lines: Vec<_> = output.lines().map(str::trim).collect();
    // `ls` itself has the directory open.
    assert_eq!(lines[0], "4");
    assert_eq!(lines[1], "/dev/null");
    assert_eq!(lines[2], run.sandbox("").to_str().expect("a path").trim_end_matches('/'));
    assert_eq!(lines[3], "0022");
    assert_eq!(lines[4], supervisor.to_string());
    assert_eq!(lines[5], lines[6], "the main process leads its group");
    let mask = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).expect("a mask").trim();
    assert_eq!(mask("SigBlk:"), "0000000000000000");
    // Signals 32 and 33 belong to the C library, which does not let anybody change them.
    let ignored = u64::from_str_radix(mask("SigIgn:"), 16).expect("a mask");
    assert_eq!(ignored & !(3 << 31), 0);
}

#[test]
fn a_directory_is_claimed_once() {
    let mut run = Run::script("exit 0");
    run.end();
    let again = client::spawn(&exe(), &run.dir, PidNamespace::Same).expect("spawned");
    let mut peer = crate::harness::Peer::new(again.stream);
    let Some(Frame::Refused { reason }) = peer.next() else { panic!("refused") };
    assert_eq!(reason, "pid: File exists (os error 17)");
    let mut child = again.child;
    assert_eq!(child.wait().expect("a child").code(), Some(2));
}

#[test]
fn a_spec_that_cannot_be_read_starts_nothing() {
    let home = home();
    for (number, spec) in
        ["{", r#"{"version":1,"tasks":[],"surprise":1}"#, r#"{"version":2,"tasks":[]}"#].iter().enumerate()
    {
        let dir = home.path().join(number.to_string());
        fs::create_dir(&dir).expect("a directory");
        fs::write(dir.join("spec.json"), spec).expect("a spec");
        let spawned = client::spawn(&exe(), &dir, PidNamespace::Same).expect("spawned");
        let Some(Frame::Refused { reason }) = crate::harness::Peer::new(spawned.stream).next() else {
            panic!("refused")
        };
        assert!(reason.starts_with("spec.json: "), "{reason}");
        assert_eq!(client::log(&dir), format!("supervisor: {reason}\n"));
        assert_eq!(client::liveness(&dir).expect("no record"), Liveness::Never);
        let mut child = spawned.child;
        assert_eq!(child.wait().expect("a child").code(), Some(2));
    }
}

#[test]
fn an_executable_that_does_not_exist_is_an_error_of_the_agent() {
    let home = home();
    let error =
        client::spawn(&home.path().join("rialto"), home.path(), PidNamespace::Same).expect_err("nothing to execute");
    assert!(error.to_string().ends_with("/rialto: No such file or directory (os error 2)"), "{error}");
}
