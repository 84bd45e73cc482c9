//! Bad input: each case with its exact message. Good input is under `tests/pipelines`.

use proptest::prelude::*;

use super::keywords::JOB;
use super::{Context, PipelineFile, SpecError, Variables};

mod artifacts;
mod conditions;
mod script;
mod texts;

/// The message for a file, or the plan of what it should not have become.
fn message(text: &str) -> String {
    let refuse_tpu = |device: &str| match device.strip_prefix("tpu") {
        Some(_) => Err("unknown kind `tpu`".to_owned()),
        None => Ok(()),
    };
    let pipeline = PipelineFile::parse("ci.yml", text).and_then(|file| file.expand(&Context::default(), &refuse_tpu));
    match pipeline {
        Ok(pipeline) => panic!("accepted:\n{pipeline}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(message(text), expected, "for\n{text}");
}

#[test]
fn yaml_itself() {
    refused("a: [1, 2", "ci.yml:1:9: not valid YAML: while parsing a flow sequence, expected ',' or ']'");
    refused("a:\n\t- b", "ci.yml:2:2: not valid YAML: tabs disallowed within this context (block indentation)");
    refused("{\r ", "ci.yml:2:2: not valid YAML: while parsing a node, did not find expected node content");
    refused("? a", "ci.yml:1:4: job `a` must be a mapping, found nothing");
    refused("a: *b", "ci.yml:1:4: not valid YAML: while parsing node, found unknown anchor");
    refused("a: &x [*x]", "ci.yml:1:8: not valid YAML: an alias inside the node that it refers to");
    refused("a: {script: x}\n---\nb: {script: x}", "ci.yml:2:1: a second YAML document starts here, expected one");
    refused("a: {script: !reference [b, script]}", "ci.yml:1:13: the tag `!reference` is not supported");
    refused("a:\n  script: x\u{7}", "ci.yml:2:12: the file contains the control character U+0007, expected text");
    refused("[a]: b", "ci.yml:1:1: a key must be a string, found a list");
    refused("a: {script: x}\nb: {script: x}\na: {script: y}", "ci.yml:3:1: duplicate key `a`, first given at 1:1");
    refused("a:\n  <<: text\n  script: x", "ci.yml:2:7: `<<` must be a mapping or a list of mappings, found `text`");
    let large = format!("# {}", "x".repeat(1 << 20));
    refused(&large, "ci.yml:1:1: the file has 1048578 bytes, expected at most 1048576");
}

#[test]
fn nesting_and_expansion_are_bounded() {
    let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
    refused(&deep, "ci.yml:1:35: nested deeper than 32 levels");
    let mut laughs = "x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..10 {
        let below = format!("*x{}, ", i - 1).repeat(9);
        laughs.push_str(&format!("x{i}: &x{i} [{below}]\n"));
    }
    let message = message(&laughs);
    assert!(message.ends_with("the file is larger than 16777216 bytes once anchors and `extends` are expanded"));
    let long = format!("variables:\n  V: {}\na: {{script: x}}", "x".repeat(70_000));
    refused(&long, "ci.yml:2:6: variable `V` is longer than 65536 bytes once expanded");
    let doubling: String = (0..40).map(|i| format!("  V{i}: $V{}$V{}\n", i + 1, i + 1)).collect();
    let doubling = format!("variables:\n{doubling}  V40: xxxxxxxx\na: {{script: x}}");
    assert!(self::message(&doubling).ends_with("is longer than 65536 bytes once expanded"));
    let chain: String = (0..200).map(|i| format!("  V{i:03}: $V{:03}\n", i + 1)).collect();
    let chain = format!("variables:\n{chain}a: {{script: x}}");
    refused(&chain, "ci.yml:66:9: variable `V064` refers to others over more than 64 levels");
    let many: String = (0..8).map(|i| format!("  V{i}: {}\n", "x".repeat(40_000))).collect();
    let many = format!("variables:\n{many}a: {{script: x}}");
    let expected = "ci.yml:10:1: the variables of job `a` take ";
    assert!(self::message(&many).starts_with(expected), "{}", self::message(&many));
}

#[test]
fn top_level() {
    refused("", "ci.yml:1:1: the file defines no job");
    refused(".hidden: {script: x}", "ci.yml:1:1: the file defines no job");
    refused("- a", "ci.yml:1:1: the file must be a mapping of jobs, found a list");
    refused("stage: [a]\na: {script: x}", "ci.yml:1:1: unknown key `stage` in the file; did you mean `stages`?");
    refused("job: text", "ci.yml:1:6: job `job` must be a mapping, found `text`");
    refused(
        "image: debian\na: {script: x}",
        "ci.yml:1:1: `image` in the file is not supported; jobs run in the agent's own environment",
    );
    refused("stages: [a, b, a]\nj: {script: x}", "ci.yml:1:16: stage `a` is listed twice");
    refused("stages: []\nj: {script: x}", "ci.yml:1:9: `stages` must not be empty");
    refused("default: {scripts: x}\nj: {script: x}", "ci.yml:1:11: unknown key `scripts` in `default`");
    refused(
        "? \"\"\n: {script: x}",
        "ci.yml:1:3: a job's name must have 1 to 255 characters and no control characters, found ``",
    );
    let jobs: String = (0..1_001).map(|i| format!("j{i}: {{script: x}}\n")).collect();
    refused(&jobs, "ci.yml:1:1: jobs: found 1001, expected at most 1000");
    let jobs: String = (0..6).map(|i| format!("j{i}: {{script: x, parallel: 200}}\n")).collect();
    refused(&jobs, "ci.yml:1:1: jobs: found 1200, expected at most 1000");
}

#[test]
fn jobs() {
    refused("a:\n  scirpt: [x]", "ci.yml:2:3: unknown key `scirpt` in job `a`; did you mean `script`?");
    refused("a: {script: x, colour: red}", "ci.yml:1:16: unknown key `colour` in job `a`");
    refused("a: {script: x, tags: [x]}", "ci.yml:1:16: `tags` in job `a` is not supported; write `resources`");
    refused("a: {stage: test}", "ci.yml:1:1: job `a` has no `script`");
    refused("a: {script: []}", "ci.yml:1:13: `script` of job `a` must not be empty");
    refused(
        "a:\n  script:\n    - echo key: value",
        "ci.yml:3:7: `script` of job `a` must be a list of commands, found a mapping; quote a command that contains a colon and a space",
    );
    refused(
        "a:\n  script:\n    -\n",
        "ci.yml:3:6: `script` of job `a` must be a command or a list of commands, found nothing",
    );
    refused(
        "stages: [build]\na: {script: x}",
        "ci.yml:2:1: job `a`: unknown stage `test`, expected one of .pre, build, .post",
    );
    refused(
        "a: {script: x, when: delayed}",
        "ci.yml:1:22: `when` of job `a` must be one of on_success, on_failure, always, manual, never, found `delayed`",
    );
    refused(
        "a: {script: x, allow_failure: perhaps}",
        "ci.yml:1:31: `allow_failure` of job `a` must be true or false, found `perhaps`",
    );
    refused(
        "a: {script: x, retry: 3}",
        "ci.yml:1:23: `retry` of job `a` must be a whole number from 0 to 2, found `3`",
    );
    refused(
        "a: {script: x, retry: {max: 1, when: script_failed}}",
        "ci.yml:1:38: `when` in `retry` of job `a` must be one of always, unknown_failure, script_failure, api_failure, stuck_or_timeout_failure, runner_system_failure, runner_unsupported, stale_schedule, job_execution_timeout, archived_failure, unmet_prerequisites, scheduler_failure, data_integrity_failure, found `script_failed`",
    );
    refused(
        "a: {script: x, timeout: soon}",
        "ci.yml:1:25: `timeout` of job `a` must be a duration from 1 second to 30 days, such as `1h 30m` or `90 minutes`, found `soon`",
    );
    refused(
        "a: {extends: .b, script: x}\n.bb: {}",
        "ci.yml:1:14: job `a` extends unknown job `.b`; did you mean `.bb`?",
    );
    refused(
        "a: {extends: .b}\n.b: {extends: .c}\n.c: {extends: .b}",
        "ci.yml:3:15: jobs extend each other in a circle: .b → .c → .b",
    );
    let chain: String = (0..15).map(|i| format!(".j{i}: {{extends: .j{}}}\n", i + 1)).collect();
    refused(
        &format!("a: {{extends: .j0}}\n{chain}.j15: {{script: x}}"),
        "ci.yml:11:16: job `a` extends over more than 10 levels",
    );
}

#[test]
fn needs_and_dependencies() {
    refused(
        "a: {script: x, needs: [bild]}\nbuild: {script: x}",
        "ci.yml:1:24: job `a`: `needs` names unknown job `bild`; did you mean `build`?",
    );
    refused("a: {script: x, needs: b}\nb: {script: x}", "ci.yml:1:23: `needs` of job `a` must be a list, found `b`");
    refused("a: {script: x, needs: [b, b]}\nb: {script: x}", "ci.yml:1:27: job `a`: `needs` names `b` twice");
    refused("a: {script: x, needs: [a]}", "ci.yml:1:1: jobs need each other in a circle: a → a");
    refused(
        "a: {script: x, needs: [c]}\nb: {script: x, needs: [a]}\nc: {script: x, needs: [b]}",
        "ci.yml:1:1: jobs need each other in a circle: a → c → b → a",
    );
    refused(
        "a: {script: x, needs: [{job: b, artefacts: false}]}\nb: {script: x}",
        "ci.yml:1:33: unknown key `artefacts` in `needs` of job `a`; did you mean `artifacts`?",
    );
    refused(
        "a: {script: x, needs: [b]}\nb: {script: x, stage: deploy}",
        "ci.yml:1:24: job `a` (stage `test`) needs `b` of the later stage `deploy`",
    );
    refused(
        "a: {script: x, dependencies: [b]}\nb: {script: x}",
        "ci.yml:1:31: job `a`: `dependencies` names `b`, which is not among the jobs it waits for",
    );
    refused(
        "a: {script: x, needs: [b]}\nb: {script: x, when: never}",
        "ci.yml:1:24: job `a` needs `b`, which its rules exclude from this pipeline; mark the need `optional: true`, or give both the same rules",
    );
}

#[test]
fn parallel() {
    refused(
        "a: {script: x, parallel: 0}",
        "ci.yml:1:26: `parallel` of job `a` must be a whole number from 1 to 200, found `0`",
    );
    refused("a: {script: x, parallel: {matrix: []}}", "ci.yml:1:35: `parallel: matrix` of job `a` must not be empty");
    refused("a: {script: x, parallel: {matrix: [{A: []}]}}", "ci.yml:1:40: matrix variable `A` must not be empty");
    refused(
        "a: {script: x, parallel: {matrix: [{A: [1, 1]}]}}",
        "ci.yml:1:1: two jobs are named `a: [1]` once `parallel` is expanded",
    );
    refused(
        "a: {script: x, parallel: 2}\n'a 1/2': {script: x}",
        "ci.yml:2:1: two jobs are named `a 1/2` once `parallel` is expanded",
    );
    let values = (0..15).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    refused(
        &format!("a: {{script: x, parallel: {{matrix: [{{A: [{values}], B: [{values}]}}]}}}}"),
        "ci.yml:1:95: jobs of `parallel: matrix` of job `a`: found 225, expected at most 200",
    );
}

#[test]
fn variables() {
    refused(
        "variables: {A-B: 1}\na: {script: x}",
        "ci.yml:1:13: variable name `A-B` must consist of letters, digits and `_`, and not start with a digit",
    );
    refused(
        "variables: {A: }\na: {script: x}",
        "ci.yml:1:14: variable `A` must be a string (`\"\"` for an empty one), found nothing",
    );
    refused("variables: {A: [1]}\na: {script: x}", "ci.yml:1:16: variable `A` must be a string, found a list");
    refused(
        "variables: {A: $B, B: $C, C: $A}\na: {script: x}",
        "ci.yml:1:16: variables refer to each other in a circle: A → B → C → A",
    );
}

#[test]
fn rules() {
    refused("a: {script: x, rules: []}", "ci.yml:1:23: `rules` of job `a` must not be empty");
    refused(
        "a: {script: x, rules: [{changes: [x]}]}",
        "ci.yml:1:25: `changes` in a rule in `rules` of job `a` is not supported",
    );
    refused(
        "a: {script: x, rules: [{if: $A = 1}]}",
        "ci.yml:1:29: condition `$A = 1`, character 4: expected `$NAME`, a quoted string, `null` or `(`",
    );
    refused(
        "a:\n  script: x\n  rules:\n    - if: $A == \"ä\" && ($B",
        "ci.yml:4:11: condition `$A == \"ä\" && ($B`, character 17: expected `)`",
    );
    refused(
        "a: {script: x, rules: [{if: $A}]}",
        "ci.yml:1:1: the pipeline has no job: the rules exclude all 1 of the file",
    );
}

#[test]
fn artifacts_and_resources() {
    refused(
        "a: {script: x, artifacts: {}}",
        "ci.yml:1:27: `artifacts` of job `a` must be a mapping with `paths`, found a mapping",
    );
    refused(
        "a: {script: x, artifacts: {paths: [ok, ../up]}}",
        "ci.yml:1:40: job `a`: artefact path `../up` has `..`, expected one inside the project directory",
    );
    refused(
        "a: {script: x, artifacts: {paths: [/etc]}}",
        "ci.yml:1:36: job `a`: artefact path `/etc` is absolute, expected one relative to the project directory",
    );
    refused(
        "a: {script: x, artifacts: {paths: ['x[']}}",
        "ci.yml:1:36: job `a`: artefact path `x[` is no glob: unclosed character class; missing ']'",
    );
    refused(
        "a: {script: x, artifacts: {paths: [a], expire_in: later}}",
        "ci.yml:1:51: `expire_in` in `artifacts` of job `a` must be `never` or a duration such as `1 week` (at most 100 years), found `later`",
    );
    refused(
        "a: {script: x, resources: {cpus: -1}}",
        "ci.yml:1:34: `cpus` in `resources` of job `a` must be cores from 0.001 to 100000 with at most three decimals, such as 0.5, found `-1`",
    );
    refused(
        "a: {script: x, resources: {mem: 4GB}}",
        "ci.yml:1:33: `mem` in `resources` of job `a` must be whole MiB, positive, such as `512MiB` or `4GiB`, found `4GB`",
    );
    refused("a: {script: x, resources: {gpu: 1}}", "ci.yml:1:28: unknown key `gpu` in `resources` of job `a`");
    refused(
        "a: {script: x, resources: {devices: [gpu, tpu]}}",
        "ci.yml:1:43: job `a`: device `tpu`: unknown kind `tpu`",
    );
}

/// Words and signs of the vocabulary, so that random files get past the parser and into the readers.
fn vocabulary() -> impl Strategy<Value = String> {
    let words = [
        "a",
        "b",
        ".c",
        "script",
        "stage",
        "stages",
        "needs",
        "rules",
        "if",
        "when",
        "parallel",
        "matrix",
        "extends",
        "variables",
        "artifacts",
        "paths",
        "retry",
        "max",
        "timeout",
        "resources",
        "cpus",
        "devices",
        "default",
        "$A",
        "${B}",
        "==",
        "=~",
        "/x/",
        "null",
        "true",
        "1h",
        "2",
        "0.5",
        "4GiB",
        "**/*",
        "..",
        "&x",
        "*x",
        "<<",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        "\"",
        "|",
        "#",
        "---",
        "!t",
        "?",
        "ä",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

fn run(text: &str) -> Result<String, SpecError> {
    let predefined = Variables::from([("A".to_owned(), "/x/".to_owned())]);
    let context = Context { predefined, given: Variables::new() };
    Ok(PipelineFile::parse("x", text)?.expand(&context, &|_| Ok(()))?.to_string())
}

/// A problem must lie in the file, so that an editor can jump to it.
fn check_place(text: &str) {
    if let Err(error) = run(text) {
        assert!(error.at.line >= 1 && error.at.column >= 1, "{error}");
        let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
        assert!(error.at.line <= lines, "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        check_place(&text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check_place(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_words_are_read_or_refused(text in vocabulary()) {
        check_place(&text);
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(key in prop::sample::select(JOB), value in vocabulary()) {
        check_place(&format!("a:\n  {key}: {value}\n"));
        check_place(&format!("a:\n  script: x\n  {key}: [{value}]\n"));
        check_place(&format!("a:\n  script: x\n  {key}: {{{value}}}\n"));
        check_place(&format!("a: {{script: x, rules: [{{if: '{value}'}}]}}"));
    }
}
