//! Where an artefact is.

use std::path::PathBuf;

use hyper::Uri;

/// What a URI leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Http(Uri),
    File(PathBuf),
    Git(Repository),
    /// In a registry or a layout, as names of images say it.
    Oci(String),
}

/// A commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository {
    /// As git takes it, of one of [`PROTOCOLS`](super::git::PROTOCOLS).
    pub(super) url: String,
    pub(super) protocol: &'static str,
    /// Where it lies on this machine, if it does.
    pub(super) folder: Option<PathBuf>,
    /// A branch, a tag or a commit.
    pub(super) reference: String,
}

impl Repository {
    /// Whether the reference says what the content is.
    pub(super) fn is_pinned(&self) -> bool {
        matches!(self.reference.len(), 40 | 64) && self.reference.chars().all(|c| c.is_ascii_hexdigit())
    }
}

impl Source {
    /// What `uri` says.
    ///
    /// # Errors
    /// Says what was expected.
    pub(super) fn parse(uri: &str) -> Result<Self, String> {
        match uri.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, _)) if scheme == "http" || scheme == "https" => http(uri).map(Self::Http),
            Some((scheme, rest)) if scheme == "file" => file(rest).map(Self::File),
            Some((scheme, _)) if ["oci", "oci-archive", "docker"].contains(&scheme.as_str()) => {
                Ok(Self::Oci(uri.to_owned()))
            }
            Some((scheme, rest)) => {
                git(&scheme, rest).transpose().and_then(|found| found.map(Self::Git).ok_or_else(|| unknown(&scheme)))
            }
            None => Err(unknown("")),
        }
    }

    /// The last part of the path.
    pub(super) fn file_name(&self) -> Option<String> {
        let name = match self {
            Self::Http(uri) => uri.path().rsplit('/').next()?.to_owned(),
            Self::File(path) => path.file_name()?.to_str()?.to_owned(),
            Self::Git(repository) => {
                let name = repository.url.trim_end_matches('/').rsplit(['/', ':']).next()?;
                name.strip_suffix(".git").unwrap_or(name).to_owned()
            }
            // Without digest and tag.
            Self::Oci(name) => name.split('@').next()?.rsplit('/').next()?.split(':').next()?.to_owned(),
        };
        let good = !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
        good.then_some(name).filter(|name| !name.contains(['/', '\0']))
    }
}

fn unknown(scheme: &str) -> String {
    format!(
        "expected http, https, file, oci, oci-archive, docker, git+https, git+http, git+ssh or git+file, got {scheme:?}"
    )
}

fn http(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.split('#').next().unwrap_or(text).parse().map_err(|error| format!("{error}"))?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if has_host { Ok(uri) } else { Err("expected a host".to_owned()) }
}

/// `///path` or `//localhost/path`.
fn file(rest: &str) -> Result<PathBuf, String> {
    let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
    let good = path.starts_with('/') && !path.split('/').any(|part| part == "..");
    if good { Ok(PathBuf::from(path)) } else { Err("expected file:/// and an absolute path without '..'".to_owned()) }
}

fn git(scheme: &str, rest: &str) -> Option<Result<Repository, String>> {
    let protocol = super::git::PROTOCOLS.into_iter().find(|known| scheme.strip_prefix("git+") == Some(known))?;
    Some(repository(protocol, rest))
}

fn repository(protocol: &'static str, rest: &str) -> Result<Repository, String> {
    let (place, reference) = rest.split_once('#').unwrap_or((rest, "HEAD"));
    // What begins with a dash would be taken for an option.
    let good = !reference.is_empty()
        && reference.starts_with(|c: char| c.is_ascii_alphanumeric())
        && reference.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    if !good {
        return Err(format!("expected a branch, tag or commit after '#', got {reference:?}"));
    }
    if protocol != "file" && place.trim_start_matches('/').starts_with('-') {
        return Err("expected a host".to_owned());
    }
    let folder = if protocol == "file" { Some(file(place)?) } else { None };
    let url = format!("{protocol}:{place}");
    Ok(Repository { url, protocol, folder, reference: reference.to_owned() })
}
