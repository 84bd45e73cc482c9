//! The offers of one framework.

use crate::model::OfferId;

/// So many that are over are always allowed for.
const OVER_MAX: usize = 16;

/// Offers in the order in which they were made. One that is over stays in the list until half of them are, so that offers come and go at
/// the cost of a push and a count; who asks for those that stand says how to tell.
#[derive(Debug, Default)]
pub(super) struct OfferList {
    ids: Vec<OfferId>,
    /// How many of them are over.
    over: usize,
}

impl OfferList {
    pub(super) fn push(&mut self, id: OfferId) {
        self.ids.push(id);
    }

    /// One of them is over; `stands` says of any whether it is not.
    pub(super) fn end_one(&mut self, stands: impl Fn(&OfferId) -> bool) {
        self.over += 1;
        if self.over > self.ids.len() / 2 + OVER_MAX {
            self.ids.retain(stands);
            self.over = 0;
        }
    }

    /// Those that stand, and perhaps some that are over.
    pub(super) fn named(&self) -> impl Iterator<Item = OfferId> {
        self.ids.iter().copied()
    }
}

#[cfg(test)]
mod tests;
