use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AttributeConstraint, ConstraintError, OfferConstraints, Pattern, Predicate, Subject, Traits};
use crate::model::{Attribute, Domain};

fn holds(of: Subject, predicate: Predicate) -> bool {
    let attributes: BTreeMap<Arc<str>, Attribute> = [
        ("rack", Attribute::text("r7")),
        ("slots", Attribute::Int(4)),
        ("driver", Attribute::parse("550.54.15")),
        ("ssd", Attribute::Bool(true)),
    ]
    .map(|(name, value)| (Arc::from(name), value))
    .into();
    let domain = Domain::new("eu", "eu-1").unwrap();
    let agent = Traits { host_name: "h1.example", domain: Some(&domain), attributes: &attributes };
    AttributeConstraint { of, predicate }.holds(agent)
}

fn named(name: &str) -> Subject {
    Subject::attribute(name).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

#[test]
fn existence_asks_for_the_name_alone() {
    assert!(holds(named("rack"), Predicate::Exists) && !holds(named("rack"), Predicate::NotExists));
    assert!(!holds(named("row"), Predicate::Exists) && holds(named("row"), Predicate::NotExists));
}

#[test]
fn equality_compares_the_text_and_what_is_absent_differs_from_every_text() {
    assert!(holds(named("rack"), Predicate::equals("r7").unwrap()));
    assert!(!holds(named("rack"), Predicate::equals("r").unwrap()));
    assert!(!holds(named("row"), Predicate::equals("r7").unwrap()));
    assert!(!holds(named("rack"), Predicate::differs("r7").unwrap()));
    assert!(holds(named("row"), Predicate::differs("r7").unwrap()));
}

#[test]
fn an_expression_has_to_match_all_of_the_text() {
    assert!(holds(named("rack"), Predicate::TextMatches(pattern("r[0-9]"))));
    assert!(!holds(named("rack"), Predicate::TextMatches(pattern("r"))));
    assert!(!holds(named("rack"), Predicate::TextMatches(pattern("a|r"))));
    assert!(holds(named("rack"), Predicate::TextNotMatches(pattern("r"))));
    assert!(holds(named("row"), Predicate::TextNotMatches(pattern(".*"))));
    assert!(!holds(named("row"), Predicate::TextMatches(pattern(".*"))));
}

#[test]
fn a_number_is_no_text_and_meets_what_is_asked_of_texts_as_in_mesos() {
    for predicate in [
        Predicate::equals("5").unwrap(),
        Predicate::differs("4").unwrap(),
        Predicate::TextMatches(pattern("x")),
        Predicate::TextNotMatches(pattern("4")),
    ] {
        assert!(holds(named("slots"), predicate));
    }
    assert!(holds(named("driver"), Predicate::equals("550.54.15").unwrap()));
    assert!(!holds(named("driver"), Predicate::equals("550").unwrap()));
    assert!(holds(named("ssd"), Predicate::equals("true").unwrap()));
}

#[test]
fn the_machines_name_region_and_zone_are_attributes_too() {
    assert!(holds(Subject::HostName, Predicate::TextMatches(pattern(r"h\d\.example"))));
    assert!(holds(Subject::Region, Predicate::equals("eu").unwrap()));
    assert!(holds(Subject::Zone, Predicate::differs("eu-2").unwrap()));
}

#[test]
fn an_agent_that_was_not_told_where_it_stands_has_no_region() {
    let nowhere = Traits { host_name: "h", domain: None, attributes: &BTreeMap::new() };
    assert!(!AttributeConstraint { of: Subject::Region, predicate: Predicate::Exists }.holds(nowhere));
}

#[test]
fn expressions_that_are_none_or_cost_too_much_are_refused() {
    for text in ["(", "a)(b", "*", "[z-a]", r"(?P<>x)"] {
        let refused = Pattern::new(text).unwrap_err();
        assert!(matches!(refused, ConstraintError::Regex { .. }), "{text}: {refused}");
        assert!(refused.to_string().lines().count() == 1, "{refused}");
    }
    let costly = Pattern::new(r"\w{1000}").unwrap_err();
    assert!(matches!(costly, ConstraintError::Costly { .. }), "{costly}");
    assert!(Pattern::new(&format!("{}x{}", "(".repeat(40), ")".repeat(40))).is_err());
    assert_eq!(Pattern::new(&"a".repeat(257)).unwrap_err(), ConstraintError::Length { limit: 256, got: 257 });
    assert_eq!(Pattern::new("").unwrap_err(), ConstraintError::Length { limit: 256, got: 0 });
    for text in [r"rack-[0-9]{1,3}", r"(gpu|cpu)-node-\d+\.example\.org", ".*", r"\w+"] {
        assert!(Pattern::new(text).is_ok(), "{text}");
    }
}

#[test]
fn too_many_constraints_and_groups_without_any_are_refused() {
    let one = || AttributeConstraint { of: Subject::Zone, predicate: Predicate::Exists };
    assert_eq!(OfferConstraints::any_of(vec![vec![one()], vec![]]), Err(ConstraintError::EmptyGroup(1)));
    let many = OfferConstraints::any_of((0..65).map(|_| vec![one()]).collect());
    assert_eq!(many, Err(ConstraintError::TooMany { what: "groups", limit: 64, got: 65 }));
    let many = OfferConstraints::any_of(vec![(0..257).map(|_| one()).collect()]);
    assert_eq!(many, Err(ConstraintError::TooMany { what: "constraints", limit: 256, got: 257 }));
    assert!(Subject::attribute("").is_err() && Predicate::equals("").is_err());
}
