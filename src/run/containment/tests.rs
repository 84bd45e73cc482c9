use super::*;

#[test]
fn a_ulimit_has_a_soft_and_a_hard_part() {
    let limit = |soft, hard| Rlimit { name: "nofile".to_owned(), soft, hard };
    assert_eq!(rlimit("nofile=10:20").expect("it is well formed"), limit(Some(10), Some(20)));
    assert_eq!(rlimit("nofile=10").expect("it is well formed"), limit(Some(10), Some(10)));
    assert_eq!(rlimit("nofile=10:unlimited").expect("it is well formed"), limit(Some(10), None));
    assert!(rlimit("nofile").is_err() && rlimit("nofile=many").is_err());
}

#[test]
fn options_become_the_tasks() {
    let options = Containment {
        fetch: vec!["https://host/a,extract".to_owned()],
        limit_cpus: Some("1.5".to_owned()),
        limit_mem: Some(64),
        limit_pids: Some(10),
        ulimits: vec!["core=0".to_owned()],
        read_only: true,
        private_network: true,
        image: Some("oci:/images/a".to_owned()),
        user: Some("1000".to_owned()),
    };
    let spec = options.apply(Command::shell("true")).expect("they are good").spec;
    assert_eq!((spec.limits.cpus, spec.limits.mem_mib, spec.limits.pids), ("1.5".parse().ok(), Some(64), Some(10)));
    assert!(
        spec.container.read_only
            && spec.container.private_network
            && spec.container.image.is_some()
            && spec.artefacts[0].extract
    );
    assert_eq!((&*spec.container.rlimits[0].name, &*spec.user), ("core", "1000"));
    let bad = Containment { fetch: vec!["nonsense".to_owned()], ..options };
    assert!(
        format!("{:#}", bad.apply(Command::shell("true")).expect_err("it is none"))
            .starts_with("--fetch nonsense: uri: ")
    );
}
