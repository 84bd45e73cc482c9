//! The master's shell: moves bytes between sockets, the store and one [`Master`](rialto_core::master::Master).
//!
//! [`bind`] takes the port, [`serve`] does the rest. The parts, in the order in which a message meets them:
//!
//! - `listen`: one port, TLS, HTTP/1.1 and HTTP/2; `auth`: who may pass; `http`: JSON, metrics, pages; `grpc`: the native protocol.
//!   Decoding and encoding happen here, on the connections' tasks.
//! - `engine`: the one task that owns the core. It takes what has come in, steps the core, and lets out what the gate releases.
//! - `store`: a thread that writes the registry, one transaction a batch.
//! - `mailbox`, `frames`: what the core says gathers in a bounded queue for each peer and leaves as frames.
//! - `reads`: a thread with the read model, fed by numbered changes; `api`, `ui`, `metrics` are its renderings.
//! - `bulk`: logs and files, which flow from agent to reader past all of this.

pub mod answers;
pub mod api;
mod auth;
mod bulk;
mod engine;
mod frames;
mod grpc;
mod http;
mod links;
mod listen;
mod lock;
mod mailbox;
mod metrics;
mod options;
mod reads;
mod store;
mod ui;
mod wire;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, watch};

use rialto_core::master::Config;
use rialto_core::model::WallTime;

pub use crate::auth::{Auth, PRINCIPAL_HEADER, TOKEN_FILE, Token, TokenError};
pub use crate::listen::{Listener, TlsError, bind};
pub use crate::lock::{LOCK_FILE, WorkDirError};
pub use crate::options::{KeepAlive, MasterError, Options, StoreKind, TlsFiles};
pub use crate::store::{REGISTRY_FILE, StoreError};

use crate::auth::{Guard, Reach};
use crate::bulk::Bulk;
use crate::engine::{Clock, Engine, ToCore};
use crate::grpc::Services;
use crate::http::{App, Transport};
use crate::links::AgentLinks;
use crate::lock::WorkDir;
use crate::metrics::Metrics;
use crate::reads::Feed;
use crate::store::{Medium, Store};

/// Runs a master on `listener` until `shutdown`, or until it can't go on.
///
/// The work dir is locked, the registry loaded and the new term on disk before the first connection is served. At the end every stream is
/// closed, the store is flushed and the lock released. `shutdown` is first polled once connections are served.
///
/// # Errors
///
/// What keeps it from starting, or a failed write to the registry.
pub async fn serve(
    options: Options,
    listener: Listener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), MasterError> {
    let work_dir = options.work_dir.as_deref().map(WorkDir::lock).transpose()?;
    let guard = Arc::new(guard(&options, work_dir.as_ref(), &listener)?);
    let medium = medium(options.store, work_dir.as_ref())?;
    let (metrics, links) = (Metrics::default(), AgentLinks::default());
    let (feed, reads, reader) = reads::start()?;
    let engine = lead(medium, options.core, feed, links.clone(), metrics.clone()).await?;
    let (cluster, term) = (engine.master().cluster(), engine.master().term());
    tracing::info!(url = listener.url(), term = term.0, cluster = format!("{:032x}", cluster.0), "master leads");

    let (core, messages) = engine::inbox();
    let bulk = Bulk::new(reads.clone(), links);
    let services = Services::new(core.clone(), bulk.clone(), cluster, term, metrics.clone());
    let transport = if listener.is_tls() { Transport::Tls } else { Transport::Plain };
    let app = App { core, reads, bulk, metrics, guard, cluster, term, transport };
    let router = http::router(app, services.routes().into_axum_router());
    let ended = run(engine, messages, listener, router, shutdown).await;
    let read = tokio::task::spawn_blocking(move || reader.join()).await;
    ended.and_then(|()| read.ok().and_then(Result::ok).ok_or(MasterError::PartEnded("read model")))
}

/// An engine over what `medium` holds, whose term is on disk.
async fn lead(
    mut medium: Medium,
    config: Config,
    feed: Feed,
    links: AgentLinks,
    metrics: Metrics,
) -> Result<Engine, MasterError> {
    let registry = medium.load()?;
    let store = Store::start(medium, metrics.clone())?;
    let mut engine = Engine::new(drawn(config)?, registry, store, feed, links, metrics, Clock::start());
    engine.settle().await?;
    Ok(engine)
}

/// Serves until `shutdown`, or until the core ends; then ends both.
async fn run(
    engine: Engine,
    messages: mpsc::Receiver<ToCore>,
    listener: Listener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> Result<(), MasterError> {
    let (stop, stopping) = watch::channel(false);
    let mut stopped = stopping.clone();
    let server = tokio::spawn(listener.serve(router, async move { engine::told(&mut stopped).await }));
    let mut core = tokio::spawn(engine.run(messages, stopping));
    let early = tokio::select! {
        () = shutdown => None,
        ended = &mut core => Some(ended),
    };
    stop.send_replace(true);
    let ended = match early {
        Some(ended) => ended,
        None => core.await,
    };
    let served = server.await;
    ended.map_err(|_| MasterError::PartEnded("core"))??;
    served.map_err(|_| MasterError::PartEnded("listener"))
}

fn guard(options: &Options, work_dir: Option<&WorkDir>, listener: &Listener) -> Result<Guard, MasterError> {
    let token = match &options.auth {
        Auth::Open => None,
        Auth::Token(token) => Some(token.clone()),
        Auth::Bootstrap => Some(Token::bootstrap(path(work_dir, "the token")?)?),
    };
    let reach = if listener.address().ip().is_loopback() { Reach::Loopback } else { Reach::Network };
    Ok(Guard::new(token, reach))
}

fn medium(kind: StoreKind, work_dir: Option<&WorkDir>) -> Result<Medium, MasterError> {
    match kind {
        StoreKind::Memory => Ok(Medium::memory()),
        StoreKind::Redb => Ok(Medium::redb(path(work_dir, "the redb store")?)?),
    }
}

fn path<'a>(work_dir: Option<&'a WorkDir>, what: &'static str) -> Result<&'a Path, MasterError> {
    work_dir.map(WorkDir::path).ok_or(MasterError::NoWorkDir(what))
}

/// The configuration with what only the shell can know: the wall time of the core's epoch, and a seed.
fn drawn(config: Config) -> Result<Config, MasterError> {
    let mut seed = [0; 8];
    SystemRandom::new().fill(&mut seed).map_err(|_| MasterError::NoRandomness)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let origin = WallTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    Ok(Config { origin, seed: u64::from_be_bytes(seed), ..config })
}
