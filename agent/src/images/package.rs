//! Artefacts in registries and layouts: manifests whose layers are files.

use std::fs::File;

use rialto_proto::spec::Sha256;

use super::origin::Origin;
use super::reference::Reference;
use super::{Images, manifest_of};
use crate::fetch::{Fetcher, Problem};

/// The most files of an artefact.
const MAX_FILES: usize = 100;

/// What a manifest names, none of it fetched yet.
pub(crate) struct Package<'a> {
    origin: Origin<'a>,
    pub(crate) files: Vec<PackedFile>,
    /// Whether the name that was asked for says what all this must be.
    pub(crate) is_pinned: bool,
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct PackedFile {
    /// Its name, if it has one: nothing with a way in it.
    pub(crate) title: Option<String>,
    pub(crate) digest: Sha256,
    pub(crate) bytes: u64,
}

impl Images {
    /// Looks up the artefact called `name`.
    ///
    /// # Errors
    /// It is not there, or is none.
    pub(crate) async fn package<'a>(&'a self, name: &str, fetcher: &'a Fetcher) -> Result<Package<'a>, Problem> {
        let reference = Reference::parse(name).map_err(Problem::Uri)?;
        let origin = Origin::open(&reference, fetcher, &self.policy, self.store.draft(), self.bounds()).await?;
        let layers = manifest_of(&origin, &reference).await?.layers;
        if !(1..=MAX_FILES).contains(&layers.len()) {
            return Err(Problem::NotThere(format!("files: expected 1 to {MAX_FILES}, got {}", layers.len())));
        }
        let file = |layer: &super::Descriptor| {
            let title = layer.title().map(checked).transpose()?;
            Ok(PackedFile { title, digest: layer.digest()?, bytes: layer.size })
        };
        let files = layers.iter().map(file).collect::<Result<_, Problem>>()?;
        Ok(Package { origin, files, is_pinned: reference.digest.is_some() })
    }
}

impl Package<'_> {
    /// Copies a file there, and checks it.
    pub(crate) async fn copy(&self, file: &PackedFile, to: File) -> Result<(), Problem> {
        self.origin.copy(&file.digest, file.bytes, to).await
    }
}

fn checked(title: &str) -> Result<String, Problem> {
    let good = !title.is_empty() && title != "." && title != ".." && title.len() <= 255 && !title.contains(['/', '\0']);
    let bad = || Problem::NotThere(format!("title: expected a file's name, got {title:?}"));
    good.then(|| title.to_owned()).ok_or_else(bad)
}
