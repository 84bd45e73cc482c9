//! V9: weighted dominant resource fairness: worked examples of Ghodsi et al. (NSDI 2011) and of Mesos' tests, and the theorems on
//! random instances, all with the production sorter.

mod pool;
mod vectors;

use self::pool::{Misfit, Pool};
use super::check::{Check, Row, Verdict};
use super::{Effort, Part};
use crate::dice::Dice;

const INSTANCES: usize = 10_000;

pub(super) fn check(effort: Effort) -> Check {
    let instances = if effort == Effort::Quick { 200 } else { INSTANCES };
    let divisible: Part = Box::new(move || violations(instances, true));
    let discrete: Part = Box::new(move || violations(instances, false));
    let judge = move |found: &[Vec<f64>]| {
        let mut rows = Vec::new();
        for vector in vectors::all() {
            let (what, tolerance, verdict) =
                (vector.what.to_owned(), vector.tolerance.to_owned(), Verdict::of(vector.holds));
            rows.push(Row { id: "V9", what, expected: vector.expected, got: vector.got, tolerance, verdict });
        }
        for (kind, found) in [("of tasks that can be divided", &found[0]), ("of whole tasks", &found[1])] {
            for (law, count) in LAWS.iter().zip(found) {
                let what = format!("{instances} random instances {kind}: violations of {law}");
                rows.push(Row::at_most("V9", what, 0.0, *count));
            }
        }
        rows
    };
    Check { parts: vec![divisible, discrete], judge: Box::new(judge) }
}

const LAWS: [&str; 6] = [
    "nearly equal shares of those who wait",
    "Pareto efficiency",
    "the sharing incentive",
    "freedom from envy",
    "truthfulness",
    "no loss by another's leaving",
];

/// How many instances break each law. Those after the second hold for tasks that can be divided only.
fn violations(instances: usize, divisible: bool) -> Vec<f64> {
    let mut dice = Dice::child(9, if divisible { "divisible" } else { "whole" });
    let mut broken = [0.0; LAWS.len()];
    for number in 0..instances {
        let pool = Pool::random(&mut dice, if divisible { 1000 } else { 1 });
        let filled = pool.fill(if divisible { Misfit::EndsResource } else { Misfit::EndsUser });
        let mut note = |law: usize, holds: bool| broken[law] += f64::from(u8::from(!holds));
        note(0, filled.spread <= pool.largest_step() * (1.0 + 1e-9));
        let users = 0..pool.users.len();
        note(1, users.clone().all(|user| pool.is_blocked(&filled, user)));
        if !divisible {
            continue;
        }
        note(2, users.clone().all(|user| pool.has_incentive(&filled, user)));
        note(3, users.clone().all(|user| users.clone().all(|other| !pool.envies(&filled, user, other))));
        note(4, !pool.gains_by_lying(&filled, &mut dice));
        note(5, !pool.loses_by_leaving(&filled, number % pool.users.len()));
    }
    // Whole tasks promise no more than the first two.
    let laws = if divisible { LAWS.len() } else { 2 };
    broken.into_iter().take(laws).collect()
}
