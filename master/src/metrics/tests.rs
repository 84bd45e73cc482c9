use super::*;

#[test]
fn the_text_has_units_and_ends_as_it_must() {
    let metrics = Metrics::default();
    metrics.committed(Duration::from_millis(3), 7);
    metrics.turned(12);
    metrics.refused();
    let status = Status { agent_connections: 2, ..Status::default() };
    let mut census = Census { offers: 4, ..Census::default() };
    census.agents.insert("active", 2);
    census.add(&ResourceName::Mem, 0, Milli::from_whole(2));
    census.add(&ResourceName::Cpus, 1, Milli(1500));
    let text = render(&metrics, &status, &census, 3, 5).unwrap();
    for line in [
        "rialto_master_store_commit_seconds_count 1",
        "rialto_master_store_batch_records_sum 7.0",
        "rialto_master_messages_refused_total 1",
        "rialto_master_connections{side=\"agent\"} 2",
        "rialto_master_agents{status=\"active\"} 2",
        "rialto_master_offers 4",
        "rialto_master_core_inbox 3",
        "rialto_master_view_lag_changes 5",
        "rialto_master_resources_bytes{resource=\"mem\",side=\"total\"} 2097152.0",
        "rialto_master_resources{resource=\"cpus\",side=\"allocated\"} 1.5",
        "rialto_master_tasks_launched_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}
