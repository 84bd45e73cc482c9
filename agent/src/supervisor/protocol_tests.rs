use super::*;

fn spec(change: impl FnOnce(&mut TaskSpec)) -> Spec {
    let mut task = TaskSpec {
        name: "a".to_owned(),
        command: CommandLine::Argv(vec!["true".to_owned()]),
        env: vec![],
        sandbox: "/sandbox".into(),
        grace_ms: 0,
        max_run_ms: None,
        logs: LogLimits { file_bytes: 1, keep: 0 },
        user: None,
        cgroup: None,
        devices: Vec::new(),
        edits: Default::default(),
        working_dir: None,
        rlimits: Vec::new(),
        check: None,
    };
    change(&mut task);
    Spec { version: VERSION, durability: Durability::default(), container: None, tasks: vec![task] }
}

fn refusal(change: impl FnOnce(&mut TaskSpec)) -> String {
    spec(change).validate().expect_err("refused").to_string()
}

#[test]
fn a_plain_spec_is_accepted() {
    assert_eq!(spec(|_| ()).validate(), Ok(()));
    assert_eq!(spec(|task| task.name = "x".repeat(MAX_NAME_BYTES)).validate(), Ok(()));
}

#[test]
fn refusals_name_the_field() {
    for name in ["", ".", "a/b", "a b", "größe", &"x".repeat(MAX_NAME_BYTES + 1)] {
        let message = refusal(|task| task.name = name.to_owned());
        assert!(message.starts_with(&format!("task {name:?}: name: expected")), "{message}");
    }
    let argv = |argv: &[&str]| {
        refusal(|task| task.command = CommandLine::Argv(argv.iter().map(|&word| word.into()).collect()))
    };
    assert_eq!(argv(&[]), r#"task "a": command.argv: expected at least the program"#);
    assert_eq!(argv(&["", "x"]), r#"task "a": command.argv: expected at least the program"#);
    for key in ["", "A=B", "A\0"] {
        let message = refusal(|task| task.env.push((key.to_owned(), String::new())));
        assert_eq!(message, r#"task "a": env: expected names without '=' and not empty"#);
    }
    assert_eq!(refusal(|task| task.sandbox = "x".into()), r#"task "a": sandbox: expected an absolute path"#);
    assert_eq!(refusal(|task| task.logs.file_bytes = 0), r#"task "a": logs.file_bytes: expected more than 0"#);
    assert_eq!(refusal(|task| task.logs.keep = 101), r#"task "a": logs.keep: expected at most 100"#);
}

#[test]
fn a_group_has_a_size_and_different_names() {
    let one = spec(|_| ());
    let group = |tasks| Spec { tasks, ..one.clone() }.validate().map_err(|error| error.to_string());
    assert_eq!(group(vec![]), Err("tasks: expected 1 to 64, found 0".to_owned()));
    assert_eq!(group(vec![one.tasks[0].clone(); 65]), Err("tasks: expected 1 to 64, found 65".to_owned()));
    let twice = vec![one.tasks[0].clone(); 2];
    assert_eq!(group(twice), Err(r#"task "a": name: expected to be unique in the group"#.to_owned()));
}

#[test]
fn another_version_is_refused() {
    let spec = Spec { version: 2, ..spec(|_| ()) };
    assert_eq!(spec.validate(), Err(SpecError::Version(2)));
}

#[test]
fn the_file_is_as_it_always_was() {
    let golden = concat!(
        r#"{"version":1,"durability":"power_loss","tasks":[{"name":"a","command":{"argv":["true"]},"env":[["A","1"]],"#,
        r#""sandbox":"/sandbox","grace_ms":0,"max_run_ms":null,"logs":{"file_bytes":1,"keep":0},"user":null}]}"#
    );
    let spec = spec(|task| task.env.push(("A".to_owned(), "1".to_owned())));
    assert_eq!(serde_json::to_string(&spec).expect("json"), golden);
    assert_eq!(serde_json::from_str::<Spec>(golden).expect("a spec"), spec);
}
