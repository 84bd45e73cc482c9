//! An agent that can be told where to die, for the tests that walk all points: `crash-agent MASTER WORK_DIR LAUNCHER [FOLDER]`, with devices
//! of the source `fake:gpu,model=G2`. It is its own supervisor. FOLDER has `cdi/` with specifications of `vendor.com/card`, `logins.json` for
//! registries and `authority.pem`; with it, the journal is compacted whenever it has grown.

use std::process::ExitCode;

use rialto_agent::{DeviceSource, LauncherKind, Options};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "supervise") {
        return rialto_agent::supervisor::main();
    }
    let [master, work_dir, launcher, rest @ ..] = &*args else {
        eprintln!("expected: crash-agent MASTER WORK_DIR LAUNCHER [FOLDER]");
        return ExitCode::from(2);
    };
    let exe = std::env::current_exe().expect("this program has a path");
    let mut options = Options::new(master, work_dir, exe);
    options.launcher = if launcher == "linux" { LauncherKind::Linux } else { LauncherKind::Process };
    options.cgroup_root = "rialto-test".to_owned();
    options.resources = "cpus:8;mem:8192".parse().expect("they are well formed");
    options.device_sources = vec![DeviceSource::parse("fake:gpu,model=G2").expect("it is well formed")];
    if let [folder] = rest {
        equip(&mut options, folder);
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
    match runtime.block_on(rialto_agent::run(options, std::future::pending())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// With hooks, logins and compaction.
fn equip(options: &mut Options, folder: &str) {
    let cards = DeviceSource::parse(&format!("cdi:vendor.com/card,folder={folder}/cdi")).expect("it is well formed");
    options.device_sources.push(cards);
    let logins = std::fs::read_to_string(format!("{folder}/logins.json")).expect("it is there");
    options.images.logins = rialto_agent::Login::read(&logins).expect("they are well formed");
    options.fetch.tls_ca = Some(std::fs::read(format!("{folder}/authority.pem")).expect("it is there"));
    options.compact_after_bytes = 256;
}
