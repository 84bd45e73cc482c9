//! The options of an agent that say what may be fetched for tasks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use rialto_agent::{Digests, FetchPolicy, ImagePolicy, Login, TrustedKey};

/// What may be fetched for tasks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Fetching")]
pub struct Fetch {
    /// A folder of the machine that tasks may fetch files, repositories and images from. May be repeated; without it there is none.
    #[arg(long = "fetch-folder", env = "RIALTO_FETCH_FOLDERS", value_name = "DIR", value_delimiter = ':')]
    pub folders: Vec<PathBuf>,
    /// The largest artefact, in MiB; also as it is unpacked.
    #[arg(long = "fetch-max", env = "RIALTO_FETCH_MAX", default_value_t = 4096, value_name = "MIB")]
    pub max_mib: u32,
    /// How much is kept of what was fetched, in MiB; what was not used for the longest goes first.
    #[arg(long = "fetch-cache", env = "RIALTO_FETCH_CACHE", default_value_t = 2048, value_name = "MIB")]
    pub cache_mib: u32,
    /// Whether every artefact must have a SHA-256.
    #[arg(long = "fetch-digests", env = "RIALTO_FETCH_DIGESTS", value_enum, default_value_t = WantDigests::Optional)]
    pub digests: WantDigests,
    /// A public key of minisign, or a file with one: what it has signed is trusted. May be repeated.
    #[arg(long = "trusted-key", env = "RIALTO_TRUSTED_KEYS", value_name = "KEY|FILE", value_delimiter = ';')]
    pub trusted_keys: Vec<String>,
    /// A role, with those below it, that may only fetch what a trusted key has signed; * for all. May be repeated.
    #[arg(long = "signed-role", env = "RIALTO_SIGNED_ROLES", value_name = "ROLE", value_delimiter = ';')]
    pub signed_roles: Vec<String>,
    /// The largest layer of an image, in MiB; also as it is unpacked.
    #[arg(long = "image-max", env = "RIALTO_IMAGE_MAX", default_value_t = 16_384, value_name = "MIB")]
    pub image_max_mib: u32,
    /// How much is kept of layers that no task uses, in MiB.
    #[arg(long = "image-cache", env = "RIALTO_IMAGE_CACHE", default_value_t = 32_768, value_name = "MIB")]
    pub image_cache_mib: u32,
    /// A registry, HOST or HOST:PORT, that is asked without TLS. May be repeated; those on loopback are anyway.
    #[arg(long = "insecure-registry", env = "RIALTO_INSECURE_REGISTRIES", value_name = "HOST", value_delimiter = ';')]
    pub insecure_registries: Vec<String>,
    /// Who this agent is at registries that ask for a login: a file such as docker login writes, {"auths": {HOST: {"auth": …}}}.
    #[arg(long, env = "RIALTO_REGISTRY_LOGINS", value_name = "FILE")]
    pub registry_logins: Option<PathBuf>,
    /// Who this agent is at servers that ask for a login when artefacts are fetched over https: a file of the same form. Every task's artefacts
    /// are fetched with them.
    #[arg(long, env = "RIALTO_FETCH_LOGINS", value_name = "FILE")]
    pub fetch_logins: Option<PathBuf>,
    /// Certificates (PEM) of authorities that are trusted beside the machine's.
    #[arg(long = "fetch-ca", env = "RIALTO_FETCH_CA", value_name = "FILE")]
    pub fetch_ca: Option<PathBuf>,
}

/// Whether every artefact must have a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WantDigests {
    /// It may.
    Optional,
    /// It must.
    Required,
}

impl Fetch {
    /// As the agent takes it.
    ///
    /// # Errors
    /// Names the option that can't be used.
    pub fn policy(&self) -> anyhow::Result<FetchPolicy> {
        let role = |text: &String| text.parse().with_context(|| format!("--signed-role {text}"));
        let tls_ca = self
            .fetch_ca
            .as_ref()
            .map(|path| std::fs::read(path).with_context(|| format!("--fetch-ca {}", path.display())));
        Ok(FetchPolicy {
            digests: if self.digests == WantDigests::Required { Digests::Required } else { Digests::Optional },
            trusted_keys: self.trusted_keys.iter().map(|text| key(text)).collect::<anyhow::Result<_>>()?,
            signed_roles: self.signed_roles.iter().map(role).collect::<anyhow::Result<_>>()?,
            folders: self.folders.clone(),
            max_bytes: u64::from(self.max_mib) << 20,
            cache_bytes: u64::from(self.cache_mib) << 20,
            tls_ca: tls_ca.transpose()?,
            logins: logins("--fetch-logins", self.fetch_logins.as_deref())?,
        })
    }
}

impl Fetch {
    /// What images may be like.
    ///
    /// # Errors
    /// Names the file that can't be used.
    pub fn images(&self) -> anyhow::Result<ImagePolicy> {
        Ok(ImagePolicy {
            max_bytes: u64::from(self.image_max_mib) << 20,
            cache_bytes: u64::from(self.image_cache_mib) << 20,
            insecure: self.insecure_registries.clone(),
            logins: logins("--registry-logins", self.registry_logins.as_deref())?,
        })
    }
}

/// The logins in a file, if there is one.
fn logins(option: &str, path: Option<&Path>) -> anyhow::Result<BTreeMap<String, Login>> {
    let Some(path) = path else { return Ok(BTreeMap::new()) };
    let text = std::fs::read_to_string(path).map_err(anyhow::Error::from);
    let logins = text.and_then(|text| Ok(Login::read(&text)?));
    logins.with_context(|| format!("{option} {}", path.display()))
}

/// The key itself, or that of a file.
fn key(text: &str) -> anyhow::Result<TrustedKey> {
    let key = text.parse();
    if key.is_ok() || !Path::new(text).exists() {
        return key.with_context(|| format!("--trusted-key {text}"));
    }
    let content = std::fs::read_to_string(text).with_context(|| format!("--trusted-key {text}"))?;
    content.parse().with_context(|| format!("--trusted-key {text}"))
}
