use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap};
use minisign_verify::PublicKey;
use rialto_core::model::Role;

use crate::images::Login;

/// What may be fetched for tasks, and how much is kept of it.
#[derive(Clone, Debug)]
pub struct FetchPolicy {
    /// Whether every artefact must say what its content is.
    pub digests: Digests,
    /// Whose signatures are good.
    pub trusted_keys: Vec<TrustedKey>,
    /// Roles, with all below them, whose artefacts must be signed by a trusted key; `*` means every role.
    pub signed_roles: Vec<Role>,
    /// Below these folders of the machine artefacts may be taken from files.
    pub folders: Vec<PathBuf>,
    /// The largest artefact, in bytes; also as it is unpacked.
    pub max_bytes: u64,
    /// How much is kept for the next task that wants it, in bytes.
    pub cache_bytes: u64,
    /// Certificates (PEM) of authorities that are trusted beside those of the machine.
    pub tls_ca: Option<Vec<u8>>,
    /// As whom servers are asked for artefacts, by `HOST` or `HOST:PORT`: with TLS only, and whoever's task it is for.
    pub logins: BTreeMap<String, Login>,
}

impl Default for FetchPolicy {
    fn default() -> Self {
        Self {
            digests: Digests::Optional,
            trusted_keys: Vec::new(),
            signed_roles: Vec::new(),
            folders: Vec::new(),
            max_bytes: 4 << 30,
            cache_bytes: 2 << 30,
            tls_ca: None,
            logins: BTreeMap::new(),
        }
    }
}

impl FetchPolicy {
    /// What a server is told of who asks; nothing without TLS.
    pub(super) fn login(&self, uri: &Uri) -> HeaderMap {
        let host = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
        let login = host.filter(|_| uri.scheme_str() == Some("https")).and_then(|host| self.logins.get(host));
        HeaderMap::from_iter(login.map(|login| (AUTHORIZATION, login.header())))
    }

    /// Whether what is fetched for this role must be signed.
    pub(crate) fn wants_signatures(&self, role: &Role) -> bool {
        self.signed_roles.iter().any(|strict| *strict == Role::any() || role == strict || role.is_below(strict))
    }
}

/// Whether every artefact must say what its content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digests {
    /// It may.
    #[default]
    Optional,
    /// It must: a SHA-256, or for git the id of a commit.
    Required,
}

/// A public key of minisign.
#[derive(Clone, Debug)]
pub struct TrustedKey(pub(super) PublicKey);

/// Why a text is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a public key of minisign, such as the second line of minisign.pub: {0}")]
pub struct KeyError(String);

impl FromStr for TrustedKey {
    type Err = KeyError;

    /// The key itself, or the whole file.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let key = if text.contains('\n') { PublicKey::decode(text) } else { PublicKey::from_base64(text) };
        key.map(Self).map_err(|error| KeyError(error.to_string()))
    }
}
