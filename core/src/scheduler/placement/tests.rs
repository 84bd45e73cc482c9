use proptest::prelude::{any, prop, prop_assert_eq, proptest};

use super::super::bench::{agent, offer, role, task_id};
use super::*;
use crate::model::{AgentInfo, Body, DeviceMode, Domain, ExecutorRef, Health, Proof, Topology};

fn gpu(name: &str) -> Device {
    Device {
        id: DeviceId::new(name),
        kind: Arc::from("gpu"),
        vendor: Arc::from(""),
        model: Arc::from(""),
        generation: 0,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::NodeClosed,
        host_share: Quantities::new(),
    }
}

fn needs(cpus: u64) -> Needs {
    Needs::new(Quantities::of(Milli::from_whole(cpus), Milli::ZERO))
}

fn on_gpu(cpus: u64) -> Needs {
    Needs { claims: vec![Claim::one("gpu")], ..needs(cpus) }
}

fn task(name: &str, placement: &Placement) -> Task {
    Task {
        id: task_id(name),
        name: Arc::from(name),
        role: role("web"),
        resources: placement.resources.clone(),
        claims: Vec::new(),
        priority: 0,
        kill_grace: std::time::Duration::from_secs(5),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new([]),
    }
}

fn packer(offers: &[Offer]) -> Packer {
    Packer::new(&role("web"), offers)
}

#[test]
fn pack_fills_the_fullest_machine_first() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:8", &[]), offer(2, 2, "web", "cpus:3", &[])]);
    let agents: Vec<AgentId> =
        (0..3).filter_map(|_| packer.place(&needs(2), Strategy::Pack)).map(|place| place.agent).collect();
    assert_eq!(agents, [agent(2), agent(1), agent(1)]);
}

#[test]
fn spread_takes_turns() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:8", &[]), offer(2, 2, "web", "cpus:3", &[])]);
    let agents: Vec<AgentId> =
        (0..4).filter_map(|_| packer.place(&needs(1), Strategy::Spread)).map(|place| place.agent).collect();
    assert_eq!(agents, [agent(1), agent(2), agent(1), agent(2)]);
}

#[test]
fn a_full_machine_takes_no_more() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:2;mem:100", &[])]);
    assert!(packer.place(&needs(2), Strategy::Pack).is_some());
    assert_eq!(packer.place(&needs(1), Strategy::Pack), None);
}

#[test]
fn two_tasks_never_count_on_one_device() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:8", &[gpu("g0"), gpu("g1")])]);
    let mut devices = Vec::new();
    while let Some(place) = packer.place(&on_gpu(1), Strategy::Pack) {
        devices.extend(place.resources.device_shares().map(|(id, _)| id.as_str().to_owned()).collect::<Vec<_>>());
    }
    assert_eq!(devices, ["g0", "g1"]);
}

#[test]
fn machines_with_devices_are_left_to_those_who_ask_for_them() {
    let offers = [offer(1, 1, "web", "cpus:2", &[gpu("g0")]), offer(2, 2, "web", "cpus:8", &[])];
    for strategy in [Strategy::Pack, Strategy::Spread] {
        assert_eq!(packer(&offers).place(&needs(1), strategy).map(|place| place.agent), Some(agent(2)));
        assert_eq!(packer(&offers).place(&on_gpu(1), strategy).map(|place| place.agent), Some(agent(1)));
    }
}

#[test]
fn what_devices_keep_is_left_to_those_who_hold_them() {
    let keeps = |name: &str| Device { host_share: Quantities::of(Milli::from_whole(2), Milli::ZERO), ..gpu(name) };
    let mut packer = packer(&[offer(1, 1, "web", "cpus:8", &[keeps("g0"), keeps("g1")])]);
    assert_eq!(packer.place(&needs(5), Strategy::Pack), None);
    assert!(packer.place(&needs(4), Strategy::Pack).is_some());
    assert_eq!(packer.place(&needs(1), Strategy::Pack), None);
    assert_eq!(packer.place(&on_gpu(3), Strategy::Pack), None, "the share of the other one is not its own");
    assert!(packer.place(&on_gpu(2), Strategy::Pack).is_some());
    assert!(packer.place(&on_gpu(2), Strategy::Pack).is_some());
}

#[test]
fn two_offers_of_parts_of_a_shared_device_add_up() {
    let shared = Device { mode: DeviceMode::Shared, ..gpu("s") };
    let part = |seq, share| {
        let mut part = offer(seq, 1, "web", "cpus:1", std::slice::from_ref(&shared));
        let mut resources: Resources = "cpus:1".parse().expect("they are well formed");
        resources.add(&Resources::device_shares_of([(shared.id.clone(), Share(share))]));
        part.resources = resources.into();
        part
    };
    let mut packer = packer(&[part(1, 300), part(2, 700)]);
    assert!(packer.place(&on_gpu(2), Strategy::Pack).is_some(), "the whole of it, with both");
}

#[test]
fn ports_are_given_out_once() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:8;ports:[31000-31002,31010-31010]", &[])]);
    let two = Needs { ports: 2, ..needs(1) };
    assert_eq!(packer.place(&two, Strategy::Pack).map(|place| place.ports), Some(vec![31000, 31001]));
    assert_eq!(packer.place(&two, Strategy::Pack).map(|place| place.ports), Some(vec![31002, 31010]));
    assert_eq!(packer.place(&two, Strategy::Pack), None);
}

#[test]
fn a_constraint_binds() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:8", &[]), offer(2, 2, "web", "cpus:8", &[])]);
    let there = Needs { constraint: "name == agent-2".parse().expect("a selector"), ..needs(1) };
    assert_eq!(packer.place(&there, Strategy::Pack).map(|place| place.agent), Some(agent(2)));
}

#[test]
fn a_constraint_may_ask_for_a_zone() {
    let zone = |name| Arc::new(AgentInfo { domain: Domain::new("eu", name).ok(), ..AgentInfo::default() });
    let near = Offer { info: zone("eu-1"), ..offer(1, 1, "web", "cpus:8", &[]) };
    let far = Offer { info: zone("eu-2"), ..offer(2, 2, "web", "cpus:8", &[]) };
    let there = Needs { constraint: "zone == \"eu-2\"".parse().expect("a selector"), ..needs(1) };
    assert_eq!(packer(&[near, far]).place(&there, Strategy::Pack).map(|place| place.agent), Some(agent(2)));
}

#[test]
fn a_rank_excludes_and_orders() {
    let offers =
        [offer(1, 1, "web", "cpus:8", &[]), offer(2, 2, "web", "cpus:8", &[]), offer(3, 3, "web", "cpus:8", &[])];
    let rank = |host: &Host| match host.agent().seq {
        1 => None,
        2 => Some(5),
        _ => Some(1),
    };
    assert_eq!(packer(&offers).place_ranked(&needs(1), Strategy::Pack, rank).map(|place| place.agent), Some(agent(3)));
}

#[test]
fn reserved_resources_are_used_first_and_those_of_others_never() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:2;cpus(web):1;cpus(other):9", &[])]);
    let first = packer.place(&needs(2), Strategy::Pack).expect("fits");
    assert_eq!(first.resources.to_string(), "cpus:1 cpus(web):1");
    assert_eq!(packer.place(&needs(2), Strategy::Pack), None);
}

#[test]
fn a_group_goes_to_one_machine_or_nowhere() {
    let mut packer = packer(&[offer(1, 1, "web", "cpus:3", &[]), offer(2, 2, "web", "cpus:3", &[])]);
    assert_eq!(packer.place_group(&[needs(2), needs(2)], Strategy::Pack, |_| Some(0)), None);
    let both = packer.place_group(&[needs(2), needs(1)], Strategy::Pack, |_| Some(0)).expect("fits");
    assert_eq!(both[0].agent, both[1].agent);
    let left: Vec<String> = packer.hosts().map(|host| host.left().to_string()).collect();
    assert_eq!(left, ["", "cpus:3"]);
}

#[test]
fn each_machine_gets_one_accept_with_a_bounded_number_of_tasks() {
    let mut packer = packer(&[
        offer(1, 1, "web", "cpus:30", &[]),
        offer(2, 2, "web", "cpus:1", &[]),
        offer(3, 1, "web", "mem:5", &[]),
    ]);
    for number in 0..13 {
        let Some(place) = packer.place(&needs(1), Strategy::Spread) else { break };
        packer.launch(&place, task(&format!("t{number}"), &place));
    }
    let plans = packer.into_accepts();
    let sizes: Vec<(usize, usize)> = plans.iter().map(|plan| (plan.offers.len(), plan.operations.len())).collect();
    assert_eq!(sizes, [(2, Packer::TASKS_MAX), (1, 1)]);
}

#[test]
fn other_roles_and_unused_machines_are_left_alone() {
    let offers =
        [offer(1, 1, "web", "cpus:2", &[]), offer(2, 2, "web", "cpus:4", &[]), offer(3, 3, "db", "cpus:1", &[])];
    let mut packer = packer(&offers);
    let place = packer.place(&needs(1), Strategy::Pack).expect("fits");
    packer.launch(&place, task("t1", &place));
    assert_eq!(packer.unused(), [offers[1].id]);
    assert_eq!(packer.into_accepts().len(), 1);
}

#[test]
fn a_gang_goes_over_machines_or_nowhere() {
    let offers = [offer(1, 1, "web", "cpus:2", &[]), offer(2, 2, "web", "cpus:4", &[])];
    let mut four = packer(&offers);
    assert_eq!(four.place_gang(&vec![needs(2); 4], Strategy::Spread, |_| Some(0)), None);
    assert_eq!(four.place_gang(&vec![needs(2); 3], Strategy::Spread, |_| Some(0)).map(|places| places.len()), Some(3));
    // What the gang took is taken.
    assert_eq!(four.place(&needs(1), Strategy::Pack), None);
}

#[test]
fn a_gang_takes_offers_whole_and_none_that_are_in_use() {
    let offers =
        [offer(1, 1, "web", "cpus:2", &[]), offer(2, 2, "web", "cpus:4", &[]), offer(3, 3, "web", "cpus:4", &[])];
    let mut packer = packer(&offers);
    let single = packer.place(&needs(2), Strategy::Pack).expect("fits");
    packer.launch(&single, task("t1", &single));
    let places = packer.place_gang(&vec![needs(1); 2], Strategy::Spread, |_| Some(0)).expect("two machines are left");
    assert!(places.iter().all(|place| place.agent != single.agent));
    let member =
        |(number, place): (usize, &Placement)| (place.agent, TaskGroup::single(task(&format!("g{number}"), place)));
    packer.launch_gang(places.iter().enumerate().map(member).collect());
    assert!(packer.place(&needs(1), Strategy::Pack).is_none(), "what a gang leaves is not used in this round");
    let mut out: Out<()> = Out::over(offers);
    packer.submit(&mut out, &Refusal::default());
    let wishes = out.into_wishes();
    assert!(matches!(&wishes[0], crate::scheduler::Wish::AcceptGang { parts, .. } if parts.len() == 2));
    assert!(matches!(&wishes[1], crate::scheduler::Wish::Accept { agent, .. } if *agent == single.agent));
    assert_eq!(wishes.len(), 2);
}

proptest! {
    /// Whatever is placed: no more than was offered leaves the packer, and what is left is the rest of it.
    #[test]
    fn what_is_placed_and_what_is_left_are_what_was_offered(
        machines in prop::collection::vec((1..9_u64, 0..3_usize, 0..4_u64), 1..4),
        wishes in prop::collection::vec((1..4_u64, 0..2_u16, any::<bool>(), any::<bool>()), 0..12),
    ) {
        let offers: Vec<Offer> = machines.iter().zip(1..).map(|((cpus, gpus, ports), number)| {
            let devices: Vec<Device> = (0..*gpus).map(|at| gpu(&format!("g{number}-{at}"))).collect();
            let ports = if *ports == 0 { String::new() } else { format!(";ports:[1-{ports}]") };
            offer(number, number, "web", &format!("cpus:{cpus}{ports}"), &devices)
        }).collect();
        let mut packer = packer(&offers);
        let mut placed: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for (cpus, ports, device, pack) in wishes {
            let needs = Needs { ports, ..if device { on_gpu(cpus) } else { needs(cpus) } };
            let strategy = if pack { Strategy::Pack } else { Strategy::Spread };
            let Some(place) = packer.place(&needs, strategy) else { continue };
            prop_assert_eq!(place.resources.quantities(), needs.resources);
            prop_assert_eq!(place.ports.len(), usize::from(ports));
            placed.entry(place.agent).or_default().add(&place.resources);
        }
        for (host, offer) in packer.hosts().zip(&offers) {
            let whole = placed.get(&offer.agent).map_or_else(|| host.left().clone(), |placed| placed.plus(host.left()));
            prop_assert_eq!(&whole, &*offer.resources);
        }
    }
}
