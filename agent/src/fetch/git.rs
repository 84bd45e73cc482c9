//! A commit of a git repository, by the machine's own git.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::source::Repository;
use super::{Draft, FetchPolicy, Problem};

/// What git may speak.
pub(super) const PROTOCOLS: [&str; 4] = ["https", "http", "ssh", "file"];
/// Between looks at how large the folder has grown.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The most that is kept of what git says.
const MAX_WORDS: u64 = 4096;

/// Checks the commit out into `folder`, which is made. Gives the commit's id.
///
/// # Errors
/// git is not there, says no, or what comes is larger than it may be.
pub(super) async fn check_out(repository: &Repository, folder: &Path, policy: &FetchPolicy) -> Result<String, Problem> {
    std::fs::create_dir(folder).map_err(Problem::io(folder))?;
    let max_bytes = policy.max_bytes;
    let authority = match &policy.tls_ca {
        Some(bytes) => Some(keep(&folder.with_extension("ca"), bytes)?),
        None => None,
    };
    let git = Git { folder, protocol: repository.protocol, max_bytes, login: login(repository, policy), authority };
    git.run(&["init", "--quiet", "."]).await?;
    git.run(&["fetch", "--quiet", "--depth=1", "--no-tags", "--", &repository.url, &repository.reference]).await?;
    git.run(&["-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD", "--"]).await?;
    let found = git.run(&["rev-parse", "HEAD"]).await?.trim().to_owned();
    if repository.is_pinned() && !found.eq_ignore_ascii_case(&repository.reference) {
        return Err(Problem::Commit { expected: repository.reference.clone(), found });
    }
    std::fs::remove_dir_all(folder.join(".git")).map_err(Problem::io(folder))?;
    if size_of(folder) > max_bytes { Err(Problem::TooLarge(max_bytes)) } else { Ok(found) }
}

struct Git<'a> {
    folder: &'a Path,
    protocol: &'a str,
    max_bytes: u64,
    /// For which server, and what it is told.
    login: Option<(String, HeaderValue)>,
    /// A file with certificates of authorities.
    authority: Option<Draft>,
}

/// For the server of a repository that is asked with TLS.
fn login(repository: &Repository, policy: &FetchPolicy) -> Option<(String, HeaderValue)> {
    let uri: Uri = repository.url.parse().ok()?;
    let value = policy.login(&uri).remove(AUTHORIZATION)?;
    Some((format!("https://{}/", uri.authority()?.as_str().rsplit('@').next()?), value))
}

fn keep(path: &Path, bytes: &[u8]) -> Result<Draft, Problem> {
    let draft = Draft { path: path.to_owned() };
    std::fs::write(&draft.path, bytes).map_err(Problem::io(path))?;
    Ok(draft)
}

impl Git<'_> {
    async fn run(&self, args: &[&str]) -> Result<String, Problem> {
        let mut child = self.command(args).spawn().map_err(|error| Problem::Tool(format!("git: {error}")))?;
        let (mut out, mut err) = (String::new(), String::new());
        let mut stdout = child.stdout.take().expect("it is a pipe").take(MAX_WORDS);
        let mut stderr = child.stderr.take().expect("it is a pipe").take(MAX_WORDS);
        let ended = async {
            // What is no text is no use.
            let _words = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
            child.wait().await
        };
        let status = tokio::select! {
            status = ended => status.map_err(|error| Problem::Tool(format!("git: {error}")))?,
            () = self.grown() => return Err(Problem::TooLarge(self.max_bytes)),
        };
        if status.success() { Ok(out) } else { Err(refusal(&err)) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // Nothing of the machine's configuration, no questions, and no other protocols, whatever a repository redirects to.
        command.env("HOME", self.folder).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        command.env("GIT_ALLOW_PROTOCOL", self.protocol).env("LC_ALL", "C");
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "core.symlinks=true", "-c", "safe.directory=*"]);
        if let Some((server, login)) = &self.login {
            // Not among the arguments, which everybody on the machine can read.
            let login = String::from_utf8_lossy(login.as_bytes()).into_owned();
            command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", format!("http.{server}.extraHeader"));
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: {login}"));
        }
        if let Some(authority) = &self.authority {
            command.env("GIT_SSL_CAINFO", &authority.path);
        }
        command.args(args).current_dir(self.folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Ready once the folder is larger than it may be.
    async fn grown(&self) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let (folder, max) = (self.folder.to_owned(), self.max_bytes);
            let size = tokio::task::spawn_blocking(move || size_of(&folder)).await.unwrap_or(0);
            if size > max {
                return;
            }
        }
    }
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// A repository or reference that is not there is the asker's fault; all else may be better next time.
fn refusal(words: &str) -> Problem {
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
    let unknown = ["couldn't find remote ref", "does not appear to be a git repository", "not our ref", "not found"];
    let message = format!("git: {last}");
    if unknown.iter().any(|known| words.contains(known)) {
        Problem::NotThere(message)
    } else {
        Problem::Network(message)
    }
}
