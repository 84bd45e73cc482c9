use crate::model::{OfferMode, TaskState};
use crate::testing::{Market, shape};

/// `x` holds the only T4 there is; `y` holds most of the cpus, and so the larger dominant share. Both wait for a T4.
fn market() -> Market {
    let mut market = Market::new();
    market.agent_with_gpus("g", "cpus:8;mem:8192", &["T4"]).agent("c", "cpus:64;mem:65536");
    market.framework_with("x", &["x"], OfferMode::Exclusive).launch_with("x", "g", "x1", "cpus:1", &["gpu"]);
    market.decline("x", "c", 1).framework_with("y", &["y"], OfferMode::Exclusive).launch("y", "c", "y1", "cpus:60");
    for name in ["x", "y"] {
        market.demand(name, vec![shape("s", "cpus:1", &["gpu: model == T4"], 1)]);
    }
    market.lines();
    market
}

#[test]
fn who_holds_fewest_of_a_class_comes_first_for_it_whatever_else_it_holds() {
    let mut market = market();
    market.agent_with_gpus("h", "cpus:4;mem:4096", &["T4"]);
    assert!(market.has_offer("y", "h") && !market.has_offer("x", "h"));
}

#[test]
fn another_class_has_another_order() {
    let mut market = market();
    for name in ["x", "y"] {
        market.demand(name, vec![shape("s", "cpus:1", &["gpu: model == H100"], 1)]);
    }
    market.agent_with_gpus("h", "cpus:4;mem:4096", &["H100"]);
    // Of it they hold the same, nothing; who began to wait first comes first.
    assert!(market.has_offer("x", "h") && !market.has_offer("y", "h"));
}

#[test]
fn weights_count_for_classes_too() {
    let mut market = market();
    let weight = |role: &str| crate::master::Command::SetWeight {
        role: crate::model::Role::new(role).expect("a role"),
        weight_milli: 3000,
    };
    market.operator(weight("y"));
    for (agent, task) in [("h", "y2"), ("i", "y3")] {
        market.agent_with_gpus(agent, "cpus:1;mem:1024", &["T4"]).launch_with("y", agent, task, "cpus:1", &["gpu"]);
        market.demand("y", vec![shape("s", "cpus:1", &["gpu: model == T4"], 1)]);
    }
    // A third of two is less than one.
    market.agent_with_gpus("j", "cpus:1;mem:1024", &["T4"]);
    assert!(market.has_offer("y", "j") && !market.has_offer("x", "j"));
}

#[test]
fn what_was_given_back_counts_no_more() {
    let mut market = market();
    market.demand("x", Vec::new()).demand("y", Vec::new());
    market.update("g", "x", "x1", TaskState::Finished).acknowledge("x");
    for name in ["x", "y"] {
        market.demand(name, vec![shape("s", "cpus:1", &["gpu: model == T4"], 1)]);
    }
    // Neither holds one, so who began to wait first comes first.
    market.cleaned("g", "g-0", 1);
    assert!(market.has_offer("x", "g") && !market.has_offer("y", "g"));
}

#[test]
fn what_an_exclusive_offer_locks_counts_while_it_stands() {
    let mut market = Market::new();
    for name in ["x", "y"] {
        market.framework_with(name, &[name], OfferMode::Exclusive);
        market.demand(name, vec![shape("s", "cpus:1", &["gpu: model == T4"], 2)]);
    }
    market.agent_with_gpus("g", "cpus:1;mem:1024", &["T4"]).agent_with_gpus("h", "cpus:1;mem:1024", &["T4"]);
    assert!(market.has_offer("x", "g") && market.has_offer("y", "h"), "x has been offered one before y was");
    market.decline("x", "g", 600);
    assert!(market.has_offer("y", "g"), "nobody else wants it");
    market.agent_with_gpus("i", "cpus:1;mem:1024", &["T4"]);
    assert!(market.has_offer("x", "i"), "x has given its own back");
}
