//! Fetching over HTTP: bounded in size, in redirections, and in the time that nothing comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Problem;

const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// What asks servers.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Http {
    /// Trusts the machine's authorities, and those of `tls_ca` (PEM).
    pub(crate) fn new(tls_ca: Option<&[u8]>) -> Result<Self, String> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(tls_ca)?).https_or_http().enable_http1();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(https.wrap_connector(http)) })
    }

    /// The answer to a GET, whatever its status, after redirections. `headers` are sent to the first server only, as often as it redirects to
    /// itself.
    pub(crate) async fn get(&self, uri: &Uri, headers: &HeaderMap) -> Result<Response<Incoming>, Problem> {
        let first = uri;
        let mut uri = uri.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::get(uri.clone()).body(Empty::new()).map_err(|error| network(&error))?;
            request.headers_mut().insert("user-agent", HeaderValue::from_static("rialto"));
            if uri.scheme() == first.scheme() && uri.authority() == first.authority() {
                request.headers_mut().extend(headers.clone());
            }
            let answer = tokio::time::timeout(SILENCE, self.client.request(request)).await;
            let answer = answer.map_err(|_| silent())?.map_err(|error| network(&error))?;
            if !answer.status().is_redirection() || answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            uri = redirected(&uri, &answer)?;
        }
        Err(Problem::NotThere(format!("expected at most {MAX_REDIRECTS} redirections")))
    }
}

fn tls(tls_ca: Option<&[u8]>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    // A machine without authorities of its own can still fetch in the clear, and from those that it is told to trust.
    for certificate in rustls_native_certs::load_native_certs().certs {
        let _unreadable = roots.add(certificate);
    }
    for certificate in tls_ca.into_iter().flat_map(CertificateDer::pem_slice_iter) {
        let certificate = certificate.map_err(|error| format!("certificates: {error}"))?;
        roots.add(certificate).map_err(|error| format!("certificates: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn redirected(from: &Uri, answer: &Response<Incoming>) -> Result<Uri, Problem> {
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| Problem::NotThere("a redirection without a place".to_owned()))?;
    let bad = |_| Problem::NotThere(format!("a redirection to {location:?}"));
    let to: Uri = location.parse().map_err(bad)?;
    if to.host().is_none() {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = to.into_parts().path_and_query;
        return Uri::from_parts(parts).map_err(|error| Problem::NotThere(error.to_string()));
    }
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err(Problem::NotThere(format!("a redirection from https to {:?}", to.scheme_str().unwrap_or(""))));
    }
    Ok(to)
}

/// The next piece of a body; none at its end.
pub(crate) async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await.map_err(|_| silent())?;
        let Some(frame) = frame else { return Ok(None) };
        // Anything else is trailers.
        if let Ok(data) = frame.map_err(|error| network(&error))?.into_data() {
            return Ok(Some(data));
        }
    }
}

/// A whole body of at most `max` bytes.
pub(crate) async fn read(mut body: Incoming, max: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await? {
        if bytes.len() as u64 + piece.len() as u64 > max {
            return Err(Problem::TooLarge(max));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What a status other than success means.
pub(crate) fn refusal(status: StatusCode) -> Problem {
    let busy =
        status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT;
    let message = format!("the server answers {status}");
    if busy { Problem::Network(message) } else { Problem::NotThere(message) }
}

fn silent() -> Problem {
    Problem::Network(format!("the server says nothing for {} seconds", SILENCE.as_secs()))
}

/// An error with the one that it is due to.
fn network(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        words = format!("{words}: {deeper}");
        cause = deeper.source();
    }
    Problem::Network(words)
}
