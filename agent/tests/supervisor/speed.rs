//! What containment costs: figures for people, with a bound that only something broken exceeds.

use std::time::{Duration, Instant};

use rialto_agent::cgroup::{Hierarchies, Limits};
use rialto_agent::supervisor::client;
use rialto_agent::supervisor::protocol::{
    CgroupSpec, Container, Durability, Namespaces, Network, Right, Root, Spec, TaskSpec, VERSION,
};

use crate::harness::{Run, home, shell};

const RUNS: u32 = 20;

fn contained(task: &mut TaskSpec, hierarchies: &Hierarchies) -> Container {
    let limits = Limits { cpu_share_milli: 100, cpu_max_milli: None, memory_bytes: Some(64 << 20), pids: Some(100) };
    task.cgroup = Some(CgroupSpec { name: "speed".to_owned(), limits, ports: None });
    let namespaces = Namespaces {
        hidden: Vec::new(),
        shown: Vec::new(),
        root: Root::Shared,
        image: None,
        network: Network::Host,
        right: Right::Root,
    };
    Container { cgroups: hierarchies.clone(), namespaces: Some(namespaces), ..Container::default() }
}

/// The mean time until a short command runs, and until its supervisor is gone.
fn time(hierarchies: Option<&Hierarchies>) -> (Duration, Duration) {
    let (mut running, mut gone) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..RUNS {
        let home = home();
        let mut task = shell(&home, "main", "exec sleep 0.2");
        let container = hierarchies.map(|hierarchies| contained(&mut task, hierarchies));
        let spec = Spec { version: VERSION, durability: Durability::ProcessLoss, container, tasks: vec![task] };
        let asked = Instant::now();
        let mut run = Run::of(home, &spec);
        run.running("main");
        running += asked.elapsed();
        run.end();
        gone += asked.elapsed();
        assert_eq!(client::log(&run.dir), "");
    }
    (running / RUNS, gone / RUNS)
}

#[test]
fn containment_is_quick() {
    let plain = time(None);
    println!("plain: running after {:?}, gone after {:?}", plain.0, plain.1);
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: containment needs root");
    }
    let key = format!("speed-{}", std::process::id());
    let hierarchies = Hierarchies::detect_here("rialto-test", &key).expect("readable").hierarchies;
    let contained = time(Some(&hierarchies));
    hierarchies.remove();
    println!("contained: running after {:?}, gone after {:?}", contained.0, contained.1);
    assert!(contained.0 < Duration::from_secs(1), "{contained:?}");
}
