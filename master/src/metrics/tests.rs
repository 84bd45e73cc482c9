use rialto_core::allocator::conduct::Ledger;
use rialto_core::model::{FrameworkId, PriceClass, Role, Term};

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
    census.prices.push((PriceKey::new("G2", PriceClass::Spot, None).unwrap(), Price(350_000)));
    census.add(&ResourceName::Mem, 0, Milli::from_whole(2));
    census.add(&ResourceName::Cpus, 1, Milli(1500));
    let text = render(&metrics, &status, &census, &survey(), 3, 5).unwrap();
    for line in [
        "rialto_master_store_commit_seconds_count 1",
        "rialto_master_store_batch_records_sum 7.0",
        "rialto_master_messages_refused_total 1",
        "rialto_master_connections{side=\"agent\"} 2",
        "rialto_master_agents{status=\"active\"} 2",
        "rialto_master_offers 4",
        "rialto_master_price{pool=\"G2\",class=\"spot\",region=\"\"} 0.35",
        "rialto_master_price_changes_total 0",
        "rialto_master_core_inbox 3",
        "rialto_master_view_lag_changes 5",
        "rialto_master_resources_bytes{resource=\"mem\",side=\"total\"} 2097152.0",
        "rialto_master_resources{resource=\"cpus\",side=\"allocated\"} 1.5",
        "rialto_master_tasks_launched_total 0",
        "rialto_master_offers_hoarded{framework=\"F1-1\",role=\"eng\",resource=\"cpus\"} 40.0",
        "rialto_master_framework_declines{framework=\"F1-1\",role=\"eng\",reason=\"too small\"} 2",
        "rialto_master_offers_idle_seconds{framework=\"F1-1\",role=\"eng\"} 1.5",
        "rialto_master_demand_starved_seconds{framework=\"F1-1\",role=\"eng\"} 7.0",
        "rialto_master_demand_age_seconds{framework=\"others\",role=\"others\"} 3.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(text.lines().filter(|line| line.starts_with("rialto_master_demand_age_seconds")).count(), 101);
}

/// One framework that hoards and is starved, and two hundred that only wait.
fn survey() -> Vec<Conduct> {
    let row = |number: u64| Conduct {
        framework: FrameworkId::new(Term(1), number),
        name: "ci".into(),
        role: Role::new("eng").unwrap(),
        ledger: Ledger::default(),
        demand_age: Some(Duration::from_secs(3)),
        starved: None,
    };
    let mut first = row(1);
    first.ledger.hoarded.set(&ResourceName::Cpus, Milli::from_whole(40));
    first.ledger.idle = Duration::from_millis(1500);
    (0..2).for_each(|_| first.ledger.declined(Some(&"too small".into())));
    first.starved = Some(Duration::from_secs(7));
    std::iter::once(first).chain((2..=201).map(row)).collect()
}
