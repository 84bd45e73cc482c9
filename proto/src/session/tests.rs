use rialto_core::model::{FrameworkId, TaskId};

use super::*;

fn open(what: SessionKind) -> OpenSession {
    let framework: FrameworkId = "F1-1".parse().expect("an id");
    OpenSession { task: TaskKey::new(framework, TaskId::new("a").expect("an id")), what }
}

#[test]
fn sessions_arrive_as_they_were_asked_for() {
    let size = TerminalSize { rows: 50, columns: 132 };
    for what in [
        SessionKind::Exec { args: vec!["sh".to_owned()], stdio: Stdio::Output },
        SessionKind::Exec { args: vec!["sh".to_owned(), "-c".to_owned()], stdio: Stdio::Pipes },
        SessionKind::Exec { args: vec!["sh".to_owned()], stdio: Stdio::Terminal { size, kind: "xterm".to_owned() } },
        SessionKind::Attach { input: true, size: Some(size), from: From::Start },
        SessionKind::Attach { input: false, size: None, from: From::Now },
    ] {
        let open = open(what);
        assert_eq!(OpenSession::from_wire(open.to_wire()).as_ref(), Ok(&open));
    }
}

#[test]
fn a_session_that_cannot_be_is_refused_with_its_field() {
    let field = |open: v1::OpenSession| OpenSession::from_wire(open).expect_err("it must be refused").field;
    let exec = |args: Vec<String>, terminal| {
        let wire = open(SessionKind::Attach { input: false, size: None, from: From::Now }).to_wire();
        v1::OpenSession { what: Some(open_session::What::Exec(v1::Exec { args, terminal, input: false })), ..wire }
    };
    assert_eq!(field(exec(Vec::new(), None)), "exec.args");
    assert_eq!(field(exec(vec!["a\0b".to_owned()], None)), "exec.args");
    let large = v1::Terminal { size: Some(v1::TerminalSize { rows: 1 << 16, columns: 1 }), kind: String::new() };
    assert_eq!(field(exec(vec!["sh".to_owned()], Some(large))), "exec.terminal.size.rows");
    let odd = v1::Terminal { size: None, kind: "a b".to_owned() };
    assert_eq!(field(exec(vec!["sh".to_owned()], Some(odd))), "exec.terminal.kind");
    assert_eq!(field(v1::OpenSession::default()), "what");
}
