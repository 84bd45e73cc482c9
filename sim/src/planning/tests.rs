use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;

const HEAD: &str = "name: test\nstart: 2026-10-05\nhorizon: 6 weeks\nseeds: 2\n";
const POOLS: &str = "pools:\n  - name: G2\n    count: 12\n    cpus: 96\n    mem: 384GiB\n    gpus: 8\n    buy: {lead_time: 1 week, price: 52000, life: 4 years, running_cost: 1}\n";
const RENTED: &str = "  - name: spot\n    cpus: 96\n    mem: 384GiB\n    gpus: 8\n    rent: {on_demand: 10, steps: [{from: week 3, part: 0.5}], interruptions_per_hour: 0.01}\n";
const WORK: &str = "workloads:\n  - name: ci\n    file: openb_pods_small.csv\n    format: openb\n    load: 60 gpus\n    residence: 1 day\n    growth: 60% a month\n    limit: {p95: 10 min}\n";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/scenario.yml")
}

fn read(text: &str) -> Result<Scenario, String> {
    let name = |error: ScenarioError| error.of(Path::new("s.yml")).to_string();
    parse::of_text(&file(), text, None).map_err(name)
}

fn scenario(rest: &str) -> Scenario {
    read(&format!("{HEAD}{POOLS}{RENTED}{WORK}{rest}")).expect("the scenario reads")
}

fn ask(rest: &str) -> (Scenario, Answer) {
    let scenario = scenario(rest);
    let answer = answer(&scenario, &mut |_| {});
    (scenario, answer)
}

fn error(text: &str) -> String {
    read(text).expect_err("the scenario is broken")
}

#[test]
fn broken_scenarios_are_refused_at_the_line_and_field() {
    let with = |pools: &str| error(&format!("{HEAD}{pools}{WORK}"));
    assert_eq!(error(""), "s.yml:1: expected a scenario, got an empty file");
    assert_eq!(error("start: 2026-02-30\n"), "s.yml:1: start: expected a date such as 2026-10-05, got \"2026-02-30\"");
    assert_eq!(error("start: 2026-10-05\nhorizon: 0 weeks\n"), "s.yml:2: horizon: expected at least one week");
    assert_eq!(
        error("start: 2026-10-05\nhorizon: 3 fortnights\n"),
        "s.yml:2: horizon: expected a span such as 26 weeks, 48 h or 10 min, got \"3 fortnights\""
    );
    assert_eq!(
        with("pools:\n  - name: A\n    cpus: 4\n    mem: 16\n"),
        "s.yml:8: pools[0].mem: expected an amount of memory such as 384GiB, got \"16\""
    );
    assert!(
        with("pools:\n  - {name: A, cpus: 4, mem: 16GiB, gpu: 1}\n")
            .starts_with("s.yml:6: pools[0].gpu: unknown field; expected one of name, model, count"),
    );
    assert_eq!(
        error(&format!("{HEAD}{POOLS}{WORK}question: {{kind: size, pool: G9}}\n")),
        "s.yml:20: question.pool: expected the name of a pool (G2), got \"G9\""
    );
    assert_eq!(error("a: 1\na: 2\n"), "s.yml:2: a: expected once, got twice");
    assert_eq!(error("a: &x 1\n"), "s.yml:1: expected plain YAML, got an anchor, an alias or a tag");
}

#[test]
fn a_question_without_limits_is_refused() {
    let work = WORK.replace("    limit: {p95: 10 min}\n", "");
    let got = error(&format!("{HEAD}{POOLS}{work}question: {{kind: size, pool: G2}}\n"));
    assert!(got.contains("expected a limit on the waits of at least one workload"), "{got}");
}

#[test]
fn a_broken_line_of_a_trace_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("s.yml");
    std::fs::write(folder.path().join("jobs.csv"), "submit_s,duration_s,num_gpu\n0,x,1\n").expect("written");
    let work = "workloads:\n  - {name: a, file: jobs.csv, format: philly}\n";
    let got = parse::of_text(&scenario, &format!("{HEAD}{POOLS}{work}"), None).expect_err("it is broken").to_string();
    assert!(got.ends_with("jobs.csv:2: duration_s: expected a number from 0 to 3200000000, got \"x\""), "{got}");
}

#[test]
fn spans_growth_and_dates_read_as_people_write_them() {
    let seconds = |text: &str| span(text).map(|span| span.as_secs());
    assert_eq!(seconds("26 weeks"), Some(26 * 7 * 86_400));
    assert_eq!(seconds("10min"), Some(600));
    assert_eq!(seconds("1.5 h"), Some(5400));
    assert_eq!(seconds("-1 h"), None);
    let year = units::growth("4% a month").expect("a growth");
    assert!((year - 1.04_f64.powi(12)).abs() < 1e-9, "{year}");
    let date = Date::parse("2028-02-28").expect("a date");
    assert_eq!(date.plus_days(2).to_string(), "2028-03-01");
    assert_eq!(in_words(600.0), "10 min");
}

#[test]
fn every_shipped_trace_format_reads() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces");
    if !traces.exists() {
        eprintln!("skipped: no traces beside the repository");
        return;
    }
    let list = [
        ("openb/openb_pod_list_default.csv", "openb", 8152),
        ("gpu-jobs/philly_muri_trace1.csv", "philly", 1494),
        ("hpc/surf_lisa_2022_10.csv", "surf", 68_648),
        ("hpc/metacentrum_wagap_2013.csv", "metacentrum", 17_900),
        ("hpc/hpc2n-first-jobs.swf", "swf", 3170),
        ("twolevel/twolevel_p1.csv", "twolevel", 18_952),
        ("analytics/alibaba2017_batch.csv", "alibaba2017", 31_756),
        ("service/alibaba2025_dlrm_instances.csv", "dlrm", 23_871),
    ];
    for (file, format, rows) in list {
        let format = Format::parse(format).expect("a format");
        let jobs = jobs::read(&traces.join(file), format).unwrap_or_else(|error| panic!("{error}"));
        assert!(jobs.len() >= rows / 2, "{file}: {} tasks", jobs.len());
        assert!(jobs[0].submit.is_zero() && jobs.is_sorted_by_key(|job| job.submit), "{file}");
    }
    let loads = [
        ("service/alibaba2026_genai_qps_5min.csv", "genai-qps", 0.05),
        ("service/alibaba2026_genai_requests.csv", "genai-requests", 1.0),
        ("service/azure2023_llm_conv.csv", "azure-llm", 1000.0),
    ];
    for (file, format, serves) in loads {
        let format = rates::Format::parse(format).expect("a format");
        let replica = rates::Replica { serves, ask: whole_gpus(1) };
        let jobs = rates::read(&traces.join(file), format, &replica).unwrap_or_else(|error| panic!("{error}"));
        assert!(jobs.list.len() > 3, "{file}: {} instances", jobs.list.len());
        assert!(jobs.list.iter().all(|job| job.submit + job.duration <= jobs.period), "{file}");
    }
}

#[test]
fn jobs_on_guaranteed_and_on_spare_machines_are_told_apart() {
    let text = "job_name,organization,gpu_model,cpu_request,gpu_request,worker_num,submit_time,duration,job_type\n\
        1,a,GPU-series-1,12,1,2,100,60,HP\n2,a,GPU-series-2,8,0.5,1,50,30,Spot\n3,b,GPU-series-2,4,0,1,70,10,Spot\n";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("job_info_df.csv");
    std::fs::write(&file, text).expect("written");
    let read = |format| jobs::read(&file, Format::parse(format).expect("a format")).expect("it reads");
    let guaranteed = read("alibaba2026-hp");
    assert_eq!(guaranteed.iter().map(|job| job.ask.gpus).collect::<Vec<_>>(), [1, 1], "a task for each worker");
    let spare = read("alibaba2026-spot");
    assert_eq!(
        spare.iter().map(|job| (job.submit.as_secs(), job.ask.share.0)).collect::<Vec<_>>(),
        [(0, 500), (20, 0)]
    );
    assert_eq!(spare[0].ask.models, [Arc::from("GPU-series-2")]);
}

#[test]
fn growing_work_fills_the_fleet_and_then_waits() {
    let (scenario, answer) = ask("");
    let weeks = &answer.told[0].outcomes[0].weeks;
    assert_eq!(weeks.len(), scenario.weeks());
    assert!(weeks[5].demand > weeks[0].demand * 1.4, "{weeks:?}");
    assert!(weeks.iter().all(|week| week.used <= week.capacity + 1e-6), "{weeks:?}");
    assert!(weeks[0].waits[0].p95 < 600.0 && weeks[5].waits[0].p95 > 600.0, "{weeks:?}");
    assert!(answer.headline.starts_with("Without a change, ci waits pass 10 min in week "), "{}", answer.headline);
}

#[test]
fn the_same_seeds_give_the_same_answer_byte_for_byte() {
    let text = || {
        let (scenario, answer) = ask("");
        format!("{}{}", report::json(&scenario, &answer), report::html::page(&scenario, &answer))
    };
    assert_eq!(text(), text());
}

#[test]
fn the_smallest_size_keeps_the_limits_and_one_less_does_not() {
    let (_, answer) = ask("question: {kind: size, pool: G2, min: 8, max: 40}\n");
    let found: u32 = answer.headline.split(' ').next().and_then(|word| word.parse().ok()).expect("a number first");
    let kept = |count| answer.tried.iter().find(|tried| tried.count == count).map(|tried| tried.kept == tried.runs);
    assert_eq!((kept(found), kept(found - 1)), (Some(true), Some(false)), "{:?}", answer.tried);
}

#[test]
fn an_infeasible_size_is_said_with_what_binds() {
    let (_, answer) = ask("question: {kind: size, pool: G2, min: 8, max: 9}\n");
    assert!(
        answer.headline.starts_with("No number of G2 up to 9 is enough: even with 9, ci waits pass"),
        "{}",
        answer.headline
    );
}

#[test]
fn an_order_is_due_its_lead_time_before_the_week_in_which_it_is_needed() {
    let (scenario, answer) = ask("question: {kind: order-by, pool: G2, max: 40}\n");
    let [order] = &answer.advice[..] else { panic!("{answer:?}") };
    assert_eq!(order.needed, scenario.start.plus_days(7 * order.needed_week as i64));
    assert_eq!(order.order_by, order.needed.plus_days(-7));
    assert_eq!(answer.told[0].kept(), answer.told[0].outcomes.len(), "{}", answer.headline);
    assert_eq!(answer.told[1].kept(), 0, "without it the limit is passed");
    assert!(answer.headline.starts_with(&format!("Order {} machines of G2 by {}", order.count, order.order_by)));
}

#[test]
fn an_order_that_comes_too_late_is_said_to() {
    let late = format!("{HEAD}{POOLS}{WORK}question: {{kind: order-by, pool: G2, max: 40}}\n");
    let scenario = read(&late.replace("lead_time: 1 week", "lead_time: 4 weeks")).expect("the scenario reads");
    let answer = answer(&scenario, &mut |_| {});
    assert!(answer.advice[0].slack_weeks < 0.0, "{answer:?}");
    assert!(answer.headline.contains("at once: they come"), "{}", answer.headline);
}

#[test]
fn ways_are_compared_on_the_same_runs() {
    let variants = "question:\n  kind: compare\n  variants:\n    - {name: fgd}\n    - {name: the same again}\n    - {name: random, placement: random}\n";
    let (_, answer) = ask(variants);
    assert_eq!(answer.told[0].outcomes, answer.told[1].outcomes);
    let same = answer.facts.iter().filter(|fact| fact.about.starts_with("the same again"));
    assert!(
        same.clone().count() == 2 && same.clone().all(|fact| fact.text.starts_with("no difference")),
        "{:?}",
        answer.facts
    );
}

#[test]
fn bought_and_rented_machines_cost_what_their_hours_cost() {
    let variants = "question:\n  kind: cost\n  variants:\n    - {name: keep, orders: [{pool: G2, count: 10, placed: week 1}]}\n    - {name: rent, rents: [{pool: spot, count: 10, from: week 1, until: week 5}]}\n";
    let (_, answer) = ask(variants);
    let costs = answer.told[0].outcomes[0].costs;
    // Four weeks of ten machines, of a price over four years.
    let hours = 10.0 * 4.0 * 168.0;
    assert!((costs.bought_hours - hours).abs() < 1e-6, "{costs:?}");
    assert!(
        (costs.bought - 52_000.0 * hours / (4.0 * 365.25 * 24.0)).abs() < 1e-3 && (costs.running - hours).abs() < 1e-6
    );
    let rented = answer.told[1].outcomes[0].costs;
    // Two weeks at the full price and two at half of it, but for the minutes in which another machine was booting.
    let full = 10.0 * 10.0 * 4.0 * 168.0 * 0.75;
    assert!(rented.rented < full && rented.rented > full * 0.98, "{rented:?}");
    assert!(answer.told[1].outcomes.iter().any(|outcome| outcome.redone_hours > 0.0), "machines were taken away");
    assert!(answer.facts.iter().any(|fact| fact.about == "break-even"), "{:?}", answer.facts);
    let table = report::costs_csv(&answer);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + 2 * 2, "two ways in two runs each");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{table}");
    assert_eq!((rows[1][0], rows[1][2]), ("keep", format!("{:.2}", costs.bought).as_str()));
    assert_eq!((rows[3][0], rows[3][4]), ("rent", format!("{:.2}", rented.rented).as_str()));
}

#[test]
fn the_report_answers_first_and_needs_no_network() {
    let (scenario, answer) = ask("question: {kind: order-by, pool: G2, max: 40}\n");
    let page = report::html::page(&scenario, &answer);
    let (headline, chart) = (page.find("Order ").expect("the answer"), page.find("<svg").expect("a chart"));
    assert!(headline < chart);
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"), "self-contained");
    assert!(page.contains("prefers-color-scheme:dark"));
    assert_eq!(page.matches("<section").count(), page.matches("</section>").count());
    let csv = report::waits_csv(&scenario, &answer);
    let lines: usize = answer.told.iter().flat_map(|told| &told.outcomes).map(|outcome| outcome.weeks.len()).sum();
    assert_eq!(csv.lines().count(), lines + 1);
}

#[test]
fn who_can_save_work_in_the_time_of_the_notice_loses_none() {
    let redone = |work: &str| {
        let rents = "rents:\n  - {pool: spot, count: 10, from: week 1}\n";
        let scenario = read(&format!("{HEAD}{POOLS}{RENTED}{work}{rents}")).expect("the scenario reads");
        answer(&scenario, &mut |_| {}).told[0].mean(|outcome| outcome.redone_hours)
    };
    assert!(redone(WORK) > 1.0, "machines are taken away under their jobs");
    assert!(redone(&format!("{WORK}    checkpoint: 1 min\n")) < 1e-9);
    assert!(redone(&format!("{WORK}    checkpoint: 10 min\n")) > 1.0, "two minutes are too few for that");
}

#[test]
fn no_workload_holds_more_than_its_quota() {
    let most = |work: &str| {
        let scenario = read(&format!("{HEAD}{POOLS}{work}")).expect("the scenario reads");
        let answer = answer(&scenario, &mut |_| {});
        answer.told[0].outcomes[0].weeks.iter().map(|week| week.used).fold(0.0, f64::max)
    };
    assert!(most(WORK) > 50.0);
    let bounded = most(&format!("{WORK}    quota: {{gpus_max: 20}}\n"));
    assert!((15.0..=20.0).contains(&bounded), "{bounded}");
}

#[test]
fn idle_gpus_are_fragmented_in_part() {
    let (_, answer) = ask("");
    let weeks = &answer.told[0].outcomes[0].weeks;
    assert!(weeks.iter().all(|week| week.fragmented <= week.capacity), "{weeks:?}");
    assert!(weeks[0].fragmented > 0.0, "{weeks:?}");
}

#[test]
fn lists_of_nodes_become_pools_of_those_that_are_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let read = |text: &str, format: &str| {
        let file = folder.path().join("nodes.csv");
        std::fs::write(&file, text).expect("written");
        let pools = nodes::read(&file, nodes::NodeFormat::parse(format).expect("a format"));
        let words = |pool: &Pool| format!("{} x{} {}c {}g", pool.name, pool.count, pool.cpus.0 / 1000, pool.gpus);
        pools.map(|pools| pools.iter().map(words).collect::<Vec<_>>()).map_err(|error| error.to_string())
    };
    let openb =
        "sn,cpu_milli,memory_mib,gpu,model\na,96000,1024,8,G2\nb,96000,1024,8,G2\nc,64000,1024,4,G2\nd,8000,1,0,\n";
    assert_eq!(read(openb, "openb").unwrap(), ["G2 x1 64c 4g", "G2.2 x2 96c 8g", "cpu x1 8c 0g"]);
    let pai = "machine,gpu_type,cap_cpu,cap_mem,cap_gpu\nx,T4,96,512,2\ny,CPU,96,512,0\n";
    assert_eq!(read(pai, "pai").unwrap(), ["T4 x1 96c 2g", "cpu x1 96c 0g"]);
    let spot = "gpu_model,gpu_capacity_num,cpu_num,node_name\nA,4,192,0\n";
    assert_eq!(read(spot, "spot").unwrap(), ["A x1 192c 4g"]);
    let own = "pool,count,cpu_milli,memory_mib,gpu,gpu_model\nbig,7,1000,1,0,\n";
    assert_eq!(read(own, "rialto").unwrap(), ["big x7 1c 0g"]);
    let broken = read("sn,cpu_milli,memory_mib,gpu,model\na,x,1,0,\n", "openb").expect_err("it is broken");
    assert!(broken.ends_with("nodes.csv:2: cpu_milli: expected a number from 0 to 100000000, got \"x\""), "{broken}");
}

#[test]
fn a_series_of_prices_is_a_series_of_steps() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| std::fs::write(folder.path().join("prices.csv"), text).expect("written");
    std::fs::write(folder.path().join("jobs.csv"), "submit_s,duration_s,num_gpu\n0,10,1\n").expect("written");
    let pools = "pools:\n  - {name: spot, cpus: 8, mem: 8GiB, rent: {on_demand: 10, prices: prices.csv}}\n";
    let work = "workloads:\n  - {name: a, file: jobs.csv, format: philly}\n";
    let of_text = || parse::of_text(&folder.path().join("s.yml"), &format!("{HEAD}{pools}{work}"), None);
    write("t_s,price\n0,6\n604800,3.5\n");
    let scenario = of_text().expect("the scenario reads");
    let steps = &scenario.pools[0].rental.as_ref().expect("it is rented").steps;
    assert_eq!(steps[..], [(rialto_core::model::Time::ZERO, 0.6), (rialto_core::model::Time::ZERO + WEEK, 0.35)]);
    write("t_s,price\n10,6\n10,5\n");
    let error = of_text().expect_err("it goes back in time").to_string();
    assert!(error.ends_with("prices.csv:3: t_s: expected moments in the order of time"), "{error}");
}

#[test]
fn the_tasks_of_a_gang_start_together_and_wait_for_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    // Two machines of 8 GPUs. Half of one is taken for a day; 16 GPUs in two tasks must wait for it, and 12 in two must not.
    std::fs::write(folder.path().join("jobs.csv"), "submit_s,duration_s,num_gpu\n0,86400,4\n10,3600,16\n")
        .expect("written");
    let pools = "pools:\n  - {name: G2, count: 2, cpus: 96, mem: 384GiB, gpus: 8}\n";
    let waits = |gang: &str| {
        let work = format!("workloads:\n  - {{name: a, file: jobs.csv, format: philly, gang: {gang}}}\n");
        let scenario =
            parse::of_text(&folder.path().join("s.yml"), &format!("{HEAD}{pools}{work}"), None).expect("it reads");
        let jobs = scenario.replayed(1, true).jobs;
        jobs.iter().map(|job| job.wait_s().expect("all start").round() as u64).collect::<Vec<_>>()
    };
    assert_eq!(waits("no"), [0, 0, 3600], "apart, the second half starts when the first is through");
    assert_eq!(waits("yes"), [0, 86_390], "together they wait for both machines");
}

#[test]
fn a_gang_that_loses_a_machine_begins_anew_as_a_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("jobs.csv"), "submit_s,duration_s,num_gpu\n0,1209600,16\n").expect("written");
    let pools = "pools:\n  - {name: G2, count: 3, cpus: 96, mem: 384GiB, gpus: 8, mtbf: 10 days, repair: 1 h}\n";
    let work = "workloads:\n  - {name: a, file: jobs.csv, format: philly, gang: yes}\n";
    let scenario =
        parse::of_text(&folder.path().join("s.yml"), &format!("{HEAD}{pools}{work}"), None).expect("it reads");
    let outcomes: Vec<Outcome> = (0..4).map(|seed| scenario.replayed(seed, true)).collect();
    let interrupted = outcomes.iter().flat_map(|outcome| &outcome.jobs).filter(|job| job.interruptions > 0);
    assert!(interrupted.count() > 0, "no machine failed under it");
    for outcome in &outcomes {
        let used = outcome.weeks.iter().map(|week| week.used).fold(0.0, f64::max);
        assert!(used <= 16.0 + 1e-6, "a member of an older attempt runs beside the new one: {used}");
    }
}

/// Eight jobs of a GPU that run for an hour, one every day from the start, on one machine that is rented and costs 6, and 3 from day 3 on.
fn cheap_only(max_price: &str, owned: u32) -> Vec<u64> {
    let folder = tempfile::tempdir().expect("a folder");
    let jobs: String = (0..8).map(|day| format!("{},3600,1\n", day * 86_400)).collect();
    std::fs::write(folder.path().join("jobs.csv"), format!("submit_s,duration_s,num_gpu\n{jobs}")).expect("written");
    let prices = "t_s,pool,class,price\n0,rented,on_demand,6\n0,other,on_demand,1\n259200,rented,on_demand,3\n432000,rented,on_demand,9\n";
    std::fs::write(folder.path().join("prices.csv"), prices).expect("written");
    let pools = format!(
        "pools:\n  - {{name: own, count: {owned}, cpus: 8, mem: 64GiB, gpus: 1}}\n  - {{name: rented, cpus: 8, mem: 64GiB, gpus: 1, rent: {{on_demand: 10, prices: prices.csv}}}}\n"
    );
    let rest = format!(
        "rents:\n  - {{pool: rented}}\nworkloads:\n  - {{name: a, file: jobs.csv, format: philly{max_price}}}\n"
    );
    let scenario =
        parse::of_text(&folder.path().join("s.yml"), &format!("{HEAD}{pools}{rest}"), None).expect("it reads");
    let jobs = scenario.replayed(1, true).jobs;
    jobs.iter().filter_map(|job| job.wait_s().map(|wait| wait.round() as u64)).collect()
}

#[test]
fn jobs_that_are_for_cheap_machines_wait_for_a_lower_price() {
    let day = 86_400;
    assert_eq!(cheap_only("", 0), [0; 8], "without a highest price nobody waits");
    // The first three wait for the third day, one after the other; from the fifth on it is too dear for good.
    let waits = cheap_only(", max_price: 3", 0);
    assert_eq!(waits, [3 * day, 2 * day + 3600, day + 7200, 10_800, 0]);
    assert_eq!(cheap_only(", max_price: 2.99", 0), [0_u64; 0], "nothing is ever that cheap");
}

#[test]
fn what_is_owned_costs_nothing_more() {
    assert_eq!(cheap_only(", max_price: 0", 1), [0; 8]);
}

#[test]
fn a_highest_price_needs_pools_that_can_have_a_price() {
    let pools = "pools:\n  - {name: \"a/b\", count: 1, cpus: 4, mem: 16GiB}\n";
    let work = WORK.replace("    growth", "    max_price: 3\n    growth");
    let got = error(&format!("{HEAD}{pools}{work}"));
    assert!(got.contains("max_price: expected pools called by at most 64 letters"), "{got}");
    let got = error(&format!("{HEAD}{POOLS}{}", work.replace("max_price: 3", "max_price: little")));
    assert!(got.contains("max_price: expected a price such as 7.50, got \"little\""), "{got}");
}

mod begun_with_a_cluster {
    use std::collections::BTreeMap;

    use rialto_core::model::{
        AgentInfo, Attribute, Device, DeviceId, DeviceMode, Health, Milli, Proof, Quantities, Resources, Role, Share,
        Topology,
    };

    use super::*;
    use crate::live::{Agent, Framework, Running, Snapshot, Terms};

    fn gpu(id: &str, model: &str) -> Arc<Device> {
        Arc::new(Device {
            id: DeviceId::new(id),
            kind: Arc::from("gpu"),
            vendor: Arc::from(""),
            model: Arc::from(model),
            generation: 0,
            attributes: BTreeMap::new(),
            topology: Topology::default(),
            mode: DeviceMode::Exclusive,
            health: Health::Healthy,
            nodes: Vec::new(),
            proof: Proof::TreeGone,
            host_share: Quantities::new(),
        })
    }

    fn agent(name: &str, pool: Option<&str>, models: &[&str]) -> Agent {
        let attributes = pool.map(|pool| (Arc::from("pool"), Attribute::text(pool)));
        let devices = models.iter().enumerate().map(|(at, model)| gpu(&format!("{name}-{at}"), model));
        Agent {
            info: AgentInfo { name: Arc::from(name), attributes: attributes.into_iter().collect(), domain: None },
            resources: Resources::of(Milli::from_whole(96), Milli::from_whole(384 * 1024)),
            devices: devices.collect(),
        }
    }

    /// Three machines of two GPUs; on the first one GPU is held for two days more, and four that take a whole machine wait.
    fn start() -> Start {
        let running = Running {
            task: "t".to_owned(),
            role: Role::new("ci").expect("a role"),
            agent: 0,
            scalars: Quantities::of(Milli::from_whole(8), Milli::from_whole(1024)),
            devices: vec![(DeviceId::new("a-0"), Share::WHOLE)],
            priority: 0,
            left: Some(Duration::from_secs(2 * 86_400)),
        };
        let shape = rialto_core::model::Shape {
            name: Arc::from("s"),
            resources: "cpus:8;mem:1024".parse().expect("resources"),
            claims: vec!["2 gpu".parse().expect("a claim")],
            constraint: rialto_core::model::Selector::any(),
            count: 4,
            priority: 0,
            expected_run_time: Some(Duration::from_secs(86_400)),
        };
        let waiting = vec![(Role::new("ci").expect("a role"), shape)];
        Start {
            snapshot: Snapshot {
                agents: vec![
                    agent("a", None, &["G2", "G2"]),
                    agent("b", None, &["G2", "G2"]),
                    agent("c", Some("old"), &["T4", "T4"]),
                ],
                frameworks: vec![Framework { id: "F1-1".to_owned(), running: vec![running], waiting }],
                roles: vec![Terms {
                    role: Role::new("ci").expect("a role"),
                    weight_milli: 2000,
                    quota: rialto_core::allocator::quota::Quota::default(),
                }],
            },
            source: "snapshot of a test".to_owned(),
            digest: "0123456789ab".to_owned(),
            run_time: None,
        }
    }

    fn on_cluster(rest: &str) -> Scenario {
        parse::of_text(&file(), &format!("{HEAD}{POOLS}{RENTED}{rest}"), Some(&start())).expect("it reads")
    }

    #[test]
    fn the_fleet_is_the_clusters_and_what_can_be_bought_the_scenarios() {
        let scenario = on_cluster("orders:\n  - {pool: G2, count: 2}\n");
        let pools: Vec<String> = scenario
            .pools
            .iter()
            .map(|pool| format!("{} x{} {}g {}", pool.name, pool.count, pool.gpus, pool.model))
            .collect();
        assert_eq!(pools, ["G2 x2 2g G2", "spot x0 8g spot", "old x1 2g T4"]);
        assert!(scenario.pools[0].supply.is_some(), "more of them can be bought");
        let (source, digest) = scenario.inputs.last().expect("the cluster is an input");
        assert_eq!((source.to_str(), digest.as_str()), (Some("snapshot of a test"), "0123456789ab"));
    }

    #[test]
    fn what_runs_goes_on_and_what_waits_is_waited_for() {
        let jobs = on_cluster("").replayed(1, true).jobs;
        // Nobody waits for what runs. Two of those that wait start at once, the others when these have ended; the third machine is free
        // for them only after two days.
        let waits: Vec<u64> = jobs.iter().filter_map(|job| Some(job.wait_s()?.round() as u64)).collect();
        assert_eq!(waits, [0, 0, 86_400, 86_400]);
    }

    #[test]
    fn the_same_start_gives_the_same_bytes_and_the_report_names_it() {
        let report = || {
            let scenario = on_cluster(WORK);
            let answer = answer(&scenario, &mut |_| {});
            (report::json(&scenario, &answer).to_string(), report::html::page(&scenario, &answer))
        };
        let (json, page) = report();
        assert_eq!(report(), (json.clone(), page.clone()));
        for part in ["snapshot of a test", "0123456789ab", "1 tasks that run and 4 that wait"] {
            assert!(json.contains(part) && page.contains(part), "{part}");
        }
    }

    #[test]
    fn work_of_the_scenario_begins_with_nothing_of_its_own() {
        let scenario = on_cluster(WORK);
        assert_eq!(scenario.workloads[0].name, "ci, now");
        assert_eq!(scenario.workloads[0].begins, Begins::With(1));
        assert_eq!(scenario.workloads[1].begins, Begins::Empty);
        assert_eq!(scenario.workloads[0].role, scenario.workloads[1].role);
    }
}

#[test]
fn jobs_are_told_one_by_one_and_read_back_as_a_list() {
    let mut scenario = scenario("");
    scenario.keeps_jobs = true;
    let first = answer(&scenario, &mut |_| {});
    assert!(first.told[0].outcomes[1].jobs.is_empty(), "of one run");
    let mut text = Vec::new();
    jobs_csv(&scenario, &first, &mut text).expect("memory takes all");
    let text = String::from_utf8(text).expect("it is text");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("jobs.csv"), &text).expect("written");
    let work =
        "workloads:\n  - {name: ci, file: jobs.csv, format: rialto, only: {workload: ci}, limit: {p95: 10 min}}\n";
    let again = parse::of_text(&folder.path().join("s.yml"), &format!("{HEAD}{POOLS}{RENTED}{work}"), None);
    let mut again = again.expect("it reads back");
    again.keeps_jobs = true;
    let second = answer(&again, &mut |_| {});
    let jobs = |answer: &Answer| answer.told[0].outcomes[0].jobs.clone();
    let told = |job: &JobRecord| (job.submitted, job.is_prefill, job.size.to_bits());
    assert_eq!(jobs(&first).iter().map(told).collect::<Vec<_>>(), jobs(&second).iter().map(told).collect::<Vec<_>>());
    let waited =
        |answer: &Answer| jobs(answer).iter().filter(|job| job.wait_s().is_some_and(|wait| wait > 60.0)).count();
    assert!(waited(&first) > 20 && waited(&first).abs_diff(waited(&second)) < 10 + waited(&first) / 4);
    let columns: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    assert!(text.lines().all(|line| line.split(',').count() == columns.len()));
    let with_reason = text.lines().filter(|line| line.ends_with(",taken") || line.ends_with(",fragmented")).count();
    assert!(with_reason > 20, "{with_reason}");
}

#[test]
fn tables_of_sizes_queues_and_pools_add_up_to_the_weeks() {
    let (scenario, answer) = ask("");
    for week in &answer.told[0].outcomes[0].weeks {
        let jobs: usize = week.waits_by_size[0].iter().map(|(_, waits)| waits.jobs).sum();
        assert_eq!(jobs, week.waits[0].jobs);
        assert!((week.queues[0].demand - week.demand).abs() < 1e-6, "one workload has all the demand");
        assert!((week.queues[0].held - week.used).abs() < 0.05 * week.used, "{week:?}");
        assert!((week.pools[0].gpus - week.capacity).abs() < 1e-6 && week.pools[0].gpus_used <= week.pools[0].gpus);
    }
    let rows = |text: String| {
        let columns = text.lines().next().expect("a header").split(',').count();
        assert!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
        text.lines().count() - 1
    };
    let weeks = 6 * 2;
    assert_eq!(rows(report::queue_csv(&scenario, &answer)), weeks);
    assert_eq!(rows(report::pools_csv(&scenario, &answer)), weeks * 2);
    assert!(rows(report::waits_by_size_csv(&scenario, &answer)) > weeks);
}

#[test]
fn tables_of_machines_and_of_the_master_say_what_happened_in_each_run() {
    let variants = "question:\n  kind: cost\n  variants:\n    - {name: keep, orders: [{pool: G2, count: 10, placed: week 1}]}\n    - {name: rent, rents: [{pool: spot, count: 10, from: week 1, until: week 5}]}\n";
    let (scenario, answer) = ask(variants);
    let rows = |text: String| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let nodes = rows(report::nodes_csv(&scenario, &answer));
    let of = |way: &str, how: &str| -> Vec<&Vec<String>> {
        nodes.iter().filter(|row| row[0] == way && row[1] == "0" && row[4] == how).collect()
    };
    assert_eq!((of("keep", "owned").len(), of("keep", "bought").len(), of("keep", "rented").len()), (12, 10, 0));
    let rented = of("rent", "rented");
    assert_eq!(rented.len(), 10);
    assert!(rented.iter().all(|row| row[5] == "604800" && row[6] == "3024000"), "from week 1 until week 5: {rented:?}");
    assert!(rented.iter().any(|row| row[8] != "0"), "some were taken away meanwhile");
    let up: f64 = rented.iter().map(|row| row[7].parse::<f64>().expect("a number")).sum();
    assert!((up - answer.told[1].outcomes[0].costs.rented_hours).abs() < 1.0, "{up}");
    let scheduler = rows(report::scheduler_csv(&answer));
    assert_eq!((scheduler.len(), scheduler[1].len()), (1 + 2 * 2, scheduler[0].len()));
    let launched: u64 = scheduler[1][9].parse().expect("a number");
    assert!(scheduler[0][9] == "tasks_launched" && launched >= answer.told[0].outcomes[0].finished);
    assert!(report::answers_csv(&answer).starts_with("about,text\nanswer,"));
}

#[test]
fn machines_are_taken_away_as_often_as_the_list_says() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("taken.csv"), "t_s,per_hour\n0,0\n604800,0.05\n1209600,0\n").expect("written");
    let read = |rented: &str| {
        let work = WORK.replace("openb_pods_small.csv", "jobs.csv").replace("format: openb", "format: philly");
        let rents = "rents:\n  - {pool: spot, count: 40, from: week 1}\n";
        parse::of_text(&folder.path().join("s.yml"), &format!("{HEAD}{POOLS}{rented}{work}{rents}"), None)
    };
    std::fs::write(folder.path().join("jobs.csv"), "submit_s,duration_s,num_gpu\n0,3600,1\n").expect("written");
    let listed = RENTED.replace("interruptions_per_hour: 0.01", "interruptions: taken.csv");
    let scenario = read(&listed).expect("it reads");
    let outcome = answer(&scenario, &mut |_| {}).told.swap_remove(0).outcomes.swap_remove(0);
    let taken: u32 = outcome.machines.iter().filter(|machine| machine.how == "rented").map(|of| of.times_down).sum();
    // 40 machines for the one week with 0.05 an hour: 336.
    assert!((280..400).contains(&taken), "{taken}");
    let both = RENTED.replace("0.01", "0.01, interruptions: taken.csv");
    let error = read(&both).expect_err("it is one or the other").to_string();
    assert!(error.contains("expected either interruptions or interruptions_per_hour"), "{error}");
    std::fs::write(folder.path().join("taken.csv"), "t_s,per_hour\n0,-1\n").expect("written");
    let error = read(&listed).expect_err("it is less than nothing").to_string();
    assert!(error.ends_with("taken.csv:2: per_hour: expected a number from 0 to 60, got \"-1\""), "{error}");
}

#[test]
fn an_order_says_how_likely_it_comes_too_late() {
    use std::time::Duration;
    let days = |days: u64| Duration::from_secs(86_400 * days);
    let lead = LeadTime::Quantiles { p50: days(140), p90: days(224) };
    for (span, part) in [(140, 0.5), (224, 0.1)] {
        assert!((lead.later_than(days(span)) - part).abs() < 1e-4, "{span}");
    }
    assert!((lead.later_than(lead.quantile(0.75)) - 0.25).abs() < 0.001);
    assert_eq!((lead.later_than(Duration::ZERO), LeadTime::Fixed(days(7)).later_than(days(7))), (1.0, 0.0));
    let (_, answer) = ask("question: {kind: order-by, pool: G2, max: 40}\n");
    let table = report::orders_csv(&answer);
    assert!(table.starts_with("pool,count,order_by,arrives,needed,needed_week,slack_weeks,late\nG2,"), "{table}");
}

#[test]
fn why_jobs_wait_is_told_apart() {
    let reasons = |pools: &str, work: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let head = "submit_s,tasks,cpu_milli,memory_mib,gpu,gpu_milli,gpu_spec,duration_s,app,max_per_node\n";
        let (rows, fields) = work.split_once('|').expect("rows and fields");
        std::fs::write(folder.path().join("jobs.csv"), format!("{head}{rows}")).expect("written");
        let work = format!("workloads:\n  - {{name: a, file: jobs.csv, format: rialto{fields}}}\n");
        let text = format!("{HEAD}pools:\n{pools}{work}");
        let scenario = parse::of_text(&folder.path().join("s.yml"), &text, None).expect("it reads");
        let outcome = scenario.replayed(1, true);
        Why::ALL.into_iter().filter(|why| outcome.reasons.days(*why) > 3.0).collect::<Vec<_>>()
    };
    let pool =
        |name: &str, count: u32| format!("  - {{name: {name}, count: {count}, cpus: 96, mem: 384GiB, gpus: 8}}\n");
    let long = 5 * 86_400;
    let job = |at: u32, gpus: u32, spec: &str| format!("{at},1,8000,1024,{gpus},1000,{spec},{long},,\n");
    let both = pool("G2", 1) + &pool("T4", 1);
    assert_eq!(reasons(&pool("G2", 1), &(job(0, 8, "") + &job(9, 1, "") + "|")), [Why::Taken]);
    assert_eq!(reasons(&pool("G2", 2), &(job(0, 5, "") + &job(1, 5, "") + &job(9, 6, "") + "|")), [Why::Scattered]);
    assert_eq!(reasons(&both, &(job(0, 8, "G2") + &job(9, 4, "G2") + "|")), [Why::OtherModel]);
    let quota = "|, quota: {gpus_max: 8}";
    assert_eq!(reasons(&both, &(job(0, 8, "") + &job(9, 4, "") + quota)), [Why::Quota]);
    let app = format!("0,2,8000,1024,1,1000,,{long},x,1\n");
    assert_eq!(reasons(&pool("G2", 1), &(app + "|")), [Why::Bound]);
    let spot =
        "  - {name: spot, cpus: 96, mem: 384GiB, gpus: 8, rent: {on_demand: 10}}\nrents: [{pool: spot, count: 1}]\n";
    assert_eq!(reasons(spot, &(job(0, 1, "") + "|, max_price: 5")), [Why::Price]);
}

const COST: &str = "question:\n  kind: cost\n  max: 40\n  variants:\n    - {name: keep, orders: [{pool: G2, count: 12, placed: week 0}]}\n    - {name: rent, rents: [{pool: spot, count: 2, from: week 1}]}\n";

#[test]
fn a_dearer_way_is_tried_with_as_many_machines_as_it_takes() {
    let (scenario, answer) = ask(COST);
    let names: Vec<&str> = answer.told.iter().map(|told| told.name.as_str()).collect();
    let [keep, rent, more] = names[..] else { panic!("{names:?}") };
    assert_eq!((keep, rent), ("keep", "rent"));
    assert_eq!(answer.told[1].kept(), 0, "two are too few");
    assert_eq!(answer.told[2].kept(), 2, "{more}");
    assert!(answer.tried.iter().all(|tried| tried.of == "rent") && answer.tried.len() > 2, "{:?}", answer.tried);
    let facts: Vec<&str> = answer.facts.iter().map(|fact| fact.about.as_str()).collect();
    assert!(
        facts.contains(&"rent: how many") && facts.contains(&"difference") && facts.contains(&"cancelling"),
        "{facts:?}"
    );
    let page = report::html::page(&scenario, &answer);
    assert!(page.contains("What happens when") && page.contains("arrive</td>") && page.contains("of many runs"));
}

#[test]
fn what_is_on_order_and_not_taken_costs_its_fee() {
    let text = format!("{HEAD}{POOLS}{RENTED}{WORK}{}", COST.replace("  max: 40\n", ""));
    let scenario = read(&text.replace("running_cost: 1}", "running_cost: 1, cancel_fee: 500}")).expect("it reads");
    let answer = answer(&scenario, &mut |_| {});
    let cancelled = |way: usize| answer.told[way].outcomes[0].costs.cancelled;
    assert_eq!((cancelled(0), cancelled(1)), (0.0, 12.0 * 500.0));
    let costs = answer.told[1].outcomes[0].costs;
    assert!((costs.total() - costs.rented - 6000.0).abs() < 1e-6);
    let fact = answer.facts.iter().find(|fact| fact.about == "cancelling").expect("it is said");
    assert!(fact.text.contains("\"keep\" has on order costs 500 USD"), "{}", fact.text);
    assert!(report::html::page(&scenario, &answer).contains("500 to cancel one that is on order"));
}

#[test]
fn few_runs_say_which_sizes_they_can_not_tell_apart() {
    let (scenario, answer) = ask("question: {kind: size, pool: G2, min: 8, max: 40}\n");
    let sharp = answer.facts.iter().find(|fact| fact.about == "how sharp").expect("two runs are too few");
    assert!(sharp.text.starts_with("2 runs are too few to tell "), "{}", sharp.text);
    assert!(report::html::page(&scenario, &answer).contains("class=\"band b0\""));
}

#[test]
fn a_way_that_ends_early_says_so_wherever_it_stands_beside_whole_years() {
    let (scenario, answer) = ask("question: {kind: order-by, pool: G2, max: 40}\n");
    let without = &answer.told[1];
    assert!(without.weeks() < scenario.weeks());
    let name = format!("without an order, up to week {} only", without.weeks());
    assert_eq!(without.name_and_end(&scenario), name);
    let page = report::html::page(&scenario, &answer);
    assert!(page.matches(&name).count() >= 4, "in costs twice, in reasons, and in what was run");
    assert!(page.contains("it is not to be compared"));
}

#[test]
fn other_seeds_give_other_runs_and_the_same_seeds_the_same() {
    let with =
        |first: u64| answer(&Scenario { first_seed: first, ..scenario("") }, &mut |_| {}).told[0].outcomes.clone();
    let (from_0, from_1) = (with(0), with(1));
    assert_eq!(from_0[1], from_1[0], "the second run from 0 is the first from 1");
    assert_ne!(from_0[0], from_1[0]);
}

#[test]
fn weeks_of_warming_up_are_not_judged() {
    let failing = |head: &str| {
        let text = format!("{HEAD}{head}{}{RENTED}{WORK}", POOLS.replace("count: 12", "count: 7"));
        answer(&read(&text).expect("it reads"), &mut |_| {}).told[0].outcomes[0].failures[0].week
    };
    assert!(failing("") < 3);
    assert_eq!(failing("warmup: 3 weeks\n"), 3);
    let got = error(&format!("{HEAD}warmup: 6 weeks\n{POOLS}{WORK}"));
    assert!(got.ends_with("warmup: expected whole weeks, fewer than the horizon"), "{got}");
}

#[test]
fn an_operator_changes_quotas_and_retires_machines_on_the_way() {
    let with = |changes: &str| {
        let scenario = scenario(&format!("changes:\n{changes}"));
        answer(&scenario, &mut |_| {}).told[0].outcomes[0].weeks.clone()
    };
    let bounded = with("  - {at: week 2, workload: ci, quota: {gpus_max: 20}}\n");
    assert!(bounded[1].used > 50.0 && bounded[4].used <= 20.0 + 1e-6, "{bounded:?}");
    let fewer = with("  - {at: week 2, pool: G2, retire: 5, notice: 1 day}\n");
    assert_eq!((fewer[1].machines[0], fewer[3].machines[0], fewer[5].machines[0]), (12, 7, 7));
    assert!(fewer[4].used <= 56.0 + 1e-6 && fewer[4].capacity <= 56.0 + 1e-6);
    let got = error(&format!("{HEAD}{POOLS}{WORK}changes: [{{at: week 1, workload: web, weight: 2}}]\n"));
    assert!(got.ends_with("changes[0].workload: expected the name of a workload (ci), got \"web\""), "{got}");
}

#[test]
fn ways_may_differ_in_what_an_operator_does() {
    let variants = "question:\n  kind: compare\n  variants:\n    - {name: as it is}\n    - {name: without five, changes: [{pool: G2, retire: 5}]}\n";
    let (scenario, answer) = ask(variants);
    let worse = answer.differences.iter().find(|difference| difference.measure == "mean wait").expect("it is measured");
    assert!(worse.low > 0.0, "{worse:?}");
    assert!(report::html::page(&scenario, &answer).contains("5 G2 retire"));
}
