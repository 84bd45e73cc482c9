use proptest::prelude::*;

use super::{Conversion, OperationError, inverse, made_by_operations, merge};
use crate::model::{Milli, Operation, Resources};
use crate::testing::{labelled, refined, reserved, shared, volume};

fn text(resources: &str) -> Resources {
    resources.parse().expect("resources")
}

fn sum(parts: &[&Resources]) -> Resources {
    parts.iter().fold(Resources::new(), |sum, part| sum.plus(part))
}

fn apply(operation: &Operation, resources: &Resources) -> Result<Resources, OperationError> {
    let mut after = resources.clone();
    Conversion::of(operation)?.apply(&mut after)?;
    Ok(after)
}

#[test]
fn a_reservation_moves_amounts_to_its_role() {
    let after = apply(&Operation::Reserve(reserved("eng", "cpus:1;ports:[1-3]")), &text("cpus:4;ports:[1-9]"));
    assert_eq!(after, Ok(sum(&[&text("cpus:3;ports:[4-9]"), &reserved("eng", "cpus:1;ports:[1-3]")])));
}

#[test]
fn reservations_with_other_labels_are_other_things() {
    let one = labelled(&reserved("eng", "cpus:1"), "for", "one");
    let two = labelled(&reserved("eng", "cpus:1"), "for", "two");
    let there = sum(&[&text("cpus:2"), &one]);
    assert!(matches!(apply(&Operation::Unreserve(two), &there), Err(OperationError::Missing { .. })));
    assert_eq!(apply(&Operation::Unreserve(one), &there), Ok(text("cpus:3")));
}

#[test]
fn only_what_stands_on_top_and_was_made_by_an_operation_is_unreserved() {
    let base = text("cpus(eng):2");
    let fine = refined("eng/ci", &base);
    assert_eq!(apply(&Operation::Unreserve(fine.clone()), &fine), Ok(base.clone()));
    assert!(matches!(apply(&Operation::Unreserve(base.clone()), &base), Err(OperationError::NotDynamic(_))));
    assert!(matches!(apply(&Operation::Unreserve(base), &fine), Err(OperationError::NotDynamic(_))));
}

#[test]
fn each_layer_lies_strictly_below_the_last() {
    for role in ["eng", "ops", "engine", "*"] {
        let error = apply(&Operation::Reserve(refined(role, &text("cpus(eng):1"))), &text("cpus(eng):1"));
        assert!(matches!(error, Err(OperationError::NotBelow { .. } | OperationError::AnyRole)), "{role}");
    }
}

#[test]
fn a_volume_with_data_keeps_its_reservation() {
    let data = volume("data", &reserved("eng", "disk:10"));
    assert_eq!(apply(&Operation::Unreserve(data.clone()), &data), Err(OperationError::Volume));
}

#[test]
fn volumes_are_made_of_reserved_disk_and_of_nothing_else() {
    let bad = [volume("v", &text("disk:1")), volume("v", &reserved("eng", "disk:1;cpus:1")), Resources::new()];
    for volumes in bad {
        let there = text("cpus:4;disk:100");
        let error = apply(&Operation::Create(volumes.clone()), &there).expect_err("it is refused");
        assert!(matches!(error, OperationError::NotAVolume | OperationError::Empty), "{volumes}: {error}");
    }
}

#[test]
fn two_volumes_of_a_role_have_two_names() {
    let disk = |mib: u32| reserved("eng", &format!("disk:{mib}"));
    let both = sum(&[&volume("a", &disk(1)), &volume("a", &labelled(&disk(2), "k", "v"))]);
    let there = sum(&[&disk(1), &labelled(&disk(2), "k", "v")]);
    assert!(matches!(apply(&Operation::Create(both), &there), Err(OperationError::Duplicate(_))));
    let first = sum(&[&volume("a", &disk(1)), &disk(1)]);
    assert!(matches!(apply(&Operation::Create(volume("a", &disk(1))), &first), Err(OperationError::Duplicate(_))));
    let other = sum(&[&volume("a", &disk(1)), &reserved("ops", "disk:1")]);
    let same_name = Operation::Create(volume("a", &reserved("ops", "disk:1")));
    assert!(apply(&same_name, &other).is_ok(), "roles have name spaces of their own");
}

#[test]
fn a_volume_grows_by_free_disk_of_its_own_reservation() {
    let disk = |mib: u32| reserved("eng", &format!("disk:{mib}"));
    let data = volume("data", &disk(10));
    let there = sum(&[&data, &disk(5), &reserved("ops", "disk:5"), &text("disk:5")]);
    let grow =
        |addition: &Resources| apply(&Operation::Grow { volume: data.clone(), addition: addition.clone() }, &there);
    let expected = sum(&[&volume("data", &disk(12)), &disk(3), &reserved("ops", "disk:5"), &text("disk:5")]);
    assert_eq!(grow(&disk(2)), Ok(expected));
    assert!(matches!(grow(&disk(6)), Err(OperationError::Missing { .. })));
    assert_eq!(grow(&text("disk:1")), Err(OperationError::OtherFlavor));
    assert_eq!(grow(&reserved("ops", "disk:1")), Err(OperationError::OtherFlavor));
    assert_eq!(grow(&reserved("eng", "cpus:1")), Err(OperationError::OtherFlavor));
}

#[test]
fn a_volume_shrinks_to_something() {
    let data = volume("data", &reserved("eng", "disk:10"));
    let shrink = |volume: &Resources, by: u64| {
        apply(&Operation::Shrink { volume: volume.clone(), by: Milli::from_whole(by) }, volume)
    };
    let expected = sum(&[&volume("data", &reserved("eng", "disk:6")), &reserved("eng", "disk:4")]);
    assert_eq!(shrink(&data, 4), Ok(expected));
    assert_eq!(shrink(&data, 0), Err(OperationError::Empty));
    assert_eq!(shrink(&data, 10), Err(OperationError::NothingLeft(Milli::from_whole(10))));
    assert_eq!(shrink(&shared(&data), 4), Err(OperationError::Shared));
}

#[test]
fn what_would_be_there_twice_is_refused() {
    // A configuration that names a port twice.
    let there = sum(&[&text("ports:[1-2]"), &reserved("eng", "ports:[1]")]);
    assert_eq!(apply(&Operation::Reserve(reserved("eng", "ports:[1]")), &there), Err(OperationError::Overlap));
}

#[test]
fn a_refused_operation_changes_nothing() {
    let mut there = text("cpus:1;disk:5");
    let conversion = Conversion::of(&Operation::Reserve(reserved("eng", "cpus:1;disk:6"))).expect("it makes sense");
    conversion.apply(&mut there).expect_err("there is not so much disk");
    assert_eq!(there, text("cpus:1;disk:5"));
}

/// Scalars and ports of an agent.
fn amounts() -> impl Strategy<Value = (u32, u32, u32, u32)> {
    (1..20u32, 1..20u32, 1..20u32, 1..20u32)
}

fn there((cpus, disk, more, ports): (u32, u32, u32, u32)) -> Resources {
    let plain = text(&format!("cpus:{cpus};disk:{disk};ports:[1-{ports}]"));
    let data = volume("data", &reserved("eng", &format!("disk:{more}")));
    sum(&[&plain, &reserved("eng", &format!("cpus:{cpus};disk:{disk}")), &data])
}

fn operation() -> impl Strategy<Value = Operation> {
    let plain = (1..20u32, 1..20u32, 1..20u32)
        .prop_map(|(cpus, disk, ports)| format!("cpus:{cpus};disk:{disk};ports:[1-{ports}]"));
    let of_eng = (1..20u32, 1..20u32).prop_map(|(cpus, disk)| reserved("eng", &format!("cpus:{cpus};disk:{disk}")));
    let data = (1..20u32).prop_map(|mib| volume("data", &reserved("eng", &format!("disk:{mib}"))));
    let other = (1..20u32).prop_map(|mib| volume("other", &reserved("eng", &format!("disk:{mib}"))));
    prop_oneof![
        plain.prop_map(|plain| Operation::Reserve(reserved("eng", &plain))),
        of_eng.clone().prop_map(|resources| Operation::Reserve(refined("eng/ci", &resources))),
        of_eng.prop_map(Operation::Unreserve),
        other.clone().prop_map(Operation::Create),
        other.prop_map(|volume| Operation::Create(shared(&volume))),
        data.clone().prop_map(Operation::Destroy),
        (data.clone(), 1..20u32)
            .prop_map(|(volume, more)| Operation::Grow { volume, addition: reserved("eng", &format!("disk:{more}")) }),
        (data, 1..20u64).prop_map(|(volume, by)| Operation::Shrink { volume, by: Milli::from_whole(by) }),
    ]
}

proptest! {
    #[test]
    fn an_operation_and_its_inverse_lead_back(amounts in amounts(), operation in operation()) {
        let before = there(amounts);
        let after = apply(&operation, &before);
        prop_assume!(after.is_ok());
        let after = after.expect("it was assumed");
        let back = inverse(&operation).expect("it is no launch");
        prop_assert_eq!(apply(&back, &after), Ok(before));
    }

    #[test]
    fn no_operation_changes_a_total(amounts in amounts(), operations in prop::collection::vec(operation(), 0..6)) {
        let before = there(amounts);
        let mut now = before.clone();
        for operation in operations {
            if let Ok(after) = apply(&operation, &now) {
                now = after;
            }
            prop_assert_eq!(now.quantities(), before.quantities());
            let ports = crate::model::ResourceName::ports();
            prop_assert_eq!(now.ranges(&ports), before.ranges(&ports));
        }
    }

    #[test]
    fn what_operations_made_merges_with_the_configuration_to_the_same(
        amounts in amounts(),
        operations in prop::collection::vec(operation(), 0..6),
    ) {
        let configured = text(&format!("cpus:{};disk:{};ports:[1-{}]", 2 * amounts.0, 2 * amounts.1 + amounts.2, amounts.3));
        let (mut now, aside) = merge(&configured, &made_by_operations(&there(amounts)));
        prop_assert!(aside.is_empty());
        for operation in operations {
            now = apply(&operation, &now).unwrap_or(now);
        }
        let (again, aside) = merge(&configured, &made_by_operations(&now));
        prop_assert_eq!(again, now);
        prop_assert!(aside.is_empty());
    }
}
