//! Tasks that name only amounts are given those reserved for their role first: others can't use them.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::model::{Amounts, Flavor, Milli, Quantities, Ranges, ResourceName, Resources};

#[cfg(test)]
mod tests;

/// `asked`, with what it asks for plainly taken from what is reserved first, as far as that is both `offered` and `free`.
///
/// What of a reservation is `named` elsewhere in the same acceptance is used last. Amounts that are not there are left as they were asked
/// for, so that the judgement that follows finds them missing.
pub fn resolve(asked: &Resources, offered: &Resources, free: &Resources, named: &Resources) -> Resources {
    let Some(wanted) = asked.get(&Flavor::default()) else { return asked.clone() };
    let mut reserved: Vec<&Flavor> = offered
        .iter()
        .map(|(flavor, _)| flavor)
        .filter(|flavor| flavor.role().is_some() && flavor.is_plain())
        .collect();
    if reserved.is_empty() {
        return asked.clone();
    }
    reserved.sort_by_key(|flavor| Reverse(flavor.reservations.len()));
    let plain = Resources::flavored(Flavor::default(), wanted.clone()).without_devices();
    let mut taken = asked.clone();
    let was_asked = taken.subtract(&plain);
    debug_assert!(was_asked, "it is a part of what is asked");
    let default = Flavor::default();
    let nothing = Resources::new();
    let passes = reserved.iter().map(|flavor| (*flavor, named)).chain([(&default, &nothing)]);
    let passes: Vec<(&Flavor, &Resources)> = passes.chain(reserved.iter().map(|flavor| (*flavor, &nothing))).collect();
    let mut missing = plain;
    for (flavor, kept) in passes {
        let Some(amounts) = missing.get(&default) else { break };
        let part = common(amounts, &[offered.get(flavor), free.get(flavor)], &[taken.get(flavor), kept.get(flavor)]);
        let was_missing = missing.subtract(&Resources::flavored(default.clone(), part.clone()));
        debug_assert!(was_missing, "it is a part of what is missing");
        taken.add(&Resources::flavored(flavor.clone(), part));
    }
    if missing.is_empty() { taken } else { asked.clone() }
}

/// What of `wanted` is in all of `within`, less all of `less`.
fn common(wanted: &Amounts, within: &[Option<&Amounts>], less: &[Option<&Amounts>]) -> Amounts {
    let less: Vec<&Amounts> = less.iter().copied().flatten().collect();
    let mut common = Amounts::default();
    let Some(within) = within.iter().copied().collect::<Option<Vec<&Amounts>>>() else { return common };
    common.scalars = scalars(&wanted.scalars, &within, &less);
    for (name, ranges) in &wanted.ranges {
        let of = |amounts: &Amounts| amounts.ranges.get(name).cloned().unwrap_or_default();
        let here = within.iter().fold(ranges.clone(), |left, amounts| left.intersection(&of(amounts)));
        let here: Ranges = less.iter().fold(here, |left, amounts| left.difference(&of(amounts)));
        common.ranges.insert(name.clone(), here);
    }
    for (name, items) in &wanted.sets {
        let has = |amounts: &Amounts, item: &str| amounts.sets.get(name).is_some_and(|set| set.contains(item));
        let free = |item: &&Arc<str>| within.iter().all(|all| has(all, item)) && !less.iter().any(|all| has(all, item));
        common.sets.insert(name.clone(), items.iter().filter(free).cloned().collect());
    }
    common.ranges.retain(|_, ranges| !ranges.is_empty());
    common.sets.retain(|_, items| !items.is_empty());
    common
}

fn scalars(wanted: &Quantities, within: &[&Amounts], less: &[&Amounts]) -> Quantities {
    let mut common = Quantities::new();
    for (name, amount) in wanted.iter() {
        let there = within.iter().map(|amounts| amounts.scalars.get(name)).min().unwrap_or(Milli::ZERO);
        let used = sum(less, name);
        common.set(name, there.minus(used).unwrap_or(Milli::ZERO).min(amount));
    }
    common
}

fn sum(all: &[&Amounts], name: &ResourceName) -> Milli {
    all.iter().fold(Milli::ZERO, |sum, amounts| sum.plus(amounts.scalars.get(name)))
}
