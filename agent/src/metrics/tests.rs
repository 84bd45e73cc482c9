use super::*;

fn row(task: &str, cpu_us: u64) -> Row {
    let stats = Stats { cpu_us: Some(cpu_us), pids: Some(2), ..Stats::default() };
    Row { framework: "F1-1".to_owned(), task: task.to_owned(), stats, devices: [("gpu".into(), 1)].into() }
}

#[test]
fn a_task_has_a_series_of_each_figure_that_is_known() {
    let text = render(&[row("a", 1_500_000)]);
    assert!(text.contains("rialto_task_cpu_seconds_total{framework=\"F1-1\",task=\"a\"} 1.5\n"), "{text}");
    assert!(text.contains("rialto_task_devices{framework=\"F1-1\",task=\"a\",kind=\"gpu\"} 1\n"), "{text}");
    assert!(text.contains("# TYPE rialto_task_memory_bytes gauge\n"), "{text}");
    assert!(!text.contains("rialto_task_memory_bytes{"), "what is not known has no series: {text}");
}

#[test]
fn tasks_beyond_the_bound_are_one_series() {
    let rows: Vec<Row> = (0..MAX_TASKS + 3).map(|number| row(&format!("t{number:05}"), 1_000_000)).collect();
    let text = render(&rows);
    let series = text.lines().filter(|line| line.starts_with("rialto_task_cpu_seconds_total{")).count();
    assert_eq!(series, MAX_TASKS + 1);
    assert!(text.contains("rialto_task_cpu_seconds_total{framework=\"\",task=\"others\"} 3\n"), "{text}");
    assert!(text.contains("rialto_task_devices{framework=\"\",task=\"others\",kind=\"gpu\"} 3\n"), "{text}");
}

#[test]
fn labels_are_escaped() {
    let text = render(&[row("a\"b\\c", 0)]);
    assert!(text.contains("task=\"a\\\"b\\\\c\""), "{text}");
}
