//! One TOML file, environment variables, the command line: which of them wins.

use crate::harness::{AgentSpec, Cluster, Process, find};

#[test]
fn the_file_gives_defaults_the_environment_wins_the_command_line_wins_over_both() {
    let cluster = Cluster::start(&[]);
    let file = cluster
        .write("rialto.toml", "[agent]\nresources = \"cpus:3;mem:1024\"\ndevice-source = [\"fake:gpu,model=T4\"]\n");
    let from_file = start(&cluster, "file", &[("RIALTO_CONFIG", &file)], &[]);
    let from_environment =
        start(&cluster, "environment", &[("RIALTO_CONFIG", &file), ("RIALTO_RESOURCES", "cpus:5")], &[]);
    let from_line =
        start(&cluster, "line", &[("RIALTO_RESOURCES", "cpus:5")], &["--config", &file, "--resources", "cpus:7"]);
    for (name, cpus, _process) in
        [("file", 3.0, from_file), ("environment", 5.0, from_environment), ("line", 7.0, from_line)]
    {
        let agent = find(&format!("agent {name} has registered"), || {
            cluster.agents().into_iter().find(|agent| agent.name == name)
        });
        assert_eq!(agent.total.cpus, cpus, "{name}");
        let devices = find(&format!("the device of {name} is known"), || {
            cluster.devices().into_iter().find(|device| device.agent == agent.id)
        });
        assert_eq!(devices.model, "T4", "{name}");
    }
}

#[test]
fn a_file_for_clients_says_where_the_master_is() {
    let cluster = Cluster::start(&[AgentSpec::roomy("solo")]);
    let token = cluster.name_of("master/token");
    let text = format!("[client]\nmaster = \"{}\"\ntoken-file = \"{token}\"\n[run]\ncpus = 0.5\n", cluster.address());
    let file = cluster.write("rialto.toml", &text);
    let mut run = cluster.command(&["run", "--config", &file, "--", "echo", "hello"]);
    run.env_remove("RIALTO_MASTER").env_remove("RIALTO_TOKEN_FILE");
    let hello = cluster.start_process("run", &mut run).finish();
    assert_eq!((hello.code, hello.stdout.as_str()), (0, "hello\n"), "{}", hello.stderr);
    assert_eq!(cluster.tasks()[0].given.cpus, 0.5);
}

#[test]
fn what_the_file_should_not_say_is_named() {
    let cluster = Cluster::nothing();
    for (text, says) in [
        ("[agent]\nresurces = \"cpus:3\"\n", "agent.resurces"),
        ("[agnet]\nresources = \"cpus:3\"\n", "agnet"),
        ("[client]\nmastre = \"127.0.0.1:1\"\n", "client.mastre"),
        ("[agent]\nresources = [\"cpus:3\", \"mem:1\"]\n", "agent.resources"),
        ("[agent\n", "line 1"),
        ("resources = \"cpus:3\"\n", "resources"),
    ] {
        let file = cluster.write("rialto.toml", text);
        let ended = cluster.rialto(&["agents", "--config", &file]);
        assert_eq!(ended.code, 2, "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains(says) && ended.stderr.contains("rialto.toml"), "{text}: {}", ended.stderr);
    }
    let missing = cluster.rialto(&["agents", "--config", &cluster.name_of("missing.toml")]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("missing.toml"), "{}", missing.stderr);
}

fn start(cluster: &Cluster, name: &str, environment: &[(&str, &str)], options: &[&str]) -> Process {
    let folder = cluster.name_of(name);
    let args = [&["agent", "--name", name, "--work-dir", &folder][..], options].concat();
    let mut command = cluster.command(&args);
    command.envs(environment.iter().copied());
    cluster.start_process(name, &mut command)
}
