//! The files that stages read: found by glob, cut into partitions, put into the store.

#![expect(clippy::disallowed_types, reason = "this is the shell's part that reads files")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::GlobBuilder;
use rialto_sdk::blobs::{BlobStore, StoreError};

use crate::plan::FilePart;
use crate::spec::{Job, MAX_PARTITIONS, Source, Split, SplitSize};

/// The longest line of a file that is cut, in bytes.
const MAX_LINE: u64 = 64 << 20;

/// Why a stage's files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file or directory can't be read.
    #[error("stage {stage:?}: files: {path}: {error}")]
    Io {
        /// Which stage.
        stage: Arc<str>,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The glob does not parse.
    #[error("stage {stage:?}: files: expected a path or glob such as \"data/*.csv\", got {glob:?}: {message}")]
    Glob {
        /// Which stage.
        stage: Arc<str>,
        /// The glob.
        glob: Arc<str>,
        /// What is wrong.
        message: String,
    },
    /// A line is longer than one may be.
    #[error("stage {stage:?}: files: {path}: expected lines of at most {MAX_LINE} bytes; is it a text file?")]
    LongLine {
        /// Which stage.
        stage: Arc<str>,
        /// Which file.
        path: PathBuf,
    },
    /// The files make more partitions than a stage may have.
    #[error("stage {0:?}: expected files that make at most {MAX_PARTITIONS} partitions, got more")]
    TooMany(Arc<str>),
    /// The store takes no more.
    #[error("stage {stage:?}: files: {error}")]
    Store {
        /// Which stage.
        stage: Arc<str>,
        /// Why not.
        error: StoreError,
    },
}

/// Puts what the stages of `job` read into `store`. Paths are relative to `dir`.
pub fn import(job: &Job, dir: &Path, store: &BlobStore) -> Result<BTreeMap<usize, Vec<FilePart>>, FilesError> {
    let mut parts = BTreeMap::new();
    for (at, stage) in job.stages.iter().enumerate() {
        let Source::Files { glob, split } = &stage.source else { continue };
        let import = Import { stage: &stage.name, store };
        let mut of_stage = Vec::new();
        for path in import.expand(dir, glob)? {
            match split {
                None => of_stage.push(import.whole(&path)?),
                Some(split) => import.cut(&path, *split, &mut of_stage)?,
            }
            if of_stage.len() > MAX_PARTITIONS as usize {
                return Err(FilesError::TooMany(stage.name.clone()));
            }
        }
        parts.insert(at, of_stage);
    }
    Ok(parts)
}

struct Import<'a> {
    stage: &'a Arc<str>,
    store: &'a BlobStore,
}

impl Import<'_> {
    /// The files that `glob` names, sorted.
    fn expand(&self, dir: &Path, glob: &Arc<str>) -> Result<Vec<PathBuf>, FilesError> {
        let full = dir.join(&**glob);
        let text = full.to_string_lossy();
        if !glob.contains(['*', '?', '[', '{']) {
            return Ok(if full.is_file() { vec![full] } else { Vec::new() });
        }
        let bad = |error: globset::Error| FilesError::Glob {
            stage: self.stage.clone(),
            glob: glob.clone(),
            message: error.kind().to_string(),
        };
        let matcher = GlobBuilder::new(&text).literal_separator(true).build().map_err(bad)?.compile_matcher();
        let is_plain =
            |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
        let start: PathBuf = full.components().take_while(is_plain).collect();
        let mut found = Vec::new();
        self.walk(&start, &mut |path| {
            if matcher.is_match(path) {
                found.push(path.to_owned());
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn walk(&self, path: &Path, visit: &mut impl FnMut(&Path)) -> Result<(), FilesError> {
        if path.is_file() {
            visit(path);
        } else if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).map_err(self.at(path))? {
                self.walk(&entry.map_err(self.at(path))?.path(), visit)?;
            }
        }
        Ok(())
    }

    fn whole(&self, path: &Path) -> Result<FilePart, FilesError> {
        let stored = self.store.import(path).map_err(|error| self.store_error(error))?;
        Ok(FilePart { digest: stored.digest, name: name_of(path) })
    }

    fn cut(&self, path: &Path, split: Split, parts: &mut Vec<FilePart>) -> Result<(), FilesError> {
        let sizes = sizes(split, self.count_lines(path)?.saturating_sub(u64::from(split.header)));
        if sizes.len() > MAX_PARTITIONS as usize {
            return Err(FilesError::TooMany(self.stage.clone()));
        }
        let mut lines = Lines { import: self, path, reader: BufReader::new(File::open(path).map_err(self.at(path))?) };
        let header = if split.header { lines.next()? } else { Vec::new() };
        for size in sizes {
            let mut writer = self.store.writer().map_err(|error| self.store_error(error))?;
            writer.write(&header).map_err(|error| self.store_error(error))?;
            for _ in 0..size {
                writer.write(&lines.next()?).map_err(|error| self.store_error(error))?;
            }
            let stored = writer.finish(None).map_err(|error| self.store_error(error))?;
            parts.push(FilePart { digest: stored.digest, name: name_of(path) });
        }
        Ok(())
    }

    fn count_lines(&self, path: &Path) -> Result<u64, FilesError> {
        let file = File::open(path).map_err(self.at(path))?;
        let mut lines = Lines { import: self, path, reader: BufReader::new(file) };
        let mut count = 0;
        while !lines.next()?.is_empty() {
            count += 1;
        }
        Ok(count)
    }

    fn at(&self, path: &Path) -> impl FnOnce(io::Error) -> FilesError {
        let (stage, path) = (self.stage.clone(), path.to_owned());
        move |error| FilesError::Io { stage, path, error }
    }

    fn store_error(&self, error: StoreError) -> FilesError {
        FilesError::Store { stage: self.stage.clone(), error }
    }
}

/// The lines of a file, each with its line feed.
struct Lines<'a> {
    import: &'a Import<'a>,
    path: &'a Path,
    reader: BufReader<File>,
}

impl Lines<'_> {
    /// The next line; empty at the end of the file.
    fn next(&mut self) -> Result<Vec<u8>, FilesError> {
        let mut line = Vec::new();
        let count =
            (&mut self.reader).take(MAX_LINE).read_until(b'\n', &mut line).map_err(self.import.at(self.path))?;
        if count as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            return Err(FilesError::LongLine { stage: self.import.stage.clone(), path: self.path.to_owned() });
        }
        Ok(line)
    }
}

/// How many lines each part gets. There is always one part, and none of several is empty.
fn sizes(split: Split, lines: u64) -> Vec<u64> {
    match split.size {
        SplitSize::Parts(parts) => {
            let parts = u64::from(parts).min(lines).max(1);
            (0..parts).map(|at| lines / parts + u64::from(at < lines % parts)).collect()
        }
        SplitSize::Lines(size) => {
            let parts = lines.div_ceil(size).max(1).min(u64::from(MAX_PARTITIONS) + 1);
            (0..parts).map(|at| size.min(lines.saturating_sub(at * size))).collect()
        }
    }
}

fn name_of(path: &Path) -> Arc<str> {
    Arc::from(path.file_name().unwrap_or_default().to_string_lossy())
}

#[cfg(test)]
mod tests;
