use super::*;

#[test]
fn a_rate_is_what_a_counter_grew_by_in_a_second() {
    let sample = |at_unix_ms, cpu_us| Sample { at_unix_ms, cpu_us, ..Sample::default() };
    let of = |samples: &[Sample]| rate(samples, |sample| sample.cpu_us);
    assert_eq!(of(&[sample(1000, Some(5)), sample(3000, Some(1_000_005))]), Some(500_000.0));
    assert_eq!(of(&[sample(1000, Some(5)), sample(2000, None)]), None, "what is not measured is not guessed");
    assert_eq!(of(&[sample(1000, Some(5))]), None, "one look says nothing of speed");
    assert_eq!(of(&[]), None);
}

#[test]
fn devices_have_their_figures_beside_them() {
    let figures = BTreeMap::from([("used".to_owned(), 12.5), ("busy".to_owned(), 3.0)]);
    let all = BTreeMap::from([("gpu-0".to_owned(), figures), ("gpu-1".to_owned(), BTreeMap::new())]);
    assert_eq!(devices(&all), "gpu-0: busy 3, used 12.5; gpu-1: ");
}
