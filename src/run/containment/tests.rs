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
        secrets: Vec::new(),
        limit_cpus: Some("1.5".to_owned()),
        limit_mem: Some(64),
        limit_pids: Some(10),
        ulimits: vec!["core=0".to_owned()],
        read_only: true,
        private_network: true,
        bridge: false,
        ports: 0,
        publish: Vec::new(),
        user_namespace: true,
        image: Some("oci:/images/a".to_owned()),
        user: Some("1000".to_owned()),
    };
    let spec = options.apply(Command::shell("true")).expect("they are good").spec;
    assert_eq!((spec.limits.cpus, spec.limits.mem_mib, spec.limits.pids), ("1.5".parse().ok(), Some(64), Some(10)));
    assert!(
        spec.container.read_only
            && spec.container.private_network
            && spec.container.user_namespace
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

#[test]
fn a_published_port_is_of_tcp_unless_it_says_otherwise() {
    let mapping = |to, transport| PortMapping { port_index: 3, to, transport };
    assert_eq!(publish("80", 3).expect("it is one"), mapping(80, Transport::Tcp));
    assert_eq!(publish("80/tcp", 3).expect("it is one"), mapping(80, Transport::Tcp));
    assert_eq!(publish("53/udp", 3).expect("it is one"), mapping(53, Transport::Udp));
    assert!(publish("0", 3).is_err() && publish("80/sctp", 3).is_err() && publish("http", 3).is_err());
}

#[test]
fn a_secret_is_read_from_its_file_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "hush").expect("it can be written");
    let read = secret(&format!("key={}:etc/key", file.display())).expect("it is one");
    assert_eq!((&*read.name, &*read.target, &*read.content), ("key", "etc/key", &b"hush"[..]));
    assert!(!format!("{read:?}").contains("hush"));
    assert!(secret("key").is_err() && secret("key=/no/such/file").is_err());
    assert!(secret(&format!("../key={}", file.display())).is_err());
}
