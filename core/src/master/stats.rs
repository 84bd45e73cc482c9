/// What a master has counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Steps.
    pub steps: u64,
    /// Rounds of offers.
    pub rounds: u64,
    /// Offers made.
    pub offers_made: u64,
    /// Offers that a framework accepted.
    pub offers_accepted: u64,
    /// Offers that a framework declined.
    pub offers_declined: u64,
    /// Offers that were taken back or replaced.
    pub offers_rescinded: u64,
    /// Exclusive offers that expired.
    pub offers_expired: u64,
    /// Tasks launched.
    pub tasks_launched: u64,
    /// Launches that were refused.
    pub launches_refused: u64,
    /// Of them, those that were refused because others were faster.
    pub offer_conflicts: u64,
    /// Status updates received from agents.
    pub updates_received: u64,
    /// Status updates sent to frameworks.
    pub updates_sent: u64,
    /// Acknowledgements received from frameworks.
    pub acknowledgements: u64,
    /// Tasks that ended in `TASK_FINISHED`.
    pub tasks_finished: u64,
    /// Tasks that ended otherwise.
    pub tasks_failed: u64,
    /// Commands of operators.
    pub operator_commands: u64,
    /// Operations on reservations and volumes that were begun.
    pub operations: u64,
    /// Of them, those that their agents have confirmed.
    pub operations_done: u64,
    /// Of them, those that their agents have refused, or that did not fit any more when they came back.
    pub operations_refused: u64,
    /// Demands that something was ended for.
    pub preemptions: u64,
    /// Tasks that were ended for them.
    pub tasks_preempted: u64,
    /// Agents that were looked at for room, or for what may be ended.
    pub preemption_looks: u64,
    /// Nominations that were not used in time.
    pub nominations_expired: u64,
    /// Agents that were declared unreachable.
    pub agents_unreachable: u64,
    /// Gangs that agents were asked to hold.
    pub gangs_held: u64,
    /// Gangs that all agents held, and that were started.
    pub gangs_started: u64,
    /// Gangs that were refused before anything of them was started.
    pub gangs_refused: u64,
    /// Gangs that were killed because a member did not start.
    pub gangs_aborted: u64,
    /// Prices that became others.
    pub price_changes: u64,
}
