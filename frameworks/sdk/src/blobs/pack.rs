//! Files to archives and back. What would leave the directory is refused, in both directions.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use tar::EntryType;

use super::OutputSpec;
use super::manifest::stays_below;

/// The most files that one archive may hold.
const MAX_ENTRIES: usize = 1_000_000;

/// Why files can't be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file can't be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A pattern does not parse.
    #[error("pattern {pattern:?}: {message}")]
    Pattern {
        /// Which.
        pattern: String,
        /// What is wrong.
        message: String,
    },
    /// Something in the archive would end up outside the directory, or is neither file, directory nor link.
    #[error("archive entry {0:?}: expected a file, directory or link that stays below the directory")]
    Entry(PathBuf),
    /// More files than an archive may hold.
    #[error("more than {MAX_ENTRIES} files")]
    TooMany,
    /// The archive would unpack to more than it may.
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
}

/// The files and links below `dir` that `spec` names, sorted, relative to `dir`.
pub(super) fn select(dir: &Path, spec: &OutputSpec) -> Result<Vec<PathBuf>, PackError> {
    let (include, exclude) = (glob_set(&spec.paths)?, glob_set(&spec.exclude)?);
    let mut found = BTreeSet::new();
    for pattern in &spec.paths {
        walk(dir, &literal_prefix(pattern), &mut |path| {
            if include.is_match(path) && !exclude.is_match(path) {
                found.insert(path.to_owned());
            }
            if found.len() > MAX_ENTRIES { Err(PackError::TooMany) } else { Ok(()) }
        })?;
    }
    Ok(found.into_iter().collect())
}

/// Writes `files`, which are relative to `dir`, into `archive`.
pub(super) fn pack(dir: &Path, files: &[PathBuf], archive: &File) -> Result<(), PackError> {
    let mut builder = tar::Builder::new(BufWriter::new(archive));
    builder.follow_symlinks(false);
    for path in files {
        builder.append_path_with_name(dir.join(path), path).map_err(at(path))?;
    }
    let mut writer = builder.into_inner().map_err(at(dir))?;
    writer.flush().map_err(at(dir))
}

/// Unpacks `archive` below `dir`, at most `limit` bytes.
pub(super) fn unpack(archive: &Path, dir: &Path, limit: u64) -> Result<(), PackError> {
    fs::create_dir_all(dir).map_err(at(dir))?;
    let file = File::open(archive).map_err(at(archive))?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let (mut count, mut bytes) = (0, 0_u64);
    for entry in archive.entries().map_err(at(dir))? {
        let mut entry = entry.map_err(at(dir))?;
        // Where `git archive` notes the commit; it is no file.
        if entry.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        let path = entry.path().map_err(at(dir))?.into_owned();
        count += 1;
        bytes = bytes.saturating_add(entry.size());
        if count > MAX_ENTRIES {
            return Err(PackError::TooMany);
        }
        if bytes > limit {
            return Err(PackError::TooLarge(limit));
        }
        check_entry(&path, entry.header().entry_type(), entry.link_name().map_err(at(&path))?.as_deref())?;
        if !entry.unpack_in(dir).map_err(at(&path))? {
            return Err(PackError::Entry(path));
        }
    }
    Ok(())
}

fn check_entry(path: &Path, kind: EntryType, link: Option<&Path>) -> Result<(), PackError> {
    let good = stays_below(path)
        && match kind {
            EntryType::Regular | EntryType::Directory => true,
            EntryType::Symlink => link.is_some_and(|target| link_stays_below(path, target)),
            _ => false,
        };
    if good { Ok(()) } else { Err(PackError::Entry(path.to_owned())) }
}

/// Whether a link at `path` to `target` points to something below the directory that `path` is relative to.
fn link_stays_below(path: &Path, target: &Path) -> bool {
    use std::path::Component;
    let mut depth = path.components().filter(|part| matches!(part, Component::Normal(_))).count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

/// The set of what `patterns` name; each names what matches, and all below it.
fn glob_set(patterns: &[String]) -> Result<GlobSet, PackError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let plain = pattern.trim_start_matches("./").trim_end_matches('/');
        let plain = if plain.is_empty() || plain == "." { "**" } else { plain };
        for text in [plain.to_owned(), format!("{plain}/**")] {
            let bad = |error: globset::Error| PackError::Pattern {
                pattern: pattern.clone(),
                message: error.kind().to_string(),
            };
            set.add(GlobBuilder::new(&text).literal_separator(true).build().map_err(bad)?);
        }
    }
    set.build().map_err(|error| PackError::Pattern { pattern: patterns.join(" "), message: error.to_string() })
}

/// The part of `pattern` before the first wildcard: nothing outside it can match.
fn literal_prefix(pattern: &str) -> PathBuf {
    let is_wild = |part: &&str| part.contains(['*', '?', '[', '{', '\\']);
    pattern.split('/').take_while(|part| !is_wild(part)).filter(|part| !part.is_empty() && *part != ".").collect()
}

fn walk(dir: &Path, below: &Path, visit: &mut impl FnMut(&Path) -> Result<(), PackError>) -> Result<(), PackError> {
    let full = dir.join(below);
    let kind = match full.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(PackError::Io { path: full, error }),
    };
    if kind.is_file() || kind.is_symlink() {
        return visit(below);
    }
    if kind.is_dir() {
        for entry in fs::read_dir(&full).map_err(at(&full))? {
            let entry = entry.map_err(at(&full))?;
            walk(dir, &below.join(entry.file_name()), visit)?;
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PackError {
    let path = path.to_owned();
    move |error| PackError::Io { path, error }
}
