//! The documents that an image is made of.

use rialto_proto::spec::Sha256;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reference::digest_of;
use crate::fetch::Problem;

/// The most layers of an image: as many as one mount takes.
pub(super) const MAX_LAYERS: usize = 100;
/// The largest manifest or configuration.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// What a registry is asked for.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A document that names others. Fields of no use here are not read: images have many.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// Of an index: one manifest for each platform, or each image of a folder.
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
    #[serde(default)]
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
}

/// Names a document or a layer by its content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// How an image's author wants it to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageConfig {
    /// `NAME=VALUE`.
    pub(crate) env: Vec<(String, String)>,
    /// What comes before the arguments of a task.
    pub(crate) entrypoint: Vec<String>,
    /// Where it runs; the sandbox, if empty.
    pub(crate) working_dir: String,
    /// Who runs it; root, if empty.
    pub(crate) user: String,
}

#[derive(Debug, Deserialize)]
struct ConfigDocument {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<RunConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunConfig {
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
}

impl Descriptor {
    pub(super) fn digest(&self) -> Result<Sha256, Problem> {
        digest_of(&self.digest).map_err(Problem::NotThere)
    }

    /// What a file is called.
    pub(super) fn title(&self) -> Option<&str> {
        self.annotations.get("org.opencontainers.image.title").map(String::as_str)
    }

    fn is_called(&self, tag: &str) -> bool {
        self.annotations.get("org.opencontainers.image.ref.name").is_some_and(|name| name == tag)
    }

    fn runs_here(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == architecture())
    }
}

impl Manifest {
    /// The image of that name in a folder's index; the only one, if no name is given.
    pub(super) fn named(&self, tag: Option<&str>) -> Result<&Descriptor, Problem> {
        match tag {
            Some(tag) => self.manifests.iter().find(|one| one.is_called(tag)),
            None => self.manifests.first().filter(|_| self.manifests.len() == 1),
        }
        .ok_or_else(|| match tag {
            Some(tag) => Problem::NotThere(format!("no image is called {tag}")),
            None => Problem::NotThere(format!("expected a tag, as there are {} images", self.manifests.len())),
        })
    }

    /// The manifest for this machine, of an index.
    pub(super) fn for_this_machine(&self) -> Result<&Descriptor, Problem> {
        let found = self.manifests.iter().find(|one| one.runs_here());
        found.ok_or_else(|| Problem::NotThere(format!("no image for linux on {}", architecture())))
    }

    /// The layers, the lowest first, if this agent can use them.
    pub(super) fn usable_layers(&self) -> Result<&[Descriptor], Problem> {
        let count = self.layers.len();
        if !(1..=MAX_LAYERS).contains(&count) {
            return Err(Problem::NotThere(format!("layers: expected 1 to {MAX_LAYERS}, got {count}")));
        }
        let unknown = self.layers.iter().find(|layer| layer.media_type.ends_with("zstd"));
        match unknown {
            Some(layer) => Err(Problem::NotThere(format!("layers: expected gzip or none, got {}", layer.media_type))),
            None => Ok(&self.layers),
        }
    }
}

/// A document, if it is one.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::NotThere(format!("{what}: {error}")))
}

/// The configuration, if it is for machines like this.
pub(super) fn config(bytes: &[u8]) -> Result<ImageConfig, Problem> {
    let document: ConfigDocument = parse(bytes, "configuration")?;
    let fits = [(&document.os, "linux"), (&document.architecture, architecture())];
    if let Some((got, want)) = fits.iter().find(|(got, want)| !got.is_empty() && got != want) {
        return Err(Problem::NotThere(format!("expected an image for {want}, got one for {got}")));
    }
    let run = document.config.unwrap_or_default();
    let variable = |text: String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty() && !text.contains('\0'))?;
        Some((name.to_owned(), value.to_owned()))
    };
    Ok(ImageConfig {
        env: run.env.unwrap_or_default().into_iter().filter_map(variable).collect(),
        entrypoint: run.entrypoint.unwrap_or_default(),
        working_dir: run.working_dir.unwrap_or_default(),
        user: run.user.unwrap_or_default(),
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
