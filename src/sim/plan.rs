//! `rialto sim run`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use rialto_sim::planning::{self, Answer, Scenario, Start, report};

use super::args::SimRun;
use crate::cli::Connect;
use crate::{live, output};

/// Answers the question of a scenario; 2 if it is not acceptable.
pub async fn run(args: &SimRun) -> anyhow::Result<u8> {
    let read = match start(args).await? {
        Some(start) => Scenario::read_on(&args.scenario, &start),
        None => Scenario::read(&args.scenario),
    };
    let mut scenario = match read {
        Ok(scenario) => scenario,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            return Ok(2);
        }
    };
    scenario.seeds = args.seeds.unwrap_or(scenario.seeds);
    scenario.keeps_jobs = args.jobs_csv.is_some();
    let shown = std::io::stderr().is_terminal();
    let answer = planning::answer(&scenario, &mut |what| {
        if shown {
            eprint!("\r\x1b[K{what}");
        }
    });
    if shown {
        eprint!("\r\x1b[K");
    }
    if let Some(folder) = &args.out {
        write_all(folder, &scenario, &answer)?;
    }
    if let Some(file) = &args.jobs_csv {
        write_jobs(file, &scenario, &answer)?;
    }
    if args.json {
        output::json(&report::json(&scenario, &answer))?;
    } else {
        print(args, &scenario, &answer)?;
    }
    Ok(0)
}

/// The cluster that it begins with, if one is named.
async fn start(args: &SimRun) -> anyhow::Result<Option<Start>> {
    let (rows, from) = match (&args.from_cluster, &args.snapshot) {
        (Some(master), _) => {
            let connect =
                Connect { master: master.clone(), token_file: args.token_file.clone(), tls_ca: args.tls_ca.clone() };
            (live::fetch(&connect).await?, master.clone())
        }
        (None, Some(file)) => (live::read_file(file)?, file.display().to_string()),
        (None, None) => return Ok(None),
    };
    live::start(&rows, &from, args.run_time).map(Some)
}

fn print(args: &SimRun, scenario: &Scenario, answer: &Answer) -> anyhow::Result<()> {
    output::line(&answer.headline)?;
    output::line("")?;
    let facts = answer.facts.iter().map(|fact| vec![fact.about.clone(), fact.text.clone()]);
    output::table(&["about", ""], facts.collect(), "")?;
    if !answer.advice.is_empty() {
        output::line("")?;
        let orders = answer.advice.iter().map(|order| {
            let needed = format!("{} (week {})", order.needed, order.needed_week + 1);
            vec![
                order.count.to_string(),
                order.pool.clone(),
                order.order_by.to_string(),
                order.arrives.to_string(),
                needed,
            ]
        });
        output::table(&["order", "pool", "by", "there on", "needed"], orders.collect(), "")?;
    }
    output::line("")?;
    let ways = answer.told.iter().map(|told| {
        vec![
            told.name_and_end(scenario),
            format!("{} of {}", told.kept(), told.outcomes.len()),
            told.first_failure(scenario).unwrap_or_else(|| "none".to_owned()),
            format!("{:.0}", told.mean(|outcome| outcome.finished as f64)),
            format!("{:.0}", told.mean(|outcome| outcome.costs.total())),
        ]
    });
    let header = ["way", "runs that keep all limits", "first limit not kept", "jobs finished", &scenario.currency];
    output::table(&header, ways.collect(), "nothing was run")?;
    match &args.out {
        Some(folder) => output::line(format_args!("\nreport: {}", folder.join("report.html").display()))?,
        None => output::line("\nwith --out FOLDER there are a report to read, JSON and CSV")?,
    }
    Ok(())
}

fn write_jobs(file: &Path, scenario: &Scenario, answer: &Answer) -> anyhow::Result<()> {
    let named = || format!("--jobs-csv {}", file.display());
    let mut to = std::io::BufWriter::new(std::fs::File::create(file).with_context(named)?);
    planning::jobs_csv(scenario, answer, &mut to).and_then(|()| to.flush()).with_context(named)
}

fn write_all(folder: &Path, scenario: &Scenario, answer: &Answer) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("--out {}", folder.display()))?;
    let files = [
        ("report.html", report::html::page(scenario, answer)),
        ("summary.json", serde_json::to_string_pretty(&report::json(scenario, answer))?),
        ("waits.csv", report::waits_csv(scenario, answer)),
        ("waits_by_size.csv", report::waits_by_size_csv(scenario, answer)),
        ("queue.csv", report::queue_csv(scenario, answer)),
        ("pools.csv", report::pools_csv(scenario, answer)),
        ("utilisation.csv", report::utilisation_csv(scenario, answer)),
        ("orders.csv", report::orders_csv(answer)),
        ("costs.csv", report::costs_csv(answer)),
        ("nodes.csv", report::nodes_csv(scenario, answer)),
        ("scheduler.csv", report::scheduler_csv(answer)),
        ("answers.csv", report::answers_csv(answer)),
    ];
    for (name, text) in files {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
