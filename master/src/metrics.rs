//! `/metrics`: the core's counters, the shell's own, and gauges over the view, in the Prometheus text format.
//!
//! Counters and histograms live here and are cheap to update; gauges are computed when somebody asks.

mod conduct;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use rialto_core::allocator::conduct::Conduct;
use rialto_core::master::Stats;
use rialto_core::master::view::View;
use rialto_core::model::{DeviceId, Milli, Price, PriceKey, ResourceName};

use crate::api::device_word;
use crate::engine::Status;

/// What the shell counts. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    commit_seconds: Histogram,
    batch_records: Histogram,
    turn_inputs: Histogram,
    frames_refused: Counter,
    peers_too_slow: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            batch_records: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            turn_inputs: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            frames_refused: Counter::default(),
            peers_too_slow: Counter::default(),
        }
    }
}

impl Metrics {
    /// A batch of `records` is on disk, after `took`.
    pub(crate) fn committed(&self, took: Duration, records: usize) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.batch_records.observe(records as f64);
    }

    /// The core was stepped through `inputs` in one turn.
    pub(crate) fn turned(&self, inputs: usize) {
        self.turn_inputs.observe(inputs as f64);
    }

    /// A message could not be understood.
    pub(crate) fn refused(&self) {
        self.frames_refused.inc();
    }

    /// A peer did not keep up.
    pub(crate) fn too_slow(&self) {
        self.peers_too_slow.inc();
    }

    fn register(&self, registry: &mut Registry) {
        let commit = "Time to bring a batch of registry records to disk";
        registry.register_with_unit("store_commit", commit, Unit::Seconds, self.commit_seconds.clone());
        registry.register("store_batch_records", "Registry records in a batch", self.batch_records.clone());
        registry.register("core_turn_inputs", "Messages that the core took in one turn", self.turn_inputs.clone());
        registry.register("messages_refused", "Messages that could not be understood", self.frames_refused.clone());
        registry.register(
            "peers_too_slow",
            "Connections closed because they did not keep up",
            self.peers_too_slow.clone(),
        );
    }
}

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge>;
type Amounts = Family<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>;

/// Gauges over the view.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census {
    agents: BTreeMap<&'static str, i64>,
    frameworks: BTreeMap<bool, i64>,
    tasks: BTreeMap<&'static str, i64>,
    devices: BTreeMap<(String, String, &'static str), i64>,
    offers: i64,
    /// By resource: total, allocated, offered.
    resources: BTreeMap<String, [Milli; 3]>,
    prices: Vec<(PriceKey, Price)>,
}

impl Census {
    /// Counts the rows of `view`.
    pub(crate) fn take(view: &View) -> Self {
        let mut census = Self { offers: i64::try_from(view.offers.len()).unwrap_or(i64::MAX), ..Self::default() };
        for agent in view.agents.values() {
            *census.agents.entry(agent.status.as_str()).or_default() += 1;
            let sides = [&agent.total.quantities(), &agent.allocated, &agent.offered.quantities()];
            for (side, quantities) in sides.into_iter().enumerate() {
                quantities.iter().for_each(|(name, amount)| census.add(name, side, amount));
            }
        }
        census.prices = view.prices.iter().map(|(key, row)| (key.clone(), row.price)).collect();
        for framework in view.frameworks.values() {
            *census.frameworks.entry(framework.connected).or_default() += 1;
        }
        for task in view.tasks.values() {
            *census.tasks.entry(task.state.as_str()).or_default() += 1;
        }
        for ((_, _), device) in view.devices.iter().map(|(key, device): (&(_, DeviceId), _)| (key, device)) {
            let what = &device.device;
            let key = (what.kind.to_string(), what.model.to_string(), device_word(&device.state));
            *census.devices.entry(key).or_default() += 1;
        }
        census
    }

    fn add(&mut self, name: &ResourceName, side: usize, amount: Milli) {
        let sides = self.resources.entry(name.as_str().to_owned()).or_default();
        sides[side] = sides[side].plus(amount);
    }

    fn register(&self, registry: &mut Registry) {
        let by_status = self.agents.iter().map(|(status, count)| (vec![("status", (*status).to_owned())], *count));
        registry.register("agents", "Agents by status", gauges(by_status));
        let by_connection = self.frameworks.iter().map(|(yes, count)| (vec![("connected", yes.to_string())], *count));
        registry.register("frameworks", "Frameworks by whether they are connected", gauges(by_connection));
        let by_state = self.tasks.iter().map(|(state, count)| (vec![("state", (*state).to_owned())], *count));
        registry.register("tasks", "Tasks that the master remembers, by state", gauges(by_state));
        let by_class = self.devices.iter().map(|((kind, model, state), count)| {
            (vec![("kind", kind.clone()), ("model", model.clone()), ("state", (*state).to_owned())], *count)
        });
        registry.register("devices", "Devices by kind, model and state", gauges(by_class));
        registry.register("offers", "Offers that stand", gauge(self.offers));
        let prices = Amounts::default();
        for (key, price) in &self.prices {
            let region = key.region().unwrap_or_default().to_owned();
            let labels = vec![("pool", key.pool().to_owned()), ("class", key.class().to_string()), ("region", region)];
            prices.get_or_create(&labels).set(price.as_f64());
        }
        registry.register("price", "What a machine costs an hour, as operators and feeds have told", prices);
        let (cores, bytes) = (Amounts::default(), Amounts::default());
        for (name, sides) in &self.resources {
            for (side, amount) in ["total", "allocated", "offered"].into_iter().zip(sides) {
                let labels = vec![("resource", name.clone()), ("side", side.to_owned())];
                match name.as_str() {
                    "mem" | "disk" => drop(bytes.get_or_create(&labels).set(amount.as_f64() * f64::from(1 << 20))),
                    _ => drop(cores.get_or_create(&labels).set(amount.as_f64())),
                }
            }
        }
        registry.register("resources", "Scalars of all agents in their units, cpus in cores", cores);
        registry.register_with_unit("resources", "Memory and disk of all agents", Unit::Bytes, bytes);
    }
}

/// All metrics as text.
pub(crate) fn render(
    metrics: &Metrics,
    status: &Status,
    census: &Census,
    survey: &[Conduct],
    backlog: usize,
    lag: u64,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("rialto_master");
    metrics.register(&mut registry);
    census.register(&mut registry);
    conduct::register(&mut registry, survey);
    register_status(&mut registry, status);
    register_stats(&mut registry, &status.stats);
    registry.register("core_inbox", "Messages that wait for the core", gauge(count(backlog)));
    registry.register(
        "view_lag_changes",
        "Changes that the read model is behind the core",
        gauge(i64::try_from(lag).unwrap_or(i64::MAX)),
    );
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register_status(registry: &mut Registry, status: &Status) {
    let sides = [("agent", status.agent_connections), ("framework", status.framework_connections)];
    let connections = sides.into_iter().map(|(side, number)| (vec![("side", side.to_owned())], count(number)));
    registry.register("connections", "Control connections", gauges(connections));
    registry.register(
        "messages_queued",
        "Messages that wait to be sent to peers",
        gauge(count(status.messages_queued)),
    );
    registry.register(
        "effects_gated",
        "Effects that wait for records to be on disk",
        gauge(count(status.effects_gated)),
    );
}

fn register_stats(registry: &mut Registry, stats: &Stats) {
    let counters = [
        ("steps", "Inputs that the core was stepped through", stats.steps),
        ("offer_rounds", "Rounds of offers", stats.rounds),
        ("offers_made", "Offers made", stats.offers_made),
        ("offers_accepted", "Offers that a framework accepted", stats.offers_accepted),
        ("offers_declined", "Offers that a framework declined", stats.offers_declined),
        ("offers_rescinded", "Offers taken back or replaced", stats.offers_rescinded),
        ("offers_expired", "Exclusive offers that expired", stats.offers_expired),
        ("tasks_launched", "Tasks launched", stats.tasks_launched),
        ("launches_refused", "Launches refused", stats.launches_refused),
        ("offer_conflicts", "Launches refused because others were faster", stats.offer_conflicts),
        ("updates_received", "Status updates received from agents", stats.updates_received),
        ("updates_sent", "Status updates sent to frameworks", stats.updates_sent),
        ("acknowledgements", "Acknowledgements received from frameworks", stats.acknowledgements),
        ("tasks_finished", "Tasks that ended with success", stats.tasks_finished),
        ("tasks_failed", "Tasks that ended otherwise", stats.tasks_failed),
        ("operator_commands", "Commands of operators", stats.operator_commands),
        ("operations", "Operations on reservations and volumes that were begun", stats.operations),
        ("operations_done", "Of them, those that their agents have confirmed", stats.operations_done),
        ("operations_refused", "Of them, those that their agents have refused", stats.operations_refused),
        ("preemptions", "Demands that something was ended for", stats.preemptions),
        ("tasks_preempted", "Tasks that were ended for demands of higher right", stats.tasks_preempted),
        ("preemption_looks", "Agents looked at for room, or for what may be ended", stats.preemption_looks),
        ("nominations_expired", "Nominations that were not used in time", stats.nominations_expired),
        ("agents_unreachable", "Agents that were declared unreachable", stats.agents_unreachable),
        ("gangs_held", "Gangs that agents were asked to hold", stats.gangs_held),
        ("gangs_started", "Gangs that all agents held, and that were started", stats.gangs_started),
        ("gangs_refused", "Gangs that were refused before anything of them was started", stats.gangs_refused),
        ("price_changes", "Prices that became others", stats.price_changes),
        ("gangs_aborted", "Gangs that were killed because a member did not start", stats.gangs_aborted),
    ];
    for (name, help, value) in counters {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

fn gauges(values: impl IntoIterator<Item = (Labels, i64)>) -> Gauges {
    let gauges = Gauges::default();
    for (labels, value) in values {
        gauges.get_or_create(&labels).set(value);
    }
    gauges
}

fn gauge(value: i64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
