//! Output is bytes, bounded on disk, and never stops a task.

use std::fs;
use std::path::Path;

use rialto_agent::supervisor::protocol::{LogLimits, Outcome};

use crate::harness::{Run, home, line, shell};

fn limited(script: &str, file_bytes: u64, keep: u32) -> Run {
    let home = home();
    let mut task = shell(&home, "main", script);
    task.logs = LogLimits { file_bytes, keep };
    Run::start(home, vec![task])
}

fn sizes(sandbox: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(sandbox).expect("a sandbox").flatten();
    let mut sizes: Vec<_> = entries
        .map(|entry| (entry.file_name().into_string().expect("a name"), entry.metadata().expect("a file").len()))
        .collect();
    sizes.sort();
    sizes
}

#[test]
fn bytes_are_kept_as_they_are() {
    let mut run = Run::script(r"printf 'a\377\000\200b'; printf '\303(' >&2");
    assert_eq!(run.end().dropped_bytes, 0);
    assert_eq!(fs::read(run.sandbox("stdout")).expect("output"), b"a\xff\0\x80b");
    assert_eq!(fs::read(run.sandbox("stderr")).expect("output"), b"\xc3(");
}

#[test]
fn rotation_bounds_what_is_kept() {
    let mut run = limited("yes 0123456 | head -c 50000000", 1 << 20, 2);
    let end = run.end();
    assert_eq!((end.outcome, end.dropped_bytes), (Outcome::Exited { code: 0 }, 0));
    let full = 1 << 20;
    let expected = [("stderr", 0), ("stdout", 50_000_000 % full), ("stdout.1", full), ("stdout.2", full)];
    assert_eq!(sizes(&run.sandbox("")), expected.map(|(name, size)| (name.to_owned(), size)));
    // Nothing is lost between two files: 8 divides the size of a full one.
    assert!(fs::read(run.sandbox("stdout.1")).expect("output").chunks(8).all(|line| line == b"0123456\n"));
    assert!(fs::read(run.sandbox("stdout")).expect("output").starts_with(b"0123456\n"));
}

#[test]
fn nothing_kept_starts_over() {
    let mut run = limited("printf 0123456789; printf ab", 10, 0);
    run.end();
    assert_eq!(fs::read(run.sandbox("stdout")).expect("output"), b"ab");
    assert_eq!(sizes(&run.sandbox("")).len(), 2);
}

#[test]
fn a_link_in_the_sandbox_is_not_followed() {
    let mut run = limited("rm stdout; ln -s ../victim stdout; printf 0123456789ab", 10, 0);
    fs::write(run.home.path().join("victim"), "untouched").expect("a file");
    run.end();
    assert_eq!(fs::read(run.home.path().join("victim")).expect("a file"), b"untouched");
    assert_eq!(fs::read(run.sandbox("stdout")).expect("output"), b"ab");
}

#[test]
fn what_cannot_be_written_is_dropped_and_counted() {
    // A directory in the way of a full file: it cannot be moved, so writing fails from there on.
    let mut run = limited("mkdir -p stdout.1/in-the-way; head -c 300000 /dev/zero; exit 4", 100_000, 1);
    let end = run.end();
    assert_eq!((end.outcome, end.dropped_bytes), (Outcome::Exited { code: 4 }, 200_000));
    assert_eq!(fs::metadata(run.sandbox("stdout")).expect("output").len(), 100_000);
}

#[test]
fn output_of_survivors_is_kept_until_they_end() {
    let mut run = Run::script(
        "(trap 'echo last words; exit' TERM; echo up > up; while :; do sleep 0.01; done) & \
                               while ! [ -s up ]; do sleep 0.01; done; echo first",
    );
    line(&run.sandbox("up"));
    run.end();
    assert_eq!(fs::read_to_string(run.sandbox("stdout")).expect("output"), "first\nlast words\n");
}

#[test]
fn a_pipe_held_by_a_stranger_does_not_hold_the_end() {
    let mut run = Run::script("echo $$ > pid; while ! [ -e held ]; do sleep 0.01; done; echo said");
    let pid = line(&run.sandbox("pid"));
    let held = fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).expect("the pipe of the task");
    fs::write(run.sandbox("held"), "").expect("a file");
    run.end();
    assert_eq!(fs::read_to_string(run.sandbox("stdout")).expect("output"), "said\n");
    drop(held);
}
