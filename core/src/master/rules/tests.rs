use crate::allocator::explain::Outlook;
use crate::master::Config;
use crate::model::{Least, OfferMode, OfferRules, Role};
use crate::testing::{Market, constraints, least, shape};

fn near(region: &str) -> Market {
    Market::with(Config { domain: Some(format!("{region}/z1").parse().unwrap()), ..Config::default() })
}

fn at_least(text: &str) -> Market {
    Market::with(Config { least: text.parse().unwrap(), ..Config::default() })
}

#[test]
fn only_agents_that_the_constraints_admit_are_offered() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]).agent_like("b", "cpus:4", &[("rack", "r2")]);
    market.agent("c", "cpus:4");
    market.framework_asking("picky", "*", constraints("*", "rack == r1"));
    assert_eq!(market.on_offer("picky"), ["a cpus:4"]);
    market.framework_asking("wary", "*", constraints("*", "rack not_exists || rack =~ r[2-9]"));
    assert_eq!(market.on_offer("wary"), ["b cpus:4", "c cpus:4"]);
    market.framework("easy", "*");
    assert_eq!(market.on_offer("easy").len(), 3);
}

#[test]
fn an_agent_is_judged_anew_when_its_attributes_change() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]);
    market.framework_asking("picky", "*", constraints("*", "rack == r1 && @hostname == a"));
    assert_eq!(market.on_offer("picky"), ["a cpus:4"]);
    market.becomes("a", &[("rack", "r2")]);
    assert!(market.on_offer("picky").is_empty());
    market.becomes("a", &[("rack", "r1")]);
    assert_eq!(market.on_offer("picky"), ["a cpus:4"]);
}

#[test]
fn a_framework_changes_its_constraints_and_optimistic_offers_follow() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]).agent_like("b", "cpus:4", &[("rack", "r2")]);
    market.framework("f", "*").lines();
    market.rules("f", constraints("*", "rack == r2"));
    assert_eq!(market.on_offer("f"), ["b cpus:4"]);
    market.rules("f", OfferRules::default());
    assert_eq!(market.on_offer("f"), ["a cpus:4", "b cpus:4"]);
}

#[test]
fn exclusive_offers_that_stand_are_left_and_only_new_ones_are_constrained() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]);
    market.framework_with("f", &["*"], OfferMode::Exclusive);
    market.rules("f", constraints("*", "rack == r2"));
    assert_eq!(market.on_offer("f"), ["a cpus:4"]);
    market.decline("f", "a", 0).wait(std::time::Duration::from_secs(1));
    assert!(market.on_offer("f").is_empty());
}

#[test]
fn constraints_are_by_role() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]);
    market.framework_with("f", &["x", "y"], OfferMode::Optimistic).rules("f", constraints("x", "rack == r2"));
    let offers: Vec<String> = (0..1).map(|_| market.offer_of("f", "a").role.to_string()).collect();
    assert_eq!(offers, ["y"]);
}

#[test]
fn rules_for_a_role_that_is_not_the_frameworks_are_refused_by_name() {
    let mut market = Market::new();
    market.framework("f", "x").lines();
    market.rules("f", constraints("y", "rack exists"));
    market.expect("rejected rules.constraints: expected roles of the framework, got y, which is none of them -> f");
    market.rules("f", least("y", "cpus:1"));
    market.expect("rejected rules.least: expected roles of the framework, got y, which is none of them -> f");
    market.framework_asking("g", "x", constraints("y", "rack exists"));
    assert!(market.lines().contains(&"error invalid -> g".to_owned()));
}

#[test]
fn constraints_outlive_the_master() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]).framework("f", "*");
    market.rules("f", constraints("*", "rack == r2"));
    let record = market.registry().frameworks.values().next().unwrap();
    assert_eq!(*record.info.rules, constraints("*", "rack == r2"));
    market.failover().register("a").subscribe("f");
    assert!(market.on_offer("f").is_empty());
}

#[test]
fn why_names_the_constraints_that_keep_agents_out() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]).agent("b", "cpus:4");
    market.framework_asking("f", "*", constraints("*", "rack == r2 && ssd exists || rack == r3"));
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    let why = market.why("f", "s").join("\n");
    assert!(why.contains("2 of 2 agents: kept out by the framework's offer constraints: not rack == \"r3\""), "{why}");
    assert_eq!(market.wait_of("f", "s").ready, 0);
}

#[test]
fn a_remnant_below_the_masters_least_is_offered_only_to_a_demand_that_it_fits() {
    let mut market = at_least("cpus:2;mem:100|mem:1000");
    market.agent("a", "cpus:4;mem:512").framework("f", "*").launch("f", "a", "t1", "cpus:2.5;mem:12");
    assert!(market.on_offer("f").is_empty());
    market.demand("f", vec![shape("s", "cpus:1", &[], 1)]);
    assert_eq!(market.on_offer("f"), ["a cpus:1.5 mem:500"]);
}

#[test]
fn a_framework_says_itself_how_small_its_offers_may_be() {
    let mut market = at_least("cpus:2");
    market.agent("a", "cpus:1;mem:64");
    market.framework_asking("small", "*", least("*", "cpus:0.5"));
    assert_eq!(market.on_offer("small"), ["a cpus:1 mem:64"]);
    market.framework_asking("large", "*", least("*", "cpus:3"));
    market.demand("large", vec![shape("s", "cpus:1", &[], 1)]);
    assert!(market.on_offer("large").is_empty());
    let why = market.why("large", "s").join("\n");
    assert!(why.contains("less is free than the framework takes at least: cpus:3"), "{why}");
    market.rules("large", OfferRules::default());
    assert_eq!(market.on_offer("large"), ["a cpus:1 mem:64"]);
}

#[test]
fn what_is_usually_too_little_is_offered_to_who_takes_anything() {
    let mut market = Market::new();
    market.agent("a", "disk:100;ports:[1000-1009]").agent("b", "ports:[1-9]").framework("f", "*");
    assert!(market.on_offer("f").is_empty());
    market.rules("f", least("*", "ports:10"));
    assert_eq!(market.on_offer("f"), ["a disk:100 ports:[1000-1009]"]);
    let anything = OfferRules { least: [(Role::any(), Least::default())].into(), ..OfferRules::default() };
    market.rules("f", anything);
    assert_eq!(market.on_offer("f").len(), 2);
}

#[test]
fn a_demand_for_what_is_usually_too_little_is_met() {
    let mut market = Market::new();
    market.agent("a", "cpus:4;mem:512;disk:100").framework("f", "*").launch("f", "a", "t1", "cpus:4;mem:512");
    market.demand("f", vec![shape("s", "disk:50", &[], 1)]);
    assert_eq!(market.on_offer("f"), ["a disk:100"]);
}

#[test]
fn a_device_counts_towards_the_least_that_names_it() {
    let mut market = Market::new();
    market.agent_with_gpus("a", "cpus:1;mem:64", &["T4"]).agent("b", "cpus:1;mem:64");
    for text in ["device/gpu:1", "device/gpu/T4:1", "gpus:1"] {
        market.framework_asking(text, "*", least("*", text));
        assert_eq!(market.on_offer(text).len(), 1, "{text}");
    }
    market.framework_asking("two", "*", least("*", "device/gpu:2"));
    assert!(market.on_offer("two").is_empty());
}

#[test]
fn agents_of_another_region_are_offered_to_those_who_ask_for_them() {
    let mut market = near("eu");
    market.agent_in("a", "cpus:1", "eu/z2").agent_in("b", "cpus:2", "us/z1").agent("c", "cpus:3");
    market.framework("f", "*");
    assert_eq!(market.on_offer("f"), ["a cpus:1", "c cpus:3"]);
    market.demand("f", vec![shape("s", "cpus:2", &[], 2)]);
    let why = market.why("f", "s").join("\n");
    assert!(
        why.contains("1 of 3 agents: in region us; the framework takes offers of the master's region only"),
        "{why}"
    );
    market.takes_all_regions("f");
    assert!(market.on_offer("f").contains(&"b cpus:2".to_owned()));
}

#[test]
fn a_master_that_was_not_told_where_it_stands_takes_every_agent_as_near() {
    let mut market = Market::new();
    market.agent_in("a", "cpus:1", "eu/z1").agent_in("b", "cpus:2", "us/z1").framework("f", "*");
    assert_eq!(market.on_offer("f").len(), 2);
}

#[test]
fn offers_name_region_and_zone_and_selectors_and_constraints_use_them() {
    let mut market = near("eu");
    market.agent_in("a", "cpus:1", "eu/z1").agent_in("b", "cpus:1", "eu/z2");
    market.framework_asking("f", "*", constraints("*", "@zone != z1"));
    assert_eq!(market.offer_of("f", "b").info.domain.as_ref().map(ToString::to_string), Some("eu/z2".to_owned()));
    assert_eq!(market.on_offer("f"), ["b cpus:1"]);
    market.framework("g", "*");
    let mut wanted = shape("s", "cpus:1", &[], 1);
    wanted.constraint = "region == eu && zone == z1".parse().unwrap();
    market.demand("g", vec![wanted]);
    assert_eq!(market.on_offer("g"), ["a cpus:1"]);
}

#[test]
fn nothing_is_preempted_on_an_agent_that_the_demand_takes_no_offers_of() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:1", &[("rack", "r1")]).framework("low", "*").launch("low", "a", "t1", "cpus:1");
    market.framework_asking("high", "*", constraints("*", "rack == r2")).lines();
    market.waits_for("high", 5, "cpus:1", 1).wait(std::time::Duration::from_secs(10));
    assert!(!market.lines().iter().any(|line| line.starts_with("preempt")));
    market.rules("high", OfferRules::default()).wait(std::time::Duration::from_secs(10));
    assert!(market.lines().contains(&"preempt low/t1 on a".to_owned()));
}

#[test]
fn what_no_admitted_agent_can_hold_never_fits() {
    let mut market = Market::new();
    market.agent_like("a", "cpus:4", &[("rack", "r1")]).agent_like("b", "cpus:8", &[("rack", "r2")]);
    market.framework_asking("picky", "*", constraints("*", "rack == r1"));
    market.demand("picky", vec![shape("wide", "cpus:6", &[], 1)]);
    assert_eq!(market.wait_of("picky", "wide").outlook, Outlook::Hopeless, "b is large enough and not admitted");
    let told = market.wait_of("picky", "wide").summary(3);
    assert!(told.contains("never fits") && told.contains("rack"), "{told}");
    market.becomes("b", &[("rack", "r1")]);
    assert_eq!(market.wait_of("picky", "wide").outlook, Outlook::Possible);
    market.becomes("b", &[("rack", "r3")]);
    assert_eq!(market.wait_of("picky", "wide").outlook, Outlook::Hopeless);
    market.rules("picky", OfferRules::default());
    assert_eq!(market.wait_of("picky", "wide").outlook, Outlook::Possible);
    assert!(market.master.view().frameworks.values().all(|framework| framework.hopeless.iter().all(|is| !is)));
}

#[test]
fn what_only_another_region_could_hold_never_fits_at_home() {
    let mut market = near("eu");
    market.agent_in("a", "cpus:4", "eu/z1").agent_in("b", "cpus:8", "us/z1").framework("f", "*");
    market.demand("f", vec![shape("wide", "cpus:6", &[], 1)]);
    assert_eq!(market.wait_of("f", "wide").outlook, Outlook::Hopeless);
    market.takes_all_regions("f");
    assert_eq!(market.wait_of("f", "wide").outlook, Outlook::Possible);
}
