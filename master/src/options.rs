//! What a master is started with, and why it may not start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::{Auth, TokenError};
use crate::listen::TlsError;
use crate::lock::WorkDirError;
use crate::store::StoreError;

/// How long changes are gathered before a round of offers: a burst of tasks that end is one larger offer and not many.
const ALLOCATION_DELAY: Duration = Duration::from_millis(1);
/// How long an offer that would do stands before a larger one replaces it.
const OFFER_GROWTH_DELAY: Duration = Duration::from_millis(100);
/// How long a demand waits before it may preempt: what ends by itself meanwhile needs not be ended.
const PREEMPTION_DELAY: Duration = Duration::from_secs(5);

/// What a master is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 means any free one.
    pub listen: SocketAddr,
    /// Where it keeps its registry, lock and token. Needed by [`StoreKind::Redb`].
    pub work_dir: Option<PathBuf>,
    /// Where the registry lives.
    pub store: StoreKind,
    /// Who may speak.
    pub auth: Auth,
    /// The certificate and key to serve with; none means without TLS.
    pub tls: Option<TlsFiles>,
    /// Whether an address other than loopback may be served without TLS, or without a token.
    pub insecure: bool,
    /// How dead peers are noticed.
    pub keep_alive: KeepAlive,
    /// What the core is told; its `origin` and `seed` are drawn by [`serve`](crate::serve).
    pub core: rialto_core::master::Config,
}

impl Options {
    /// A master on a free loopback port, open to everybody who can connect, with a registry that ends with it.
    pub fn development() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            work_dir: None,
            store: StoreKind::Memory,
            auth: Auth::Open,
            tls: None,
            insecure: false,
            keep_alive: KeepAlive::default(),
            core: rialto_core::master::Config {
                allocation_delay: ALLOCATION_DELAY,
                offer_growth_delay: OFFER_GROWTH_DELAY,
                preemption_delay: PREEMPTION_DELAY,
                ..Default::default()
            },
        }
    }

    /// Refuses what would expose the master without being asked for by name.
    pub(crate) fn check(&self) -> Result<(), MasterError> {
        if self.listen.ip().is_loopback() || self.insecure {
            return Ok(());
        }
        if self.tls.is_none() {
            return Err(MasterError::PlainOnNetwork(self.listen));
        }
        match self.auth {
            Auth::Open => Err(MasterError::OpenOnNetwork(self.listen)),
            Auth::Token(_) | Auth::Bootstrap => Ok(()),
        }
    }
}

/// Where the registry lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// In a file in the work dir.
    #[default]
    Redb,
    /// In memory: it ends with the process. For tests and trials.
    Memory,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How a peer that is gone without a word is noticed: HTTP/2 pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long a connection may be quiet before it is pinged.
    pub interval: Duration,
    /// How long the answer may take before the connection is closed.
    pub timeout: Duration,
}

impl Default for KeepAlive {
    /// Noticed after 15 s; with the 30 s that an agent has to come back, one that is cut off is unreachable after 45 s.
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(5) }
    }
}

/// Why a master does not start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// The address can't be listened on.
    #[error("listen {address}: {}", listen_advice(.error))]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// An address other than loopback, without TLS.
    #[error(
        "listen {0}: others can reach this address; give a certificate and key for TLS, listen on 127.0.0.1, or ask for it with --insecure"
    )]
    PlainOnNetwork(SocketAddr),
    /// An address other than loopback, without a token.
    #[error(
        "listen {0}: others can reach this address; configure a token, listen on 127.0.0.1, or ask for it with --insecure"
    )]
    OpenOnNetwork(SocketAddr),
    /// Something that is kept in the work dir, and none is given.
    #[error("work dir: expected one for {0}, got none")]
    NoWorkDir(&'static str),
    /// The work dir can't be used.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// The certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token can't be read or made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The registry can't be read or written. Nobody has seen what was not written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread can't be started.
    #[error("thread {name}: {error}")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why.
        error: io::Error,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    NoRandomness,
    /// A part of the master ended by itself. Its panic, if it had one, has been printed.
    #[error("the master's {0} ended unexpectedly")]
    PartEnded(&'static str),
}

fn listen_advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop what uses it, or choose another (0 means any free one)".to_owned()
        }
        _ => error.to_string(),
    }
}
