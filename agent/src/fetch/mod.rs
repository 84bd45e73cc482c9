//! Fetching what a task needs into its sandbox, before it starts.
//!
//! Content comes into a draft in the agent's own folder, bounded in size. It must have the digest that the task names, and a trusted
//! signature where one is named or asked for by the agent's [`FetchPolicy`]. Only then is it copied or unpacked into the sandbox, where no
//! link is followed. What has a digest is kept in a cache for the next task.

mod cache;
mod error;
mod git;
mod http;
mod log;
mod package;
mod place;
mod policy;
mod source;

#[cfg(test)]
mod package_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;

pub(crate) use cache::{Cache, Draft, create, finish};
pub(crate) use error::{FetchError, Problem};
pub(crate) use http::{Http, next, read, refusal};
pub use policy::{Digests, FetchPolicy, KeyError, TrustedKey};

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::{Response, StatusCode, Uri};
use minisign_verify::Signature;
use rialto_core::model::Role;
use rialto_proto::spec::{Artefact, Sha256};
use ring::digest::{Context, SHA256};
use tokio::sync::Semaphore;

use self::log::Log;
use self::source::{Repository, Source};
use crate::images::Images;
use crate::{AgentError, unpack};

/// The most tasks whose artefacts are fetched at once.
const MAX_AT_ONCE: usize = 8;
/// How often a server is asked again when it could not answer.
const TRIES: usize = 3;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(500);
/// The largest signature.
const MAX_SIGNATURE_BYTES: u64 = 8192;

/// Fetches for all tasks of an agent.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) policy: FetchPolicy,
    pub(crate) http: Http,
    cache: Arc<Cache>,
    at_once: Semaphore,
}

/// What one task wants.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) artefacts: Vec<Artefact>,
    pub(crate) role: Role,
    pub(crate) sandbox: PathBuf,
    /// Who is to own what is put there.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Set when the one that it was made for is dropped: work on other threads ends then.
#[derive(Debug, Default)]
pub(crate) struct Cancel(pub(crate) Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Content that was checked.
enum Content {
    File(File),
    Folder(Draft),
}

impl Fetcher {
    /// Keeps its cache below `work_dir`.
    ///
    /// # Errors
    /// The folder can't be used, or the certificates of the policy can't.
    pub(crate) fn new(policy: FetchPolicy, work_dir: &Path) -> Result<Self, AgentError> {
        let folder = work_dir.join("cache/artefacts");
        let cache = Cache::open(folder.clone(), policy.cache_bytes).map_err(AgentError::io(&folder))?;
        let http = Http::new(policy.tls_ca.as_deref()).map_err(AgentError::Fetch)?;
        Ok(Self { policy, http, cache: Arc::new(cache), at_once: Semaphore::new(MAX_AT_ONCE) })
    }

    /// Puts everything where it belongs. Dropped before its end, it stops soon.
    ///
    /// # Errors
    /// At the first artefact that can't be had, or is not what it must be.
    pub(crate) async fn fetch(&self, job: &Job, images: &Images) -> Result<(), FetchError> {
        let _permit = self.at_once.acquire().await.expect("the semaphore is never closed");
        let cancel = Cancel::default();
        for artefact in &job.artefacts {
            let mut log = Log::open(&job.sandbox, job.owner);
            log.say(&format!("fetching {}", shown(&artefact.uri)));
            let done = self.fetch_one(artefact, job, images, &cancel, &mut log).await;
            done.map_err(|problem| {
                log.say(&format!("failed: {problem}"));
                FetchError { what: "artefact", uri: shown(&artefact.uri), problem }
            })?;
        }
        Ok(())
    }

    async fn fetch_one(
        &self,
        artefact: &Artefact,
        job: &Job,
        images: &Images,
        cancel: &Cancel,
        log: &mut Log,
    ) -> Result<(), Problem> {
        let source = Source::parse(&artefact.uri).map_err(Problem::Uri)?;
        let mut name = source.file_name();
        if name.is_none() && artefact.destination.is_empty() && !artefact.extract {
            return Err(Problem::NoName);
        }
        let content = match &source {
            Source::Git(repository) => self.commit(repository, artefact, &job.role).await?,
            Source::Http(_) | Source::File(_) => {
                self.file(&source, artefact, &job.role, log).await.map(Content::File)?
            }
            Source::Oci(place) => {
                let unpacked = self.package(place, artefact, job, images, log).await?;
                name = unpacked.title.or(name);
                unpacked.content
            }
        };
        let place = place::Place {
            sandbox: job.sandbox.clone(),
            destination: place::destination(artefact, &content, name).ok_or(Problem::NoName)?,
            owner: job.owner,
            extract: artefact.extract,
            executable: artefact.executable,
            max_bytes: self.policy.max_bytes,
        };
        let cancelled = cancel.0.clone();
        let placed = tokio::task::spawn_blocking(move || match content {
            Content::File(file) => place.put(file, &cancelled),
            Content::Folder(draft) => place.put_folder(&draft.path),
        });
        let words = placed.await.map_err(|_| Problem::Cancelled)??;
        log.say(&words);
        Ok(())
    }

    async fn commit(&self, repository: &Repository, artefact: &Artefact, role: &Role) -> Result<Content, Problem> {
        if self.policy.wants_signatures(role) || artefact.signature.is_some() {
            return Err(Problem::GitUnsigned(role.to_string()));
        }
        if artefact.sha256.is_some() {
            return Err(Problem::Uri("expected no sha256 for git: a commit's id after '#' says as much".to_owned()));
        }
        if self.policy.digests == Digests::Required && !repository.is_pinned() {
            return Err(Problem::NotPinned);
        }
        if let Some(folder) = &repository.folder {
            self.allowed(folder)?;
        }
        let draft = self.cache.draft();
        git::check_out(repository, &draft.path, &self.policy).await?;
        Ok(Content::Folder(draft))
    }

    /// The file with the content that was asked for, checked.
    async fn file(&self, source: &Source, artefact: &Artefact, role: &Role, log: &mut Log) -> Result<File, Problem> {
        if self.policy.digests == Digests::Required && artefact.sha256.is_none() {
            return Err(Problem::NoDigest);
        }
        let mut file = match self.cached(artefact.sha256).await? {
            Some(file) => {
                log.say("it is in the cache");
                file
            }
            None => self.download(source, artefact, log).await?,
        };
        if let Some(signature) = self.signature_of(artefact, role) {
            let signature = self.signature(&signature).await?;
            let keys: Vec<_> = self.policy.trusted_keys.iter().map(|key| key.0.clone()).collect();
            let verified = tokio::task::spawn_blocking(move || verify(&mut file, &signature, &keys).map(|()| file));
            file = verified.await.map_err(|_| Problem::Cancelled)??;
            log.say("its signature is good");
        }
        Ok(file)
    }

    async fn cached(&self, digest: Option<Sha256>) -> Result<Option<File>, Problem> {
        let Some(digest) = digest else { return Ok(None) };
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || cache.get(&digest)).await.map_err(|_| Problem::Cancelled)
    }

    fn signature_of(&self, artefact: &Artefact, role: &Role) -> Option<String> {
        let wanted = || self.policy.wants_signatures(role).then(|| format!("{}.minisig", artefact.uri));
        artefact.signature.clone().or_else(wanted)
    }

    async fn signature(&self, uri: &str) -> Result<Signature, Problem> {
        let bad = |why: String| Problem::Signature(format!("{}: {why}", shown(uri)));
        let bytes = match Source::parse(uri).map_err(bad)? {
            Source::Http(uri) => {
                let answer = self.http.get(&uri, &self.policy.login(&uri)).await?;
                if !answer.status().is_success() {
                    return Err(bad(self.refused(&answer, &uri).to_string()));
                }
                read(answer.into_body(), MAX_SIGNATURE_BYTES).await?
            }
            Source::File(path) => {
                let path = self.allowed(&path).map_err(|problem| bad(problem.to_string()))?;
                File::open(&path).and_then(head_of).map_err(|error| bad(error.to_string()))?
            }
            Source::Git(_) | Source::Oci(_) => return Err(bad("expected http, https or file".to_owned())),
        };
        signature_in(bytes).map_err(bad)
    }

    /// Brings the content into the cache, if it has the digest that it must have.
    async fn download(&self, source: &Source, artefact: &Artefact, log: &mut Log) -> Result<File, Problem> {
        let mut tries = 1;
        let (draft, found) = loop {
            let draft = self.cache.draft();
            match self.copy(source, &draft, log).await {
                Ok(found) => break (draft, found),
                Err(Problem::Network(why)) if tries < TRIES => {
                    log.say(&format!("{why}; trying again"));
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(problem) => return Err(problem),
            }
        };
        if let Some(expected) = artefact.sha256.filter(|expected| *expected != found) {
            return Err(Problem::Digest { expected, found });
        }
        log.say(&format!("fetched; its SHA-256 is {found}"));
        self.cache.keep(&draft, &found).map_err(Problem::io(&draft.path))
    }

    async fn copy(&self, source: &Source, draft: &Draft, log: &mut Log) -> Result<Sha256, Problem> {
        let mut file = create(draft).map_err(Problem::io(&draft.path))?;
        match source {
            Source::Http(uri) => {
                let answer = self.http.get(uri, &self.policy.login(uri)).await?;
                if !answer.status().is_success() {
                    return Err(self.refused(&answer, uri));
                }
                let length = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
                self.save(answer.into_body(), length, &mut file, log).await
            }
            Source::File(path) => {
                let path = self.allowed(path)?;
                let from = open_plain(&path)?;
                let max = self.policy.max_bytes;
                let copied = tokio::task::spawn_blocking(move || save_file(from, &mut file, max));
                copied.await.map_err(|_| Problem::Cancelled)?
            }
            Source::Git(_) | Source::Oci(_) => Err(Problem::Uri("expected a file".to_owned())),
        }
    }

    /// What an answer other than success means.
    fn refused(&self, answer: &Response<Incoming>, uri: &Uri) -> Problem {
        if answer.status() != StatusCode::UNAUTHORIZED {
            return refusal(answer.status());
        }
        Problem::NotThere(match self.policy.login(uri).is_empty() {
            false => "the server does not take this agent's login".to_owned(),
            true if uri.scheme_str() == Some("https") => "the server wants a login, and this agent has none".to_owned(),
            true => "the server wants a login, which this agent tells with https only".to_owned(),
        })
    }

    async fn save(
        &self,
        mut body: Incoming,
        length: Option<u64>,
        file: &mut File,
        log: &mut Log,
    ) -> Result<Sha256, Problem> {
        let max = self.policy.max_bytes;
        if length.is_some_and(|length| length > max) {
            return Err(Problem::TooLarge(max));
        }
        let mut context = Context::new(&SHA256);
        let mut total = 0;
        while let Some(piece) = next(&mut body).await? {
            total += piece.len() as u64;
            if total > max {
                return Err(Problem::TooLarge(max));
            }
            context.update(&piece);
            file.write_all(&piece).map_err(Problem::io(Path::new("cache")))?;
            log.progress(total, length);
        }
        Ok(finish(context))
    }

    /// The path without links, if it lies where tasks may fetch from.
    pub(crate) fn allowed(&self, path: &Path) -> Result<PathBuf, Problem> {
        let real = path.canonicalize();
        // Whether something is there is told only of the folders that may be seen.
        let real = match real {
            Ok(real) => real,
            Err(error) if self.policy.folders.iter().any(|folder| path.starts_with(folder)) => {
                return Err(Problem::NotThere(error.to_string()));
            }
            Err(_) => return Err(Problem::Outside),
        };
        let folders = self.policy.folders.iter().filter_map(|folder| folder.canonicalize().ok());
        if folders.into_iter().any(|folder| real.starts_with(folder)) { Ok(real) } else { Err(Problem::Outside) }
    }
}

/// Opens a file whose path has no links; what became a link, or a pipe, since that was seen is refused.
pub(crate) fn open_plain(path: &Path) -> Result<File, Problem> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let file = File::from(file.map_err(|error| Problem::NotThere(error.to_string()))?);
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if is_file { Ok(file) } else { Err(Problem::NotThere("expected a plain file".to_owned())) }
}

fn save_file(mut from: File, file: &mut File, max: u64) -> Result<Sha256, Problem> {
    let mut context = Context::new(&SHA256);
    let (mut total, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        let len = from.read(&mut buffer).map_err(|error| Problem::Network(error.to_string()))?;
        total += len as u64;
        if total > max {
            return Err(Problem::TooLarge(max));
        }
        if len == 0 {
            return Ok(finish(context));
        }
        context.update(&buffer[..len]);
        file.write_all(&buffer[..len]).map_err(Problem::io(Path::new("cache")))?;
    }
}

/// As much of a file as a signature may have.
fn head_of(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_SIGNATURE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn signature_in(bytes: Vec<u8>) -> Result<Signature, String> {
    let text = String::from_utf8(bytes).map_err(|_| "expected a text".to_owned())?;
    Signature::decode(&text).map_err(|error| error.to_string())
}

/// Whether one of these keys has signed the file.
fn verify(file: &mut File, signature: &Signature, keys: &[minisign_verify::PublicKey]) -> Result<(), Problem> {
    let bad = |why: &str| Problem::Signature(why.to_owned());
    if keys.is_empty() {
        return Err(bad("this agent trusts no key"));
    }
    let mut verifiers = keys.iter().filter_map(|key| key.verify_stream(signature).ok()).collect::<Vec<_>>();
    if verifiers.is_empty() {
        return Err(bad("expected one by a key that this agent trusts, made by minisign without -l"));
    }
    let io = |error: io::Error| Problem::Io { path: "cache".to_owned(), source: error };
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = file.read(&mut buffer).map_err(io)?;
        if len == 0 {
            break;
        }
        verifiers.iter_mut().for_each(|verifier| verifier.update(&buffer[..len]));
    }
    file.rewind().map_err(io)?;
    let good = verifiers.iter_mut().any(|verifier| verifier.finalize().is_ok());
    if good { Ok(()) } else { Err(bad("the content is not what was signed")) }
}

/// A URI without what may be secret in it: user, password and query.
fn shown(uri: &str) -> String {
    let uri = uri.split('?').next().unwrap_or(uri);
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
            let host = host.rsplit('@').next().unwrap_or(host);
            path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
        }
        None => uri.to_owned(),
    }
}

/// Unpacks for a sandbox with these bounds.
fn bounds(max_bytes: u64) -> unpack::Bounds {
    unpack::Bounds { bytes: max_bytes, entries: 500_000 }
}
