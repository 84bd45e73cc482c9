//! What tasks use, in the Prometheus text format, over HTTP on an address that is asked for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rialto_core::model::{DeviceId, TaskKey};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::AgentError;
use crate::bulk::Files;
use crate::cgroup::Stats;
use crate::sources::Figures;

/// The most tasks that have series of their own; the rest is one, `others`.
const MAX_TASKS: usize = 200;
/// The most figures of devices that are shown, in the order of the devices' ids.
const MAX_FIGURES: usize = 2000;
/// The most connections at once.
const MAX_CONNECTIONS: usize = 16;
/// How long a connection may take to ask, and may live.
const PATIENCE: Duration = Duration::from_secs(30);
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What one row of series is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) framework: String,
    pub(crate) task: String,
    pub(crate) stats: Stats,
    /// How many it holds, of each kind.
    pub(crate) devices: BTreeMap<Arc<str>, u64>,
    /// Which they are.
    pub(crate) held: Vec<DeviceId>,
}

/// A figure of a task.
struct Figure {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    of: fn(&Stats) -> Option<f64>,
}

const FIGURES: [Figure; 12] = [
    Figure {
        name: "cpu_seconds_total",
        help: "Processor time",
        kind: "counter",
        of: |stats| stats.cpu_us.map(|us| us as f64 / 1e6),
    },
    Figure {
        name: "cpu_throttled_seconds_total",
        help: "Time for which it was held back by its limit of processor time",
        kind: "counter",
        of: |stats| stats.throttled_us.map(|us| us as f64 / 1e6),
    },
    Figure {
        name: "cpu_throttled_periods_total",
        help: "Periods in which it was held back by its limit of processor time",
        kind: "counter",
        of: |stats| stats.throttled_periods.map(|count| count as f64),
    },
    Figure {
        name: "cpu_periods_total",
        help: "Periods in which its limit of processor time was looked at",
        kind: "counter",
        of: |stats| stats.periods.map(|count| count as f64),
    },
    Figure {
        name: "memory_bytes",
        help: "Memory in use, files in the page cache counted",
        kind: "gauge",
        of: |stats| stats.memory_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        name: "memory_peak_bytes",
        help: "The most memory that was in use",
        kind: "gauge",
        of: |stats| stats.memory_peak_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        name: "memory_limit_bytes",
        help: "The most memory that it may use",
        kind: "gauge",
        of: |stats| stats.memory_limit_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        name: "memory_kills_total",
        help: "Processes killed because there was no memory left under the limit",
        kind: "counter",
        of: |stats| stats.memory_kills.map(|count| count as f64),
    },
    Figure {
        name: "pids",
        help: "Processes and threads",
        kind: "gauge",
        of: |stats| stats.pids.map(|count| count as f64),
    },
    Figure {
        name: "read_bytes_total",
        help: "Bytes read from block devices",
        kind: "counter",
        of: |stats| stats.read_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        name: "written_bytes_total",
        help: "Bytes written to block devices",
        kind: "counter",
        of: |stats| stats.written_bytes.map(|bytes| bytes as f64),
    },
    Figure {
        name: "disk_bytes",
        help: "Disk that its sandbox takes, where that is measured",
        kind: "gauge",
        of: |stats| stats.disk_bytes.map(|bytes| bytes as f64),
    },
];

/// Listens before the agent does anything that takes time.
///
/// # Errors
/// The address can't be had.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, AgentError> {
    let failed = |error: std::io::Error| AgentError::Metrics { address, message: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    // With port 0 somebody wants to know.
    eprintln!("rialto agent: metrics at http://{}/metrics", listener.local_addr().map_err(failed)?);
    Ok(listener)
}

/// Answers whoever asks, for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, files: Arc<Files>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("metrics: {error}");
                // Out of descriptors, most likely: it does not get better at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let files = files.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let answer = service_fn(|request| answer(request, files.clone()));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            let served = http.serve_connection(TokioIo::new(stream), answer);
            // One who hangs up in the middle is none of our business.
            let _done = tokio::time::timeout(PATIENCE, served).await;
        });
    }
}

async fn answer(
    request: Request<hyper::body::Incoming>,
    files: Arc<Files>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            match tokio::task::spawn_blocking(move || render(&files.rows(), &files.figures())).await {
                Ok(text) => (StatusCode::OK, text),
                Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n".to_owned()),
            }
        }
        (&Method::GET, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "expected GET /metrics or /healthz\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(CONTENT_TYPE);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The text of the series of `rows`, which are sorted, and of what devices do.
pub(crate) fn render(rows: &[Row], figures: &BTreeMap<DeviceId, Figures>) -> String {
    let rows = bounded(rows);
    let mut text = String::new();
    for Figure { name, help, kind, of } in &FIGURES {
        head(&mut text, name, help, kind);
        for row in &rows {
            if let Some(value) = of(&row.stats) {
                line(&mut text, name, row, "", value);
            }
        }
    }
    head(&mut text, "devices", "Devices that it holds", "gauge");
    for row in &rows {
        for (kind, count) in &row.devices {
            line(&mut text, "devices", row, &format!(",kind=\"{}\"", escaped(kind)), *count as f64);
        }
    }
    tell_devices(&mut text, &rows, figures);
    text
}

/// What the sources of devices tell of them, and who holds which.
fn tell_devices(text: &mut String, rows: &[Row], figures: &BTreeMap<DeviceId, Figures>) {
    head(text, "holds", "1 for a device that it holds", "gauge");
    for row in rows {
        for device in &row.held {
            line(text, "holds", row, &format!(",device=\"{}\"", escaped(&device.to_string())), 1.0);
        }
    }
    let told = "# HELP rialto_device_figure What its source tells of a device\n# TYPE rialto_device_figure gauge\n";
    text.push_str(told);
    let series = figures.iter().flat_map(|(device, all)| all.iter().map(move |(name, value)| (device, name, value)));
    for (device, name, value) in series.take(MAX_FIGURES) {
        let device = escaped(&device.to_string());
        writeln!(text, "rialto_device_figure{{device=\"{device}\",figure=\"{name}\"}} {value}")
            .expect("texts can grow");
    }
}

/// No more than [`MAX_TASKS`], and what is beyond added up. The order is that of the keys, so that series stay where they are.
fn bounded(rows: &[Row]) -> Vec<Row> {
    let (own, rest) = rows.split_at(rows.len().min(MAX_TASKS));
    let mut bounded = own.to_vec();
    if !rest.is_empty() {
        let mut others = Row { task: "others".to_owned(), ..Row::default() };
        for row in rest {
            others.stats.add(&row.stats);
            for (kind, count) in &row.devices {
                *others.devices.entry(kind.clone()).or_default() += count;
            }
        }
        bounded.push(others);
    }
    bounded
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    writeln!(text, "# HELP rialto_task_{name} {help}\n# TYPE rialto_task_{name} {kind}").expect("texts can grow");
}

fn line(text: &mut String, name: &str, row: &Row, more: &str, value: f64) {
    let (framework, task) = (escaped(&row.framework), escaped(&row.task));
    writeln!(text, "rialto_task_{name}{{framework=\"{framework}\",task=\"{task}\"{more}}} {value}")
        .expect("texts can grow");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl Row {
    pub(crate) fn new(task: &TaskKey, stats: Stats, devices: BTreeMap<Arc<str>, u64>) -> Self {
        Self { framework: task.framework.to_string(), task: task.task.to_string(), stats, devices, held: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
