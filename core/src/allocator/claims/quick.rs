//! The common claim, answered by counting: one alternative, so many devices, nothing that must hold across them.

use super::suits;
use crate::model::{Claim, Count, Device, Share};

/// Whether `claims` can be met by `known`, where that takes no search; none where it does. Says the same as
/// [`resolve`](super::resolve), and nothing of why not.
pub(crate) fn quick<'a>(claims: &[Claim], known: impl IntoIterator<Item = (&'a Device, Share)>) -> Option<bool> {
    let claim = match claims {
        [] => return Some(true),
        [claim] => claim,
        _ => return None,
    };
    let [alternative] = claim.alternatives.as_slice() else { return None };
    let Count::Exactly(wanted) = alternative.count else { return None };
    if !alternative.constraints.is_empty() {
        return None;
    }
    let wanted = usize::from(wanted);
    let suiting = known.into_iter().filter(|(device, free)| suits(alternative, device, *free));
    Some(suiting.take(wanted).count() == wanted)
}
