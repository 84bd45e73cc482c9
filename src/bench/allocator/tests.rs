use super::*;

fn run(shape: AllocatorShape, optimistic: bool) -> serde_json::Value {
    let args = BenchAllocator { agents: 20, frameworks: 4, shape, optimistic, json: true };
    let mut run = Run::new(&args);
    run.whole_rounds();
    run.refuse();
    run.events();
    let sizes = Sizes { framework: 1, agent: 1, offer: 1 };
    let figures = Figures::of(&run, sizes).expect("the machine can be described");
    serde_json::to_value(figures).expect("figures are JSON")
}

#[test]
fn every_shape_offers_every_agent_and_measures_every_event() {
    use AllocatorShape::{Add, Decline, Labels, OfferAll, Quota, Suppress, Update, Volumes};
    for shape in [Add, Update, OfferAll, Decline, Suppress, Labels, Quota, Volumes] {
        let figures = run(shape, false);
        let offers = figures["offers"].as_u64().expect("a number");
        let all = if shape == Quota { 1 } else { 20 };
        assert!(offers >= all, "{shape:?}: {figures}");
        for event in ["decline", "agent_added", "task_finished"] {
            assert!(
                figures["event_us"][event]["p50"].as_f64().is_some_and(|us| us > 0.0),
                "{shape:?} {event}: {figures}"
            );
        }
        assert!(figures["round_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{shape:?}: {figures}");
    }
}

#[test]
fn everything_is_refused_by_everybody_before_nothing_changes() {
    let figures = run(AllocatorShape::Decline, false);
    assert_eq!(figures["refusals"], 20 * 4);
}

#[test]
fn optimistic_offers_are_made_to_several_at_once() {
    let figures = run(AllocatorShape::OfferAll, true);
    assert_eq!(figures["offers"], 20 * 4, "{figures}");
}

#[test]
fn the_figures_of_mesos_stand_beside_the_same_shape() {
    assert_eq!(mesos::round_ms(AllocatorShape::Add, 10_000, 50), Some(1_051.0));
    assert_eq!(mesos::round_ms(AllocatorShape::Add, 10_000, 51), None);
}
