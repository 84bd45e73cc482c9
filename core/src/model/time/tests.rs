use super::*;

#[test]
fn a_time_is_shown_in_seconds_with_three_decimals() {
    for (micros, text) in
        [(0, "0.000s"), (999, "0.000s"), (1_000, "0.001s"), (1_500_000, "1.500s"), (61_000_000, "61.000s")]
    {
        assert_eq!(Time(micros).to_string(), text);
    }
}

#[test]
fn time_goes_neither_below_the_epoch_nor_past_the_last_moment() {
    let second = Duration::from_secs(1);
    assert_eq!(Time(5) - second, Time::ZERO);
    assert_eq!(Time(u64::MAX - 5) + second, Time(u64::MAX));
    assert_eq!(Time(5) + Duration::MAX, Time(u64::MAX));
    assert_eq!(Time(5) - Duration::MAX, Time::ZERO);
}

#[test]
fn the_time_since_a_later_moment_is_none() {
    assert_eq!(Time(3_000_000).since(Time(1_000_000)), Duration::from_secs(2));
    assert_eq!(Time(1).since(Time(2)), Duration::ZERO);
    assert_eq!(Time(7) + Time(9).since(Time(7)), Time(9));
}
