//! The framework's side of the market.
//!
//! A framework author writes a policy, which is a [`Scheduler`]; the [`Driver`] around it does what every framework needs:
//! subscription, acknowledgement, the offer book, reconciliation, retries. Both are pure; the SDK runs them against a master, the
//! simulator in virtual time.

#[cfg(any(test, feature = "testing"))]
pub mod bench;
mod driver;
mod out;
pub mod placement;

pub use driver::{
    Driver, DriverConfig, DriverEffect, DriverInput, DriverRecord, DriverStats, Durability, Ending, SavedError,
};
pub use out::{Out, Wish};

use std::sync::Arc;
use std::time::Duration;

use crate::model::{AgentId, ExecutorId, FrameworkId, OfferId, PriceChange, Reject, Status, TaskId, Term, Time};

/// A framework's policy: what to run where, and what to do when something happens.
///
/// It is told the time and one event, and says what it wants through `out`. It must be deterministic: no clock, no I/O, no randomness
/// that does not come in with an event.
pub trait Scheduler {
    /// What its users ask of it.
    type Command;
    /// What it does to the outside besides calls to the master: print a line, switch a load balancer, set a commit's status.
    type Effect;

    /// One thing has happened.
    fn on_event(&mut self, now: Time, event: Happening<Self::Command>, out: &mut Out<Self::Effect>);

    /// When it wants a [`Happening::Tick`] at the latest; none if it waits for nothing.
    fn next_deadline(&self) -> Option<Time> {
        None
    }
}

/// What happens to a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening<C> {
    /// The framework is subscribed, for the first time or again. Unanswered launches are sent again and the states of live tasks are
    /// asked for by the driver.
    Subscribed {
        /// Under this id, which stays.
        framework: FrameworkId,
        /// In this term of the master.
        term: Term,
    },
    /// The connection to the master is lost; offers are void; tasks run on.
    Disconnected,
    /// New offers are in the book, [`Out::offers`].
    Offers,
    /// These offers have left the book.
    Rescinded(Vec<OfferId>),
    /// A task's state changed. Each update comes once; what the policy saves in answer is durable before it is acknowledged.
    Update(Status),
    /// These tasks were not launched; no update will come for them. Where the reject is transient, launching them anew, under new
    /// ids, is likely to work.
    Rejected {
        /// Which tasks; empty if the call was not a launch.
        tasks: Vec<TaskId>,
        /// Why.
        reject: Reject,
    },
    /// An agent is gone for good.
    AgentLost(AgentId),
    /// An agent will be taken away: nothing that would outlast it is offered there, tasks are told to end before, with
    /// [`Reason::AgentLeaving`](crate::model::Reason::AgentLeaving), and then it is lost. Or it stays after all.
    AgentLeaves {
        /// Which.
        agent: AgentId,
        /// Its name.
        name: Arc<str>,
        /// After how long; none if it stays.
        after: Option<Duration>,
    },
    /// What machines cost has changed; [`Out::prices`] has it all. After each subscription, all that is known.
    Prices(Vec<PriceChange>),
    /// Bytes from an executor.
    Message {
        /// Where it runs.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// A user's request.
    Command(C),
    /// The deadline that the policy asked for is here.
    Tick,
    /// The master ended the subscription for good, because of this.
    Refused(Reject),
}
