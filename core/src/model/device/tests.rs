use proptest::prelude::*;

use super::*;
use crate::model::{FrameworkId, TaskId, Term};

fn key(task: u8) -> TaskKey {
    TaskKey::new(FrameworkId::new(Term(1), 1), TaskId::new(&format!("t{task}")).expect("a good name"))
}

#[test]
fn an_exclusive_device_is_held_as_a_whole_and_cleaned_as_a_whole() {
    let mut state = DeviceState::Free;
    state.give(DeviceMode::Exclusive, &key(1), Share::WHOLE);
    assert_eq!((state.free_share(), state.is_held_by(&key(1))), (Share(0), true));
    assert!(!state.soil(&key(2), 1), "only its tenant leaves it");
    assert!(state.soil(&key(1), 1));
    assert_eq!(state, DeviceState::Cleaning { generation: 1 });
    assert_eq!(state.free_slice(&key(1)), None, "it has no slices");
}

#[test]
fn the_last_slice_that_is_cleaned_leaves_the_device_free() {
    let mut state = DeviceState::Free;
    state.give(DeviceMode::Shared, &key(1), Share(300));
    state.give(DeviceMode::Shared, &key(2), Share(700));
    assert_eq!(state.free_share(), Share(0));
    assert_eq!(state.free_slice(&key(1)), None, "a slice that is held is not free");
    assert!(state.soil(&key(1), 1) && state.soil(&key(2), 2));
    assert!(!state.soil(&key(1), 3), "it is left once");
    assert_eq!(state.holders().count(), 0);
    assert_eq!(state.free_slice(&key(1)), Some(Share(300)));
    assert_eq!(state.free_share(), Share(300));
    assert_eq!(state.free_slice(&key(2)), Some(Share(700)));
    assert_eq!(state, DeviceState::Free);
}

proptest! {
    #[test]
    fn what_is_free_and_what_slices_take_is_the_whole(steps in prop::collection::vec((0..6_u8, 1..=1000_u16, 0..3_u8), 0..60)) {
        let mut state = DeviceState::Free;
        for (task, share, what) in steps {
            match what {
                0 if share <= state.free_share().0 && state.slices().all(|(holder, _)| *holder != key(task)) => {
                    state.give(DeviceMode::Shared, &key(task), Share(share));
                }
                1 => drop(state.soil(&key(task), 1)),
                _ => drop(state.free_slice(&key(task))),
            }
            let taken: u16 = state.slices().map(|(_, slice)| slice.share.0).sum();
            prop_assert_eq!(taken + state.free_share().0, Share::WHOLE.0);
            prop_assert_eq!(taken == 0, state == DeviceState::Free);
        }
    }
}
