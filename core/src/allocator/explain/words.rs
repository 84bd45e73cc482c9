//! Reasons as short sentences.

use std::time::Duration;

use super::{Cause, CauseKind, ClauseKind, DeviceNote, Standing};
use crate::model::Milli;

impl Cause {
    /// The reason as a sentence, with how many of `agents` it holds for: `17 of 20 agents: cpus short by 2 at least (a3)`.
    pub fn sentence(&self, clause: &ClauseKind, agents: usize) -> String {
        if !self.kind.is_about_agents() {
            return self.words(clause);
        }
        let noun = if agents == 1 { "agent" } else { "agents" };
        format!("{} of {agents} {noun}: {}", self.agents, self.words(clause))
    }

    /// The reason alone.
    #[expect(clippy::too_many_lines, reason = "one flat match, a sentence for each reason")]
    pub fn words(&self, clause: &ClauseKind) -> String {
        let what = match clause {
            ClauseKind::Amount { resource } => resource.to_string(),
            ClauseKind::Claim { text, .. } => format!("device {text}"),
            ClauseKind::Volumes => "volume".to_owned(),
            _ => "devices".to_owned(),
        };
        let by = |short: Milli, how: &str| {
            let least = if self.agents > 1 { " at least" } else { "" };
            format!("{what} short by {short}{least}{how}{}", self.at_nearest())
        };
        match &self.kind {
            CauseKind::TooSmall { short } => by(*short, ", even when empty"),
            CauseKind::Reserved { short } => by(*short, "; the rest is reserved for other roles"),
            CauseKind::KeptForDevices { short } => by(*short, "; the rest is kept for tasks with devices"),
            CauseKind::OverQuota { role, resource, limit, held, over } => {
                format!(
                    "over the limit of role {role}: {held} of {limit} {resource} are taken, one more is {over} too much"
                )
            }
            CauseKind::HeldForOthers => "it fits, but is held for those who have a right to it first".to_owned(),
            CauseKind::VolumeElsewhere => "its volume is not there".to_owned(),
            CauseKind::VolumeInUse => "its volume is in use".to_owned(),
            CauseKind::NotEnoughFree { short } => by(*short, ""),
            CauseKind::Locked { frameworks } => {
                let names: Vec<String> = frameworks.iter().map(ToString::to_string).collect();
                let to = if names.is_empty() { "others".to_owned() } else { names.join(", ") };
                format!("{what} locked in offers to {to}")
            }
            CauseKind::NoSuchDevice { kind } => format!("no {kind} there"),
            CauseKind::NoDeviceMatches { nearest, .. } => {
                format!("no device is {}; closest: {nearest}{}", claim_text(clause), self.at_nearest())
            }
            CauseKind::TooFewDevices { there, wanted } => {
                let best = if self.agents > 1 { " at best" } else { "" };
                format!("{there} of {wanted} devices for {}{best}{}", claim_text(clause), self.at_nearest())
            }
            CauseKind::Topology { even_empty: false } => {
                format!("enough devices for {} are free, but not connected as asked", claim_text(clause))
            }
            CauseKind::Topology { even_empty: true } => {
                format!("enough devices for {}, but not connected as asked, even when all are free", claim_text(clause))
            }
            CauseKind::NotTogether => "each device can be had, but not all of them at once".to_owned(),
            CauseKind::DevicesHeld { devices } => format!("devices held: {}", notes(devices)),
            CauseKind::DevicesCleaning { devices } => format!("devices being cleaned: {}", notes(devices)),
            CauseKind::DevicesBroken { devices } => format!("devices out of order: {}", notes(devices)),
            CauseKind::FrameworkAway => "the framework is not connected".to_owned(),
            CauseKind::Suppressed => "the framework wants no offers for this role now".to_owned(),
            CauseKind::Offered => format!("on offer to the framework right now{}", self.at_nearest()),
            CauseKind::OthersFirst { others, smaller_share } => {
                let names: Vec<String> =
                    others.iter().map(|(framework, role)| format!("{framework} (role {role})")).collect();
                let share = match smaller_share {
                    0 => "",
                    _ => ", with a smaller share",
                };
                if names.is_empty() {
                    return "it fits; the next offer is due".to_owned();
                }
                format!("it fits, but others come first: {}{share}", names.join(", "))
            }
            CauseKind::OfferLimit { standing } => {
                format!("it fits, but the framework has {standing} offers already, as many as it may have at once")
            }
            CauseKind::ConstraintNotMet { unmet } => format!("not {unmet}{}", self.at_nearest()),
            CauseKind::OtherRegion { region } => {
                format!("in region {region}; the framework takes offers of the master's region only")
            }
            CauseKind::NotAdmitted { unmet } => {
                format!("kept out by the framework's offer constraints: not {unmet}{}", self.at_nearest())
            }
            CauseKind::BelowLeast { least } => {
                format!("less is free than the framework takes at least: {least}{}", self.at_nearest())
            }
            CauseKind::Filtered { left, reason } => {
                let why = reason.as_ref().map(|reason| format!("; it said: {reason}")).unwrap_or_default();
                format!("refused by the framework, for {} more at most{why}", span(*left))
            }
            CauseKind::AgentAway { standing: Standing::Degraded } => {
                "takes no work, because its journal can't be written".to_owned()
            }
            CauseKind::AgentAway { standing: Standing::Unreachable } => "unreachable".to_owned(),
            CauseKind::AgentAway { standing: Standing::Leaving } => {
                "to be taken away; only what declares that it ends before is begun there".to_owned()
            }
            CauseKind::AgentAway { .. } => "not connected".to_owned(),
        }
    }

    fn at_nearest(&self) -> String {
        self.nearest.as_ref().map(|agent| format!(" ({agent})")).unwrap_or_default()
    }
}

fn claim_text(clause: &ClauseKind) -> &str {
    match clause {
        ClauseKind::Claim { text, .. } => text,
        _ => "all claims",
    }
}

fn notes(devices: &[DeviceNote]) -> String {
    let note = |note: &DeviceNote| {
        let holder = note.holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default();
        let left = note.left.map(|left| format!(", {} left", span(left))).unwrap_or_default();
        let problem = note.problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
        format!("{} on {}{holder}{left}{problem}", note.device, note.agent)
    };
    devices.iter().map(note).collect::<Vec<_>>().join(", ")
}

/// A duration as people say it, rounded up: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let (minutes, hours) = (seconds.div_ceil(60), seconds.div_ceil(60) / 60);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        7200..172_800 => format!("{hours} h"),
        _ if hours % 24 > 0 => format!("{} d {} h", hours / 24, hours % 24),
        _ => format!("{} d", hours / 24),
    }
}
