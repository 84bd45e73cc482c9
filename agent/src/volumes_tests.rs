use std::fs;
use std::os::unix::fs::symlink;

use rialto_core::model::{Role, VolumeId, VolumeKey};
use tempfile::TempDir;

use super::{Age, Link, Volumes};

fn key(role: &str, id: &str) -> VolumeKey {
    let (role, id) = (Role::new(role).expect("a role"), VolumeId::new(id).expect("a name"));
    VolumeKey { role, id, disk_source: None }
}

fn work_dir() -> (TempDir, Volumes) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let volumes = Volumes::below(folder.path());
    (folder, volumes)
}

fn link(volume: VolumeKey, path: &str) -> Link {
    Link { member: 0, bytes: 0, volume, container_path: path.into() }
}

#[test]
fn a_volume_is_made_and_found_again_and_destroyed() {
    let (folder, volumes) = work_dir();
    let data = key("eng/ci", "data");
    volumes.make(&data, Age::New).expect("it is made");
    let path = folder.path().join("volumes/roles/eng ci/data");
    fs::write(path.join("x"), "kept").expect("it can be written");
    volumes.make(&data, Age::Known).expect("it is there");
    assert_eq!(fs::read_to_string(path.join("x")).expect("it is there"), "kept");
    volumes.destroy(&data).expect("it is removed");
    assert!(!path.exists());
    volumes.destroy(&data).expect("it is gone already");
}

#[test]
fn a_new_volume_shows_nothing_of_an_earlier_one() {
    let (folder, volumes) = work_dir();
    let data = key("eng", "data");
    volumes.make(&data, Age::New).expect("it is made");
    fs::write(folder.path().join("volumes/roles/eng/data/secret"), "").expect("it can be written");
    volumes.make(&data, Age::New).expect("it is made anew");
    assert_eq!(fs::read_dir(folder.path().join("volumes/roles/eng/data")).expect("it is there").count(), 0);
    let lost = fs::read_dir(folder.path().join("volumes/lost")).expect("it is there").next().expect("one is kept");
    assert!(lost.expect("it can be read").path().join("secret").exists());
}

#[test]
fn a_link_in_place_of_a_volume_is_removed_and_not_what_it_points_to() {
    let (folder, volumes) = work_dir();
    let data = key("eng", "data");
    volumes.make(&data, Age::New).expect("it is made");
    let precious = folder.path().join("precious");
    fs::create_dir(&precious).expect("it can be made");
    fs::write(precious.join("x"), "").expect("it can be written");
    let path = folder.path().join("volumes/roles/eng/data");
    fs::remove_dir(&path).expect("it is empty");
    symlink(&precious, &path).expect("it can be linked");
    volumes.destroy(&data).expect("the link is removed");
    assert!(precious.join("x").exists() && !path.exists());
}

#[test]
fn a_link_on_the_way_is_not_followed() {
    let (folder, volumes) = work_dir();
    let outside = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir_all(outside.path().join("data")).expect("it can be made");
    fs::create_dir_all(folder.path().join("volumes/roles")).expect("it can be made");
    symlink(outside.path(), folder.path().join("volumes/roles/eng")).expect("it can be linked");
    let data = key("eng", "data");
    volumes.make(&data, Age::Known).expect_err("the role's folder is a link");
    volumes.destroy(&data).expect_err("the role's folder is a link");
    volumes.link(&link(data, "data"), folder.path(), None).expect_err("the role's folder is a link");
    assert!(outside.path().join("data").exists());
}

#[test]
fn a_task_finds_the_volume_where_it_was_said() {
    let (folder, volumes) = work_dir();
    let data = key("eng", "data");
    volumes.make(&data, Age::New).expect("it is made");
    let sandbox = folder.path().join("sandbox");
    fs::create_dir(&sandbox).expect("it can be made");
    let link = link(data, "var/lib/db");
    for _ in 0..2 {
        volumes.link(&link, &sandbox, None).expect("it is shown");
    }
    fs::write(sandbox.join("var/lib/db/x"), "").expect("it can be written");
    assert!(folder.path().join("volumes/roles/eng/data/x").exists());
}

#[test]
fn a_volume_is_not_shown_in_place_of_something_else() {
    let (folder, volumes) = work_dir();
    let data = key("eng", "data");
    volumes.make(&data, Age::New).expect("it is made");
    let sandbox = folder.path().join("sandbox");
    fs::create_dir_all(sandbox.join("db")).expect("it can be made");
    volumes.link(&link(data.clone(), "db"), &sandbox, None).expect_err("a folder is there");
    let error = volumes.link(&link(key("eng", "other"), "x"), &sandbox, None).expect_err("there is no such volume");
    assert!(error.starts_with("volume other of role eng"), "{error}");
    symlink("/tmp", sandbox.join("out")).expect("it can be linked");
    volumes.link(&link(data, "out/db"), &sandbox, None).expect_err("the way leads out of the sandbox");
}
