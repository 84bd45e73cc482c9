//! `rialto bench` with real processes: small runs, to see that what is promised is measured. The figures themselves say nothing here.

use std::process::Command;

use serde_json::Value;

fn bench(args: &[&str]) -> Value {
    let output =
        Command::new(env!("CARGO_BIN_EXE_rialto")).arg("bench").args(args).output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "rialto bench {args:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

fn number(figures: &Value, path: &str) -> f64 {
    let found = figures.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("expected a number at {path} in {figures}"))
}

#[test]
fn a_master_is_measured() {
    let figures =
        bench(&["master", "--agents", "3", "--frameworks", "2", "--seconds", "1", "--in-flight", "20", "--json"]);
    for path in
        ["/tasks_per_s", "/offer_ms/p50", "/offer_ms/p99", "/update_ms/p50", "/update_ms/p99", "/master_rss_mib"]
    {
        assert!(number(&figures, path) > 0.0, "{path} in {figures}");
    }
    assert_eq!(figures.pointer("/parameters/agents"), Some(&Value::from(3)));
    assert!(figures.pointer("/machine/cpu").is_some() && figures.pointer("/build/profile").is_some(), "{figures}");
}

#[test]
fn an_agent_is_measured() {
    let figures = bench(&["agent", "--tasks", "20", "--idle-tasks", "5", "--fsync-delay-ms", "20", "--json"]);
    let paths =
        ["/accept_to_running_ms/p50", "/accept_to_running_ms/p99", "/tasks_per_s", "/agent_rss_mib", "/task_pss_mib"];
    for path in paths {
        assert!(number(&figures, path) > 0.0, "{path} in {figures}");
    }
    assert!(number(&figures, "/agent_idle_cpu_percent") >= 0.0, "{figures}");
    assert!(number(&figures, "/accept_to_running_ms/p50") >= 20.0, "a slow disk is waited for: {figures}");
    assert_eq!(figures.pointer("/parameters/idle_tasks"), Some(&Value::from(5)));
    assert_eq!(figures.pointer("/contained"), Some(&Value::from(rustix::process::geteuid().is_root())));
    assert!(number(&figures, "/cold_start_ms") > 0.0, "{figures}");
}
