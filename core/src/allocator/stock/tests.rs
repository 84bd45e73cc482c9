use std::sync::Arc;

use super::*;
use crate::testing::{device, shape};

fn linked(id: &str, to: &[&str]) -> Device {
    let mut gpu = device(id, "gpu", "H100");
    gpu.topology.links = to.iter().map(|id| DeviceId::new(id)).collect();
    gpu
}

fn print(devices: &[Device]) -> Fingerprint {
    let mut printer = Printer::default();
    printer.put_devices(devices.iter().map(|device| (device, 0)));
    printer.finish()
}

fn stock(total: &str, devices: &[Device]) -> Stock {
    let total: Resources = total.parse().expect("resources");
    let slots = devices.iter().map(|device| Slot { device: Arc::new(device.clone()), condition: Condition::Free });
    Stock {
        standing: Standing::Ready,
        free: total.plus(&Resources::devices(devices.iter().map(|device| device.id.clone()))),
        total,
        locked: Resources::new(),
        kept: Quantities::new(),
        devices: slots.collect(),
    }
}

fn hold(stock: &mut Stock, what: &str, device: Option<&str>) {
    let mut held: Resources = what.parse().expect("resources");
    held.add(&Resources::devices(device.map(DeviceId::new)));
    assert!(stock.free.subtract(&held));
    for slot in &mut stock.devices {
        if device == Some(slot.device.id.as_str()) {
            slot.condition = Condition::Held;
        }
    }
}

fn causes(stock: &Stock, resources: &str, claims: &[&str]) -> Vec<CauseKind> {
    let role = Role::new("eng").expect("a role");
    stock.judge(&role, &shape("s", resources, claims, 1)).into_iter().map(|finding| finding.cause).collect()
}

#[test]
fn what_devices_are_called_makes_no_difference_and_how_they_are_linked_does() {
    let pair = |a: &str, b: &str| vec![linked(a, &[b]), linked(b, &[a])];
    assert_eq!(print(&pair("a", "b")), print(&pair("x", "c")));
    let apart = vec![linked("a", &[]), linked("b", &[])];
    assert_ne!(print(&pair("a", "b")), print(&apart));
    let two_pairs = [pair("a", "d"), pair("b", "c")].concat();
    assert_eq!(print(&two_pairs), print(&[pair("a", "b"), pair("c", "d")].concat()));
    let ring = vec![linked("a", &["b"]), linked("b", &["c"]), linked("c", &["d"]), linked("d", &["a"])];
    assert_ne!(print(&two_pairs), print(&ring));
}

#[test]
fn an_agent_that_has_room_has_no_findings() {
    assert_eq!(
        causes(&stock("cpus:4;mem:100;ports:[1-2]", &[device("g", "gpu", "T4")]), "cpus:4;ports:[8-9]", &["gpu"]),
        []
    );
}

#[test]
fn too_small_reserved_and_held_are_told_apart() {
    let short = |units| Milli::from_whole(units);
    let mut agent = stock("cpus:4;cpus(ops):4;mem:100", &[]);
    assert_eq!(causes(&agent, "cpus:9", &[]), [CauseKind::TooSmall { short: short(1) }]);
    assert_eq!(causes(&agent, "cpus:6", &[]), [CauseKind::Reserved { short: short(2) }]);
    hold(&mut agent, "cpus:3", None);
    assert_eq!(causes(&agent, "cpus:4", &[]), [CauseKind::NotEnoughFree { short: short(3) }]);
    agent.locked = "cpus:1".parse().expect("resources");
    assert_eq!(causes(&agent, "cpus:1", &[]), [CauseKind::Locked { frameworks: vec![] }]);
}

#[test]
fn devices_may_be_enough_by_count_and_not_by_topology() {
    let devices = [linked("a", &["b"]), linked("b", &["a"]), linked("c", &["d"]), linked("d", &["c"])];
    let mut agent = stock("cpus:4", &devices);
    let mut wanted = shape("s", "cpus:1", &["2 gpu"], 1);
    let linked = (crate::model::DeviceConstraint::Linked, crate::model::Strength::Require);
    wanted.claims[0].alternatives[0].constraints.push(linked);
    let role = Role::new("eng").expect("a role");
    assert_eq!(agent.judge(&role, &wanted), []);
    hold(&mut agent, "", Some("a"));
    hold(&mut agent, "", Some("c"));
    let found: Vec<CauseKind> = agent.judge(&role, &wanted).into_iter().map(|finding| finding.cause).collect();
    assert!(found.contains(&CauseKind::Topology { even_empty: false }), "{found:?}");
    assert!(found.contains(&CauseKind::DevicesHeld { devices: vec![] }), "{found:?}");
}

#[test]
fn every_reason_that_holds_is_found() {
    let mut agent = stock("cpus:4;mem:100", &[device("g", "gpu", "T4")]);
    hold(&mut agent, "cpus:4", Some("g"));
    let found = causes(&agent, "cpus:1;mem:200", &["gpu", "fpga", "gpu: model == H100"]);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.contains(&CauseKind::NoSuchDevice { kind: Arc::from("fpga") }), "{found:?}");
    assert!(found.iter().any(|cause| matches!(cause, CauseKind::NoDeviceMatches { .. })), "{found:?}");
}
