use std::time::Duration;

use super::*;

const GOOD: &str = r#"
name = "demand"

[[stage]]
name = "sum"
from = ["map"]
mode = "barrier"
command = "cat $RIALTO_INPUT > $RIALTO_OUTPUT"

[[stage]]
name = "map"
files = "pods.csv"
split = { parts = 4, header = true }
command = "wc -l"
retries = 2
cpus = 0.5
mem = 64
devices = ["gpu: generation >= 8"]
timeout = "1m30s"

[result]
stage = "sum"
to = "out.csv"
"#;

fn error(text: &str) -> String {
    parse("job.toml", text).expect_err("must be refused").to_string()
}

/// The error after `from` is replaced by `to` in the good file.
fn error_with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} must be in the good file");
    error(&GOOD.replacen(from, to, 1))
}

#[test]
fn stages_are_put_in_the_order_of_the_data() {
    let job = parse("job.toml", GOOD).unwrap();
    let names: Vec<&str> = job.stages.iter().map(|stage| &*stage.name).collect();
    assert_eq!(names, ["map", "sum"]);
    assert_eq!(job.result_stage, 1);
    let map = &job.stages[0];
    assert_eq!(
        map.source,
        Source::Files { glob: Arc::from("pods.csv"), split: Some(Split { size: SplitSize::Parts(4), header: true }) }
    );
    assert_eq!((map.retries, map.cpus, map.mem), (2, Milli(500), Milli::from_whole(64)));
    assert_eq!(map.timeout, Some(Duration::from_secs(90)));
    assert_eq!(map.claims.len(), 1);
    assert_eq!(job.stages[1].source, Source::Stages { from: vec![0], shuffle: Shuffle::All(1) });
    assert_eq!(job.stages[1].mode, Mode::Barrier);
}

#[test]
fn a_cycle_is_named_in_the_direction_of_the_data() {
    let stage =
        |name: &str, from: &str| format!("[[stage]]\nname = \"{name}\"\nfrom = [\"{from}\"]\ncommand = \"true\"\n");
    let text = [
        "name = \"j\"\n",
        &stage("a", "c"),
        &stage("b", "a"),
        &stage("c", "b"),
        "[result]\nstage = \"a\"\nto = \"x\"\n",
    ];
    assert_eq!(
        error(&text.concat()),
        "job.toml: the stages form a cycle, so none of them could start: a -> b -> c -> a"
    );
}

#[test]
fn unknown_stages_are_named_with_the_line() {
    assert_eq!(
        error_with("from = [\"map\"]", "from = [\"mop\"]"),
        "job.toml:5: stage \"sum\": from: expected one of the stages sum, map, got \"mop\""
    );
    assert_eq!(
        error_with("stage = \"sum\"", "stage = \"total\""),
        "job.toml:22: result.stage: expected one of the stages sum, map, got \"total\""
    );
}

#[test]
fn unknown_keys_and_wrong_types_show_line_and_column() {
    let unknown = error_with("retries = 2", "retry = 2");
    assert!(unknown.contains("line 15, column 1") && unknown.contains("unknown field `retry`"), "{unknown}");
    let negative = error_with("mem = 64", "mem = -64");
    assert!(
        negative.contains("line 17") && negative.contains("expected a number such as 4 or 0.5, got \"-64\""),
        "{negative}"
    );
    let selector = error_with("generation >= 8", "generation >=");
    assert!(selector.contains("line 18") && selector.contains("device claim"), "{selector}");
    let time = error_with("1m30s", "soon");
    assert!(time.contains("line 19") && time.contains("expected a time such as 500ms"), "{time}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (from, to, expected) in [
        ("files = \"pods.csv\"", "files = \"a\"\nfrom = [\"sum\"]", "cycle"),
        ("files = \"pods.csv\"\n", "", "expected what the stage reads"),
        ("split = { parts = 4, header = true }", "split = { header = true }", "expected parts = N or lines = N"),
        ("split = { parts = 4, header = true }", "split = { parts = 0 }", "split.parts: expected 1 to 10000, got 0"),
        ("split = { parts = 4, header = true }", "partitions = 2", "expected split = { parts = N }"),
        ("mode = \"barrier\"", "shuffle = \"one-to-one\"\npartitions = 2", "expected no number here"),
        ("mode = \"barrier\"", "mode = \"eager\"", "unknown variant `eager`"),
        ("name = \"map\"", "name = \"sum\"", "got \"sum\" twice"),
        ("name = \"map\"", "name = \"m/p\"", "expected 1 to 64 letters"),
        ("command = \"wc -l\"", "command = \" \"", "expected a line or script for /bin/sh"),
        ("retries = 2", "retries = 200", "retries: expected 0 to 100, got 200"),
        ("to = \"out.csv\"", "to = \"\"", "result.to: expected the path of a file"),
    ] {
        let message = error_with(from, to);
        assert!(message.contains(expected), "{to:?}: expected {expected:?} in {message}");
    }
}

#[test]
fn a_highest_price_is_a_price() {
    let with = |text: &str| GOOD.replacen("retries = 2", &format!("retries = 2\nmax_price = {text}"), 1);
    for (text, shown) in [("0.35", "0.35"), ("2", "2"), ("\"0.000001\"", "0.000001")] {
        let job = parse("job.toml", &with(text)).expect("a good job");
        let max = job.stages.iter().find_map(|stage| stage.max_price).expect("one has a highest price");
        assert_eq!(max.to_string(), shown);
    }
    for bad in ["-1", "\"cheap\"", "0.0000001", "true"] {
        let error = error(&with(bad));
        assert!(error.contains("max_price") && error.contains("price"), "{error}");
    }
}
