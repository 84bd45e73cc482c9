use crate::model::{Volume, VolumeId};

#[test]
fn a_container_path_stays_inside_the_sandbox() {
    let at = |path: &str| Volume::new(VolumeId::new("data").expect("a name"), path);
    for good in ["data", "var/lib/db", "..data", "a b"] {
        assert_eq!(at(good).expect(good).container_path(), good);
    }
    for bad in ["", "/data", "data/", "../data", "a/../b", "a//b", "./a", "a\nb", &"x".repeat(513)] {
        assert!(at(bad).is_err(), "{bad:?}");
    }
}
