use super::*;
use crate::supervisor::protocol::{KillCause, Outcome, Snapshot, TaskEnd, TaskState, TaskStatus, Usage, VERSION};

fn snapshot() -> Frame {
    let end = TaskEnd {
        outcome: Outcome::Signaled { signal: 9 },
        killed: Some(KillCause::TimedOut),
        started_unix_ms: Some(1),
        ended_unix_ms: 2,
        dropped_bytes: 3,
        usage: Usage { user_us: 4, system_us: 5, max_rss_kib: 6 },
        cgroup: None,
    };
    let tasks = vec![TaskStatus { name: "a".to_owned(), state: TaskState::Ended(end) }];
    Frame::Snapshot(Snapshot { version: VERSION, pid: 7, tasks })
}

/// The bytes of version 1, which a later agent must be able to read.
const GOLDEN: &str = concat!(
    r#"{"snapshot":{"version":1,"pid":7,"tasks":[{"name":"a","state":{"ended":{"outcome":{"signaled":{"signal":9}},"#,
    r#""killed":"timed_out","started_unix_ms":1,"ended_unix_ms":2,"dropped_bytes":3,"#,
    r#""usage":{"user_us":4,"system_us":5,"max_rss_kib":6}}}}]}}"#,
    "\n"
);

#[test]
fn frames_are_as_they_always_were() {
    assert_eq!(String::from_utf8(encode(&snapshot())).expect("json"), GOLDEN);
    let kill = Command::Kill { task: None, grace_ms: Some(5) };
    assert_eq!(encode_command(&kill), b"{\"kill\":{\"task\":null,\"grace_ms\":5}}\n");
    let signal = Command::Signal { task: Some("a".to_owned()), signal: 15 };
    assert_eq!(encode_command(&signal), b"{\"signal\":{\"task\":\"a\",\"signal\":15}}\n");
}

#[test]
fn frames_arrive_in_any_pieces() {
    for piece in [1, 7, 1000] {
        let mut decoder = FrameDecoder::default();
        let mut frames = Vec::new();
        for bytes in GOLDEN.repeat(3).as_bytes().chunks(piece) {
            decoder.push(bytes);
            while let Some(frame) = decoder.next_message().expect("valid") {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [snapshot(), snapshot(), snapshot()]);
    }
}

#[test]
fn a_frame_without_end_is_refused() {
    let mut decoder = Decoder::<Command>::with_limit(10);
    decoder.push(b"0123456789");
    assert!(decoder.next_message().expect("may still end").is_none());
    decoder.push(b"0");
    let error = decoder.next_message().expect_err("too long");
    assert_eq!(error.to_string(), "frame: expected at most 10 bytes");
}

#[test]
fn something_else_is_refused() {
    let mut decoder = FrameDecoder::default();
    decoder.push(b"{\"future\":{}}\n");
    assert!(matches!(decoder.next_message(), Err(DecodeError::Json(_))));
}
