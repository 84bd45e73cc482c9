//! Tasks of any size: how far apart the shares of two users who both wait may be.

use super::random::{INSTANCES, Instances};
use super::*;

/// After every placement the weighted shares of two users who wait differ by at most the larger step of one task.
#[test]
fn shares_of_those_who_wait_differ_by_one_task_at_most() {
    for (number, pool) in Instances::whole().take(INSTANCES).enumerate() {
        for misfit in [Misfit::EndsAll, Misfit::EndsUser] {
            let filled = pool.fill(misfit);
            let bound = pool.largest_step() * (1.0 + 1e-9);
            assert!(filled.spread <= bound, "instance {number}: {} > {bound}: {pool:?} {filled:?}", filled.spread);
        }
    }
}

#[test]
fn when_all_are_done_no_task_of_anybody_fits() {
    for (number, pool) in Instances::whole().take(INSTANCES).enumerate() {
        let filled = pool.fill(Misfit::EndsUser);
        let used = |at: usize| -> u64 {
            pool.users.iter().zip(&filled.tasks).map(|(user, tasks)| user.task[at] * tasks).sum()
        };
        for (at, user) in pool.users.iter().enumerate() {
            let lacks = (0..RESOURCES).any(|resource| used(resource) + user.task[resource] > pool.total[resource]);
            assert!(lacks, "instance {number}: one more task of user {at} fits: {pool:?} {filled:?}");
        }
    }
}

/// Whoever is not first has somebody with a smaller share before him: the order is that of the shares, exactly.
#[test]
fn the_first_to_place_always_has_the_smallest_share() {
    for (number, pool) in Instances::whole().take(INSTANCES).enumerate() {
        let filled = pool.fill(Misfit::EndsAll);
        let mut tasks = vec![0_u64; pool.users.len()];
        for user in filled.placed {
            let share = |at: usize| tasks[at] as f64 * pool.step(at);
            let least = (0..tasks.len()).map(share).fold(f64::MAX, f64::min);
            assert!(share(user) <= least * (1.0 + 1e-9), "instance {number}: user {user} of {pool:?}, {tasks:?}");
            tasks[user] += 1;
        }
    }
}
