use super::TaskState::{
    Dropped, Error, Failed, Finished, Gone, GoneByOperator, Killed, Killing, Lost, Running, Staging, Starting, Unknown,
    Unreachable,
};
use super::*;

const TERMINAL: [TaskState; 8] = [Finished, Failed, Killed, Error, Lost, Dropped, Gone, GoneByOperator];

fn task(id: &str, resources: &str) -> Task {
    Task {
        id: TaskId::new(id).unwrap(),
        name: Arc::from(id),
        role: Role::any(),
        resources: resources.parse().unwrap(),
        claims: Vec::new(),
        priority: 0,
        kill_grace: Duration::from_secs(5),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new([]),
    }
}

fn followers(state: TaskState) -> Vec<TaskState> {
    TaskState::ALL.into_iter().filter(|next| state.may_become(*next)).collect()
}

/// The table of Mesos, with what we add to it: a live task may stay in its state, may be killed while it starts, and may end in any
/// way, so that no end is ever turned away.
#[test]
fn a_task_moves_as_in_mesos() {
    for (state, live) in [
        (Staging, vec![Staging, Starting, Running, Killing, Unreachable]),
        (Starting, vec![Starting, Running, Killing, Unreachable]),
        (Running, vec![Running, Killing, Unreachable]),
        (Killing, vec![Killing, Unreachable]),
        (Unreachable, vec![Staging, Starting, Running, Killing, Unreachable]),
    ] {
        let mut expected: Vec<TaskState> = live.into_iter().chain(TERMINAL).collect();
        let mut found = followers(state);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{state}");
    }
}

#[test]
fn nothing_follows_an_end() {
    for state in TaskState::ALL {
        assert_eq!(state.is_terminal(), TERMINAL.contains(&state), "{state}");
        assert!(!state.may_become(Unknown), "{state}: nobody ever is in an unknown state");
    }
    for state in TERMINAL.into_iter().chain([Unknown]) {
        assert_eq!(followers(state), [], "{state}");
    }
}

#[test]
fn states_have_the_numbers_and_names_of_mesos() {
    let names = [
        "STARTING",
        "RUNNING",
        "FINISHED",
        "FAILED",
        "KILLED",
        "LOST",
        "STAGING",
        "ERROR",
        "KILLING",
        "DROPPED",
        "UNREACHABLE",
        "GONE",
        "GONE_BY_OPERATOR",
        "UNKNOWN",
    ];
    let mut all = TaskState::ALL;
    all.sort_by_key(|state| *state as u8);
    for (number, (state, name)) in all.into_iter().zip(names).enumerate() {
        assert_eq!(state as usize, number);
        assert_eq!(state.to_string(), format!("TASK_{name}"));
    }
}

#[test]
fn reasons_have_names_and_numbers_of_their_own() {
    for (at, reason) in Reason::ALL.iter().enumerate() {
        for other in &Reason::ALL[..at] {
            assert_ne!(reason.as_str(), other.as_str());
            assert_ne!(*reason as u32, *other as u32);
        }
    }
    assert!(!Reason::CommandFailed.is_infrastructure());
    assert!(Reason::DeviceUnavailable.is_infrastructure());
}

#[test]
fn a_group_asks_for_what_its_tasks_ask_for_together() {
    let group = TaskGroup { tasks: vec![task("a", "cpus:1;ports:[1-2]"), task("b", "cpus:2;mem:64;ports:[4]")] };
    assert_eq!(group.resources(), "cpus:3;mem:64;ports:[1-2,4]".parse().unwrap());
    assert_eq!(group.leader().as_str(), "a");
}

#[test]
fn a_group_that_asks_for_a_port_twice_can_still_be_summed_up() {
    let group = TaskGroup { tasks: vec![task("a", "ports:[1-2]"), task("b", "ports:[2-3]")] };
    assert_eq!(group.resources(), "ports:[1-3]".parse().unwrap());
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let status = || Status::new(TaskId::new("t").unwrap(), Failed, Source::Agent);
    let fits = "x".repeat(Status::MAX_MESSAGE);
    assert_eq!(&*status().because(Reason::CommandFailed, &fits).message, fits);
    let message = format!("{}ä", "x".repeat(Status::MAX_MESSAGE - 1));
    let cut = status().because(Reason::CommandFailed, &message);
    assert_eq!(&*cut.message, "x".repeat(Status::MAX_MESSAGE - 1));
    assert_eq!(cut.reason, Some(Reason::CommandFailed));
    assert_eq!(&*status().because(Reason::CommandFailed, "").message, "");
}

#[test]
fn the_end_of_a_command_is_told_in_words() {
    assert_eq!(Exit::Code(3).to_string(), "exit code 3");
    assert_eq!(Exit::Signal(9).to_string(), "signal 9");
}
