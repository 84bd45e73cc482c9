//! Who may speak, and under which name.
//!
//! With a token configured, every request but the login page and `/healthz` must present it: as `authorization: Bearer TOKEN`, or, in a
//! browser, by the cookie that the login page sets. Without one (development on loopback) requests are checked for their origin, so
//! that a page from elsewhere can't use the reader's browser to reach the master.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use rialto_core::model::Principal;

/// The metadata key by which an authenticated client names its principal.
pub const PRINCIPAL_HEADER: &str = "rialto-principal";
/// The name of the token's file in the work dir.
pub const TOKEN_FILE: &str = "token";
/// The cookie that the login page sets.
pub(crate) const COOKIE: &str = "rialto_session";
/// The longest principal's name, in bytes.
const PRINCIPAL_MAX: usize = 100;

/// Whether clients must present a token.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Anybody who can connect may do anything. For development on loopback.
    #[default]
    Open,
    /// Clients must present this token.
    Token(Token),
    /// Clients must present the token in the work dir's [`TOKEN_FILE`], which is made at the first start.
    Bootstrap,
}

/// A shared secret, at least [`Token::MIN_LEN`] visible ASCII characters. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file can't be read or made.
    #[error("token file {path}: {error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The text is not fit to be a token.
    #[error("token: expected at least {min} visible ASCII characters without white space", min = Token::MIN_LEN)]
    Weak,
    /// The operating system gave no randomness.
    #[error("token: the operating system gave no randomness")]
    NoRandomness,
}

impl Token {
    /// The fewest characters of a token.
    pub const MIN_LEN: usize = 16;
    /// The most characters of a token.
    pub const MAX_LEN: usize = 1024;

    /// Checks and takes `text`.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let good =
            (Self::MIN_LEN..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(Self(Arc::from(text))) } else { Err(TokenError::Weak) }
    }

    /// The token in `path`; surrounding white space is ignored.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |error| TokenError::File { path: path.to_owned(), error };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(Self::MAX_LEN as u64 + 2).read_to_string(&mut text).map_err(failed)?;
        Self::new(text.trim())
    }

    /// The token in the work dir's [`TOKEN_FILE`], which is made (mode 0600, 32 random bytes) if it is not there.
    pub fn bootstrap(work_dir: &Path) -> Result<Self, TokenError> {
        let path = work_dir.join(TOKEN_FILE);
        if path.exists() {
            return Self::read(&path);
        }
        let token = Self::draw()?;
        write_new(&path, &token).map_err(|error| TokenError::File { path, error })?;
        Ok(token)
    }

    /// The token itself, to be presented.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn draw() -> Result<Self, TokenError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| TokenError::NoRandomness)?;
        Ok(Self(hex(&bytes).into()))
    }

    /// Whether `presented` is this token. Takes the same time wherever they differ.
    fn matches(&self, presented: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"rialto token comparison");
        let tag = hmac::sign(&key, self.0.as_bytes());
        hmac::verify(&key, presented.as_bytes(), tag.as_ref()).is_ok()
    }

    /// The value of the session cookie: derived from the token, so that the cookie does not hold the token itself.
    fn session(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        hex(hmac::sign(&key, b"rialto ui session v1").as_ref())
    }

    fn matches_session(&self, presented: &str) -> bool {
        Self(self.session().into()).matches(presented)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn write_new(path: &Path, token: &Token) -> io::Result<()> {
    // Written aside and renamed, so that a crash can't leave half a token behind.
    let aside = path.with_extension("new");
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(format!("{}\n", token.0).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a request is refused before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No token, or another one.
    #[error("expected the cluster's token, as 'authorization: Bearer TOKEN'")]
    Unauthenticated,
    /// A browser page from elsewhere.
    #[error("expected a request from this master's own pages, got one from another origin")]
    ForeignOrigin,
    /// A name that resolves to loopback but is not ours.
    #[error("host: expected localhost or an IP address")]
    ForeignHost,
}

/// Where a master listens, as far as requests are judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only this machine.
    Loopback,
    /// Others too.
    Network,
}

/// Judges requests by their headers.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    /// Without one anybody may pass.
    token: Option<Token>,
    reach: Reach,
}

impl Guard {
    pub(crate) const fn new(token: Option<Token>, reach: Reach) -> Self {
        Self { token, reach }
    }

    /// Whether a request with these headers may pass.
    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap, host: Option<&str>) -> Result<(), Refused> {
        check_origin(method, headers, host)?;
        match &self.token {
            Some(token) if is_presented(token, headers) => Ok(()),
            Some(_) => Err(Refused::Unauthenticated),
            None if self.reach == Reach::Loopback && !host.is_none_or(is_local_name) => Err(Refused::ForeignHost),
            None => Ok(()),
        }
    }

    /// The session cookie's value if `presented` is the token; none if it is not, or none is configured.
    pub(crate) fn log_in(&self, presented: &str) -> Option<String> {
        self.token.as_ref().filter(|token| token.matches(presented)).map(Token::session)
    }
}

/// The principal that an admitted request names, or `default`.
pub(crate) fn principal(headers: &HeaderMap, default: &str) -> Principal {
    let named = headers.get(PRINCIPAL_HEADER).and_then(|value| value.to_str().ok());
    let good =
        |name: &&str| (1..=PRINCIPAL_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    Principal::new(named.filter(good).unwrap_or(default))
}

fn is_presented(token: &Token, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if let Some(bearer) = bearer {
        return token.matches(bearer.trim());
    }
    cookie(headers, COOKIE).is_some_and(|session| token.matches_session(session))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Browsers name the origin of every request that may change something; other clients name none.
fn check_origin(method: &Method, headers: &HeaderMap, host: Option<&str>) -> Result<(), Refused> {
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    if origin.is_some() && origin == host { Ok(()) } else { Err(Refused::ForeignOrigin) }
}

fn is_local_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
