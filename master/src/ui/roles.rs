//! The table of roles: the tree, who holds how much of what it may, and who waits.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::Snapshot;
use super::body::{self, Head, counted};
use super::parts::{Mood, amounts, bar, cores, mib, number, pill, plain};
use crate::api;

/// How far a row is indented at most.
const DEPTH_MAX: usize = 3;

/// Roles as a tree is read: each with all below it before the next one.
pub(super) fn in_tree(mut roles: Vec<api::RoleRow>) -> Vec<api::RoleRow> {
    roles.sort_by(|a, b| a.role.split('/').cmp(b.role.split('/')));
    roles
}

/// The table.
pub(super) fn table(snapshot: &Snapshot) -> Markup {
    let shown: BTreeSet<&str> = snapshot.roles.iter().map(|row| row.role.as_str()).collect();
    let rows: Vec<Markup> = snapshot.roles.iter().map(|role| row(role, &shown)).collect();
    let caption = counted("Roles", rows.len(), snapshot.roles_total);
    let heads = [
        Head::Text("Role"),
        Head::Number("Weight"),
        Head::Text("Dominant share"),
        Head::Text("Holds"),
        Head::Text("Of its limit"),
        Head::Text("Guaranteed"),
        Head::Text("Borrowed"),
        Head::Number("Waiting tasks"),
    ];
    body::table("roles", &caption, &heads, &rows, "")
}

fn row(role: &api::RoleRow, shown: &BTreeSet<&str>) -> Markup {
    let (depth, name) = place(&role.role, shown);
    let borrowed = role.borrowed.as_ref().map(amounts).unwrap_or_default();
    html! {
        tr {
            th class=(format!("depth-{depth}")) scope="row" title=(role.role) { (name) }
            td.number { (number(role.weight)) }
            td { (share(role)) }
            td { (amounts(&role.held)) }
            td { @for (resource, limit) in &role.limit { (of_limit(role, resource, *limit)) } }
            td { @for (resource, kept) in &role.guarantee { (guarantee(role, resource, *kept)) } }
            td { @if !borrowed.is_empty() { (pill(&borrowed, Mood::Busy)) } }
            td.number { @if role.waiting > 0 { (role.waiting) } }
        }
    }
}

/// How deep the role stands below the last one of those above it that is shown, and what is to be said of its name there.
fn place<'a>(role: &'a str, shown: &BTreeSet<&str>) -> (usize, &'a str) {
    let above: Vec<usize> =
        role.match_indices('/').map(|(at, _)| at).filter(|at| shown.contains(&role[..*at])).collect();
    (above.len().min(DEPTH_MAX), above.last().map_or(role, |at| &role[at + 1..]))
}

/// The part of the cluster that it holds most of, divided by its weight.
fn share(role: &api::RoleRow) -> Markup {
    bar("dominant share", role.share.unwrap_or_default(), 0.0, 1.0, percent)
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

fn of_limit(role: &api::RoleRow, resource: &str, limit: f64) -> Markup {
    let (held, offered) = (amount(&role.held, resource), amount(&role.offered, resource));
    let meter = bar(plain(resource), held, offered, limit, unit(resource));
    html! { div.over[held > limit] { span.muted { (plain(resource)) } (meter) } }
}

fn guarantee(role: &api::RoleRow, resource: &str, kept: f64) -> Markup {
    let missing = kept - amount(&role.held, resource);
    let text = format!("{} {}", unit(resource)(kept), plain(resource));
    html! {
        div { (text) @if missing > 0.0 { " " span.muted { "holds " (unit(resource)(missing)) " less" } } }
    }
}

fn amount(amounts: &api::Amounts, resource: &str) -> f64 {
    let known = BTreeMap::from([("cpus", amounts.cpus), ("mem", amounts.mem_mib), ("disk", amounts.disk_mib)]);
    known.get(resource).or_else(|| amounts.other.get(resource)).copied().unwrap_or_default()
}

fn unit(resource: &str) -> fn(f64) -> String {
    if matches!(resource, "mem" | "disk") { mib } else { cores }
}

#[cfg(test)]
mod tests;
