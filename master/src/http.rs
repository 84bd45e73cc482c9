//! The HTTP side of the one port: JSON under `/api`, `/metrics`, `/healthz`, the pages, and the guard before all of it.

mod answers;
pub(crate) mod cluster;
mod follow;
mod logs;
mod refusal;
pub(crate) mod tasks;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tokio::time::timeout;

use rialto_core::master::view::{FrameworkView, View};
use rialto_core::model::{ClusterId, FrameworkId, Term};

pub(crate) use self::refusal::Refusal;
use crate::api;
use crate::auth::{Guard, Refused};
use crate::bulk::Bulk;
use crate::engine::Core;
use crate::metrics::{self, Census, Metrics};
use crate::reads::Reads;
use crate::ui;

/// How long the core may take to answer before the master counts as unhealthy.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages load nothing from elsewhere and run nothing inline.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                              form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) core: Core,
    pub(crate) reads: Reads,
    pub(crate) bulk: Bulk,
    pub(crate) metrics: Metrics,
    pub(crate) guard: Arc<Guard>,
    pub(crate) cluster: ClusterId,
    pub(crate) term: Term,
    pub(crate) transport: Transport,
}

/// How browsers reach the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl App {
    /// What `question` says of the view and the number of its newest change.
    pub(crate) async fn ask<A: Send + 'static>(
        &self,
        question: impl FnOnce(&View, u64) -> A + Send + 'static,
    ) -> Result<A, Refusal> {
        self.reads.ask(question).await.map_err(|error| Refusal::unavailable(error.to_string()))
    }
}

/// Everything that the port serves: `services` (gRPC) and the HTTP routes, behind the guard.
pub(crate) fn router(app: App, services: Router) -> Router {
    let routes = Router::new()
        .route("/api/cluster", get(cluster::cluster))
        .route("/api/agents", get(agents))
        .route("/api/frameworks", get(frameworks))
        .route("/api/offers", get(offers))
        .route("/api/devices", get(devices))
        .route("/api/roles", get(roles))
        .route("/api/prices", get(prices))
        .route("/api/tasks", get(tasks::list))
        .route("/api/tasks/{framework}/{task}", get(tasks::one))
        .route("/api/tasks/{framework}/{task}/kill", post(tasks::kill))
        .route("/api/tasks/{framework}/{task}/logs", get(logs::logs))
        .route("/api/snapshot", get(cluster::snapshot))
        .route("/api/why", get(answers::why))
        .route("/api/when", get(answers::when))
        .route("/api/what-would-help", get(answers::what_would_help))
        .route("/api/events", get(follow::events))
        .route("/api/{*rest}", get(no_such_path).post(no_such_path))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(healthz))
        .route("/", get(ui::page))
        .route("/login", get(ui::login_page).post(ui::log_in))
        .route("/ui/body", get(ui::body))
        .route("/ui/logs/{framework}/{task}", get(ui::logs_page))
        .route("/ui/style.css", get(ui::style))
        .route("/ui/page.js", get(ui::script))
        .with_state(app.clone());
    services.merge(routes).fallback(no_such_page).layer(from_fn_with_state(app, admit))
}

async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let admitted = app.guard.check(request.method(), headers, host);
    let open = matches!(request.uri().path(), "/healthz" | "/login" | "/ui/style.css");
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(Refused::Unauthenticated) if open => next.run(request).await,
        Err(refused) => refuse(headers, refused),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Refuses in the words of whoever asks: gRPC, a browser, or a program.
fn refuse(headers: &HeaderMap, refused: Refused) -> Response {
    if is_grpc(headers) {
        let status = match refused {
            Refused::Unauthenticated => tonic::Status::unauthenticated(refused.to_string()),
            Refused::ForeignOrigin | Refused::ForeignHost => tonic::Status::permission_denied(refused.to_string()),
        };
        return status.into_http::<axum::body::Body>();
    }
    match refused {
        Refused::Unauthenticated if begins(headers, header::ACCEPT, "text/html") => {
            Redirect::to("/login").into_response()
        }
        Refused::Unauthenticated => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            (challenge, Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", refused)).into_response()
        }
        Refused::ForeignOrigin | Refused::ForeignHost => {
            Refusal::new(StatusCode::FORBIDDEN, "forbidden", refused).into_response()
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    begins(headers, header::CONTENT_TYPE, "application/grpc")
}

fn begins(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.starts_with(word))
}

async fn agents(State(app): State<App>) -> Result<Json<api::Agents>, Refusal> {
    let agents = app.ask(|view, _| view.agents.iter().map(|(id, agent)| api::Agent::new(*id, agent)).collect()).await?;
    Ok(Json(api::Agents { agents }))
}

async fn frameworks(State(app): State<App>) -> Result<Json<api::Frameworks>, Refusal> {
    let conduct = app.core.survey().await.map_err(Refusal::unavailable)?;
    let row = move |id: &FrameworkId, framework: &FrameworkView| {
        let own = conduct.iter().filter(|conduct| conduct.framework == *id);
        api::Framework { conduct: own.map(api::RoleConduct::from).collect(), ..api::Framework::new(*id, framework) }
    };
    let all = move |view: &View, _| view.frameworks.iter().map(|(id, framework)| row(id, framework)).collect();
    Ok(Json(api::Frameworks { frameworks: app.ask(all).await? }))
}

async fn offers(State(app): State<App>) -> Result<Json<api::Offers>, Refusal> {
    let offers = app.ask(|view, _| view.offers.iter().map(|(id, offer)| api::Offer::new(*id, offer)).collect()).await?;
    Ok(Json(api::Offers { offers }))
}

async fn devices(State(app): State<App>) -> Result<Json<api::Devices>, Refusal> {
    let all = |view: &View, _| api::Devices {
        classes: api::DeviceClass::all(view),
        devices: view.devices.iter().map(|((agent, id), device)| api::Device::new(*agent, id, device)).collect(),
    };
    app.ask(all).await.map(Json)
}

async fn roles(State(app): State<App>) -> Result<Json<api::Roles>, Refusal> {
    app.ask(|view, _| api::Roles::all(view)).await.map(Json)
}

async fn prices(State(app): State<App>) -> Result<Json<api::Prices>, Refusal> {
    app.ask(|view, _| api::Prices::all(view)).await.map(Json)
}

/// Nothing is served there, in the words of whoever asks.
async fn no_such_page(request: Request) -> Response {
    if is_grpc(request.headers()) {
        let path = request.uri().path();
        return tonic::Status::unimplemented(format!("{path}: not served here")).into_http::<axum::body::Body>();
    }
    Refusal::not_found(format!("path: nothing is served at {}; the page is at /", request.uri().path())).into_response()
}

async fn no_such_path() -> Refusal {
    let paths = "expected /api/ cluster, agents, frameworks, tasks, offers, devices, roles, prices, snapshot, why, when, what-would-help or events";
    Refusal::not_found(format!("path: {paths}"))
}

async fn healthz(State(app): State<App>) -> Result<&'static str, Refusal> {
    // The core's task ends when the store fails, so an answer vouches for both.
    match timeout(HEALTH_TIMEOUT, app.core.status()).await {
        Ok(Ok(_)) => Ok("ok\n"),
        Ok(Err(stopping)) => Err(Refusal::unavailable(stopping)),
        Err(_) => Err(Refusal::unavailable(format!("the core did not answer within {} s", HEALTH_TIMEOUT.as_secs()))),
    }
}

async fn metrics_text(State(app): State<App>) -> Result<Response, Refusal> {
    let status = app.core.status().await.map_err(Refusal::unavailable)?;
    let census = app.ask(|view, _| Census::take(view)).await?;
    let survey = app.core.survey().await.map_err(Refusal::unavailable)?;
    let text = metrics::render(&app.metrics, &status, &census, &survey, app.core.backlog(), app.reads.lag());
    let text = text.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error))?;
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((kind, text).into_response())
}
