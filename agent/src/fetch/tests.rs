use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::ImagePolicy;
use crate::work_dir::WorkDir;

/// SHA-256 of `hello` and a line feed.
pub(super) const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
pub(super) const KEY: &str = "RWSJ257XjoWKZ+PWkJLnmfaXZtWPf96venUuXr/nhpFauR4rllQzRwAy";
const OTHER_KEY: &str = "RWT6fzzfhaHzdGE3NFsCCZfX1Ide4nmGIjwD+RmU+3XNnibmTTzYsrd3";
/// Of `hello` and a line feed, by the secret part of [`KEY`].
pub(super) const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUSJ257XjoWKZ2/eoMWCm76Bz7FNwme8vmmzxJjXcGQwNwlgg2k59fm6eOvDiDteObV59QLr5NvdvjDzIKwHD3fLB3rgSzJCtws=
trusted comment: trusted
uDX+U+2cphkvmE6Kx/66NYTEgSKI6vvjQd7gxM47g2pu6jwOM7a5+XaOX44e+7sWTEb9lBMgy1ajiju6tLGWBA==
";

/// A server that answers every path in a way of its own.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let len = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..len]).into_owned();
                let target = request.split(' ').nth(1).unwrap_or("/");
                let path = target.split('?').next().unwrap_or(target).to_owned();
                let _gone = stream.write_all(&answer(&path)).await;
            });
        }
    });
    address
}

fn answer(path: &str) -> Vec<u8> {
    let ok =
        |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let text = match path {
        "/hello" => ok("hello\n"),
        "/tampered" => ok("hellO\n"),
        "/hello.minisig" | "/tampered.minisig" => ok(SIGNATURE),
        "/moved" => {
            "HTTP/1.1 302 Found\r\nlocation: /hello\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
        }
        "/round" => {
            "HTTP/1.1 302 Found\r\nlocation: /round\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
        }
        "/large" => "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\nconnection: close\r\n\r\n".to_owned(),
        "/endless" => format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(3 << 20)),
        "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nonly this".to_owned(),
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    };
    text.into_bytes()
}

/// Images of an agent that has fetched none.
pub(super) fn images(work_dir: &Path) -> Images {
    let layout = WorkDir::open(work_dir).expect("it is free").layout();
    Images::new(ImagePolicy::default(), &layout).expect("it can be made")
}

/// A fetcher with a policy, and a sandbox.
pub(super) struct World {
    folder: tempfile::TempDir,
    fetcher: Fetcher,
    images: Images,
    address: SocketAddr,
}

impl World {
    pub(super) async fn new(change: impl FnOnce(&mut FetchPolicy, &Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["sandbox", "shared"] {
            fs::create_dir(folder.path().join(name)).expect("it can be made");
        }
        let mut policy = FetchPolicy { max_bytes: 1 << 20, ..FetchPolicy::default() };
        policy.folders.push(folder.path().join("shared"));
        change(&mut policy, folder.path());
        let fetcher = Fetcher::new(policy, &folder.path().join("work")).expect("it can be made");
        let images = images(folder.path());
        Self { folder, fetcher, images, address: server().await }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, path: &str) -> Artefact {
        Artefact::new(&format!("http://{}/{path}", self.address))
    }

    fn file(&self, name: &str) -> Artefact {
        Artefact::new(&format!("file://{}", self.path(name).display()))
    }

    pub(super) async fn fetch(&self, artefact: Artefact) -> Result<(), FetchError> {
        self.fetch_as("eng/ci", artefact).await
    }

    pub(super) async fn fetch_as(&self, role: &str, artefact: Artefact) -> Result<(), FetchError> {
        let role = role.parse().expect("a good role");
        let job = Job { artefacts: vec![artefact], role, sandbox: self.path("sandbox"), owner: None };
        self.fetcher.fetch(&job, &self.images).await
    }

    /// Nothing is there but the log.
    pub(super) async fn refuses(&self, artefact: Artefact, why: &str) {
        let error = self.fetch(artefact).await.expect_err("it is not acceptable");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.problem.is_artefacts_fault(), "{error}");
        let left: Vec<_> = fs::read_dir(self.path("sandbox")).expect("it exists").flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == "fetch.log"), "{left:?}");
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path("sandbox").join(name)).expect("it was fetched")
    }
}

pub(super) fn with(artefact: Artefact, change: impl FnOnce(&mut Artefact)) -> Artefact {
    let mut artefact = artefact;
    change(&mut artefact);
    artefact
}

#[tokio::test]
async fn a_file_comes_over_http_and_the_log_tells_how() {
    let world = World::new(|_, _| {}).await;
    world.fetch(world.url("hello")).await.expect("it is there");
    assert_eq!(world.read("hello"), "hello\n");
    let log = world.read("fetch.log");
    assert!(log.contains("fetching http://") && log.contains(HELLO) && log.contains("hello: 6 bytes"), "{log}");
    let renamed = with(world.url("moved?token=secret"), |artefact| {
        artefact.destination = "bin/greet".to_owned();
        artefact.executable = true;
    });
    world.fetch(renamed).await.expect("it is there");
    let mode = fs::metadata(world.path("sandbox/bin/greet")).expect("it was fetched").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(!world.read("fetch.log").contains("secret"), "what may be secret is not logged");
}

#[tokio::test]
async fn what_is_not_what_it_must_be_is_refused() {
    let world = World::new(|_, _| {}).await;
    let digest = Some(HELLO.parse().expect("a digest"));
    world.fetch(with(world.url("hello"), |artefact| artefact.sha256 = digest)).await.expect("it is the right one");
    fs::remove_file(world.path("sandbox/hello")).expect("it was fetched");
    let tampered = with(world.url("tampered"), |artefact| {
        artefact.sha256 = Some(format!("{}0", &HELLO[..63]).parse().expect("a digest"));
    });
    world.refuses(tampered, "but what came has").await;
    world.refuses(world.url("nowhere"), "404").await;
    world.refuses(world.url("round"), "at most 10 redirections").await;
    world.refuses(world.url("large"), "larger than the 1048576 bytes").await;
    world.refuses(world.url("endless"), "larger than the 1048576 bytes").await;
    world.refuses(world.url(""), "expected a name").await;
    world.refuses(Artefact::new("ftp://host/file"), "expected http, https, file").await;
    world.refuses(with(world.url("hello"), |artefact| artefact.extract = true), "expected a tar archive").await;
}

#[tokio::test]
async fn a_connection_that_is_cut_is_the_networks_fault() {
    let world = World::new(|_, _| {}).await;
    for artefact in [world.url("cut"), Artefact::new("http://127.0.0.1:1/x")] {
        let error = world.fetch(artefact).await.expect_err("it can't be had");
        assert!(!error.problem.is_artefacts_fault(), "{error}");
    }
}

#[tokio::test]
async fn what_has_a_digest_is_fetched_once_and_a_damaged_cache_is_seen() {
    let world = World::new(|_, _| {}).await;
    let digest = Some(HELLO.parse().expect("a digest"));
    let pinned = |path: &str| with(world.url(path), |artefact| artefact.sha256 = digest);
    world.fetch(pinned("hello")).await.expect("it is there");
    // Not there, so it can only have come from the cache.
    world.fetch(pinned("nowhere")).await.expect("it is in the cache");
    assert!(world.read("fetch.log").contains("it is in the cache"));
    fs::write(world.path("work/cache/artefacts").join(HELLO), "evil").expect("it is there");
    let error = world.fetch(pinned("nowhere")).await.expect_err("what is in the cache is something else");
    assert!(error.to_string().contains("404"), "{error}");
    world.fetch(pinned("hello")).await.expect("it is fetched again");
    assert_eq!(world.read("hello"), "hello\n");
}

#[test]
fn the_cache_forgets_what_was_not_used_for_the_longest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open(folder.path().join("cache"), 25).expect("it can be made");
    let keep = |content: &str| {
        let draft = cache.draft();
        create(&draft).and_then(|mut file| file.write_all(content.as_bytes())).expect("it can be written");
        let mut context = Context::new(&SHA256);
        context.update(content.as_bytes());
        let digest = finish(context);
        cache.keep(&draft, &digest).expect("it can be kept");
        digest
    };
    let (first, second) = (keep("0123456789"), keep("abcdefghij"));
    let old = |digest: &Sha256, seconds| {
        let file = File::open(folder.path().join("cache").join(digest.to_string())).expect("it is there");
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).expect("it is ours");
    };
    old(&first, 1);
    old(&second, 2);
    assert!(cache.get(&first).is_some(), "now it is the one that was used last");
    let third = keep("klmnopqrst");
    assert!(cache.get(&first).is_some() && cache.get(&third).is_some());
    assert!(cache.get(&second).is_none(), "two of ten bytes fit, three don't");
    let large = keep("a file that is larger than all that is kept");
    assert!(cache.get(&large).is_none() && cache.get(&first).is_some());
    let drafts = fs::read_dir(folder.path().join("cache/drafts")).expect("it exists");
    assert_eq!(drafts.count(), 0);
}

#[tokio::test]
async fn files_come_only_from_the_folders_that_are_allowed() {
    let world = World::new(|_, _| {}).await;
    fs::write(world.path("shared/data"), "data").expect("it can be written");
    fs::write(world.path("secret"), "secret").expect("it can be written");
    std::os::unix::fs::symlink(world.path("secret"), world.path("shared/link")).expect("it can be made");
    let socket = std::os::unix::net::UnixListener::bind(world.path("shared/socket")).expect("it can be made");
    world.refuses(world.file("secret"), "no folder that this agent lets tasks fetch from").await;
    world.refuses(world.file("shared/link"), "no folder that this agent lets tasks fetch from").await;
    world.refuses(world.file("shared/../secret"), "without '..'").await;
    world.refuses(world.file("shared/nothing"), "it is not there").await;
    world.refuses(world.file("shared/socket"), "it is not there").await;
    world.refuses(world.file("shared"), "it is not there").await;
    drop(socket);
    world.fetch(world.file("shared/data")).await.expect("it is allowed");
    assert_eq!(world.read("data"), "data");
}

#[tokio::test]
async fn a_destination_never_leads_through_a_link() {
    let world = World::new(|_, _| {}).await;
    fs::create_dir(world.path("elsewhere")).expect("it can be made");
    std::os::unix::fs::symlink(world.path("elsewhere"), world.path("sandbox/link")).expect("it can be made");
    let at = |path: &str| with(world.url("hello"), |artefact| artefact.destination = path.to_owned());
    let error = world.fetch(at("link/hello")).await.expect_err("it leads elsewhere");
    assert!(error.to_string().contains("through a link"), "{error}");
    let error = world.fetch(at("../elsewhere/hello")).await.expect_err("it leads elsewhere");
    assert!(error.to_string().contains("expected a path below the sandbox"), "{error}");
    world.fetch(at("link")).await.expect("the link itself is replaced");
    assert_eq!(fs::read_dir(world.path("elsewhere")).expect("it exists").count(), 0);
    assert_eq!(world.read("link"), "hello\n");
}

#[tokio::test]
async fn a_policy_can_want_digests() {
    let world = World::new(|policy, _| policy.digests = Digests::Required).await;
    world.refuses(world.url("hello"), "sha256: this agent wants one").await;
    world.refuses(Artefact::new("git+https://host/repo#main"), "wants a commit's id").await;
    let digest = Some(HELLO.parse().expect("a digest"));
    world.fetch(with(world.url("hello"), |artefact| artefact.sha256 = digest)).await.expect("it has one");
}

#[tokio::test]
async fn signatures_are_checked_against_trusted_keys() {
    let key = |text: &str| text.parse::<TrustedKey>().expect("a key");
    let world = World::new(|policy, _| policy.trusted_keys = vec![key(OTHER_KEY), key(KEY)]).await;
    let signed = |world: &World, path: &str, by: &str| {
        let signature = Some(format!("http://{}/{by}", world.address));
        with(world.url(path), |artefact| artefact.signature = signature)
    };
    world.refuses(signed(&world, "tampered", "hello.minisig"), "the content is not what was signed").await;
    world.refuses(signed(&world, "hello", "nowhere"), "404").await;
    world.refuses(signed(&world, "hello", "hello"), "signature: http").await;
    world.fetch(signed(&world, "hello", "hello.minisig")).await.expect("it is signed");
    let strangers = World::new(|policy, _| policy.trusted_keys = vec![key(OTHER_KEY)]).await;
    strangers.refuses(signed(&strangers, "hello", "hello.minisig"), "by a key that this agent trusts").await;
    let nobody = World::new(|_, _| {}).await;
    nobody.refuses(signed(&nobody, "hello", "hello.minisig"), "this agent trusts no key").await;
    assert!("RWnonsense".parse::<TrustedKey>().is_err());
}

#[tokio::test]
async fn a_role_can_be_bound_to_what_is_signed() {
    let strict = |policy: &mut FetchPolicy, _: &Path| {
        policy.trusted_keys = vec![KEY.parse().expect("a key")];
        policy.signed_roles = vec!["eng".parse().expect("a role")];
    };
    let world = World::new(strict).await;
    world.refuses(world.url("tampered"), "the content is not what was signed").await;
    world.refuses(world.url("moved"), "404").await;
    world.refuses(Artefact::new("git+https://host/repo#main"), "git is not").await;
    world.fetch(world.url("hello")).await.expect("hello.minisig lies beside it");
    world.fetch_as("art", world.url("tampered")).await.expect("nobody asks what this role fetches");
    world.fetch_as("engine", world.url("tampered")).await.expect("that is another role");
}

/// A repository with one commit; its folder and the commit.
fn repository(folder: &Path) -> String {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]).args(args);
        let done = command.current_dir(folder).output().expect("git runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("a text").trim().to_owned()
    };
    git(&["init", "--quiet", "."]);
    fs::write(folder.join("file"), "content").expect("it can be written");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "one"]);
    git(&["rev-parse", "HEAD"])
}

#[tokio::test]
async fn a_commit_of_a_repository_is_checked_out() {
    let world = World::new(|_, _| {}).await;
    if Command::new("git").arg("--version").output().is_err() {
        return println!("skipped: no git");
    }
    fs::create_dir(world.path("shared/repo.git")).expect("it can be made");
    let commit = repository(&world.path("shared/repo.git"));
    let of =
        |reference: &str| Artefact::new(&format!("git+file://{}#{reference}", world.path("shared/repo.git").display()));
    world.refuses(of("nowhere"), "git: ").await;
    world.refuses(of(&"1".repeat(40)), "git: ").await;
    world.refuses(of("--upload-pack=evil"), "expected a branch, tag or commit").await;
    world.refuses(Artefact::new(&format!("git+file://{}#main", world.path("elsewhere").display())), "no folder").await;
    world.fetch(of("main")).await.expect("it is there");
    assert_eq!(world.read("repo/file"), "content");
    assert!(!world.path("sandbox/repo/.git").exists());
    world
        .fetch(with(of(&commit), |artefact| artefact.destination = "src/pinned".to_owned()))
        .await
        .expect("it is there");
    assert_eq!(world.read("src/pinned/file"), "content");
    world.fetch(of(&commit)).await.expect("what an earlier try left is replaced");
}

#[tokio::test]
async fn a_repository_that_is_too_large_is_refused() {
    let world = World::new(|policy, _| policy.max_bytes = 1000).await;
    if Command::new("git").arg("--version").output().is_err() {
        return println!("skipped: no git");
    }
    fs::create_dir(world.path("shared/repo")).expect("it can be made");
    fs::write(world.path("shared/repo/large"), "x".repeat(2000)).expect("it can be written");
    repository(&world.path("shared/repo"));
    let large = Artefact::new(&format!("git+file://{}", world.path("shared/repo").display()));
    world.refuses(large, "larger than the 1000 bytes").await;
}
