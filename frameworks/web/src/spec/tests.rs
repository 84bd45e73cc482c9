use std::time::Duration;

use super::*;

const GOOD: &str = r#"
name = "hello"
command = "exec server --port $PORT"
instances = 3
cpus = 0.1
mem = 32
ports = ["http", "admin"]
env = { GREETING = "hi" }
constraint = "zone == eu"

[health]
path = "/healthz"
port = "admin"
interval = "500ms"

[update]
max_surge = 2
min_healthy = "1s"

[restart]
initial = "1s"
max = "10s"
"#;

fn error_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} must be in the good file");
    parse("app.toml", &GOOD.replacen(from, to, 1)).expect_err("must be refused").to_string()
}

#[test]
fn a_file_is_read() {
    let app = parse("app.toml", GOOD).unwrap();
    assert_eq!((&*app.name, app.instances, app.cpus), ("hello", 3, Milli(100)));
    assert_eq!(app.command, Run::Shell(Arc::from("exec server --port $PORT")));
    let health = app.health.unwrap();
    assert_eq!((health.port, health.interval, health.failures), (1, Duration::from_millis(500), 3));
    assert_eq!((app.update.max_surge, app.update.max_unavailable, app.update.max_failures), (2, 0, 2));
    assert_eq!(app.spread, Spread::Wide);
}

#[test]
fn a_command_may_be_a_list() {
    let app = parse("app.toml", "name = \"a\"\ncommand = [\"server\", \"-v\"]\n").unwrap();
    assert_eq!(app.command, Run::Argv(vec!["server".to_owned(), "-v".to_owned()]));
    assert_eq!(app.instances, 1);
}

#[test]
fn pauses_grow_to_a_limit() {
    let restart = parse("app.toml", GOOD).unwrap().restart;
    let pauses: Vec<u64> = (1..7).map(|ends| restart.pause(ends).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    assert_eq!(restart.pause(u32::MAX), Duration::from_secs(10));
}

#[test]
fn errors_name_the_field_and_what_was_expected() {
    for (from, to, expected) in [
        (
            "name = \"hello\"",
            "name = \"Hello\"",
            "app.toml: name: expected 1 to 63 lower-case letters, digits or '-', got \"Hello\"",
        ),
        ("instances = 3", "instances = -1", "line 4, column 13"),
        ("instances = 3", "instances = 20000", "instances: expected 0 to 10000, got 20000"),
        ("instances = 3", "max_per_agent = 0", "max_per_agent: expected 1 to 10000, got 0"),
        ("instances = 3", "replicas = 3", "unknown field `replicas`"),
        ("cpus = 0.1", "cpus = 0", "expected a number above 0"),
        ("cpus = 0.1", "cpus = 0.0001", "expected at most three decimals"),
        ("command = \"exec server --port $PORT\"", "command = []", "command: expected a program and its arguments"),
        ("command = \"exec server --port $PORT\"", "command = 3", "expected a line for the shell, or a list"),
        ("[\"http\", \"admin\"]", "[\"http\", \"http\"]", "got \"http\" twice"),
        ("[\"http\", \"admin\"]", "[]", "expected the app to have ports"),
        ("port = \"admin\"", "port = \"web\"", "health.port: expected one of the app's ports http, admin, got \"web\""),
        ("path = \"/healthz\"", "path = \"healthz\"", "health.path: expected a path that begins with '/'"),
        ("max_surge = 2", "max_surge = 0", "update: expected max_surge or max_unavailable to be at least 1"),
        ("min_healthy = \"1s\"", "min_healthy = \"10m\"", "update.deadline: expected more than update.min_healthy"),
        ("initial = \"1s\"", "initial = \"1m\"", "restart.initial: expected 100ms to restart.max"),
        ("zone == eu", "zone ==", "selector \"zone ==\", column"),
    ] {
        let message = error_with(from, to);
        assert!(message.contains(expected), "{to:?}: expected {expected:?} in {message}");
    }
}
