//! One port: accept, TLS, HTTP/1.1 and HTTP/2.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::options::{KeepAlive, MasterError, Options, TlsFiles};

/// How many connections are served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 65_536;
/// How long a client may take for the TLS handshake, or for the head of an HTTP/1 request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stopping master waits for its connections to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// HTTP/2 flow control windows, in bytes: for bulk data a stream, for all streams of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// How many streams a connection may have open.
const STREAMS_MAX: u32 = 1024;

/// A bound port.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    keep_alive: KeepAlive,
}

/// Why a certificate or key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read or holds no PEM of the expected kind.
    #[error("tls {what} {path}: {error}")]
    File {
        /// `certificate` or `key`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("tls certificate {0}: expected at least one certificate in PEM form")]
    NoCertificate(PathBuf),
    /// The two do not go together.
    #[error("tls certificate and key: {0}")]
    Mismatch(rustls::Error),
}

/// Binds the address of `options`, so that a port in use is found before anything else is done.
pub async fn bind(options: &Options) -> Result<Listener, MasterError> {
    options.check()?;
    let tls = options.tls.as_ref().map(server_config).transpose()?;
    let failed = |error| MasterError::Listen { address: options.listen, error };
    let tcp = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = tcp.local_addr().map_err(failed)?;
    Ok(Listener { tcp, address, tls, keep_alive: options.keep_alive })
}

impl Listener {
    /// Where it listens, with the actual port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients and browsers find it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves `router` until `shutdown`, then lets connections end for a moment.
    pub(crate) async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let http = Arc::new(http(self.keep_alive));
        let tls = self.tls.map(TlsAcceptor::from);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&self.tcp, &connections) => accepted,
            };
            let Some((tcp, permit)) = accepted else { continue };
            let connection = Connection { http: http.clone(), router: router.clone(), tls: tls.clone(), permit };
            let watcher = graceful.watcher();
            tokio::spawn(async move { connection.serve(tcp, watcher).await });
        }
        drop(self.tcp);
        if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::debug!("connections were still open at the end");
        }
    }
}

async fn accept(tcp: &TcpListener, connections: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await.expect("the semaphore is never closed");
    match tcp.accept().await {
        Ok((stream, _)) => Some((stream, permit)),
        Err(error) => {
            // Out of files, or a client that is gone already: neither may end the master, nor make it spin.
            tracing::warn!(%error, "connection not accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

fn http(keep_alive: KeepAlive) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(keep_alive.interval)
        .keep_alive_timeout(keep_alive.timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_MAX);
    http
}

struct Connection {
    http: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    tls: Option<TlsAcceptor>,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, tcp: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        let Some(tls) = self.tls.clone() else { return self.serve_http(tcp, watcher).await };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
            Ok(Ok(stream)) => self.serve_http(stream, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        let service = TowerToHyperService::new(self.router);
        let connection = self.http.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "connection ended");
        }
        drop(self.permit);
    }
}

fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.cert)?;
    let failed = |error| TlsError::File { what: "key", path: files.key.clone(), error };
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(TlsError::Mismatch)?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::File { what: "certificate", path: path.to_owned(), error };
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let chain: Vec<_> = found.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}
