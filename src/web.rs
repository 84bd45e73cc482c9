//! `rialto web`: the lasting framework, and its clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use rialto_sdk::Access;
use rialto_web::{AppView, Client, Demo, DeploymentView, Server, ServerOptions, demo_server, read_app};
use tokio::sync::watch;

use crate::cli::{Connect, DemoServer, Web, WebDeploy, WebServe, WebStatus};
use crate::dev::{Phase, folder, reached};
use crate::output::{json, line, lines, table};
use crate::serve::stop_signal;

/// Dispatches.
pub async fn run(command: Web) -> anyhow::Result<u8> {
    match command {
        Web::Serve(args) => serve(args).await?,
        Web::Deploy(args) => return deploy(args).await,
        Web::Status(args) => status(args).await?,
        Web::Scale(args) => {
            let client = client(&args.connect).await?;
            let deployment = client.scale(&args.app, args.instances).await?;
            return follow(&client, deployment.id).await;
        }
        Web::Restart(args) => {
            let client = client(&args.connect).await?;
            let deployment = client.restart(&args.app).await?;
            return follow(&client, deployment.id).await;
        }
        Web::Remove(args) => {
            client(&args.connect).await?.remove(&args.app).await?;
            line(format_args!("{} is being ended", args.app))?;
        }
        Web::DemoServer(args) => demo(args).await?,
    }
    Ok(0)
}

/// The framework as `rialto dev` hosts it: on a free loopback port, open like the master.
pub async fn host(
    work_dir: &Path,
    master: &str,
    ended: watch::Receiver<Phase>,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let access = Access::new(master)?.with_principal("web")?;
    let server = Server::bind(ServerOptions::new(access, folder(work_dir, "web")?)).await?;
    Ok(async move {
        server.run(reached(ended, Phase::Frameworks)).await?;
        Ok(())
    })
}

async fn serve(args: WebServe) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let mut options = ServerOptions::new(args.connect.access("web")?, args.work_dir);
    options.listen = args.listen;
    options.role = args.role.parse().context("--role")?;
    options.token = token(&args.connect)?;
    let server = Server::bind(options).await?;
    eprintln!("rialto web: {}", server.url());
    server.run(stop).await?;
    Ok(())
}

/// The token that guards the master guards the framework too.
fn token(connect: &Connect) -> anyhow::Result<Option<String>> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("token file {}", path.display()));
    Ok(connect.token().map(|path| read(&path)).transpose()?.map(|text| text.trim().to_owned()))
}

async fn client(connect: &Connect) -> anyhow::Result<Client> {
    Ok(Client::find(&connect.client().await?, token(connect)?).await?)
}

async fn deploy(args: WebDeploy) -> anyhow::Result<u8> {
    let (spec, text) = match read_app(&args.file) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("rialto: {error}");
            return Ok(2);
        }
    };
    let client = client(&args.connect).await?;
    let deployment = client.deploy(&spec.name, &text).await?;
    if args.detach {
        line(format_args!("deployment {}", deployment.id))?;
        return Ok(0);
    }
    let code = follow(&client, deployment.id).await?;
    for endpoint in client.endpoints(&spec.name).await? {
        line(format_args!("http://{endpoint}/"))?;
    }
    Ok(code)
}

/// Prints what moves until the deployment is over; 0 if it came about.
async fn follow(client: &Client, deployment: u64) -> anyhow::Result<u8> {
    let (mut print, failed) = lines();
    let mut last = String::new();
    let progress = |view: &DeploymentView| {
        // A view may differ in what its line does not say.
        let text = view.to_string();
        if text != last {
            print(&text);
            last = text;
        }
    };
    tokio::select! {
        ended = client.follow(deployment, progress) => Ok(u8::from(!ended?.state.is_success())),
        Ok(error) = failed => Err(error.into()),
    }
}

async fn status(args: WebStatus) -> anyhow::Result<()> {
    let client = client(&args.connect).await?;
    let Some(name) = &args.app else {
        let apps = client.apps().await?;
        if args.json {
            return json(&apps);
        }
        let row = |app: &AppView| {
            let version = app.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
            let ready = format!("{} / {}", app.instances_serving, app.instances_wanted);
            vec![app.name.to_string(), version, ready, app.endpoints.join(" ")]
        };
        table(&["app", "version", "serving", "endpoints"], apps.iter().map(row).collect(), "no apps")?;
        return Ok(());
    };
    let app = client.app(name).await?;
    if args.json {
        return json(&app);
    }
    let rows = app.instances.iter().map(|one| {
        let healthy = if one.healthy { "yes" } else { "no" };
        vec![
            one.task.clone(),
            one.version.to_string(),
            one.state.clone(),
            healthy.to_owned(),
            one.agent.to_string(),
            one.ports.join(" "),
        ]
    });
    table(&["instance", "version", "state", "healthy", "agent", "ports"], rows.collect(), "no instances")?;
    if let Some(deployment) = &app.deployment {
        line(deployment)?;
    }
    Ok(())
}

async fn demo(args: DemoServer) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let demo = Demo {
        version: args.version,
        app: variable("RIALTO_APP"),
        instance: variable("RIALTO_INSTANCE"),
        agent: variable("RIALTO_AGENT"),
    };
    demo_server(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)), demo, stop).await?;
    Ok(())
}
