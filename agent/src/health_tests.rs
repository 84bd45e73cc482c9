use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use super::*;

fn story(failures_max: u32) -> Story {
    Story { failures_max, failures: 0, last: None }
}

#[test]
fn only_what_is_new_is_said() {
    let mut story = story(3);
    assert_eq!(story.conclude(true, false), [Finding::Healthy]);
    assert_eq!(story.conclude(true, false), []);
    assert_eq!(story.conclude(false, false), [Finding::Unhealthy]);
    assert_eq!(story.conclude(true, false), [Finding::Healthy]);
}

#[test]
fn failures_in_a_row_condemn() {
    let mut story = story(2);
    assert_eq!(story.conclude(false, false), [Finding::Unhealthy]);
    assert_eq!(story.conclude(true, false), [Finding::Healthy]);
    assert_eq!(story.conclude(false, false), [Finding::Unhealthy]);
    assert_eq!(story.conclude(false, false), [Finding::Condemned]);
}

#[test]
fn failures_in_the_time_of_grace_do_not_count_until_it_was_healthy_once() {
    let mut story = story(1);
    assert_eq!(story.conclude(false, true), []);
    assert_eq!(story.conclude(true, true), [Finding::Healthy]);
    assert_eq!(story.conclude(false, true), [Finding::Unhealthy, Finding::Condemned]);
}

#[test]
fn a_status_line_is_read() {
    assert_eq!(status(b"HTTP/1.1 204 No Content\r\n"), Some(204));
    assert_eq!(status(b"HTTP/1.0 500\n"), Some(500));
    assert_eq!(status(b"SSH-2.0-x\n"), None);
    assert_eq!(status(b"HTTP/1.1 \n"), None);
}

/// Serves one answer, and gives back what was asked.
fn serve(answer: &'static [u8]) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let mut request = [0; 1024];
        let len = stream.read(&mut request).expect("it can be read");
        stream.write_all(answer).expect("it can be written");
        String::from_utf8_lossy(&request[..len]).into_owned()
    });
    (port, served)
}

fn plan(check: Check, ports: Vec<u16>) -> Plan {
    let check = HealthCheck {
        check,
        delay: Duration::ZERO,
        interval: Duration::from_millis(1),
        timeout: Duration::from_secs(10),
        consecutive_failures: 1,
        grace: Duration::ZERO,
    };
    Plan { check, ports }
}

#[tokio::test]
async fn an_http_answer_below_400_is_healthy() {
    for (answer, healthy) in
        [(&b"HTTP/1.1 200 OK\r\n\r\n"[..], true), (b"HTTP/1.1 503 No\r\n\r\n", false), (b"what?", false)]
    {
        let (port, served) = serve(answer);
        let http = Check::Http { port_index: 1, path: "/health".to_owned() };
        assert_eq!(attempt(&plan(http, vec![1, port]), &runner(None)).await.is_ok(), healthy);
        assert!(served.join().expect("it was served").starts_with("GET /health HTTP/1.1\r\n"));
    }
}

#[tokio::test]
async fn a_port_that_the_task_does_not_have_is_a_failure() {
    assert!(attempt(&plan(Check::Tcp { port_index: 0 }, Vec::new()), &runner(None)).await.is_err());
}

/// A runner whose every check takes as long as it is given and then says `passed`.
fn runner(passed: Option<bool>) -> Runner {
    let (requests, mut asked) = mpsc::channel::<Request>(1);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(request) = asked.recv().await {
            assert_eq!(request.member, 3);
            match passed {
                Some(passed) => request.reply.send(passed).expect("it is waited for"),
                None => kept.push(request),
            }
        }
    });
    Runner { member: 3, requests }
}

#[tokio::test]
async fn a_command_is_run_by_the_supervisor() {
    let plan = plan(Check::Command(rialto_proto::spec::CommandSpec::Shell("true".to_owned())), Vec::new());
    assert!(attempt(&plan, &runner(Some(true))).await.is_ok());
    assert!(attempt(&plan, &runner(Some(false))).await.is_err());
}

#[tokio::test]
async fn a_check_without_an_answer_is_a_failure() {
    let mut plan = plan(Check::Command(rialto_proto::spec::CommandSpec::Shell("true".to_owned())), Vec::new());
    plan.check.timeout = Duration::from_millis(20);
    let (sender, mut events) = mpsc::channel(8);
    let task = TaskKey::new("F1-1".parse().expect("a good id"), "t1".parse().expect("a good name"));
    tokio::time::timeout(Duration::from_secs(30), watch(task, plan, runner(None), sender))
        .await
        .expect("it ends once the task is condemned");
    assert!(matches!(events.recv().await, Some(Event::Input(Input::Health { finding: Finding::Unhealthy, .. }))));
    assert!(matches!(events.recv().await, Some(Event::Input(Input::Health { finding: Finding::Condemned, .. }))));
}
