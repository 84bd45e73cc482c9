//! Scenarios from YAML, each field checked where it stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rialto_core::model::{Milli, Time};
use rialto_core::scheduler::placement::policy::GpuPolicy;
use sha2::{Digest, Sha256};

use super::error::ScenarioError;
use super::fields::{Field, Fields};
use super::interruptions::{Interruptions, PER_HOUR_MAX};
use super::nodes::{self, NodeFormat};
use super::prices;
use super::scenario::{
    Begins, Change, Date, LeadTime, Order, Pool, Question, Rent, Rental, Scenario, Supply, Variant, What, Workload,
};
use super::start::Start;
use super::units::{self, WEEK, YEAR};
use super::workload::{self, Around};
use super::yaml;

const MACHINES_MAX: u64 = 100_000;
const MONEY_MAX: f64 = 1e12;
/// How long a machine that failed is away, where nothing is said.
const REPAIR: Duration = Duration::from_secs(48 * 3600);
/// How long it takes until a rented machine is there, where nothing is said.
const BOOT: Duration = Duration::from_secs(600);
/// How long before a rented machine is taken away that is said, where nothing is said.
const NOTICE: Duration = Duration::from_secs(120);

pub(super) fn scenario(file: &Path, start: Option<&Start>) -> Result<Scenario, ScenarioError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| ScenarioError::Unreadable { file: file.to_owned(), error })?;
    of_text(file, &text, start).map_err(|error| error.of(file))
}

pub(super) fn of_text(file: &Path, text: &str, cluster: Option<&Start>) -> Result<Scenario, ScenarioError> {
    let mut fields = Fields::of(yaml::read(text)?, "")?;
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let start = fields.take("start").read("a date such as 2026-10-05", Date::parse)?;
    let horizon = fields.take("horizon");
    let (horizon_at, horizon) = (horizon.error("expected at least one week"), horizon.span_or(52 * WEEK)?);
    if horizon < WEEK {
        return Err(horizon_at);
    }
    let name = fields.take("name").text("a name for people")?;
    let seeds = fields.take("seeds").count_or(3, 1, 1000)?;
    let first_seed = fields.take("first_seed").count_or(0, 0, 1_000_000)?;
    let warmup_weeks = warmup_weeks(fields.take("warmup"), horizon)?;
    let confidence = fields.take("confidence").number_or(0.9, 0.01, 1.0)?;
    let placement = fields.take("placement").read_or(PLACEMENT, GpuPolicy::Fgd, |text| text.parse().ok())?;
    let currency = fields.take("currency").read_or("a currency", "USD".to_owned(), |text| Some(text.to_owned()))?;
    let mut reader = Reader { folder, pools: Vec::new(), inputs: Vec::new() };
    reader.nodes(fields.take("nodes"))?;
    let pools = fields.take("pools");
    let no_pools = pools.error("expected at least one pool of machines, or a list of nodes");
    for (path, node) in pools.items()? {
        let pool = reader.pool(Fields::of(node, &path)?)?;
        reader.pools.push(pool);
    }
    if let Some(cluster) = cluster {
        cluster.put_pools(&mut reader.pools);
        reader.inputs.push((PathBuf::from(&cluster.source), cluster.digest.clone()));
    }
    if reader.pools.is_empty() {
        return Err(no_pools);
    }
    let orders = reader.orders(fields.take("orders"))?;
    let rents = reader.rents(fields.take("rents"))?;
    let work = fields.take("workloads");
    // A cluster has work of its own.
    let is_none = cluster.is_some() && !work.is_there();
    let mut workloads = if is_none { Vec::new() } else { reader.workloads(work)? };
    if let Some(cluster) = cluster {
        workloads.iter_mut().for_each(|workload| workload.begins = Begins::Empty);
        workloads.splice(0..0, cluster.workloads(horizon));
    }
    let changes = reader.changes(fields.take("changes"), &workloads)?;
    let question = fields.take("question");
    let question = match question.fields()? {
        Some(question) => reader.question(question, &workloads)?,
        None => Question::Replay,
    };
    fields.end()?;
    let Reader { pools, inputs, .. } = reader;
    let file = file.to_owned();
    Ok(Scenario {
        file,
        name,
        start,
        horizon,
        seeds,
        first_seed,
        warmup_weeks,
        confidence,
        placement,
        currency,
        pools,
        orders,
        rents,
        workloads,
        changes,
        question,
        keeps_jobs: false,
        cluster: cluster.map(Start::cluster),
        inputs,
    })
}

/// How many whole weeks there are before waits are judged.
fn warmup_weeks(field: Field, horizon: Duration) -> Result<usize, ScenarioError> {
    let too_long = field.error("expected whole weeks, fewer than the horizon");
    let warmup = field.span_or(Duration::ZERO)?;
    let is_whole = warmup.as_secs().is_multiple_of(WEEK.as_secs()) && warmup.subsec_nanos() == 0;
    if !is_whole || horizon.saturating_sub(warmup) < WEEK {
        return Err(too_long);
    }
    Ok(usize::try_from(warmup.as_secs() / WEEK.as_secs()).unwrap_or(usize::MAX))
}

const PLACEMENT: &str = "fgd, bestfit, packing, clustering, dotprod or random";

/// What is known while a scenario is read.
struct Reader<'a> {
    folder: &'a Path,
    pools: Vec<Pool>,
    inputs: Vec<(PathBuf, String)>,
}

impl Reader<'_> {
    /// The pools of a list of nodes.
    fn nodes(&mut self, field: Field) -> Result<(), ScenarioError> {
        let Some(mut fields) = field.fields()? else { return Ok(()) };
        let file = self.folder.join(fields.take("file").text("the file of the nodes")?);
        let format = fields.take("format").read(NodeFormat::NAMES, NodeFormat::parse)?;
        fields.end()?;
        self.pools = nodes::read(&file, format)?;
        self.inputs.push((file.clone(), digest(&file)?));
        Ok(())
    }

    fn pool(&mut self, mut fields: Fields) -> Result<Pool, ScenarioError> {
        let name = fields.take("name");
        let twice = name.error("expected a name that no other pool has");
        let name: Arc<str> = Arc::from(name.text("the name of the pool")?);
        if self.pools.iter().any(|pool| pool.name == name) {
            return Err(twice);
        }
        let called = name.clone();
        let cores = |text: &str| units::number(text).filter(|cores| *cores > 0.0 && *cores <= 100_000.0);
        let pool = Pool {
            model: fields.take("model").read_or("the model of its GPUs", name.clone(), |text| Some(Arc::from(text)))?,
            name,
            count: count(fields.take("count"), 0, 0)?,
            cpus: Milli((fields.take("cpus").read("cores of each machine", cores)? * 1000.0).round() as u64),
            mem: fields.take("mem").read(units::MEMORY, units::memory)?,
            gpus: u16::try_from(fields.take("gpus").count_or(0, 0, 256)?).expect("at most 256"),
            speed: fields.take("speed").number_or(1.0, 0.001, 1000.0)?,
            mtbf: optional_span(fields.take("mtbf"))?,
            repair: fields.take("repair").span_or(REPAIR)?,
            supply: fields.take("buy").fields()?.map(supply).transpose()?,
            rental: fields.take("rent").fields()?.map(|rent| self.rental(rent, &called)).transpose()?,
        };
        fields.end()?;
        Ok(pool)
    }

    fn rental(&mut self, mut fields: Fields, pool: &str) -> Result<Rental, ScenarioError> {
        let on_demand = fields.take("on_demand").number_or(0.0, 0.0, MONEY_MAX)?;
        let always = fields.take("interruptions_per_hour");
        let listed = fields.take("interruptions");
        let interruptions = if listed.is_there() {
            if always.is_there() {
                return Err(listed.error("expected either interruptions or interruptions_per_hour"));
            }
            let file = self.folder.join(listed.text("the file of how often machines are taken away")?);
            self.inputs.push((file.clone(), digest(&file)?));
            Interruptions::read(&file)?
        } else {
            Interruptions::always(always.number_or(0.0, 0.0, PER_HOUR_MAX)?)
        };
        let class = prices::class_of(&interruptions);
        let prices = fields.take("prices");
        let mut steps = steps(fields.take("steps"))?;
        if prices.is_there() {
            let both = prices.error("expected either prices or steps, and on_demand above 0 with prices");
            if !steps.is_empty() || on_demand <= 0.0 {
                return Err(both);
            }
            let file = self.folder.join(prices.text("the file of the prices")?);
            let series = prices::read(&file, (pool, class))?;
            self.inputs.push((file.clone(), digest(&file)?));
            steps = series.into_iter().map(|(at, price)| (at, price / on_demand)).collect();
        }
        let rental = Rental {
            on_demand,
            steps,
            interruptions,
            boot: fields.take("boot").span_or(BOOT)?,
            notice: fields.take("notice").span_or(NOTICE)?,
        };
        fields.end()?;
        Ok(rental)
    }

    fn which(&self, field: Field) -> Result<usize, ScenarioError> {
        let names: Vec<&str> = self.pools.iter().map(|pool| &*pool.name).collect();
        let what = format!("the name of a pool ({})", names.join(", "));
        field.read(&what, |text| names.iter().position(|name| *name == text))
    }

    fn orders(&self, field: Field) -> Result<Vec<Order>, ScenarioError> {
        let order = |(path, node): (String, yaml::Node)| {
            let mut fields = Fields::of(node, &path)?;
            let pool = self.which(fields.take("pool"))?;
            let count = count(fields.take("count"), 1, 1)?;
            let placed = fields.take("placed").read_or(units::MOMENT, Time::ZERO, units::moment)?;
            if self.pools[pool].supply.is_none() {
                return Err(fields.error(format!("expected the pool {} to have a field buy", self.pools[pool].name)));
            }
            fields.end()?;
            Ok(Order { pool, count, placed })
        };
        field.items()?.into_iter().map(order).collect()
    }

    fn rents(&self, field: Field) -> Result<Vec<Rent>, ScenarioError> {
        let rent = |(path, node): (String, yaml::Node)| {
            let mut fields = Fields::of(node, &path)?;
            let pool = self.which(fields.take("pool"))?;
            let count = count(fields.take("count"), 1, 1)?;
            let from = fields.take("from").read_or(units::MOMENT, Time::ZERO, units::moment)?;
            let until = fields.take("until");
            let until = if until.is_there() { Some(until.read(units::MOMENT, units::moment)?) } else { None };
            if self.pools[pool].rental.is_none() {
                return Err(fields.error(format!("expected the pool {} to have a field rent", self.pools[pool].name)));
            }
            if until.is_some_and(|until| until <= from) {
                return Err(fields.error("expected until to be later than from"));
            }
            fields.end()?;
            Ok(Rent { pool, count, from, until })
        };
        field.items()?.into_iter().map(rent).collect()
    }

    fn changes(&self, field: Field, workloads: &[Workload]) -> Result<Vec<Change>, ScenarioError> {
        let change = |(path, node): (String, yaml::Node)| {
            let mut fields = Fields::of(node, &path)?;
            let at = fields.take("at").read_or(units::MOMENT, Time::ZERO, units::moment)?;
            let workload = fields.take("workload");
            let what = if workload.is_there() {
                terms(&mut fields, workload, workloads)?
            } else {
                let pool = self.which(fields.take("pool"))?;
                let (count, notice) = (count(fields.take("retire"), MACHINES_MAX, 1)?, fields.take("notice"));
                What::Retire { pool, count, notice: notice.span_or(Duration::ZERO)? }
            };
            fields.end()?;
            Ok(Change { at, what })
        };
        field.items()?.into_iter().map(change).collect()
    }

    fn workloads(&mut self, field: Field) -> Result<Vec<Workload>, ScenarioError> {
        let none = field.error("expected at least one workload");
        let mut workloads: Vec<Workload> = Vec::new();
        for (path, node) in field.items()? {
            let around = Around { folder: self.folder, pools: &self.pools, others: &workloads };
            let (workload, file) = workload::read(Fields::of(node, &path)?, &around)?;
            self.inputs.push((file.clone(), digest(&file)?));
            workloads.push(workload);
        }
        if workloads.is_empty() { Err(none) } else { Ok(workloads) }
    }

    fn question(&self, mut fields: Fields, workloads: &[Workload]) -> Result<Question, ScenarioError> {
        let kind = fields.take("kind").text("replay, size, order-by, compare or cost")?;
        let needs_limit = |question: &Fields| match workloads.iter().any(|workload| workload.limit.is_some()) {
            true => Ok(()),
            false => {
                Err(question.error("expected a limit on the waits of at least one workload, or every size would do"))
            }
        };
        let question = match kind.as_str() {
            "replay" => Question::Replay,
            "size" => {
                needs_limit(&fields)?;
                let (pool, min) = (self.which(fields.take("pool"))?, count(fields.take("min"), 0, 0)?);
                Question::Size { pool, min, max: count(fields.take("max"), 1000, u64::from(min))? }
            }
            "order-by" => {
                needs_limit(&fields)?;
                let pool = self.which(fields.take("pool"))?;
                if self.pools[pool].supply.is_none() {
                    return Err(
                        fields.error(format!("expected the pool {} to have a field buy", self.pools[pool].name))
                    );
                }
                let cover = optional_span(fields.take("cover"))?;
                Question::OrderBy { pool, cover, max: count(fields.take("max"), 2000, 1)? }
            }
            "compare" => Question::Compare { variants: self.variants(fields.take("variants"), workloads)? },
            "cost" => {
                let variants = self.variants(fields.take("variants"), workloads)?;
                let max = fields.take("max");
                if max.is_there() {
                    needs_limit(&fields)?;
                }
                let max = if max.is_there() { Some(count(max, 1, 1)?) } else { None };
                Question::Cost { variants, max }
            }
            other => {
                return Err(
                    fields.error(format!("kind: expected replay, size, order-by, compare or cost, got {other:?}"))
                );
            }
        };
        fields.end()?;
        Ok(question)
    }

    fn variants(&self, field: Field, workloads: &[Workload]) -> Result<Vec<Variant>, ScenarioError> {
        let few = field.error("expected at least two ways to compare");
        let variant = |(path, node): (String, yaml::Node)| {
            let mut fields = Fields::of(node, &path)?;
            let placement = fields.take("placement");
            let variant = Variant {
                name: fields.take("name").text("a name for people")?,
                orders: self.orders(fields.take("orders"))?,
                rents: self.rents(fields.take("rents"))?,
                changes: self.changes(fields.take("changes"), workloads)?,
                placement: if placement.is_there() {
                    Some(placement.read(PLACEMENT, |text| text.parse().ok())?)
                } else {
                    None
                },
            };
            fields.end()?;
            Ok(variant)
        };
        let variants: Vec<Variant> = field.items()?.into_iter().map(variant).collect::<Result<_, ScenarioError>>()?;
        if variants.len() < 2 { Err(few) } else { Ok(variants) }
    }
}

/// What the role of a workload gets.
fn terms(fields: &mut Fields, workload: Field, workloads: &[Workload]) -> Result<What, ScenarioError> {
    let names: Vec<&str> = workloads.iter().map(|workload| workload.name.as_str()).collect();
    let what = format!("the name of a workload ({})", names.join(", "));
    let workload = workload.read(&what, |text| names.iter().position(|name| *name == text))?;
    let weight = fields.take("weight");
    let weight = if weight.is_there() { Some(weight.number_or(1.0, 0.001, 1e6)?) } else { None };
    let quota = fields.take("quota").fields()?.map(workload::quota).transpose()?;
    if weight.is_none() && quota.is_none() {
        return Err(fields.error("expected a weight, a quota, or both"));
    }
    Ok(What::Terms { workload, weight, quota })
}

fn supply(mut fields: Fields) -> Result<Supply, ScenarioError> {
    let lead = fields.take("lead_time");
    let missing = lead.error("expected a span such as 26 weeks, or p50 and p90");
    let lead_time = if lead.is_text() {
        LeadTime::Fixed(lead.span()?)
    } else {
        let mut quantiles = lead.fields()?.ok_or(missing)?;
        let (p50, p90) = (not_zero(quantiles.take("p50"))?, not_zero(quantiles.take("p90"))?);
        if p90 < p50 {
            return Err(quantiles.error("expected p90 to be at least p50"));
        }
        quantiles.end()?;
        LeadTime::Quantiles { p50, p90 }
    };
    let supply = Supply {
        lead_time,
        batch: count(fields.take("batch"), 1, 1)?,
        price: fields.take("price").number_or(0.0, 0.0, MONEY_MAX)?,
        life: match fields.take("life") {
            life if life.is_there() => not_zero(life)?,
            _ => 4 * YEAR,
        },
        running_cost: fields.take("running_cost").number_or(0.0, 0.0, MONEY_MAX)?,
        cancel_fee: fields.take("cancel_fee").number_or(0.0, 0.0, MONEY_MAX)?,
    };
    fields.end()?;
    Ok(supply)
}

/// The parts of the undiscounted price, each from a moment on.
fn steps(field: Field) -> Result<Vec<(Time, f64)>, ScenarioError> {
    let mut steps: Vec<(Time, f64)> = Vec::new();
    for (path, node) in field.items()? {
        let mut step = Fields::of(node, &path)?;
        let from = step.take("from").read(units::MOMENT, units::moment)?;
        let part = step.take("part").number_or(1.0, 0.0, 100.0)?;
        if steps.last().is_some_and(|(last, _)| *last >= from) {
            return Err(step.error("expected steps in the order of time"));
        }
        step.end()?;
        steps.push((from, part));
    }
    Ok(steps)
}

fn count(field: Field, or: u64, least: u64) -> Result<u32, ScenarioError> {
    Ok(u32::try_from(field.count_or(or, least, MACHINES_MAX)?).expect("at most MACHINES_MAX"))
}

pub(super) fn optional_span(field: Field) -> Result<Option<Duration>, ScenarioError> {
    if field.is_there() { not_zero(field).map(Some) } else { Ok(None) }
}

pub(super) fn not_zero(field: Field) -> Result<Duration, ScenarioError> {
    field.read(units::SPAN, |text| units::span(text).filter(|span| *span > Duration::ZERO))
}

/// The first digits of the SHA-256 of a file.
fn digest(file: &Path) -> Result<String, ScenarioError> {
    let bytes = std::fs::read(file).map_err(|error| ScenarioError::Unreadable { file: file.to_owned(), error })?;
    Ok(digest_of(&bytes))
}

/// The first digits of the SHA-256 of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
