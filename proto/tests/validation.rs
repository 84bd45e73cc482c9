//! Bad input is refused, and the refusal names the field.

use std::fmt::Debug;

use rialto_core::model::{
    AcceptGang, Body, Call, ClusterId, Domain, FrameworkInfo, FromAgent, OfferRules, Reject, Term,
};
use rialto_proto::hello::Hello;
use rialto_proto::journal::{JournalError, JournalReader};
use rialto_proto::logs::{LogFile, ReadLog};
use rialto_proto::registry::{RegistryError, decode_entries, encode_cluster, encode_record};
use rialto_proto::spec::TaskSpec;
use rialto_proto::{ConvertError, Wire, checked, frames, v1};

fn task(id: &str) -> v1::Task {
    v1::Task { id: id.to_owned(), role: "eng".to_owned(), ..v1::Task::default() }
}

fn launch(tasks: Vec<v1::Task>) -> v1::CallFrame {
    let launch = v1::operation::Operation::Launch(v1::TaskGroup { tasks });
    let accept = v1::Accept {
        agent: Some(v1::AgentId { term: 1, seq: 1 }),
        operations: vec![v1::Operation { operation: Some(launch) }],
        ..v1::Accept::default()
    };
    v1::CallFrame { hello: None, calls: vec![v1::Call { call: Some(v1::call::Call::Accept(accept)) }] }
}

fn refused<T: Debug>(result: Result<T, ConvertError>, field: &str, message: &str) {
    let error = result.expect_err("it must be refused");
    assert_eq!(error.field, field, "{error}");
    assert!(error.message.contains(message), "{error}");
}

/// The launch of a task that `change` has spoilt, refused at `field` of it.
fn spoilt(change: impl FnOnce(&mut v1::Task), field: &str, message: &str) {
    let mut task = task("a");
    change(&mut task);
    let path = format!("calls[0].accept.operations[0].launch.tasks[0].{field}");
    refused(frames::calls(launch(vec![task])), &path, message);
}

fn with_amounts(amounts: v1::Amounts) -> impl FnOnce(&mut v1::Task) {
    |task| task.resources = Some(v1::Resources { amounts: vec![amounts] })
}

fn with_alternative(alternative: v1::Alternative) -> impl FnOnce(&mut v1::Task) {
    |task| task.claims = vec![v1::Claim { alternatives: vec![alternative] }]
}

fn alternative() -> v1::Alternative {
    let count = Some(v1::alternative::Count::Exactly(1));
    v1::Alternative { kind: "gpu".to_owned(), count, share_milli: 1000, ..v1::Alternative::default() }
}

#[test]
fn a_good_task_passes() {
    let calls = frames::calls(launch(vec![task("a"), task("b")])).expect("nothing is wrong with it");
    assert!(matches!(calls.as_slice(), [Call::Accept(accept)] if accept.operations.len() == 1));
}

#[test]
fn gangs() {
    let refused_gang = |parts: Vec<v1::GangPart>, field: &str, message: &str| {
        let gang = v1::AcceptGang { parts, ..v1::AcceptGang::default() };
        let calls = vec![v1::Call { call: Some(v1::call::Call::AcceptGang(gang)) }];
        refused(frames::calls(v1::CallFrame { hello: None, calls }), &format!("calls[0].accept_gang.{field}"), message);
    };
    let part = || v1::GangPart {
        agent: Some(v1::AgentId { term: 1, seq: 1 }),
        groups: vec![v1::TaskGroup { tasks: vec![task("a")] }],
        ..v1::GangPart::default()
    };
    refused_gang(Vec::new(), "parts", "at least one");
    refused_gang(vec![part(); AcceptGang::MAX_PARTS + 1], "parts", "at most 1024");
    refused_gang(vec![part(), v1::GangPart { groups: Vec::new(), ..part() }], "parts[1].groups", "at least one");
    refused_gang(vec![v1::GangPart { agent: None, ..part() }], "parts[0].agent", "got none");
    let empty = vec![v1::TaskGroup { tasks: Vec::new() }];
    refused_gang(vec![v1::GangPart { groups: empty, ..part() }], "parts[0].groups[0].tasks", "at least one");
}

#[test]
fn groups() {
    let tasks = "calls[0].accept.operations[0].launch.tasks";
    refused(frames::calls(launch(vec![])), tasks, "at least one");
    refused(frames::calls(launch(vec![task("a"), task("a")])), &format!("{tasks}[1].id"), "twice");
    let many = (0..65).map(|number| task(&format!("t{number}"))).collect();
    refused(frames::calls(launch(many)), tasks, "at most 64, got 65");
    let mut big = vec![task("a"), task("b"), task("c"), task("d"), task("e")];
    big.iter_mut().for_each(|task| task.body = vec![0; Body::MAX_LEN].into());
    refused(frames::calls(launch(big)), tasks, "together");
}

#[test]
fn tasks() {
    spoilt(|task| task.id.clear(), "id", "empty");
    spoilt(|task| task.id = "a/b".to_owned(), "id", "'/'");
    spoilt(|task| task.role = "/".to_owned(), "role", "expected a role");
    spoilt(|task| task.kill_grace_us = u64::MAX, "kill_grace_us", "microseconds");
    spoilt(|task| task.executor = Some(String::new()), "executor", "empty");
    spoilt(|task| task.body = vec![0; Body::MAX_LEN + 1].into(), "body", "bytes");
}

#[test]
fn resources() {
    let at = |field: &str| format!("resources.amounts[0].{field}");
    let scalar = |name: &str, milli| v1::Scalar { name: name.to_owned(), milli };
    let too_much = v1::Amounts { cpus_milli: 1_000_000_000_001, ..v1::Amounts::default() };
    spoilt(with_amounts(too_much), &at("cpus_milli"), "at most 1000000000000");
    let misplaced = v1::Amounts { scalars: vec![scalar("mem", 1)], ..v1::Amounts::default() };
    spoilt(with_amounts(misplaced), &at("scalars"), "own field");
    let twice = v1::Amounts { scalars: vec![scalar("x", 1), scalar("x", 2)], ..v1::Amounts::default() };
    spoilt(with_amounts(twice), &at("scalars"), "twice");
    let nameless = v1::Amounts { scalars: vec![scalar("", 1)], ..v1::Amounts::default() };
    spoilt(with_amounts(nameless), &at("scalars[0].name"), "letters");
    let share = |share_milli| v1::DeviceShare { device: "d".to_owned(), share_milli };
    for bad in [0, 1001, u32::MAX] {
        let devices = v1::Amounts { devices: vec![share(bad)], ..v1::Amounts::default() };
        spoilt(with_amounts(devices), &at("devices[0].share_milli"), "1 to 1000");
    }
    let backwards = v1::NamedRanges { name: "ports".to_owned(), ranges: vec![v1::Range { first: 2, last: 1 }] };
    spoilt(
        with_amounts(v1::Amounts { ranges: vec![backwards], ..v1::Amounts::default() }),
        &at("ranges[0].ranges[0]"),
        "first <= last",
    );
}

#[test]
fn reservations() {
    let layer = |role: &str| v1::Reservation { role: role.to_owned(), kind: 1, ..v1::Reservation::default() };
    let flavored = |roles: &[&str]| {
        let flavor =
            v1::Flavor { reservations: roles.iter().map(|role| layer(role)).collect(), ..v1::Flavor::default() };
        with_amounts(v1::Amounts { flavor: Some(flavor), cpus_milli: 1, ..v1::Amounts::default() })
    };
    let at = |rest: &str| format!("resources.amounts[0].flavor.reservations{rest}");
    spoilt(flavored(&["eng", "ops"]), &at("[1].role"), "strictly below eng");
    spoilt(flavored(&["eng", "eng"]), &at("[1].role"), "strictly below eng");
    spoilt(flavored(&["*"]), &at("[0]"), "other than *");
}

#[test]
fn claims() {
    spoilt(|task| task.claims = vec![v1::Claim::default()], "claims[0].alternatives", "at least one");
    let at = |field: &str| format!("claims[0].alternatives[0].{field}");
    spoilt(with_alternative(v1::Alternative { kind: String::new(), ..alternative() }), &at("kind"), "a word");
    spoilt(with_alternative(v1::Alternative { count: None, ..alternative() }), &at("count"), "one of its kinds");
    spoilt(with_alternative(v1::Alternative { share_milli: 0, ..alternative() }), &at("share_milli"), "1 to 1000");
    spoilt(with_alternative(v1::Alternative { share_milli: 1001, ..alternative() }), &at("share_milli"), "1 to 1000");
    let zero = v1::Alternative { count: Some(v1::alternative::Count::Exactly(0)), ..alternative() };
    spoilt(with_alternative(zero), &at("count"), "1 to 1024");
    spoilt(
        with_alternative(v1::Alternative { selector: "a ==".to_owned(), ..alternative() }),
        &at("selector"),
        "column",
    );
    let strange = v1::Constraint { constraint: 9, strength: 1 };
    spoilt(
        with_alternative(v1::Alternative { constraints: vec![strange], ..alternative() }),
        &at("constraints[0].constraint"),
        "got 9",
    );
}

#[test]
fn demands_have_a_limit() {
    let demand = v1::Demand { shapes: vec![v1::Shape::default(); 257] };
    let call = v1::call::Call::Demand(v1::DeclareDemand { role: "eng".to_owned(), demand: Some(demand) });
    refused(Call::from_wire(v1::Call { call: Some(call) }), "demand.demand.shapes", "at most 256, got 257");
}

#[test]
fn subscriptions() {
    let subscribe = |subscribe| Call::from_wire(v1::Call { call: Some(v1::call::Call::Subscribe(subscribe)) });
    let client: bytes::Bytes = vec![0; 16].into();
    refused(subscribe(v1::Subscribe::default()), "subscribe.client", "16 bytes, got 0");
    let without = v1::Subscribe { client: client.clone(), ..v1::Subscribe::default() };
    refused(subscribe(without), "subscribe.info", "got none");
    let info = v1::FrameworkInfo { offer_mode: 1, ..v1::FrameworkInfo::default() };
    let roleless = v1::Subscribe { client, info: Some(info), ..v1::Subscribe::default() };
    refused(subscribe(roleless), "subscribe.info.roles", "at least one");
}

#[test]
fn what_is_asked_of_offers() {
    use v1::attribute_constraint::{Of, Predicate};
    let constraint = |of, predicate| v1::AttributeConstraint { of, predicate };
    let rules = |groups: Vec<Vec<v1::AttributeConstraint>>, least: Vec<v1::Least>| {
        let groups = groups.into_iter().map(|constraints| v1::ConstraintGroup { constraints }).collect();
        let constraints = vec![v1::RoleConstraints { role: "eng".to_owned(), groups }];
        let least = vec![v1::RoleLeast { role: "eng".to_owned(), any_of: least }];
        OfferRules::from_wire(v1::OfferRules { constraints, least, all_regions: false })
    };
    let one = |of, predicate| rules(vec![vec![constraint(of, predicate)]], vec![]);
    let at = "constraints[0].groups[0].constraints[0]";
    let (rack, exists) = (Of::Attribute("rack".to_owned()), Predicate::Exists(v1::Nothing {}));
    assert!(one(Some(rack.clone()), Some(exists.clone())).is_ok());
    refused(one(None, Some(exists.clone())), &format!("{at}.of"), "one of its kinds");
    refused(one(Some(rack.clone()), None), &format!("{at}.predicate"), "one of its kinds");
    refused(one(Some(Of::Attribute(String::new())), Some(exists.clone())), &format!("{at}.attribute"), "got 0");
    let matches = |text: &str| one(Some(rack.clone()), Some(Predicate::TextMatches(text.to_owned())));
    refused(matches("("), &format!("{at}.text_matches"), "expected a regular expression");
    refused(matches(r"\w{1000}"), &format!("{at}.text_matches"), "expected a smaller regular expression");
    refused(matches(&"a".repeat(300)), &format!("{at}.text_matches"), "1 to 256 bytes, got 300");
    refused(rules(vec![vec![]], vec![]), "constraints[0]", "groups[0]: expected at least one");
    refused(rules(vec![vec![]; 65], vec![]), "constraints[0].groups", "at most 64, got 65");
    refused(rules(vec![], vec![v1::Least::default()]), "least[0].any_of", "[0]: expected at least one amount");
    let twice = vec![v1::RoleConstraints { role: "eng".to_owned(), groups: vec![] }; 2];
    let twice = v1::OfferRules { constraints: twice, least: vec![], all_regions: false };
    refused(OfferRules::from_wire(twice), "constraints[1]", "expected each role once");
}

#[test]
fn where_a_machine_stands() {
    let domain =
        |region: &str, zone: &str| Domain::from_wire(v1::Domain { region: region.to_owned(), zone: zone.to_owned() });
    assert!(domain("eu", "eu-1").is_ok());
    refused(domain("", "eu-1"), "", "region: expected 1 to 128 printable characters");
    refused(domain("eu", "a b"), "", "zone: expected 1 to 128 printable characters");
    refused(domain("eu", &"z".repeat(129)), "", "zone: expected");
}

#[test]
fn empty_messages() {
    refused(Call::from_wire(v1::Call::default()), "", "one of its kinds");
    refused(FromAgent::from_wire(v1::FromAgent::default()), "", "one of its kinds");
    let held = v1::FromAgent { message: Some(v1::from_agent::Message::Held(v1::GangId { term: 1, seq: 0 })) };
    refused(FromAgent::from_wire(held), "held", "from 1");
}

#[test]
fn other_apis_can_check_what_they_take() {
    assert_eq!(checked(&Call::Teardown), Ok(Call::Teardown));
    let key = "k".repeat(257);
    let mut info = v1::FrameworkInfo { offer_mode: 1, roles: vec!["eng".to_owned()], ..v1::FrameworkInfo::default() };
    let good = FrameworkInfo::from_wire(info.clone()).expect("nothing is wrong with it");
    info.labels.insert(key.clone(), String::new());
    refused(FrameworkInfo::from_wire(info), "labels", "256 bytes");
    let labels = [(key.into(), "".into())].into();
    refused(checked(&FrameworkInfo { labels, ..good }), "labels", "256 bytes");
}

#[test]
fn errors_become_rejects() {
    let error = frames::calls(launch(vec![])).expect_err("an empty group");
    let Reject::Invalid { field, .. } = Reject::from(error) else { panic!("another reject") };
    assert_eq!(field, "calls[0].accept.operations[0].launch.tasks");
}

#[test]
fn hellos() {
    refused(Hello::expect(None), "hello", "first frame");
    let good = Hello::master(ClusterId(1), Term(2)).to_wire();
    assert_eq!(Hello::expect(Some(good.clone())), Ok(Hello::master(ClusterId(1), Term(2))));
    refused(
        Hello::expect(Some(v1::Hello { protocol_version: 2, ..good })),
        "hello.protocol_version",
        "expected 1, got 2",
    );
}

#[test]
fn log_files() {
    assert_eq!("stdout".parse(), Ok(LogFile::Stdout));
    assert_eq!("out/a.txt".parse(), Ok(LogFile::Sandbox("out/a.txt".to_owned())));
    for bad in ["", "/etc/passwd", "a/../b", "..", "./a", "a//b", "a\0"] {
        let key = v1::TaskKey { framework: Some(v1::FrameworkId { term: 1, seq: 1 }), task: "t".to_owned() };
        let read = v1::ReadLog { task: Some(key), file: bad.to_owned(), ..v1::ReadLog::default() };
        refused(ReadLog::from_wire(read), "file", "below the sandbox");
    }
}

#[test]
fn task_specs() {
    let shell = |line: &str| v1::CommandSpec { form: Some(v1::command_spec::Form::Shell(line.to_owned())) };
    let good = v1::TaskSpec { version: 1, command: Some(shell("true")), ..v1::TaskSpec::default() };
    assert_eq!(TaskSpec::from_wire(good.clone()), Ok(TaskSpec::shell("true")));
    let spoilt = |spec| TaskSpec::from_wire(spec);
    refused(spoilt(v1::TaskSpec { version: 2, ..good.clone() }), "version", "expected 1, got 2");
    refused(spoilt(v1::TaskSpec { command: None, ..good.clone() }), "command", "got none");
    refused(spoilt(v1::TaskSpec { command: Some(shell(" ")), ..good.clone() }), "command.shell", "expected a command");
    let variable = v1::EnvVar { name: "A=B".to_owned(), value: String::new() };
    refused(spoilt(v1::TaskSpec { env: vec![variable], ..good.clone() }), "env[0].name", "'='");
    let check =
        v1::HealthCheck { consecutive_failures: 1, interval_ms: 1, timeout_ms: 1, ..v1::HealthCheck::default() };
    refused(spoilt(v1::TaskSpec { health_check: Some(check), ..good.clone() }), "health_check", "one of its kinds");
    let limited =
        |mem_mib| v1::TaskSpec { limits: Some(v1::TaskLimits { mem_mib, ..Default::default() }), ..good.clone() };
    refused(spoilt(limited(u64::MAX)), "limits.mem_mib", "expected at most");
    let rlimit = |name: &str, soft, hard| {
        let rlimits = vec![v1::Rlimit { name: name.to_owned(), soft, hard }];
        v1::TaskSpec { container: Some(v1::ContainerSpec { rlimits, ..Default::default() }), ..good.clone() }
    };
    refused(spoilt(rlimit("files", None, None)), "container.rlimits[0].name", "expected one of as, core");
    refused(spoilt(rlimit("nofile", None, Some(1))), "container.rlimits[0].soft", "not above the hard one");
    refused(TaskSpec::from_body(&Body::new(&b"\xff"[..])), "body", "task specification");
}

#[test]
fn registries() {
    type Entries = Vec<(Vec<u8>, Vec<u8>)>;
    let cluster = encode_cluster(ClusterId(1));
    let with = |key: &str, value: Vec<u8>| decode_entries(vec![cluster.clone(), (key.into(), value)]);
    assert_eq!(decode_entries(Entries::new()), Err(RegistryError::Empty));

    let (_, term) = encode_record(&rialto_core::master::registry::Record::Term(Term(5)));
    let term = term.expect("a term has a value");
    assert_eq!(decode_entries([("meta/term", &term)]), Err(RegistryError::NoCluster));
    let key = || "meta/term".to_owned();
    for at in 1..term.len() {
        let mut damaged = term.clone();
        damaged[at] ^= 1;
        assert_eq!(with("meta/term", damaged), Err(RegistryError::Checksum { key: key() }));
    }
    assert_eq!(with("meta/term", Vec::new()), Err(RegistryError::Checksum { key: key() }));
    let newer = [&[2], &term[1..]].concat();
    assert_eq!(with("meta/term", newer), Err(RegistryError::Version { key: key(), version: 2 }));
    let moved = RegistryError::Checksum { key: "agent/A1-1".to_owned() };
    assert_eq!(with("agent/A1-1", term), Err(moved));
}

#[test]
fn journals() {
    assert!(matches!(JournalReader::new(b"RIALTOJ2"), Err(JournalError::Magic { .. })));
    let mut started = JournalReader::new(b"RIAL").expect("a header that was cut short");
    assert_eq!((started.next(), started.good_bytes()), (None, 0));
    let zeros = [b"RIALTOJ1".as_slice(), &[0; 64]].concat();
    let mut unwritten = JournalReader::new(&zeros).expect("a header");
    assert_eq!((unwritten.next(), unwritten.good_bytes()), (None, 8));
}
