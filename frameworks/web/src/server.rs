//! The lasting framework: hands the policy to the SDK and serves the control API.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /apps/{name}`, an app file | `202` and the deployment |
//! | `GET /apps` | the apps |
//! | `GET /apps/{name}` | the app with its instances |
//! | `GET /apps/{name}/endpoints` | where it is served: a list of `HOST:PORT` |
//! | `POST /apps/{name}/scale`, `{"instances": 3}` | `202` and the deployment |
//! | `POST /apps/{name}/restart` | `202` and the deployment |
//! | `DELETE /apps/{name}` | `202` |
//! | `GET /deployments/{id}` | how far it is |
//! | `GET /healthz` | `200` |
//!
//! An error is `{"error": "…"}`. Where there is a token, every request but the last shows it as `Authorization: Bearer …`.

#![expect(clippy::disallowed_types, reason = "the shell keeps the requests that wait in a table that its tasks share")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rialto_sdk::blobs::Digest;
use rialto_sdk::core::model::Role;
use rialto_sdk::{Access, Commands, Options, RedbStore, RunError, StartError, StoreError};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::policy::{Answer, Ask, Command, Effect, Policy, Refused};
use crate::spec::MAX_FILE_BYTES;

/// The name of the framework, by which clients find it at the master.
pub const FRAMEWORK_NAME: &str = "web";
/// How many requests may wait for the policy.
const MAX_WAITING: usize = 1024;
/// How long the policy may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long apps run on while the framework is away.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How the framework is run.
#[derive(Debug)]
pub struct ServerOptions {
    /// How to reach the master.
    pub access: Access,
    /// The role that is charged.
    pub role: Role,
    /// Where the control API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The URL that clients are told, if it is not that of `listen`.
    pub url: Option<String>,
    /// The directory that its state is kept in; made if it is not there.
    pub work_dir: PathBuf,
    /// What clients must show; without it everybody who can connect is let in.
    pub token: Option<String>,
    /// Whether an address other than loopback is fine although nothing is encrypted.
    pub insecure: bool,
}

impl ServerOptions {
    /// On loopback, any port, no token.
    pub fn new(access: Access, work_dir: PathBuf) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { access, role: Role::any(), listen, url: None, work_dir, token: None, insecure: false }
    }
}

/// Why the framework can't run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is open to others and nothing is encrypted.
    #[error(
        "listen address {0}: expected a loopback address, as the control API is not encrypted; others only with --insecure"
    )]
    NotLoopback(SocketAddr),
    /// The address is "all of this machine", which clients can't connect to.
    #[error("listen address {0}: clients need an address to connect to; expected a URL to be given beside it")]
    NoUrl(SocketAddr),
    /// The address can't be listened on.
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The directory can't be made.
    #[error("work directory {path}: {error}")]
    WorkDir {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Its state can't be kept.
    #[error("{path}: {error}")]
    Store {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: Box<StoreError>,
    },
    /// The framework can't start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The framework has failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The control API has failed.
    #[error("control API: {0}")]
    Api(io::Error),
}

/// The framework, with its control API bound and not served yet.
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    listener: TcpListener,
    url: String,
}

impl Server {
    /// Binds the control API.
    pub async fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let listen = options.listen;
        if !listen.ip().is_loopback() && !options.insecure {
            return Err(ServerError::NotLoopback(listen));
        }
        let fail = |error| ServerError::Listen { listen, error };
        let listener = TcpListener::bind(listen).await.map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let url = match &options.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if bound.ip().is_unspecified() => return Err(ServerError::NoUrl(bound)),
            None => format!("http://{bound}"),
        };
        Ok(Self { options, listener, url })
    }

    /// Where clients reach it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs the framework until `stop` is ready. Its apps run on.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let Self { options, listener, url } = self;
        let store = open_store(&options.work_dir)?;
        let mut sdk = Options::new(options.access, FRAMEWORK_NAME, [options.role.clone()]).keep_in(store);
        sdk.info.url = Some(Arc::from(url));
        sdk.info.failover_timeout = FAILOVER_TIMEOUT;
        let waiting = Waiting::default();
        let replies = waiting.clone();
        let effects = move |effect| match effect {
            Effect::Reply(request, answer) => replies.answer(request, answer),
            Effect::Note(text) => tracing::info!("{text}"),
        };
        let role = options.role;
        let framework = rialto_sdk::start(sdk, move |saved| Policy::recover(role, saved).map_err(Into::into), effects)?;
        let token = options.token.map(|token| Digest::of(token.trim().as_bytes()));
        let api = Arc::new(Api { commands: framework.commands(), waiting, token });
        let serving = tokio::spawn(axum::serve(listener, router(api)).into_future());
        let abort = serving.abort_handle();
        let result = tokio::select! {
            () = stop => framework.stop().await.map(drop).map_err(ServerError::Run),
            served = serving => Err(ServerError::Api(ended(served))),
        };
        abort.abort();
        result
    }
}

/// Why the control API is no longer served.
fn ended(served: Result<io::Result<()>, tokio::task::JoinError>) -> io::Error {
    match served {
        Ok(Ok(())) => io::Error::other("it ended by itself"),
        Ok(Err(error)) => error,
        Err(panicked) => io::Error::other(panicked),
    }
}

fn open_store(dir: &std::path::Path) -> Result<RedbStore, ServerError> {
    fs::create_dir_all(dir).map_err(|error| ServerError::WorkDir { path: dir.to_owned(), error })?;
    let path = dir.join("state.redb");
    RedbStore::open(&path).map_err(|error| ServerError::Store { path, error: Box::new(error) })
}

type Answered = Box<Result<Answer, Refused>>;
type Table = BTreeMap<u64, oneshot::Sender<Answered>>;

/// The requests that wait for an answer, by number.
#[derive(Clone, Debug, Default)]
struct Waiting(Arc<Mutex<Table>>);

impl Waiting {
    /// Where the answer to `request` will come; none if too many wait.
    fn expect(&self, request: u64) -> Option<oneshot::Receiver<Answered>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        (waiting.len() < MAX_WAITING).then(|| waiting.insert(request, sender)).map(|_| receiver)
    }

    fn answer(&self, request: u64, answer: Result<Answer, Refused>) {
        let sender = self.lock().remove(&request);
        // The client has gone: nobody misses the answer.
        drop(sender.map(|sender| sender.send(Box::new(answer))));
    }

    fn forget(&self, request: u64) {
        self.lock().remove(&request);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Api {
    commands: Commands<Command>,
    waiting: Waiting,
    token: Option<Digest>,
}

static NEXT_REQUEST: AtomicU64 = AtomicU64::new(1);

impl Api {
    async fn ask(&self, ask: Ask) -> Result<Answer, Failure> {
        let request = NEXT_REQUEST.fetch_add(1, Ordering::Relaxed);
        let busy = || Failure(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait; try again".to_owned());
        let answer = self.waiting.expect(request).ok_or_else(busy)?;
        let stopping = || Failure(StatusCode::SERVICE_UNAVAILABLE, "the web framework is stopping".to_owned());
        if !self.commands.send(Command { request, ask }).await {
            self.waiting.forget(request);
            return Err(stopping());
        }
        let Ok(answered) = tokio::time::timeout(ANSWER_TIMEOUT, answer).await else {
            self.waiting.forget(request);
            return Err(Failure(StatusCode::GATEWAY_TIMEOUT, "the web framework did not answer in time".to_owned()));
        };
        Ok((*answered.map_err(|_| stopping())?)?)
    }
}

/// A request that is not done.
struct Failure(StatusCode, String);

/// How errors look.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: String,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::Spec(_) | Refused::OtherName { .. } | Refused::TooManyInstances(_) => StatusCode::BAD_REQUEST,
            Refused::UnknownApp { .. } | Refused::UnknownDeployment(_) => StatusCode::NOT_FOUND,
            Refused::Deleting(_) | Refused::NoVersion(_) => StatusCode::CONFLICT,
            Refused::TooManyApps => StatusCode::INSUFFICIENT_STORAGE,
        };
        Self(status, refused.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(ErrorBody { error: self.1 })).into_response()
    }
}

/// Answers as JSON; what is under way with 202.
fn reply(answer: Answer) -> Response {
    match answer {
        Answer::Accepted(deployment) => (StatusCode::ACCEPTED, Json(deployment)).into_response(),
        Answer::Deleting => StatusCode::ACCEPTED.into_response(),
        Answer::Apps(apps) => Json(apps).into_response(),
        Answer::App(app) => Json(app).into_response(),
        Answer::Deployment(deployment) => Json(deployment).into_response(),
    }
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/apps", get(list))
        .route("/apps/{name}", get(show).put(deploy).delete(delete))
        .route("/apps/{name}/endpoints", get(endpoints))
        .route("/apps/{name}/scale", post(scale))
        .route("/apps/{name}/restart", post(restart))
        .route("/deployments/{id}", get(deployment))
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .route("/healthz", get(async || "ok\n"))
        .layer(DefaultBodyLimit::max(MAX_FILE_BYTES + 1024))
        .with_state(api)
}

/// Lets in who shows the token. Pages of other sites that a user's browser has open can change nothing.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Result<Response, Failure> {
    let headers = request.headers();
    if request.method() != Method::GET && headers.contains_key(header::ORIGIN) {
        return Err(Failure(StatusCode::FORBIDDEN, "requests from web pages change nothing here".to_owned()));
    }
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer ")).map(|token| Digest::of(token.trim().as_bytes()));
    if api.token.is_some_and(|token| shown != Some(token)) {
        let message = "expected the cluster's token as 'Authorization: Bearer …'".to_owned();
        return Err(Failure(StatusCode::UNAUTHORIZED, message));
    }
    Ok(next.run(request).await)
}

async fn list(State(api): State<Arc<Api>>) -> Result<Response, Failure> {
    api.ask(Ask::List).await.map(reply)
}

async fn show(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, Failure> {
    api.ask(Ask::Show(name)).await.map(reply)
}

async fn endpoints(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, Failure> {
    Ok(match api.ask(Ask::Show(name)).await? {
        Answer::App(app) => Json(app.endpoints).into_response(),
        other => reply(other),
    })
}

async fn deploy(State(api): State<Arc<Api>>, Path(name): Path<String>, text: String) -> Result<Response, Failure> {
    api.ask(Ask::Deploy { name, text: Arc::from(text) }).await.map(reply)
}

/// The body of a request to scale.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScaleBody {
    pub(crate) instances: u32,
}

async fn scale(State(api): State<Arc<Api>>, Path(name): Path<String>, body: String) -> Result<Response, Failure> {
    let bad =
        |error: serde_json::Error| Failure(StatusCode::BAD_REQUEST, format!("expected {{\"instances\": 3}}: {error}"));
    let ScaleBody { instances } = serde_json::from_str(&body).map_err(bad)?;
    api.ask(Ask::Scale { name, instances }).await.map(reply)
}

async fn restart(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, Failure> {
    api.ask(Ask::Restart(name)).await.map(reply)
}

async fn delete(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Result<Response, Failure> {
    api.ask(Ask::Delete(name)).await.map(reply)
}

async fn deployment(State(api): State<Arc<Api>>, Path(id): Path<u64>) -> Result<Response, Failure> {
    api.ask(Ask::Deployment(id)).await.map(reply)
}

#[cfg(test)]
mod tests;
