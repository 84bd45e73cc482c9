use rialto_core::model::{Amounts, Flavor, Milli, Quantities, Volume, VolumeId};

use super::*;

fn fill(used_kib: u64, limit_kib: u64) -> Fill {
    let mut fill = Fill::default();
    (fill.used_bytes, fill.limit_bytes) = (used_kib << 10, limit_kib << 10);
    fill
}

#[test]
fn what_is_nearly_full_counts_as_full_and_what_has_no_limit_does_not() {
    assert!(is_full(fill(1024, 1024)) && is_full(fill(1020, 1024)) && is_full(fill(2048, 1024)));
    assert!(!is_full(fill(900, 1024)));
    assert!(!is_full(fill(1024, 0)));
    assert!(is_full(fill((100 << 10) - 1024, 100 << 10)), "one MiB of a hundred");
    assert!(!is_full(fill((100 << 10) - 2048, 100 << 10)));
}

#[test]
fn a_limit_is_that_of_the_sandbox_and_not_of_volumes() {
    let of = |resources: &str| of_sandbox(&resources.parse().expect("they are well formed"));
    assert_eq!(of("cpus:1;disk:10"), 10 << 20);
    assert_eq!(of("cpus:1"), 0);
    let mut resources: Resources = "disk:10".parse().expect("they are well formed");
    let volume = Volume::new(VolumeId::new("data").expect("a name"), "data").expect("a path");
    let flavor = Flavor { volume: Some(volume), ..Flavor::default() };
    let mut scalars = Quantities::new();
    scalars.set(&ResourceName::Disk, Milli::from_whole(500));
    resources.add(&Resources::flavored(flavor, Amounts { scalars, ..Amounts::default() }));
    assert_eq!(of_sandbox(&resources), 10 << 20);
}
