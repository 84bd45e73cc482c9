//! What the choice of devices leaves for others: against taking the first that are free, over long random histories.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::resolve;
use crate::model::{Claim, Device, DeviceId, DeviceMode, Share};
use crate::testing::device;

const STEPS: usize = 4_000;

/// How a claim is met: by the search, or by the first devices that are free.
#[derive(Clone, Copy)]
enum Choice {
    Search,
    FirstFit,
}

/// A machine of sixteen GPUs: four fully linked groups of four, two to a NUMA node, numbered across the groups as PCI slots often are.
fn machine() -> Vec<Device> {
    let member = |number: u64| {
        let mut gpu = device(&format!("gpu-{number:02}"), "gpu", "A1");
        let others = (0..16).filter(|other| other % 4 == number % 4 && *other != number);
        gpu.topology.links = others.map(|other: u64| DeviceId::new(&format!("gpu-{other:02}"))).collect();
        gpu.topology.numa_node = Some(u32::from(number % 4 >= 2));
        gpu
    };
    (0..16).map(member).collect()
}

/// The size of the largest group of linked devices that are free, after each of many random arrivals and departures, on average.
fn largest_free_group(choice: Choice, seed: u64) -> f64 {
    let devices = machine();
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut draw = |below: u64| random.next_u64() % below;
    let mut held: BTreeSet<DeviceId> = BTreeSet::new();
    let mut tenants: Vec<Vec<DeviceId>> = Vec::new();
    let mut sum = 0;
    for _ in 0..STEPS {
        if draw(100) < 55 {
            let count = [1, 1, 1, 2, 2, 4][usize::try_from(draw(6)).expect("small")];
            if let Some(given) = give(choice, count, &devices, &held) {
                held.extend(given.iter().cloned());
                tenants.push(given);
            }
        } else if !tenants.is_empty() {
            let leaves = usize::try_from(draw(tenants.len() as u64)).expect("small");
            let left = tenants.swap_remove(leaves);
            held.retain(|id| !left.contains(id));
        }
        sum += largest(&devices, &held);
    }
    f64::from(u32::try_from(sum).expect("small")) / STEPS as f64
}

fn give(choice: Choice, count: usize, devices: &[Device], held: &BTreeSet<DeviceId>) -> Option<Vec<DeviceId>> {
    let is_free = |device: &&Device| !held.contains(&device.id);
    match choice {
        Choice::Search => {
            let claim: Claim = format!("{count} gpu").parse().expect("a claim of the test");
            let known = devices.iter().map(|device| (device, if is_free(&device) { Share::WHOLE } else { Share(0) }));
            resolve(&[claim], known).ok().map(|chosen| chosen.into_keys().collect())
        }
        Choice::FirstFit => {
            let given: Vec<DeviceId> =
                devices.iter().filter(is_free).take(count).map(|device| device.id.clone()).collect();
            (given.len() == count).then_some(given)
        }
    }
}

fn largest(devices: &[Device], held: &BTreeSet<DeviceId>) -> usize {
    let mut groups: BTreeMap<usize, usize> = BTreeMap::new();
    for (number, device) in devices.iter().enumerate() {
        *groups.entry(number % 4).or_default() += usize::from(!held.contains(&device.id));
    }
    groups.into_values().max().unwrap_or_default()
}

#[test]
fn larger_linked_groups_stay_free_than_with_first_fit() {
    for seed in 1..=5 {
        let (search, first_fit) =
            (largest_free_group(Choice::Search, seed), largest_free_group(Choice::FirstFit, seed));
        assert!(search >= first_fit + 0.2, "seed {seed}: {search:.2} with the search, {first_fit:.2} with first fit");
    }
}

#[test]
fn no_whole_device_is_broken_while_one_in_parts_would_do() {
    let mut random = Pcg64Mcg::seed_from_u64(11);
    let mut draw = |below: u64| random.next_u64() % below;
    let shared = |number| Device { mode: DeviceMode::Shared, ..device(&format!("gpu-{number}"), "gpu", "A1") };
    let devices: Vec<Device> = (0..8).map(shared).collect();
    let mut free: Vec<u16> = vec![1000; devices.len()];
    let mut tenants: Vec<(usize, u16)> = Vec::new();
    let mut broken = 0;
    for _ in 0..STEPS {
        if draw(100) < 52 {
            let share = [100, 250, 300, 500][usize::try_from(draw(4)).expect("small")];
            let mut claim = Claim::one("gpu");
            claim.alternatives[0].share = Share(share);
            let known = devices.iter().zip(&free).map(|(device, left)| (device, Share(*left)));
            let Some(id) = resolve(&[claim], known).ok().and_then(|chosen| chosen.into_keys().next()) else { continue };
            let at = devices.iter().position(|device| device.id == id).expect("it is one of them");
            let would_do = free.iter().any(|left| (share..1000).contains(left));
            assert!(free[at] < 1000 || !would_do, "{id} is broken for {share}‰ although {free:?} is left");
            broken += usize::from(free[at] == 1000);
            free[at] -= share;
            tenants.push((at, share));
        } else if !tenants.is_empty() {
            let leaves = usize::try_from(draw(tenants.len() as u64)).expect("small");
            let (at, share) = tenants.swap_remove(leaves);
            free[at] += share;
        }
    }
    assert!(broken > 50, "whole devices were broken {broken} times");
}

#[test]
fn the_same_devices_give_the_same_answer() {
    assert!((largest_free_group(Choice::Search, 9) - largest_free_group(Choice::Search, 9)).abs() < f64::EPSILON);
}
