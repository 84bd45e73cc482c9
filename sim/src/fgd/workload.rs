//! The order in which tasks arrive.

use rialto_core::scheduler::placement::gpu::GpuAsk;

use super::Node;
use crate::dice::Dice;

/// All GPU there is, in thousandths.
pub(super) fn capacity(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| u64::from(node.gpus) * 1000).sum()
}

/// In random order.
pub(super) fn shuffled<T: Clone>(items: &[T], dice: &mut Dice) -> Vec<T> {
    let mut items = items.to_vec();
    for at in (1..items.len()).rev() {
        items.swap(at, dice.count(0, at));
    }
    items
}

/// The tasks in random order, until they ask for `wanted` thousandths of a GPU: random ones of them are repeated at the end, or random
/// ones left out, as it takes.
pub(super) fn arrivals(pods: &[GpuAsk], wanted: u64, dice: &mut Dice) -> Vec<GpuAsk> {
    let mut arrivals = shuffled(pods, dice);
    let mut asked: u64 = arrivals.iter().map(demand).sum();
    while asked > wanted && !arrivals.is_empty() {
        let out = arrivals.remove(dice.count(0, arrivals.len() - 1));
        asked -= demand(&out);
    }
    // Where no task asks for a GPU, none repeated would ever reach it.
    while asked > 0 && asked < wanted {
        let Some(next) = dice.pick(pods) else { break };
        // The rule of the original experiment, which counts one GPU of the task here.
        if asked + u64::from(next.share.0) > wanted {
            break;
        }
        asked += demand(next);
        arrivals.push(next.clone());
    }
    arrivals
}

fn demand(ask: &GpuAsk) -> u64 {
    u64::from(ask.gpus) * u64::from(ask.share.0)
}
