//! Which files of a job's workspace are kept.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The globs of `artifacts: paths`, relative to the project directory.
///
/// `?` and `*` stay within one path component, `**` crosses them, `[a-z]` and `{a,b}` work as in a shell. A pattern that matches a
/// directory takes everything below it.
#[derive(Clone, Debug)]
pub struct ArtifactPaths {
    patterns: Vec<String>,
    set: GlobSet,
}

impl ArtifactPaths {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// The pattern that is absolute, has a `..`, is empty or is no glob, and why.
    pub fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let mut set = GlobSetBuilder::new();
        let mut kept = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let bad = |reason: &str| BadPattern { pattern: pattern.clone(), reason: reason.to_owned() };
            let inside = inside_project(pattern).map_err(bad)?;
            for glob in with_everything_below(&inside) {
                let glob = GlobBuilder::new(&glob).literal_separator(true).build();
                set.add(glob.map_err(|e| bad(&format!("is no glob: {}", e.kind())))?);
            }
            kept.push(if inside.is_empty() { ".".to_owned() } else { inside });
        }
        let set = set.build().map_err(|e| BadPattern {
            pattern: e.glob().unwrap_or_default().to_owned(),
            reason: format!("is no glob: {}", e.kind()),
        })?;
        Ok(Self { patterns: kept, set })
    }

    /// Whether the file at this path, relative to the project directory and with `/` between components, is kept.
    pub fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }

    /// The patterns without a leading `./` and a trailing `/`; `.` stands for the whole directory.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl PartialEq for ArtifactPaths {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for ArtifactPaths {}

/// A pattern that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("artefact path `{pattern}` {reason}")]
pub struct BadPattern {
    /// The pattern as written.
    pub pattern: String,
    /// Why not.
    pub reason: String,
}

/// The pattern in plain form, if it cannot leave the project directory.
fn inside_project(pattern: &str) -> Result<String, &'static str> {
    if pattern.trim().is_empty() {
        return Err("is empty");
    }
    if pattern.starts_with('/') {
        return Err("is absolute, expected one relative to the project directory");
    }
    let parts: Vec<&str> = pattern.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("has `..`, expected one inside the project directory");
    }
    Ok(parts.join("/"))
}

fn with_everything_below(pattern: &str) -> Vec<String> {
    match pattern {
        "" => vec!["**".to_owned()],
        _ => vec![pattern.to_owned(), format!("{pattern}/**")],
    }
}
