//! Answers as text, for people: short sentences, the numbers in a column, the most telling first.

use super::explain::words::span;
use super::explain::{Explanation, Outlook, TaskNote, TaskWait, Wait, Waiting};
use super::help::{Advice, Effect, Step, StepKind, WaitAdvice};
use super::history::{Calibration, Estimate};
use super::stock::Standing;
use super::when::{Bound, Forecast, WaitForecast};

#[cfg(test)]
mod tests;

/// Why it waits.
pub fn why(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    match &explanation.task {
        Some(note) => lines.extend(task_lines(note)),
        None if explanation.waits.is_empty() => lines.push(format!("{}: nothing waits", explanation.subject)),
        None => explanation.waits.iter().for_each(|wait| wait_lines(wait, &mut lines)),
    }
    joined(&lines)
}

/// When it will run.
pub fn when(forecast: &Forecast) -> String {
    let mut lines = Vec::new();
    if forecast.waits.is_empty() {
        lines.push(format!("{}: nothing waits", forecast.subject));
    }
    for wait in &forecast.waits {
        lines.push(head(&wait.what));
        lines.push(format!("  {}", bound_line(&wait.bound)));
        lines.push(format!("  {}", estimate_line(wait)));
    }
    joined(&lines)
}

/// What would help it to run.
pub fn what_would_help(advice: &Advice) -> String {
    let mut lines = Vec::new();
    if advice.waits.is_empty() {
        lines.push(format!("{}: nothing waits", advice.subject));
    }
    advice.waits.iter().for_each(|wait| advice_lines(wait, &mut lines));
    joined(&lines)
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

fn head(what: &Waiting) -> String {
    let Waiting { shape, count, waited, asks, .. } = what;
    let count = *count;
    let times = if count == 1 { String::new() } else { format!(" ({count} of them)") };
    let since = if waited.is_zero() { String::new() } else { format!(" for {}", span(*waited)) };
    let each = if count == 1 { "It asks" } else { "Each asks" };
    format!("{shape}{times} waits{since}. {each} for {asks}.")
}

fn task_lines(note: &TaskNote) -> Vec<String> {
    let detail = if note.message.is_empty() { String::new() } else { format!(": {}", note.message) };
    let mut lines = vec![format!("{} is {} for {}{detail}", note.key, note.state, span(note.lasting))];
    let agent = note.agent.as_ref().map_or_else(|| "its agent".to_owned(), |agent| format!("agent {agent}"));
    lines.extend(note.waits_for.as_ref().map(|wait| match wait {
        TaskWait::AgentsAnswer => format!("  It waits for an answer of {agent}, which was told to start it."),
        TaskWait::Gang { holding, agents } => {
            format!("  It starts with its gang: {holding} of {agents} agents hold what the gang needs of them.")
        }
        TaskWait::Preparation => format!("  It waits for {agent}, which is getting it ready."),
        TaskWait::AgentsReturn { given_up_in: Some(left) } => format!(
            "  It waits for {agent} to come back, and counts as unreachable in {}. It may be running meanwhile.",
            span(*left)
        ),
        TaskWait::AgentsReturn { given_up_in: None } => {
            format!("  It waits for {agent} to come back. It may be running meanwhile.")
        }
        TaskWait::End { grace } => {
            format!("  It was told to end, and is killed after {} if it does not.", span(*grace))
        }
        TaskWait::Acknowledgement => "  It has ended; its framework has not acknowledged that yet.".to_owned(),
    }));
    lines
}

fn wait_lines(wait: &Wait, lines: &mut Vec<String>) {
    lines.push(head(&wait.what));
    let agents = wait.agents;
    let of = if agents == 1 { "Of 1 agent".to_owned() } else { format!("Of {agents} agents") };
    lines.push(match (wait.outlook, agents) {
        (_, 0) => "  There are no agents yet.".to_owned(),
        (Outlook::Hopeless, _) => format!("  It never fits, unless agents come or change. {of}, even when empty:"),
        (Outlook::Unknown, _) => format!("  Not all agents are back yet. {of} that are known:"),
        (Outlook::Possible, _) if wait.ready > 0 => format!("  {} of {agents} have room for it now. {of}:", wait.ready),
        (Outlook::Possible, _) => format!("  No agent has room for it now. {of}:"),
    });
    if wait.clauses.is_empty() && agents > 0 {
        lines.push("    nothing stands in its way: it should be offered something now".to_owned());
    }
    let width = agents.to_string().len();
    for clause in &wait.clauses {
        let causes = clause.causes.len();
        for (number, cause) in clause.causes.iter().enumerate() {
            let words = cause.words(&clause.kind);
            // Told once, behind the clause's last reason.
            let alone = match clause.alone {
                0 => String::new(),
                _ if number + 1 < causes || wait.clauses.len() == 1 => String::new(),
                alone => format!("; nothing else is in the way on {alone}"),
            };
            if cause.kind.is_about_agents() {
                lines.push(format!("  {:>width$}  {words}{alone}", cause.agents));
            } else {
                lines.push(format!("  {:>width$}  {words}", "-"));
            }
        }
    }
}

fn bound_line(bound: &Bound) -> String {
    match bound {
        Bound::Now { agent } => format!("It has room now, on {agent}."),
        Bound::By { after, agent, ends, ahead } => {
            let ended = match ends {
                0 => "when offers to others expire".to_owned(),
                1 => "when 1 task ends as declared".to_owned(),
                _ => format!("when {ends} tasks end as declared"),
            };
            let ahead = match ahead {
                0 => String::new(),
                1 => ", and after 1 other that comes first".to_owned(),
                more => format!(", and after {more} others that come first"),
            };
            format!("In {} at the latest, on {agent}: {ended}{ahead}.", span(*after))
        }
        Bound::Unknown { undeclared: 0, overdue: 0 } => {
            "No time can be promised: nothing that runs will free enough of it.".to_owned()
        }
        Bound::Unknown { undeclared, overdue } => {
            let overdue = match overdue {
                0 => String::new(),
                _ => format!(", and {overdue} run longer than they said"),
            };
            let tasks = if *undeclared == 1 { "1 task".to_owned() } else { format!("{undeclared} tasks") };
            format!("No time can be promised: {tasks} in its way did not say how long to run{overdue}.")
        }
        Bound::Never => "Never, unless agents come or change; ask what-would-help.".to_owned(),
        Bound::TooIntricate => "No time can be promised: too much waits and runs to reckon it out.".to_owned(),
    }
}

fn estimate_line(wait: &WaitForecast) -> String {
    let Some(Estimate { waits, median, p90 }) = wait.estimate else {
        return "No estimate: too few like it have waited so far.".to_owned();
    };
    let how_good = match wait.calibration {
        Calibration { judged: 0, .. } => String::new(),
        Calibration { judged, within_median, within_p90 } => format!(
            " Of {judged} such estimates so far, {}% kept the first and {}% the second.",
            within_median * 100 / judged,
            within_p90 * 100 / judged
        ),
    };
    let (median, p90) = (span(median), span(p90));
    format!("Going by the last {waits} like it: half within {median} more, nine of ten within {p90}.{how_good}")
}

fn advice_lines(wait: &WaitAdvice, lines: &mut Vec<String>) {
    lines.push(head(&wait.what));
    if wait.ready > 0 {
        let noun = if wait.ready == 1 { "agent has" } else { "agents have" };
        lines.push(format!("  {} {noun} room for it already; why says what else is in the way.", wait.ready));
    }
    let (now, later): (Vec<&Step>, Vec<&Step>) = wait.steps.iter().partition(|step| step.effect == Effect::Now);
    if wait.steps.is_empty() {
        lines.push("  No single change would help; look at the reasons that why gives.".to_owned());
    }
    if !now.is_empty() {
        lines.push("  Any one of these would make room, the smallest change first:".to_owned());
        numbered(&now, lines);
    }
    if !later.is_empty() {
        lines.push("  Any one of these would let it fit an agent once that is free:".to_owned());
        numbered(&later, lines);
    }
}

fn numbered(steps: &[&Step], lines: &mut Vec<String>) {
    let width = steps.len().to_string().len();
    for (number, step) in steps.iter().enumerate() {
        lines.push(format!("  {:>width$}. {}", number + 1, step_line(step)));
    }
}

fn step_line(step: &Step) -> String {
    let there = match (&step.agent, step.agents) {
        (Some(agent), 0 | 1) => format!(" ({agent})"),
        (Some(agent), agents) => format!(" ({agents} agents, {agent} for one)"),
        (None, _) => String::new(),
    };
    let example = step.agent.as_ref().map(ToString::to_string).unwrap_or_default();
    match &step.kind {
        StepKind::Reconnect => "connect the framework again".to_owned(),
        StepKind::Unsuppress => "let the framework take offers for this role again".to_owned(),
        StepKind::Revive { left } => {
            format!("let the framework revive; else its refusal holds for {}{there}", span(*left))
        }
        StepKind::RaiseLimit { role, resource, by } => format!("raise the limit of role {role} by {by} {resource}"),
        StepKind::ReleaseOffers { frameworks } => {
            let names: Vec<String> = frameworks.iter().map(ToString::to_string).collect();
            format!("get back what is locked in offers to {}{there}", names.join(", "))
        }
        StepKind::Less { resource, by, to } => format!("ask for {by} {resource} less, {to} in all{there}"),
        StepKind::FewerDevices { claim, to } => format!("ask for {to} instead of {claim}{there}"),
        StepKind::WithoutTopology { claim } => format!("don't ask how the devices of {claim} are connected{there}"),
        StepKind::OtherDevices { claim, dropped, models } => {
            let models = if models.is_empty() { String::new() } else { format!("; {} would do", models.join(", ")) };
            format!("leave out {dropped} in {claim}{models}{there}")
        }
        StepKind::WithoutConstraint { dropped } => format!("leave out {dropped} of where it may run{there}"),
        StepKind::RepairAgent { standing: Standing::Degraded } => format!("repair the agent's journal{there}"),
        StepKind::RepairAgent { .. } => format!("get the agent back{there}"),
        StepKind::RepairDevices { claim } => format!("repair devices for {claim}{there}"),
        StepKind::AddDevices { claim, count: 1 } => format!("build in 1 more device for {claim}{there}"),
        StepKind::AddDevices { claim, count } => format!("build in {count} more devices for {claim}{there}"),
        StepKind::AddAgents { count, for_all } if count == for_all => format!("add {count} agent like {example}"),
        StepKind::AddAgents { count, for_all } => {
            format!("add {count} agent like {example}; {for_all} for all that wait")
        }
    }
}
