//! `rialto web`: servers that are kept up, scaled, updated, and rolled back.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{AgentSpec, Cluster, Process, get, processes_of, wait_until};

/// A cluster with the framework.
struct Site {
    serve: Process,
    cluster: Cluster,
    example: String,
}

impl Site {
    /// Two agents with a range of ports each, below those that the kernel gives out by itself, and no other test's.
    fn new(left: &'static str, right: &'static str) -> Self {
        let agent = |name, resources| AgentSpec { name, resources, devices: &[] };
        let cluster = Cluster::start(&[agent("left", left), agent("right", right)]);
        let serve = serve(&cluster);
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/web/hello.toml");
        let example = std::fs::read_to_string(example).expect("the example is there");
        Self { serve, cluster, example }
    }

    /// Deploys the example with changes; the exit code.
    fn deploy(&self, changes: &[(&str, &str)]) -> (i32, String) {
        let mut text = self.example.clone();
        for (old, new) in changes {
            assert!(text.contains(old), "{old} is not in the example");
            text = text.replace(old, new);
        }
        let file = self.cluster.write("hello.toml", &text);
        let ended = self.cluster.rialto(&["web", "deploy", &file]);
        (ended.code, ended.stdout + &ended.stderr)
    }

    fn endpoints(&self) -> Vec<String> {
        let status = self.cluster.rialto(&["web", "status", "hello", "--json"]);
        assert_eq!(status.code, 0, "{}", status.stderr);
        let document: serde_json::Value = serde_json::from_str(&status.stdout).expect("it is JSON");
        let endpoints = document["endpoints"].as_array().expect("a list").iter();
        endpoints.map(|endpoint| endpoint.as_str().expect("an address").to_owned()).collect()
    }

    /// Does something while an observer looks at the site: at no look are all endpoints dark. How many looks there were.
    fn watched<T>(&self, act: impl FnOnce() -> T) -> (T, u32) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let observer = scope.spawn(|| {
                let mut looks = 0;
                while !over.load(Ordering::Relaxed) {
                    let endpoints = self.endpoints();
                    let answers = |endpoint: &String| get(endpoint, "/", None).is_ok_and(|page| page.status == 200);
                    assert!(endpoints.iter().any(answers), "nobody answers at any of {endpoints:?}");
                    looks += 1;
                }
                looks
            });
            let done = {
                let _over = Raised(&over);
                act()
            };
            (done, observer.join().expect("the site was never dark"))
        })
    }

    /// Every endpoint serves this version's page.
    #[track_caller]
    fn assert_serves(&self, instances: usize, version: &str) {
        let endpoints = self.endpoints();
        assert_eq!(endpoints.len(), instances, "{endpoints:?}");
        for endpoint in endpoints {
            let page = get(&endpoint, "/", None).expect("it answers");
            assert_eq!(page.status, 200);
            assert!(page.body.contains(&format!("<dd id=\"version\">{version}</dd>")), "{endpoint}: {}", page.body);
        }
    }
}

/// Raises a flag when it is dropped, so that an observer ends also when what it observes panics.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_site_is_deployed_scaled_updated_and_rolled_back() {
    let site = Site::new("cpus:64;ports:[21000-21049]", "cpus:64;ports:[21050-21099]");
    let (code, said) = site.deploy(&[]);
    assert_eq!(code, 0, "{said}");
    site.assert_serves(3, "one");
    for endpoint in site.endpoints() {
        assert!(said.contains(&format!("http://{endpoint}/")), "{endpoint} is not shown: {said}");
    }

    let scale = site.cluster.rialto(&["web", "scale", "hello", "4"]);
    assert_eq!(scale.code, 0, "{}{}", scale.stdout, scale.stderr);
    site.assert_serves(4, "one");

    let update = [("--version one", "--version two"), ("instances = 3", "instances = 2")];
    let ((code, said), looks) = site.watched(|| site.deploy(&update));
    assert_eq!(code, 0, "{said}");
    assert!(looks > 5, "{looks} looks at the site are too few to tell");
    site.assert_serves(2, "two");

    let broken = [
        ("--version one", "--version three"),
        ("path = \"/healthz\"", "path = \"/nowhere\""),
        ("failures = 3", "failures = 1"),
        ("grace = \"5s\"", "grace = \"1s\""),
        update[1],
    ];
    let ((code, said), _) = site.watched(|| site.deploy(&broken));
    assert_eq!(code, 1, "a version whose check fails was taken: {said}");
    assert!(said.contains("rolled back"), "{said}");
    site.assert_serves(2, "two");

    let remove = site.cluster.rialto(&["web", "remove", "hello"]);
    assert_eq!(remove.code, 0, "{}", remove.stderr);
    wait_until("its instances have ended", || site.cluster.cluster().allocated.cpus == 0.0);
}

#[test]
fn an_instance_that_dies_is_replaced() {
    let site = Site::new("cpus:64;ports:[22000-22049]", "cpus:64;ports:[22050-22099]");
    let (code, said) = site.deploy(&[("instances = 3", "instances = 1")]);
    assert_eq!(code, 0, "{said}");
    let before = running(&site);
    let servers = processes_of(site.cluster.folder()).into_iter();
    let server = servers.into_iter().find(|(_, line)| line.contains("demo-server")).expect("the server runs").0;
    let pid = i32::try_from(server).ok().and_then(Pid::from_raw).expect("the kernel's own number");
    kill_process(pid, Signal::KILL).expect("it is ours");
    wait_until("another instance serves", || {
        running(&site).iter().any(|task| !before.contains(task)) && site.endpoints().len() == 1
    });
    site.assert_serves(1, "one");
}

/// Starts the framework, on the state that it left if it did.
fn serve(cluster: &Cluster) -> Process {
    let work_dir = cluster.name_of("web");
    let mut serve = cluster.spawn(&["web", "serve", "--listen", "127.0.0.1:0", "--work-dir", &work_dir]);
    let url = serve.line("where it listens", |line| line.strip_prefix("rialto web: ").map(str::to_owned));
    wait_until("the framework is found there", || {
        cluster.frameworks().iter().any(|one| one.connected && one.url.as_ref() == Some(&url))
    });
    serve
}

#[test]
fn a_framework_that_dies_finds_its_instances_again() {
    let mut site = Site::new("cpus:64;ports:[24000-24049]", "cpus:64;ports:[24050-24099]");
    let (code, said) = site.deploy(&[("instances = 3", "instances = 2")]);
    assert_eq!(code, 0, "{said}");
    let (before, framework) = (running(&site), site.cluster.frameworks().remove(0).id);
    site.serve.kill9();
    site.serve = serve(&site.cluster);
    assert_eq!(site.cluster.frameworks().remove(0).id, framework, "it is another framework now");
    wait_until("it knows its instances", || site.endpoints().len() == 2);
    assert_eq!(running(&site), before, "an instance was started anew");
    let scale = site.cluster.rialto(&["web", "scale", "hello", "3"]);
    assert_eq!(scale.code, 0, "{}{}", scale.stdout, scale.stderr);
    site.assert_serves(3, "one");
}

fn running(site: &Site) -> Vec<String> {
    site.cluster.tasks_in("TASK_RUNNING").into_iter().map(|task| task.id).collect()
}

#[test]
fn a_file_that_is_no_app_is_refused() {
    let site = Site::new("cpus:64;ports:[23000-23049]", "cpus:64;ports:[23050-23099]");
    for (old, new, says) in [
        ("instances = 3", "instances = -3", "instances"),
        ("cpus = 0.1", "cpus = \"many\"", "cpus"),
        ("name = \"hello\"", "name = \"hello\"\ncolour = \"red\"", "colour"),
        ("[health]", "[health", "line"),
    ] {
        let (code, said) = site.deploy(&[(old, new)]);
        assert_eq!(code, 2, "{new}: {said}");
        assert!(said.contains(says), "{says:?} is not said: {said}");
    }
    let unknown = site.cluster.rialto(&["web", "scale", "nobody", "2"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("nobody"), "{}", unknown.stderr);
    assert_eq!(site.cluster.tasks().len(), 0);
}
