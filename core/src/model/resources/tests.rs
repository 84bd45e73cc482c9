use proptest::prelude::*;

use super::super::Range;
use super::*;

fn parse(text: &str) -> Resources {
    text.parse().unwrap()
}

fn refused(text: &str) -> String {
    text.parse::<Resources>().unwrap_err().to_string()
}

fn reserved_for(roles: &[&str]) -> Flavor {
    let layer = |role: &&str| Reservation {
        role: Role::new(role).unwrap(),
        kind: ReservationKind::Static,
        principal: None,
        labels: BTreeMap::new(),
        expires: None,
    };
    Flavor { reservations: roles.iter().map(layer).collect(), ..Flavor::default() }
}

fn device(id: &str, share: u16) -> Resources {
    let devices = BTreeMap::from([(DeviceId::new(id), Share(share))]);
    Resources::flavored(Flavor::default(), Amounts { devices, ..Amounts::default() })
}

#[test]
fn a_list_of_names_and_amounts_is_read() {
    let resources =
        parse(" cpus:4.5; mem:8192;;ports:[31000-31001, 31005] ;disk(eng/ci):1024;zones:{b, a,b};gpus(*):2;");
    let plain = resources.get(&Flavor::default()).unwrap();
    assert_eq!(plain.scalars.get(&ResourceName::Cpus), Milli(4_500));
    assert_eq!(plain.scalars.get(&ResourceName::new("gpus")), Milli(2_000));
    assert_eq!(plain.ranges[&ResourceName::ports()].len(), 3);
    assert_eq!(plain.sets[&ResourceName::new("zones")].len(), 2);
    let reserved = resources.get(&reserved_for(&["eng/ci"])).unwrap();
    assert_eq!(reserved.scalars.get(&ResourceName::Disk), Milli::from_whole(1024));
    assert_eq!(resources.iter().count(), 2);
}

#[test]
fn amounts_of_nothing_leave_nothing_behind() {
    for text in ["", " ; ", "cpus:0", "cpus:0;mem(eng):0.000", "ports:[]", "zones:{}", "zones:{ , }"] {
        assert_eq!(parse(text), Resources::new(), "{text:?}");
    }
    let amounts = Amounts {
        ranges: ByName::from([(ResourceName::ports(), Ranges::default())]),
        sets: ByName::from([(ResourceName::new("zones"), BTreeSet::new())]),
        devices: BTreeMap::from([(DeviceId::new("gpu-0"), Share(0))]),
        ..Amounts::default()
    };
    assert!(Resources::flavored(Flavor::default(), amounts).is_empty());
}

#[test]
fn a_bad_entry_is_refused_with_its_name() {
    for (text, message) in [
        ("cpus", "expected NAME:AMOUNT, as in cpus:4;mem:8192;ports:[31000-32000], got \"cpus\""),
        ("disk(eng:4", "expected NAME:AMOUNT, as in cpus:4;mem:8192;ports:[31000-32000], got \"disk(eng:4\""),
        (":4", "resource name: expected 1 to 64 letters, digits, '_', '-' or '.', got \"\""),
        ("cp us:4", "resource name: expected 1 to 64 letters, digits, '_', '-' or '.', got \"cp us\""),
        ("cpus:", "resource cpus: expected a number such as 4 or 0.5, got \"\""),
        ("cpus:-1", "resource cpus: expected a number such as 4 or 0.5, got \"-1\""),
        ("mem:1e9", "resource mem: expected a number such as 4 or 0.5, got \"1e9\""),
        ("mem:0.0001", "resource mem: expected at most three decimals, got \"0.0001\""),
        ("mem:1000000001", "resource mem: expected at most 1000000000, got \"1000000001\""),
        ("zones:{a", "resource zones: expected a number such as 4 or 0.5, got \"{a\""),
        ("ports:[1-", "resource ports: expected ranges such as [31000-32000,40000-40010], got \"[1-\""),
        ("ports:[9-1]", "resource ports: expected the first number of a range to be at most the last, got 9-1"),
        ("cpus:[1-4]", "resource cpus: expected a number such as 4 or 0.5, got \"[1-4]\""),
        ("mem:{a}", "resource mem: expected a number such as 4 or 0.5, got \"{a}\""),
        ("ports:31000", "resource ports: expected ranges such as [31000-32000,40000-40010], got \"31000\""),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
    assert!(refused("disk(eng/):4").starts_with("resource disk: expected a role such as eng/ci"));
    assert!(refused("disk():4").starts_with("resource disk: expected a role such as eng/ci"));
    assert!(refused(&format!("{}:4", "x".repeat(65))).starts_with("resource name: expected 1 to 64 letters"));
}

#[test]
fn a_name_is_given_once_for_each_role() {
    for text in [
        "cpus:1;cpus:2",
        "cpus:0;cpus:2",
        "cpus:1;cpus(*):2",
        "x:1;x:[1-2]",
        "ports:[];ports:[1-2]",
        "x(eng):1;x(eng):0",
    ] {
        assert!(refused(text).ends_with(": given twice"), "{text}");
    }
    assert_eq!(parse("cpus:1;cpus(eng):2;cpus(web):3").quantities().get(&ResourceName::Cpus), Milli::from_whole(6));
}

#[test]
fn resources_are_shown_with_their_roles_and_shares() {
    let mut resources = parse("mem:512;cpus:1.5;ports:[5-7];zones:{b,a};disk(eng):10");
    resources.add(&Resources::devices([DeviceId::new("gpu-0")]));
    resources.add(&device("gpu-1", 250));
    assert_eq!(
        resources.to_string(),
        "cpus:1.5 mem:512 ports:[5-7] zones:{a,b} device:gpu-0 device:gpu-1/250 disk(eng):10"
    );
}

#[test]
fn a_role_may_use_what_is_unreserved_or_reserved_for_it_or_above_it() {
    let all = parse("cpus:1;cpus(eng):2;cpus(eng/ci):4;cpus(eng/ci/fast):8;cpus(web):16;cpus(engine):32");
    for (role, cpus) in
        [("eng", 3), ("eng/ci", 7), ("eng/ci/fast", 15), ("eng/other", 3), ("web", 17), ("other", 1), ("*", 1)]
    {
        let part = all.for_role(&Role::new(role).unwrap());
        assert_eq!(part.quantities().get(&ResourceName::Cpus), Milli::from_whole(cpus), "{role}");
        assert!(all.contains(&part));
    }
}

#[test]
fn the_top_of_the_reservation_stack_decides_whose_it_is() {
    let refined = reserved_for(&["eng", "eng/ci"]);
    assert!(refined.is_for(&Role::new("eng/ci").unwrap()));
    assert!(!refined.is_for(&Role::new("eng").unwrap()));
}

#[test]
fn amounts_of_other_flavors_do_not_help() {
    let mut reserved = parse("cpus(eng):4");
    assert!(!reserved.contains(&parse("cpus:1")));
    assert!(!reserved.subtract(&parse("cpus:1")));
    assert_eq!(reserved, parse("cpus(eng):4"));
}

#[test]
fn what_has_identity_is_in_one_place_only() {
    for (one, other) in [("ports:[1-5]", "ports:[5-9]"), ("zones:{a,b}", "zones:{b}"), ("x(eng):[1-9]", "x(eng):[3]")] {
        assert!(!parse(one).is_disjoint(&parse(other)), "{one} and {other}");
    }
    for (one, other) in
        [("ports:[1-5]", "ports:[6-9]"), ("cpus:4", "cpus:4"), ("x(eng):[1]", "x:[1]"), ("x:[1]", "y:[1]")]
    {
        assert!(parse(one).is_disjoint(&parse(other)), "{one} and {other}");
    }
    assert!(device("gpu-0", 400).is_disjoint(&device("gpu-0", 600)));
    assert!(!device("gpu-0", 401).is_disjoint(&device("gpu-0", 600)));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "ports:[5-9] is added to ports:[1-5], which has a part of it already")]
fn adding_a_port_twice_is_a_mistake_of_the_caller() {
    parse("ports:[1-5]").add(&parse("ports:[5-9]"));
}

#[test]
fn a_device_is_never_there_more_than_once() {
    let mut merged = device("gpu-0", 700);
    merged.merge(&device("gpu-0", 700));
    assert_eq!(merged, Resources::devices([DeviceId::new("gpu-0")]));
    assert!(merged.subtract(&device("gpu-0", 400)));
    assert_eq!(merged, device("gpu-0", 600));
    assert!(!merged.subtract(&device("gpu-0", 601)));
}

#[test]
fn the_ranges_of_all_flavors_are_found_together() {
    let resources = parse("ports:[1-3];ports(eng):[4-6]");
    assert_eq!(resources.ranges(&ResourceName::ports()).to_string(), "[1-6]");
}

fn name() -> impl Strategy<Value = ResourceName> {
    prop::sample::select(vec!["cpus", "mem", "disk", "licences", "x"]).prop_map(ResourceName::new)
}

fn quantities() -> impl Strategy<Value = Quantities> {
    prop::collection::vec((name(), 0..4_000_u64), 0..4).prop_map(|amounts| {
        let mut quantities = Quantities::new();
        amounts.into_iter().for_each(|(name, amount)| quantities.set(&name, Milli(amount)));
        quantities
    })
}

fn small_ranges() -> impl Strategy<Value = Ranges> {
    let range = (0..20_u64, 0..4_u64).prop_map(|(first, more)| Range { first, last: first + more });
    prop::collection::vec(range, 0..4).prop_map(Ranges::new)
}

fn items() -> impl Strategy<Value = BTreeSet<Arc<str>>> {
    prop::collection::btree_set(prop::sample::select(vec!["a", "b", "c"]).prop_map(Arc::from), 0..3)
}

fn amounts() -> impl Strategy<Value = Amounts> {
    let range_name = prop::sample::select(vec!["ports", "uids"]).prop_map(ResourceName::new);
    let set_name = prop::sample::select(vec!["zones", "keys"]).prop_map(ResourceName::new);
    let id = prop::sample::select(vec!["gpu-0", "gpu-1"]).prop_map(DeviceId::new);
    (
        quantities(),
        prop::collection::btree_map(range_name, small_ranges(), 0..3),
        prop::collection::btree_map(set_name, items(), 0..3),
        prop::collection::btree_map(id, (0..=1000_u16).prop_map(Share), 0..3),
    )
        .prop_map(|(scalars, ranges, sets, devices)| Amounts {
            scalars,
            ranges: ranges.into_iter().collect(),
            sets: sets.into_iter().collect(),
            devices,
        })
}

fn flavor() -> impl Strategy<Value = Flavor> {
    let revocable = Flavor { guarantee: Guarantee::Revocable, ..Flavor::default() };
    prop::sample::select(vec![Flavor::default(), reserved_for(&["eng"]), reserved_for(&["eng", "eng/ci"]), revocable])
}

fn resources() -> impl Strategy<Value = Resources> {
    prop::collection::btree_map(flavor(), amounts(), 0..4).prop_map(|parts| {
        let mut sum = Resources::new();
        parts.into_iter().for_each(|(flavor, amounts)| sum.merge(&Resources::flavored(flavor, amounts)));
        sum
    })
}

/// A part of `whole`: so many percent of what can be divided, and of the rest what `like` has too.
fn part_of(whole: &Resources, like: &Resources, percent: u64) -> Resources {
    let mut part = Resources::new();
    let nothing = Amounts::default();
    for (flavor, amounts) in whole.iter() {
        let like = like.get(flavor).unwrap_or(&nothing);
        let mut taken = Amounts::default();
        for (name, amount) in amounts.scalars.iter() {
            taken.scalars.set(name, Milli(amount.0 * percent / 100));
        }
        for (name, ranges) in &amounts.ranges {
            let both = like.ranges.get(name).map(|like| ranges.intersection(like));
            taken.ranges.insert(name.clone(), both.unwrap_or_default());
        }
        for (name, items) in &amounts.sets {
            let both = like.sets.get(name).map(|like| items & like);
            taken.sets.insert(name.clone(), both.unwrap_or_default());
        }
        for (id, share) in &amounts.devices {
            taken.devices.insert(id.clone(), Share((u64::from(share.0) * percent / 100) as u16));
        }
        part.add(&Resources::flavored(flavor.clone(), taken));
    }
    part
}

fn whole_and_part() -> impl Strategy<Value = (Resources, Resources)> {
    (resources(), resources(), 0..=100_u64).prop_map(|(whole, like, percent)| {
        let part = part_of(&whole, &like, percent);
        (whole, part)
    })
}

fn holds_nothing_empty(resources: &Resources) -> bool {
    resources.iter().map(|(flavor, _)| flavor).is_sorted()
        && resources.iter().all(|(_, amounts)| {
            !amounts.is_empty()
                && amounts.scalars.iter().all(|(_, amount)| !amount.is_zero())
                && amounts.ranges.values().all(|ranges| !ranges.is_empty())
                && amounts.sets.values().all(|items| !items.is_empty())
                && amounts.devices.values().all(|share| (1..=1000).contains(&share.0))
        })
}

proptest! {
    #[test]
    fn a_part_that_is_taken_and_given_back_makes_the_whole_again((whole, part) in whole_and_part()) {
        let mut rest = whole.clone();
        prop_assert!(rest.subtract(&part));
        prop_assert!(holds_nothing_empty(&rest));
        prop_assert!(rest.is_disjoint(&part) && part.is_disjoint(&rest));
        prop_assert_eq!(rest.plus(&part), whole.clone());
        prop_assert_eq!(part.plus(&rest), whole);
    }

    #[test]
    fn what_is_added_can_be_taken_away_again((whole, part) in whole_and_part()) {
        let mut rest = whole.clone();
        prop_assert!(rest.subtract(&part));
        let mut sum = rest.plus(&part);
        prop_assert!(holds_nothing_empty(&sum));
        prop_assert!(sum.contains(&rest) && sum.contains(&part));
        prop_assert!(sum.subtract(&part));
        prop_assert_eq!(sum, rest);
    }

    #[test]
    fn only_what_is_there_is_taken_and_else_nothing(whole in resources(), asked in resources()) {
        let mut left = whole.clone();
        let taken = left.subtract(&asked);
        prop_assert_eq!(taken, whole.contains(&asked));
        if !taken {
            prop_assert_eq!(left, whole);
        }
    }

    #[test]
    fn the_order_of_merging_does_not_matter(a in resources(), b in resources()) {
        let (mut one, mut other) = (a.clone(), b.clone());
        one.merge(&b);
        other.merge(&a);
        prop_assert_eq!(&one, &other);
        prop_assert!(holds_nothing_empty(&one));
        prop_assert!(one.contains(&a) && one.contains(&b));
        prop_assert_eq!(a.is_disjoint(&b), b.is_disjoint(&a));
    }

    #[test]
    fn containing_is_a_partial_order((a, b) in whole_and_part(), like in resources(), percent in 0..=100_u64) {
        let c = part_of(&b, &like, percent);
        prop_assert!(a.contains(&a));
        prop_assert!(a.contains(&b) && b.contains(&c) && a.contains(&c));
        prop_assert_eq!(b.contains(&a), a == b);
        prop_assert!(a.contains(&Resources::new()));
        prop_assert!(a.quantities().contains(&b.quantities()));
    }

    #[test]
    fn what_a_role_may_use_is_a_part_and_stays_one(all in resources()) {
        for role in ["eng", "eng/ci", "eng/ci/fast", "web"] {
            let role = Role::new(role).unwrap();
            let part = all.for_role(&role);
            prop_assert!(all.contains(&part));
            prop_assert_eq!(part.for_role(&role), part);
        }
    }

    #[test]
    fn bare_amounts_follow_the_same_rules(a in quantities(), b in quantities()) {
        let (mut sum, mut other) = (a.clone(), b.clone());
        sum.add(&b);
        other.add(&a);
        prop_assert_eq!(&sum, &other);
        prop_assert!(sum.subtract(&b));
        prop_assert_eq!(&sum, &a);
        let taken = sum.subtract(&b);
        prop_assert_eq!(taken, a.contains(&b));
        if !taken {
            prop_assert_eq!(&sum, &a);
        }
        prop_assert!(sum.iter().all(|(_, amount)| !amount.is_zero()));
        prop_assert_eq!(a.contains(&b) && b.contains(&a), a == b);
    }

    #[test]
    fn what_is_shown_is_read_back(amounts in amounts(), role in prop::option::of(Just("eng/ci"))) {
        let amounts = Amounts { devices: BTreeMap::new(), ..amounts };
        let flavor = role.map(|role| reserved_for(&[role])).unwrap_or_default();
        let resources = Resources::flavored(flavor, amounts);
        prop_assert_eq!(resources.to_string().replace(' ', ";").parse(), Ok(resources));
    }

    #[test]
    fn any_text_is_resources_or_an_error(text in "\\PC{0,40}|([a-z]{1,5}(\\([a-z/*]{0,5}\\))?:[0-9.{}a,\\[\\]-]{0,8};?){0,4}") {
        if let Ok(resources) = text.parse::<Resources>() {
            prop_assert!(holds_nothing_empty(&resources));
        }
    }
}
