//! `rialto price`: what machines cost, by hand or from a feed.

pub mod args;
mod feed;
mod source;

use anyhow::Context as _;
use rialto_master::api;
use rialto_sdk::core::master::Command;
use rialto_sdk::core::model::{Price, PriceKey, Quote};

use self::args::{PriceArgs, PriceCommand, PriceOf};
use crate::cli::{Connect, Query};
use crate::output::{ago, json, line, table};

/// `rialto price`.
pub async fn price(args: PriceArgs) -> anyhow::Result<()> {
    match args.command {
        None => show(args.query).await,
        Some(PriceCommand::Set(set)) => tell(&set.of, set.region.as_deref(), Some(set.price), &set.connect).await,
        Some(PriceCommand::Remove(remove)) => tell(&remove.of, remove.region.as_deref(), None, &remove.connect).await,
        Some(PriceCommand::Feed(args)) => feed::feed(args).await,
    }
}

async fn show(query: Query) -> anyhow::Result<()> {
    let client = query.connect.client().await?;
    let found: api::Prices = client.get_json("/api/prices").await?;
    if query.json {
        return json(&found);
    }
    let rows = found.prices.iter().map(|row| {
        let price = Price::from_f64(row.price).to_string();
        let region = row.region.clone().unwrap_or_default();
        vec![row.pool.clone(), row.class.clone(), region, price, format!("{} ago", ago(row.since_ms))]
    });
    table(&["pool", "class", "region", "price", "since"], rows.collect(), "no price is known")?;
    Ok(())
}

async fn tell(of: &PriceOf, region: Option<&str>, price: Option<Price>, connect: &Connect) -> anyhow::Result<()> {
    let key = PriceKey::new(&of.pool, of.class, region)?;
    let client = connect.client().await?;
    let quote = Quote { key: key.clone(), price };
    client.command(&Command::SetPrices(vec![quote])).await.with_context(|| key.to_string())?;
    line(format_args!("{key}: {}", words(price)))?;
    Ok(())
}

/// A price, for people.
fn words(price: Option<Price>) -> String {
    price.map_or_else(|| "not known".to_owned(), |price| price.to_string())
}
