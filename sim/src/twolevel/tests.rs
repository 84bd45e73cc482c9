use std::path::{Path, PathBuf};

use super::*;
use crate::input::Table;

fn job(workload: Workload, submit_s: u64, tasks: u32, seconds: u64) -> Job {
    Job {
        workload,
        submit: Time::ZERO + Duration::from_secs(submit_s),
        tasks,
        duration: Duration::from_secs(seconds),
        cpus: Milli::from_whole(1),
        mem: Milli::from_whole(1024),
    }
}

/// A batch job of 8 tasks every five seconds, a service job every minute, for half an hour on 40 machines, half of them full.
fn small_cell() -> Vec<Job> {
    let mut jobs = vec![job(Workload::Prefill, 0, 80, 1_000_000)];
    jobs.extend((0..360).map(|number| job(Workload::Batch, number * 5, 4, 30)));
    jobs.extend((0..30).map(|number| job(Workload::Service, number * 60, 2, 300)));
    jobs.sort_by_key(|job| job.submit);
    jobs
}

fn options(model: Model, t_job_service: u64) -> TwolevelOptions {
    TwolevelOptions {
        model,
        machines: 40,
        t_job_service: Duration::from_secs(t_job_service),
        horizon: Duration::from_secs(2400),
        ..TwolevelOptions::default()
    }
}

fn run(model: Model, t_job_service: u64) -> TwolevelReport {
    run_twolevel(&small_cell(), &options(model, t_job_service), |_| {})
}

fn error(line: &str) -> String {
    let header = "job_id,submit_s,workload,num_tasks,task_duration_s,cpus_per_task,mem_gb_per_task";
    let table = Table::of_text(Path::new("t.csv"), format!("{header}\n{line}\n")).expect("a table");
    jobs::jobs(&table).unwrap_err().to_string()
}

#[test]
fn broken_jobs_are_refused_by_line() {
    assert_eq!(error("1,0,Night,1,1,1,1"), "t.csv:2: workload: expected Prefill, Batch or Service, got \"Night\"");
    assert_eq!(error("1,0,Batch,0,1,1,1"), "t.csv:2: num_tasks: expected at least one task, got 0");
    assert_eq!(error("1,x,Batch,1,1,1,1"), "t.csv:2: submit_s: expected a number from 0 to 3200000000, got \"x\"");
    assert_eq!(
        error("1,0,Batch,1,1,0,0"),
        "t.csv:2: cpus_per_task: expected some cores or memory for each task, got none of either"
    );
}

#[test]
fn under_every_model_a_quiet_cell_runs_every_job() {
    for model in Model::ALL.into_iter().filter(|model| *model != Model::OmegaMesos) {
        let report = run(model, 0);
        assert_eq!((report.batch.unscheduled, report.service.unscheduled), (0, 0), "{model:?}: {report:?}");
        assert!(report.batch.wait.mean < 5.0, "{model:?}: {report:?}");
    }
}

#[test]
fn a_slow_service_scheduler_does_not_hold_batch_jobs_up_under_the_real_master() {
    let report = run(Model::Rialto, 60);
    assert_eq!(report.batch.unscheduled, 0, "{report:?}");
    assert!(report.batch.wait.mean < 1.0, "{report:?}");
}

/// An hour on 200 machines of jobs of many sizes, a few of them large, that ask for most of the cores.
fn mixed_cell() -> Vec<Job> {
    let mut dice = Dice::child(1, "cell");
    let mut jobs = vec![job(Workload::Prefill, 0, 480, 1_000_000)];
    jobs.extend((0..360).map(|number| {
        let tasks = if dice.chance(50) { 100 } else { dice.between(1, 12) as u32 };
        Job { cpus: Milli(dice.between(1, 6) * 250), ..job(Workload::Batch, number * 10, tasks, dice.between(30, 90)) }
    }));
    jobs.extend((0..24).map(|number| {
        let tasks = dice.between(2, 6) as u32;
        Job { cpus: Milli(dice.between(2, 8) * 250), ..job(Workload::Service, number * 150, tasks, 1200) }
    }));
    jobs.sort_by_key(|job| job.submit);
    jobs
}

#[test]
fn on_a_busy_mixed_cell_a_minute_for_each_service_job_leaves_no_job_behind() {
    let options = TwolevelOptions { machines: 200, horizon: Duration::from_secs(4000), ..options(Model::Rialto, 60) };
    let report = run_twolevel(&mixed_cell(), &options, |_| {});
    assert_eq!((report.batch.unscheduled, report.service.unscheduled), (0, 0), "{report:?}");
    assert!(report.batch.wait.mean < 2.0 && report.batch.wait_until_complete.mean < 30.0, "{report:?}");
    assert!(report.service.wait.mean < 200.0 && report.cpu_utilisation > 0.7, "{report:?}");
}

#[test]
fn it_does_where_all_jobs_share_one_path() {
    assert!(run(Model::Monolithic, 60).batch.unscheduled > 100);
}

#[test]
fn the_same_seed_gives_the_same_report() {
    assert_eq!(run(Model::Rialto, 10), run(Model::Rialto, 10));
}

#[test]
fn every_model_has_a_name_that_reads_back() {
    for model in Model::ALL {
        assert_eq!(model.as_str().parse(), Ok(model));
    }
}

/// The traces of the repository's neighbour, where it has one.
fn trace(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces/twolevel").join(name);
    path.exists().then_some(path)
}

#[test]
fn the_models_of_other_systems_agree_with_their_published_simulator() {
    let Some(path) = trace("twolevel_p2.csv") else {
        eprintln!("skipped: no traces beside the repository");
        return;
    };
    let jobs = read_jobs(&path).expect("the trace reads");
    let at = |model, seconds| {
        let t_job_service = Duration::from_secs(seconds);
        run_twolevel(&jobs, &TwolevelOptions { model, t_job_service, ..TwolevelOptions::default() }, |_| {})
    };
    let part = |report: &TwolevelReport| report.batch.unscheduled as f64 / report.batch.jobs as f64;
    // Between these, near 60 s, it depends on the seed when the cell breaks down.
    let (quick, slow) = (at(Model::OmegaMesos, 10), at(Model::OmegaMesos, 100));
    assert!(part(&quick) < 0.006 && (0.80..0.82).contains(&quick.cpu_utilisation), "{quick:?}");
    assert!((0.44..0.62).contains(&part(&slow)) && (0.65..0.69).contains(&slow.cpu_utilisation), "{slow:?}");
    let shared = at(Model::OmegaShared, 60);
    assert!(part(&shared) < 0.005 && (0.80..0.82).contains(&shared.cpu_utilisation), "{shared:?}");
    assert!((340.0..460.0).contains(&shared.service.wait.mean), "{shared:?}");
    let multi = at(Model::MonolithicMulti, 60);
    assert!((23.0..31.3).contains(&multi.batch.wait.mean), "{multi:?}");
}

#[test]
fn an_hour_of_the_heterogeneous_cell_stays_within_the_bounds_of_a_day() {
    let Some(path) = trace("twolevel_p2.csv") else {
        eprintln!("skipped: no traces beside the repository");
        return;
    };
    let jobs = read_jobs(&path).expect("the trace reads");
    let t_job_service = Duration::from_secs(60);
    let horizon = Duration::from_secs(3600);
    let report = run_twolevel(&jobs, &TwolevelOptions { t_job_service, horizon, ..TwolevelOptions::default() }, |_| {});
    let unscheduled = report.batch.unscheduled as f64 / report.batch.jobs as f64;
    assert!(unscheduled <= 0.005 && report.batch.wait.mean <= 30.0, "{report:?}");
    assert!(report.service.wait.mean <= 400.0 && report.cpu_utilisation >= 0.7, "{report:?}");
}
