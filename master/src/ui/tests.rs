use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rialto_core::master::view::{AgentStatus, AgentView, DeviceView, FrameworkView, TaskView};
use rialto_core::model::{
    AgentId, Device, DeviceId, DeviceMode, DeviceState, FrameworkId, Health, Milli, OfferMode, Proof, Quantities,
    Resources, Role, Shape, TaskId, TaskKey, TaskState, Term, Topology, WallTime,
};

use super::*;

const AGENT: AgentId = AgentId::new(Term(1), 1);
const FRAMEWORK: FrameworkId = FrameworkId::new(Term(1), 2);

fn key() -> TaskKey {
    TaskKey::new(FRAMEWORK, TaskId::new("build<1>&?").unwrap())
}

fn view() -> View {
    let mut view = View::default();
    let total = Resources::of(Milli::from_whole(4), Milli::from_whole(8192));
    let agent = AgentView {
        info: Arc::new(rialto_core::model::AgentInfo { name: Arc::from("<b>west</b>"), ..Default::default() }),
        status: AgentStatus::Active,
        total: total.into(),
        allocated: Quantities::of(Milli::from_whole(1), Milli::from_whole(2048)),
        offered: Arc::new(Resources::of(Milli::from_whole(2), Milli::ZERO)),
        journal_degraded: false,
        leaves: None,
    };
    view.agents.insert(AGENT, agent);
    view.frameworks.insert(FRAMEWORK, framework());
    view.tasks.insert(key(), Arc::new(task()));
    let gpu = DeviceId::new("GPU-1");
    let state = DeviceState::Allocated(key());
    let device = DeviceView { device: Arc::new(device(&gpu)), state, since: WallTime(0) };
    view.devices.insert((AGENT, gpu), device);
    view
}

fn framework() -> FrameworkView {
    let role = Role::new("eng").unwrap();
    let shape = Shape {
        name: Arc::from("train"),
        resources: Resources::of(Milli(500), Milli::from_whole(64)),
        claims: vec!["2 gpu".parse().unwrap()],
        constraint: rialto_core::model::Selector::any(),
        count: 3,
        priority: 0,
        expected_run_time: None,
    };
    FrameworkView {
        name: Arc::from("ci"),
        principal: Arc::from("framework"),
        roles: BTreeSet::from([role.clone()]),
        suppressed: BTreeSet::new(),
        connected: true,
        mode: OfferMode::Optimistic,
        rules: Arc::default(),
        url: Some(Arc::from("javascript:alert(1)")),
        allocated: Quantities::new(),
        demand: vec![(role, shape)].into(),
        hopeless: vec![false].into(),
        offers_made: 7,
        offers_declined: 1,
    }
}

fn task() -> TaskView {
    TaskView {
        name: Arc::from("compile"),
        role: Role::any(),
        agent: AGENT,
        state: TaskState::Running,
        reason: None,
        message: Arc::from(""),
        exit: None,
        health: None,
        resources: Resources::of(Milli::from_whole(1), Milli::from_whole(2048)),
        priority: 0,
        expected_run_time: None,
        borrowed: false,
        launched: WallTime(0),
        changed: WallTime(0),
    }
}

fn device(id: &DeviceId) -> Device {
    Device {
        id: id.clone(),
        kind: Arc::from("gpu"),
        vendor: Arc::from("nvidia"),
        model: Arc::from("H100"),
        generation: 9,
        attributes: BTreeMap::new(),
        topology: Topology::default(),
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: Vec::new(),
        proof: Proof::NodeClosed,
        host_share: Quantities::new(),
    }
}

fn rendered() -> String {
    let selection = tasks::Filter::default().parse().unwrap();
    body::render(&Snapshot { now_ms: 90_000, ..Snapshot::take(&view(), 1, &selection) }).into_string()
}

#[test]
fn the_page_shows_every_table_with_a_caption() {
    let page = rendered();
    for text in ["Agents (1)", "Devices (1)", "Frameworks (1)", "Tasks, newest first (1)"] {
        assert!(page.contains(&format!("<caption>{text}</caption>")), "{text} not in {page}");
    }
    for text in
        ["cpus: 1 allocated, 2 offered, of 4", "2 GiB / 8 GiB", "nvidia H100", "3 × train", "1 min ago", "running"]
    {
        assert!(page.contains(text), "{text} not in {page}");
    }
}

#[test]
fn many_alike_free_devices_are_one_line_below_those_that_are_held() {
    let mut view = view();
    for number in 0..5 {
        let id = DeviceId::new(&format!("A-free-{number}"));
        let free = DeviceView { device: Arc::new(device(&id)), state: DeviceState::Free, since: WallTime(0) };
        view.devices.insert((AGENT, id), free);
    }
    let selection = tasks::Filter::default().parse().unwrap();
    let page = body::render(&Snapshot::take(&view, 1, &selection)).into_string();
    let folded = page.find("5 free gpu H100 on &lt;b&gt;west&lt;/b&gt;").expect("the free ones are one line");
    assert!(page.find("GPU-1").is_some_and(|held| held < folded), "{page}");
    assert!(page.contains("<caption>Devices (6)</caption>"), "{page}");
    assert!(page.contains("1<span class=\"muted\"> held of </span>6"), "{page}");
}

#[test]
fn a_task_that_is_named_by_its_id_shows_it_once() {
    let mut view = view();
    let named = TaskView { name: Arc::from(key().task.as_str()), ..task() };
    view.tasks.insert(key(), Arc::new(named));
    let selection = tasks::Filter::default().parse().unwrap();
    let page = body::render(&Snapshot::take(&view, 1, &selection)).into_string();
    assert!(page.contains("build&lt;1&gt;&amp;? <small class=\"id\">F1-2</small>"), "{page}");
}

#[test]
fn what_others_wrote_is_escaped() {
    let page = rendered();
    assert!(page.contains("&lt;b&gt;west&lt;/b&gt;") && !page.contains("<b>west"), "{page}");
    assert!(!page.contains("javascript:"), "{page}");
    assert!(page.contains("/ui/logs/F1-2/build%3C1%3E%26%3F?file=stderr"), "{page}");
}

#[test]
fn an_empty_cluster_says_what_to_do() {
    let page = body::render(&Snapshot::default()).into_string();
    assert!(page.contains("No agent yet."), "{page}");
    assert!(page.contains("No task."), "{page}");
}

#[test]
fn the_log_page_follows_the_file() {
    let task = api::Task::new(&key(), &task());
    let Html(page) = logs_document(&task, "stderr");
    let source = "data-source=\"/api/tasks/F1-2/build%3C1%3E%26%3F/logs?file=stderr&amp;tail=65536&amp;follow=true\"";
    assert!(page.contains(source), "{page}");
    assert!(page.contains("aria-current=\"page\">stderr"), "{page}");
}

#[test]
fn only_the_script_and_style_of_the_master_are_loaded() {
    let Html(page) = document("t", &html! {});
    let from = |attribute: &str| page.matches(attribute).count();
    assert_eq!((from("src=\"/ui/page.js\""), from("src=")), (1, 1));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<style"), "{page}");
}
