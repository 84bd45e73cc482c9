//! Where the master is, and what it asks of those who come.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// The metadata entry by which a client names its principal.
pub(crate) const PRINCIPAL_KEY: &str = "rialto-principal";

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is tried, and how long the answer may take.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a master is: `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub(crate) scheme: Scheme,
    /// Without brackets, where it is an IPv6 address.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
}

/// Whether the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// How to reach a master.
#[derive(Clone)]
pub struct Access {
    pub(crate) address: Address,
    token: Option<AsciiMetadataValue>,
    ca_pem: Option<Arc<[u8]>>,
    principal: Option<AsciiMetadataValue>,
}

/// Why a master can't be reached that way.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The address is not of a form that is understood.
    #[error("master address {got:?}: expected HOST:PORT, http://HOST:PORT or https://HOST:PORT ({problem})")]
    Address {
        /// What was given.
        got: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file can't be read.
    #[error("{what} {}: {error}", path.display())]
    File {
        /// What is in it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The token holds what a header can't.
    #[error("token: expected visible ASCII characters")]
    Token,
    /// The principal's name holds what a header can't.
    #[error("principal: expected visible ASCII characters, got {0:?}")]
    Principal(String),
    /// Encryption is asked for without the means to check who is there.
    #[error(
        "master address {0}: https needs the file of the certificate authority that signed the master's certificate"
    )]
    NoAuthority(Address),
    /// The certificate authority's file is not understood.
    #[error("certificate authority: {0}")]
    Authority(String),
}

impl FromStr for Address {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        let error = |problem| AccessError::Address { got: text.to_owned(), problem };
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Http, text),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(_) => return Err(error("the scheme is another")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| error("there is no port"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = bare.map_or_else(|| host.chars().all(is_name), |host| host.parse::<std::net::Ipv6Addr>().is_ok());
        if host.is_empty() || !is_host {
            return Err(error("the host is no name or address"));
        }
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| error("the port is no number from 1 to 65535"))?;
        Ok(Self { scheme, host: Arc::from(host), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == Scheme::Https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Address {
    /// Host and port, as a URL has them.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl Access {
    /// The master at `address`, without token or certificate.
    ///
    /// # Errors
    /// If the address is not of a form that is understood.
    pub fn new(address: &str) -> Result<Self, AccessError> {
        Ok(Self { address: address.parse()?, token: None, ca_pem: None, principal: None })
    }

    /// The address.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The same with this token.
    ///
    /// # Errors
    /// If the token is not visible ASCII.
    pub fn with_token(mut self, token: &str) -> Result<Self, AccessError> {
        let mut value: AsciiMetadataValue =
            format!("Bearer {}", token.trim()).parse().map_err(|_| AccessError::Token)?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// The same with the token that is in the file at `path`.
    ///
    /// # Errors
    /// If the file can't be read or holds no token.
    pub fn with_token_file(self, path: &Path) -> Result<Self, AccessError> {
        let token = std::fs::read_to_string(path);
        self.with_token(&token.map_err(|error| AccessError::File {
            what: "token file",
            path: path.to_owned(),
            error,
        })?)
    }

    /// The same, trusting the certificate authority whose PEM file is at `path`.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn with_ca_file(mut self, path: &Path) -> Result<Self, AccessError> {
        let pem = std::fs::read(path);
        let pem =
            pem.map_err(|error| AccessError::File { what: "certificate authority", path: path.to_owned(), error })?;
        self.ca_pem = Some(Arc::from(pem));
        Ok(self)
    }

    /// The same, under that name.
    ///
    /// # Errors
    /// If the name is not visible ASCII.
    pub fn with_principal(mut self, name: &str) -> Result<Self, AccessError> {
        self.principal = Some(name.parse().map_err(|_| AccessError::Principal(name.to_owned()))?);
        Ok(self)
    }

    /// The certificate authority, where the connection is encrypted.
    pub(crate) fn authority(&self) -> Result<Option<&[u8]>, AccessError> {
        match (self.address.scheme, &self.ca_pem) {
            (Scheme::Http, _) => Ok(None),
            (Scheme::Https, Some(pem)) => Ok(Some(pem)),
            (Scheme::Https, None) => Err(AccessError::NoAuthority(self.address.clone())),
        }
    }

    /// Where gRPC connects to.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, AccessError> {
        let uri = self.address.to_string();
        let endpoint = Endpoint::from_shared(uri.clone())
            .map_err(|_| AccessError::Address { got: uri, problem: "it makes no URL" })?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let Some(pem) = self.authority()? else { return Ok(endpoint) };
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint.tls_config(tls).map_err(|error| AccessError::Authority(error.to_string()))
    }

    /// Presents token and name.
    pub(crate) fn sign(&self, metadata: &mut MetadataMap) {
        if let Some(token) = &self.token {
            metadata.insert("authorization", token.clone());
        }
        if let Some(principal) = &self.principal {
            metadata.insert(PRINCIPAL_KEY, principal.clone());
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({}, token: {})", self.address, if self.token.is_some() { "yes" } else { "no" })
    }
}

#[cfg(test)]
mod tests;
