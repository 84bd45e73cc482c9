use std::sync::Arc;

use rialto_sdk::core::model::{Attribute, Attributes, Offer, Quantities, Role, Task, TaskId, Time};
use rialto_sdk::core::scheduler::placement::{Needs, Placement, Strategy};
use rialto_sdk::{Check, Command, HealthCheck};

use super::instance::{Instance, State};
use crate::spec::{AppSpec, Run, Spread};

/// The attribute of an agent that says by which host name or address its tasks' ports are reached.
pub const HOST_ATTRIBUTE: &str = "host";

/// What an instance needs of a machine.
pub(super) fn needs(spec: &AppSpec) -> Needs {
    let mut needs = Needs::new(Quantities::of(spec.cpus, spec.mem));
    needs.claims.clone_from(&spec.claims);
    needs.ports = u16::try_from(spec.ports.len()).expect("the specification bounds the number of ports");
    needs.constraint = spec.constraint.clone();
    needs
}

pub(super) const fn strategy(spec: &AppSpec) -> Strategy {
    match spec.spread {
        Spread::Wide => Strategy::Spread,
        Spread::Packed => Strategy::Pack,
    }
}

/// A new instance at `place`.
pub(super) fn instance(now: Time, version: u64, place: &Placement, host: Arc<str>) -> Instance {
    Instance {
        version,
        state: State::Launched,
        healthy: false,
        agent: place.agent_name.clone(),
        host,
        ports: place.ports.clone(),
        since: now,
        healthy_since: None,
    }
}

/// The host by which an agent's ports are reached: its attribute, else its name.
pub(super) fn host_of(offer: &Offer) -> Arc<str> {
    match offer.attribute(HOST_ATTRIBUTE) {
        Some(Attribute::Text(host)) => host,
        Some(other) => Arc::from(other.to_string()),
        None => offer.info.name.clone(),
    }
}

/// The task that runs an instance.
pub(super) fn task(id: TaskId, spec: &AppSpec, version: u64, role: &Role, place: &Placement) -> Task {
    let mut command = match &spec.command {
        Run::Shell(line) => Command::shell(line),
        Run::Argv(args) => Command::argv(args),
    };
    for (at, (name, port)) in spec.ports.iter().zip(&place.ports).enumerate() {
        let port = port.to_string();
        if at == 0 {
            command = command.env("PORT", &port);
        }
        command = command.env(&format!("PORT{at}"), &port).env(&format!("PORT_{}", variable(name)), &port);
    }
    command = command
        .env("RIALTO_APP", &spec.name)
        .env("RIALTO_INSTANCE", id.as_str())
        .env("RIALTO_VERSION", &version.to_string())
        .env("RIALTO_AGENT", &place.agent_name);
    for (name, value) in &spec.env {
        command = command.env(name, value);
    }
    if let Some(health) = health_check(spec) {
        command = command.health_check(health);
    }
    command.needs = needs(spec);
    command.kill_grace = spec.kill_grace;
    command.named(&spec.name).task(id, role, place)
}

fn health_check(spec: &AppSpec) -> Option<HealthCheck> {
    let health = spec.health.as_ref()?;
    Some(HealthCheck {
        check: Check::Http {
            port_index: u32::try_from(health.port).expect("the specification bounds the number of ports"),
            path: health.path.to_string(),
        },
        delay: health.delay,
        interval: health.interval,
        timeout: health.timeout,
        consecutive_failures: health.failures,
        grace: health.grace,
    })
}

/// `http-admin` as part of a variable's name.
fn variable(port: &str) -> String {
    port.to_ascii_uppercase().replace('-', "_")
}
