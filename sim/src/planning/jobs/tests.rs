use std::time::Duration;

use super::*;

const HEAD: &str = "job,submit_s,framework,user,tasks,cpu_milli,memory_mib,gpu,gpu_milli,gpu_spec,duration_s,gang,priority,app,max_per_node\n";

fn read_only(rows: &str, only: &Only) -> Result<Jobs, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jobs.csv");
    std::fs::write(&file, format!("{HEAD}{rows}")).expect("written");
    read_as(&file, Format::Rialto, Members::Apart, only).map_err(|error| {
        let text = error.to_string();
        text.rsplit_once("jobs.csv").map_or_else(|| text.clone(), |(_, rest)| rest.to_owned())
    })
}

fn read_rows(rows: &str) -> Result<Jobs, String> {
    read_only(rows, &[])
}

#[test]
fn a_line_of_our_own_format_says_all_there_is_to_say_of_a_job() {
    let jobs = read_rows(
        "train,100,analytics,ann,4,8000,16384,2,1000,G2|G3,3600,1,5,,\n\
         web,60,web,bob,2,1000,1024,0,0,,,0,,front,1\n",
    );
    let jobs = jobs.expect("it reads");
    let submitted: Vec<u64> = jobs.list.iter().map(|job| job.submit.as_secs()).collect();
    assert_eq!(submitted, [0, 0, 40], "a task for each instance, one job for the gang");
    assert!(jobs.list[0].duration == ENDLESS && jobs.list[2].duration == Duration::from_secs(3600));
    assert_eq!(jobs.traits[0], Traits { bound: Some(PerMachine { app: 0, max: 1 }), ..Traits::default() });
    assert_eq!(jobs.traits[2], Traits { members: 4, bound: None, priority: 5 });
    assert_eq!(jobs.list[2].ask.models, [Arc::from("G2"), Arc::from("G3")]);
    assert_eq!(jobs.names, [Arc::from("web"), Arc::from("web"), Arc::from("train")]);
}

#[test]
fn some_lines_of_a_list_keep_the_times_that_they_have_among_all() {
    let rows = "a,100,ci,ann,1,1000,1024,0,0,,60,,,,\nb,130,ci,bob,1,1000,1024,0,0,,60,,,,\nc,160,web,bob,1,1000,1024,0,0,,60,,,,\n";
    let bob = read_only(rows, &[("framework", "ci".to_owned()), ("user", "bob".to_owned())]).expect("it reads");
    assert_eq!((bob.list.len(), bob.list[0].submit.as_secs(), bob.period.as_secs()), (1, 30, 61));
    assert_eq!(read_only(rows, &[("user", "eve".to_owned())]).expect("it reads").list.len(), 0);
}

#[test]
fn broken_lines_are_named_with_what_was_expected() {
    let with = |row: &str| read_rows(row).expect_err("it is broken");
    assert_eq!(with("a,0,,,1,1000,1024,0,0,,60,2,,,\n"), ":2: gang: expected a whole number from 0 to 1, got \"2\"");
    assert_eq!(
        with("a,0,,,1,1000,1024,0,0,,60,,high,,\n"),
        ":2: priority: expected a whole number from -1000000 to 1000000, got \"high\""
    );
    assert_eq!(
        with("a,0,,,1,1000,1024,0,0,,60,,,x,0\n"),
        ":2: max_per_node: expected -1 for any number, or 1 to 10000, got \"0\""
    );
    assert_eq!(
        with("a,0,,,2,1000,1024,0,0,,60,1,,x,1\n"),
        ":2: max_per_node: expected none of a job whose tasks start together"
    );
    assert_eq!(
        with("a,0,,,1,1000,1024,0,0,,x,,,,\n"),
        ":2: duration_s: expected a number from 0 to 3200000000, got \"x\""
    );
}
