use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{Attribute, Health, Proof, Quantities, Selector, Topology};

fn gpu(number: u64, memory_gib: u64) -> Device {
    Device {
        id: DeviceId::new(&format!("gpu-{number}")),
        kind: Arc::from("gpu"),
        vendor: Arc::from("acme"),
        model: Arc::from("A1"),
        generation: 8,
        attributes: BTreeMap::from([(Arc::from("memory"), Attribute::Quantity(memory_gib << 30))]),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::NodeClosed,
        host_share: Quantities::new(),
    }
}

fn on_node(mut device: Device, node: u32) -> Device {
    device.topology.numa_node = Some(node);
    device
}

fn linked(mut device: Device, others: &[u64]) -> Device {
    device.topology.links = others.iter().map(|number| DeviceId::new(&format!("gpu-{number}"))).collect();
    device
}

fn claim(text: &str) -> Claim {
    text.parse().expect("a claim of the test")
}

fn with(text: &str, constraint: DeviceConstraint, strength: Strength) -> Claim {
    let mut claim = claim(text);
    for alternative in &mut claim.alternatives {
        alternative.constraints.push((constraint, strength));
    }
    claim
}

fn names(claims: &[Claim], devices: &[Device]) -> Result<Vec<String>, Unmet> {
    let chosen = resolve(claims, devices.iter().map(|device| (device, Share::WHOLE)))?;
    Ok(chosen.keys().map(|id| id.as_str().to_owned()).collect())
}

#[test]
fn one_device_of_the_kind_is_chosen() {
    let devices = [gpu(0, 40), gpu(1, 80)];
    assert_eq!(names(&[claim("gpu")], &devices), Ok(vec!["gpu-0".to_owned()]));
    assert_eq!(names(&[claim("gpu: memory >= 80GiB")], &devices), Ok(vec!["gpu-1".to_owned()]));
}

#[test]
fn no_claims_need_no_devices() {
    assert_eq!(names(&[], &[gpu(0, 40)]), Ok(Vec::new()));
}

#[test]
fn an_earlier_choice_is_taken_back_for_a_later_claim() {
    let devices = [gpu(0, 80), gpu(1, 40)];
    let chosen = names(&[claim("gpu"), claim("gpu: memory >= 80GiB")], &devices);
    assert_eq!(chosen, Ok(vec!["gpu-0".to_owned(), "gpu-1".to_owned()]));
}

#[test]
fn the_first_alternative_that_can_be_met_is_taken() {
    let devices = [gpu(0, 40), gpu(1, 40), gpu(2, 40)];
    let chosen = names(&[claim("gpu: memory >= 80GiB | 2 gpu")], &devices);
    assert_eq!(chosen, Ok(vec!["gpu-0".to_owned(), "gpu-1".to_owned()]));
}

#[test]
fn all_means_also_those_that_are_held() {
    let devices = [gpu(0, 40), gpu(1, 40)];
    assert_eq!(names(&[claim("all gpu")], &devices).map(|chosen| chosen.len()), Ok(2));
    let held = resolve(&[claim("all gpu")], [(&devices[0], Share::WHOLE), (&devices[1], Share(0))]);
    assert!(matches!(held, Err(Unmet::TooFewFree { matching: 2, free: 1, .. })), "{held:?}");
}

#[test]
fn require_binds_and_prefer_yields() {
    let devices = [on_node(gpu(0, 40), 0), on_node(gpu(1, 40), 1), on_node(gpu(2, 40), 1)];
    let same = |strength| with("2 gpu", DeviceConstraint::SameNumaNode, strength);
    let wanted = Ok(vec!["gpu-1".to_owned(), "gpu-2".to_owned()]);
    assert_eq!(names(&[same(Strength::Require)], &devices), wanted);
    assert_eq!(names(&[same(Strength::Prefer)], &devices), wanted);
    assert!(matches!(names(&[same(Strength::Require)], &devices[..2]), Err(Unmet::Constraints { .. })));
    assert_eq!(names(&[same(Strength::Prefer)], &devices[..2]).map(|chosen| chosen.len()), Ok(2));
}

#[test]
fn an_unknown_node_is_not_the_same_node() {
    let required = with("2 gpu", DeviceConstraint::SameNumaNode, Strength::Require);
    assert!(names(&[required], &[gpu(0, 40), gpu(1, 40)]).is_err());
}

#[test]
fn small_linked_groups_are_used_first() {
    let devices = [linked(gpu(0, 40), &[1]), gpu(1, 40), gpu(2, 40)];
    assert_eq!(names(&[claim("gpu")], &devices), Ok(vec!["gpu-2".to_owned()]));
    assert_eq!(names(&[claim("2 gpu")], &devices), Ok(vec!["gpu-0".to_owned(), "gpu-1".to_owned()]));
    let two = with("2 gpu", DeviceConstraint::Linked, Strength::Require);
    assert_eq!(names(&[two], &devices), Ok(vec!["gpu-0".to_owned(), "gpu-1".to_owned()]));
}

#[test]
fn a_shared_device_gives_the_share_that_was_asked_for() {
    let mut device = gpu(0, 40);
    device.mode = DeviceMode::Shared;
    let mut part = claim("gpu");
    part.alternatives[0].share = Share(300);
    let chosen = resolve(std::slice::from_ref(&part), [(&device, Share(400))]);
    assert_eq!(chosen, Ok(BTreeMap::from([(device.id.clone(), Share(300))])));
    assert!(resolve(&[part], [(&device, Share(200))]).is_err());
}

#[test]
fn a_part_comes_out_of_what_is_in_parts_already() {
    let shared = |number| Device { mode: DeviceMode::Shared, ..gpu(number, 40) };
    let devices = [(gpu(0, 40), 1000), (shared(1), 1000), (shared(2), 800), (shared(3), 300), (shared(4), 200)];
    let chosen = |text: &str| {
        let known = devices.iter().map(|(device, free)| (device, Share(*free)));
        let chosen = resolve(&[claim(text)], known).expect("it can be met");
        chosen.into_iter().map(|(id, share)| (id.to_string(), share.0)).collect::<Vec<_>>()
    };
    assert_eq!(chosen("gpu share 0.3"), [("gpu-3".to_owned(), 300)], "the fullest that has so much left");
    assert_eq!(chosen("gpu share 0.9"), [("gpu-1".to_owned(), 900)], "then one that is whole");
    assert_eq!(chosen("gpu"), [("gpu-0".to_owned(), 1000)], "the whole is one that is never in parts, if there is one");
    assert_eq!(chosen("2 gpu"), [("gpu-0".to_owned(), 1000), ("gpu-1".to_owned(), 1000)]);
}

#[test]
fn an_exclusive_device_has_no_parts() {
    let chosen = resolve(&[claim("gpu share 0.25")], [(&gpu(0, 40), Share::WHOLE)]);
    assert_eq!(chosen, Ok(BTreeMap::from([(DeviceId::new("gpu-0"), Share::WHOLE)])));
}

#[test]
fn the_smallest_node_that_suffices_is_used_first() {
    let nodes = [0, 0, 0, 0, 1, 1, 1, 2, 2];
    let devices: Vec<Device> = (0..9).zip(nodes).map(|(number, node)| on_node(gpu(number, 40), node)).collect();
    let numbers = |text: &str| names(&[claim(text)], &devices).expect("it can be met").join(" ");
    assert_eq!(numbers("gpu"), "gpu-7");
    assert_eq!(numbers("2 gpu"), "gpu-7 gpu-8");
    assert_eq!(numbers("3 gpu"), "gpu-4 gpu-5 gpu-6");
    assert_eq!(numbers("4 gpu"), "gpu-0 gpu-1 gpu-2 gpu-3");
    assert_eq!(
        numbers("6 gpu"),
        "gpu-0 gpu-1 gpu-2 gpu-3 gpu-7 gpu-8",
        "the largest whole, the rest where it fits best"
    );
}

#[test]
fn within_a_linked_group_a_node_is_kept_whole() {
    let everyone: Vec<u64> = (0..8).collect();
    let device = |number| on_node(linked(gpu(number, 40), &everyone), u32::from(number >= 3));
    let devices: Vec<Device> = (0..8).map(device).collect();
    assert_eq!(names(&[claim("4 gpu")], &devices), Ok((3..7).map(|number| format!("gpu-{number}")).collect()));
    assert_eq!(names(&[claim("3 gpu")], &devices), Ok((0..3).map(|number| format!("gpu-{number}")).collect()));
}

#[test]
fn the_reason_says_what_is_missing() {
    let devices = [gpu(0, 40)];
    let reason = |text: &str| names(&[claim(text)], &devices).expect_err("can't be met").to_string();
    assert_eq!(reason("fpga"), "fpga: no fpga on this agent");
    assert_eq!(
        reason("gpu: memory >= 80GiB"),
        "gpu: memory >= 80GiB: 0 of 1 gpu match; gpu-0 lacks memory >= 80GiB (it is 40GiB)"
    );
    assert_eq!(reason("2 gpu"), "2 gpu: 1 of 1 gpu match; 2 wanted");
}

#[test]
fn a_regular_machine_is_searched_quickly_even_in_vain() {
    let everyone: Vec<u64> = (0..64).collect();
    let devices: Vec<Device> = (0..64).map(|number| linked(gpu(number, 40), &everyone)).collect();
    let refused = names(&[claim("32 gpu"), claim("33 gpu")], &devices);
    assert_eq!(refused, Err(Unmet::Together));
}

#[test]
fn an_irregular_machine_ends_the_search() {
    let devices: Vec<Device> = (0..40).map(|number| linked(gpu(number, 40), &[number + 1, number + 7])).collect();
    let required = with("12 gpu", DeviceConstraint::Linked, Strength::Require);
    assert!(names(&[required, claim("29 gpu")], &devices).is_err());
}

/// A device, and how much of it is free.
fn any_device(number: u64) -> impl Strategy<Value = (Device, Share)> {
    let free = prop::sample::select(vec![0, 250, 500, 1000, 1000]);
    (prop::option::of(0..2_u32), 1..3_u64, prop::collection::vec(0..6_u64, 0..3), any::<bool>(), free).prop_map(
        move |(node, memory, links, shared, free)| {
            let mut device = linked(gpu(number, memory * 40), &links);
            device.topology.numa_node = node;
            device.topology.pci_root = node.map(|node| Arc::from(format!("root-{node}")));
            device.mode = if shared { DeviceMode::Shared } else { DeviceMode::Exclusive };
            (device, if shared || free == 1000 { Share(free) } else { Share(0) })
        },
    )
}

fn any_devices() -> impl Strategy<Value = Vec<(Device, Share)>> {
    let all = (any_device(0), any_device(1), any_device(2), any_device(3), any_device(4), any_device(5));
    (all, 0..=6_usize).prop_map(|((a, b, c, d, e, f), count)| {
        let mut devices = vec![a, b, c, d, e, f];
        devices.truncate(count);
        devices
    })
}

fn any_alternative() -> impl Strategy<Value = Alternative> {
    let constraint = prop::sample::select(vec![
        DeviceConstraint::SameNumaNode,
        DeviceConstraint::SamePciRoot,
        DeviceConstraint::Linked,
    ]);
    let share = prop::sample::select(vec![Share(250), Share(400), Share::WHOLE, Share::WHOLE]);
    let strength = prop::sample::select(vec![Strength::Require, Strength::Prefer]);
    let selector = prop::sample::select(vec!["", "memory >= 80GiB", "numa_node == 1"]);
    let constraints = prop::collection::vec((constraint, strength), 0..2);
    (1..4_u16, selector, share, constraints).prop_map(|(count, selector, share, constraints)| Alternative {
        kind: Arc::from("gpu"),
        count: Count::Exactly(count),
        selector: selector.parse::<Selector>().expect("a selector of the test"),
        share,
        constraints,
    })
}

fn any_claims() -> impl Strategy<Value = Vec<Claim>> {
    let claim = prop::collection::vec(any_alternative(), 1..3).prop_map(|alternatives| Claim { alternatives });
    prop::collection::vec(claim, 0..4)
}

/// Whether the devices of the bit set are an answer to the alternative.
fn answers(alternative: &Alternative, devices: &[(Device, Share)], set: u32) -> bool {
    let of_set = (0..devices.len()).filter(|at| set & (1 << at) != 0).map(|at| &devices[at]);
    let enough = |(device, free): &&(Device, Share)| {
        let whole = device.mode == DeviceMode::Exclusive;
        *free >= if whole { Share::WHOLE } else { alternative.share }
    };
    if !of_set.clone().all(|place| enough(&place)) {
        return false;
    }
    let chosen: Vec<&Device> = of_set.map(|(device, _)| device).collect();
    let holds = |rule: DeviceConstraint, a: &Device, b: &Device| match rule {
        DeviceConstraint::SameNumaNode => {
            a.topology.numa_node.is_some() && a.topology.numa_node == b.topology.numa_node
        }
        DeviceConstraint::SamePciRoot => a.topology.pci_root.is_some() && a.topology.pci_root == b.topology.pci_root,
        DeviceConstraint::Linked => a.topology.links.contains(&b.id) || b.topology.links.contains(&a.id),
    };
    let pairs = |rule| chosen.iter().enumerate().all(|(at, a)| chosen[at + 1..].iter().all(|b| holds(rule, a, b)));
    let required = alternative.constraints.iter().filter(|(_, strength)| *strength == Strength::Require);
    Count::Exactly(u16::try_from(chosen.len()).expect("few")) == alternative.count
        && chosen.iter().all(|device| alternative.selector.matches(*device))
        && required.into_iter().all(|(rule, _)| pairs(*rule))
}

/// Every set of devices that meets the claims, found the slow way.
fn brute_force(claims: &[Claim], devices: &[(Device, Share)], taken: u32, found: &mut Vec<u32>) {
    let Some((first, rest)) = claims.split_first() else {
        found.push(taken);
        return;
    };
    for set in (0..1_u32 << devices.len()).filter(|set| set & taken == 0) {
        if first.alternatives.iter().any(|alternative| answers(alternative, devices, set)) {
            brute_force(rest, devices, taken | set, found);
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_trying_everything(claims in any_claims(), devices in any_devices()) {
        let mut possible = Vec::new();
        brute_force(&claims, &devices, 0, &mut possible);
        match resolve(&claims, devices.iter().map(|(device, free)| (device, *free))) {
            Ok(chosen) => {
                let set = (0..devices.len()).filter(|at| chosen.contains_key(&devices[*at].0.id)).fold(0, |set, at| set | 1 << at);
                prop_assert!(possible.contains(&set), "{chosen:?} is no answer to {claims:?}");
            }
            Err(unmet) => prop_assert!(possible.is_empty(), "{unmet}, but {possible:?} would do"),
        }
    }

    #[test]
    fn the_order_of_the_devices_does_not_matter(claims in any_claims(), devices in any_devices()) {
        let forward = resolve(&claims, devices.iter().map(|(device, free)| (device, *free)));
        let backward = resolve(&claims, devices.iter().rev().map(|(device, free)| (device, *free)));
        prop_assert_eq!(forward, backward);
    }
}
