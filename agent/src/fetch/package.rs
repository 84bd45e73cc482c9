//! Artefacts that are in a registry, or in a layout: one file, or several that become a folder.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use minisign_verify::Signature;
use rialto_proto::spec::Artefact;

use super::log::Log;
use super::{Content, Digests, Fetcher, Job, PAUSE, Problem, TRIES, create, head_of, signature_in, verify};
use crate::images::{Images, Package, PackedFile};

/// What the file of a file's signature is called, behind the file's own name.
const SIGNATURE_SUFFIX: &str = ".minisig";

/// Checked content, and what it is called.
pub(super) struct Unpacked {
    pub(super) content: Content,
    /// Of a single file that has a name.
    pub(super) title: Option<String>,
}

impl Fetcher {
    /// What lies at `name`, checked. A registry that can't answer is asked again; what has come by then is in the cache.
    pub(super) async fn package(
        &self,
        name: &str,
        artefact: &Artefact,
        job: &Job,
        images: &Images,
        log: &mut Log,
    ) -> Result<Unpacked, Problem> {
        let mut tries = 1;
        loop {
            match self.bring(name, artefact, job, images, log).await {
                Err(Problem::Network(why)) if tries < TRIES => {
                    log.say(&format!("{why}; trying again"));
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn bring(
        &self,
        name: &str,
        artefact: &Artefact,
        job: &Job,
        images: &Images,
        log: &mut Log,
    ) -> Result<Unpacked, Problem> {
        let package = images.package(name, self).await?;
        let files: Vec<&PackedFile> = package.files.iter().filter(|file| !is_signature(file, &package)).collect();
        self.check(artefact, &files, &package)?;
        let mut brought = Vec::new();
        for file in &files {
            let opened = self.brought(&package, file, log).await?;
            brought.push(self.signed(&package, file, opened, artefact, job, log).await?);
        }
        if let ([file], Some(opened)) = (&files[..], brought.pop_if(|_| files.len() == 1)) {
            return Ok(Unpacked { content: Content::File(opened), title: file.title.clone() });
        }
        let named = files.iter().map(|file| file.title.clone()).collect::<Option<Vec<_>>>();
        let named = named.ok_or_else(|| Problem::NotThere("expected a title for each of several files".to_owned()))?;
        self.together(named.into_iter().zip(brought).collect(), artefact.executable).await
    }

    /// Before anything of it is fetched.
    fn check(&self, artefact: &Artefact, files: &[&PackedFile], package: &Package<'_>) -> Result<(), Problem> {
        let bytes = package.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        if bytes > self.policy.max_bytes {
            return Err(Problem::TooLarge(self.policy.max_bytes));
        }
        if let Some(expected) = artefact.sha256 {
            let [file] = files else { return Err(Problem::Uri(one_file("sha256", files.len()))) };
            if file.digest != expected {
                return Err(Problem::Digest { expected, found: file.digest });
            }
        } else if self.policy.digests == Digests::Required && !package.is_pinned {
            return Err(Problem::Uri("this agent wants @sha256:DIGEST, or a sha256".to_owned()));
        }
        match (files.len(), artefact.extract, &artefact.signature) {
            (1, ..) | (_, false, None) => Ok(()),
            (count, true, _) => Err(Problem::Uri(one_file("extract", count))),
            (count, false, Some(_)) => Err(Problem::Uri(one_file("signature", count))),
        }
    }

    async fn brought(&self, package: &Package<'_>, file: &PackedFile, log: &mut Log) -> Result<File, Problem> {
        let what = file.title.as_deref().unwrap_or("its file");
        if let Some(opened) = self.cached(Some(file.digest)).await? {
            log.say(&format!("{what}: it is in the cache"));
            return Ok(opened);
        }
        let draft = self.cache.draft();
        package.copy(file, create(&draft).map_err(Problem::io(&draft.path))?).await?;
        log.say(&format!("{what}: fetched; its SHA-256 is {}", file.digest));
        self.cache.keep(&draft, &file.digest).map_err(Problem::io(&draft.path))
    }

    /// The file, once its signature was found to be good, if it must have one.
    async fn signed(
        &self,
        package: &Package<'_>,
        file: &PackedFile,
        mut opened: File,
        artefact: &Artefact,
        job: &Job,
        log: &mut Log,
    ) -> Result<File, Problem> {
        let signature = match &artefact.signature {
            Some(uri) => self.signature(uri).await?,
            None if !self.policy.wants_signatures(&job.role) => return Ok(opened),
            None => self.signature_beside(package, file, &job.role.to_string(), log).await?,
        };
        let keys: Vec<_> = self.policy.trusted_keys.iter().map(|key| key.0.clone()).collect();
        let verified = tokio::task::spawn_blocking(move || verify(&mut opened, &signature, &keys).map(|()| opened));
        let opened = verified.await.map_err(|_| Problem::Cancelled)??;
        log.say("its signature is good");
        Ok(opened)
    }

    async fn signature_beside(
        &self,
        package: &Package<'_>,
        file: &PackedFile,
        role: &str,
        log: &mut Log,
    ) -> Result<Signature, Problem> {
        let name = format!("{}{SIGNATURE_SUFFIX}", file.title.as_deref().unwrap_or_default());
        let beside = package.files.iter().find(|other| other.title.as_ref() == Some(&name));
        let missing = || format!("tasks of role {role} may only use what is signed, and there is no {name} beside it");
        let beside = beside.ok_or_else(|| Problem::Signature(missing()))?;
        let bad = |why: String| Problem::Signature(format!("{name}: {why}"));
        let opened = self.brought(package, beside, log).await?;
        head_of(opened).map_err(|error| error.to_string()).and_then(signature_in).map_err(bad)
    }

    /// Several files as a folder.
    async fn together(&self, files: Vec<(String, File)>, executable: bool) -> Result<Unpacked, Problem> {
        let draft = self.cache.draft();
        let copied = move || {
            DirBuilder::new().mode(0o755).create(&draft.path)?;
            for (name, mut from) in files {
                let mut to = File::create_new(draft.path.join(name))?;
                io::copy(&mut from, &mut to)?;
                to.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
            }
            Ok(draft)
        };
        let copied = tokio::task::spawn_blocking(copied).await.map_err(|_| Problem::Cancelled)?;
        let draft = copied.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => Problem::NotThere("title: two files have the same".to_owned()),
            _ => Problem::Io { path: "cache".to_owned(), source: error },
        })?;
        Ok(Unpacked { content: Content::Folder(draft), title: None })
    }
}

fn is_signature(file: &PackedFile, package: &Package<'_>) -> bool {
    let of = file.title.as_deref().and_then(|title| title.strip_suffix(SIGNATURE_SUFFIX));
    of.is_some_and(|of| package.files.iter().any(|other| other.title.as_deref() == Some(of)))
}

fn one_file(field: &str, count: usize) -> String {
    format!("{field}: expected an artefact of one file, got one of {count}; name it by @sha256:DIGEST")
}
