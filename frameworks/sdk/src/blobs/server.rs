use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::digest::hex;
use super::{BlobStore, Digest, DigestError, Manifest, Output, Report, StoreError, Stored};

/// The largest list of outputs that is taken, in bytes.
const MAX_RESULT_BYTES: usize = 1 << 20;
/// How many blobs are sent or received at once; others wait.
const MAX_TRANSFERS: usize = 64;
/// How many chunks of a transfer wait between the network and the disk.
const CHUNKS_IN_FLIGHT: usize = 16;

/// The secret of one task, shown by its wrapper.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// The text to show, 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What tokens are derived from. Whoever has it can make every token.
#[derive(Clone, Debug)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<Self, ServeError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| ServeError::NoRandomness)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// The key that consists of `bytes`.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The token of the task called `task`.
    pub fn token(&self, task: &str) -> Token {
        Token(Arc::from(hex(hmac::sign(&self.0, task.as_bytes()).as_ref())))
    }
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The task that its report will name.
    pub task: String,
    /// What the task may fetch, and is to upload.
    pub manifest: Manifest,
    /// How much it may upload in all, in bytes.
    pub upload_limit: u64,
}

/// The tokens that are good now. A clone is a handle to the same set.
#[derive(Clone, Debug, Default)]
pub struct Grants(Arc<Mutex<BTreeMap<Digest, Granted>>>);

/// A grant and what has been done with it. Kept under the token's digest, so that comparing takes no time that tells of the token.
#[derive(Clone, Debug)]
struct Granted {
    grant: Grant,
    uploaded: BTreeMap<Digest, u64>,
    uploaded_bytes: u64,
}

impl Grants {
    /// From now on `token` is good for `grant`.
    pub fn grant(&self, token: &Token, grant: Grant) {
        let granted = Granted { grant, uploaded: BTreeMap::new(), uploaded_bytes: 0 };
        self.lock().insert(Digest::of(token.as_str().as_bytes()), granted);
    }

    /// From now on `token` is good for nothing.
    pub fn revoke(&self, token: &Token) {
        self.lock().remove(&Digest::of(token.as_str().as_bytes()));
    }

    fn with<T>(&self, key: Digest, act: impl FnOnce(&mut Granted) -> T) -> Result<T, Refused> {
        self.lock().get_mut(&key).map(act).ok_or_else(unknown_token)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Granted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a store is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// The address that is listened on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address by which agents reach it, `HOST` or `HOST:PORT`, if that is another.
    pub advertise: Option<String>,
}

impl Default for ServeOptions {
    /// Loopback, any port: enough where the agents are on this machine.
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), advertise: None }
    }
}

/// Why a store can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can't be listened on.
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        /// Which address.
        listen: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The address is "all of this machine", which agents can't connect to.
    #[error(
        "listening on {0}, agents need an address to connect to: expected an advertised HOST or HOST:PORT beside it"
    )]
    NoAddress(SocketAddr),
    /// The system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

/// Serves a store until it is dropped.
#[derive(Debug)]
pub struct BlobServer {
    url: String,
    grants: Grants,
    serving: JoinHandle<()>,
}

impl BlobServer {
    /// Starts serving `store`. What tasks report goes to `reports`; a task waits with ending until there is room.
    pub async fn start(
        options: &ServeOptions,
        store: Arc<BlobStore>,
        reports: mpsc::Sender<Report>,
    ) -> Result<Self, ServeError> {
        let listen = options.listen;
        let fail = |error| ServeError::Listen { listen, error };
        let listener = TcpListener::bind(listen).await.map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let url = public_url(bound, options.advertise.as_deref())?;
        let grants = Grants::default();
        let shared = Arc::new(Shared {
            store,
            grants: grants.clone(),
            reports,
            transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
        });
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router(shared)).await {
                tracing::error!(%error, "the file store is no longer served");
            }
        });
        Ok(Self { url, grants, serving })
    }

    /// Where tasks reach it, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The tokens that it takes.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }
}

impl Drop for BlobServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn public_url(bound: SocketAddr, advertise: Option<&str>) -> Result<String, ServeError> {
    let Some(host) = advertise else {
        return if bound.ip().is_unspecified() {
            Err(ServeError::NoAddress(bound))
        } else {
            Ok(format!("http://{bound}"))
        };
    };
    let bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !bare_v6 && host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Ok(match (bare_v6, has_port) {
        (true, _) => format!("http://[{host}]:{}", bound.port()),
        (_, true) => format!("http://{host}"),
        _ => format!("http://{host}:{}", bound.port()),
    })
}

#[derive(Debug)]
struct Shared {
    store: Arc<BlobStore>,
    grants: Grants,
    reports: mpsc::Sender<Report>,
    transfers: Arc<Semaphore>,
}

/// A request that is not done, with what the client is told.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            StoreError::BlobTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            StoreError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::Mismatch { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            StoreError::Interrupted(_) => StatusCode::BAD_REQUEST,
            StoreError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<DigestError> for Refused {
    fn from(error: DigestError) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

fn unknown_token() -> Refused {
    Refused(StatusCode::UNAUTHORIZED, "the token is not known here, or no longer".to_owned())
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/task", get(read_manifest))
        .route("/task/result", put(take_result))
        .route("/blob/{digest}", get(send_blob).put(take_blob))
        .with_state(shared)
}

fn token_key(headers: &HeaderMap) -> Result<Digest, Refused> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(unknown_token)?;
    Ok(Digest::of(token.as_bytes()))
}

async fn read_manifest(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<axum::Json<Manifest>, Refused> {
    shared.grants.with(token_key(&headers)?, |granted| axum::Json(granted.grant.manifest.clone()))
}

async fn send_blob(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let digest: Digest = digest.parse()?;
    let named = |granted: &mut Granted| granted.grant.manifest.inputs.iter().any(|input| input.digest == digest);
    if !shared.grants.with(token_key(&headers)?, named)? {
        return Err(Refused(StatusCode::FORBIDDEN, "that file is not an input of this task".to_owned()));
    }
    let missing = || Refused(StatusCode::NOT_FOUND, format!("file {digest} is not in the store"));
    let path = shared.store.path(digest).ok_or_else(missing)?;
    let file = File::open(&path).map_err(|error| StoreError::Io { path, error })?;
    let permit = shared.transfers.clone().acquire_owned().await.expect("the semaphore is never closed");
    Ok(Body::new(file_body(file, permit)).into_response())
}

async fn take_blob(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    request: Request,
) -> Result<StatusCode, Refused> {
    let digest: Digest = digest.parse()?;
    let key = token_key(request.headers())?;
    let room = shared.grants.with(key, |granted| granted.grant.upload_limit.saturating_sub(granted.uploaded_bytes))?;
    let _permit = shared.transfers.acquire().await.expect("the semaphore is never closed");
    let stored = receive(shared.store.clone(), request.into_body(), digest, room).await?;
    shared.grants.with(key, |granted| note_upload(granted, stored))??;
    Ok(StatusCode::CREATED)
}

/// Two uploads at once may each have had room; the sum is judged here.
fn note_upload(granted: &mut Granted, stored: Stored) -> Result<(), Refused> {
    if granted.uploaded.insert(stored.digest, stored.bytes).is_none() {
        granted.uploaded_bytes = granted.uploaded_bytes.saturating_add(stored.bytes);
    }
    if granted.uploaded_bytes > granted.grant.upload_limit {
        return Err(StoreError::BlobTooLarge(granted.grant.upload_limit).into());
    }
    Ok(())
}

async fn receive(store: Arc<BlobStore>, mut body: Body, announced: Digest, room: u64) -> Result<Stored, StoreError> {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let writing = tokio::task::spawn_blocking(move || write_chunks(&store, receiver, announced, room));
    while let Some(frame) = body.frame().await {
        let chunk = frame.map(Frame::into_data).map_err(|error| error.to_string());
        let chunk = match chunk {
            Ok(Ok(data)) => Ok(data),
            Ok(Err(_trailers)) => continue,
            Err(error) => Err(error),
        };
        // The writer has given up; its result says why.
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    writing.await.map_err(|error| StoreError::Interrupted(error.to_string()))?
}

fn write_chunks(
    store: &BlobStore,
    mut chunks: mpsc::Receiver<Result<Bytes, String>>,
    announced: Digest,
    room: u64,
) -> Result<Stored, StoreError> {
    let mut writer = store.writer()?;
    let mut total = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        let chunk = chunk.map_err(StoreError::Interrupted)?;
        total += chunk.len() as u64;
        if total > room {
            return Err(StoreError::BlobTooLarge(room));
        }
        writer.write(&chunk)?;
    }
    writer.finish(Some(announced))
}

async fn take_result(State(shared): State<Arc<Shared>>, request: Request) -> Result<StatusCode, Refused> {
    let key = token_key(request.headers())?;
    shared.grants.with(key, |_| ())?;
    let bad = |message: String| Refused(StatusCode::BAD_REQUEST, message);
    let body =
        axum::body::to_bytes(request.into_body(), MAX_RESULT_BYTES).await.map_err(|error| bad(error.to_string()))?;
    let outputs: Vec<Output> = serde_json::from_slice(&body).map_err(|error| bad(format!("outputs: {error}")))?;
    let task =
        shared.grants.with(key, |granted| check_outputs(granted, &outputs).map(|()| granted.grant.task.clone()))??;
    let gone = |_| Refused(StatusCode::SERVICE_UNAVAILABLE, "the framework is stopping".to_owned());
    shared.reports.send(Report { task, outputs }).await.map_err(gone)?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_outputs(granted: &Granted, outputs: &[Output]) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for output in outputs {
        let spec = granted.grant.manifest.outputs.iter().find(|spec| spec.name == output.name);
        let uploaded = granted.uploaded.get(&output.digest) == Some(&output.bytes);
        if !uploaded || spec.is_none_or(|spec| spec.pack != output.pack) || !seen.insert(&output.name) {
            let message =
                format!("output {:?}: expected one of the task's outputs, once, uploaded with this token", output.name);
            return Err(Refused(StatusCode::UNPROCESSABLE_ENTITY, message));
        }
    }
    Ok(())
}

/// The body that streams `file`; `held` is let go when it ends.
pub(super) fn file_body(
    mut file: File,
    held: impl Send + 'static,
) -> StreamBody<ReceiverStream<Result<Frame<Bytes>, io::Error>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    tokio::task::spawn_blocking(move || {
        let _held = held;
        loop {
            let mut chunk = vec![0; 64 << 10];
            let sent = match file.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => {
                    chunk.truncate(count);
                    sender.blocking_send(Ok(Frame::data(Bytes::from(chunk))))
                }
                Err(error) => sender.blocking_send(Err(error)),
            };
            // The other side is gone: nobody waits for the rest.
            if sent.is_err() {
                return;
            }
        }
    });
    StreamBody::new(ReceiverStream::new(receiver))
}
