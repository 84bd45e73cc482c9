use super::*;
use crate::planning::jobs::whole_gpus;

fn of(format: Format, text: &str, serves: f64) -> Result<Jobs, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.csv");
    std::fs::write(&file, text).expect("written");
    let replica = Replica { serves, ask: whole_gpus(1) };
    read(&file, format, &replica).map_err(|error| error.to_string())
}

/// From when to when each instance is wanted.
fn spans(jobs: &Jobs) -> Vec<(u64, u64)> {
    let span = |job: &TraceJob| (job.submit.as_secs(), (job.submit + job.duration).as_secs());
    jobs.list.iter().map(span).collect()
}

#[test]
fn as_many_instances_are_wanted_as_the_rate_of_each_moment_needs() {
    let jobs = of(Format::Rate, "t_s,rate\n100,10\n400,25\n700,10.1\n1000,0\n", 10.0).expect("it reads");
    assert_eq!(spans(&jobs), [(0, 900), (300, 600), (300, 900)], "one, three, two, none");
    assert_eq!(jobs.period.as_secs(), 1200, "the last rate holds as long as the one before");
}

#[test]
fn requests_are_counted_over_five_minutes() {
    // Two instances are busy in the first five minutes, none in the second, one in the third.
    let text = "submit_s,exec_s\n10,400\n20,100\n610,30\n";
    let jobs = of(Format::GenaiRequests, text, 1.0).expect("it reads");
    assert_eq!(spans(&jobs), [(0, 300), (0, 300), (600, 900)]);
    let tokens = of(Format::AzureLlm, "t_s,context_tokens,generated_tokens\n0.0,2500,500\n", 10.0).expect("it reads");
    assert_eq!(spans(&tokens), [(0, 300)], "3,000 tokens in 300 s");
}

#[test]
fn a_load_that_is_none_is_refused_with_its_line() {
    let error = |text: &str| of(Format::Rate, text, 1.0).map(|_| ()).expect_err("it is refused");
    assert!(error("t_s,rate\n0,1\n0,2\n").contains("load.csv:3: t_s: expected more than 0"));
    assert!(error("t_s,rate\n0,many\n").contains("load.csv:2"));
    assert!(error("t_s,qps\n0,1\n").contains("expected a column \"rate\""));
    assert!(error("t_s,rate\n0,1\n300,10001\n").contains("at most 10000 instances"));
}
