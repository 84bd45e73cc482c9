//! Why jobs wait.

use std::collections::BTreeMap;

use rialto_core::model::Price;

use super::super::left::Kind;
use super::super::outcome::Why;
use super::Run;

impl Run<'_> {
    /// Once a day, why jobs wait.
    pub(super) fn ask_why(&mut self) {
        for at in 0..self.crowds.len() {
            let mut known: BTreeMap<usize, Why> = BTreeMap::new();
            for number in self.crowds[at].waiting.clone() {
                let kind = self.crowds[at].kinds[self.crowds[at].jobs[number].listed as usize];
                let why = *known.entry(kind).or_insert_with(|| self.why(at, kind));
                self.crowds[at].jobs[number].why = Some(why);
                self.reasons.add(why);
            }
            let crowd = &mut self.crowds[at];
            crowd.account.count(crowd.waiting.len());
        }
    }

    /// Why those wait that were submitted last.
    pub(super) fn ask_the_fresh(&mut self) {
        for (at, number) in std::mem::take(&mut self.fresh) {
            if self.crowds[at].waiting.contains(&number) {
                let kind = self.crowds[at].kinds[self.crowds[at].jobs[number].listed as usize];
                self.crowds[at].jobs[number].why = Some(self.why(at, kind));
            }
        }
    }

    /// Why a job of that kind would wait now.
    fn why(&self, at: usize, kind: usize) -> Why {
        let (workload, now) = (&self.way.scenario.workloads[at], self.market.now);
        let ask = &self.asks[at][kind];
        let held = self.crowds[at].account.held.value();
        let most = self.quotas[at].and_then(|quota| if self.counts_gpus { quota.gpus_max } else { quota.cpus_max });
        if most.is_some_and(|most| held + self.size_asked(ask) > most + 1e-9) {
            return Why::Quota;
        }
        let pools = &self.way.scenario.pools;
        let price = |kind: Kind| {
            let rental = pools[kind.pool].rental.as_ref().filter(|_| kind.is_rented);
            rental.map_or(Price(0), |rental| rental.price_at(now))
        };
        self.left.why(ask, |kind| workload.max_price.is_none_or(|max| price(kind) <= max))
    }
}
