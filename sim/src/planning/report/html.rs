//! The report for people: one page, without network and without script, light or dark as the reader likes. The answer comes first.

mod chart;

use std::fmt::Write;

use self::chart::{Band, Chart, Line, Mark};
use super::super::answer::{Answer, Told};
use super::super::outcome::Week;
use super::super::questions::money;
use super::super::scenario::{Arrivals, LeadTime, Pool, Scenario};
use super::super::units::{WEEK, in_words};
use super::{mean_of_week, weeks};

/// The whole page.
pub fn page(scenario: &Scenario, answer: &Answer) -> String {
    let mut page = Page { scenario, answer, text: String::new() };
    page.head();
    page.answer_box();
    if let Some(told) = answer.told.first() {
        page.demand(told);
        page.waits();
        page.utilisation(told);
        page.costs();
        page.ways();
        page.reasons();
    }
    page.tried();
    page.assumptions();
    page.text.push_str("</main></body></html>\n");
    page.text
}

struct Page<'a> {
    scenario: &'a Scenario,
    answer: &'a Answer,
    text: String,
}

impl Page<'_> {
    fn head(&mut self) {
        let name = escape(&self.scenario.name);
        let style = include_str!("style.css");
        let _ = write!(
            self.text,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{name}</title><style>{style}</style></head><body><main>\
             <h1>{name}</h1>"
        );
    }

    fn answer_box(&mut self) {
        let _ =
            write!(self.text, "<section class=\"answer\"><p class=\"headline\">{}</p>", escape(&self.answer.headline));
        if self.answer.advice.len() > 1 {
            self.orders();
        }
        if !self.answer.facts.is_empty() {
            self.text.push_str("<dl>");
            for fact in &self.answer.facts {
                let _ = write!(self.text, "<dt>{}</dt><dd>{}</dd>", escape(&fact.about), escape(&fact.text));
            }
            self.text.push_str("</dl>");
        }
        self.text.push_str("</section>");
    }

    fn orders(&mut self) {
        self.text.push_str("<table><tr><th>machines</th><th>pool</th><th>order by</th><th>needed</th></tr>");
        for advice in &self.answer.advice {
            let _ = write!(
                self.text,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{} (week {})</td></tr>",
                advice.count,
                escape(&advice.pool),
                advice.order_by,
                advice.needed,
                advice.needed_week + 1
            );
        }
        self.text.push_str("</table>");
    }

    fn unit(&self) -> &'static str {
        if self.scenario.counts_gpus() { "GPUs" } else { "cores" }
    }

    fn demand(&mut self, told: &Told) {
        let line = |name: &str, of: fn(&Week) -> f64| Line { name: name.to_owned(), values: by_week(told, of) };
        let mut lines = vec![line("demand", |week| week.demand), line("capacity", |week| week.capacity)];
        if let Some(without) = self.answer.told.get(1) {
            lines.push(Line {
                name: format!("capacity, {}", without.name),
                values: by_week(without, |week| week.capacity),
            });
        }
        let mut marks = Vec::new();
        for advice in &self.answer.advice {
            marks.push(Mark { at: advice.slack_weeks.max(0.0), name: format!("order {}", advice.count) });
            marks.push(Mark { at: advice.needed_week as f64, name: "needed".to_owned() });
        }
        let band = Band::over(told, |week| week.demand);
        let unit = self.unit();
        self.figure(
            "Demand and capacity",
            &format!("{unit} asked for by all jobs that are there, and {unit} in the fleet, mean of each week; the band is the range of the runs."),
            &Chart { unit, lines, marks, limit: None, band: Some(band), is_log: false },
        );
    }

    fn waits(&mut self) {
        for (at, workload) in self.scenario.workloads.iter().enumerate() {
            let percentile = workload.limit.map_or(95, |limit| limit.percentile);
            let lines = self.answer.told.iter().map(|told| Line {
                name: told.name.clone(),
                values: by_week_of(told, &|week| week.waits[at].percentile(percentile) / 60.0),
            });
            let chart = Chart {
                unit: "minutes",
                lines: lines.collect(),
                marks: Vec::new(),
                limit: workload.limit.map(|limit| limit.wait.as_secs_f64() / 60.0),
                band: None,
                is_log: true,
            };
            let text = match workload.limit {
                Some(limit) => format!(
                    "How long {percentile} of 100 jobs waited at most, by the week in which they were submitted. The limit is {}.",
                    in_words(limit.wait.as_secs_f64())
                ),
                None => format!(
                    "How long {percentile} of 100 jobs waited at most, by the week in which they were submitted. There is no limit."
                ),
            };
            self.figure(&format!("Waits of {}", workload.name), &text, &chart);
        }
    }

    fn utilisation(&mut self, told: &Told) {
        let part = |week: &Week| week.used / week.capacity.max(1e-9) * 100.0;
        let lines = self.answer.told.iter().map(|told| Line { name: told.name.clone(), values: by_week(told, part) });
        let chart = Chart {
            unit: "%",
            lines: lines.collect(),
            marks: Vec::new(),
            limit: None,
            band: Some(Band::over(told, part)),
            is_log: false,
        };
        let text = format!("The part of the {} in the fleet that is given out, mean of each week.", self.unit());
        self.figure("Utilisation", &text, &chart);
    }

    fn figure(&mut self, title: &str, text: &str, chart: &Chart) {
        let _ = write!(
            self.text,
            "<section><h2>{}</h2><p>{}</p><figure>{}</figure></section>",
            escape(title),
            escape(text),
            chart.svg(title)
        );
    }

    fn costs(&mut self) {
        if self.answer.told.iter().all(|told| told.mean(|outcome| outcome.costs.total()) <= 0.0) {
            return;
        }
        let _ = write!(
            self.text,
            "<section><h2>Cost</h2><p>{} in the {} weeks looked at. Of a machine that is bought, the part of its price that falls into \
             the time it is there.</p><table><tr><th></th><th>bought</th><th>running</th><th>rented</th><th>together</th>\
             <th>whole price of what is bought</th></tr>",
            escape(&self.scenario.currency),
            self.scenario.weeks()
        );
        for told in &self.answer.told {
            let cost = |of: fn(&super::super::fleet::Costs) -> f64| money(told.mean(|outcome| of(&outcome.costs)));
            let _ = write!(
                self.text,
                "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&told.name),
                cost(|costs| costs.bought),
                cost(|costs| costs.running),
                cost(|costs| costs.rented),
                cost(super::super::fleet::Costs::total),
                cost(|costs| costs.purchase)
            );
        }
        self.text.push_str("</table></section>");
    }

    fn ways(&mut self) {
        self.text.push_str(
            "<section><h2>What was run</h2><table><tr><th></th><th>runs that keep every limit</th><th>first limit not kept</th>\
             <th>jobs finished</th><th>not started at the end</th></tr>",
        );
        for told in &self.answer.told {
            let _ = write!(
                self.text,
                "<tr><th>{}</th><td>{} of {}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&told.name),
                told.kept(),
                told.outcomes.len(),
                escape(&told.first_failure(self.scenario).unwrap_or_else(|| "none".to_owned())),
                money(told.mean(|outcome| outcome.finished as f64)),
                money(told.mean(|outcome| outcome.not_started as f64))
            );
        }
        self.text.push_str("</table></section>");
    }

    fn reasons(&mut self) {
        let unit = self.unit();
        let _ = write!(
            self.text,
            "<section><h2>Why jobs waited</h2><p>Counted once a day, in the mean of the runs.</p><table><tr><th></th>\
             <th>too few {unit} free in the whole fleet</th><th>enough free, but not together with what else the job needs on one machine</th></tr>"
        );
        for told in &self.answer.told {
            let of = |of: fn(&super::super::outcome::Reasons) -> f64| money(told.mean(|outcome| of(&outcome.reasons)));
            let _ = write!(
                self.text,
                "<tr><th>{}</th><td>{} job-days</td><td>{} job-days</td></tr>",
                escape(&told.name),
                of(|reasons| reasons.taken),
                of(|reasons| reasons.fragmented)
            );
        }
        self.text.push_str("</table></section>");
    }

    fn tried(&mut self) {
        if self.answer.tried.is_empty() {
            return;
        }
        self.text.push_str("<section><h2>Sizes that were tried</h2><table><tr><th>machines</th><th>runs that keep every limit</th></tr>");
        for tried in &self.answer.tried {
            let _ = write!(self.text, "<tr><td>{}</td><td>{} of {}</td></tr>", tried.count, tried.kept, tried.runs);
        }
        self.text.push_str("</table></section>");
    }

    fn assumptions(&mut self) {
        let scenario = self.scenario;
        let _ = write!(
            self.text,
            "<section><h2>Assumptions</h2><p>From {} for {} weeks, {} runs with other random numbers each; a limit counts as kept if \
             {:.0} % of the runs keep it. Places are chosen by {}. The rialto master and its frameworks' placement library, version {}, \
             ran in virtual time.</p><table><tr><th>pool</th><th>machines</th><th>each</th><th>speed</th><th>failures</th><th>bought</th>\
             <th>rented</th></tr>",
            scenario.start,
            scenario.weeks(),
            scenario.seeds,
            scenario.confidence * 100.0,
            scenario.placement,
            env!("CARGO_PKG_VERSION")
        );
        for pool in &scenario.pools {
            self.text.push_str(&pool_row(pool, &scenario.currency));
        }
        self.text.push_str("</table><table><tr><th>workload</th><th>jobs</th><th>growth</th><th>limit</th></tr>");
        for workload in &scenario.workloads {
            let jobs = match workload.arrivals {
                Arrivals::Random { load, residence } => format!(
                    "at random; {load} {} in use at the start, each job for {} in the mean",
                    self.unit(),
                    in_words(residence.as_secs_f64())
                ),
                Arrivals::Replayed { factor, repeats } => {
                    format!("as in the file, {factor} for each{}", if repeats { ", again and again" } else { "" })
                }
            };
            let limit = workload.limit.map_or_else(
                || "none".to_owned(),
                |limit| format!("p{} of each week at most {}", limit.percentile, in_words(limit.wait.as_secs_f64())),
            );
            let _ = write!(
                self.text,
                "<tr><th>{}</th><td>{}</td><td>{:.1} % a year</td><td>{}</td></tr>",
                escape(&workload.name),
                escape(&jobs),
                (workload.growth_a_year - 1.0) * 100.0,
                limit
            );
        }
        self.text.push_str("</table><table><tr><th>file</th><th>SHA-256 begins with</th></tr>");
        for (file, hash) in &scenario.inputs {
            let _ = write!(
                self.text,
                "<tr><td>{}</td><td><code>{hash}</code></td></tr>",
                escape(&file.display().to_string())
            );
        }
        self.text.push_str("</table></section>");
    }
}

fn pool_row(pool: &Pool, currency: &str) -> String {
    let bought = pool.supply.as_ref().map_or_else(String::new, |supply| {
        let lead = match supply.lead_time {
            LeadTime::Fixed(span) => in_words(span.as_secs_f64()),
            LeadTime::Quantiles { p50, p90 } => {
                format!("p50 {}, p90 {}", in_words(p50.as_secs_f64()), in_words(p90.as_secs_f64()))
            }
        };
        let years = supply.life.as_secs_f64() / (WEEK.as_secs_f64() * 52.18);
        format!(
            "after {lead}, by {}, {} {currency} over {years:.1} years and {} an hour",
            supply.batch,
            money(supply.price),
            supply.running_cost
        )
    });
    let rented = pool.rental.as_ref().map_or_else(String::new, |rental| {
        let steps = rental
            .steps
            .iter()
            .map(|(at, part)| format!("{part} of it from week {:.0}", at.0 as f64 / WEEK.as_micros() as f64));
        let steps: Vec<String> = steps.collect();
        format!(
            "{} {currency} an hour {}; taken away {} times an hour",
            rental.on_demand,
            steps.join(", "),
            rental.interruptions_per_hour
        )
    });
    let failures = pool.mtbf.map_or_else(
        || "none".to_owned(),
        |mtbf| format!("every {}, {} away", in_words(mtbf.as_secs_f64()), in_words(pool.repair.as_secs_f64())),
    );
    format!(
        "<tr><th>{}</th><td>{}</td><td>{} cores, {} GiB, {} {}</td><td>{}</td><td>{failures}</td><td>{}</td><td>{}</td></tr>",
        escape(&pool.name),
        pool.count,
        pool.cpus.0 as f64 / 1000.0,
        pool.mem.0 / 1000 / 1024,
        pool.gpus,
        escape(&pool.model),
        pool.speed,
        escape(&bought),
        escape(&rented)
    )
}

fn by_week(told: &Told, of: fn(&Week) -> f64) -> Vec<f64> {
    by_week_of(told, &of)
}

fn by_week_of(told: &Told, of: &dyn Fn(&Week) -> f64) -> Vec<f64> {
    (0..weeks(told)).map(|number| mean_of_week(told, number, of)).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
