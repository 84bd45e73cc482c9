//! The process that supervises one task group: `rialto supervise DIR`.
//!
//! The agent may be killed, upgraded and restarted at any time; this process stays. It is small on purpose (one thread, one `poll` loop,
//! no runtime) because there is one for each task group, and it is taken first in `main`, before anything large is set up.
//!
//! # Life of a group
//!
//! 1. The agent writes `DIR/spec.json` and spawns `rialto supervise DIR` ([`client`]), as a copy of a process that has linked and prepared
//!    all that is the same for every supervisor (`zygote`), else by executing it. It is given one end of a socket pair.
//! 2. The supervisor leaves the agent's session, becomes a child subreaper, claims `DIR` by linking `DIR/pid` (a second supervisor of
//!    the same `DIR` refuses to run), and starts each command in a process group of its own, with exactly the environment of the spec,
//!    standard input from `/dev/null`, and both outputs in pipes that it copies into rotated files in the sandbox.
//! 3. It reaps everything. When the main process of a task has ended, what is left of the task gets SIGTERM and, after the grace period,
//!    SIGKILL. A task is reported as ended only when none of its processes lives.
//! 4. Members of a group live and die together: when one fails or is killed, the others are killed after their grace period.
//! 5. When all have ended it adds that to the record (and an fsync, where the spec asks for it), tells whoever is connected, and exits. The
//!    agent reads the record if it was not there to hear.
//!
//! # Files in `DIR`
//!
//! | file | what |
//! |---|---|
//! | `spec.json` | [`Spec`](protocol::Spec), written by the agent, mode 0600 |
//! | `pid` | the record, lines of JSON that are only added to: first [`Identity`](protocol::Identity) (pid, start time and boot id, so that a recycled pid is never mistaken for this one), then each change of a member, at last [`Terminal`](protocol::Terminal). A line without its end was never written |
//! | `sock` | Unix stream socket, mode 0600, where others than the first connect; made 200 ms after the start, or when nobody is connected |
//! | `supervisor.log` | what went wrong inside the supervisor, at most 64 KiB; made when something does |
//!
//! # The socket
//!
//! Each frame is one line of JSON ([`protocol::Frame`] from the supervisor, [`protocol::Command`] to it). After connecting, the first
//! frame is a snapshot with the protocol's version; then one frame for each change. The connection can be lost and made again at any time;
//! up to four are served. A peer that does not read is disconnected and learns the rest from its next snapshot or from the record.
//!
//! # Nested processes
//!
//! A connection can ask for a process beside a member's own ([`protocol::Command::Exec`]): it runs as the member runs, in a session of its
//! own, and its terminal or pipes are handed over to the asker, so that what is typed and written does not go through this process. The
//! connection then belongs to it: when it is closed the session is killed. A member with a terminal or pipe of its own is given a reader's
//! input in the same way ([`protocol::Command::Input`]).
//!
//! # What a process can and cannot escape
//!
//! A subreaper inherits every orphan below it, so daemons that fork twice and call `setsid` are found and ended too. In a group of
//! several tasks such an orphan cannot be told apart by owner once its ancestors are gone; while one lives, no member is reported as
//! ended before the whole group is. Without a cgroup or a PID namespace, processes outlive the group only if the supervisor itself is
//! killed with SIGKILL: the kernel then kills the main processes, but not their descendants.
//!
//! With a [`Container`](protocol::Container) in the spec, the supervisor is spawned as the first process of a PID namespace and makes the
//! rest of it (`contain`) between the claim and the first command: a cgroup for each member, and mount, IPC and UTS namespaces for the
//! group. What belongs to whom is then known by cgroup; SIGKILL goes to whole cgroups; and when the supervisor dies, the kernel ends
//! everything in the namespace. The cgroups are removed after the end was told, or by the agent. The folder for `/tmp` is in `DIR`.

pub mod client;
pub mod edits;
pub mod protocol;

pub(crate) mod asker;
mod child;
mod codec;
mod contain;
mod exec;
mod fork;
mod group;
mod hooks;
mod logs;
mod nested;
mod probe;
mod procfs;
mod run;
mod runtime;
mod server;
mod spawn;
mod spawner;
mod stdio;
mod store;
mod sys;
mod zygote;

pub use child::Child;
pub use codec::{DecodeError, FrameDecoder, encode_command};
pub(crate) use contain::probe as probe_namespaces;
pub(crate) use probe::{ask as probe_user_namespaces, ask_of as probe_files};
pub use run::main;
pub(crate) use spawn::{owner, owner_within};
pub use spawner::Spawner;
pub(crate) use stdio::resize;
pub(crate) use sys::make_network_namespace;
