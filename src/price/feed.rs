//! `rialto price feed`: prices are read again and again and told to the master; what can't be read changes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rialto_sdk::MasterClient;
use rialto_sdk::core::master::Command;
use rialto_sdk::core::model::{Price, PriceKey, Quote};
use rialto_sim::prices;

use super::args::PriceFeed;
use super::source::Source;
use super::words;
use crate::output::line;

/// The longest time between two readings while they fail, unless the feed reads more seldom anyway.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Reads and tells until it is ended; or once, which fails if the reading does.
pub async fn feed(args: PriceFeed) -> anyhow::Result<()> {
    let source = Source::of(args.file.as_deref(), args.url.as_deref(), args.url_ca.as_deref())?;
    let client = args.connect.client().await?;
    let mut feeder = Feeder { source, client, timeout: args.timeout, began: Instant::now(), told: BTreeMap::new() };
    if args.once {
        return feeder.pass().await.map(|_| ());
    }
    let mut failures = 0;
    loop {
        let wait = match feeder.pass().await {
            Ok(next) => {
                failures = 0;
                next.map_or(args.every, |next| next.min(args.every))
            }
            Err(error) => {
                failures += 1;
                let wait = wait_after(args.every, failures);
                eprintln!("rialto: price feed: {error:#}; the prices stay as they are, next reading in {wait:?}");
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Twice as long after each failure.
fn wait_after(every: Duration, failures: u32) -> Duration {
    every.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(WAIT_MAX.max(every))
}

struct Feeder {
    source: Source,
    client: MasterClient,
    timeout: Duration,
    began: Instant,
    /// What the master was told last, to say what is new.
    told: BTreeMap<PriceKey, Option<Price>>,
}

impl Feeder {
    /// Reads the list and tells the master what holds now. In how long another price of the list begins, if one does.
    async fn pass(&mut self) -> anyhow::Result<Option<Duration>> {
        let points = self.source.read(self.timeout).await?;
        let after = self.began.elapsed();
        let quotes = prices::in_force(&points, after);
        if !quotes.is_empty() {
            // All of it each time, so that a master that has lost what others told it is right again.
            self.client.command(&Command::SetPrices(quotes.clone())).await.context("telling the master")?;
            self.say(quotes)?;
        }
        Ok(prices::next_after(&points, after))
    }

    /// Prints what is new.
    fn say(&mut self, quotes: Vec<Quote>) -> anyhow::Result<()> {
        for Quote { key, price } in quotes {
            let was = self.told.insert(key.clone(), price);
            match was {
                Some(was) if was == price => {}
                Some(was) => line(format_args!("{key}: {}, was {}", words(price), words(was)))?,
                None => line(format_args!("{key}: {}", words(price)))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_with_each_failure_up_to_a_bound() {
        let seconds = Duration::from_secs;
        let waits: Vec<Duration> = (1..=5).map(|failures| wait_after(seconds(30), failures)).collect();
        assert_eq!(waits, [60, 120, 240, 300, 300].map(seconds));
        assert_eq!(wait_after(seconds(3600), 9), seconds(3600), "a feed that reads seldom does not read more often");
        assert_eq!(wait_after(seconds(1), u32::MAX), seconds(300));
    }
}
