//! Names of images.

use std::path::PathBuf;

use rialto_proto::spec::Sha256;

/// Where an image is, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) place: Place,
    /// What people call it; `latest` of a registry, any that is alone of a folder.
    pub(super) tag: Option<String>,
    /// What its manifest, or the index of its platforms, must be.
    pub(super) digest: Option<Sha256>,
}

/// Where images are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A folder in the OCI image layout.
    Layout(PathBuf),
    /// The same as a tar archive.
    Archive(PathBuf),
    /// A registry.
    Registry {
        /// `HOST` or `HOST:PORT`.
        host: String,
        /// The name of the repository.
        name: String,
    },
}

impl Reference {
    /// What `text` says.
    ///
    /// # Errors
    /// Says what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest_of(digest)?)),
            None => (text, None),
        };
        if let Some(rest) = rest.strip_prefix("docker://").or_else(|| rest.strip_prefix("oci://")) {
            return registry(rest, digest);
        }
        let (archive, rest) = match (rest.strip_prefix("oci:"), rest.strip_prefix("oci-archive:")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => {
                return Err(format!(
                    "expected oci:FOLDER, oci-archive:FILE, docker://HOST/NAME or oci://HOST/NAME, got {text:?}"
                ));
            }
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(check_tag(tag)?)),
            _ => (rest, None),
        };
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("expected an absolute path without '..', got {path:?}"));
        }
        let path = PathBuf::from(path);
        Ok(Self { place: if archive { Place::Archive(path) } else { Place::Layout(path) }, tag, digest })
    }
}

/// `sha256:` and 64 digits.
pub(super) fn digest_of(text: &str) -> Result<Sha256, String> {
    let digits = text.strip_prefix("sha256:").ok_or_else(|| format!("expected sha256:DIGEST, got {text:?}"))?;
    digits.parse().map_err(|error| format!("sha256: {error}"))
}

fn registry(rest: &str, digest: Option<Sha256>) -> Result<Reference, String> {
    let (host, name) = rest.split_once('/').ok_or_else(|| format!("expected docker://HOST/NAME, got {rest:?}"))?;
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) => (name, Some(check_tag(tag)?)),
        None => (name, None),
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let good_part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(plain);
    if !name.split('/').all(good_part) || name.len() > 255 {
        return Err(format!("expected a name of small letters, digits, '.', '_', '-' and '/', got {name:?}"));
    }
    let good_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c));
    if !good_host {
        return Err(format!("expected a host, got {host:?}"));
    }
    let place = Place::Registry { host: host.to_owned(), name: name.to_owned() };
    Ok(Reference { place, tag, digest })
}

fn check_tag(tag: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = !tag.is_empty() && tag.len() <= 128 && tag.chars().all(good) && !tag.starts_with(['.', '-']);
    if fits {
        Ok(tag.to_owned())
    } else {
        Err(format!("expected a tag of letters, digits, '.', '_' and '-', got {tag:?}"))
    }
}
