//! The report in a real browser, without network, in light and dark.

use std::path::{Path, PathBuf};
use std::process::Command;

use rialto_sim::planning::{Scenario, answer, report};

const BROWSERS: [&str; 4] =
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/google-chrome-stable"];

const SCENARIO: &str = "\
name: When do we order G2?
start: 2026-10-05
horizon: 5 weeks
seeds: 2
pools:
  - name: G2
    count: 12
    cpus: 96
    mem: 384GiB
    gpus: 8
    buy: {lead_time: 1 week, price: 52000, life: 4 years, running_cost: 1}
workloads:
  - name: ci
    file: pods.csv
    format: openb
    load: 60 gpus
    residence: 1 day
    growth: 60% a month
    limit: {p95: 10 min}
question: {kind: order-by, pool: G2, max: 40}
";

/// What the page must say, in the order in which a reader comes to it.
const PARTS: [&str; 11] = [
    "machines of G2",
    "start within 10 min",
    "Demand and capacity",
    "G2 arrive",
    "Waits of ci",
    "Utilisation and fragmentation",
    "too scattered",
    "Cost",
    "Why jobs waited",
    "Assumptions",
    "SHA-256",
];

#[test]
fn the_report_is_readable_in_a_browser_in_light_and_dark_and_on_narrow_screens() {
    let Some(browser) = BROWSERS.map(Path::new).into_iter().find(|path| path.exists()) else {
        println!("skipped: none of {} is installed", BROWSERS.join(", "));
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let page = write_report(folder.path());
    let url = format!("file://{}", page.display());
    let dom = String::from_utf8(browse(browser, folder.path(), &["--dump-dom", &url])).expect("a page is text");
    let mut rest = dom.as_str();
    for part in PARTS {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part} is not on the page, or not in its place: {dom}"));
        rest = &rest[at..];
    }
    let shots = [("light", "1", "1000,2600"), ("dark", "0", "1000,2600"), ("narrow", "0", "500,2600")];
    let mut seen = Vec::new();
    for (name, scheme, size) in shots {
        let picture = folder.path().join(format!("{name}.png"));
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let (shot, size) = (format!("--screenshot={}", picture.display()), format!("--window-size={size}"));
        browse(browser, folder.path(), &[&scheme, &shot, &size, &url]);
        let bytes = std::fs::read(&picture).expect("the browser made a picture");
        assert!(bytes.starts_with(b"\x89PNG"), "{name} is no picture");
        // A page of one colour packs to a few thousand bytes.
        assert!(bytes.len() > 40_000, "{name} is blank: {} bytes", bytes.len());
        seen.push(bytes);
    }
    assert_ne!(seen[0], seen[1], "light and dark look the same");
}

fn write_report(folder: &Path) -> PathBuf {
    let pods = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/openb_pods_small.csv");
    std::fs::copy(pods, folder.join("pods.csv")).expect("the list of jobs is copied");
    let file = folder.join("scenario.yml");
    std::fs::write(&file, SCENARIO).expect("the scenario is written");
    let scenario = Scenario::read(&file).expect("the scenario reads");
    let page = report::html::page(&scenario, &answer(&scenario, &mut |_| {}));
    let file = folder.join("report.html");
    std::fs::write(&file, page).expect("the report is written");
    file
}

fn browse(browser: &Path, folder: &Path, args: &[&str]) -> Vec<u8> {
    let profile = folder.join("profile");
    let ended = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .env("HOME", &profile)
        .output()
        .expect("the browser starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    ended.stdout
}
