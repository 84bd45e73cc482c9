use super::*;
use crate::model::Term;

fn framework(seq: u64) -> FrameworkId {
    FrameworkId::new(Term(1), seq)
}

fn role(text: &str) -> Role {
    Role::new(text).expect("a role")
}

fn cpus_mem(cpus: u64, mem: u64) -> Quantities {
    Quantities::of(Milli::from_whole(cpus), Milli::from_whole(mem))
}

fn sorter(cpus: u64, mem: u64) -> Sorter {
    let mut sorter = Sorter::new(&["gpu".into()]);
    sorter.grow(&cpus_mem(cpus, mem));
    sorter
}

fn order(sorter: &mut Sorter) -> Vec<String> {
    sorter.order().iter().map(|(role, framework)| format!("{role}:{}", framework.seq)).collect()
}

/// The example of the paper, section 4.1: 9 cpus and 18 GB; A's tasks take (1, 4), B's (3, 1). A gets three tasks, B two.
#[test]
fn the_papers_example_comes_out() {
    let mut sorter = sorter(9, 18);
    let needs = [cpus_mem(1, 4), cpus_mem(3, 1)];
    for seq in 1..=2 {
        sorter.set_active(&role("*"), framework(seq), true);
    }
    let (mut free, mut tasks) = (cpus_mem(9, 18), [0, 0]);
    loop {
        let order = sorter.order();
        let Some((role, id)) = order.iter().find(|(_, id)| free.contains(&needs[id.seq as usize - 1])) else { break };
        let need = &needs[id.seq as usize - 1];
        assert!(free.subtract(need));
        sorter.charge(role, *id, need);
        tasks[id.seq as usize - 1] += 1;
    }
    assert_eq!(tasks, [3, 2]);
}

#[test]
fn the_smallest_dominant_share_comes_first() {
    let mut sorter = sorter(100, 100);
    for (seq, name) in [(1, "a"), (2, "b"), (3, "c")] {
        sorter.set_active(&role(name), framework(seq), true);
    }
    sorter.charge(&role("a"), framework(1), &cpus_mem(5, 5));
    sorter.charge(&role("b"), framework(2), &cpus_mem(6, 1));
    assert_eq!(order(&mut sorter), ["c:3", "a:1", "b:2"]);
}

#[test]
fn a_weight_divides_the_share() {
    let mut sorter = sorter(100, 100);
    for (seq, name) in [(1, "a"), (2, "b")] {
        sorter.set_active(&role(name), framework(seq), true);
    }
    sorter.charge(&role("a"), framework(1), &cpus_mem(5, 5));
    sorter.charge(&role("b"), framework(2), &cpus_mem(6, 1));
    sorter.set_weight(&role("b"), 2000);
    assert_eq!(order(&mut sorter), ["b:2", "a:1"]);
}

#[test]
fn equals_take_turns() {
    let mut sorter = sorter(100, 100);
    for seq in 1..=3 {
        sorter.set_active(&role("*"), framework(seq), true);
    }
    sorter.served(&role("*"), framework(1));
    assert_eq!(order(&mut sorter), ["*:2", "*:3", "*:1"]);
    sorter.served(&role("*"), framework(2));
    assert_eq!(order(&mut sorter), ["*:3", "*:1", "*:2"]);
}

#[test]
fn a_tree_is_fair_at_each_level() {
    let mut sorter = sorter(100, 100);
    for (seq, name) in [(1, "eng/ci"), (2, "eng/web"), (3, "ops"), (4, "eng")] {
        sorter.set_active(&role(name), framework(seq), true);
    }
    sorter.charge(&role("eng/ci"), framework(1), &cpus_mem(10, 0));
    sorter.charge(&role("ops"), framework(3), &cpus_mem(11, 0));
    // eng holds 10 and comes before ops with 11; within eng its own leaf and web hold nothing.
    assert_eq!(order(&mut sorter), ["eng:4", "eng/web:2", "eng/ci:1", "ops:3"]);
    sorter.credit(&role("ops"), framework(3), &cpus_mem(11, 0));
    assert_eq!(order(&mut sorter)[0], "ops:3");
}

#[test]
fn devices_of_a_fair_kind_count() {
    let mut sorter = sorter(100, 100);
    let mut gpus = Quantities::new();
    gpus.set(&kind_quantity("gpu"), Milli::from_whole(4));
    sorter.grow(&gpus);
    for (seq, name) in [(1, "a"), (2, "b")] {
        sorter.set_active(&role(name), framework(seq), true);
    }
    gpus.set(&kind_quantity("gpu"), Milli::from_whole(1));
    sorter.charge(&role("a"), framework(1), &gpus);
    sorter.charge(&role("b"), framework(2), &cpus_mem(24, 0));
    assert_eq!(order(&mut sorter), ["b:2", "a:1"], "one of four gpus is a quarter, more than 24 of 100 cpus");
}

#[test]
fn who_is_not_active_is_not_in_the_order_and_keeps_its_share() {
    let mut sorter = sorter(10, 10);
    sorter.set_active(&role("a"), framework(1), true);
    sorter.charge(&role("a"), framework(1), &cpus_mem(5, 0));
    sorter.set_active(&role("a"), framework(1), false);
    assert!(order(&mut sorter).is_empty());
    assert!((sorter.share(&role("a")).as_f64() - 0.5).abs() < 1e-9);
}

#[test]
fn what_is_reserved_and_unused_counts_for_the_role_and_those_above() {
    let mut sorter = sorter(100, 100);
    for (seq, name) in [(1, "eng/ci"), (2, "eng/web"), (3, "ops")] {
        sorter.set_active(&role(name), framework(seq), true);
    }
    sorter.charge(&role("ops"), framework(3), &cpus_mem(5, 5));
    assert_eq!(order(&mut sorter), ["eng/ci:1", "eng/web:2", "ops:3"]);
    sorter.reserve(&role("eng/ci"), &cpus_mem(10, 0));
    assert_eq!(order(&mut sorter), ["ops:3", "eng/web:2", "eng/ci:1"]);
    // Used, it is charged to who uses it, and counts once.
    sorter.charge(&role("eng/ci"), framework(1), &cpus_mem(4, 0));
    sorter.unreserve(&role("eng/ci"), &cpus_mem(4, 0));
    assert_eq!(sorter.held_by(&role("eng")), cpus_mem(10, 0));
    assert_eq!(sorter.held(&role("eng/ci"), framework(1)), cpus_mem(4, 0));
    sorter.unreserve(&role("eng/ci"), &cpus_mem(6, 0));
    assert_eq!(order(&mut sorter), ["eng/web:2", "eng/ci:1", "ops:3"]);
}
