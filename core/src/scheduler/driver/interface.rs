//! What goes into a driver and what comes out of it.

use crate::model::{Call, ClientId, Event, FrameworkInfo, Reject};

/// What a driver is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// What the framework says of itself.
    pub info: FrameworkInfo,
    /// Drawn by the shell at random; used in the framework's first life, and kept.
    pub client: ClientId,
    /// Whether the framework is to survive its own crash.
    pub durability: Durability,
}

/// Whether a framework survives its own crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The framework's id and its live tasks are saved before they are visible; its next life takes them over.
    #[default]
    Saved,
    /// The driver saves nothing. For frameworks whose tasks shall not outlive them.
    Volatile,
}

/// What happens to a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverInput<C> {
    /// There is a new connection to the master. The driver counts them from 1.
    Connected,
    /// That connection is lost.
    Disconnected,
    /// The master says something on the present connection.
    FromMaster(Event),
    /// A user's request to the policy.
    Command(C),
    /// A deadline has come.
    Tick,
}

/// What a driver does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverEffect<E> {
    /// Tell the master, on that connection: the n-th [`DriverInput::Connected`]. To be dropped if there is another one by now; the
    /// driver says it again where that matters.
    ToMaster {
        /// Which connection.
        connection: u64,
        /// What to say.
        call: Call,
    },
    /// What the policy does to the outside.
    App(E),
    /// The framework is no more; nothing follows. The shell closes the connection.
    Ended(Ending),
}

/// How a subscription ended for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The policy asked for it, and the master has removed the framework.
    TornDown,
    /// The master refuses the framework.
    Refused(Reject),
}

/// What must be durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverRecord {
    /// Keep this under that key, or forget the key.
    Save {
        /// The key; the driver's own begin with `driver/`.
        key: String,
        /// The bytes; none forgets the key.
        value: Option<Vec<u8>>,
    },
}

/// What a driver has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// Subscriptions that the master confirmed.
    pub subscriptions: u64,
    /// Offers that came in.
    pub offers: u64,
    /// Accepts that were made.
    pub accepts: u64,
    /// Gangs that were accepted.
    pub gangs: u64,
    /// Tasks that were launched.
    pub launches: u64,
    /// Tasks whose launch was refused.
    pub rejected: u64,
    /// Updates handed to the policy.
    pub updates: u64,
    /// Updates that were known or overtaken, and only acknowledged.
    pub old_updates: u64,
    /// Running tasks that nobody waited for, and that were killed.
    pub orphans: u64,
    /// Messages to executors that were dropped for want of a connection.
    pub messages_dropped: u64,
}
