//! What may go wrong.

/// A kind of fault; where and for how long is drawn when it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The leading master crashes and another starts.
    CrashMaster,
    /// Another master is elected while the old one still runs.
    ReplaceMaster,
    /// An agent crashes; its machine and the processes on it live on.
    CrashAgent,
    /// A machine is started anew: its processes are gone.
    RebootMachine,
    /// An agent comes back with fewer or more resources.
    ResizeMachine,
    /// A framework crashes.
    CrashFramework,
    /// A connection is reset; what is on its way is lost.
    ResetConnection,
    /// A node can't be reached for a while, in one direction or both.
    Partition,
    /// An agent's journal can't be written for a while.
    FailDisk,
    /// A device's source says that it is unhealthy, or not there, for a while.
    FailDevice,
    /// A device's source can't make up its mind for a while.
    FlapDevice,
    /// An operator has seen to a device that is quarantined.
    ClearDevice,
    /// Somebody kills a task.
    KillTask,
    /// An operator declares an agent gone.
    LoseAgent,
    /// An operator removes a framework.
    RemoveFramework,
    /// A framework never comes back.
    AbandonFramework,
    /// An operator changes a weight.
    SetWeight,
    /// An operator sets a quota, or takes it back.
    SetQuota,
    /// An operator makes or takes back a reservation or a volume.
    Reserve,
    /// An operator says that an agent will be taken away soon, or that it stays after all.
    AnnounceAgent,
    /// A feed tells what machines cost.
    SetPrices,
}

impl Fault {
    pub(crate) const ALL: [Self; 21] = [
        Self::CrashMaster,
        Self::ReplaceMaster,
        Self::CrashAgent,
        Self::RebootMachine,
        Self::ResizeMachine,
        Self::CrashFramework,
        Self::ResetConnection,
        Self::Partition,
        Self::FailDisk,
        Self::FailDevice,
        Self::FlapDevice,
        Self::ClearDevice,
        Self::KillTask,
        Self::LoseAgent,
        Self::RemoveFramework,
        Self::AbandonFramework,
        Self::SetWeight,
        Self::SetQuota,
        Self::Reserve,
        Self::AnnounceAgent,
        Self::SetPrices,
    ];

    /// Those that came later: drawn apart, so that the runs of seeds without them stay what they were.
    const LATER: [Self; 2] = [Self::AnnounceAgent, Self::SetPrices];

    pub(crate) fn is_later(self) -> bool {
        Self::LATER.contains(&self)
    }

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CrashMaster => "crash-master",
            Self::ReplaceMaster => "replace-master",
            Self::CrashAgent => "crash-agent",
            Self::RebootMachine => "reboot-machine",
            Self::ResizeMachine => "resize-machine",
            Self::CrashFramework => "crash-framework",
            Self::ResetConnection => "reset-connection",
            Self::Partition => "partition",
            Self::FailDisk => "fail-disk",
            Self::FailDevice => "fail-device",
            Self::FlapDevice => "flap-device",
            Self::ClearDevice => "clear-device",
            Self::KillTask => "kill-task",
            Self::LoseAgent => "lose-agent",
            Self::RemoveFramework => "remove-framework",
            Self::AbandonFramework => "abandon-framework",
            Self::SetWeight => "set-weight",
            Self::SetQuota => "set-quota",
            Self::Reserve => "reserve",
            Self::AnnounceAgent => "announce-agent",
            Self::SetPrices => "set-prices",
        }
    }
}
