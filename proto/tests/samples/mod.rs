//! One value of each kind, fixed for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rialto_core::agent::{KillCause, Record as JournalRecord};
use rialto_core::allocator::quota::{Priorities, Quota};
use rialto_core::master::registry::{
    Admission, AgentRecord, FrameworkRecord, KillRecord, OperationRecord, PriceRecord, Record,
};
use rialto_core::model::*;
use rialto_proto::hello::Hello;
use rialto_proto::spec::{
    Artefact, Check, CommandSpec, ContainerSpec, HealthCheck, Limits, LogLimits, Rlimit, Secret, Sha256, TaskInput,
    TaskSpec,
};

pub(crate) const CLUSTER: ClusterId = ClusterId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
pub(crate) const TERM: Term = Term(3);

const AGENT: AgentId = AgentId::new(Term(1), 3);
const FRAMEWORK: FrameworkId = FrameworkId::new(Term(2), 5);
const GANG: GangId = GangId::new(Term(2), 8);
const OPERATION: OperationId = OperationId::new(Term(2), 9);
const UUID: UpdateId = UpdateId(0xfeed);

fn task_id() -> TaskId {
    TaskId::new("build.1").expect("a good name")
}

fn key() -> TaskKey {
    TaskKey::new(FRAMEWORK, task_id())
}

fn resources() -> Resources {
    let mut all: Resources =
        "cpus:4;mem:8192;disk(eng/ci):100;ports:[31000-31005];zones:{a,b};licences:2".parse().expect("good");
    all.add(&Resources::devices([DeviceId::new("GPU-1")]));
    all
}

/// A shared volume on disk that was reserved by an operation, on top of what is configured.
fn volume() -> Resources {
    let layer = |role: &str, kind| Reservation {
        role: Role::new(role).expect("a good role"),
        kind,
        principal: Some("ops".into()),
        labels: BTreeMap::from([("k".into(), "v".into())]),
        expires: Some(WallTime(1_800_000_000_000_000)),
    };
    let flavor = Flavor {
        reservations: vec![layer("eng", ReservationKind::Static), layer("eng/ci", ReservationKind::Dynamic)],
        volume: Some(Volume::new(volume_key().id, "var/data").expect("a good path")),
        disk_source: Some("/mnt/d1".into()),
        guarantee: Guarantee::Firm,
        access: Access::Shared,
    };
    let mut scalars = Quantities::new();
    scalars.set(&ResourceName::Disk, Milli::from_whole(100));
    Resources::flavored(flavor, Amounts { scalars, ..Amounts::default() })
}

fn volume_key() -> VolumeKey {
    VolumeKey { role: role(), id: VolumeId::new("data").expect("a good name"), disk_source: Some("/mnt/d1".into()) }
}

fn role() -> Role {
    Role::new("eng/ci").expect("a good role")
}

fn attributes() -> BTreeMap<Arc<str>, Attribute> {
    let version = Attribute::Version(vec![5, 15, 0]);
    [("kernel", version), ("rack", Attribute::text("r1")), ("ssd", Attribute::Bool(true)), ("slot", Attribute::Int(-4))]
        .map(|(name, value)| (Arc::from(name), value))
        .into()
}

fn task() -> Task {
    Task {
        id: task_id(),
        name: "build".into(),
        role: role(),
        resources: resources(),
        claims: vec!["2 gpu: memory >= 40GiB | all fpga".parse().expect("a good claim")],
        priority: -2,
        kill_grace: Duration::from_secs(5),
        expected_run_time: None,
        executor: ExecutorRef::Supervisor,
        body: Body::new(&b"body"[..]),
    }
}

fn launch() -> Launch {
    Launch {
        framework: FRAMEWORK,
        group: TaskGroup::single(task()),
        user: "ci".into(),
        remember: Duration::from_secs(600),
    }
}

fn status() -> Status {
    let failed = Status::new(task_id(), TaskState::Failed, Source::Executor);
    Status {
        uuid: Some(UUID),
        agent: Some(AGENT),
        exit: Some(Exit::Code(3)),
        health: Some(TaskHealth::Unhealthy),
        at: WallTime(1_700_000_000_000_000),
        labels: BTreeMap::from([("k".into(), "v".into())]),
        ..failed.because(Reason::CommandFailed, "exit code 3")
    }
}

fn device() -> Device {
    Device {
        id: DeviceId::new("GPU-1"),
        kind: "gpu".into(),
        vendor: "nvidia".into(),
        model: "H100".into(),
        generation: 9,
        attributes: [("memory".into(), Attribute::Quantity(80 << 30))].into(),
        topology: Topology {
            numa_node: Some(0),
            pci_root: Some("0000:00".into()),
            links: [DeviceId::new("GPU-2")].into(),
        },
        mode: DeviceMode::Exclusive,
        health: Health::Healthy,
        nodes: vec!["/dev/nvidia0".into()],
        proof: Proof::NodeClosed,
        host_share: Quantities::new(),
    }
}

fn info() -> FrameworkInfo {
    FrameworkInfo {
        name: "ci".into(),
        user: "ci".into(),
        roles: [role()].into(),
        failover_timeout: Duration::from_secs(600),
        offer_mode: OfferMode::Optimistic,
        offer_timeout: None,
        url: Some("http://127.0.0.1:1/".into()),
        labels: BTreeMap::new(),
        capabilities: Default::default(),
        rules: Arc::default(),
    }
}

pub(crate) fn term() -> Record {
    Record::Term(TERM)
}

fn agent_info() -> Arc<AgentInfo> {
    Arc::new(AgentInfo { name: "m1".into(), attributes: attributes(), domain: Domain::new("eu", "eu-1").ok() })
}

pub(crate) fn agent() -> Record {
    let agent = AgentRecord {
        client: ClientId(1),
        principal: Principal::new("agents"),
        info: agent_info(),
        admission: Admission::Unreachable,
        since: WallTime(1_700_000_000_000_000),
        resources: resources().into(),
    };
    Record::Agent(AGENT, Some(agent))
}

pub(crate) fn framework() -> Record {
    let remaining = Duration::from_secs(300);
    let record = FrameworkRecord { client: ClientId(2), principal: Principal::new("ci"), info: info(), remaining };
    Record::Framework(FRAMEWORK, Some(record))
}

pub(crate) fn kill() -> Record {
    Record::Kill(
        key(),
        Some(KillRecord {
            agent: Some(AGENT),
            grace: Some(Duration::from_millis(1500)),
            reason: Reason::KillRequested,
        }),
    )
}

pub(crate) fn quota() -> Record {
    let quota = Quota {
        limit: [(ResourceName::Cpus, Milli(10_500)), (ResourceName::new("device/gpu/T4"), Milli(0))].into(),
        guarantee: Quantities::of(Milli(2000), Milli(512_000)),
        priorities: Some(Priorities { lowest: -5, highest: 10 }),
    };
    Record::Quota(role(), Some(quota))
}

pub(crate) fn operation() -> Record {
    Record::Operation(OPERATION, Some(OperationRecord { agent: AGENT, operation: Operation::Create(volume()) }))
}

pub(crate) fn offer_mode() -> Record {
    Record::OfferMode(role(), Some(OfferMode::Exclusive))
}

pub(crate) fn leaving() -> Record {
    Record::Leaving(AGENT, Some(WallTime(1_700_000_000_000_000)))
}

pub(crate) fn price() -> Record {
    let key = PriceKey::new("G2", PriceClass::Spot, Some("eu-west")).expect("good names");
    Record::Price(key, Some(PriceRecord { price: Price(350_000), since: WallTime(1_700_000_000_000_000) }))
}

pub(crate) fn weight() -> Record {
    Record::Weight(role(), Some(2500))
}

pub(crate) fn journal() -> Vec<JournalRecord> {
    let device =
        |state| JournalRecord::Device { device: DeviceId::new("GPU-1"), state, generation: 4, condemned: None };
    let held = Slice { share: Share(250), state: SliceState::Held };
    let left = Slice { share: Share(500), state: SliceState::Cleaning { generation: 3 } };
    let slices =
        BTreeMap::from([(key(), held), (TaskKey::new(FRAMEWORK, TaskId::new("t-2").expect("a good name")), left)]);
    vec![
        JournalRecord::Client(ClientId(9)),
        JournalRecord::Registered { agent: AGENT, cluster: CLUSTER },
        JournalRecord::Term(TERM),
        JournalRecord::Launch(launch()),
        JournalRecord::Update { framework: FRAMEWORK, status: status() },
        JournalRecord::Acknowledged { task: key(), uuid: UUID },
        JournalRecord::Kill { task: key(), cause: KillCause::Requested },
        JournalRecord::FrameworkRemoved(FRAMEWORK),
        JournalRecord::Finished { framework: FRAMEWORK, status: status(), remember: Duration::from_secs(60) },
        JournalRecord::Forgotten { task: key() },
        device(DeviceState::Free),
        device(DeviceState::Allocated(key())),
        device(DeviceState::Cleaning { generation: 4 }),
        device(DeviceState::Quarantined { reason: "held by pid 7".into() }),
        JournalRecord::Hold { gang: GANG, groups: vec![launch()] },
        JournalRecord::Released(GANG),
        device(DeviceState::Sliced(slices)),
        JournalRecord::Device {
            device: DeviceId::new("GPU-1"),
            state: DeviceState::Allocated(key()),
            generation: 5,
            condemned: Some("it became unhealthy 4 times".into()),
        },
        JournalRecord::Operated { id: OPERATION, reserved: volume(), doomed: vec![volume_key()] },
        JournalRecord::VolumeDestroyed(volume_key()),
        JournalRecord::Life(3),
    ]
}

pub(crate) fn hello() -> Hello {
    let capabilities = ["gangs".to_owned()].into();
    Hello { cluster: Some(CLUSTER), term: TERM, capabilities, version: "0.1.0".to_owned() }
}

pub(crate) fn calls() -> Vec<Call> {
    let accept = Accept {
        id: CallId(4),
        agent: AGENT,
        offers: vec![OfferId::new(TERM, 6)],
        operations: vec![Operation::Launch(TaskGroup::single(task()))],
        refusal: Refusal::of(Duration::from_secs(5)),
    };
    let subscribe = Subscribe {
        framework: Some(FRAMEWORK),
        client: ClientId(2),
        info: info(),
        suppressed: [role()].into(),
        connection: 7,
    };
    let part = |seq| GangPart {
        agent: AgentId::new(TERM, seq),
        offers: vec![OfferId::new(TERM, seq + 10)],
        groups: vec![TaskGroup::single(task())],
    };
    let gang = AcceptGang { id: CallId(5), parts: vec![part(1), part(2)], refusal: Refusal::default() };
    vec![Call::Subscribe(subscribe), Call::Accept(accept), Call::AcceptGang(gang), rules_call(), Call::Teardown]
}

/// One of each predicate and subject.
fn rules_call() -> Call {
    let pattern = |text| Pattern::new(text).unwrap();
    let named = |name| Subject::attribute(name).unwrap();
    let groups = vec![
        vec![
            AttributeConstraint { of: named("rack"), predicate: Predicate::equals("r1").unwrap() },
            AttributeConstraint { of: Subject::Zone, predicate: Predicate::differs("z2").unwrap() },
            AttributeConstraint { of: Subject::Region, predicate: Predicate::Exists },
        ],
        vec![
            AttributeConstraint { of: Subject::HostName, predicate: Predicate::TextMatches(pattern("h[0-9]+")) },
            AttributeConstraint { of: named("os"), predicate: Predicate::TextNotMatches(pattern(".*bsd")) },
            AttributeConstraint { of: named("old"), predicate: Predicate::NotExists },
        ],
    ];
    let constraints = OfferConstraints::any_of(groups).unwrap();
    let rules = OfferRules {
        constraints: [(role(), constraints)].into(),
        least: [(role(), "cpus:1;mem:512|device/gpu:1".parse().unwrap())].into(),
        regions: Regions::All,
    };
    Call::Rules { id: CallId(6), rules }
}

pub(crate) fn events() -> Vec<Event> {
    let offer = Offer {
        id: OfferId::new(TERM, 6),
        agent: AGENT,
        info: agent_info(),
        role: role(),
        resources: Arc::new(resources()),
        devices: [Arc::new(device())].into(),
        mode: OfferMode::Exclusive,
        expires_in: Some(Duration::from_secs(30)),
        guarantee: Guarantee::Firm,
    };
    let reject = Reject::OfferConflict { left: resources() };
    let rejection = Rejection { operation: 0, tasks: vec![task_id()], reject };
    vec![
        Event::Subscribed { framework: FRAMEWORK, cluster: CLUSTER, term: TERM, agents_missing: 2 },
        Event::Offers(vec![Arc::new(offer)]),
        Event::Update(status()),
        Event::Outcome(Outcome { call: CallId(4), rejected: vec![rejection] }),
    ]
}

pub(crate) fn from_agent() -> Vec<FromAgent> {
    let report = AgentReport {
        agent: Some((AGENT, CLUSTER)),
        term: TERM,
        client: ClientId(1),
        info: agent_info(),
        resources: resources(),
        devices: vec![DeviceReport { device: Arc::new(device()), state: DeviceState::Free }],
        tasks: vec![TaskReport { framework: FRAMEWORK, task: task(), state: TaskState::Running }],
        held: vec![GANG],
        operated: Some(OPERATION),
        connection: 3,
    };
    let update = FromAgent::Update { framework: FRAMEWORK, status: status(), latest: TaskState::Failed };
    vec![FromAgent::Register(Box::new(report)), update, FromAgent::DevicesFree(vec![(DeviceId::new("GPU-1"), 4)])]
}

pub(crate) fn to_agent() -> Vec<ToAgent> {
    vec![
        ToAgent::Registered { agent: AGENT, cluster: CLUSTER },
        ToAgent::Launch(launch()),
        ToAgent::Kill { task: key(), grace: None, reason: Reason::GangAborted, announce: Announce::No },
        ToAgent::Acknowledge { task: key(), uuid: UUID },
        ToAgent::Operate { id: OPERATION, operation: Operation::Destroy(volume()) },
    ]
}

pub(crate) fn spec() -> TaskSpec {
    let health = HealthCheck {
        check: Check::Http { port_index: 0, path: "/health".to_owned() },
        delay: Duration::from_secs(1),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(3),
        consecutive_failures: 4,
        grace: Duration::from_secs(5),
    };
    TaskSpec {
        env: vec![("A".to_owned(), "b".to_owned())],
        working_dir: "src".to_owned(),
        max_run: Some(Duration::from_secs(3600)),
        log_limits: Some(LogLimits { bytes_per_file: 1 << 20, files: 3 }),
        health_check: Some(health),
        user: "ci".to_owned(),
        labels: BTreeMap::from([("k".into(), "v".into())]),
        limits: Limits { cpus: Some(Milli(1500)), mem_mib: Some(256), pids: Some(100) },
        container: ContainerSpec {
            read_only: true,
            private_network: true,
            rlimits: vec![Rlimit { name: "nofile".to_owned(), soft: Some(1024), hard: None }],
            image: Some("docker://host/name:1".to_owned()),
            user_namespace: true,
            bridge: None,
        },
        artefacts: vec![Artefact {
            uri: "https://host/tool".to_owned(),
            destination: "bin/tool".to_owned(),
            sha256: Some(Sha256([7; 32])),
            extract: false,
            executable: true,
            signature: Some("https://host/tool.minisig".to_owned()),
        }],
        input: TaskInput::Terminal,
        secrets: vec![Secret { name: "key".to_owned(), target: "etc/key".to_owned(), content: vec![1, 2, 3].into() }],
        ..TaskSpec::new(CommandSpec::Argv(vec!["make".to_owned(), "all".to_owned()]))
    }
}
