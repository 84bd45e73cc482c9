//! The page's body: a header with the totals, then a table for each thing.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::parts::{self, Mood, ago, amounts, bar, cores, mib, pill, resource, task_path};
use super::{ROWS_MAX, Snapshot, roles};
use crate::api;

/// How many free devices of a class an agent may have before they are folded into one line.
const FREE_ALIKE_MAX: usize = 4;

/// The body of one moment.
pub(super) fn render(snapshot: &Snapshot) -> Markup {
    html! {
        (header(&snapshot.cluster))
        (legend())
        (agents(snapshot))
        @if !snapshot.devices.is_empty() { (devices(snapshot)) }
        @if !snapshot.roles.is_empty() { (roles::table(snapshot)) }
        (frameworks(snapshot))
        (tasks(snapshot))
        (footer())
    }
}

fn header(cluster: &api::Cluster) -> Markup {
    let count = |counts: &BTreeMap<String, u64>, word: &str| counts.get(word).copied().unwrap_or(0);
    let active = count(&cluster.agents, "active");
    let running = count(&cluster.tasks, "TASK_RUNNING");
    let coming = count(&cluster.tasks, "TASK_STAGING") + count(&cluster.tasks, "TASK_STARTING");
    let (held, devices) = (count(&cluster.devices, "allocated"), cluster.devices.values().sum::<u64>());
    html! {
        header {
            h1 { "Rialto" }
            p.muted {
                "Cluster " code title=(cluster.cluster) { (cluster.cluster.get(..8).unwrap_or("")) }
                " · term " (cluster.term) " · version " (cluster.version)
            }
            @if cluster.agents_missing > 0 {
                p.problem role="status" { (cluster.agents_missing) " known agents have not come back since the master started." }
            }
        }
        section.tiles aria-label="Totals" {
            (tile("Agents", &active.to_string(), &format!("of {}", cluster.agents.values().sum::<u64>())))
            (tile("Frameworks", &cluster.frameworks_connected.to_string(), &format!("of {}", cluster.frameworks)))
            (tile("Running tasks", &running.to_string(), &format!("{coming} coming up")))
            @if devices > 0 { (tile("Devices held", &held.to_string(), &format!("of {devices}"))) }
            div.tile.wide { h2 { "CPUs" } (total("cpus", cluster, |amounts| amounts.cpus, cores)) }
            div.tile.wide { h2 { "Memory" } (total("memory", cluster, |amounts| amounts.mem_mib, mib)) }
            div.tile.wide { h2 { "Disk" } (total("disk", cluster, |amounts| amounts.disk_mib, mib)) }
        }
    }
}

fn tile(name: &str, figure: &str, more: &str) -> Markup {
    html! { div.tile { h2 { (name) } p.big { (figure) " " small.muted { (more) } } } }
}

fn total(name: &str, cluster: &api::Cluster, of: fn(&api::Amounts) -> f64, show: fn(f64) -> String) -> Markup {
    bar(name, of(&cluster.allocated), of(&cluster.offered), of(&cluster.total), show)
}

/// The head of a column; numbers stand at its right.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head {
    Text(&'static str),
    Number(&'static str),
}

/// A table with a caption that counts, and a line in its place if it is empty.
pub(super) fn table(id: &str, caption: &str, heads: &[Head], rows: &[Markup], empty: &str) -> Markup {
    html! {
        section id=(id) {
            div.scroll {
                table {
                    caption { (caption) }
                    @if !rows.is_empty() { thead { tr { @for head in heads { (column(*head)) } } } }
                    tbody {
                        @for row in rows { (row) }
                        @if rows.is_empty() { tr { td.muted { (empty) } } }
                    }
                }
            }
        }
    }
}

fn column(head: Head) -> Markup {
    match head {
        Head::Text(title) => html! { th scope="col" { (title) } },
        Head::Number(title) => html! { th.number scope="col" { (title) } },
    }
}

pub(super) fn counted(name: &str, shown: usize, total: u64) -> String {
    if shown as u64 == total { format!("{name} ({total})") } else { format!("{name} ({shown} of {total})") }
}

fn agents(snapshot: &Snapshot) -> Markup {
    let rows: Vec<Markup> = snapshot.agents.iter().map(|agent| agent_row(agent, snapshot)).collect();
    let caption = counted("Agents", rows.len(), snapshot.cluster.agents.values().sum());
    let texts = ["Agent", "Status", "CPUs", "Memory", "Disk"].map(Head::Text);
    let heads = [&texts[..], &[Head::Number("Devices"), Head::Text("Attributes")]].concat();
    let empty = "No agent yet. Start one with: rialto agent --master ADDRESS";
    table("agents", &caption, &heads, &rows, empty)
}

fn agent_row(agent: &api::Agent, snapshot: &Snapshot) -> Markup {
    let mood = match agent.status.as_str() {
        "active" => Mood::Good,
        "disconnected" | "recovering" => Mood::Busy,
        _ => Mood::Bad,
    };
    let devices = snapshot.device_counts.get(&agent.id).copied().unwrap_or_default();
    html! {
        tr {
            th scope="row" { (agent.name) " " small.id { (agent.id) } }
            td { (pill(&agent.status, mood)) @if agent.journal_degraded { " " (pill("journal degraded", Mood::Bad)) } @if agent.leaves_ms.is_some() { " " (pill("leaving", Mood::Busy)) } }
            td { (resource("cpus", agent, |amounts| amounts.cpus, cores)) }
            td { (resource("memory", agent, |amounts| amounts.mem_mib, mib)) }
            td { (resource("disk", agent, |amounts| amounts.disk_mib, mib)) }
            td.number {
                @if devices.held > 0 { (devices.held) span.muted { " held of " } }
                @if devices.total > 0 { (devices.total) }
            }
            td.muted {
                @if let Some(region) = &agent.region { span.tag { "region=" (region) } " " }
                @if let Some(zone) = &agent.zone { span.tag { "zone=" (zone) } " " }
                @for (name, value) in &agent.attributes { span.tag { (name) "=" (attribute(value)) } " " }
                @for part in &agent.reserved { span.tag title="reserved" { (part.owner()) ": " (part.text) } " " }
            }
        }
    }
}

fn attribute(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn devices(snapshot: &Snapshot) -> Markup {
    let (folded, rows) = fold(&snapshot.devices);
    let rows = rows.into_iter().map(|device| device_row(device, snapshot));
    let rows: Vec<Markup> = rows.chain(folded.iter().map(|group| folded_row(group, snapshot))).collect();
    let caption = counted("Devices", snapshot.devices.len(), snapshot.cluster.devices.values().sum());
    let texts = ["Device", "Kind", "Agent", "State", "Held by"].map(Head::Text);
    let heads = [&texts[..], &[Head::Number("Since")]].concat();
    html! {
        @if snapshot.classes.len() > 1 || snapshot.devices.len() >= ROWS_MAX { (classes(&snapshot.classes)) }
        (table("devices", &caption, &heads, &rows, ""))
    }
}

/// Free devices that are alike, on one agent.
type Alike<'a> = Vec<&'a api::Device>;

/// Groups of alike free devices that are too many to be shown one by one, and all other devices in their order.
fn fold(devices: &[api::Device]) -> (Vec<Alike<'_>>, Alike<'_>) {
    let mut groups = BTreeMap::<_, Alike<'_>>::new();
    let mut single = Vec::new();
    for device in devices {
        if device.state == "free" && device.health == "healthy" {
            groups.entry((&device.kind, &device.model, &device.agent)).or_default().push(device);
        } else {
            single.push(device);
        }
    }
    let (folded, few): (Vec<_>, Vec<_>) = groups.into_values().partition(|group| group.len() > FREE_ALIKE_MAX);
    single.extend(few.into_iter().flatten());
    (folded, single)
}

fn folded_row(group: &[&api::Device], snapshot: &Snapshot) -> Markup {
    let Some(first) = group.first() else { return html! {} };
    let agent = agent_name(&first.agent, snapshot);
    let class = format!("{} {}", first.kind, first.model);
    html! {
        tr {
            td colspan="6" {
                details data-key=(format!("{} {class}", first.agent)) {
                    summary { (group.len()) " free " (class.trim_end()) " on " (agent) }
                    p.muted { @for device in group { span.tag { (device.id) } " " } }
                }
            }
        }
    }
}

fn agent_name<'a>(id: &'a str, snapshot: &'a Snapshot) -> &'a str {
    snapshot.agents.iter().find(|agent| agent.id == id).map_or(id, |agent| agent.name.as_str())
}

fn classes(classes: &[api::DeviceClass]) -> Markup {
    let row = |class: &api::DeviceClass| {
        html! {
            tr {
                th scope="row" { (class.kind) " " (class.model) }
                @for number in [class.total, class.free, class.held, class.cleaning, class.quarantined, class.unhealthy] {
                    td.number { (number) }
                }
            }
        }
    };
    let rows: Vec<Markup> = classes.iter().map(row).collect();
    let numbers = ["Total", "Free", "Held", "Cleaning", "Quarantined", "Unhealthy"].map(Head::Number);
    let heads = [&[Head::Text("Class")], &numbers[..]].concat();
    table("classes", "Device classes", &heads, &rows, "")
}

fn device_row(device: &api::Device, snapshot: &Snapshot) -> Markup {
    let mood = match (device.state.as_str(), device.health.as_str()) {
        ("quarantined", _) | (_, "unhealthy") => Mood::Bad,
        ("cleaning", _) | (_, "unknown" | "probation" | "degraded") => Mood::Busy,
        ("allocated", _) => Mood::Good,
        _ => Mood::Quiet,
    };
    html! {
        tr {
            th scope="row" { (device.id) }
            td { (device.kind) " " span.muted { (device.vendor) " " (device.model) } }
            td { (agent_name(&device.agent, snapshot)) }
            td {
                (pill(&device.state, mood))
                @if device.health != "healthy" { " " span.muted { (device.health) } }
                @if let Some(reason) = &device.reason { " " span.muted { (reason) } }
            }
            td { @for holder in &device.holders { (holder.framework) "/" (holder.task) " " } }
            td.number { (ago(snapshot.now_ms, device.since_ms)) }
        }
    }
}

fn frameworks(snapshot: &Snapshot) -> Markup {
    let rows: Vec<Markup> = snapshot.frameworks.iter().map(framework_row).collect();
    let caption = counted("Frameworks", rows.len(), snapshot.cluster.frameworks);
    let texts = ["Framework", "Roles", "Status", "Holds", "Waits for"].map(Head::Text);
    let heads = [&texts[..], &[Head::Number("Offers"), Head::Number("Declined")]].concat();
    table("frameworks", &caption, &heads, &rows, "No framework yet. Try: rialto run -- echo hello")
}

fn framework_row(framework: &api::Framework) -> Markup {
    let (word, mood) = if framework.connected { ("connected", Mood::Good) } else { ("away", Mood::Busy) };
    let link = framework.url.as_deref().filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    html! {
        tr {
            th scope="row" {
                @if let Some(url) = link { a href=(url) rel="noreferrer" { (framework.name) } } @else { (framework.name) }
                " " a.id href=(format!("/?framework={}#tasks", framework.id)) { (framework.id) }
            }
            td { (framework.roles.join(", ")) }
            td { (pill(word, mood)) @if !framework.suppressed.is_empty() { " " span.muted { "suppressed" } } }
            td { (amounts(&framework.allocated)) }
            td { @for demand in framework.demand.iter().take(5) { (wait(demand)) } (more(framework.demand.len(), 5)) }
            td.number { (framework.offers_made) }
            td.number { (framework.offers_declined) }
        }
    }
}

fn wait(demand: &api::Demand) -> Markup {
    let asks = [amounts(&demand.asks)].into_iter().filter(|text| !text.is_empty()).chain(demand.claims.iter().cloned());
    let asks = asks.collect::<Vec<_>>().join(" · ");
    html! {
        div { (demand.count) " × " (demand.name) " " span.muted { (asks) @if demand.hopeless { " never fits" } } }
    }
}

fn more(count: usize, shown: usize) -> Markup {
    html! { @if count > shown { div.muted { "and " (count - shown) " more" } } }
}

fn tasks(snapshot: &Snapshot) -> Markup {
    let tasks = &snapshot.tasks;
    let rows: Vec<Markup> = tasks.tasks.iter().map(|task| task_row(task, snapshot)).collect();
    let filter = snapshot.filter.as_ref().map(|filter| format!(" {filter}")).unwrap_or_default();
    let caption = counted(&format!("Tasks{filter}, newest first"), rows.len(), tasks.total);
    let texts = ["Task", "State", "Agent", "Resources"].map(Head::Text);
    let times = [Head::Number("Launched"), Head::Number("In state for"), Head::Text("Logs")];
    let heads = [&texts[..], &times].concat();
    html! {
        nav.above aria-label="Tasks" {
            a href="/#tasks" { "All tasks" } " · " a href="/?state=running#tasks" { "Running" } " · "
            a href="/?state=failed#tasks" { "Failed" }
        }
        (table("tasks", &caption, &heads, &rows, "No task."))
    }
}

fn task_row(task: &api::Task, snapshot: &Snapshot) -> Markup {
    let path = task_path(task);
    html! {
        tr {
            th scope="row" { (task.name) " " (parts::task_id(task)) }
            td title=(task.message) {
                (parts::state(&task.state))
                @if let Some(code) = task.exit_code { @if code != 0 { " " span.muted { "exit code " (code) } } }
                @if let Some(signal) = task.exit_signal { " " span.muted { "signal " (signal) } }
                @if task.healthy == Some(false) { " " (pill("unhealthy", Mood::Bad)) }
                @if let Some(reason) = &task.reason { " " span.muted { (reason.to_ascii_lowercase().replace('_', " ")) } }
            }
            td { (agent_name(&task.agent, snapshot)) }
            td { (amounts(&task.given)) @if !task.devices.is_empty() { " · " (task.devices.join(", ")) } }
            td.number { (ago(snapshot.now_ms, task.launched_ms)) " ago" }
            td.number { (ago(snapshot.now_ms, task.changed_ms)) }
            td { a href=(format!("/ui/logs/{path}?file=stdout")) { "stdout" } " " a href=(format!("/ui/logs/{path}?file=stderr")) { "stderr" } }
        }
    }
}

/// What the colours of the bars mean.
fn legend() -> Markup {
    html! {
        p.above.muted {
            svg.key viewBox="0 0 10 6" aria-hidden="true" { rect.allocated width="10" height="6" {} } " allocated "
            svg.key viewBox="0 0 10 6" aria-hidden="true" { rect.offered width="10" height="6" {} } " offered "
            svg.key viewBox="0 0 10 6" aria-hidden="true" { rect.free width="10" height="6" {} } " free"
        }
    }
}

fn footer() -> Markup {
    html! {
        footer.muted {
            p {
                "For programs: " a href="/api/cluster" { "/api/cluster" } " " a href="/api/agents" { "/api/agents" } " "
                a href="/api/tasks" { "/api/tasks" } " " a href="/api/roles" { "/api/roles" } " " a href="/metrics" { "/metrics" }
            }
            p #stale role="status" {}
        }
    }
}
