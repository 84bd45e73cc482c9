//! Those who say what they wait for are not kept waiting by those who take whatever comes.

use super::Master;
use super::clients::Client;
use crate::allocator::sorter::ClientIndex;

impl Master {
    /// Everybody who takes offers, who comes first first: in the order of shares, but every second place, the first among them, goes to
    /// one who has declared a demand, if any of them takes it. So they are offered what is free at once, however many others decline
    /// everything or lock all they are offered, and these are not passed over either. It holds for optimistic offers, which lock nothing.
    /// `taken` places have been given away already.
    pub(super) fn declared_first(&self, taken: usize) -> impl Iterator<Item = ClientIndex> + use<'_> {
        let ranking = || self.sorter.ranking_now().map(|(id, _, _)| id);
        let waits = |id: &ClientIndex| self.clients.get(*id).is_some_and(Client::has_declared);
        // Once all who have declared something are found, nobody else is asked whether he has.
        let mut left = self.clients.declared();
        let mut declared = (left > 0).then(|| ranking().filter(waits));
        let mut silent = ranking().filter(move |id| !waits(id));
        let mut next_declared = move || {
            left = left.checked_sub(1)?;
            declared.as_mut()?.next()
        };
        let is_declared_next = taken.is_multiple_of(2);
        std::iter::from_fn(move || {
            if is_declared_next {
                next_declared().or_else(|| silent.next())
            } else {
                silent.next().or_else(&mut next_declared)
            }
        })
    }
}
