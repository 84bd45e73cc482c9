//! What operators may say on the wire: whatever it is, the answer is a status that names the field, and nothing changes.

use tonic::Code;

use rialto_master::Options;
use rialto_proto::status::status_code;
use rialto_proto::v1;
use rialto_proto::v1::command_request::Command;
use rialto_proto::v1::operation::Operation;
use rialto_proto::v1::operator_client::OperatorClient;

use crate::harness::{Agent, Served};
use crate::pages::get;

fn quotas(list: Vec<(&str, u64, u64)>) -> Command {
    let cpus = |milli| vec![v1::Scalar { name: "cpus".to_owned(), milli }];
    let quota = |limit, kept| v1::Quota { limit: cpus(limit), guarantee: cpus(kept), priorities: None };
    let row = |(role, limit, kept): (&str, u64, u64)| v1::RoleQuota {
        role: role.to_owned(),
        quota: Some(quota(limit, kept)),
    };
    Command::SetQuota(v1::SetQuota { quotas: list.into_iter().map(row).collect(), force: false })
}

fn flavor(role: &str) -> v1::Flavor {
    let kind = v1::ReservationKind::Dynamic.into();
    let layer = v1::Reservation { role: role.to_owned(), kind, ..v1::Reservation::default() };
    v1::Flavor { reservations: vec![layer], ..v1::Flavor::default() }
}

fn cpus(role: &str, cpus_milli: u64) -> v1::Amounts {
    v1::Amounts { flavor: Some(flavor(role)), cpus_milli, ..v1::Amounts::default() }
}

fn on(agent: Option<v1::AgentId>, operation: Operation) -> Command {
    Command::Operate(v1::OperateAgent { agent, operation: Some(v1::Operation { operation: Some(operation) }) })
}

fn reserve(agent: Option<v1::AgentId>, amounts: Vec<v1::Amounts>) -> Command {
    on(agent, Operation::Reserve(v1::Resources { amounts }))
}

fn weight(role: &str, weight_milli: u32) -> Command {
    Command::SetWeight(v1::SetWeight { role: role.to_owned(), weight_milli })
}

fn prices(list: Vec<(&str, i32, u64)>) -> Command {
    let key = |pool: &str, class| v1::PriceKey { pool: pool.to_owned(), class, region: None };
    let quote = |(pool, class, price): (&str, i32, u64)| v1::Quote {
        key: Some(key(pool, class)),
        price_millionths: Some(price),
    };
    Command::SetPrices(v1::SetPrices { quotes: list.into_iter().map(quote).collect() })
}

fn cases(here: Option<v1::AgentId>) -> Vec<(Option<Command>, &'static str)> {
    let nobody = Some(v1::AgentId { term: 9, seq: 9 });
    let kill = |task: &str, grace_us| {
        let framework = Some(v1::FrameworkId { term: 1, seq: 99 });
        Command::Kill(v1::OperatorKill { task: Some(v1::TaskKey { framework, task: task.to_owned() }), grace_us })
    };
    let clear = |agent, device: &str| Command::ClearDevice(v1::ClearDevice { agent, device: device.to_owned() });
    let commands = vec![
        (weight("eng", 0), "set_weight.weight_milli: expected at least 1"),
        (weight("eng", u32::MAX), "weight: expected 0.001 to 1000"),
        (weight("", 1000), "set_weight.role: expected a role"),
        (quotas(vec![]), "quotas: expected 1 to 1000 roles, got 0"),
        (quotas(vec![("eng", u64::MAX, 0)]), "set_quota.quotas[0].quota.limit[0]: expected at most"),
        (quotas(vec![("eng", 9000, 0), ("a b", 1, 0)]), "set_quota.quotas[1].role: expected a role"),
        (quotas(vec![("eng", 9000, 0), ("ops", 1000, 2000)]), "ops: cpus: limit 1 is below its guarantee of 2"),
        (quotas(vec![("eng", 9000, 9000)]), "cpus: the guarantees of all roles are 9 together, and the cluster has 4"),
        (quotas(vec![("eng", 9000, 0), ("eng", 8000, 0)]), "eng: named twice"),
        (reserve(None, vec![cpus("eng", 1000)]), "operate.agent: expected a value"),
        (reserve(nobody, vec![cpus("eng", 1000)]), "agent A9-9 is not known"),
        (reserve(here, vec![cpus("eng", 5000)]), "reserve: asks for cpus:5 of cpus:4"),
        (
            reserve(here, vec![cpus("eng", u64::MAX)]),
            "operate.operation.reserve.amounts[0].cpus_milli: expected at most",
        ),
        (reserve(here, vec![cpus("*", 1000)]), "reservations[0]: expected a role other than *"),
        (reserve(here, vec![cpus("eng", 0)]), "reserve: expected resources, got none"),
        (reserve(here, vec![cpus("eng", 1000), cpus("eng", 1000)]), "amounts[1]: expected each flavor once"),
        (reserve(here, vec![cpus("eng", 1000), cpus("ops", 9000)]), "reserve: asks for"),
        (on(here, Operation::Unreserve(v1::Resources { amounts: vec![cpus("eng", 1000)] })), "unreserve: asks for"),
        (
            on(here, Operation::Create(v1::Resources { amounts: vec![cpus("eng", 1000)] })),
            "create: expected reserved disk",
        ),
        (on(here, Operation::Destroy(v1::Resources::default())), "destroy: expected resources, got none"),
        (Command::Operate(v1::OperateAgent { agent: here, operation: None }), "operate.operation: expected a value"),
        (kill("", None), "kill.task.task: expected"),
        (kill("t", Some(u64::MAX)), "kill.grace_us: expected at most"),
        (kill("t", None), "framework is not known here"),
        (Command::Teardown(v1::FrameworkId { term: 0, seq: 0 }), "teardown"),
        (Command::MarkGone(v1::AgentId { term: 9, seq: 9 }), "agent A9-9 is not known"),
        (clear(nobody, "gpu-0"), "agent A9-9 is not known"),
        (clear(here, "gpu-0"), "device: expected a device of"),
        (clear(here, ""), "clear_device.device: expected"),
        (prices(vec![]), "prices: expected 1 to 1000, got 0"),
        (prices(vec![("a b", 1, 1)]), "set_prices.prices[0].key: pool: expected"),
        (prices(vec![("G2", 0, 1)]), "set_prices.prices[0].key.class: expected one of"),
        (prices(vec![("G2", 3, 1), ("G3", 3, u64::MAX)]), "set_prices.prices[1].price_millionths: expected at most"),
        (prices(vec![("G2", 3, 1), ("G2", 3, 2)]), "prices: expected each once, got G2 spot twice"),
        (Command::Why(v1::WhyTarget { target: None }), "why: expected one of its kinds"),
    ];
    let nothing = std::iter::once((None, "command: expected one of its kinds"));
    nothing.chain(commands.into_iter().map(|(command, says)| (Some(command), says))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_commands_are_refused_with_the_field_and_change_nothing() {
    let master = Served::start(Options::development()).await;
    let agent = Agent::register(&master).await;
    let here = Some(v1::AgentId { term: agent.id().term.0, seq: agent.id().seq });
    let mut operator = OperatorClient::new(master.channel().await);
    let before = (get(&master, "/api/roles", &[]).await, get(&master, "/api/agents", &[]).await);
    for (command, says) in cases(here) {
        let asked = format!("{command:?}");
        let refused = operator.command(v1::CommandRequest { command }).await.expect_err(&asked);
        assert!(refused.message().contains(says), "{asked}: {says:?} is not said: {refused}");
        assert!(matches!(refused.code(), Code::InvalidArgument | Code::NotFound), "{asked}: {refused}");
        assert!(status_code(&refused).is_some(), "{asked}: {refused}");
    }
    let after = (get(&master, "/api/roles", &[]).await, get(&master, "/api/agents", &[]).await);
    assert_eq!(after.0, before.0);
    assert!(!after.1.1.contains("reserved\":[{") && after.1.0 == before.1.0, "{}", after.1.1);
    master.stop().await.unwrap();
}
