//! What machines cost, as an operator or a feed tells the master and the master tells every framework.
//!
//! A price is of a *pool*: the agents whose attribute `pool` says so. Where a pool can be had in several ways, the agents' attribute
//! `price_class` says which (`on_demand` where it says nothing), and a price may be that of one region. Scenarios of the simulator use the
//! same types: there, each step of a rented pool's price is such a change.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Attribute, Selector, is_name_char};

#[cfg(test)]
mod tests;

/// Money for one machine and hour, in millionths of the operator's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(pub u64);

/// Why something is no price, or not that of a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not a decimal number, or one out of bounds.
    #[error("price: expected a number from 0 to {max} with at most six decimals, such as 0.35, got {0:?}", max = Price::MAX)]
    Price(String),
    /// No class.
    #[error("class: expected on_demand, reserved or spot, got {0:?}")]
    Class(String),
    /// No name of a pool or region.
    #[error("{field}: expected 1 to {max} letters, digits, '_', '-' or '.', got {got:?}", max = PriceKey::MAX_NAME)]
    Name {
        /// Which of them.
        field: &'static str,
        /// What it is.
        got: String,
    },
}

impl Price {
    /// The highest that is accepted.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// The price of so many units, rounded to millionths and kept within bounds.
    pub fn from_f64(units: f64) -> Self {
        Self(((units.max(0.0) * 1e6).round() as u64).min(Self::MAX.0))
    }

    /// As a floating-point number of units, for display, metrics and sums over time only.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let bad = || PriceError::Price(text.to_owned());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        if whole.is_empty() || decimals.is_empty() || decimals.len() > 6 {
            return Err(bad());
        }
        let number = |digits: &str| super::from_digits::<u64>(digits).ok_or_else(bad);
        let millionths = number(decimals)? * 10_u64.pow(6 - decimals.len() as u32);
        let price = number(whole)?.checked_mul(1_000_000).and_then(|whole| whole.checked_add(millionths));
        price.map(Self).filter(|price| *price <= Self::MAX).ok_or_else(bad)
    }
}

/// `0.35`; parses again.
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, millionths) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if millionths == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{millionths:06}").trim_end_matches('0'))
    }
}

/// How machines are paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PriceClass {
    /// By the hour, for as long as one likes.
    #[default]
    OnDemand,
    /// For years; or bought.
    Reserved,
    /// By the hour, until the provider wants them back.
    Spot,
}

impl PriceClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OnDemand, Self::Reserved, Self::Spot];

    /// The word for it, as the attribute `price_class` says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on_demand",
            Self::Reserved => "reserved",
            Self::Spot => "spot",
        }
    }
}

impl FromStr for PriceClass {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == text);
        found.ok_or_else(|| PriceError::Class(text.to_owned()))
    }
}

impl fmt::Display for PriceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What has a price.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PriceKey {
    pool: Arc<str>,
    class: PriceClass,
    region: Option<Arc<str>>,
}

impl PriceKey {
    /// The longest name of a pool or region, in bytes.
    pub const MAX_NAME: usize = 64;

    /// Machines of the pool of that name, paid for like that; in that region, or in all that have no price of their own.
    ///
    /// # Errors
    /// Which of the names is none.
    pub fn new(pool: &str, class: PriceClass, region: Option<&str>) -> Result<Self, PriceError> {
        let region = region.map(|region| name("region", region)).transpose()?;
        Ok(Self { pool: name("pool", pool)?, class, region })
    }

    /// The pool.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// How it is paid for.
    pub const fn class(&self) -> PriceClass {
        self.class
    }

    /// The region; none if it is for all that have no price of their own.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

fn name(field: &'static str, text: &str) -> Result<Arc<str>, PriceError> {
    let good = !text.is_empty() && text.len() <= PriceKey::MAX_NAME && text.chars().all(is_name_char);
    if good { Ok(Arc::from(text)) } else { Err(PriceError::Name { field, got: text.to_owned() }) }
}

/// `G2 spot`, or `G2 spot in eu-west`.
impl fmt::Display for PriceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pool, self.class)?;
        self.region.as_ref().map_or(Ok(()), |region| write!(f, " in {region}"))
    }
}

/// A price as it is told: from a moment on it is `price`, or there is none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Of what.
    pub key: PriceKey,
    /// How much; none if it is not known any more.
    pub price: Option<Price>,
}

/// A price that is another one than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceChange {
    /// Of what.
    pub key: PriceKey,
    /// What it was; none if nothing was known.
    pub old: Option<Price>,
    /// What it is; none if nothing is known any more.
    pub new: Option<Price>,
}

impl PriceChange {
    /// Whether it is cheaper than before, or known for the first time.
    pub fn is_drop(&self) -> bool {
        self.new.is_some_and(|new| self.old.is_none_or(|old| new < old))
    }
}

/// The prices that hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<PriceKey, Price>);

impl Prices {
    /// The most that a master keeps.
    pub const MAX: usize = 1000;

    /// Takes a change in.
    pub fn apply(&mut self, change: &PriceChange) {
        match change.new {
            Some(price) => drop(self.0.insert(change.key.clone(), price)),
            None => drop(self.0.remove(&change.key)),
        }
    }

    /// By pool, class and region.
    pub fn iter(&self) -> impl Iterator<Item = (&PriceKey, Price)> {
        self.0.iter().map(|(key, price)| (key, *price))
    }

    /// What is known of that, if anything is.
    pub fn get(&self, key: &PriceKey) -> Option<Price> {
        self.0.get(key).copied()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an agent must be like to cost at most `max`; none if no known price is that low. An agent of whose price nothing is known is
    /// not like that. The cheapest come first; those that would make the selector too long are left out.
    pub fn at_most(&self, max: Price) -> Option<Selector> {
        let mut cheap: Vec<(Price, &PriceKey)> =
            self.0.iter().filter(|(_, price)| **price <= max).map(|(key, price)| (*price, key)).collect();
        cheap.sort_unstable();
        let mut text = String::new();
        for (_, key) in cheap {
            let clause = self.clause(key, max);
            if text.len() + clause.len() + 4 > Selector::MAX_LEN {
                break;
            }
            if !text.is_empty() {
                text.push_str(" || ");
            }
            text.push_str(&clause);
        }
        if text.is_empty() { None } else { text.parse().ok() }
    }

    /// What agents are like that cost what `key` says. A price for all regions does not hold in those that have one of their own.
    fn clause(&self, key: &PriceKey, max: Price) -> String {
        let class = match key.class {
            PriceClass::OnDemand => "!(price_class in [\"reserved\", \"spot\"])".to_owned(),
            class => format!("price_class == \"{class}\""),
        };
        let region = match &key.region {
            Some(region) => format!(" && region == \"{region}\""),
            None => {
                let dearer = self.0.iter().filter(|(other, price)| {
                    other.pool == key.pool && other.class == key.class && other.region.is_some() && **price > max
                });
                let dearer: Vec<String> =
                    dearer.filter_map(|(other, _)| Some(format!("\"{}\"", other.region.as_ref()?))).collect();
                if dearer.is_empty() { String::new() } else { format!(" && !(region in [{}])", dearer.join(", ")) }
            }
        };
        format!("(pool == {} && {class}{region})", literal(&key.pool))
    }
}

/// A pool's name as an agent's attribute of the same text compares with it: one that looks like a number is one.
fn literal(name: &str) -> String {
    match Attribute::parse(name) {
        Attribute::Text(_) => format!("\"{name}\""),
        _ => name.to_owned(),
    }
}
