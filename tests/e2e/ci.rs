//! `rialto ci run`: pipelines against commits of real repositories.

use std::path::Path;
use std::process::Command;

use crate::harness::{AgentSpec, Cluster, is_alive, wait_until};
use crate::observer::Observer;

const AGENTS: [AgentSpec; 2] =
    [AgentSpec::roomy("left"), AgentSpec::roomy("right").with_devices(&["fake:gpu,model=T4"])];

#[test]
fn artefacts_go_from_job_to_job_and_the_commit_is_the_one_that_was_asked_for() {
    let cluster = Cluster::start(&AGENTS);
    let text = std::fs::read_to_string(root().join("examples/ci/minimal.yml")).expect("the example is there");
    let commit = repository(&cluster, &[("pipeline.yml", &text)]);
    let run = pipeline(&cluster);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let line = format!("built from {}", &commit[..8]);
    assert!(run.stdout.lines().any(|said| said.contains("test") && said.contains(&line)), "{}", run.stdout);
    assert_eq!(cluster.tasks_in("TASK_FINISHED").len(), 2);
}

#[test]
fn a_failing_job_fails_the_pipeline_and_what_depends_on_it_is_not_run() {
    let cluster = Cluster::start(&AGENTS);
    let text = "stages: [build, test]\nbad:\n  stage: build\n  script: [echo about to fail, exit 5]\n\
                allowed:\n  stage: build\n  allow_failure: true\n  script: [exit 6]\n\
                later:\n  stage: test\n  script: [echo never]\n\
                cleaner:\n  stage: test\n  when: always\n  script: [echo cleaned]\n";
    repository(&cluster, &[("pipeline.yml", text)]);
    let run = pipeline(&cluster);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("about to fail") && run.stdout.contains("cleaned"), "{}", run.stdout);
    assert!(!run.stdout.contains("never"), "{}", run.stdout);
    assert_eq!(cluster.tasks().len(), 3, "{}", run.stdout);
}

#[test]
fn control_c_ends_the_pipeline_and_its_jobs() {
    let cluster = Cluster::start(&AGENTS);
    let observer = Observer::new(cluster.make_folder("observed"));
    let text = format!("wait:\n  script:\n    - |\n      {}\n", observer.command(0));
    repository(&cluster, &[("pipeline.yml", &text)]);
    let repository = cluster.name_of("repository");
    let run = cluster.spawn(&["ci", "run", &cluster.name_of("repository/pipeline.yml"), "--repo", &repository]);
    let job = observer.wait_for(1).remove(0);
    wait_until("the job is known to run", || cluster.tasks_in("TASK_RUNNING").len() == 1);
    run.interrupt();
    let ended = run.finish();
    assert_ne!(ended.code, 0, "{}", ended.stdout);
    wait_until("the job has ended", || !is_alive(job.pid));
    wait_until("its resources are free", || cluster.cluster().allocated.cpus == 0.0);
}

#[test]
fn a_job_gets_the_device_that_it_asks_for() {
    let cluster = Cluster::start(&AGENTS);
    let text = "use:\n  script: ['echo holding $RIALTO_DEVICES']\n  resources: {devices: [gpu]}\n";
    repository(&cluster, &[("pipeline.yml", text)]);
    let run = pipeline(&cluster);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("holding gpu-T4-0"), "{}", run.stdout);
}

#[test]
fn a_file_that_is_no_pipeline_is_refused_before_anything_runs() {
    let cluster = Cluster::start(&AGENTS);
    for (text, says) in [
        ("a:\n  script: [true\n", "line"),
        ("a:\n  scripts: [\"true\"]\n", "scripts"),
        ("a:\n  script: [\"true\"]\n  needs: [b]\nb:\n  script: [\"true\"]\n  needs: [a]\n", "circle"),
        ("a:\n  script: [\"true\"]\n  needs: [nobody]\n", "nobody"),
        ("a:\n  stage: nowhere\n  script: [\"true\"]\n", "nowhere"),
        ("a:\n  script: [\"true\"]\n  resources: {cpus: -1}\n", "cpus"),
        ("a:\n  script: [\"true\"]\n  resources: {devices: [\"gpu: memory >\"]}\n", "column 9"),
        ("", "job"),
    ] {
        repository(&cluster, &[("pipeline.yml", text), ("README", "so that there is something to commit")]);
        let run = pipeline(&cluster);
        assert_eq!(run.code, 2, "{text}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains(says), "{says:?} is not said: {}", run.stderr);
    }
    assert_eq!(cluster.tasks().len(), 0);
}

#[test]
fn the_example_for_this_repository_passes() {
    let cluster = Cluster::start(&AGENTS);
    let listed = git(&root(), &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let source = cluster.make_folder("repository");
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let to = source.join(name);
        std::fs::create_dir_all(to.parent().expect("a file lies in a folder")).expect("it is ours");
        // A file that is deleted and not yet committed is listed, and is not there.
        if root().join(name).exists() {
            std::fs::copy(root().join(name), to).expect("it can be read");
        }
    }
    // Whether the sources are formatted is asked by the one test command itself; here the question is whether the pipeline works.
    Command::new("cargo").args(["fmt", "--all"]).current_dir(&source).status().ok();
    commit(&source);
    let file = cluster.name_of("repository/examples/ci/rialto.yml");
    let run = cluster.rialto(&["ci", "run", &file, "--repo", &cluster.name_of("repository")]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("9592 primes below 100000"), "{}", run.stdout);
    assert!(run.stdout.contains("alone on gpu-T4-0"), "{}", run.stdout);
}

/// A repository of these files with one commit, which is returned.
fn repository(cluster: &Cluster, files: &[(&str, &str)]) -> String {
    let folder = cluster.make_folder("repository");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("it is ours");
    }
    commit(&folder)
}

fn commit(folder: &Path) -> String {
    git(folder, &["init", "--quiet"]);
    git(folder, &["add", "--all"]);
    let who = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"];
    git(folder, &[&who[..], &["commit", "--quiet", "--message", "what is tested"]].concat());
    git(folder, &["rev-parse", "HEAD"]).trim().to_owned()
}

/// Runs `pipeline.yml` of the repository, as somebody who stands elsewhere.
#[track_caller]
fn pipeline(cluster: &Cluster) -> crate::harness::Finished {
    let file = cluster.name_of("repository/pipeline.yml");
    cluster.rialto(&["ci", "run", &file, "--repo", &cluster.name_of("repository")])
}

#[track_caller]
fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git").args(args).current_dir(folder).output().expect("git is installed");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names are text")
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
