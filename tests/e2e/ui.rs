//! The web page in a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Cluster, wait_until};
use crate::observer::Observer;

const BROWSERS: [&str; 4] =
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable"];

#[test]
fn the_page_shows_agents_devices_with_their_holders_and_tasks() {
    let Some(browser) = BROWSERS.map(Path::new).into_iter().find(|path| path.exists()) else {
        println!("skipped: none of {} is installed", BROWSERS.join(", "));
        return;
    };
    let cluster = Cluster::dev_of_processes();
    let observer = Observer::new(cluster.make_folder("observed"));
    let command = observer.command(0);
    let train =
        cluster.spawn(&["run", "--name", "train", "--device", "gpu", "--cpus", "0.5", "--", "sh", "-c", &command]);
    let plain = cluster.spawn(&["run", "--name", "plain", "--instances", "3", "--", "sh", "-c", &command]);
    observer.wait_for(4);
    wait_until("the master knows that four tasks run", || cluster.tasks_in("TASK_RUNNING").len() == 4);
    for args in [
        &["weight", "eng/ci", "2.5"][..],
        &["quota", "set", "eng", "--limit", "cpus:6;gpu:1", "--guarantee", "mem:2048"],
        &["quota", "set", "*", "--limit", "cpus:4"],
    ] {
        let done = cluster.rialto(args);
        assert_eq!(done.code, 0, "{args:?}: {}", done.stderr);
    }
    let url = format!("http://{}/", cluster.address());

    let dom = text_of(&browse(&cluster, browser, &["--dump-dom", &url]));
    let holder = cluster.tasks().into_iter().find(|task| !task.devices.is_empty()).expect("one holds a device");
    let held = &holder.devices[0];
    for part in ["alpha", "beta", "gamma", "gpu-T4-0", "gpu-G2-0", &holder.id, "plain-"] {
        assert!(dom.contains(part), "{part} is not on the page: {dom}");
    }
    let row = dom.split("<tr").find(|row| row.contains(held.as_str()) && row.contains(&holder.id));
    assert!(row.is_some(), "no row shows that {held} is held by {}: {dom}", holder.id);
    let role_row =
        |name: &str| dom.split("<tr").find(|row| row.contains(&format!("title=\"{name}\""))).map(str::to_owned);
    let says = [("*", "0.8 / 4"), ("eng", "0 / 6"), ("eng", "holds 2 GiB less"), ("eng/ci", "2.5")];
    for (role, part) in says {
        assert!(role_row(role).is_some_and(|row| row.contains(part)), "{part} is not said of {role}: {dom}");
    }
    let log = format!("/{}", holder.id);
    assert!(
        dom.split("href=\"").skip(1).any(|link| link.split('"').next().is_some_and(|link| link.contains(&log))),
        "no link to the log: {dom}"
    );

    let dark = "--blink-settings=preferredColorScheme=0";
    for (name, options) in [("rialto-page.png", &[][..]), ("rialto-page-dark.png", &[dark])] {
        let picture = picture_path(name);
        let shot = format!("--screenshot={}", picture.display());
        browse(&cluster, browser, &[options, &[shot.as_str(), &url]].concat());
        let bytes = std::fs::read(&picture).expect("the browser made a picture");
        assert!(bytes.starts_with(b"\x89PNG"), "{} is no picture", picture.display());
        println!("the page as the browser shows it: {}", picture.display());
    }
    observer.let_go();
    for run in [train, plain] {
        assert_eq!(run.finish().code, 0);
    }
}

/// Below the target folder, so that it is kept.
fn picture_path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(folder).expect("the target folder can be written");
    folder.join(name)
}

fn browse(cluster: &Cluster, browser: &Path, args: &[&str]) -> Vec<u8> {
    let profile = cluster.make_folder("profile");
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--window-size=1280,1700",
        "--virtual-time-budget=4000",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(args).env("HOME", &profile);
    let ended = cluster.start_process("browser", &mut command).finish();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.bytes
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
