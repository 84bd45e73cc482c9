//! Those who say what they wait for are not kept waiting by those who take whatever comes.

use super::Master;
use crate::allocator::sorter::ClientIndex;
use crate::model::OfferMode;

impl Master {
    /// Everybody who takes offers, who comes first first: in the order of shares, but every second place, the first among them, goes to
    /// the next who has declared a demand. So it is offered what is free at once, however many others decline everything, and these are
    /// not passed over either. It holds for optimistic offers, which lock nothing.
    /// `taken` places have been given away already.
    pub(super) fn declared_first(&self, taken: usize) -> impl Iterator<Item = ClientIndex> + use<'_> {
        let ranking = || self.sorter.ranking_now().map(|(id, _, _)| id);
        let waits = |id: &ClientIndex| {
            self.clients.get(*id).is_some_and(|client| client.wanted.is_some() && client.mode == OfferMode::Optimistic)
        };
        let (mut declared, mut silent) = (ranking().filter(waits), ranking().filter(move |id| !waits(id)));
        // Once all who have declared something are found, nobody else is asked whether he has.
        let mut left = self.clients.declared();
        let mut next_declared = move || {
            left = left.checked_sub(1)?;
            declared.next()
        };
        let mut is_declared_next = taken % 2 == 1;
        std::iter::from_fn(move || {
            is_declared_next = !is_declared_next;
            if is_declared_next {
                next_declared().or_else(|| silent.next())
            } else {
                silent.next().or_else(&mut next_declared)
            }
        })
    }
}
