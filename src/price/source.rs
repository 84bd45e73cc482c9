//! Where a feed reads its prices: a file, or an address that is asked with bounds on size and time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rialto_sim::prices::{self, PricePoint};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The largest list, in bytes.
const LIST_MAX: usize = 4 << 20;

/// What asks an address.
type Asker = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Where prices are read.
#[derive(Debug)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url {
        /// Which.
        uri: Uri,
        /// What asks it.
        client: Box<Asker>,
    },
}

impl Source {
    /// The file or the address, of which exactly one is given.
    pub fn of(file: Option<&Path>, url: Option<&str>, url_ca: Option<&Path>) -> anyhow::Result<Self> {
        match (file, url) {
            (Some(file), None) => Ok(Self::File(file.to_owned())),
            (None, Some(url)) => {
                let uri: Uri = url.parse().with_context(|| format!("--url {url}"))?;
                ensure!(
                    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(),
                    "--url {url}: expected an address such as https://prices.example/list"
                );
                Ok(Self::Url { uri, client: client(url_ca)? })
            }
            _ => bail!("price feed: expected either --file or --url"),
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Url { uri, .. } => uri.to_string(),
        }
    }

    /// Reads the list, within so long.
    pub async fn read(&self, timeout: Duration) -> anyhow::Result<Vec<PricePoint>> {
        let reading = tokio::time::timeout(timeout, self.text()).await;
        let text = reading.map_err(|_| anyhow::anyhow!("{}: no answer within {timeout:?}", self.name()))??;
        Ok(prices::parse(Path::new(&self.name()), &text)?)
    }

    async fn text(&self) -> anyhow::Result<String> {
        let bytes = match self {
            Self::File(file) => {
                let size = tokio::fs::metadata(file).await.with_context(|| self.name())?.len();
                ensure!(size <= LIST_MAX as u64, "{}: expected at most {LIST_MAX} bytes, got {size}", self.name());
                tokio::fs::read(file).await.with_context(|| self.name())?
            }
            Self::Url { uri, client } => fetch(uri, client).await.with_context(|| self.name())?,
        };
        String::from_utf8(bytes).with_context(|| format!("{}: expected text in UTF-8", self.name()))
    }
}

async fn fetch(uri: &Uri, client: &Asker) -> anyhow::Result<Vec<u8>> {
    let request = Request::get(uri.clone())
        .header("user-agent", "rialto")
        .header("accept", "application/json, text/csv;q=0.9, text/plain;q=0.8")
        .body(Empty::new())?;
    let answer = client.request(request).await?;
    ensure!(answer.status().is_success(), "the server answers {}", answer.status());
    let body = Limited::new(answer.into_body(), LIST_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{error}; expected a list of at most {LIST_MAX} bytes"))?;
    Ok(body.to_bytes().to_vec())
}

/// Trusts the machine's authorities, and those of `ca`.
fn client(ca: Option<&Path>) -> anyhow::Result<Box<Asker>> {
    let mut roots = rustls::RootCertStore::empty();
    // A machine without authorities of its own can still read in the clear, and from those that it is told to trust.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca {
        let pem = std::fs::read(file).with_context(|| format!("--url-ca {}", file.display()))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| anyhow::anyhow!("--url-ca {}: {error}", file.display()))?;
            roots.add(certificate).with_context(|| format!("--url-ca {}", file.display()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Ok(Box::new(Client::builder(TokioExecutor::new()).build(https.wrap_connector(http))))
}
