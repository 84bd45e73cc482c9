use super::*;

#[test]
fn what_is_left_out_is_written_as_it_is_read() {
    for text in ["", "agents=2", "agents=2,frameworks=1,jobs=3,faulty=60,without=crash-master+set-quota"] {
        assert_eq!(text.parse::<Less>().expect("it reads").to_string(), text);
    }
}

#[test]
fn what_does_not_read_is_named() {
    for (text, got) in [("agents=2,bees=1", "bees=1"), ("agents=x", "agents=x"), ("without=rain", "without=rain")] {
        assert_eq!(text.parse::<Less>().expect_err("it does not read"), LessError { got: got.to_owned() });
    }
}

#[test]
fn less_of_a_plan_is_smaller_in_each_way() {
    let mut plan = Plan::draw(613, 10);
    let less: Less = "agents=1,frameworks=2,jobs=3,faulty=60,without=partition".parse().expect("it reads");
    less.cut(&mut plan);
    assert_eq!((plan.agents.len(), plan.frameworks.len()), (1, 2));
    assert!(plan.frameworks.iter().all(|framework| framework.jobs.len() <= 3));
    assert_eq!(plan.unsafe_for, Duration::from_secs(60));
    assert!(plan.faults.iter().all(|(fault, _)| *fault != Fault::Partition) && !plan.faults.is_empty());
}

/// Nothing that is left out may be needed to draw the rest: a run with less is a run.
#[test]
fn a_run_with_less_comes_to_rest() {
    let less = "agents=1,frameworks=1,jobs=4,faulty=120".parse().expect("it reads");
    run_faults(Options { less, ..Options::of(3) }).expect("it comes to rest");
}
