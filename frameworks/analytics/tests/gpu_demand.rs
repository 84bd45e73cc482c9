//! The example job computes what an independent program computes from the same file.
//!
//! Its commands run here with the local shell, over the partitions that the framework cuts.

#![expect(clippy::disallowed_methods, reason = "the test reads and writes the files that tasks would")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rialto_analytics::files;
use rialto_analytics::spec::{self, Stage};
use rialto_sdk::blobs::{BlobStore, Limits};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/analytics")
}

/// Runs one partition of `stage` in a directory of its own and returns its output.
fn run(stage: &Stage, partition: usize, partitions: usize, inputs: &[String]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("input")).unwrap();
    for (at, text) in inputs.iter().enumerate() {
        fs::write(dir.path().join(format!("input/part-{at:05}")), text).unwrap();
    }
    let status = Command::new("/bin/sh")
        .args(["-c", &stage.command])
        .current_dir(dir.path())
        .env("RIALTO_INPUT", if inputs.len() == 1 { "input/part-00000" } else { "input/*" })
        .env("RIALTO_OUTPUT", "rialto-output")
        .env("RIALTO_PARTITION", partition.to_string())
        .env("RIALTO_PARTITIONS", partitions.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "stage {} ended with {status}", stage.name);
    fs::read_to_string(dir.path().join("rialto-output")).unwrap()
}

/// What the stages make of the file, as the framework would run them.
fn by_the_job() -> String {
    let text = fs::read_to_string(examples().join("gpu-demand.toml")).unwrap();
    let job = spec::parse("gpu-demand.toml", &text).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open(dir.path(), Limits::default()).unwrap();
    let parts = files::import(&job, &examples(), &store).unwrap().remove(&0).unwrap();
    assert_eq!(parts.len(), 8);
    let [map, reduce] = job.stages.as_slice() else { panic!("the example has two stages") };
    let read = |at: usize| fs::read_to_string(store.path(parts[at].digest).unwrap()).unwrap();
    let mapped: Vec<String> = (0..parts.len()).map(|at| run(map, at, parts.len(), &[read(at)])).collect();
    run(reduce, 0, 1, &mapped)
}

/// The same computed directly: milliseconds of a device in `u128`, by model and hour.
fn independently() -> String {
    let text = fs::read_to_string(examples().join("openb-pods.csv")).unwrap();
    let mut demand: BTreeMap<(u64, String), u128> = BTreeMap::new();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|here| *here == name).unwrap();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |name: &str| fields[column(name)].parse::<u64>().unwrap();
        let model = Some(fields[column("gpu_spec")]).filter(|model| !model.is_empty()).unwrap_or("any");
        let milli = number("num_gpu") * number("gpu_milli");
        let mut at = number("creation_time");
        let until = number("deletion_time");
        while milli > 0 && at < until {
            let next = (at / 3600 * 3600 + 3600).min(until);
            *demand.entry((at / 3600, model.to_owned())).or_default() += u128::from(milli) * u128::from(next - at);
            at = next;
        }
    }
    let mut result = "hour,gpu_model,gpu_hours\n".to_owned();
    for ((hour, model), milli_seconds) in demand {
        let thousandths = (milli_seconds + 1800) / 3600;
        result += &format!("{hour},{model},{}.{:03}\n", thousandths / 1000, thousandths % 1000);
    }
    result
}

#[test]
fn the_example_computes_what_an_independent_program_computes() {
    let (job, expected) = (by_the_job(), independently());
    assert!(expected.lines().count() > 500, "the trace has many hours and models");
    assert_eq!(job, expected);
}
