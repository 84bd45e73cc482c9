use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::digest::Hasher;
use super::server::file_body;
use super::{Digest, Manifest, Output};

/// How often a request is tried before it counts as failed.
const ATTEMPTS: u32 = 6;
/// How long after the first failure the next try is; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may send nothing before a try counts as failed.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// The largest manifest that is read, in bytes.
const MAX_MANIFEST_BYTES: usize = 16 << 20;

type RequestBody = BoxBody<Bytes, io::Error>;

/// A task's side of a [`BlobServer`](super::BlobServer).
#[derive(Debug)]
pub struct BlobClient {
    url: String,
    token: String,
    http: Client<HttpConnector, RequestBody>,
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It can't be reached, or breaks off.
    #[error("{url}: {message}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why not.
        message: String,
    },
    /// It says no.
    #[error("{url}: {status}: {message}")]
    Refused {
        /// What was asked for.
        url: String,
        /// The status code.
        status: StatusCode,
        /// What it says.
        message: String,
    },
    /// It sends what was not asked for.
    #[error("{url}: the bytes do not match their digest")]
    Mismatch {
        /// What was asked for.
        url: String,
    },
    /// A local file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl ClientError {
    /// Whether another try may work: the store is away for a moment, or has not heard of the token yet.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Mismatch { .. } => true,
            Self::Refused { status, .. } => *status == StatusCode::UNAUTHORIZED || status.is_server_error(),
            Self::Io { .. } => false,
        }
    }
}

impl BlobClient {
    /// A client of the store at `url`, such as `http://127.0.0.1:40123`, that shows `token`.
    pub fn new(url: &str, token: &str) -> Self {
        let http = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Self { url: url.trim_end_matches('/').to_owned(), token: token.to_owned(), http }
    }

    /// What the task is to fetch and upload.
    pub async fn manifest(&self) -> Result<Manifest, ClientError> {
        self.retry(async || {
            let url = format!("{}/task", self.url);
            let response = self.send(Method::GET, &url, empty()).await?;
            let fail = |message: String| ClientError::Unreachable { url: url.clone(), message };
            let body = Limited::new(response.into_body(), MAX_MANIFEST_BYTES).collect().await;
            let body = body.map_err(|error| fail(error.to_string()))?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| fail(format!("manifest: {error}")))
        })
        .await
    }

    /// Fetches the blob `digest` into the file `path`.
    pub async fn fetch(&self, digest: Digest, path: &Path) -> Result<(), ClientError> {
        self.retry(async || {
            let url = format!("{}/blob/{digest}", self.url);
            let response = self.send(Method::GET, &url, empty()).await?;
            save(response.into_body(), &url, digest, path).await
        })
        .await
    }

    /// Uploads the file `path`, which has `digest`.
    pub async fn put(&self, digest: Digest, path: &Path) -> Result<(), ClientError> {
        self.retry(async || {
            let file = File::open(path).map_err(at(path))?;
            let url = format!("{}/blob/{digest}", self.url);
            self.send(Method::PUT, &url, file_body(file, ()).boxed()).await.map(drop)
        })
        .await
    }

    /// Reports the outputs that were uploaded.
    pub async fn report(&self, outputs: &[Output]) -> Result<(), ClientError> {
        let body = serde_json::to_vec(outputs).expect("outputs are plain texts and numbers");
        self.retry(async || {
            let body = Full::new(Bytes::from(body.clone())).map_err(|never| match never {}).boxed();
            self.send(Method::PUT, &format!("{}/task/result", self.url), body).await.map(drop)
        })
        .await
    }

    async fn retry<T>(&self, act: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match act().await {
                Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 2;
        }
        act().await
    }

    async fn send(&self, method: Method, url: &str, body: RequestBody) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |message: String| ClientError::Unreachable { url: url.to_owned(), message };
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(body)
            .map_err(|error| unreachable(error.to_string()))?;
        let response = self.http.request(request).await.map_err(|error| unreachable(chain(&error)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = Limited::new(response.into_body(), 64 << 10).collect().await;
        let message = text.map(|text| String::from_utf8_lossy(&text.to_bytes()).into_owned()).unwrap_or_default();
        Err(ClientError::Refused { url: url.to_owned(), status, message })
    }
}

async fn save(mut body: Incoming, url: &str, digest: Digest, path: &Path) -> Result<(), ClientError> {
    let unreachable = |message: String| ClientError::Unreachable { url: url.to_owned(), message };
    let mut file = File::create(path).map_err(at(path))?;
    let mut hasher = Hasher::default();
    loop {
        let frame = tokio::time::timeout(SILENCE_LIMIT, body.frame()).await;
        let Some(frame) = frame.map_err(|_| unreachable("no data for a minute".to_owned()))? else { break };
        let frame = frame.map_err(|error| unreachable(chain(&error)))?;
        if let Some(data) = frame.data_ref() {
            hasher.update(data);
            file.write_all(data).map_err(at(path))?;
        }
    }
    if hasher.finish() == digest { Ok(()) } else { Err(ClientError::Mismatch { url: url.to_owned() }) }
}

fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed()
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

fn at(path: &Path) -> impl FnOnce(io::Error) -> ClientError {
    let path = path.to_owned();
    move |error| ClientError::Io { path, error }
}
