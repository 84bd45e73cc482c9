//! The control API from the other side: what `rialto web deploy` and its like do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rialto_sdk::MasterClient;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::policy::{AppView, DeploymentState, DeploymentView};
use crate::server::{ErrorBody, FRAMEWORK_NAME, ScaleBody};
use crate::spec::{self, AppSpec, SpecError};

/// How often a deployment that is followed is asked about.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// How long the framework may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A client of the web framework.
#[derive(Clone, Debug)]
pub struct Client {
    url: String,
    token: Option<String>,
    http: HttpClient<HttpConnector, Full<Bytes>>,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The master can't be asked.
    #[error(transparent)]
    Master(#[from] rialto_sdk::ClientError),
    /// No web framework is there.
    #[error("no web framework is connected to the master; start one with: rialto web serve")]
    NoFramework,
    /// The app file can't be read.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The app file is not acceptable.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The framework can't be reached.
    #[error("web framework at {url}: {message}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        message: String,
    },
    /// The framework says no.
    #[error("{message}")]
    Refused {
        /// With which status.
        status: StatusCode,
        /// Why.
        message: String,
    },
}

impl Client {
    /// A client of the framework at `url`, that shows `token` if there is one.
    pub fn new(url: &str, token: Option<String>) -> Self {
        let http = HttpClient::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { url: url.trim_end_matches('/').to_owned(), token: token.map(|token| token.trim().to_owned()), http }
    }

    /// A client of the framework that is connected to that master.
    pub async fn find(master: &MasterClient, token: Option<String>) -> Result<Self, ClientError> {
        #[derive(Deserialize)]
        struct Frameworks {
            frameworks: Vec<Framework>,
        }
        #[derive(Deserialize)]
        struct Framework {
            name: String,
            connected: bool,
            url: Option<String>,
        }
        let Frameworks { frameworks } = master.get_json("/api/frameworks").await?;
        let is_web = |framework: &Framework| framework.name == FRAMEWORK_NAME && framework.connected;
        let found = frameworks.into_iter().filter(is_web).find_map(|framework| framework.url);
        found.map(|url| Self::new(&url, token)).ok_or(ClientError::NoFramework)
    }

    /// Where the framework is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Deploys the app file `text`, whose app is called `name`.
    pub async fn deploy(&self, name: &str, text: &str) -> Result<DeploymentView, ClientError> {
        self.ask(Method::PUT, &format!("/apps/{name}"), text.to_owned()).await
    }

    /// The apps.
    pub async fn apps(&self) -> Result<Vec<AppView>, ClientError> {
        self.ask(Method::GET, "/apps", String::new()).await
    }

    /// The app `name` with its instances.
    pub async fn app(&self, name: &str) -> Result<AppView, ClientError> {
        self.ask(Method::GET, &path_of(name, "")?, String::new()).await
    }

    /// Where the app `name` is served.
    pub async fn endpoints(&self, name: &str) -> Result<Vec<String>, ClientError> {
        self.ask(Method::GET, &path_of(name, "/endpoints")?, String::new()).await
    }

    /// Changes how many instances the app `name` has.
    pub async fn scale(&self, name: &str, instances: u32) -> Result<DeploymentView, ClientError> {
        let body = serde_json::to_string(&ScaleBody { instances }).expect("a number has a JSON form");
        self.ask(Method::POST, &path_of(name, "/scale")?, body).await
    }

    /// Replaces every instance of the app `name`.
    pub async fn restart(&self, name: &str) -> Result<DeploymentView, ClientError> {
        self.ask(Method::POST, &path_of(name, "/restart")?, String::new()).await
    }

    /// Ends the app `name`; returns when its last instance has ended.
    pub async fn remove(&self, name: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, &path_of(name, "")?, String::new()).await?;
        loop {
            match self.app(name).await {
                Err(ClientError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => tokio::time::sleep(FOLLOW_INTERVAL).await,
            }
        }
    }

    /// How far a deployment is.
    pub async fn deployment(&self, id: u64) -> Result<DeploymentView, ClientError> {
        self.ask(Method::GET, &format!("/deployments/{id}"), String::new()).await
    }

    /// Follows a deployment to its end; `print` gets what changes.
    pub async fn follow(
        &self,
        id: u64,
        mut print: impl FnMut(&DeploymentView) + Send,
    ) -> Result<DeploymentView, ClientError> {
        let mut last = None;
        loop {
            let now = self.deployment(id).await?;
            if last.as_ref() != Some(&now) {
                print(&now);
            }
            if now.state.is_final() {
                return Ok(now);
            }
            last = Some(now);
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: String) -> Result<T, ClientError> {
        let answer = self.send(method, path, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| self.unreachable(&format!("its answer is not understood: {error}")))
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Bytes, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::from(body)).map_err(|error| self.unreachable(&error.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| self.unreachable(&chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| self.unreachable(&error.to_string()))?;
            Ok::<_, ClientError>((status, body.to_bytes()))
        };
        let late = |_| self.unreachable("no answer for a minute");
        let (status, body) = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.map_err(late)??;
        if status.is_success() {
            return Ok(body);
        }
        let said = serde_json::from_slice(&body).map(|ErrorBody { error }| error);
        let message = said.unwrap_or_else(|_| format!("{status}: {}", String::from_utf8_lossy(&body)));
        Err(ClientError::Refused { status, message })
    }

    fn unreachable(&self, message: &str) -> ClientError {
        ClientError::Unreachable { url: self.url.clone(), message: message.to_owned() }
    }
}

/// Reads and checks an app file. Returns its text too, which is what is deployed.
pub fn read_app(path: &Path) -> Result<(AppSpec, Arc<str>), ClientError> {
    let text = std::fs::read_to_string(path).map_err(|error| ClientError::File { path: path.to_owned(), error })?;
    let spec = spec::parse(&path.to_string_lossy(), &text)?;
    Ok((spec, Arc::from(text)))
}

impl DeploymentState {
    /// Whether what was asked for has come about.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Done)
    }
}

impl std::fmt::Display for DeploymentView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { app, ready, wanted, to, unplaced, others, failures, reason, .. } = self;
        let state = match self.state {
            DeploymentState::Rolling => format!("version {to} is rolled out"),
            DeploymentState::RollingBack => format!("version {to} is rolled back"),
            DeploymentState::Done => format!("version {to} is up"),
            DeploymentState::RolledBack => format!("version {to} was rolled back"),
            DeploymentState::Failed => format!("version {to} has failed"),
            DeploymentState::Superseded => format!("version {to} was superseded by another deployment"),
        };
        write!(f, "{app}: {state}: {ready}/{wanted} ready")?;
        if *unplaced > 0 {
            write!(f, ", {unplaced} find no room yet")?;
        }
        if *others > 0 {
            write!(f, ", {others} others left")?;
        }
        if *failures > 0 {
            write!(f, ", {failures} failed")?;
        }
        reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

/// The path of an app, whose name is checked so that it is one part of it.
fn path_of(name: &str, rest: &str) -> Result<String, ClientError> {
    if spec::is_name(name) {
        return Ok(format!("/apps/{name}{rest}"));
    }
    let message = format!("app name: expected lower-case letters, digits or '-', got {name:?}");
    Err(ClientError::Refused { status: StatusCode::BAD_REQUEST, message })
}

/// An error with what caused it: "connection refused" is what people need.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
