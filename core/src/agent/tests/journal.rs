use super::language::{FRAMEWORK, agent, key, launch_of, replay, task};
use crate::agent::{End, Journal, KillCause, Record};
use crate::model::{Exit, Source, Status, TaskState, Term, UpdateId};

#[test]
fn records_that_do_not_fit_change_nothing() {
    let status = Status::new(key("t9").task, TaskState::Running, Source::Agent);
    let strays = vec![
        Record::Update { framework: FRAMEWORK, status },
        Record::Acknowledged { task: key("t9"), uuid: UpdateId(1) },
        Record::Kill { task: key("t9"), cause: KillCause::Requested },
        Record::Forgotten { task: key("t9") },
        Record::Released(super::language::gang(1)),
        Record::FrameworkRemoved(FRAMEWORK),
    ];
    assert_eq!(replay(&strays), Journal::default());
}

#[test]
fn a_repeated_launch_record_changes_nothing() {
    let launch = Record::Launch(launch_of(vec![task("t1", "cpus:1")]));
    let once = replay(std::slice::from_ref(&launch));
    assert_eq!(replay(&[launch.clone(), launch]), once);
    assert_eq!(once.launches().count(), 1);
    assert_eq!(once.live_tasks().collect::<Vec<_>>(), [&key("t1")]);
}

#[test]
fn the_highest_term_counts() {
    let journal = replay(&[Record::Term(Term(5)), Record::Term(Term(3))]);
    assert!(journal.snapshot().contains(&Record::Term(Term(5))));
}

#[test]
fn a_compacted_journal_keeps_members_of_a_group_that_are_acknowledged_before_the_others() {
    let mut a = agent();
    a.launch_group(vec![task("t1", "cpus:1"), task("t2", "cpus:1")]);
    a.expect_start("t1");
    a.ends("t1", End::Exited(Exit::Code(0)));
    a.expect_update("t1", TaskState::Finished);
    a.ack("t1");
    a.crash_and_recover();
    let compacted = replay(&a.agent.snapshot());
    assert_eq!(&compacted, a.agent.journal());
    assert_eq!(a.connect().tasks.len(), 1, "of the other nobody needs to hear again");
    a.exits("t2", 0);
    a.expect_update("t2", TaskState::Finished);
    a.ack("t2");
    a.expect_forget("t1");
}
