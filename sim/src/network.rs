//! The virtual network: connections that agents and frameworks open to a master.
//!
//! Each direction of a connection is a stream: ordered, delayed, and without holes. A stream that loses something loses all that
//! follows, and both ends find out after a while, each on its own. Between connections nothing is ordered, so the last words of an old
//! connection may arrive after the first ones of its successor.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rialto_core::model::{Call, Event, FromAgent, Term, Time, ToAgent};

use crate::dice::Dice;
use crate::trace::Short;

/// Names a connection, and is its peer id at the master.
pub(crate) type ConnId = u64;
/// One life of a node: each start is a new one.
pub(crate) type Life = u64;

/// Who opens connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dialer {
    Agent(usize),
    Framework(usize),
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(at) => write!(f, "a{}", at + 1),
            Self::Framework(at) => write!(f, "f{}", at + 1),
        }
    }
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// To the master.
    Up,
    /// From the master.
    Down,
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    FromAgent(FromAgent),
    Call(Call),
    ToAgent(Term, ToAgent),
    Event(Event),
    /// The other end has closed the connection.
    End,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromAgent(message) => write!(f, "{}", Short(message)),
            Self::Call(call) => write!(f, "{}", Short(call)),
            Self::ToAgent(_, message) => write!(f, "{}", Short(message)),
            Self::Event(event) => write!(f, "{}", Short(event)),
            Self::End => write!(f, "end"),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) dialer: Dialer,
    pub(crate) dialer_life: Life,
    pub(crate) master: Life,
    pub(crate) dialer_open: bool,
    pub(crate) master_open: bool,
    /// Whether the master has heard of it.
    pub(crate) heard: bool,
    up: Stream,
    down: Stream,
}

#[derive(Debug, Default)]
struct Stream {
    last: Time,
    cut: bool,
}

/// All connections, and who can't be reached now.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    blocked: BTreeMap<(Dialer, Way), Time>,
    latency: (Duration, Duration),
    spikes: (u64, Duration),
    last: ConnId,
    pub(crate) dice: Dice,
}

impl Network {
    pub(crate) fn new(dice: Dice, latency: (Duration, Duration), spikes: (u64, Duration)) -> Self {
        Self { conns: BTreeMap::new(), blocked: BTreeMap::new(), latency, spikes, last: 0, dice }
    }

    /// A new connection; none if the master can't be reached.
    pub(crate) fn dial(&mut self, now: Time, dialer: Dialer, dialer_life: Life, master: Life) -> Option<ConnId> {
        if self.is_blocked(now, dialer, Way::Up) || self.is_blocked(now, dialer, Way::Down) {
            return None;
        }
        self.last += 1;
        let (up, down) = (Stream::default(), Stream::default());
        let conn = Conn { dialer, dialer_life, master, dialer_open: true, master_open: true, heard: false, up, down };
        self.conns.insert(self.last, conn);
        Some(self.last)
    }

    /// The dialer has given the connection up. What has not arrived by then may be lost, or arrive late: after the first words of its
    /// successor.
    pub(crate) fn give_up(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|conn| !conn.heard) && self.dice.chance(500) {
            self.cut(id, Way::Up);
        }
    }

    /// When what is sent now arrives; none if it is lost.
    pub(crate) fn send(&mut self, now: Time, id: ConnId, way: Way) -> Option<Time> {
        let latency = self.latency();
        let conn = self.conns.get_mut(&id)?;
        let stream = match way {
            Way::Up => &mut conn.up,
            Way::Down => &mut conn.down,
        };
        if stream.cut {
            return None;
        }
        let free = self.blocked.get(&(conn.dialer, way)).copied().unwrap_or(now);
        stream.last = stream.last.max(now.max(free) + latency);
        Some(stream.last)
    }

    /// Whether what arrives now is lost after all.
    pub(crate) fn is_cut(&self, id: ConnId, way: Way) -> bool {
        self.conns.get(&id).is_none_or(|conn| match way {
            Way::Up => conn.up.cut,
            Way::Down => conn.down.cut,
        })
    }

    /// Loses what is on its way, and all that follows.
    pub(crate) fn cut(&mut self, id: ConnId, way: Way) {
        if let Some(conn) = self.conns.get_mut(&id) {
            match way {
                Way::Up => conn.up.cut = true,
                Way::Down => conn.down.cut = true,
            }
        }
    }

    /// Nothing gets through between that node and any master until then.
    pub(crate) fn block(&mut self, dialer: Dialer, way: Way, until: Time) {
        let end = self.blocked.entry((dialer, way)).or_default();
        *end = until.max(*end);
    }

    pub(crate) fn heal(&mut self) {
        self.blocked.clear();
        self.spikes.0 = 0;
    }

    /// The connections of a node whose streams may still be of use.
    pub(crate) fn of(&self, dialer: Dialer) -> Vec<ConnId> {
        let its = self.conns.iter().filter(|(_, conn)| conn.dialer == dialer);
        its.map(|(id, _)| *id).collect()
    }

    /// Forgets the connection once both ends have.
    pub(crate) fn tidy(&mut self, id: ConnId) {
        if self.conns.get(&id).is_some_and(|conn| !conn.dialer_open && !conn.master_open) {
            self.conns.remove(&id);
        }
    }

    pub(crate) fn latency(&mut self) -> Duration {
        if self.dice.chance(self.spikes.0) {
            return self.dice.duration((self.latency.1, self.spikes.1.max(self.latency.1)));
        }
        self.dice.duration(self.latency)
    }

    fn is_blocked(&self, now: Time, dialer: Dialer, way: Way) -> bool {
        self.blocked.get(&(dialer, way)).is_some_and(|until| *until > now)
    }
}
