use super::super::protocol::{Outcome, TaskEnd, TaskState, TaskStatus, Terminal, TerminalTask, Usage, VERSION};
use super::{Line, Told};

const FIRST: &str = r#"{"version":1,"pid":7,"start_ticks":3,"boot_id":"b"}"#;

fn status(name: &str, pid: i32) -> TaskStatus {
    TaskStatus { name: name.to_owned(), state: TaskState::Running { pid, started_unix_ms: 1 } }
}

fn line(line: &Line) -> String {
    serde_json::to_string(line).expect("it has string keys") + "\n"
}

fn terminal() -> Terminal {
    let end = TaskEnd {
        outcome: Outcome::Exited { code: 0 },
        killed: None,
        started_unix_ms: Some(1),
        ended_unix_ms: 2,
        dropped_bytes: 0,
        usage: Usage::default(),
        cgroup: None,
    };
    Terminal { version: VERSION, finished_unix_ms: 3, tasks: vec![TerminalTask { name: "0".to_owned(), end }] }
}

#[test]
fn the_last_state_of_each_member_counts() {
    let lines = [status("0", 1), status("1", 2), status("0", 3)].map(|status| line(&Line::Task(status)));
    let told = Told::parse(&format!("{FIRST}\n{}", lines.concat())).expect("a record");
    assert_eq!((told.identity.pid, told.terminal.is_none()), (7, true));
    assert_eq!(told.snapshot().expect("something began").tasks, [status("0", 3), status("1", 2)]);
}

#[test]
fn a_line_without_its_end_was_never_written() {
    let whole = format!("{FIRST}\n{}{}", line(&Line::Task(status("0", 1))), line(&Line::Terminal(terminal())));
    assert_eq!(Told::parse(&whole).expect("a record").terminal, Some(terminal()));
    let end = FIRST.len() + 1 + line(&Line::Task(status("0", 1))).len();
    for cut in end..whole.len() {
        let told = Told::parse(&whole[..cut]).expect("a record");
        assert_eq!(told.terminal, None, "cut at {cut}");
        assert_eq!(told.snapshot().expect("something began").tasks, [status("0", 1)], "cut at {cut}");
    }
}

#[test]
fn one_that_has_only_claimed_its_folder_has_begun_nothing() {
    let told = Told::parse(&format!("{FIRST}\n")).expect("a record");
    assert!(told.snapshot().is_none());
}

#[test]
fn what_is_no_record_is_refused() {
    for content in ["", "not json", "not json\n", &format!("{FIRST}\nnot json\n")] {
        Told::parse(content).expect_err(content);
    }
}
