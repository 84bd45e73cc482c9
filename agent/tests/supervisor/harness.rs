//! A supervisor in a temporary directory, and what it says.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use rialto_agent::supervisor::client::{self, PidNamespace, Spawned};
use rialto_agent::supervisor::protocol::{
    Command, CommandLine, Durability, Frame, LogLimits, Spec, Stdio as TaskStdio, TaskEnd, TaskSpec, TaskState,
    Terminal, VERSION,
};
use rialto_agent::supervisor::{FrameDecoder, encode_command};
use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The example that is nothing but a supervisor. Cargo builds it with all tests of the package, but not with a selection of them.
pub(crate) fn exe() -> PathBuf {
    static BUILD: Once = Once::new();
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.parent().and_then(Path::parent).expect("tests are in target/PROFILE/deps");
    let exe = target.join("examples/supervise");
    BUILD.call_once(|| {
        if is_stale(&exe) {
            let mut build = std::process::Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--example", "supervise"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            assert!(build.status().expect("cargo runs").success(), "the example builds");
        }
    });
    exe
}

fn is_stale(exe: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/supervisor");
    let sources = fs::read_dir(sources).expect("the sources").flatten();
    sources.map(|entry| modified(&entry.path())).max().flatten() > modified(exe)
}

/// A supervised group.
pub(crate) struct Run {
    pub(crate) home: TempDir,
    pub(crate) dir: PathBuf,
    pub(crate) spawned: Spawned,
    pub(crate) peer: Peer,
}

/// A directory with a sandbox in it.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(home.path().join("sandbox")).expect("a sandbox");
    home
}

/// A member that runs a shell script.
pub(crate) fn shell(home: &TempDir, name: &str, script: &str) -> TaskSpec {
    TaskSpec {
        name: name.to_owned(),
        command: CommandLine::Shell(script.to_owned()),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        sandbox: home.path().join("sandbox"),
        grace_ms: 10_000,
        max_run_ms: None,
        logs: LogLimits { file_bytes: 1 << 20, keep: 2 },
        user: None,
        cgroup: None,
        devices: Vec::new(),
        edits: Default::default(),
        working_dir: None,
        rlimits: Vec::new(),
        check: None,
        users: None,
        stdio: TaskStdio::Output,
    }
}

impl Run {
    /// One member that runs a shell script.
    pub(crate) fn script(script: &str) -> Self {
        let home = home();
        let task = shell(&home, "main", script);
        Self::start(home, vec![task])
    }

    pub(crate) fn start(home: TempDir, tasks: Vec<TaskSpec>) -> Self {
        Self::of(home, &Spec { version: VERSION, durability: Durability::PowerLoss, container: None, tasks })
    }

    pub(crate) fn of(home: TempDir, spec: &Spec) -> Self {
        Self::from(home, spec, |dir| client::spawn(&exe(), dir, PidNamespace::of(spec)))
    }

    pub(crate) fn from(
        home: TempDir,
        spec: &Spec,
        spawn: impl FnOnce(&Path) -> Result<Spawned, client::ClientError>,
    ) -> Self {
        let dir = home.path().join("supervisor");
        client::prepare(&dir, spec).expect("a valid spec");
        let spawned = spawn(&dir).expect("the example is built with the tests");
        let peer = Peer::new(spawned.stream.try_clone().expect("a descriptor"));
        Self { home, dir, spawned, peer }
    }

    pub(crate) fn sandbox(&self, file: &str) -> PathBuf {
        self.home.path().join("sandbox").join(file)
    }

    /// The main process of a member, once it runs.
    pub(crate) fn running(&mut self, name: &str) -> i32 {
        self.peer.state(name, |state| if let TaskState::Running { pid, .. } = state { Some(*pid) } else { None })
    }

    /// Waits for the end of the stream; the record is what the last frame said.
    pub(crate) fn finish(&mut self) -> Terminal {
        let told =
            self.peer.find(|frame| if let Frame::Finished(terminal) = frame { Some(terminal.clone()) } else { None });
        assert!(self.peer.next().is_none(), "nothing follows the end");
        let status = self.spawned.child.wait().expect("the supervisor is a child");
        assert!(status.success(), "{status}: {}", client::log(&self.dir));
        assert_eq!(client::log(&self.dir), "");
        assert_eq!(client::terminal(&self.dir).expect("a readable record").as_ref(), Some(&told));
        told
    }

    /// The end of the only member.
    pub(crate) fn end(&mut self) -> TaskEnd {
        let [task] = <[_; 1]>::try_from(self.finish().tasks).expect("one member");
        task.end
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.spawned.child.try_wait().ok().flatten().is_none() {
            self.peer.send(&Command::Kill { task: None, grace_ms: Some(0) });
            self.spawned.child.wait().ok();
        }
    }
}

/// A connection to a supervisor.
pub(crate) struct Peer {
    stream: UnixStream,
    decoder: FrameDecoder,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, decoder: FrameDecoder::default() }
    }

    pub(crate) fn connect(dir: &Path) -> Self {
        Self::new(client::connect_beside(dir).expect("a listening supervisor"))
    }

    pub(crate) fn send(&mut self, command: &Command) {
        self.send_bytes(&encode_command(command));
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        // A supervisor that has just ended is no failure of the sender's.
        self.stream.write_all(bytes).ok();
    }

    /// The next frame, or `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_message().expect("valid frames") {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // It ended before it had read all that was said to it.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("a frame in time: {error}"),
            }
        }
    }

    /// Skips to the frame that is looked for.
    pub(crate) fn find<T>(&mut self, mut wanted: impl FnMut(&Frame) -> Option<T>) -> T {
        loop {
            let frame = self.next().expect("the frame comes before the end of the stream");
            if let Some(found) = wanted(&frame) {
                return found;
            }
        }
    }

    /// Skips to a state of a member.
    pub(crate) fn state<T>(&mut self, name: &str, mut wanted: impl FnMut(&TaskState) -> Option<T>) -> T {
        self.find(|frame| match frame {
            Frame::Task(task) if task.name == name => wanted(&task.state),
            Frame::Snapshot(snapshot) => {
                snapshot.tasks.iter().filter(|task| task.name == name).find_map(|task| wanted(&task.state))
            }
            Frame::Refused { reason } => panic!("refused: {reason}"),
            _ => None,
        })
    }
}

/// Whether a process exists, zombies included.
pub(crate) fn exists(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).expect("a pid")).is_ok()
}

/// The content of a file that another process is about to write, complete with its line end.
pub(crate) fn line(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(line) if line.ends_with('\n') => return line.trim().to_owned(),
            _ => assert!(Instant::now() < deadline, "{} is written in time", path.display()),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process id that a task wrote into a file.
pub(crate) fn pid_in(path: &Path) -> i32 {
    line(path).parse().expect("a pid")
}
