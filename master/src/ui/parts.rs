//! What several tables are made of.

use maud::{Markup, html};

use crate::api;

/// How much of something is allocated, offered and free.
pub(super) fn bar(name: &str, allocated: f64, offered: f64, total: f64, show: fn(f64) -> String) -> Markup {
    let share = |amount: f64| if total > 0.0 { (amount / total * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let (held, locked) = (share(allocated), share(offered));
    let offered_words = if offered > 0.0 { format!(", {} offered", show(offered)) } else { String::new() };
    let words = format!("{name}: {} allocated{offered_words}, of {}", show(allocated), show(total));
    html! {
        div.meter title=(words) {
            svg.bar viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(words) {
                rect.free width="100" height="6" {}
                rect.allocated width=(format!("{held:.1}")) height="6" {}
                rect.offered x=(format!("{held:.1}")) width=(format!("{:.1}", locked.min(100.0 - held))) height="6" {}
            }
            span.figure { (show(allocated)) " / " (show(total)) }
        }
    }
}

/// A bar for one resource of an agent.
pub(super) fn resource(
    name: &str,
    agent: &api::Agent,
    of: fn(&api::Amounts) -> f64,
    show: fn(f64) -> String,
) -> Markup {
    bar(name, of(&agent.allocated), of(&agent.offered), of(&agent.total), show)
}

/// Cores.
pub(super) fn cores(amount: f64) -> String {
    number(amount)
}

/// MiB, in the unit that people read most easily.
pub(super) fn mib(amount: f64) -> String {
    match amount {
        amount if amount >= 1024.0 * 1024.0 => format!("{} TiB", number(amount / (1024.0 * 1024.0))),
        amount if amount >= 1024.0 => format!("{} GiB", number(amount / 1024.0)),
        amount => format!("{} MiB", number(amount)),
    }
}

pub(super) fn number(amount: f64) -> String {
    let text = if amount >= 100.0 { format!("{amount:.0}") } else { format!("{amount:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A short list of amounts.
pub(super) fn amounts(amounts: &api::Amounts) -> String {
    let mut words = Vec::new();
    if amounts.cpus > 0.0 {
        words.push(format!("{} cpus", cores(amounts.cpus)));
    }
    if amounts.mem_mib > 0.0 {
        words.push(mib(amounts.mem_mib));
    }
    if amounts.disk_mib > 0.0 {
        words.push(format!("{} disk", mib(amounts.disk_mib)));
    }
    let others = amounts.other.iter().filter(|(name, amount)| **amount > of_models(amounts, name));
    words.extend(others.map(|(name, amount)| format!("{} {}", number(*amount), plain(name))));
    words.join(" · ")
}

/// How many of the devices called `name` are named by their model as well.
fn of_models(amounts: &api::Amounts, name: &str) -> f64 {
    let is_model = |other: &str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    amounts.other.iter().filter(|(other, _)| is_model(other)).map(|(_, amount)| amount).sum()
}

/// A resource's name: devices are summed up under names such as device/gpu.
pub(super) fn plain(name: &str) -> &str {
    name.strip_prefix("device/").unwrap_or(name)
}

/// A word with a colour that says how good it is.
pub(super) fn pill(word: &str, mood: Mood) -> Markup {
    let class = match mood {
        Mood::Good => "pill good",
        Mood::Busy => "pill busy",
        Mood::Bad => "pill bad",
        Mood::Quiet => "pill quiet",
    };
    html! { span class=(class) { (word) } }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Busy,
    Bad,
    Quiet,
}

/// A task's state, without the prefix that all of them have.
pub(super) fn state(state: &str) -> Markup {
    let word = state.strip_prefix("TASK_").unwrap_or(state).to_ascii_lowercase().replace('_', " ");
    let mood = match state {
        "TASK_RUNNING" => Mood::Good,
        "TASK_STAGING" | "TASK_STARTING" | "TASK_KILLING" => Mood::Busy,
        "TASK_FINISHED" | "TASK_KILLED" => Mood::Quiet,
        _ => Mood::Bad,
    };
    pill(&word, mood)
}

/// How long ago something was.
pub(super) fn ago(now_ms: i64, then_ms: i64) -> String {
    let seconds = (now_ms - then_ms).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// What tells the task from others of its name: its framework, and its id unless that is the name.
pub(super) fn task_id(task: &api::Task) -> Markup {
    html! { small.id { (task.framework) @if task.id != task.name { "/" (task.id) } } }
}

/// `framework/task` as a part of a URL's path.
pub(super) fn task_path(task: &api::Task) -> String {
    format!("{}/{}", escape_path(&task.framework), escape_path(&task.id))
}

/// `text` with everything percent-encoded that means something in a URL.
pub(super) fn escape_path(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
