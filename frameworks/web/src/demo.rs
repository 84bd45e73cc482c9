//! `rialto web demo-server`: a server that needs nothing but this program, for the example and for tests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;

/// What the demo server shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demo {
    /// What it calls itself; the user's own word for a version.
    pub version: String,
    /// Its app, from `RIALTO_APP`.
    pub app: String,
    /// Its instance, from `RIALTO_INSTANCE`.
    pub instance: String,
    /// The agent that it runs on, from `RIALTO_AGENT`.
    pub agent: String,
}

/// Serves a page at `/` and a health check at `/healthz` until `stop` is ready.
pub async fn demo_server(
    listen: SocketAddr,
    demo: Demo,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let page = Arc::new(demo.page());
    let router = Router::new()
        .route("/", get(async |State(page): State<Arc<String>>| Html(page.as_str().to_owned())))
        .route("/healthz", get(async || "ok\n"))
        .with_state(page);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

impl Demo {
    fn page(&self) -> String {
        let Self { version, app, instance, agent } = self;
        let [version, app, instance, agent] = [version, app, instance, agent].map(|text| escape(text));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{app} {version}</title>\n\
             <style>body{{font:18px/1.6 system-ui,sans-serif;margin:4rem auto;max-width:34rem;color:#222}}\
             dt{{color:#777}}dd{{margin:0 0 .6rem;font-weight:600}}</style>\n\
             <h1>Hello from {app}</h1>\n\
             <dl><dt>version</dt><dd id=\"version\">{version}</dd><dt>instance</dt><dd id=\"instance\">{instance}</dd>\
             <dt>agent</dt><dd id=\"agent\">{agent}</dd></dl>\n</html>\n"
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_escaped() {
        let page = Demo { version: "<script>".to_owned(), app: "a&b".to_owned(), ..Demo::default() }.page();
        assert!(page.contains("&lt;script&gt;") && page.contains("a&amp;b") && !page.contains("<script>"));
    }
}
