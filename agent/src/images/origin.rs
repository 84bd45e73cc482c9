//! Where the parts of an image come from.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode, Uri};
use rialto_proto::spec::Sha256;
use ring::digest::{Context, SHA256};

use super::manifest::{ACCEPTED, MAX_DOCUMENT_BYTES, Manifest, parse};
use super::reference::{Place, Reference};
use crate::fetch::{Draft, Fetcher, Problem, finish, next, open_plain, read, refusal};
use crate::unpack::{self, Bounds, Kind};

/// Where one image is.
pub(super) enum Origin<'a> {
    Layout {
        folder: PathBuf,
        /// What the folder was unpacked from; removed with this.
        _archive: Option<Draft>,
    },
    Registry(Registry<'a>),
}

/// One repository of a registry.
pub(super) struct Registry<'a> {
    fetcher: &'a Fetcher,
    base: String,
    name: String,
    /// What the registry has given to those who name themselves to nobody.
    token: Mutex<Option<HeaderValue>>,
}

impl<'a> Origin<'a> {
    /// Opens the place of an image: an archive is unpacked into `draft`.
    pub(super) async fn open(
        reference: &Reference,
        fetcher: &'a Fetcher,
        insecure: &[String],
        draft: Draft,
        bounds: Bounds,
    ) -> Result<Self, Problem> {
        match &reference.place {
            Place::Layout(path) => Ok(Self::Layout { folder: fetcher.allowed(path)?, _archive: None }),
            Place::Archive(path) => {
                let path = fetcher.allowed(path)?;
                let unpacked = tokio::task::spawn_blocking(move || open_archive(&path, draft, bounds));
                let draft = unpacked.await.map_err(|_| Problem::Cancelled)??;
                Ok(Self::Layout { folder: draft.path.clone(), _archive: Some(draft) })
            }
            Place::Registry { host, name } => {
                let scheme = if is_loopback(host) || insecure.contains(host) { "http" } else { "https" };
                let base = format!("{scheme}://{host}/v2");
                Ok(Self::Registry(Registry { fetcher, base, name: name.clone(), token: Mutex::new(None) }))
            }
        }
    }

    /// The document that a reference names: a manifest, or an index of them.
    pub(super) async fn head(&self, reference: &Reference) -> Result<Vec<u8>, Problem> {
        match (self, &reference.digest) {
            (Self::Layout { folder, .. }, None) => {
                let index = read_file(&folder.join("index.json"))?;
                let index: Manifest = parse(&index, "index.json")?;
                let named = index.named(reference.tag.as_deref())?;
                self.document(&named.digest()?).await
            }
            (Self::Layout { .. }, Some(digest)) => self.document(digest).await,
            (Self::Registry(registry), digest) => {
                let name = match digest {
                    Some(digest) => format!("sha256:{digest}"),
                    None => reference.tag.clone().unwrap_or_else(|| "latest".to_owned()),
                };
                let bytes = registry.read(&format!("manifests/{name}")).await?;
                digest.map_or(Ok(()), |digest| check(&bytes, &digest)).map(|()| bytes)
            }
        }
    }

    /// A manifest of this digest.
    pub(super) async fn manifest(&self, digest: &Sha256) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Layout { .. } => self.document(digest).await,
            Self::Registry(registry) => {
                let bytes = registry.read(&format!("manifests/sha256:{digest}")).await?;
                check(&bytes, digest).map(|()| bytes)
            }
        }
    }

    /// A small blob.
    pub(super) async fn document(&self, digest: &Sha256) -> Result<Vec<u8>, Problem> {
        let bytes = match self {
            Self::Layout { folder, .. } => read_file(&blob(folder, digest))?,
            Self::Registry(registry) => registry.read(&format!("blobs/sha256:{digest}")).await?,
        };
        check(&bytes, digest).map(|()| bytes)
    }

    /// Copies a blob of that size to `file`, and checks it.
    pub(super) async fn copy(&self, digest: &Sha256, size: u64, mut file: File) -> Result<(), Problem> {
        let found = match self {
            Self::Layout { folder, .. } => {
                let from = open_plain(&blob(&real(folder)?, digest))?;
                let copied = tokio::task::spawn_blocking(move || copy_file(from, &mut file, size));
                copied.await.map_err(|_| Problem::Cancelled)??
            }
            Self::Registry(registry) => registry.copy(digest, size, &mut file).await?,
        };
        if found == *digest { Ok(()) } else { Err(Problem::Digest { expected: *digest, found }) }
    }
}

fn real(folder: &Path) -> Result<PathBuf, Problem> {
    folder.canonicalize().map_err(Problem::io(folder))
}

fn blob(folder: &Path, digest: &Sha256) -> PathBuf {
    folder.join("blobs/sha256").join(digest.to_string())
}

fn open_archive(path: &Path, draft: Draft, bounds: Bounds) -> Result<Draft, Problem> {
    std::fs::create_dir(&draft.path).map_err(Problem::io(&draft.path))?;
    let root = unpack::root(&draft.path).map_err(Problem::io(&draft.path))?;
    unpack::unpack(open_plain(path)?, &root, Kind::Sandbox { owner: None }, bounds, &AtomicBool::new(false))?;
    Ok(draft)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let real = path.canonicalize().map_err(|error| Problem::NotThere(error.to_string()))?;
    // What a layout has as a link may lead anywhere.
    if real.parent() != path.parent().and_then(|folder| folder.canonicalize().ok()).as_deref() {
        return Err(Problem::NotThere("expected a plain file".to_owned()));
    }
    let mut bytes = Vec::new();
    let taken = open_plain(&real)?.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes);
    taken.map_err(|error| Problem::NotThere(error.to_string()))?;
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES { Err(Problem::TooLarge(MAX_DOCUMENT_BYTES)) } else { Ok(bytes) }
}

fn check(bytes: &[u8], expected: &Sha256) -> Result<(), Problem> {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    let found = finish(context);
    if found == *expected { Ok(()) } else { Err(Problem::Digest { expected: *expected, found }) }
}

fn copy_file(mut from: File, to: &mut File, size: u64) -> Result<Sha256, Problem> {
    let mut sink = Sink::new(to, size);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer).map_err(|error| Problem::Network(error.to_string()))? {
            0 => return sink.finish(),
            len => sink.write(&buffer[..len])?,
        }
    }
}

/// Takes a blob of a known size.
struct Sink<'a> {
    file: &'a mut File,
    context: Context,
    size: u64,
    left: u64,
}

impl<'a> Sink<'a> {
    fn new(file: &'a mut File, size: u64) -> Self {
        Self { file, context: Context::new(&SHA256), size, left: size }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Problem::TooLarge(self.size))?;
        self.context.update(bytes);
        self.file.write_all(bytes).map_err(Problem::io(Path::new("images")))
    }

    fn finish(self) -> Result<Sha256, Problem> {
        if self.left > 0 {
            return Err(Problem::NotThere(format!("expected {} bytes, got {}", self.size, self.size - self.left)));
        }
        Ok(finish(self.context))
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Registry<'_> {
    async fn read(&self, path: &str) -> Result<Vec<u8>, Problem> {
        read(self.get(path).await?.into_body(), MAX_DOCUMENT_BYTES).await
    }

    async fn copy(&self, digest: &Sha256, size: u64, file: &mut File) -> Result<Sha256, Problem> {
        let mut body = self.get(&format!("blobs/sha256:{digest}")).await?.into_body();
        let mut sink = Sink::new(file, size);
        while let Some(piece) = next(&mut body).await? {
            sink.write(&piece)?;
        }
        sink.finish()
    }

    /// The answer to a question that may first cost a token.
    async fn get(&self, path: &str) -> Result<Response<hyper::body::Incoming>, Problem> {
        let url = format!("{}/{}/{path}", self.base, self.name);
        let uri: Uri = url.parse().map_err(|error| Problem::Uri(format!("{error}")))?;
        let answer = self.fetcher.http.get(&uri, &self.headers()).await?;
        let answer = if answer.status() == StatusCode::UNAUTHORIZED {
            self.log_in(answer.headers()).await?;
            self.fetcher.http.get(&uri, &self.headers()).await?
        } else {
            answer
        };
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer.status())) }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
        let token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        headers.extend(token.map(|token| (AUTHORIZATION, token)));
        headers
    }

    /// Asks for a token as the registry says where; who gives one to anybody gives it to us.
    async fn log_in(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let refused = || Problem::NotThere("the registry wants credentials, and this agent has none".to_owned());
        let challenge = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()).ok_or_else(refused)?;
        let parameters = challenge.strip_prefix("Bearer ").ok_or_else(refused)?;
        let parameter = |name: &str| {
            let rest = parameters.split_once(&format!("{name}=\""))?.1;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let realm = parameter("realm").ok_or_else(refused)?;
        let service = parameter("service").unwrap_or_default();
        let scope = format!("repository:{}:pull", self.name);
        let uri: Uri = format!("{realm}?service={service}&scope={scope}").parse().map_err(|_| refused())?;
        let answer = self.fetcher.http.get(&uri, &HeaderMap::new()).await?;
        if !answer.status().is_success() {
            return Err(refused());
        }
        let body = read(answer.into_body(), MAX_DOCUMENT_BYTES).await?;
        let body: serde_json::Value = parse(&body, "token")?;
        let token = ["token", "access_token"].iter().find_map(|name| body[*name].as_str()).ok_or_else(refused)?;
        let token = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| refused())?;
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(token);
        Ok(())
    }
}
