//! JSON, metrics, events and pages.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use rialto_master::{Auth, Options, Token, api};

use crate::harness::{Agent, Framework, Served, soon};
use crate::life;

pub(crate) async fn ask(
    master: &Served,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Incoming> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = Request::builder().method(method).uri(format!("http://{}{path}", master.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body.to_owned())).unwrap();
    soon("an answer", client.request(request)).await.unwrap()
}

pub(crate) async fn get(master: &Served, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let answer = ask(master, Method::GET, path, headers, "").await;
    let status = answer.status();
    let body = soon("a body", answer.into_body().collect()).await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn json<T: serde::de::DeserializeOwned>(master: &Served, path: &str) -> T {
    let (status, body) = get(master, path, &[]).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_shows_what_the_core_did() {
    let master = Served::development().await;
    let mut agent = Agent::register(&master).await;
    let (mut framework, id) = Framework::subscribe(&master, None).await;
    life::run(&mut framework, &mut agent, "t1").await;
    let agents: api::Agents = json(&master, "/api/agents").await;
    assert_eq!(agents.agents.len(), 1);
    assert_eq!((agents.agents[0].total.cpus, agents.agents[0].allocated.mem_mib), (4.0, 64.0));
    let frameworks: api::Frameworks = json(&master, "/api/frameworks").await;
    assert_eq!(
        (frameworks.frameworks[0].id.as_str(), frameworks.frameworks[0].connected),
        (id.to_string().as_str(), true)
    );
    let tasks: api::Tasks = json(&master, &format!("/api/tasks?framework={id}&state=running")).await;
    assert_eq!((tasks.total, tasks.tasks[0].state.as_str()), (1, "TASK_RUNNING"));
    let none: api::Tasks = json(&master, "/api/tasks?state=TASK_FAILED").await;
    assert_eq!(none.total, 0);
    let one: api::Task = json(&master, &format!("/api/tasks/{id}/t1")).await;
    assert_eq!(one, tasks.tasks[0]);
    let cluster: api::Cluster = json(&master, "/api/cluster").await;
    assert_eq!((cluster.total.cpus, cluster.allocated.cpus, cluster.agents_missing), (4.0, 1.0, 0));
    let offers: api::Offers = json(&master, "/api/offers").await;
    assert!(offers.offers.iter().all(|offer| offer.framework == id.to_string()));
    let devices: api::Devices = json(&master, "/api/devices").await;
    assert_eq!(devices, api::Devices::default());
    let (status, page) = get(&master, "/", &[]).await;
    assert!(status == StatusCode::OK && page.contains("west") && page.contains("/ui/logs/"), "{page}");
    let (_, metrics) = get(&master, "/metrics", &[]).await;
    assert!(metrics.contains("rialto_master_tasks_launched_total 1"), "{metrics}");
    assert_eq!(get(&master, "/healthz", &[]).await, (StatusCode::OK, "ok\n".to_owned()));
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_by_curl_reaches_the_agent() {
    let master = Served::development().await;
    let mut agent = Agent::register(&master).await;
    let (mut framework, id) = Framework::subscribe(&master, None).await;
    life::run(&mut framework, &mut agent, "t1").await;
    let path = format!("/api/tasks/{id}/t1/kill?grace_ms=1500");
    let foreign = ask(&master, Method::POST, &path, &[("origin", "http://evil.example")], "").await;
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask(&master, Method::POST, &path, &[], "").await.status(), StatusCode::OK);
    let grace = |message: &rialto_core::model::ToAgent| match message {
        rialto_core::model::ToAgent::Kill { grace, .. } => Some(*grace),
        _ => None,
    };
    assert_eq!(agent.wait("a kill", grace).await, Some(std::time::Duration::from_millis(1500)));
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_name_the_field() {
    let master = Served::development().await;
    for (path, status, code, word) in [
        (
            "/api/tasks?state=dancing",
            StatusCode::BAD_REQUEST,
            "invalid",
            "state: expected a state such as TASK_RUNNING",
        ),
        ("/api/tasks?limit=-1", StatusCode::BAD_REQUEST, "invalid", "limit"),
        ("/api/tasks?limit=1000000", StatusCode::BAD_REQUEST, "invalid", "limit: expected at most 10000"),
        ("/api/tasks?color=red", StatusCode::BAD_REQUEST, "invalid", "color"),
        ("/api/tasks/X/t", StatusCode::BAD_REQUEST, "invalid", "framework: expected an id such as F1-3"),
        ("/api/tasks/F1-9/t", StatusCode::NOT_FOUND, "not_found", "task F1-9/t is not known"),
        ("/api/tasks/F1-9/t/logs?file=../secret", StatusCode::BAD_REQUEST, "invalid", "file: expected stdout"),
        ("/api/tasks/F1-9/t/logs?tail=1&offset=1", StatusCode::BAD_REQUEST, "invalid", "tail: expected only one"),
        ("/api/events?after=99", StatusCode::GONE, "not_resumable", "last-event-id: expected a number from 0 to 0"),
        ("/api/nothing", StatusCode::NOT_FOUND, "not_found", "path"),
        ("/nothing", StatusCode::NOT_FOUND, "not_found", "path: nothing is served at /nothing"),
    ] {
        let (got, body) = get(&master, path, &[]).await;
        let error: api::Error = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{path}: {body}"));
        assert_eq!((got, error.code.as_str()), (status, code), "{path}: {body}");
        assert!(error.message.contains(word), "{path}: {body}");
    }
    master.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_numbered_and_resume() {
    let master = Served::development().await;
    let mut following = Events::of(ask(&master, Method::GET, "/api/events", &[], "").await);
    let _agent = Agent::register(&master).await;
    let first = following.next().await;
    assert_eq!(first.number, 1);
    assert_eq!(Events::follow(&master).await.next().await, first);
    assert!(matches!(first.row, api::Row::Agent(Some(_))), "{first:?}");
    master.stop().await.unwrap();
}

/// A stream of events that is being read.
pub(crate) struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    fn of(answer: Response<Incoming>) -> Self {
        Self { body: answer.into_body(), text: String::new() }
    }

    /// All events from the first.
    pub(crate) async fn follow(master: &Served) -> Self {
        Self::of(ask(master, Method::GET, "/api/events", &[("last-event-id", "0")], "").await)
    }

    async fn next(&mut self) -> api::Event {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event
                    .lines()
                    .find_map(|line| line.strip_prefix("data: "))
                    .map(|data| serde_json::from_str(data).unwrap());
                self.text = rest.to_owned();
                if let Some(event) = data {
                    return event;
                }
            }
            let frame = soon("an event", self.body.frame()).await.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// Waits until some agent has this status.
    pub(crate) async fn wait_agent(&mut self, status: &str) {
        loop {
            if let api::Row::Agent(Some(agent)) = self.next().await.row
                && agent.status == status
            {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_asks_for_the_token_and_remembers() {
    let token = "0123456789abcdef0123456789abcdef";
    let options = Options { auth: Auth::Token(Token::new(token).unwrap()), ..Options::development() };
    let master = Served::start(options).await;
    let browser = [("accept", "text/html")];
    let turned_away = ask(&master, Method::GET, "/", &browser, "").await;
    assert_eq!(
        (turned_away.status(), turned_away.headers()["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/login")
    );
    let (status, page) = get(&master, "/login", &browser).await;
    assert!(status == StatusCode::OK && page.contains("<form"), "{page}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = ask(&master, Method::POST, "/login", &form, "token=0123456789abcdef").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let right = ask(&master, Method::POST, "/login", &form, &format!("token={token}")).await;
    let cookie = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(token), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    let (status, _) = get(&master, "/", &[("accept", "text/html"), ("cookie", session)]).await;
    assert_eq!(status, StatusCode::OK);
    let page = ask(&master, Method::GET, "/login", &[], "").await;
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    master.stop().await.unwrap();
}
