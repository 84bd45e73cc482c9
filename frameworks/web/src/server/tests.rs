use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::{Client, ClientError};

const APP: &str = "name = \"hello\"\ncommand = \"serve\"\ninstances = 2\nports = [\"http\"]\n";

/// A framework whose master never answers; its control API works all the same.
struct Lonely {
    url: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServerError>>,
}

impl Lonely {
    async fn start(work_dir: &std::path::Path, token: Option<&str>) -> Self {
        let mut options = ServerOptions::new(Access::new("127.0.0.1:1").unwrap(), work_dir.to_owned());
        options.token = token.map(str::to_owned);
        let server = Server::bind(options).await.unwrap();
        let url = server.url().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { url, stop, running }
    }

    fn client(&self) -> Client {
        Client::new(&self.url, None)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

fn refusal(error: ClientError) -> (u16, String) {
    match error {
        ClientError::Refused { status, message } => (status.as_u16(), message),
        other => panic!("expected a refusal, got {other}"),
    }
}

#[tokio::test]
async fn apps_are_kept_from_one_life_to_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let first = Lonely::start(dir.path(), None).await;
    let deployment = first.client().deploy("hello", APP).await.unwrap();
    assert_eq!((deployment.id, deployment.wanted), (1, 2));
    first.stop().await;

    let second = Lonely::start(dir.path(), None).await;
    let client = second.client();
    assert_eq!(client.apps().await.unwrap().len(), 1);
    assert_eq!(client.app("hello").await.unwrap().instances_wanted, 2);
    assert!(client.endpoints("hello").await.unwrap().is_empty());
    assert_eq!(client.scale("hello", 5).await.unwrap().id, deployment.id, "it is part of the deployment under way");
    assert_eq!(client.deployment(deployment.id).await.unwrap().wanted, 5);
    client.remove("hello").await.unwrap();
    assert!(client.apps().await.unwrap().is_empty());
    second.stop().await;
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let lonely = Lonely::start(dir.path(), None).await;
    let client = lonely.client();
    let (status, message) = refusal(client.app("nobody").await.unwrap_err());
    assert_eq!((status, message.as_str()), (404, "no app is called \"nobody\"; there are none"));
    let (status, message) = refusal(client.deploy("hello", "name = \"hello\"\nport = 1\n").await.unwrap_err());
    assert!(status == 400 && message.contains("unknown field `port`"), "{status} {message}");
    let (_, message) = refusal(client.app("../apps").await.unwrap_err());
    assert!(message.starts_with("app name: expected lower-case letters"), "{message}");
    lonely.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let lonely = Lonely::start(dir.path(), Some("secret\n")).await;
    assert_eq!(refusal(lonely.client().apps().await.unwrap_err()).0, 401);
    let wrong = Client::new(&lonely.url, Some("other".to_owned()));
    assert_eq!(refusal(wrong.apps().await.unwrap_err()).0, 401);
    let right = Client::new(&lonely.url, Some("secret".to_owned()));
    assert!(right.apps().await.unwrap().is_empty());
    lonely.stop().await;
}

#[tokio::test]
async fn a_web_page_of_another_site_can_change_nothing() {
    let api = Arc::new(Api { commands: lonely_commands().await, waiting: Waiting::default(), token: None });
    let request = Request::builder().method(Method::DELETE).uri("/apps/hello").header(header::ORIGIN, "http://evil");
    let response = tower_call(router(api), request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

/// Commands of a framework that has ended: nothing may reach it.
async fn lonely_commands() -> Commands<Command> {
    let options = Options::new(Access::new("127.0.0.1:1").unwrap(), "test", [Role::any()]);
    let policy = Policy::recover(Role::any(), &BTreeMap::new()).unwrap();
    let framework = rialto_sdk::start(options, move |_| Ok(policy), |_: Effect| ()).unwrap();
    let commands = framework.commands();
    framework.stop().await.unwrap();
    commands
}

async fn tower_call(router: Router, request: Request) -> Response {
    use tower::ServiceExt;
    router.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn an_address_that_is_open_to_others_must_be_asked_for() {
    let mut options = ServerOptions::new(Access::new("127.0.0.1:1").unwrap(), PathBuf::from("unused"));
    options.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(Server::bind(options).await, Err(ServerError::NotLoopback(_))));
    let mut options = ServerOptions::new(Access::new("127.0.0.1:1").unwrap(), PathBuf::from("unused"));
    options.listen = SocketAddr::from(([0, 0, 0, 0], 0));
    options.insecure = true;
    assert!(matches!(Server::bind(options).await, Err(ServerError::NoUrl(_))));
}

#[tokio::test]
async fn a_work_directory_in_use_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let first = Lonely::start(dir.path(), None).await;
    first.client().apps().await.unwrap();
    let second = Lonely::start(dir.path(), None).await;
    let error = second.running.await.unwrap().unwrap_err();
    assert!(matches!(&error, ServerError::Store { path, .. } if path.ends_with("state.redb")), "{error}");
    first.stop().await;
}
