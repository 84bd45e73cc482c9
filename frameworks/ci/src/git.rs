//! One commit of a repository, through the installed `git`.
//!
//! A repository is a local folder or a URL. Of a URL only the one commit is fetched. Its files travel as a tar archive; what is changed in a
//! work tree and not committed does not take part.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rialto_sdk::blobs::{BlobStore, StoreError, Stored};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::spec::Variables;

/// The longest text that a variable takes from a commit, in bytes.
const TEXT_MAX: usize = 8 << 10;
/// How much of what `git` complains about is shown, in bytes.
const COMPLAINT_MAX: usize = 2 << 10;
/// Variables by which a surrounding `git` would mislead ours.
const MISLEADING: [&str; 5] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"];

/// Why there is no commit to work on.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git` to be started.
    #[error("git can't be started ({0}): expected it to be installed and in PATH")]
    NoGit(io::Error),
    /// Neither a folder nor a URL.
    #[error("repository {0:?}: expected a folder with a git repository, or a URL")]
    NoRepository(String),
    /// The commit's name can't be one.
    #[error("commit {0:?}: expected the name of a branch, tag or commit")]
    BadName(String),
    /// The repository has no such commit.
    #[error("commit {name:?} is not in repository {repository:?}: {complaint}")]
    NoCommit {
        /// What was asked for.
        name: String,
        /// Of which repository.
        repository: String,
        /// What `git` says.
        complaint: String,
    },
    /// `git` failed.
    #[error("git {action}: {complaint}")]
    Failed {
        /// What it should have done.
        action: String,
        /// What it says.
        complaint: String,
    },
    /// No temporary folder can be made.
    #[error("temporary folder: {0}")]
    Temporary(io::Error),
    /// The archive can't be stored.
    #[error("the commit's files: {0}")]
    Store(#[from] StoreError),
}

/// Whether a work tree has changes that are not in the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkTree {
    /// It has none, or there is no work tree, or it is of another commit.
    Clean,
    /// It has some, which take no part.
    Changed,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its full id.
    pub sha: String,
    /// The branch, if it was named by one.
    pub branch: Option<String>,
    /// The tag, if it was named by one.
    pub tag: Option<String>,
    /// The branch that the repository calls its main one, as far as can be told.
    pub default_branch: Option<String>,
    /// Its message; the first line is its title.
    pub message: String,
    /// When it was made, ISO 8601.
    pub timestamp: String,
    /// The repository's name.
    pub project: String,
    /// Whether the work tree differs.
    pub work_tree: WorkTree,
}

impl Commit {
    /// The variables by which GitLab tells jobs of it.
    pub fn variables(&self) -> Variables {
        let name = self.tag.as_ref().or(self.branch.as_ref()).unwrap_or(&self.sha);
        let title = self.message.lines().next().unwrap_or_default();
        let short: String = self.sha.chars().take(8).collect();
        let mut variables = Variables::new();
        let mut set = |name: &str, value: &str| drop(variables.insert(name.to_owned(), value.to_owned()));
        set("CI_COMMIT_SHA", &self.sha);
        set("CI_COMMIT_SHORT_SHA", &short);
        set("CI_COMMIT_REF_NAME", name);
        set("CI_COMMIT_REF_SLUG", &slug(name));
        set("CI_COMMIT_TITLE", title);
        set("CI_COMMIT_MESSAGE", &self.message);
        set("CI_COMMIT_TIMESTAMP", &self.timestamp);
        set("CI_PROJECT_NAME", &self.project);
        for (name, value) in [
            ("CI_COMMIT_BRANCH", &self.branch),
            ("CI_COMMIT_TAG", &self.tag),
            ("CI_DEFAULT_BRANCH", &self.default_branch),
        ] {
            if let Some(value) = value {
                set(name, value);
            }
        }
        variables
    }
}

/// A commit, and the repository that has it.
#[derive(Debug)]
pub struct Checkout {
    /// The commit.
    pub commit: Commit,
    repository: PathBuf,
    /// Where a fetched repository lies; removed with this.
    _temporary: Option<TempDir>,
}

impl Checkout {
    /// Finds the commit `reference` of `repository`, a folder or a URL; of a URL, fetches it.
    ///
    /// # Errors
    /// If there is no `git`, no such repository or no such commit.
    pub async fn of(repository: &str, reference: &str) -> Result<Self, GitError> {
        if reference.is_empty()
            || reference.starts_with('-')
            || reference.contains(|c: char| c.is_control() || c == ' ')
        {
            return Err(GitError::BadName(reference.to_owned()));
        }
        let folder = Path::new(repository);
        if folder.is_dir() {
            return Self::local(repository, folder, reference).await;
        }
        if repository.starts_with('-') || !is_url(repository) {
            return Err(GitError::NoRepository(repository.to_owned()));
        }
        Self::remote(repository, reference).await
    }

    /// Puts the commit's files into `store`, as a tar archive.
    ///
    /// # Errors
    /// If `git` fails or the store takes no more.
    pub async fn archive(&self, store: &Arc<BlobStore>) -> Result<Stored, GitError> {
        let mut git = git(&self.repository);
        git.args(["archive", "--format=tar", &self.commit.sha]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = git.spawn().map_err(GitError::NoGit)?;
        let mut output = child.stdout.take().expect("it was asked to be a pipe");
        let (sender, mut chunks) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
        let into = store.clone();
        let writing = tokio::task::spawn_blocking(move || -> Result<Stored, StoreError> {
            let mut writer = into.writer()?;
            while let Some(chunk) = chunks.blocking_recv() {
                writer.write(&chunk)?;
            }
            writer.finish(None)
        });
        loop {
            let mut chunk = vec![0; 64 << 10];
            let count = output.read(&mut chunk).await.map_err(|error| failed("archive", &error.to_string()))?;
            chunk.truncate(count);
            // The writer gives up when the store is full; its result says so.
            if count == 0 || sender.send(chunk).await.is_err() {
                break;
            }
        }
        drop((output, sender));
        let stored = writing.await.map_err(|error| failed("archive", &error.to_string()))??;
        let end = child.wait_with_output().await.map_err(|error| failed("archive", &error.to_string()))?;
        if end.status.success() { Ok(stored) } else { Err(failed("archive", &complaint(&end.stderr, end.status))) }
    }

    async fn local(repository: &str, folder: &Path, reference: &str) -> Result<Self, GitError> {
        if let Err(complaint) = ask(folder, &["rev-parse", "--git-dir"]).await? {
            let is_plain = complaint.contains("not a git repository");
            return Err(if is_plain {
                GitError::NoRepository(repository.to_owned())
            } else {
                failed("rev-parse", &complaint)
            });
        }
        // In a folder below the top, `git archive` would take that folder only. A bare repository has no top.
        let top = ask(folder, &["rev-parse", "--show-toplevel"]).await?;
        let (top, has_tree) = top.map_or_else(|_| (folder.to_owned(), false), |top| (PathBuf::from(top), true));
        let sha = resolve(repository, &top, reference).await?;
        let head = ask(&top, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await?;
        let changes = ["status", "--porcelain"];
        let is_changed =
            has_tree && head.as_ref() == Ok(&sha) && ask(&top, &changes).await?.is_ok_and(|text| !text.is_empty());
        let (branch, tag) = local_names(&top, reference).await?;
        let commit = Commit {
            branch,
            tag,
            default_branch: local_default(&top).await?,
            message: show(&top, &sha, "%B").await?,
            timestamp: show(&top, &sha, "%cI").await?,
            project: project_name(&std::path::absolute(&top).unwrap_or_else(|_| top.clone()).to_string_lossy()),
            work_tree: if is_changed { WorkTree::Changed } else { WorkTree::Clean },
            sha,
        };
        Ok(Self { commit, repository: top, _temporary: None })
    }

    async fn remote(url: &str, reference: &str) -> Result<Self, GitError> {
        let temporary = TempDir::with_prefix("rialto-ci-").map_err(GitError::Temporary)?;
        let folder = temporary.path().to_owned();
        ask(&folder, &["init", "--quiet", "--bare"]).await?.map_err(|complaint| failed("init", &complaint))?;
        let heads = ask(&folder, &["ls-remote", "--symref", url, "HEAD"])
            .await?
            .map_err(|complaint| failed("ls-remote", &complaint))?;
        let default_branch = heads.lines().find_map(|line| {
            line.strip_prefix("ref: refs/heads/")?.split_once('\t').map(|(branch, _)| branch.to_owned())
        });
        let no_commit =
            |complaint| GitError::NoCommit { name: reference.to_owned(), repository: url.to_owned(), complaint };
        let fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--", url, reference];
        ask(&folder, &fetch).await?.map_err(no_commit)?;
        let sha = resolve(url, &folder, "FETCH_HEAD").await?;
        let is_ref = async |kind: &str| -> Result<Option<String>, GitError> {
            let found = ask(&folder, &["ls-remote", url, &format!("refs/{kind}/{reference}")]).await?;
            Ok(found.is_ok_and(|text| !text.is_empty()).then(|| reference.to_owned()))
        };
        let branch = if reference == "HEAD" { default_branch.clone() } else { is_ref("heads").await? };
        let tag = if branch.is_none() { is_ref("tags").await? } else { None };
        let commit = Commit {
            branch,
            tag,
            default_branch,
            message: show(&folder, &sha, "%B").await?,
            timestamp: show(&folder, &sha, "%cI").await?,
            project: project_name(url),
            work_tree: WorkTree::Clean,
            sha,
        };
        Ok(Self { commit, repository: folder, _temporary: Some(temporary) })
    }
}

/// `https://…`, `file:///…`, or `host:path` as `ssh` has it.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty() && !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+')
    });
    let scp = text
        .split_once(':')
        .is_some_and(|(host, path)| !host.is_empty() && !host.contains('/') && !path.starts_with(':'));
    scheme || scp
}

fn project_name(place: &str) -> String {
    let place = place.trim_end_matches('/');
    let last = place.rsplit(['/', ':']).next().unwrap_or(place);
    last.trim_end_matches(".git").to_owned()
}

/// Lower case, at most 63 characters, and nothing but letters, digits and `-`, as in GitLab.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = name.chars().map(plain).take(63).collect();
    slug.trim_matches('-').to_owned()
}

async fn resolve(repository: &str, folder: &Path, reference: &str) -> Result<String, GitError> {
    let sha = ask(folder, &["rev-parse", "--verify", "--end-of-options", &format!("{reference}^{{commit}}")]).await?;
    sha.map_err(|complaint| GitError::NoCommit {
        name: reference.to_owned(),
        repository: repository.to_owned(),
        complaint,
    })
}

/// The branch or the tag that `reference` names.
async fn local_names(folder: &Path, reference: &str) -> Result<(Option<String>, Option<String>), GitError> {
    if reference == "HEAD" {
        return Ok((ask(folder, &["symbolic-ref", "--quiet", "--short", "HEAD"]).await?.ok(), None));
    }
    let has = async |kind: &str| -> Result<bool, GitError> {
        Ok(ask(folder, &["show-ref", "--verify", "--quiet", &format!("refs/{kind}/{reference}")]).await?.is_ok())
    };
    let name = || Some(reference.to_owned());
    if has("heads").await? {
        return Ok((name(), None));
    }
    Ok((None, if has("tags").await? { name() } else { None }))
}

/// What `origin` calls its main branch; else `main` or `master`, whichever is there.
async fn local_default(folder: &Path) -> Result<Option<String>, GitError> {
    if let Ok(branch) = ask(folder, &["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"]).await? {
        return Ok(branch.strip_prefix("origin/").map(str::to_owned));
    }
    for branch in ["main", "master"] {
        if ask(folder, &["show-ref", "--verify", "--quiet", &format!("refs/heads/{branch}")]).await?.is_ok() {
            return Ok(Some(branch.to_owned()));
        }
    }
    Ok(None)
}

async fn show(folder: &Path, sha: &str, format: &str) -> Result<String, GitError> {
    let text = ask(folder, &["log", "-1", &format!("--format={format}"), sha]).await?;
    let mut text = text.map_err(|complaint| failed("log", &complaint))?;
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    Ok(text)
}

/// What `git` prints, or what it complains about. Nobody is asked for a password.
async fn ask(folder: &Path, arguments: &[&str]) -> Result<Result<String, String>, GitError> {
    let output = git(folder).args(arguments).output().await.map_err(GitError::NoGit)?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()));
    }
    Ok(Err(complaint(&output.stderr, output.status)))
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    for name in MISLEADING {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

fn complaint(stderr: &[u8], status: ExitStatus) -> String {
    let mut text = String::from_utf8_lossy(stderr).trim().replace('\n', "; ");
    text.truncate(text.floor_char_boundary(COMPLAINT_MAX));
    if text.is_empty() { status.to_string() } else { text }
}

fn failed(action: &str, complaint: &str) -> GitError {
    GitError::Failed { action: action.to_owned(), complaint: complaint.to_owned() }
}

#[cfg(test)]
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the tests make repositories")]
mod tests;
