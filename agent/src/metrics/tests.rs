use super::*;

fn row(task: &str, cpu_us: u64) -> Row {
    let stats = Stats { cpu_us: Some(cpu_us), pids: Some(2), ..Stats::default() };
    Row {
        framework: "F1-1".to_owned(),
        task: task.to_owned(),
        stats,
        devices: [("gpu".into(), 1)].into(),
        held: vec![DeviceId::new("gpu-0")],
    }
}

#[test]
fn a_task_has_a_series_of_each_figure_that_is_known() {
    let text = render(&[row("a", 1_500_000)], &BTreeMap::new());
    assert!(text.contains("rialto_task_cpu_seconds_total{framework=\"F1-1\",task=\"a\"} 1.5\n"), "{text}");
    assert!(text.contains("rialto_task_devices{framework=\"F1-1\",task=\"a\",kind=\"gpu\"} 1\n"), "{text}");
    assert!(text.contains("# TYPE rialto_task_memory_bytes gauge\n"), "{text}");
    assert!(!text.contains("rialto_task_memory_bytes{"), "what is not known has no series: {text}");
}

#[test]
fn tasks_beyond_the_bound_are_one_series() {
    let rows: Vec<Row> = (0..MAX_TASKS + 3).map(|number| row(&format!("t{number:05}"), 1_000_000)).collect();
    let text = render(&rows, &BTreeMap::new());
    let series = text.lines().filter(|line| line.starts_with("rialto_task_cpu_seconds_total{")).count();
    assert_eq!(series, MAX_TASKS + 1);
    assert!(text.contains("rialto_task_cpu_seconds_total{framework=\"\",task=\"others\"} 3\n"), "{text}");
    assert!(text.contains("rialto_task_devices{framework=\"\",task=\"others\",kind=\"gpu\"} 3\n"), "{text}");
}

#[test]
fn labels_are_escaped() {
    let text = render(&[row("a\"b\\c", 0)], &BTreeMap::new());
    assert!(text.contains("task=\"a\\\"b\\\\c\""), "{text}");
}

#[test]
fn a_device_has_its_figures_and_its_holder() {
    let figures = BTreeMap::from([(DeviceId::new("gpu-0"), Figures::from([("used_bytes".to_owned(), 12.5)]))]);
    let text = render(&[row("a", 0)], &figures);
    assert!(text.contains("rialto_device_figure{device=\"gpu-0\",figure=\"used_bytes\"} 12.5\n"), "{text}");
    assert!(text.contains("rialto_task_holds{framework=\"F1-1\",task=\"a\",device=\"gpu-0\"} 1\n"), "{text}");
}
