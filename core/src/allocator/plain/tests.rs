use super::resolve;
use crate::model::Resources;
use crate::testing::{refined, reserved, volume};

fn text(resources: &str) -> Resources {
    resources.parse().expect("resources")
}

fn sum(parts: &[&Resources]) -> Resources {
    parts.iter().fold(Resources::new(), |sum, part| sum.plus(part))
}

#[test]
fn what_is_reserved_most_narrowly_is_used_first() {
    let (wide, narrow) = (reserved("eng", "cpus:2"), refined("eng/ci", &reserved("eng", "cpus:1")));
    let there = sum(&[&text("cpus:4"), &wide, &narrow]);
    let resolved = resolve(&text("cpus:4"), &there, &there, &Resources::new());
    assert_eq!(resolved, sum(&[&text("cpus:1"), &wide, &narrow]));
}

#[test]
fn only_what_is_both_offered_and_free_is_used() {
    let offered = sum(&[&text("cpus:4"), &reserved("eng", "cpus:3")]);
    let free = sum(&[&text("cpus:4"), &reserved("eng", "cpus:1")]);
    let resolved = resolve(&text("cpus:2"), &offered, &free, &Resources::new());
    assert_eq!(resolved, sum(&[&text("cpus:1"), &reserved("eng", "cpus:1")]));
}

#[test]
fn ports_are_taken_from_where_they_are() {
    let there = sum(&[&text("ports:[1-4]"), &reserved("eng", "ports:[5-9]")]);
    let resolved = resolve(&text("ports:[4-5]"), &there, &there, &Resources::new());
    assert_eq!(resolved, sum(&[&text("ports:[4]"), &reserved("eng", "ports:[5]")]));
}

#[test]
fn what_others_name_is_used_last() {
    let two = reserved("eng", "cpus:2");
    let there = sum(&[&text("cpus:1"), &two]);
    assert_eq!(resolve(&text("cpus:1"), &there, &there, &two), text("cpus:1"));
    assert_eq!(resolve(&text("cpus:2"), &there, &there, &two), sum(&[&text("cpus:1"), &reserved("eng", "cpus:1")]));
}

#[test]
fn volumes_are_for_those_who_name_them() {
    let there = sum(&[&text("disk:1"), &volume("data", &reserved("eng", "disk:5"))]);
    assert_eq!(resolve(&text("disk:2"), &there, &there, &Resources::new()), text("disk:2"));
}

#[test]
fn what_is_not_there_stays_as_it_was_asked_for() {
    let there = sum(&[&text("cpus:1"), &reserved("eng", "cpus:1")]);
    assert_eq!(resolve(&text("cpus:3;mem:1"), &there, &there, &Resources::new()), text("cpus:3;mem:1"));
}
