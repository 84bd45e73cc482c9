use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::from_digits;

#[cfg(test)]
mod tests;

/// The master's start number. Every start of a master is a new term; the registry and the agents refuse an older one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// Why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty.
    #[error("expected a name, got an empty text")]
    Empty,
    /// Longer than [`TaskId::MAX_LEN`] bytes.
    #[error("expected at most {max} bytes, got {0}", max = TaskId::MAX_LEN)]
    TooLong(usize),
    /// Holds a slash, a control character or white space, or is `.` or `..`: ids become file names.
    #[error("expected no white space, control character or '/', and neither '.' nor '..', got {0:?}")]
    BadCharacter(String),
    /// Not of the form that the master gives out.
    #[error("expected an id such as {expected}, got {got:?}")]
    NotAnId {
        /// An example of the form.
        expected: &'static str,
        /// What was given.
        got: String,
    },
}

macro_rules! counter_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The term in which the master gave this id out.
            pub term: Term,
            /// A counter within the term, from 1.
            pub seq: u64,
        }

        impl $name {
            /// The id number `seq` of `term`.
            pub const fn new(term: Term, seq: u64) -> Self {
                Self { term, seq }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!(concat!($letter, "{}-{}"), self.term.0, self.seq))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bad = || IdError::NotAnId { expected: $example, got: text.to_owned() };
                let (term, seq) = text.strip_prefix($letter).and_then(|rest| rest.split_once('-')).ok_or_else(bad)?;
                let number = |part: &str| from_digits::<u64>(part).ok_or_else(bad);
                Ok(Self { term: Term(number(term)?), seq: number(seq)? })
            }
        }
    };
}

counter_id!(
    /// An agent, for as long as its work directory lives: it survives restart and reboot.
    AgentId, "A", "A1-3"
);
counter_id!(
    /// A framework, for as long as it re-subscribes within its failover timeout.
    FrameworkId, "F", "F1-3"
);
counter_id!(
    /// One offer. Never used twice, also across a failover.
    OfferId, "O", "O1-3"
);
counter_id!(
    /// A gang: task groups on several agents that start together or not at all.
    GangId, "G", "G1-3"
);
counter_id!(
    /// A change of an agent's reservations or volumes. Later ones of the same agent are larger, also across a failover.
    OperationId, "X", "X1-3"
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $number);
    };
}

number_id!(
    /// One connection to the master's shell; a new connection is a new peer.
    PeerId(u64)
);
number_id!(
    /// One operator request that waits for its reply.
    RequestId(u64)
);
number_id!(
    /// A framework's own number for a call, echoed in the [`Outcome`](super::Outcome).
    CallId(u64)
);
number_id!(
    /// A random number that a client draws once, so that a repeated first registration is recognised as the same.
    ClientId(u128)
);
number_id!(
    /// The cluster, drawn when its registry was made. An agent or framework of another cluster is refused.
    ClusterId(u128)
);
number_id!(
    /// One status update; an acknowledgement names it.
    UpdateId(u128)
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The longest that is accepted, in bytes.
            pub const MAX_LEN: usize = 200;

            /// Checks and takes `text`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_name(text).map(|()| Self(Arc::from(text)))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

text_id!(
    /// A framework's name for one run of a task. A framework never uses one twice: a retry is a new task.
    TaskId
);
text_id!(
    /// A framework's name for one of its executors on an agent.
    ExecutorId
);
text_id!(
    /// A persistent volume's name among those of its role on its agent; it names a directory there.
    VolumeId
);

fn check_name(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > TaskId::MAX_LEN {
        return Err(IdError::TooLong(text.len()));
    }
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == '/';
    if text == "." || text == ".." || text.contains(bad) {
        return Err(IdError::BadCharacter(text.to_owned()));
    }
    Ok(())
}

/// A task in the whole cluster: frameworks name their tasks, each in a name space of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Whose task.
    pub framework: FrameworkId,
    /// Its name there.
    pub task: TaskId,
}

impl TaskKey {
    /// `task` of `framework`.
    pub const fn new(framework: FrameworkId, task: TaskId) -> Self {
        Self { framework, task }
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

/// Who speaks, as authenticated by the shell. What a principal may do is decided by policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    /// The principal called `name`.
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
