//! `twolevel JOBS MODEL T-JOB-SERVICE [SEED [HOURS]]`: runs the jobs and prints what came of them.

use std::time::Duration;

use rialto_sim::twolevel::{Model, TwolevelOptions, read_jobs, run_twolevel};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let jobs = read_jobs(args[0].as_ref()).expect("jobs");
    let options = TwolevelOptions {
        model: Model::ALL.into_iter().find(|model| model.as_str() == args[1]).expect("a model"),
        t_job_service: Duration::from_secs_f64(args[2].parse().expect("seconds")),
        seed: args.get(3).and_then(|seed| seed.parse().ok()).unwrap_or(0),
        horizon: Duration::from_secs(3600 * args.get(4).and_then(|hours| hours.parse().ok()).unwrap_or(24)),
        ..TwolevelOptions::default()
    };
    println!("{} {}: {:?}", args[1], args[2], run_twolevel(&jobs, &options, |_| {}));
}
