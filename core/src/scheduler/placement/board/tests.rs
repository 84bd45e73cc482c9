use super::super::super::bench::{offer, task_id};
use super::*;
use crate::model::{Body, Device, DeviceMode, ExecutorRef, Health, Milli, Proof, Role, Topology};

const MEM: Milli = Milli::from_whole(1);

fn gpu(number: u16, model: &str) -> Device {
    Device {
        id: DeviceId::new(&format!("gpu-{number}")),
        kind: Arc::from("gpu"),
        vendor: Arc::from(""),
        model: Arc::from(model),
        generation: 0,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Shared,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::TreeGone,
        host_share: Quantities::new(),
    }
}

fn machine(seq: u64, agent: u64, gpus: u16, model: &str) -> Offer {
    let devices: Vec<Device> = (0..gpus).map(|number| gpu(number, model)).collect();
    offer(seq, agent, "web", "cpus:8;mem:1024", &devices)
}

fn ask(gpus: u16, share: u16) -> GpuAsk {
    GpuAsk { cpus: Milli(1000), mem: MEM, gpus, share: Share(share), models: Vec::new() }
}

fn board(policy: GpuPolicy, offers: &[Offer]) -> GpuBoard {
    let choice = GpuChoice { policy, ..GpuChoice::default() };
    let mut board = GpuBoard::new(choice, Fragmentation::of_workload(&[ask(1, 1000), ask(1, 500)]));
    offers.iter().for_each(|offer| board.offered(offer));
    board
}

fn task(name: &str, placement: &Placement) -> Task {
    Task {
        id: task_id(name),
        name: Arc::from(name),
        role: Role::new("web").expect("a role of the test"),
        resources: placement.resources.clone(),
        claims: Vec::new(),
        priority: 0,
        kill_grace: std::time::Duration::ZERO,
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new([]),
    }
}

fn devices(placement: &Placement) -> Vec<(String, u16)> {
    placement.resources.device_shares().map(|(id, share)| (id.as_str().to_owned(), share.0)).collect()
}

#[test]
fn a_second_half_goes_beside_the_first() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 2, "A"), machine(2, 2, 2, "A")]);
    let places: Vec<Placement> = (0..2).filter_map(|_| board.place(&ask(1, 500))).collect();
    assert_eq!(places[0].agent, places[1].agent);
    assert_eq!(devices(&places[0]), devices(&places[1]));
}

#[test]
fn among_equals_the_lowest_agent_comes_first_whatever_the_order_of_the_offers() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 9, 1, "A"), machine(2, 3, 1, "A"), machine(3, 5, 1, "A")]);
    let agents: Vec<u64> = (0..3).filter_map(|_| board.place(&ask(1, 1000))).map(|place| place.agent.seq).collect();
    assert_eq!(agents, [3, 5, 9]);
}

#[test]
fn a_model_that_will_not_do_is_left_alone() {
    let mut board = board(GpuPolicy::BestFit, &[machine(1, 1, 1, "A"), machine(2, 2, 1, "B")]);
    let only_b = GpuAsk { models: vec![Arc::from("B")], ..ask(1, 1000) };
    assert_eq!(board.place(&only_b).map(|place| place.agent.seq), Some(2));
    assert_eq!(board.place(&only_b), None);
}

#[test]
fn an_agent_that_is_to_be_avoided_is_used_by_others_again() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 2, "A"), machine(2, 2, 2, "A")]);
    let first = board.place(&ask(1, 500)).expect("there is room");
    let avoided = BTreeSet::from([first.agent]);
    let second = board.place_besides(&ask(1, 500), &avoided).expect("there is another machine");
    assert_ne!(second.agent, first.agent);
    let both = BTreeSet::from([first.agent, second.agent]);
    assert_eq!(board.place_besides(&ask(1, 500), &both), None);
    assert_eq!(board.place(&ask(1, 500)).map(|place| place.agent), Some(first.agent));
}

#[test]
fn what_is_withdrawn_is_not_used_and_what_comes_again_is() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 1, "A")]);
    board.withdrawn(OfferId::new(crate::model::Term(1), 1));
    assert_eq!((board.place(&ask(1, 500)), board.on_offer()), (None, 0));
    board.offered(&machine(2, 1, 1, "A"));
    assert!(board.place(&ask(1, 500)).is_some());
}

#[test]
fn an_offer_of_what_is_left_has_less_than_the_machine() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 2, "A")]);
    let mut left = machine(2, 1, 2, "A");
    let taken = Resources::devices([DeviceId::new("gpu-0")]);
    assert!(Arc::make_mut(&mut left.resources).subtract(&taken));
    left.devices = left.devices.iter().filter(|device| device.id.as_str() == "gpu-1").cloned().collect();
    board.offered(&left);
    let place = board.place(&ask(1, 1000)).expect("the other GPU is free");
    assert_eq!(devices(&place), [("gpu-1".to_owned(), 1000)]);
    assert_eq!(board.place(&ask(1, 10)), None);
}

#[test]
fn offers_with_launches_are_accepted_and_the_others_stand() {
    let offers = [machine(1, 1, 1, "A"), machine(2, 2, 1, "A")];
    let mut board = board(GpuPolicy::Packing, &offers);
    let place = board.place(&ask(1, 300)).expect("both fit");
    board.launch(&place, task("t", &place));
    let mut out: Out<()> = Out::over(offers);
    board.submit(&mut out, &Refusal::default());
    assert_eq!((out.offers().count(), board.on_offer()), (1, 1));
    assert_eq!(out.into_wishes().len(), 1);
}

#[test]
fn every_policy_places_as_much_as_fits_and_no_more() {
    for policy in GpuPolicy::ALL {
        let mut board = board(policy, &[machine(1, 1, 2, "A"), machine(2, 2, 2, "A")]);
        let placed = (0..100).map_while(|_| board.place(&ask(1, 400))).count();
        assert_eq!(placed, 8, "{policy}: two of 400 to a GPU");
        assert!(board.place(&GpuAsk { gpus: 0, share: Share(0), ..ask(0, 0) }).is_some(), "{policy}: cores are left");
    }
}

#[test]
fn clustering_likes_its_own_company() {
    let mut board = board(GpuPolicy::Clustering, &[machine(1, 1, 8, "A"), machine(2, 2, 8, "A")]);
    let agents: Vec<u64> = [ask(1, 500), ask(1, 1000), ask(1, 500), ask(1, 1000)]
        .iter()
        .filter_map(|ask| board.place(ask))
        .map(|place| place.agent.seq)
        .collect();
    assert_eq!(agents, [1, 2, 1, 2]);
}

#[test]
fn a_kind_that_nobody_asked_for_while_much_changed_is_not_placed_by_what_was() {
    let mut board = board(GpuPolicy::BestFit, &[machine(1, 1, 8, "A"), machine(2, 2, 8, "A")]);
    let agent_of = |board: &mut GpuBoard, share| board.place(&ask(1, share)).map(|place| place.agent.seq);
    assert_eq!(agent_of(&mut board, 1000), Some(1));
    // More changes than are remembered, after which the first machine has no whole GPU left.
    let others: Vec<Option<u64>> = (0..7).map(|_| agent_of(&mut board, 990)).collect();
    assert_eq!(others, [Some(1); 7]);
    assert_eq!(agent_of(&mut board, 1000), Some(2));
}

#[test]
fn what_was_launched_on_an_offer_that_is_replaced_is_not_accepted() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 2, "A")]);
    let place = board.place(&ask(1, 1000)).expect("it fits");
    board.launch(&place, task("t", &place));
    board.offered(&machine(2, 1, 2, "A"));
    let mut out: Out<()> = Out::over([machine(2, 1, 2, "A")]);
    board.submit(&mut out, &Refusal::default());
    assert_eq!((out.into_wishes().len(), board.on_offer()), (0, 1));
}

#[test]
fn a_gang_that_does_not_fit_takes_nothing_and_one_that_does_takes_its_offers() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 2, "A"), machine(2, 2, 1, "A")]);
    assert!(board.place_gang(&ask(1, 1000), 4).is_none(), "there are three");
    let places = board.place_gang(&ask(1, 1000), 3).expect("what was tried was given back");
    let members = places.into_iter().map(|place| (place.clone(), task("t", &place))).collect();
    let parts = board.launch_gang(members);
    let told: Vec<(u64, usize, usize)> =
        parts.iter().map(|part| (part.agent.seq, part.offers.len(), part.groups.len())).collect();
    assert_eq!(told, [(1, 1, 2), (2, 1, 1)], "each offer is named once");
    assert_eq!(board.on_offer(), 0);
}

#[test]
fn a_gang_leaves_machines_alone_on_which_something_waits_to_be_launched() {
    let mut board = board(GpuPolicy::Fgd, &[machine(1, 1, 2, "A"), machine(2, 2, 1, "A")]);
    let place = board.place(&ask(1, 500)).expect("a place");
    board.launch(&place, task("t", &place));
    let free = if place.agent.seq == 1 { 1 } else { 2 };
    assert!(board.place_gang(&ask(1, 500), 2 * free + 1).is_none());
    let gang = board.place_gang(&ask(1, 500), 2 * free).expect("the other machine has room");
    assert!(gang.iter().all(|member| member.agent != place.agent));
    assert!(board.place(&ask(1, 500)).is_some_and(|next| next.agent == place.agent), "it is to be seen again");
}
