//! Scripts, run by the machine's own shell.

use std::process::{Command, Output, Stdio};

use crate::spec::Script;

fn run(before: &[&str], main: &[&str]) -> Output {
    let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let script = Script { before: owned(before), main: owned(main) };
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script.shell_text()).env("GREETING", "hello").stdin(Stdio::null());
    command.output().unwrap()
}

#[track_caller]
fn check(main: &[&str], code: i32, stdout: &str) {
    let output = run(&[], main);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout);
    assert_eq!(output.status.code(), Some(code));
}

#[test]
fn commands_are_shown_and_run_in_one_shell() {
    let output = run(&["cd /", "greet() { echo \"$GREETING $1\"; }"], &["pwd", "greet you"]);
    let shown = "$ cd /\n$ greet() { echo \"$GREETING $1\"; }\n$ pwd\n/\n$ greet you\nhello you\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shown);
    assert!(output.status.success());
}

#[test]
fn the_first_failure_ends_it_with_its_status() {
    check(&["echo a", "(exit 7)", "echo b"], 7, "$ echo a\na\n$ (exit 7)\n");
    check(&["exit 3", "echo b"], 3, "$ exit 3\n");
    check(&["true\nfalse\ntrue", "echo b"], 1, "$ true\n> false\n> true\n");
    check(&["no-such-command-here", "echo b"], 127, "$ no-such-command-here\n");
    check(&["echo a", "false"], 1, "$ echo a\na\n$ false\n");
}

#[test]
fn tests_and_conditions_behave_as_in_a_plain_script() {
    check(&["false && echo no", "echo on"], 0, "$ false && echo no\n$ echo on\non\n");
    check(&["if false; then echo no; fi"], 0, "$ if false; then echo no; fi\n");
    check(&["false || echo yes"], 0, "$ false || echo yes\nyes\n");
}

#[test]
fn quotes_and_odd_characters_survive() {
    check(
        &[r#"printf '%s\n' 'it'"'"'s' "a\\b" '$HOME' '%d' '`x`'"#],
        0,
        concat!(r#"$ printf '%s\n' 'it'"'"'s' "a\\b" '$HOME' '%d' '`x`'"#, "\nit's\na\\b\n$HOME\n%d\n`x`\n"),
    );
    check(&["echo one \\", "echo two"], 0, "$ echo one \\\none\n$ echo two\ntwo\n");
    check(&["# only a comment", "echo ü"], 0, "$ # only a comment\n$ echo ü\nü\n");
    check(&["cat <<END\n$GREETING\nEND"], 0, "$ cat <<END\n> $GREETING\n> END\nhello\n");
}

#[test]
fn an_open_quote_fails_alone() {
    let output = run(&[], &["echo a", "echo 'open", "echo b"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "$ echo a\na\n$ echo 'open\n");
    assert!(!output.status.success());
    assert!(!output.stderr.is_empty(), "the shell says why");
}

#[test]
fn a_reading_command_gets_no_input() {
    check(&["cat", "echo on"], 0, "$ cat\n$ echo on\non\n");
}
