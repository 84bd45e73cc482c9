//! Those who say what they wait for are not kept waiting by those who take whatever comes.

use super::Master;
use super::clients::{Client, Clients};
use crate::allocator::sorter::{ClientIndex, Ranking};

/// See [`Master::declared_first`].
pub(super) struct DeclaredFirst<'a> {
    clients: &'a Clients,
    /// Walks over those who have declared nothing.
    silent: Ranking<'a>,
    /// Walks over those who have; nobody else is asked whether he has, once all of them are found.
    declared: Option<Ranking<'a>>,
    /// How many of these are still to be found.
    left: usize,
    is_declared_next: bool,
}

impl Master {
    /// Everybody who takes offers, who comes first first: in the order of shares, but every second place, the first among them, goes to
    /// one who has declared a demand, if any of them takes it. So they are offered what is free at once, however many others decline
    /// everything or lock all they are offered, and these are not passed over either. It holds for optimistic offers, which lock nothing.
    /// `taken` places have been given away already.
    pub(super) fn declared_first(&self, taken: usize) -> DeclaredFirst<'_> {
        let left = self.clients.declared();
        DeclaredFirst {
            clients: &self.clients,
            silent: self.sorter.ranking_now(),
            declared: (left > 0).then(|| self.sorter.ranking_now()),
            left,
            is_declared_next: taken.is_multiple_of(2),
        }
    }
}

impl DeclaredFirst<'_> {
    fn next_declared(&mut self) -> Option<ClientIndex> {
        self.left = self.left.checked_sub(1)?;
        let mut ranking = self.declared.as_mut()?.map(|(id, ..)| id);
        ranking.find(|id| self.clients.get(*id).is_some_and(Client::has_declared))
    }

    fn next_silent(&mut self) -> Option<ClientIndex> {
        let mut ranking = self.silent.by_ref().map(|(id, ..)| id);
        if self.declared.is_none() {
            return ranking.next();
        }
        ranking.find(|id| !self.clients.get(*id).is_some_and(Client::has_declared))
    }
}

impl Iterator for DeclaredFirst<'_> {
    type Item = ClientIndex;

    fn next(&mut self) -> Option<ClientIndex> {
        if self.is_declared_next {
            self.next_declared().or_else(|| self.next_silent())
        } else {
            self.next_silent().or_else(|| self.next_declared())
        }
    }
}
