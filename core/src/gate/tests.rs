use super::*;

fn released(gate: &mut Gate<u8, &'static str>, outputs: Vec<Output<u8, &'static str>>) -> Vec<&'static str> {
    let mut released = Vec::new();
    gate.push(outputs, &mut released);
    released
}

#[test]
fn an_effect_without_records_before_it_passes() {
    let mut gate = Gate::default();
    assert_eq!(released(&mut gate, vec![Output::Effect("a"), Output::Persist(1)]), ["a"]);
}

#[test]
fn an_effect_waits_for_the_records_before_it() {
    let mut gate = Gate::default();
    assert!(released(&mut gate, vec![Output::Persist(1), Output::Effect("a")]).is_empty());
    let (first, records) = gate.take_batch().expect("a record is gathered");
    assert_eq!(records, [1]);
    assert!(released(&mut gate, vec![Output::Effect("b"), Output::Persist(2), Output::Effect("c")]).is_empty());
    let (second, _) = gate.take_batch().expect("a record is gathered");
    let mut out = Vec::new();
    gate.durable(first, &mut out);
    assert_eq!(out, ["a", "b"]);
    gate.durable(second, &mut out);
    assert_eq!(out, ["a", "b", "c"]);
    assert!(gate.is_idle());
}

#[test]
fn an_ungated_effect_overtakes() {
    let mut gate = Gate::default();
    assert_eq!(released(&mut gate, vec![Output::Persist(1), Output::Effect("late"), Output::Ungated("now")]), ["now"]);
    assert_eq!(gate.waiting(), 1);
}
