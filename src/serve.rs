//! `rialto master` and `rialto agent`: the parts of a real cluster, each a process of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rialto_agent::DeviceSource;
use rialto_master::{Auth, StoreKind, TlsFiles, Token};
use rialto_sdk::core::model::{Attribute, Domain};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Agent, Master, Store};

/// `rialto master`.
pub async fn master(args: Master) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let options = master_options(&args)?;
    let listener = rialto_master::bind(&options).await?;
    let url = listener.url();
    let stop = async move {
        // Said only now that the token is made and connections are served: who starts an agent at this line finds both.
        eprintln!("rialto master: {url} (API, web page and metrics)");
        stop.await;
    };
    rialto_master::serve(options, listener, stop).await?;
    Ok(())
}

fn master_options(args: &Master) -> anyhow::Result<rialto_master::Options> {
    let auth = match &args.token_file {
        Some(path) => Auth::Token(Token::read(path)?),
        None => Auth::Bootstrap,
    };
    let tls = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(cert, key)| TlsFiles { cert, key });
    let mut options = rialto_master::Options {
        listen: args.listen,
        work_dir: Some(args.work_dir.clone()),
        store: if args.store == Store::Redb { StoreKind::Redb } else { StoreKind::Memory },
        auth,
        tls,
        insecure: args.insecure,
        ..rialto_master::Options::development()
    };
    options.core.agent_timeout = Duration::from_secs(args.agent_timeout);
    options.core.offer_fanout = args.offer_fanout.into();
    options.core.roles =
        args.known_roles.iter().map(|role| role.parse()).collect::<Result<_, _>>().context("--known-role")?;
    let least = args.min_allocatable_resources.parse();
    options.core.least = least.context("--min-allocatable-resources")?;
    options.core.domain = domain(args.region.as_deref(), args.zone.as_deref())?;
    Ok(options)
}

/// `rialto agent`.
pub async fn agent(args: Agent) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let options = agent_options(&args)?;
    eprintln!(
        "rialto agent: {} with the master at {}; work dir {}",
        options.name,
        options.master,
        options.work_dir.display()
    );
    // On a worker of the runtime, beside all that it waits for: what wakes it need not wake another thread.
    tokio::spawn(rialto_agent::run(options, stop)).await??;
    Ok(())
}

fn agent_options(args: &Agent) -> anyhow::Result<rialto_agent::Options> {
    let exe = std::env::current_exe().context("the path of this program")?;
    let mut options = rialto_agent::Options::new(&args.connect.master, &args.work_dir, exe);
    let host = Attribute::text(&options.name); // The host's own name, until --name says otherwise.
    if let Some(name) = &args.name {
        options.name.clone_from(name);
    }
    if let Some(resources) = &args.resources {
        options.resources = resources.parse().context("--resources")?;
    }
    options.attributes = attributes(&args.attributes)?;
    options.attributes.entry("host".into()).or_insert(host);
    options.domain = domain(args.region.as_deref(), args.zone.as_deref())?;
    options.device_sources = device_sources(&args.device_sources)?;
    options.launcher = args.launcher.into();
    options.cgroup_root.clone_from(&args.cgroup_root);
    if let Some(path) = &args.seccomp_profile {
        let profile = std::fs::read_to_string(path);
        options.seccomp_profile = Some(profile.with_context(|| format!("--seccomp-profile {}", path.display()))?);
    }
    options.fetch = args.fetch.policy()?;
    options.images = args.fetch.images()?;
    options.sync_delay = Duration::from_millis(args.sync_delay_ms.into());
    options.host_share_milli = args.device_host_share * 10;
    options.metrics_listen = args.metrics_listen;
    if args.user_namespaces {
        options.user_namespaces = rialto_agent::UserNamespaces::Always;
    }
    options.oci_runtime.clone_from(&args.oci_runtime);
    options.cni_plugins.clone_from(&args.cni_plugins);
    options.bridge_subnet.clone_from(&args.bridge_subnet);
    if args.metrics_listen.is_some_and(|address| !address.ip().is_loopback()) && !args.metrics_insecure {
        bail!("--metrics-listen: expected an address of loopback; another needs --metrics-insecure");
    }
    if let Some(path) = args.connect.token() {
        let text = std::fs::read_to_string(&path).with_context(|| format!("token file {}", path.display()))?;
        options.token = Some(text.trim().to_owned());
    }
    if let Some(path) = &args.connect.tls_ca {
        options.tls_ca = Some(std::fs::read(path).with_context(|| format!("--tls-ca {}", path.display()))?);
    }
    Ok(options)
}

/// Both are given, or neither.
fn domain(region: Option<&str>, zone: Option<&str>) -> anyhow::Result<Option<Domain>> {
    region.zip(zone).map(|(region, zone)| Domain::new(region, zone).context("--region and --zone")).transpose()
}

fn attributes(texts: &[String]) -> anyhow::Result<BTreeMap<Arc<str>, Attribute>> {
    let mut attributes = BTreeMap::new();
    for text in texts {
        let (name, value) = text.split_once('=').with_context(|| format!("--attribute {text}: expected NAME=VALUE"))?;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(good) {
            bail!("--attribute {text}: expected a name of letters, digits and '_'");
        }
        attributes.insert(Arc::from(name), Attribute::parse(value));
    }
    Ok(attributes)
}

/// The device sources of a command line.
pub fn device_sources(texts: &[String]) -> anyhow::Result<Vec<DeviceSource>> {
    texts.iter().map(|text| DeviceSource::parse(text).context("--device-source")).collect()
}

/// Ready at SIGINT or SIGTERM.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
