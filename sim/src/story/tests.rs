use super::*;

#[test]
fn a_message_names_its_tasks_offers_and_devices() {
    let named = |message: &str| subjects(message).into_iter().collect::<Vec<_>>();
    assert_eq!(named("I3: F1-3/j24.0.1 lives, and its framework is told TASK_GONE"), ["j24.0.1"]);
    assert_eq!(named("f2 has O1-665 of A1-1, which its master does not know"), ["O1-665"]);
    assert_eq!(named("not at rest: gpu1 of A1-1 is Allocated(F1-3/j4.0.0)"), ["gpu1", "j4.0.0"]);
    assert_eq!(named("f1 is not done: job 5 (group of 1)"), ["j5."]);
}

#[test]
fn a_part_of_a_longer_number_is_not_mentioned() {
    assert!(mentions("a1 starts F1-2/j1.0.1(cpus:1)", "j1.0.1"));
    assert!(!mentions("a1 starts F1-2/j1.0.10(cpus:1)", "j1.0.1"));
    assert!(!mentions("a1 starts F1-2/j11.0.1(cpus:1)", "j1."));
}

#[test]
fn what_has_nothing_to_do_with_the_failure_is_counted() {
    let mut trace = vec!["1s f1 starts".to_owned(), "2s launch j1.0.0".to_owned()];
    trace.extend((0..50).map(|n| format!("3s launch j2.0.{n}")));
    trace.extend(["4s a1 crashes".to_owned(), "5s j1.0.0 ends".to_owned()]);
    trace.extend((0..30).map(|n| format!("6s noise {n}")));
    let text = excerpt(&trace, "F1-1/j1.0.0 lives");
    let lines: Vec<&str> = text.lines().take(6).collect();
    assert_eq!(
        lines,
        [
            "    … 1 lines".replace("    … 1 lines", "1s f1 starts").as_str(),
            "2s launch j1.0.0",
            "    … 50 lines",
            "4s a1 crashes",
            "5s j1.0.0 ends",
            "    … 10 lines",
        ]
    );
}
