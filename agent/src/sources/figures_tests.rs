use super::*;

fn list(device: &str, figures: &[(&str, f64)]) -> StatsList {
    let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    StatsList { devices: vec![DeviceStats { device: device.to_owned(), figures }] }
}

#[test]
fn figures_of_its_own_devices_are_taken() {
    let taken = figures(list("d1", &[("used_bytes", 12.5)]), |_| true).expect("they are well formed");
    assert_eq!(taken, [(DeviceId::new("d1"), [("used_bytes".to_owned(), 12.5)].into())].into());
    assert_eq!(figures(list("d1", &[("used_bytes", 12.5)]), |_| false), Ok(BTreeMap::new()));
}

#[test]
fn nonsense_names_the_field() {
    let refused = |figure: (&str, f64)| figures(list("d1", &[figure]), |_| true).expect_err("it is nonsense");
    assert_eq!(refused(("used", f64::NAN)), "devices[0].figures[used]: expected a number, got NaN");
    assert!(refused(("a b", 1.0)).contains("expected a name of letters"), "{}", refused(("a b", 1.0)));
    let many: Vec<String> = (0..33).map(|number| format!("f{number}")).collect();
    let many: Vec<(&str, f64)> = many.iter().map(|name| (&**name, 1.0)).collect();
    let error = figures(list("d1", &many), |_| true).expect_err("they are too many");
    assert_eq!(error, "devices[0].figures: expected at most 32, got 33");
}

#[test]
fn what_a_plug_in_said_is_replaced_as_a_whole() {
    let board = Board::default();
    let of = |id: &str| BTreeMap::from([(DeviceId::new(id), Figures::from([("a".to_owned(), 1.0)]))]);
    board.post("p".into(), of("d1"));
    board.post("q".into(), of("d3"));
    board.post("p".into(), of("d2"));
    assert_eq!(board.of(&DeviceId::new("d1")), None);
    assert_eq!(board.all().len(), 2);
    board.wipe("p");
    assert_eq!(board.all().into_keys().collect::<Vec<_>>(), [DeviceId::new("d3")]);
}
