//! Images: found by name or digest, checked, and unpacked once for all tasks that use them.
//!
//! An image is a manifest that names layers by their SHA-256. Each layer is unpacked into a folder of the [`Store`] that nobody writes to;
//! a group that uses the image gets them as the lower folders of an overlay, with an upper folder of its own
//! (`supervisor::contain`). An agent that is not root can own no file but as itself: all files of its images are its user's. So a task of an image is kept apart by the very same means as any other, and has the same life: no other
//! runtime is asked.

mod login;
mod manifest;
mod origin;
mod package;
mod reference;
mod store;

pub(crate) use manifest::ImageConfig;
pub(crate) use package::{Package, PackedFile};
pub(crate) use store::Lease;

pub use login::{Login, LoginError};

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use rialto_core::model::Role;
use rialto_proto::spec::Sha256;

use self::manifest::{Descriptor, Manifest};
use self::origin::Origin;
use self::reference::Reference;
use self::store::Store;
use crate::fetch::{Cancel, Digests, Fetcher, Problem, create};
use crate::supervisor::{client, protocol};
use crate::unpack::{self, Bounds, Kind, Owners};
use crate::work_dir::Layout;
use crate::{AgentError, ImagePolicy, crash};

/// The most files, folders and links of a layer.
const MAX_ENTRIES: u64 = 2_000_000;
/// The most images that are made ready at once.
const MAX_AT_ONCE: usize = 4;

/// The images of an agent.
#[derive(Debug)]
pub(crate) struct Images {
    policy: ImagePolicy,
    store: Store,
    layout: Layout,
    at_once: tokio::sync::Semaphore,
}

/// An image that is ready to be mounted.
#[derive(Debug)]
pub(crate) struct Image {
    /// Folders, the topmost layer first.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) config: ImageConfig,
    pub(crate) lease: Lease,
}

impl Image {
    /// The user of this name, as the image knows it: `UID:GID`.
    ///
    /// # Errors
    /// It knows none.
    pub(crate) fn resolve_user(&self, user: &str) -> Result<String, String> {
        store::resolve_user(&self.layers, user)
    }
}

impl Images {
    pub(crate) fn new(policy: ImagePolicy, layout: &Layout) -> Result<Self, AgentError> {
        let folder = layout.root().join("images");
        let store = Store::open(folder.clone(), policy.cache_bytes).map_err(AgentError::io(&folder))?;
        Ok(Self { policy, store, layout: layout.clone(), at_once: tokio::sync::Semaphore::new(MAX_AT_ONCE) })
    }

    /// Makes the image called `name` ready, for a task of this role.
    ///
    /// # Errors
    /// It is not there, not what it must be, or can't be unpacked.
    pub(crate) async fn get(&self, name: &str, role: &Role, fetcher: &Fetcher) -> Result<Image, Problem> {
        let reference = Reference::parse(name).map_err(Problem::Uri)?;
        if fetcher.policy.wants_signatures(role) {
            return Err(Problem::Signature(format!(
                "tasks of role {role} may only use what is signed, and images are not"
            )));
        }
        if fetcher.policy.digests == Digests::Required && reference.digest.is_none() {
            return Err(Problem::Uri("this agent wants @sha256:DIGEST of every image".to_owned()));
        }
        let _permit = self.at_once.acquire().await.expect("the semaphore is never closed");
        let cancel = Cancel::default();
        let origin = Origin::open(&reference, fetcher, &self.policy, self.store.draft(), self.bounds()).await?;
        let manifest = manifest_of(&origin, &reference).await?;
        let descriptor =
            manifest.config.as_ref().ok_or_else(|| Problem::NotThere("expected a configuration".to_owned()))?;
        let config = manifest::config(&origin.document(&descriptor.digest()?).await?)?;
        let layers = manifest.usable_layers()?;
        let digests: Vec<Sha256> = layers.iter().map(Descriptor::digest).collect::<Result<_, _>>()?;
        let lease = self.store.lease(&digests);
        let mut folders = Vec::new();
        for (layer, digest) in layers.iter().zip(&digests) {
            folders.insert(0, self.layer(&origin, layer, digest, &cancel).await?);
        }
        Ok(Image { layers: folders, config, lease })
    }

    const fn bounds(&self) -> Bounds {
        Bounds { bytes: self.policy.max_bytes, entries: MAX_ENTRIES }
    }

    /// The folder of a layer, fetched and unpacked if it is not there yet.
    async fn layer(
        &self,
        origin: &Origin<'_>,
        layer: &Descriptor,
        digest: &Sha256,
        cancel: &Cancel,
    ) -> Result<PathBuf, Problem> {
        let folder = self.layout.root().join("images");
        if let Some(folder) = self.store.get(digest).map_err(Problem::io(&folder))? {
            return Ok(folder);
        }
        if layer.size > self.policy.max_bytes {
            return Err(Problem::TooLarge(self.policy.max_bytes));
        }
        let blob = self.store.draft();
        let file = create(&blob).map_err(Problem::io(&blob.path))?;
        origin.copy(digest, layer.size, file).await?;
        let draft = self.store.draft();
        let (to, bounds, cancelled) = (draft.path.clone(), self.bounds(), cancel.0.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            std::fs::create_dir(&to).map_err(Problem::io(&to))?;
            let root = unpack::root(&to).map_err(Problem::io(&to))?;
            let from = File::open(&blob.path).map_err(Problem::io(&blob.path))?;
            let unpacked = unpack::unpack(from, &root, Kind::Layer(Owners::possible()), bounds, &cancelled)?;
            drop(blob);
            Ok::<_, Problem>(unpacked)
        });
        let unpacked = unpacked.await.map_err(|_| Problem::Cancelled)??;
        let in_use = || self.in_use();
        crash::point("image: before a layer is kept");
        let kept = self.store.keep(&draft, digest, unpacked.bytes, in_use);
        crash::point("image: with a layer kept");
        kept.map_err(Problem::io(&draft.path))
    }

    /// The names of layers that groups have mounted, as their supervisors were told.
    fn in_use(&self) -> BTreeSet<String> {
        let runs = self.layout.runs().unwrap_or_default();
        let layers = runs.iter().flat_map(|leader| mounted_layers(&self.layout.run(leader)));
        layers.filter_map(|layer| layer.file_name()?.to_str().map(str::to_owned)).collect()
    }
}

/// The layers that a group was told to mount.
fn mounted_layers(run: &std::path::Path) -> Vec<PathBuf> {
    let spec: Option<protocol::Spec> = client::spec(run).ok().flatten();
    let namespaces = spec.and_then(|spec| spec.container).and_then(|container| container.namespaces);
    namespaces.and_then(|namespaces| namespaces.image).map(|image| image.layers).unwrap_or_default()
}

async fn manifest_of(origin: &Origin<'_>, reference: &Reference) -> Result<Manifest, Problem> {
    let manifest: Manifest = manifest::parse(&origin.head(reference).await?, "manifest")?;
    if manifest.manifests.is_empty() {
        return Ok(manifest);
    }
    let digest = manifest.for_this_machine()?.digest()?;
    manifest::parse(&origin.manifest(&digest).await?, "manifest")
}
