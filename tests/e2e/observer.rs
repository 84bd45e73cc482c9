//! What tasks tell the test by other ways than Rialto's: files in a folder of the test's.

use std::path::{Path, PathBuf};

use crate::harness::{is_alive, wait_until};

/// A folder in which tasks sign in, and wait to be let go.
#[derive(Debug)]
pub(crate) struct Observer {
    folder: PathBuf,
}

/// A process that signed in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Signed {
    /// The task that it says it is.
    pub(crate) task: String,
    /// Its process id.
    pub(crate) pid: u32,
}

impl Observer {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A shell command that signs in, and ends with `code` once [`Self::let_go`] was called.
    pub(crate) fn command(&self, code: u8) -> String {
        let folder = text(&self.folder);
        // One short line appended is written whole, so that none is lost among many.
        format!(
            "echo \"$RIALTO_TASK_ID $$\" >> {folder}/signed; while [ ! -e {folder}/go ]; do sleep 0.2; done; \
             echo \"$RIALTO_TASK_ID $$\" >> {folder}/ended; exit {code}"
        )
    }

    /// Every process that ever signed in, sorted.
    pub(crate) fn signed(&self) -> Vec<Signed> {
        self.read("signed")
    }

    /// Every process that came to its end by itself, sorted.
    pub(crate) fn ended(&self) -> Vec<Signed> {
        self.read("ended")
    }

    /// Waits until so many have signed in.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Signed> {
        wait_until(&format!("{count} tasks have started"), || self.signed().len() >= count);
        self.signed()
    }

    /// Lets all end, those that come later too.
    pub(crate) fn let_go(&self) {
        std::fs::write(self.folder.join("go"), "").expect("it is ours");
    }

    /// All that signed in still run, and nobody else has signed in since.
    #[track_caller]
    pub(crate) fn assert_undisturbed(&self, before: &[Signed]) {
        assert_eq!(self.signed(), before, "a task was started anew");
        for one in before {
            assert!(is_alive(one.pid), "{} ({}) is gone", one.task, one.pid);
        }
    }

    fn read(&self, name: &str) -> Vec<Signed> {
        let all = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        let line = |line: &str| {
            let (task, pid) = line.split_once(' ').expect("a task and a number");
            Signed { task: task.to_owned(), pid: pid.parse().expect("a number") }
        };
        let mut signed: Vec<Signed> = all.lines().map(line).collect();
        signed.sort();
        signed
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
