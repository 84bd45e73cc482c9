//! `plan SCENARIO [SEEDS [REPORT]]`: answers the question of a scenario and prints the answer; the page for people goes to REPORT.

use rialto_sim::planning::{Scenario, answer, report};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut scenario = match Scenario::read(args[0].as_ref()) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    scenario.seeds = args.get(1).and_then(|seeds| seeds.parse().ok()).unwrap_or(scenario.seeds);
    let found = answer(&scenario, &mut |what| eprintln!("running {what}"));
    println!("{}", found.headline);
    for fact in &found.facts {
        println!("{}: {}", fact.about, fact.text);
    }
    for told in &found.told {
        println!("{}: {} of {} runs kept", told.name, told.kept(), told.outcomes.len());
        for (number, week) in told.outcomes[0].weeks.iter().enumerate().take(60) {
            println!(
                "  {number} demand {:.0} used {:.0} of {:.0}: {:?}",
                week.demand, week.used, week.capacity, week.waits[0]
            );
        }
        println!("  {:?} {:?}", told.outcomes[0].reasons, told.outcomes[0].costs);
        println!("  events {} finished {}", told.mean(|of| of.events as f64), told.mean(|of| of.finished as f64));
    }
    if let Some(file) = args.get(2) {
        std::fs::write(file, report::html::page(&scenario, &found)).expect("the report can be written there");
    }
}
