use crate::planning::{Outcome, Scenario, ScenarioError, parse};

const HEAD: &str = "name: test\nstart: 2026-10-05\nhorizon: 6 weeks\nseeds: 2\n";
const MACHINE: &str = "cpus: 96, mem: 384GiB, gpus: 8";

/// A scenario of a list of jobs, with columns as that of Philly, on these pools.
fn scenario(pools: &str, workload: &str, jobs: &str) -> Result<Scenario, String> {
    scenario_of(pools, &format!("format: philly, {workload}"), &format!("submit_s,duration_s,num_gpu\n{jobs}"))
}

/// A scenario with this file for its workload.
fn scenario_of(pools: &str, workload: &str, file: &str) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("jobs.csv"), file).expect("written");
    let work = format!("workloads:\n  - {{name: a, file: jobs.csv, {workload}}}\n");
    let text = format!("{HEAD}pools:\n{pools}{work}");
    parse::of_text(&folder.path().join("s.yml"), &text, None).map_err(|error: ScenarioError| error.to_string())
}

fn outcome(pools: &str, workload: &str, jobs: &str) -> Outcome {
    scenario(pools, workload, jobs).expect("it reads").replayed(1, true)
}

/// How long each job waited, in seconds.
fn waits(outcome: &Outcome) -> Vec<u64> {
    outcome.jobs.iter().filter_map(|job| job.wait_s().map(|wait| wait.round() as u64)).collect()
}

#[test]
fn pipelines_run_one_after_the_other_where_there_is_room_for_one() {
    let pool = format!("  - {{name: G2, count: 1, {MACHINE}}}\n");
    let three = outcome(&pool, "framework: ci", "0,3600,8\n10,3600,8\n20,3600,8\n");
    assert_eq!((three.finished, three.given_up), (3, 0));
    let waits = waits(&three);
    assert_eq!(waits[0], 0);
    let ends: Vec<u64> = [(10, waits[1]), (20, waits[2])].iter().map(|(submit, wait)| submit + wait).collect();
    assert!(ends.iter().any(|start| (3600..3610).contains(start)), "one follows the first: {ends:?}");
    assert!(ends.iter().any(|start| (7200..7220).contains(start)), "and one comes last: {ends:?}");
}

#[test]
fn work_takes_half_as_long_where_machines_are_twice_as_fast() {
    for framework in ["ci", "analytics", "library"] {
        let pool = format!("  - {{name: G3, count: 1, {MACHINE}, speed: 2}}\n");
        let one = outcome(&pool, &format!("framework: {framework}"), "0,3600,8\n");
        let job = one.jobs[0];
        let took = job.ended.expect("it ends").since(job.started.expect("it starts"));
        assert_eq!(took.as_secs(), 1800, "{framework}");
    }
}

#[test]
fn whoever_loses_a_machine_starts_again_and_comes_to_an_end() {
    let pool = format!("  - {{name: G2, count: 4, {MACHINE}, mtbf: 4 days, repair: 1 h}}\n");
    let jobs: String = (0..12).map(|at| format!("{},172800,8\n", at * 3600)).collect();
    for framework in ["ci", "analytics"] {
        let run = outcome(&pool, &format!("framework: {framework}"), &jobs);
        assert_eq!(run.finished + run.given_up, 12, "{framework}");
        assert!(run.jobs.iter().any(|job| job.interruptions > 0), "{framework}: no machine failed under a job");
        assert!(run.redone_hours > 0.0, "{framework}");
        let used = run.weeks.iter().map(|week| week.used).fold(0.0, f64::max);
        assert!(used <= 32.0 + 1e-6, "{framework}: an older attempt runs beside the new one: {used}");
    }
}

#[test]
fn a_stage_whose_partitions_need_each_other_starts_as_a_whole() {
    let pool = format!("  - {{name: G2, count: 2, {MACHINE}}}\n");
    // Half of a machine is taken for a day; 16 GPUs in two tasks must wait for it.
    let run = outcome(&pool, "framework: analytics, gang: yes", "0,86400,4\n10,3600,16\n");
    let waits = waits(&run);
    assert_eq!(waits[0], 0);
    assert!((86_390..86_500).contains(&waits[1]), "{waits:?}");
    assert_eq!(run.finished, 2);
}

#[test]
fn stages_for_cheap_machines_wait_for_a_lower_price() {
    let pools =
        format!("  - {{name: spot, {MACHINE}, rent: {{on_demand: 10, steps: [{{from: week 2, part: 0.3}}]}}}}\n");
    let rents = "rents:\n  - {pool: spot, count: 2}\n";
    let waits_at = |max: &str| {
        let workload = format!("framework: analytics, max_price: {max}");
        waits(&outcome(&format!("{pools}{rents}"), &workload, "0,3600,8\n"))
    };
    let cheap = 14 * 86_400;
    assert_eq!(waits_at("10"), [0], "at the price of the first week");
    assert!(waits_at("3").iter().all(|wait| (cheap..cheap + 60).contains(wait)), "{:?}", waits_at("3"));
    assert!(waits_at("2.99").is_empty(), "nothing is ever that cheap");
}

#[test]
fn instances_are_wanted_for_their_time_and_served_when_there_is_room() {
    let pool = format!("  - {{name: G2, count: 2, {MACHINE}, speed: 2}}\n");
    // Two fill the machines for an hour; the third is served when they end, the fourth never.
    let run = outcome(&pool, "framework: web", "0,3600,8\n10,3590,8\n20,7200,8\n30,60,8\n");
    let waits = waits(&run);
    assert_eq!(waits[..2], [0, 0]);
    assert!((3580..3600).contains(&waits[2]), "{waits:?}");
    assert_eq!((waits.len(), run.finished, run.given_up), (3, 3, 1));
    let lasted = |at: usize| run.jobs[at].ended.expect("it ends").since(run.jobs[at].submitted).as_secs();
    assert_eq!(
        [lasted(0), lasted(2), lasted(3)],
        [3600, 7200, 60],
        "however fast machines are, and however long it waited"
    );
}

#[test]
fn an_instance_whose_machine_is_lost_is_replaced_and_has_lost_no_work() {
    let pool = format!("  - {{name: G2, count: 4, {MACHINE}, mtbf: 2 days, repair: 1 h}}\n");
    let jobs: String = (0..12).map(|at| format!("{},864000,2\n", at * 60)).collect();
    let run = outcome(&pool, "framework: web", &jobs);
    assert_eq!((run.finished, run.given_up), (12, 0));
    assert!(run.jobs.iter().any(|job| job.interruptions > 0), "no machine failed under an instance");
    assert!(run.redone_hours.abs() < 1e-9, "{} hours", run.redone_hours);
    let used = run.weeks[0].used;
    assert!((22.0..=24.0 + 1e-6).contains(&used), "all but moments after a loss are served: {used}");
}

#[test]
fn services_grow_and_shrink_with_their_load() {
    let pool = format!("  - {{name: G2, count: 1, {MACHINE}}}\n");
    let rates = "t_s,rate\n0,3\n3600,8\n7200,5\n";
    let workload = "framework: web, format: rate, replica: {serves: 2, cpus: 8, mem: 32GiB, gpus: 1}";
    let run = scenario_of(&pool, workload, rates).expect("it reads").replayed(1, true);
    let hours = |job: &crate::planning::JobRecord| job.ended.expect("it ends").since(job.submitted).as_secs() / 3600;
    assert_eq!(run.jobs.iter().map(hours).collect::<Vec<_>>(), [3, 3, 1, 2], "2, 4 and 3 instances");
    assert_eq!(waits(&run), [0, 0, 0, 0]);
    let error = |workload: &str| scenario_of(&pool, workload, rates).expect_err("it is refused");
    assert!(error("framework: web, format: rate").contains("expected a field replica"));
    assert!(
        error("format: rate, replica: {serves: 2, cpus: 8, mem: 1GiB}").contains("format: expected the framework web")
    );
    assert!(error("framework: web, format: rate, replica: {serves: 0, cpus: 8, mem: 1GiB}").contains("replica.serves"));
}

#[test]
fn what_a_framework_can_not_do_is_said() {
    let pool = format!("  - {{name: G2, count: 1, {MACHINE}}}\n");
    let error = |workload: &str| scenario(&pool, workload, "0,60,1\n").expect_err("it is refused");
    assert!(error("framework: cy").contains("framework: expected library, ci, analytics or web, got \"cy\""));
    assert!(error("framework: ci, gang: yes").contains("gang: expected no, as ci starts tasks one by one"));
    assert!(error("framework: ci, max_price: 3").contains("max_price: expected none"));
    assert!(error("framework: web, gang: yes").contains("gang: expected no, as web starts tasks one by one"));
    assert!(error("framework: web, max_price: 3").contains("max_price: expected none, as web does not wait"));
    assert!(error("replica: {serves: 1, cpus: 1, mem: 1GiB}").contains("replica: expected none"));
    let nothing = "submit_s,duration_s,cpus\n0,60,0\n";
    let nothing = scenario_of(&pool, "framework: web, format: surf", nothing).expect_err("it is refused");
    assert!(nothing.contains("file: an instance can't be served") && nothing.contains("above 0, got 0"), "{nothing}");
    assert!(error("framework: analytics, checkpoint: 1 min").contains("checkpoint: expected none, as analytics saves"));
}

#[test]
fn the_same_seed_gives_the_same_jobs() {
    let pool = format!("  - {{name: G2, count: 3, {MACHINE}, mtbf: 4 days, repair: 1 h}}\n");
    let jobs: String = (0..30).map(|at| format!("{},7200,{}\n", at * 600, 1 + at % 8)).collect();
    for framework in ["ci", "analytics", "web"] {
        let run = || outcome(&pool, &format!("framework: {framework}"), &jobs).jobs;
        assert_eq!(run(), run(), "{framework}");
    }
}

#[test]
fn no_machine_gets_more_of_an_app_than_its_list_says() {
    let pool = format!("  - {{name: G2, count: 3, {MACHINE}}}\n");
    let head = "role,app,cpu,gpu,mem_gib,max_per_node,creation_s,deletion_s\n";
    let of = |app: u32, max: i32| format!("HN,{app},8,1,16,{max},0,86400\n");
    let started = |file: &str, framework: &str| {
        let workload = format!("format: dlrm, framework: {framework}");
        let scenario = scenario_of(&pool, &workload, &format!("{head}{file}")).expect("it reads");
        scenario.replayed(1, true).jobs.iter().filter(|job| job.wait_s() == Some(0.0)).count()
    };
    for framework in ["library", "web"] {
        assert_eq!(started(&of(1, -1).repeat(8), framework), 8, "{framework}: one machine would do");
        assert_eq!(started(&of(1, 1).repeat(8), framework), 3, "{framework}: one on each machine");
        let two = of(1, 1).repeat(2) + &of(2, 2).repeat(8);
        assert_eq!(started(&two, framework), 2 + 6, "{framework}: each app has a bound of its own");
    }
    let ci =
        scenario_of(&pool, "format: dlrm, framework: ci", &format!("{head}{}", of(1, 1))).expect_err("no services");
    assert!(ci.ends_with("file: expected no max_per_node, as ci has no services; library and web heed it"), "{ci}");
}

#[test]
fn who_waits_for_a_place_apart_gets_that_of_one_that_ended() {
    let pool = format!("  - {{name: G2, count: 2, {MACHINE}, mtbf: 3 days, repair: 1 h}}\n");
    let head = "role,app,cpu,gpu,mem_gib,max_per_node,creation_s,deletion_s\n";
    let rows: String =
        (0..20).map(|day| format!("HN,1,8,1,16,1,{},{}\n", day * 43_200, day * 43_200 + 80_000)).collect();
    for framework in ["library", "web"] {
        let run = scenario_of(&pool, &format!("format: dlrm, framework: {framework}"), &format!("{head}{rows}"));
        let run = run.expect("it reads").replayed(1, true);
        assert_eq!(run.finished + run.given_up, 20, "{framework}");
        assert!(run.finished >= 15, "{framework}: {}", run.finished);
    }
}

#[test]
fn a_job_of_higher_priority_starts_before_those_that_came_earlier() {
    let pool = format!("  - {{name: G2, count: 1, {MACHINE}}}\n");
    let head = "submit_s,tasks,cpu_milli,memory_mib,gpu,gpu_milli,gpu_spec,duration_s,priority\n";
    let rows = "0,1,8000,1024,8,1000,,3600,0\n10,1,8000,1024,8,1000,,3600,0\n20,1,8000,1024,8,1000,,3600,7\n";
    let run = scenario_of(&pool, "format: rialto", &format!("{head}{rows}")).expect("it reads").replayed(1, true);
    assert_eq!(waits(&run), [0, 7190, 3580]);
}

#[test]
fn a_service_without_an_end_runs_to_the_end() {
    let pool = format!("  - {{name: G2, count: 1, {MACHINE}}}\n");
    let head = "submit_s,tasks,cpu_milli,memory_mib,gpu,gpu_milli,gpu_spec,duration_s\n";
    for framework in ["library", "web", "analytics"] {
        let workload = format!("format: rialto, framework: {framework}");
        let run = scenario_of(&pool, &workload, &format!("{head}0,1,8000,1024,8,1000,,\n")).expect("it reads");
        let run = run.replayed(1, true);
        assert!(run.weeks.iter().all(|week| week.used > 7.9), "{framework}: {:?}", run.weeks);
        assert_eq!((run.finished, run.given_up, run.not_started), (0, 0, 0), "{framework}");
    }
}

#[test]
fn jobs_of_a_list_with_durations_come_at_random_so_that_the_load_is_held() {
    let pool = format!("  - {{name: G2, count: 40, {MACHINE}}}\n");
    // Large ones are short: sizes and durations drawn apart would hold another load.
    let rows: String = (0..40).map(|at| if at % 4 == 0 { "0,3600,8\n" } else { "0,86400,1\n" }).collect();
    let run = outcome(&pool, "load: 100 gpus", &rows);
    let mean = run.weeks.iter().map(|week| week.used).sum::<f64>() / run.weeks.len() as f64;
    assert!((90.0..110.0).contains(&mean), "{mean}");
    assert!((80.0..120.0).contains(&run.weeks[0].used), "it is held from the start: {}", run.weeks[0].used);
    let none = scenario(&pool, "load: 100 gpus", "0,0,1\n").expect_err("nothing lasts");
    assert!(none.contains("the file does not say how long its jobs run"), "{none}");
}
