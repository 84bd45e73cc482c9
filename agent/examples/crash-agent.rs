//! An agent that can be told where to die, for the tests that walk all points: `crash-agent MASTER WORK_DIR LAUNCHER`, with devices of the
//! source `fake:gpu,model=G2`. It is its own supervisor.

use std::process::ExitCode;

use rialto_agent::{DeviceSource, LauncherKind, Options};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "supervise") {
        return rialto_agent::supervisor::main();
    }
    let [master, work_dir, launcher] = &*args else {
        eprintln!("expected: crash-agent MASTER WORK_DIR LAUNCHER");
        return ExitCode::from(2);
    };
    let exe = std::env::current_exe().expect("this program has a path");
    let mut options = Options::new(master, work_dir, exe);
    options.launcher = if launcher == "linux" { LauncherKind::Linux } else { LauncherKind::Process };
    options.cgroup_root = "rialto-test".to_owned();
    options.resources = "cpus:8;mem:8192".parse().expect("they are well formed");
    options.device_sources = vec![DeviceSource::parse("fake:gpu,model=G2").expect("it is well formed")];
    let runtime = tokio::runtime::Runtime::new().expect("threads can be made");
    match runtime.block_on(rialto_agent::run(options, std::future::pending())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
