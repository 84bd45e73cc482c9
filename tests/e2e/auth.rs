//! Who may come in: tokens, TLS, and where a master may listen.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{AgentSpec, Cluster, get, wait_until};

#[test]
fn a_master_makes_a_token_that_only_its_user_can_read() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let token = cluster.path("master/token");
    let mode = std::fs::metadata(&token).expect("it was made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let with = cluster.rialto(&["run", "--token-file", &cluster.name_of("master/token"), "--", "echo", "hello"]);
    assert_eq!((with.code, with.stdout.as_str()), (0, "hello\n"), "{}", with.stderr);
    for path in ["/", "/api/agents", "/metrics"] {
        let answer = get(cluster.address(), path, None).expect("it answers");
        assert_ne!(answer.status, 200, "{path} is shown to anybody");
    }
    let health = get(cluster.address(), "/healthz", None).expect("it answers");
    assert_eq!(health.status, 200);
}

#[test]
fn without_the_right_token_everything_is_refused() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let wrong = cluster.write("wrong", "this-is-not-the-token-of-this-master\n");
    for args in [&["agents"][..], &["run", "--", "true"], &["kill", "last"], &["devices", "--json"]] {
        let without = cluster.start_process("without", &mut without_token(&cluster, args)).finish();
        assert_eq!(without.code, 1, "{args:?}: {}", without.stderr);
        assert!(without.stderr.contains("token"), "{args:?}: {}", without.stderr);
        let mut command = without_token(&cluster, args);
        let with_wrong = cluster.start_process("wrong", command.env("RIALTO_TOKEN_FILE", &wrong)).finish();
        assert_eq!(with_wrong.code, 1, "{args:?}: {}", with_wrong.stderr);
        assert!(with_wrong.stderr.contains("token"), "{args:?}: {}", with_wrong.stderr);
    }
    let weak = cluster.write("weak", "short\n");
    let refused = cluster.rialto(&["agents", "--token-file", &weak]);
    assert!(refused.code == 1 && refused.stderr.contains("token"), "{}", refused.stderr);
    let missing = cluster.rialto(&["agents", "--token-file", &cluster.name_of("missing")]);
    assert!(missing.code == 1 && missing.stderr.contains("missing"), "{}", missing.stderr);
}

#[test]
fn an_agent_with_a_wrong_token_is_told() {
    let cluster = Cluster::start(&[]);
    let wrong = cluster.write("wrong", "this-is-not-the-token-of-this-master\n");
    let mut agent = cluster.spawn(&["agent", "--work-dir", &cluster.name_of("solo"), "--token-file", &wrong]);
    wait_until("the agent says that its token is refused", || {
        agent.is_running();
        agent.stderr().contains("token")
    });
    assert_eq!(cluster.agents().len(), 0);
}

#[test]
fn a_token_beside_a_local_work_dir_is_found() {
    let cluster = Cluster::nothing();
    let mut command = cluster.command(&["master", "--listen", "127.0.0.1:0"]);
    let mut master = cluster.start_process("master", &mut command);
    let address = master.line("where it listens", listening);
    let agents = cluster.rialto(&["agents", "--master", &address]);
    assert_eq!(agents.code, 0, "{}", agents.stderr);
    assert!(cluster.path("here/rialto-master/token").exists());
    cluster.make_folder("elsewhere");
    let mut elsewhere = cluster.command(&["agents", "--master", &address]);
    let refused = cluster.start_process("elsewhere", elsewhere.current_dir(cluster.path("elsewhere"))).finish();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
}

#[test]
fn an_open_address_needs_tls_or_to_be_asked_for_by_name() {
    let cluster = Cluster::nothing();
    let folder = cluster.name_of("master");
    let refused = cluster.rialto(&["master", "--listen", "0.0.0.0:0", "--work-dir", &folder]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("TLS") && refused.stderr.contains("--insecure"), "{}", refused.stderr);
    let mut allowed = cluster.spawn(&["master", "--listen", "0.0.0.0:0", "--work-dir", &folder, "--insecure"]);
    allowed.line("where it listens", listening);
    allowed.terminate();
    assert_eq!(allowed.finish().code, 0);
}

#[test]
fn a_second_master_on_the_same_work_dir_is_refused() {
    let cluster = Cluster::start(&[]);
    let refused = cluster.rialto(&["master", "--listen", "127.0.0.1:0", "--work-dir", &cluster.name_of("master")]);
    assert_eq!(refused.code, 1);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("master"), "{}", refused.stderr);
}

#[test]
fn everything_works_over_tls() {
    let cluster = Cluster::nothing();
    let (cert, key) = certificate(&cluster);
    let folder = cluster.name_of("master");
    let mut master = cluster.spawn(&[
        "master",
        "--listen",
        "127.0.0.1:0",
        "--work-dir",
        &folder,
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]);
    let url = master
        .line("where it listens", |line| line.split(' ').find(|word| word.starts_with("https://")).map(str::to_owned));
    let token = cluster.name_of("master/token");
    let known = ["--master", &url, "--token-file", &token, "--tls-ca", &cert];
    let work_dir = cluster.name_of("solo");
    let agent = [&["agent", "--name", "solo", "--work-dir", &work_dir][..], &known].concat();
    let _agent = cluster.spawn(&agent);
    let agents = [&["agents", "--json"][..], &known].concat();
    wait_until("the agent has registered", || {
        let found = cluster.rialto(&agents);
        assert_eq!(found.code, 0, "{}", found.stderr);
        found.stdout.contains("active")
    });
    let run = [&["run"][..], &known, &["--", "sh", "-c", "echo hello; exit 4"]].concat();
    let hello = cluster.rialto(&run);
    assert_eq!((hello.code, hello.stdout.as_str()), (4, "hello\n"), "{}", hello.stderr);
    let logs = [&["logs", "last"][..], &known].concat();
    assert_eq!(cluster.rialto(&logs).stdout, "hello\n");

    let stranger = cluster.rialto(&["agents", "--master", &url, "--token-file", &token]);
    assert_eq!(stranger.code, 1, "a certificate that nobody vouches for was taken");
    assert!(stranger.stderr.contains("certificate"), "{}", stranger.stderr);
    let plain = url.replace("https://", "http://");
    let plain = cluster.rialto(&["agents", "--master", &plain, "--token-file", &token]);
    assert_eq!(plain.code, 1, "{}", plain.stdout);
}

/// A self-made certificate for loopback and its key, as files.
fn certificate(cluster: &Cluster) -> (String, String) {
    let made =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("it can be made");
    (cluster.write("cert.pem", &made.cert.pem()), cluster.write("key.pem", &made.signing_key.serialize_pem()))
}

fn without_token(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = cluster.command(args);
    command.env_remove("RIALTO_TOKEN_FILE");
    command
}

fn listening(line: &str) -> Option<String> {
    let url = line.strip_prefix("rialto master: http://")?;
    url.split(' ').next().map(str::to_owned)
}
