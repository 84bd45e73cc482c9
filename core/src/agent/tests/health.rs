use super::language::agent;
use crate::agent::{End, Finding};
use crate::model::{Exit, Reason, TaskHealth, TaskState};

#[test]
fn a_change_of_health_is_an_update() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.finds("t1", Finding::Healthy);
    assert_eq!(a.expect_update("t1", TaskState::Running).health, Some(TaskHealth::Healthy));
    a.ack("t1");
    a.finds("t1", Finding::Healthy);
    a.expect_nothing();
    a.finds("t1", Finding::Unhealthy);
    assert_eq!(a.expect_update("t1", TaskState::Running).health, Some(TaskHealth::Unhealthy));
}

#[test]
fn a_task_that_stays_unhealthy_fails() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.finds("t1", Finding::Condemned);
    assert_eq!(a.expect_update("t1", TaskState::Running).health, Some(TaskHealth::Unhealthy));
    a.expect_kill("t1");
    a.ack("t1");
    a.ends("t1", End::Killed(Some(Exit::Signal(15))));
    let status = a.expect_update("t1", TaskState::Failed);
    assert_eq!((status.reason, status.health), (Some(Reason::Unhealthy), Some(TaskHealth::Unhealthy)));
}

#[test]
fn changes_of_health_do_not_pile_up_while_the_master_is_away() {
    let mut a = agent();
    a.run("t1", "cpus:1");
    a.disconnect();
    for _ in 0..100 {
        a.finds("t1", Finding::Healthy);
        a.finds("t1", Finding::Unhealthy);
    }
    a.exits("t1", 0);
    a.connect();
    for health in [TaskHealth::Healthy, TaskHealth::Unhealthy] {
        assert_eq!(a.expect_update("t1", TaskState::Running).health, Some(health));
        a.ack("t1");
    }
    a.expect_update("t1", TaskState::Finished);
    a.ack("t1");
    a.expect_forget("t1");
}

#[test]
fn the_health_of_a_task_that_does_not_run_says_nothing() {
    let mut a = agent();
    a.launch("t1", "cpus:1");
    a.expect_start("t1");
    a.finds("t1", Finding::Condemned);
    a.expect_nothing();
}
