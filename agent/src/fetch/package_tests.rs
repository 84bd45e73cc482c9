use std::fs;

use serde_json::{Value, json};

use super::tests::{HELLO, KEY, SIGNATURE, World, with};
use super::*;

const TITLE: &str = "org.opencontainers.image.title";

/// Titles and contents.
type Files<'a> = &'a [(Option<&'a str>, &'a [u8])];

/// A layout with one artefact of these files; what leads to it, and the digest of its manifest.
fn artefact(world: &World, files: Files<'_>) -> (String, String) {
    let folder = world.path("shared/artefact");
    fs::create_dir_all(folder.join("blobs/sha256")).expect("it can be made");
    let blob = |bytes: &[u8]| {
        let digest = Sha256(ring::digest::digest(&SHA256, bytes).as_ref().try_into().expect("it has 32 bytes"));
        fs::write(folder.join("blobs/sha256").join(digest.to_string()), bytes).expect("it can be written");
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len(), "mediaType": "application/octet-stream"})
    };
    let layer = |(title, bytes): &(Option<&str>, &[u8])| {
        let mut layer = blob(bytes);
        if let Some(title) = title {
            layer["annotations"] = json!({TITLE: title});
        }
        layer
    };
    let layers: Vec<Value> = files.iter().map(layer).collect();
    let manifest = blob(json!({"schemaVersion": 2, "config": blob(b"{}"), "layers": layers}).to_string().as_bytes());
    let digest = manifest["digest"].as_str().expect("it has one").to_owned();
    fs::write(folder.join("index.json"), json!({"manifests": [manifest]}).to_string()).expect("it can be written");
    (format!("oci:{}", folder.display()), digest)
}

#[tokio::test]
async fn a_single_file_has_its_title_and_several_become_a_folder() {
    let world = World::new(|_, _| {}).await;
    let (uri, _) = artefact(&world, &[(Some("tool"), b"hello\n")]);
    world.fetch(Artefact::new(&uri)).await.expect("it is there");
    assert_eq!(world.read("tool"), "hello\n");
    let (uri, _) = artefact(&world, &[(None, b"hello\n")]);
    world.fetch(Artefact::new(&uri)).await.expect("it is there");
    assert_eq!(world.read("artefact"), "hello\n", "without a title it is called as the artefact is");
    fs::remove_file(world.path("sandbox/artefact")).expect("it is there");
    let (uri, _) = artefact(&world, &[(Some("a"), b"1"), (Some("b"), b"2")]);
    world.fetch(Artefact::new(&uri)).await.expect("it is there");
    assert_eq!((world.read("artefact/a"), world.read("artefact/b")), ("1".to_owned(), "2".to_owned()));
    let elsewhere = with(Artefact::new(&uri), |artefact| artefact.destination = "x/y".to_owned());
    world.fetch(elsewhere).await.expect("it is there");
    assert_eq!(world.read("x/y/b"), "2");
}

#[tokio::test]
async fn what_an_artefact_is_can_be_said_by_its_digest_or_its_files() {
    let world = World::new(|policy, _| policy.digests = Digests::Required).await;
    let (uri, digest) = artefact(&world, &[(Some("tool"), b"hello\n")]);
    let of = |digest: &str| with(Artefact::new(&uri), |artefact| artefact.sha256 = digest.parse().ok());
    world.refuses(Artefact::new(&uri), "this agent wants @sha256:DIGEST, or a sha256").await;
    world.refuses(of(&"0".repeat(64)), "but what came has").await;
    world.refuses(Artefact::new(&format!("{uri}@sha256:{}", "0".repeat(64))), "it is not there").await;
    world.fetch(of(HELLO)).await.expect("that is what it has");
    let blobs = world.path("shared/artefact/blobs/sha256");
    fs::write(blobs.join(HELLO), "hellO\n").expect("it can be written");
    world.fetch(Artefact::new(&format!("{uri}@{digest}"))).await.expect("its file is in the cache");
    assert_eq!(world.read("tool"), "hello\n");
    let stranger = World::new(|_, _| {}).await;
    let (uri, _) = artefact(&stranger, &[(Some("tool"), b"hello\n")]);
    fs::write(stranger.path("shared/artefact/blobs/sha256").join(HELLO), "hellO\n").expect("it can be written");
    stranger.refuses(Artefact::new(&uri), "but what came has").await;
}

#[tokio::test]
async fn a_role_that_needs_signatures_finds_them_beside_the_files() {
    let strict = |policy: &mut FetchPolicy, _: &Path| {
        policy.trusted_keys = vec![KEY.parse().expect("a key")];
        policy.signed_roles = vec!["eng".parse().expect("a role")];
    };
    let world = World::new(strict).await;
    let (uri, _) = artefact(&world, &[(Some("tool"), b"hello\n")]);
    world.refuses(Artefact::new(&uri), "there is no tool.minisig beside it").await;
    let (uri, _) = artefact(&world, &[(Some("tool"), b"hellO\n"), (Some("tool.minisig"), SIGNATURE.as_bytes())]);
    world.refuses(Artefact::new(&uri), "the content is not what was signed").await;
    world.fetch_as("art", Artefact::new(&uri)).await.expect("nobody asks what this role fetches");
    let (uri, _) = artefact(&world, &[(Some("tool"), b"hello\n"), (Some("tool.minisig"), SIGNATURE.as_bytes())]);
    world.fetch(Artefact::new(&uri)).await.expect("it is signed");
    assert_eq!(world.read("tool"), "hello\n");
}

#[tokio::test]
async fn what_is_not_an_artefact_is_refused() {
    let world = World::new(|_, _| {}).await;
    let large = vec![0; 2 << 20];
    let one: (Option<&str>, &[u8]) = (Some("a"), b"1");
    let cases: [(Files<'_>, &str); 6] = [
        (&[(Some("../tool"), b"x")], "title: expected a file's name, got \"../tool\""),
        (&[(Some(".."), b"x"), one], "title: expected a file's name"),
        (&[one, one], "title: two files have the same"),
        (&[one, (None, b"2")], "expected a title for each of several files"),
        (&[one, (Some("zeros"), &large)], "larger than the 1048576 bytes"),
        (&[], "files: expected 1 to 100, got 0"),
    ];
    for (files, why) in cases {
        let (uri, _) = artefact(&world, files);
        world.refuses(Artefact::new(&uri), why).await;
    }
    let (uri, _) = artefact(&world, &[one, (Some("b"), b"2")]);
    world.refuses(with(Artefact::new(&uri), |artefact| artefact.extract = true), "extract: expected").await;
    world.refuses(with(Artefact::new(&uri), |artefact| artefact.sha256 = HELLO.parse().ok()), "sha256: expected").await;
    world.refuses(Artefact::new("oci:/etc"), "no folder that this agent lets tasks fetch from").await;
    world.refuses(Artefact::new("oci://host"), "expected docker://HOST/NAME").await;
}
