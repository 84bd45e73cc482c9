//! What machines cost, as operators and their feeds tell it. Prices decide nothing here: they are kept, and every framework is told.

use super::registry::{PriceRecord, Record};
use super::view::PriceView;
use super::{Master, Outbox};
use crate::gate::Output;
use crate::model::{Event, FrameworkId, PriceChange, PriceKey, Prices, Quote, Reject};
use crate::planted::{Fault, planted};

impl Master {
    /// Takes prices in, all or none. Those that are as they were change nothing, and nobody hears of them.
    pub(super) fn set_prices(&mut self, quotes: &[Quote], out: &mut Outbox) -> Result<(), Reject> {
        self.check_quotes(quotes)?;
        let since = self.wall();
        let mut changes = Vec::new();
        for Quote { key, price } in quotes {
            let old = self.prices.get(key).map(|record| record.price);
            if old == *price {
                continue;
            }
            let record = price.map(|price| PriceRecord { price, since });
            match record {
                Some(record) => drop(self.prices.insert(key.clone(), record)),
                None => drop(self.prices.remove(key)),
            }
            self.touched.prices.insert(key.clone());
            out.push(Output::Persist(Record::Price(key.clone(), record)));
            changes.push(PriceChange { key: key.clone(), old, new: *price });
        }
        self.stats.price_changes += changes.len() as u64;
        if !changes.is_empty() {
            let frameworks: Vec<FrameworkId> = self.frameworks.keys().copied().collect();
            frameworks.iter().for_each(|framework| self.tell(*framework, Event::Prices(changes.clone()), out));
        }
        Ok(())
    }

    fn check_quotes(&self, quotes: &[Quote]) -> Result<(), Reject> {
        if quotes.is_empty() || quotes.len() > Prices::MAX {
            return Err(Reject::invalid("prices", format!("expected 1 to {}, got {}", Prices::MAX, quotes.len())));
        }
        let mut keys: Vec<&PriceKey> = quotes.iter().map(|quote| &quote.key).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Reject::invalid("prices", format!("expected each once, got {} twice", pair[0])));
        }
        let is_known = |quote: &&Quote| self.prices.contains_key(&quote.key);
        let fewer = quotes.iter().filter(|quote| quote.price.is_none()).filter(is_known).count();
        let more = quotes.iter().filter(|quote| quote.price.is_some()).filter(|quote| !is_known(quote)).count();
        if self.prices.len() + more - fewer > Prices::MAX {
            return Err(Reject::Limit { what: "prices", limit: Prices::MAX as u64 });
        }
        Ok(())
    }

    /// A framework that is newly connected hears of every price that holds.
    pub(super) fn tell_prices(&self, framework: FrameworkId, out: &mut Outbox) {
        let known = |(key, record): (&PriceKey, &PriceRecord)| PriceChange {
            key: key.clone(),
            old: None,
            new: Some(record.price),
        };
        if !self.prices.is_empty() && !planted(Fault::PricesNotTold) {
            self.tell(framework, Event::Prices(self.prices.iter().map(known).collect()), out);
        }
    }

    pub(super) fn price_view(&self, key: &PriceKey) -> Option<PriceView> {
        self.prices.get(key).map(|record| PriceView { price: record.price, since: record.since })
    }
}

#[cfg(test)]
mod tests;
