use super::*;

fn quick(only: &[&str]) -> Report {
    let only = only.iter().map(ToString::to_string).collect();
    let options = Options { traces: None, only, effort: Effort::Quick, threads: 2 };
    validate(&options, &|_, _| {}).expect("these checks need no traces")
}

#[test]
fn whatever_needs_no_trace_comes_out() {
    let report = quick(&[]);
    let failed: Vec<&Row> = report.rows.iter().filter(|row| row.verdict == Verdict::Fail).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(report.rows.len() > 30 && report.passed_over.len() == 9, "{report:?}");
}

#[test]
fn the_table_is_the_same_on_any_number_of_threads() {
    let table = |threads| {
        let only = vec!["V9".to_owned(), "V12".to_owned(), "V14".to_owned()];
        let options = Options { traces: None, only, effort: Effort::Quick, threads };
        validate(&options, &|_, _| {}).expect("these checks need no traces").rows
    };
    assert_eq!(table(1), table(3));
}

#[test]
fn a_check_that_is_not_known_or_lacks_its_traces_is_said_so() {
    let error = |only: &str, traces: Option<&str>| {
        let traces = traces.map(PathBuf::from);
        let options = Options { traces, only: vec![only.to_owned()], effort: Effort::Quick, threads: 1 };
        validate(&options, &|_, _| {}).expect_err("it can't be run").to_string()
    };
    assert_eq!(error("V16", None), "--only: expected one of V1 to V15, got \"V16\"");
    assert_eq!(error("V8", None), "V8 needs the public traces: expected --traces FOLDER with twolevel/");
    let missing = error("V8", Some("/nowhere"));
    assert!(missing.starts_with("/nowhere/twolevel/twolevel_p2.csv: "), "{missing}");
}

#[test]
fn a_row_outside_its_tolerance_fails() {
    assert_eq!(Row::near("V1", "", 1.0, 1.2, 0.1).verdict, Verdict::Fail);
    assert_eq!(Row::relative("V1", "", 100.0, 101.0, 0.02).verdict, Verdict::Pass);
    assert_eq!(Row::at_most("V1", "", 1.0, f64::NAN).verdict, Verdict::Fail);
    assert_eq!(Row::within("V1", "", 1.0, 2.0, 3.0).verdict, Verdict::Fail);
}

#[test]
fn the_twin_scenario_makes_jobs_wait_and_runs_the_same_every_time() {
    let placed = twin::in_virtual_time();
    assert_eq!(placed.len(), 200);
    let rows = twin::judge(&placed, &twin::in_virtual_time());
    assert!(rows.iter().all(|row| row.verdict == Verdict::Pass), "{rows:#?}");
}
