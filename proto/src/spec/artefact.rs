//! What is fetched into the sandbox of a task before it starts.

use std::fmt;
use std::str::FromStr;

use crate::convert::{At, ConvertError, Converted, Wire, expected, limits};
use crate::v1;

/// The most artefacts of a task.
pub const MAX_ARTEFACTS: usize = 64;

/// Something that is fetched into the sandbox of a task before it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artefact {
    /// Where it is: `http`, `https`, `file`, or `git+` one of these or `git+ssh` with a branch, tag or commit after `#`, or `oci://HOST/NAME`,
    /// `oci:FOLDER`, `oci-archive:FILE` with `:TAG` or `@sha256:DIGEST`.
    pub uri: String,
    /// Where it is put, relative to the sandbox; empty means the last part of the path of the URI, for what is unpacked the sandbox itself.
    pub destination: String,
    /// What its content must be; none means anything.
    pub sha256: Option<Sha256>,
    /// It is a tar archive, compressed by gzip or not, to be unpacked there.
    pub extract: bool,
    /// It may be executed.
    pub executable: bool,
    /// The URI of its minisign signature; none means that there is none, or `URI.minisig` where the agent asks for one.
    pub signature: Option<String>,
}

impl Artefact {
    /// What lies at `uri`, as it is.
    pub fn new(uri: &str) -> Self {
        Self { uri: uri.to_owned(), ..Self::default() }
    }
}

impl FromStr for Artefact {
    type Err = ConvertError;

    /// `URI[,to=PATH][,sha256=DIGEST][,extract][,executable][,signature=URI]`.
    fn from_str(text: &str) -> Result<Self, ConvertError> {
        let mut wire = v1::Artefact::default();
        let mut rest = text;
        // From the end on, as a URI may have commas too.
        while let Some((before, option)) = rest.rsplit_once(',') {
            match option.split_once('=').unwrap_or((option, "")) {
                ("to", path) => wire.destination = path.to_owned(),
                ("sha256", digest) => wire.sha256 = digest.to_owned(),
                ("signature", uri) => wire.signature = uri.to_owned(),
                ("extract", "") => wire.extract = true,
                ("executable", "") => wire.executable = true,
                _ => break,
            }
            rest = before;
        }
        rest.clone_into(&mut wire.uri);
        Self::from_wire(wire)
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// Why a text is no SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hexadecimal digits, got {0:?}")]
pub struct Sha256Error(String);

impl FromStr for Sha256 {
    type Err = Sha256Error;

    fn from_str(text: &str) -> Result<Self, Sha256Error> {
        let error = || Sha256Error(text.chars().take(100).collect());
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or_else(error)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Wire for Artefact {
    type Message = v1::Artefact;

    fn to_wire(&self) -> v1::Artefact {
        v1::Artefact {
            uri: self.uri.clone(),
            destination: self.destination.clone(),
            sha256: self.sha256.map_or_else(String::new, |digest| digest.to_string()),
            extract: self.extract,
            executable: self.executable,
            signature: self.signature.clone().unwrap_or_default(),
        }
    }

    fn from_wire(wire: v1::Artefact) -> Converted<Self> {
        let is_plain = |text: &str| text.len() <= limits::MAX_TEXT && !text.contains(char::is_control);
        let uri = wire.uri;
        let has_scheme = uri.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
        expected(has_scheme && is_plain(&uri), || format!("expected a URI such as https://host/path, got {uri:?}"))
            .at("uri")?;
        check_destination(&wire.destination).at("destination")?;
        let sha256 = Some(wire.sha256).filter(|text| !text.is_empty()).map(|text| text.parse());
        let sha256 = sha256.transpose().map_err(|error: Sha256Error| ConvertError::here(error)).at("sha256")?;
        let both = wire.extract && wire.executable;
        expected(!both, || "expected a file, not an archive that is unpacked".to_owned()).at("executable")?;
        expected(is_plain(&wire.signature), || format!("expected a URI, got {:?}", wire.signature)).at("signature")?;
        Ok(Self {
            uri,
            destination: wire.destination,
            sha256,
            extract: wire.extract,
            executable: wire.executable,
            signature: Some(wire.signature).filter(|signature| !signature.is_empty()),
        })
    }
}

/// A path below the sandbox.
fn check_destination(path: &str) -> Converted<()> {
    let good_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    let good = path.is_empty() || (path.split('/').all(good_part) && !path.contains(char::is_control));
    let good = good && path.len() <= limits::MAX_TEXT;
    expected(good, || format!("expected a path below the sandbox without empty parts, '.' and '..', got {path:?}"))
}

#[cfg(test)]
#[path = "artefact_tests.rs"]
mod tests;
