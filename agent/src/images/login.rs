//! Names by which registries and other servers are asked for what they don't give to everybody.

use std::collections::BTreeMap;
use std::fmt;

use hyper::header::HeaderValue;
use serde::Deserialize;

/// A name and a password, as a server wants to have them. They are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(HeaderValue);

/// Why a file of logins can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It is no JSON of the expected form.
    #[error("expected {{\"auths\": {{HOST: {{\"auth\": BASE64}}}}}}: {0}")]
    Form(#[from] serde_json::Error),
    /// One of them is not what Docker writes.
    #[error("auths.{0}.auth: expected NAME:PASSWORD in base64")]
    Auth(String),
}

#[derive(Deserialize)]
struct File {
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
}

impl Login {
    /// The logins by registry in a file such as `docker login` writes.
    ///
    /// # Errors
    /// It is not such a file, or names a registry without a login: helpers are not asked.
    pub fn read(text: &str) -> Result<BTreeMap<String, Self>, LoginError> {
        let file: File = serde_json::from_str(text)?;
        let login = |(host, entry): (String, Entry)| {
            let good = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            let value = Some(&entry.auth).filter(|auth| !auth.is_empty() && auth.chars().all(good));
            let value = value.and_then(|auth| HeaderValue::from_str(&format!("Basic {auth}")).ok());
            let mut value = value.ok_or_else(|| LoginError::Auth(host.clone()))?;
            value.set_sensitive(true);
            Ok((host, Self(value)))
        };
        file.auths.into_iter().map(login).collect()
    }

    /// What is said to the server.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
