//! `rialto task-io -- COMMAND…`: runs inside a task, around the user's command.
//!
//! It reads [`URL`] and [`TOKEN`] from its environment, fetches what the task's manifest names, runs the command without these two
//! variables, uploads the outputs, reports them, and ends as the command did. It makes itself undumpable, so that the command, which
//! runs as the same user, can't read the token from `/proc` either (root can: nothing hides from it).

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{DumpableBehavior, Pid, Signal, kill_process, set_dumpable_behavior};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::pack::{self, PackError};
use super::{BlobClient, ClientError, Digest, Manifest, Output, OutputSpec, Pack, Unpack};

/// The variable that holds the store's address.
pub const URL: &str = "RIALTO_IO_URL";
/// The variable that holds the task's token.
pub const TOKEN: &str = "RIALTO_IO_TOKEN";
/// The exit code if the outputs could not be packed, uploaded or reported.
pub const UPLOAD_FAILED: i32 = 125;
/// The exit code if the inputs could not be fetched, or the command could not be started.
pub const FETCH_FAILED: i32 = 126;
/// The exit code if it was started wrongly.
pub const USAGE: i32 = 124;

/// The most that an archive may unpack to, in bytes.
const UNPACK_LIMIT: u64 = 64 << 30;

/// The shell line that runs `command` through this wrapper. The agent sets `RIALTO_EXE` to the program that it is itself.
pub fn wrap(command: &str) -> String {
    format!("exec \"${{RIALTO_EXE:-rialto}}\" task-io -- /bin/sh -c {}", quote(command))
}

/// `text` as one word of a shell line.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Does it all; `args` are the command and its arguments, with or without a `--` before. Returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let mut args = args.into_iter().peekable();
    if args.peek().is_some_and(|first| first == "--") {
        args.next();
    }
    let command: Vec<OsString> = args.collect();
    let (url, token) = (std::env::var(URL), std::env::var(TOKEN));
    let (Ok(url), Ok(token), false) = (url, token, command.is_empty()) else {
        eprintln!(
            "task-io: expected a command, and {URL} and {TOKEN} in the environment; the frameworks start this, people do not"
        );
        return USAGE;
    };
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("task-io: the token can't be hidden from the command: {error}");
        return FETCH_FAILED;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(&BlobClient::new(&url, &token), &command, Path::new("."))),
        Err(error) => {
            eprintln!("task-io: {error}");
            FETCH_FAILED
        }
    }
}

/// What went wrong around the command.
#[derive(Debug, thiserror::Error)]
enum IoError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Manifest(#[from] super::ManifestError),
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("output {name}: expected {expected} at {paths}, found {found}")]
    Files { name: String, expected: &'static str, paths: String, found: usize },
}

pub(super) async fn run(client: &BlobClient, command: &[OsString], dir: &Path) -> i32 {
    let manifest = match bring_in(client, dir).await {
        Ok(manifest) => manifest,
        Err(error) => {
            eprintln!("task-io: the inputs could not be fetched: {error}");
            return FETCH_FAILED;
        }
    };
    let ended = match execute(command, dir).await {
        Ok(ended) => ended,
        Err(error) => {
            eprintln!("task-io: {}: {error}", command[0].to_string_lossy());
            return FETCH_FAILED;
        }
    };
    let (code, told_to_end) = ended;
    if told_to_end {
        return code;
    }
    match take_out(client, &manifest, dir, code).await {
        Ok(()) => code,
        // The command's own failure is what people need to see.
        Err(error) if code != 0 => {
            eprintln!("task-io: the outputs could not be uploaded: {error}");
            code
        }
        Err(error) => {
            eprintln!("task-io: the outputs could not be uploaded: {error}");
            UPLOAD_FAILED
        }
    }
}

async fn bring_in(client: &BlobClient, dir: &Path) -> Result<Manifest, IoError> {
    let manifest = client.manifest().await?;
    manifest.check()?;
    for input in &manifest.inputs {
        let place = dir.join(&input.path);
        match input.unpack {
            Unpack::None => {
                std::fs::create_dir_all(place.parent().unwrap_or(dir))?;
                client.fetch(input.digest, &place).await?;
            }
            Unpack::Tar => {
                let archive = NamedTempFile::new()?;
                client.fetch(input.digest, archive.path()).await?;
                pack::unpack(archive.path(), &place, UNPACK_LIMIT)?;
            }
        }
    }
    for spec in manifest.outputs.iter().filter(|spec| spec.pack == Pack::File) {
        for path in spec.paths.iter().filter(|path| !path.contains(['*', '?', '[', '{'])) {
            std::fs::create_dir_all(dir.join(path).parent().unwrap_or(dir))?;
        }
    }
    Ok(manifest)
}

/// Runs the command to its end. Returns its exit code, and whether it had been told to end.
async fn execute(command: &[OsString], dir: &Path) -> std::io::Result<(i32, bool)> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut child =
        Command::new(&command[0]).args(&command[1..]).current_dir(dir).env_remove(URL).env_remove(TOKEN).spawn()?;
    let mut told = false;
    loop {
        tokio::select! {
            status = child.wait() => return Ok((exit_code(status?), told)),
            _ = terminate.recv() => forward(&child, Signal::TERM),
            _ = interrupt.recv() => forward(&child, Signal::INT),
        }
        told = true;
    }
}

fn forward(child: &Child, signal: Signal) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
    // It may have ended meanwhile; then wait() says so next.
    if let Err(error) = kill_process(pid, signal) {
        tracing::debug!(%error, "the command had ended before the signal");
    }
}

/// As shells have it: a death by signal n is 128 + n.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

async fn take_out(client: &BlobClient, manifest: &Manifest, dir: &Path, code: i32) -> Result<(), IoError> {
    let mut outputs = Vec::new();
    for spec in manifest.outputs.iter().filter(|spec| spec.upload.applies(code)) {
        outputs.extend(upload(client, spec, dir).await?);
    }
    Ok(client.report(&outputs).await?)
}

async fn upload(client: &BlobClient, spec: &OutputSpec, dir: &Path) -> Result<Option<Output>, IoError> {
    let files = pack::select(dir, spec)?;
    let wrong = |expected| IoError::Files {
        name: spec.name.clone(),
        expected,
        paths: spec.paths.join(" "),
        found: files.len(),
    };
    if files.is_empty() {
        return if spec.required { Err(wrong("a file")) } else { Ok(None) };
    }
    let (digest, bytes) = match (spec.pack, files.as_slice()) {
        (Pack::File, [file]) => send(client, &dir.join(file)).await?,
        (Pack::File, _) => return Err(wrong("one file")),
        (Pack::Tar, files) => {
            let archive = NamedTempFile::new()?;
            pack::pack(dir, files, archive.as_file())?;
            send(client, archive.path()).await?
        }
    };
    Ok(Some(Output { name: spec.name.clone(), digest, bytes, pack: spec.pack }))
}

async fn send(client: &BlobClient, path: &Path) -> Result<(Digest, u64), IoError> {
    let (digest, bytes) = Digest::of_reader(std::fs::File::open(path)?)?;
    client.put(digest, path).await?;
    Ok((digest, bytes))
}
