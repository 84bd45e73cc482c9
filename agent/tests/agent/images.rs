//! Tasks that run in images.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use rialto_core::model::{Exit, Reason, Status, Task, TaskState};
use rialto_proto::spec::{CommandSpec, TaskSpec};
use serde_json::json;

use crate::harness::{World, spec_task};
use crate::image_kit::{Builder, Layout, busybox, gzip, sha256};

async fn world(layout: &Layout) -> Option<World> {
    let folder = layout.path().to_owned();
    World::contained(|options| options.fetch.folders = vec![folder]).await
}

fn spec_in(image: &str, command: &str) -> TaskSpec {
    let mut spec = TaskSpec::shell(command);
    spec.container.image = Some(image.to_owned());
    spec
}

fn oci(layout: &Layout, rest: &str) -> String {
    format!("oci:{}{rest}", layout.path().display())
}

/// Runs a task to its end and gives its output.
async fn output(world: &mut World, id: &str, spec: &TaskSpec) -> String {
    let mut task: Task = spec_task(id, spec);
    task.resources = "cpus:0.1;mem:128".parse().expect("they are well formed");
    world.launch(vec![task]).await;
    world.expect(id, TaskState::Running).await;
    let status = world.expect_end(id).await;
    let stderr = std::fs::read_to_string(world.sandbox(id).join("stderr")).unwrap_or_default();
    assert_eq!(status.exit, Some(Exit::Code(0)), "{status:?}: {stderr}");
    world.stdout(id)
}

async fn refused(world: &mut World, id: &str, image: &str) -> Status {
    world.launch(vec![spec_task(id, &spec_in(image, "true"))]).await;
    let status = world.expect(id, TaskState::Failed).await;
    assert_eq!(status.reason, Some(Reason::ArtefactRefused), "{status:?}");
    status
}

#[tokio::test]
async fn a_task_sees_the_files_of_its_image_and_not_the_machines() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    let over = Builder::default().file("hello", b"over\n", 0o644).file("etc/.wh.motd", b"", 0o644).done();
    let under = Builder::default().file("hello", b"under\n", 0o644).file("etc/motd", b"gone\n", 0o644).done();
    layout.add("v1", &[base, under, over], &json!({}));
    let Some(mut world) = world(&layout).await else { return };
    let command = "cat /hello; ls /etc/motd /usr/bin/env /root 2>/dev/null; pwd; id -u; ls /dev | grep -c loop; \
        touch /mine /tmp/mine && echo wrote; ls /proc | grep -c '^[0-9]'; echo in sandbox > file; grep ' / ' /proc/mounts | cut -d' ' -f1 2>/dev/null; true";
    let seen = output(&mut world, "t1", &spec_in(&oci(&layout, ":v1"), command)).await;
    let sandbox = world.sandbox("t1");
    assert!(seen.starts_with(&format!("over\n{}\n0\n0\nwrote\n", sandbox.display())), "{seen}");
    assert_eq!(std::fs::read_to_string(sandbox.join("file")).expect("it wrote"), "in sandbox\n");
    let again = output(&mut world, "t2", &spec_in(&oci(&layout, ""), "ls /mine 2> /dev/null; cat /hello")).await;
    assert_eq!(again, "over\n", "what one task writes is its own");
    assert!(!std::path::Path::new("/mine").exists() && !std::path::Path::new("/hello").exists());
}

#[tokio::test]
async fn a_task_runs_as_its_image_wants_it() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    let app = Builder::default().file("app/data", b"data\n", 0o644).done();
    let config = json!({"Env": ["PATH=/bin", "COLOUR=red", "NAME=image"], "Entrypoint": ["/bin/sh", "-c"], "WorkingDir": "/app", "User": "app"});
    let digest = layout.add("v1", &[base, app], &config);
    let Some(mut world) = world(&layout).await else { return };
    let image = oci(&layout, &format!("@{digest}"));
    let command = "cat data; id -u; id -g; echo $COLOUR $NAME $PATH; touch $RIALTO_SANDBOX/mine && echo wrote";
    let mut spec = TaskSpec::new(CommandSpec::Argv(vec![command.to_owned()]));
    spec.container.image = Some(image.clone());
    spec.env.push(("NAME".to_owned(), "task".to_owned()));
    assert_eq!(output(&mut world, "t1", &spec).await, "data\n4321\n8765\nred task /bin\nwrote\n");
    let mut other = spec_in(&image, "id -u; id -g; pwd");
    other.user = "1000:1001".to_owned();
    other.working_dir = "/etc".to_owned();
    assert_eq!(output(&mut world, "t2", &other).await, "1000\n1001\n/etc\n");
    other.user = "nobody-knows".to_owned();
    world.launch(vec![spec_task("t3", &other)]).await;
    let status = world.expect("t3", TaskState::Failed).await;
    assert!(status.message.contains("expected one that the image knows, got \"nobody-knows\""), "{}", status.message);
}

#[tokio::test]
async fn a_read_only_image_can_not_be_written_to() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    layout.add("v1", &[base], &json!({}));
    let Some(mut world) = world(&layout).await else { return };
    let mut spec = spec_in(&oci(&layout, ":v1"), "touch /a 2>/dev/null || echo no; touch /tmp/b mine && echo yes");
    spec.container.read_only = true;
    assert_eq!(output(&mut world, "t1", &spec).await, "no\nyes\n");
}

#[tokio::test]
async fn what_is_not_an_image_never_starts() {
    let mut layout = Layout::new();
    let layer = Builder::default().file("file", b"content", 0o644).done();
    layout.add("v1", std::slice::from_ref(&layer), &json!({}));
    layout.add("traversal", &[Builder::default().file("../../evil", b"x", 0o644).done()], &json!({}));
    let large = Builder::default().file("zeros", &vec![0; 3 << 20], 0o644).done();
    layout.add("bomb", std::slice::from_ref(&large), &json!({}));
    // Small as it comes.
    layout.add("packed", &[gzip(&large)], &json!({}));
    let through = Builder::default().link("out", "/etc").file("out/evil", b"x", 0o644).done();
    layout.add("through", &[through], &json!({}));
    let torn = Builder::default().file("torn", b"x", 0o644).done();
    layout.add("tampered", std::slice::from_ref(&torn), &json!({}));
    let path = layout.blob_path(&sha256(&torn));
    let mut file = std::fs::OpenOptions::new().write(true).open(path).expect("it is there");
    file.write_all(b"evil").expect("it can be written");
    std::os::unix::fs::symlink("/etc", layout.path().join("link")).expect("it can be made");
    let folder = layout.path().to_owned();
    let small = |options: &mut rialto_agent::Options| {
        options.fetch.folders = vec![folder];
        options.images.max_bytes = 2 << 20;
    };
    let Some(mut world) = World::contained(small).await else { return };
    let cases = [
        (oci(&layout, ":v2"), "no image is called v2"),
        (oci(&layout, ""), "expected a tag, as there are 6 images"),
        (oci(&layout, &format!("@sha256:{}", "0".repeat(64))), "it is not there"),
        (oci(&layout, "@sha256:123"), "expected 64 hexadecimal digits"),
        (oci(&layout, ":traversal"), "stays in the archive's own folder"),
        (oci(&layout, ":bomb"), "larger than the 2097152 bytes"),
        (oci(&layout, ":packed"), "more than 2097152 bytes"),
        (oci(&layout, ":through"), "it leads through a link"),
        (oci(&layout, ":tampered"), "but what came has"),
        (oci(&layout, "/link"), "no folder that this agent lets tasks fetch from"),
        ("oci:/etc".to_owned(), "no folder that this agent lets tasks fetch from"),
        (format!("oci:{}/../x", layout.path().display()), "without '..'"),
        ("busybox".to_owned(), "expected oci:FOLDER, oci-archive:FILE, docker://HOST/NAME or oci://HOST/NAME"),
        ("docker://host".to_owned(), "expected docker://HOST/NAME"),
        ("docker://host/Name".to_owned(), "small letters"),
    ];
    for (index, (image, why)) in cases.iter().enumerate() {
        let status = refused(&mut world, &format!("t{index}"), image).await;
        assert!(status.message.starts_with("image ") && status.message.contains(why), "{why}: {}", status.message);
    }
    let left =
        |name: &str| std::fs::read_dir(world.options.work_dir.join("images").join(name)).expect("it exists").count();
    assert_eq!((left("layers"), left("drafts")), (0, 0), "nothing of them stays");
}

#[tokio::test]
async fn an_image_may_be_an_archive_and_its_layers_are_shared() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    let config = json!({});
    layout.add("v1", std::slice::from_ref(&base), &config);
    let archive = layout.path().join("image.tar");
    let mut tar = Command::new("tar");
    tar.args(["-cf", "image.tar", "oci-layout", "index.json", "blobs"]).current_dir(layout.path());
    let done = tar.status().expect("tar runs");
    assert!(done.success());
    layout.add("v2", &[base, Builder::default().file("two", b"two\n", 0o644).done()], &config);
    let Some(mut world) = world(&layout).await else { return };
    let image = format!("oci-archive:{}:v1", archive.display());
    assert_eq!(output(&mut world, "t1", &spec_in(&image, "ls /two 2>/dev/null; echo one")).await, "one\n");
    assert_eq!(output(&mut world, "t2", &spec_in(&oci(&layout, ":v2"), "cat /two")).await, "two\n");
    let layers = std::fs::read_dir(world.options.work_dir.join("images/layers")).expect("it exists").flatten();
    assert_eq!(layers.filter(|entry| entry.path().is_dir()).count(), 2, "the first layer is there once");
}

#[tokio::test]
async fn layers_that_nobody_uses_are_removed_and_those_of_running_tasks_are_not() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    layout.add("base", std::slice::from_ref(&base), &json!({}));
    for name in ["a", "b"] {
        let layer = Builder::default().file(name, &vec![b'x'; 1 << 20], 0o644).done();
        layout.add(name, &[base.clone(), layer], &json!({}));
    }
    let folder = layout.path().to_owned();
    let small = |options: &mut rialto_agent::Options| {
        options.fetch.folders = vec![folder];
        options.images.cache_bytes = 1;
    };
    let Some(mut world) = World::contained(small).await else { return };
    let mut task = spec_task("t1", &spec_in(&oci(&layout, ":base"), "exec sleep 1000"));
    task.resources = "cpus:0.1;mem:128".parse().expect("they are well formed");
    world.launch(vec![task]).await;
    world.expect("t1", TaskState::Running).await;
    output(&mut world, "t2", &spec_in(&oci(&layout, ":a"), "ls /a")).await;
    output(&mut world, "t3", &spec_in(&oci(&layout, ":b"), "ls /b")).await;
    let layers = std::fs::read_dir(world.options.work_dir.join("images/layers")).expect("it exists").flatten();
    let mut sizes: Vec<u64> = layers
        .filter(|entry| entry.path().is_dir())
        .map(|entry| std::fs::read_dir(entry.path()).expect("a layer").flatten().count() as u64)
        .collect();
    sizes.sort_unstable();
    assert!(sizes.contains(&2), "the running task's layer, with bin and etc, is there: {sizes:?}");
    world.kill("t1").await;
    world.expect("t1", TaskState::Killed).await;
}

/// A registry that ends with the test.
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    pub(crate) folder: tempfile::TempDir,
}

/// The user `tester` with the password `s3cret`.
const HTPASSWD: &str = "tester:$2y$05$ZypeyT5m1hMVTq6IoVJwRe0.SEvRhVDO0htdn396KuaIgXarOK0W.\n";

impl Registry {
    /// One that asks nobody who they are, without TLS.
    pub(crate) fn start() -> Option<Self> {
        Self::with(tempfile::tempdir().expect("a temporary folder"), "")
    }

    /// One that asks for a login, with TLS; its certificate is in its folder.
    pub(crate) fn private() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-subj", "/CN=registry", "-days", "2", "-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &path("key"), "-out", &path("cert")]);
        let Ok(made) = openssl.stderr(Stdio::null()).status() else {
            println!("skipped: no openssl");
            return None;
        };
        assert!(made.success());
        std::fs::write(path("htpasswd"), HTPASSWD).expect("it can be written");
        let more = format!(
            "  tls: {{certificate: {}, key: {}}}\nauth: {{htpasswd: {{realm: rialto, path: {}}}}}\n",
            path("cert"),
            path("key"),
            path("htpasswd")
        );
        Self::with(folder, &more)
    }

    fn with(folder: tempfile::TempDir, more: &str) -> Option<Self> {
        let config = folder.path().join("config.yml");
        let root = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: '127.0.0.1:0'\n{more}",
            root.display()
        );
        std::fs::write(&config, text).expect("it can be written");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped()).stdin(Stdio::null());
        let Ok(mut process) = command.spawn() else {
            println!("skipped: no docker-registry");
            return None;
        };
        let lines = BufReader::new(process.stderr.take().expect("it is a pipe"));
        let mut lines = lines.lines().map_while(Result::ok);
        let address = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split(['"', ' ', ',']).next()?.to_owned())
        });
        // What it says later must find somebody who reads.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address: address.expect("it says where it listens"), folder })
    }
}

impl Registry {
    /// Takes the image `v1` of a layout as `team/tool:v1`, from `tester`. False, and a word, where there is nobody to push it.
    pub(crate) fn takes(&self, layout: &Layout) -> bool {
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            "--dest-creds",
            "tester:s3cret",
        ]);
        skopeo.arg(oci(layout, ":v1")).arg(format!("docker://{}/team/tool:v1", self.address));
        let Ok(pushed) = skopeo.status() else {
            println!("skipped: no skopeo");
            return false;
        };
        assert!(pushed.success());
        true
    }
}

impl Registry {
    /// Of the image that it has taken, as it is kept here: the client may have compressed the layers.
    pub(crate) fn digest(&self) -> String {
        let link = "data/docker/registry/v2/repositories/team/tool/_manifests/tags/v1/current/link";
        std::fs::read_to_string(self.folder.path().join(link)).expect("it keeps its images in files")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test]
async fn an_image_comes_from_a_real_registry_by_tag_and_by_digest() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    layout.add("v1", &[base, Builder::default().file("hello", b"hello\n", 0o644).done()], &json!({}));
    let Some(registry) = Registry::start() else { return };
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile"]);
    // The client may have compressed the layers.
    skopeo.arg(layout.path().join("digest"));
    skopeo.arg(oci(&layout, ":v1")).arg(format!("docker://{}/team/tool:v1", registry.address));
    let Ok(pushed) = skopeo.status() else { return println!("skipped: no skopeo") };
    assert!(pushed.success());
    let digest = std::fs::read_to_string(layout.path().join("digest")).expect("it was written");
    let Some(mut world) = world(&layout).await else { return };
    let name = format!("docker://{}/team/tool", registry.address);
    assert_eq!(output(&mut world, "t1", &spec_in(&format!("{name}:v1"), "cat /hello")).await, "hello\n");
    assert_eq!(output(&mut world, "t2", &spec_in(&format!("{name}@{}", digest.trim()), "cat /hello")).await, "hello\n");
    for (index, (rest, why)) in
        [(":v2", "404"), ("@sha256:0000000000000000000000000000000000000000000000000000000000000000", "404")]
            .iter()
            .enumerate()
    {
        let status = refused(&mut world, &format!("u{index}"), &format!("{name}{rest}")).await;
        assert!(status.message.contains(why), "{}", status.message);
    }
}

#[tokio::test]
async fn a_registry_that_asks_for_a_login_gets_it_over_tls() {
    let Some(base) = busybox() else { return };
    let mut layout = Layout::new();
    layout.add("v1", &[base, Builder::default().file("hello", b"hello\n", 0o644).done()], &json!({}));
    let Some(registry) = Registry::private() else { return };
    if !registry.takes(&layout) {
        return;
    }
    let authority = std::fs::read(registry.folder.path().join("cert")).expect("it was made");
    // Base64 of tester:s3cret, and of tester:wrong.
    for (auth, taken) in [("dGVzdGVyOnMzY3JldA==", true), ("dGVzdGVyOndyb25n", false)] {
        let logins = json!({"auths": {&*registry.address: {"auth": auth}}}).to_string();
        let change = |options: &mut rialto_agent::Options| {
            options.fetch.tls_ca = Some(authority.clone());
            options.images.logins = rialto_agent::Login::read(&logins).expect("well formed");
        };
        let Some(mut world) = World::contained(change).await else { return };
        let name = format!("docker://{}/team/tool:v1", registry.address);
        if taken {
            assert_eq!(output(&mut world, "t1", &spec_in(&name, "cat /hello")).await, "hello\n");
        } else {
            let status = refused(&mut world, "t1", &name).await;
            assert!(status.message.contains("does not take this agent's credentials"), "{}", status.message);
        }
    }
}
