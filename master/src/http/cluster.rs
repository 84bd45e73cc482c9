use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;

use rialto_core::master::view::{AgentStatus, View};
use rialto_core::model::Quantities;

use super::{App, Refusal};
use crate::api::{self, Amounts, device_word};

pub(super) async fn cluster(State(app): State<App>) -> Result<Json<api::Cluster>, Refusal> {
    summary(&app).await.map(Json)
}

/// All there is at one moment.
pub(super) async fn snapshot(State(app): State<App>) -> Result<Json<api::Snapshot>, Refusal> {
    let (cluster, term) = (app.cluster, app.term);
    let take = move |view: &View, change| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        api::Snapshot { cluster: format!("{:032x}", cluster.0), ..api::Snapshot::of(view, change, term, now_ms) }
    };
    app.ask(take).await.map(Json)
}

/// The cluster's id and sums.
pub(crate) async fn summary(app: &App) -> Result<api::Cluster, Refusal> {
    let sums = app.ask(sums).await?;
    Ok(api::Cluster {
        cluster: format!("{:032x}", app.cluster.0),
        term: app.term.0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..sums
    })
}

/// What can be said from the view alone.
pub(crate) fn sums(view: &View, change: u64) -> api::Cluster {
    let mut cluster = api::Cluster { change, offers: view.offers.len() as u64, ..api::Cluster::default() };
    let [mut total, mut allocated, mut offered] = [(); 3].map(|()| Quantities::new());
    for agent in view.agents.values() {
        *cluster.agents.entry(agent.status.as_str().to_owned()).or_default() += 1;
        if agent.status == AgentStatus::Active {
            total.add(&agent.total.quantities());
            allocated.add(&agent.allocated);
            offered.add(&agent.offered.quantities());
        }
    }
    cluster.agents_missing = cluster.agents.get(AgentStatus::Recovering.as_str()).copied().unwrap_or_default();
    (cluster.total, cluster.allocated, cluster.offered) =
        (Amounts::from(&total), Amounts::from(&allocated), Amounts::from(&offered));
    cluster.frameworks = view.frameworks.len() as u64;
    cluster.frameworks_connected = view.frameworks.values().filter(|framework| framework.connected).count() as u64;
    for task in view.tasks.values() {
        count(&mut cluster.tasks, task.state.as_str());
    }
    for device in view.devices.values() {
        count(&mut cluster.devices, device_word(&device.state));
    }
    cluster
}

fn count(counts: &mut std::collections::BTreeMap<String, u64>, word: &str) {
    match counts.get_mut(word) {
        Some(number) => *number += 1,
        None => drop(counts.insert(word.to_owned(), 1)),
    }
}
