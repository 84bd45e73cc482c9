//! `rialto analytics run`: the example on a real trace, checked against a computation of its own; and files that can't be run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::harness::{AgentSpec, Cluster, kill_processes_of, wait_until};

#[test]
fn the_example_finds_the_demand_that_the_trace_shows() {
    let cluster = Cluster::start(&[AgentSpec::roomy("left"), AgentSpec::roomy("right")]);
    let folder = cluster.make_folder("job");
    for name in ["gpu-demand.toml", "openb-pods.csv"] {
        std::fs::copy(examples().join(name), folder.join(name)).expect("the example is there");
    }
    let job = cluster.name_of("job/gpu-demand.toml");
    let run = cluster.rialto(&["analytics", "run", &job]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let found = std::fs::read_to_string(folder.join("gpu-demand.csv")).expect("the result is beside the job file");
    let trace = std::fs::read_to_string(folder.join("openb-pods.csv")).expect("it was copied");
    let expected = demand(&trace);
    assert!(expected.lines().count() > 100, "the trace is empty");
    let different = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert_eq!(different, None, "the first line that differs, found and expected");
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn tasks_that_an_agent_lost_are_run_again() {
    let mut cluster = Cluster::start(&[AgentSpec::roomy("left")]);
    let observed = cluster.make_folder("observed");
    std::fs::write(cluster.path("input.txt"), "one\ntwo\n").expect("it is ours");
    // The first attempt is killed like a task of a broken machine would be: its supervisor goes with it.
    let map = format!(
        "echo $$ >> {0}/started; while [ ! -e {0}/go ]; do sleep 0.2; done; cat \"$RIALTO_INPUT\" > \"$RIALTO_OUTPUT\"",
        observed.display()
    );
    let job = cluster.write("job.toml", &job(&map, "[\"map\"]"));
    let run = cluster.spawn(&["analytics", "run", &job]);
    let started = || std::fs::read_to_string(observed.join("started")).unwrap_or_default().lines().count();
    wait_until("the map has started", || started() == 1);
    cluster.agent("left").kill9();
    kill_processes_of(&cluster.path("left"));
    cluster.start_agent("left");
    wait_until("the map has started again", || started() == 2);
    std::fs::write(observed.join("go"), "").expect("it is ours");
    let ended = run.finish();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(std::fs::read_to_string(cluster.path("result.txt")).expect("there is a result"), "one\ntwo\n");
}

#[test]
fn a_stage_that_fails_fails_the_job_and_leaves_no_result() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    std::fs::write(cluster.path("input.txt"), "one\ntwo\n").expect("it is ours");
    let job = cluster.write("job.toml", &job("echo broken >&2; exit 3", "[\"map\"]"));
    let run = cluster.rialto(&["analytics", "run", &job]);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!((run.stdout + &run.stderr).contains("map"), "{}", run.stderr);
    assert!(!cluster.path("result.txt").exists());
    assert_eq!(cluster.cluster().allocated.cpus, 0.0);
}

#[test]
fn a_file_that_is_no_job_is_refused_before_anything_runs() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    std::fs::write(cluster.path("input.txt"), "one\n").expect("it is ours");
    let good = job("cat \"$RIALTO_INPUT\" > \"$RIALTO_OUTPUT\"", "[\"map\"]");
    for (text, says) in [
        (good.replace("from = [\"map\"]", "from = [\"reduce\"]"), "reduce"),
        (good.replace("name = \"broken\"", "name = \"broken\"\ncolour = \"red\""), "colour"),
        (good.replace("input.txt", "nowhere.txt"), "nowhere.txt"),
        (good.replace("cpus = 0.1", "cpus = -1"), "cpus"),
        (good.replace("[[stage]]", "[[stage"), "line"),
        (String::new(), "name"),
    ] {
        let file = cluster.write("job.toml", &text);
        let run = cluster.rialto(&["analytics", "run", &file]);
        assert_eq!(run.code, 2, "{text}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains(says), "{says:?} is not said: {}", run.stderr);
    }
    let missing = cluster.rialto(&["analytics", "run", "missing.toml"]);
    assert!(missing.code != 0 && missing.stderr.contains("missing.toml"), "{}", missing.stderr);
    assert_eq!(cluster.tasks().len(), 0);
}

fn job(map: &str, from: &str) -> String {
    format!(
        "name = \"broken\"\n[[stage]]\nname = \"map\"\nfiles = \"input.txt\"\ncpus = 0.1\nmem = 32\ncommand = '''{map}'''\n\
         [[stage]]\nname = \"reduce\"\nfrom = {from}\nshuffle = \"all\"\ncpus = 0.1\nmem = 32\n\
         command = '''cat $RIALTO_INPUT > \"$RIALTO_OUTPUT\"'''\n[result]\nstage = \"reduce\"\nto = \"result.txt\"\n"
    )
}

/// What the example computes, computed otherwise: pod by pod, in integers.
fn demand(trace: &str) -> String {
    let mut lines = trace.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let column = |name: &str| header.iter().position(|title| *title == name).expect("the trace has the column");
    let [gpus, milli, model, from, until] =
        ["num_gpu", "gpu_milli", "gpu_spec", "creation_time", "deletion_time"].map(column);
    let mut demand: BTreeMap<(u64, &str), u64> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields[at].parse::<u64>().unwrap_or(0);
        let model = if fields[model].is_empty() { "any" } else { fields[model] };
        let mut at = number(from);
        while number(gpus) > 0 && at < number(until) {
            let end = number(until).min((at / 3600 + 1) * 3600);
            *demand.entry((at / 3600, model)).or_default() += number(gpus) * number(milli) * (end - at);
            at = end;
        }
    }
    let mut text = "hour,gpu_model,gpu_hours\n".to_owned();
    for ((hour, model), milli_seconds) in demand {
        let thousandths = (milli_seconds + 1800) / 3600;
        text.push_str(&format!("{hour},{model},{}.{:03}\n", thousandths / 1000, thousandths % 1000));
    }
    text
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/analytics")
}
