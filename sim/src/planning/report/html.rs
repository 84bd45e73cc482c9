//! The report for people: one page, without network and without script, light or dark as the reader likes. The answer comes first.

mod assumptions;
mod bars;
mod chart;
mod intervals;

use std::fmt::Write;

use self::bars::{Bar, Bars};
use self::chart::{Band, Chart, Line, Look, Mark};
use super::super::answer::{Answer, Told};
use super::super::fleet::Costs;
use super::super::outcome::{Outcome, Week, Why};
use super::super::questions::{money, wilson};
use super::super::scenario::Scenario;
use super::super::units::{WEEK, in_words};
use super::mean_of_week;

/// Of so many ways the capacity is drawn beside the demand.
const CAPACITIES_MAX: usize = 2;
/// For so many ways the range of the runs is drawn where waits are.
const BANDS_MAX: usize = 3;
/// For so many ways it is shown what becomes of the fleet.
const STACKS_MAX: usize = 4;

/// The whole page.
pub fn page(scenario: &Scenario, answer: &Answer) -> String {
    let mut page = Page { scenario, answer, text: String::new() };
    page.head();
    page.answer_box();
    if let Some(told) = answer.told.first() {
        page.demand(told);
        page.plan();
        page.waits();
        page.utilisation();
        page.costs();
        page.differences();
        page.reasons();
        page.ways();
    }
    page.tried();
    page.text.push_str(&assumptions::section(scenario));
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
        if !self.answer.advice.is_empty() {
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
        self.how_to_read();
    }

    /// What the words mean that a reader can't know.
    fn how_to_read(&mut self) {
        let limits = self.scenario.workloads.iter().filter_map(|workload| Some((&workload.name, workload.limit?)));
        let limits = limits.map(|(name, limit)| {
            format!(
                "The limit for <b>{}</b> is that {} of 100 jobs submitted in a week (p{}) start within {}.",
                escape(name),
                limit.percentile,
                limit.percentile,
                in_words(limit.wait.as_secs_f64())
            )
        });
        let limits: Vec<String> = limits.collect();
        let runs = match self.scenario.seeds {
            1 => "What is shown is one run; others may differ.".to_owned(),
            runs => format!(
                "Each way was run {runs} times with other random numbers; lines are the mean, shaded bands the range of the runs."
            ),
        };
        let warmup = match self.scenario.warmup_weeks {
            0 => String::new(),
            weeks => format!(" Waits up to week {weeks} are not judged: what is there at the start settles."),
        };
        let _ = write!(
            self.text,
            "<p class=\"note\">{} {runs} Week 1 begins on {}.{warmup}</p>",
            limits.join(" "),
            self.scenario.start
        );
    }

    fn orders(&mut self) {
        self.text.push_str(
            "<table><tr><th>machines</th><th>pool</th><th>order by</th><th>there on</th><th>needed</th></tr>",
        );
        for advice in &self.answer.advice {
            let _ = write!(
                self.text,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} (week {})</td></tr>",
                advice.count,
                escape(&advice.pool),
                match advice.slack_weeks < 0.0 {
                    true => format!("{}, at once; {} would have been in time", self.scenario.start, advice.order_by),
                    false => advice.order_by.to_string(),
                },
                advice.arrives,
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
        let demand = by_week(told, |week| week.demand);
        let mut lines = vec![Line { name: "demand".to_owned(), look: Look::Demand, values: demand }];
        let is_one = self.answer.told.len() == 1;
        for (way, told) in self.answer.told.iter().enumerate().take(CAPACITIES_MAX) {
            let values = by_week(told, |week| week.capacity);
            let name = if is_one { "capacity".to_owned() } else { format!("capacity, {}", told.name) };
            // What is the same would hide what lies below.
            if lines.iter().all(|line| line.values != values) {
                lines.push(Line { name, look: Look::Way(way), values });
            }
        }
        let weeks = |at: rialto_core::model::Time| at.0 as f64 / WEEK.as_micros() as f64;
        let mut milestones: Vec<_> = self.answer.told.iter().flat_map(|told| &told.milestones).collect();
        milestones.sort_by_key(|of| (of.at, &of.text));
        milestones.dedup();
        let marks = milestones.iter().map(|of| Mark { at: weeks(of.at), name: of.text.clone() }).collect();
        let band = Band::over(told, Look::Demand, &|week| week.demand);
        let unit = self.unit();
        self.figure(
            "Demand and capacity",
            &format!(
                "{unit} that all jobs ask for, running or waiting, and {unit} that the fleet has, in the mean of each week. {}",
                match milestones.is_empty() {
                    true => "Nothing is ordered or rented.",
                    false => "Dotted: what is ordered or rented and when it is there.",
                }
            ),
            &Chart { start: self.scenario.start, unit, lines, marks, limit: None, bands: vec![band], stack: Vec::new(), is_log: false },
        );
    }

    fn waits(&mut self) {
        for (at, workload) in self.scenario.workloads.iter().enumerate() {
            let percentile = workload.limit.map_or(95, |limit| limit.percentile);
            let lines = self.answer.told.iter().enumerate().map(|(way, told)| Line {
                name: told.name.clone(),
                look: Look::Way(way),
                values: by_week_of(told, &|week| week.waits[at].percentile(percentile) / 60.0),
            });
            let is_band = self.scenario.seeds > 1;
            let banded = self.answer.told.iter().enumerate().take(if is_band { BANDS_MAX } else { 0 });
            let bands = banded.map(|(way, told)| {
                Band::over(told, Look::Way(way), &|week| week.waits[at].percentile(percentile) / 60.0)
            });
            let chart = Chart {
                start: self.scenario.start,
                stack: Vec::new(),
                unit: "minutes",
                lines: lines.collect(),
                marks: Vec::new(),
                limit: workload.limit.map(|limit| limit.wait.as_secs_f64() / 60.0),
                bands: bands.collect(),
                is_log: true,
            };
            let text = match workload.limit {
                Some(limit) => format!(
                    "How long {percentile} of 100 jobs waited at most, by the week in which they were submitted. Above the red line, \
                     which is the limit of {}, they wait too long. Each step up is ten times as much.",
                    in_words(limit.wait.as_secs_f64())
                ),
                None => format!(
                    "How long {percentile} of 100 jobs waited at most, by the week in which they were submitted. There is no limit. \
                     Each step up is ten times as much."
                ),
            };
            let ends_early = self.answer.told.iter().any(|told| told.weeks() < self.scenario.weeks());
            let end = if ends_early { " A line that ends early was run only until the limit was passed." } else { "" };
            let band = match is_band {
                true => " The line is the mean of the runs; the shaded band reaches from the best run to the worst.",
                false => "",
            };
            self.figure(&format!("Waits of {}", workload.name), &(text + band + end), &chart);
        }
    }

    fn utilisation(&mut self) {
        let percent = |part: f64, week: &Week| part / week.capacity.max(1e-9) * 100.0;
        let (shown, unit) = (self.answer.told.iter().take(STACKS_MAX), self.unit());
        for told in shown {
            let used = by_week_of(told, &|week| percent(week.used, week));
            let scattered = by_week_of(told, &|week| percent(week.fragmented.min(week.capacity - week.used), week));
            let usable = used.iter().zip(&scattered).map(|(used, scattered)| 100.0 - used - scattered).collect();
            let part = |part, name: &str, values| Line { name: name.to_owned(), look: Look::Part(part), values };
            let mut stack = vec![part(0, "given out to jobs", used)];
            if self.scenario.counts_gpus() {
                stack.push(part(1, "idle, but too scattered for the jobs that come", scattered));
            }
            stack.push(part(2, "idle and of use", usable));
            let chart = Chart {
                start: self.scenario.start,
                unit: "%",
                lines: Vec::new(),
                marks: Vec::new(),
                limit: None,
                bands: Vec::new(),
                stack,
                is_log: false,
            };
            let text = format!(
                "What becomes of the {unit} in the fleet, in the mean of each week. Scattered is what is left on machines in pieces that \
                 the kinds of job that come can't use (fragmentation)."
            );
            self.figure(&format!("Utilisation and fragmentation, {}", told.name_and_end(self.scenario)), &text, &chart);
        }
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
            "<section><h2>Cost</h2><p>{} in the {} weeks looked at. A machine that is bought counts with the part of its price that falls \
             into the time it is there; the last column is what has to be paid for it in all.</p>",
            escape(&self.scenario.currency),
            self.scenario.weeks()
        );
        if self.answer.told.iter().any(|told| told.weeks() < self.scenario.weeks()) {
            self.text.push_str(
                "<p>A way that was run up to an earlier week only has cost less for that alone: it is not to be compared.</p>",
            );
        }
        type Cost = fn(&Costs) -> f64;
        let parts: [(&str, Cost); 4] = [
            ("bought", |costs| costs.bought),
            ("running", |costs| costs.running),
            ("rented", |costs| costs.rented),
            ("cancelled", |costs| costs.cancelled),
        ];
        let mean = |told: &Told, of: fn(&Costs) -> f64| told.mean(|outcome| of(&outcome.costs));
        let bar = |told: &Told| Bar {
            name: told.name_and_end(self.scenario),
            parts: parts.iter().map(|(_, of)| mean(told, *of)).collect(),
        };
        let bars = Bars {
            parts: parts.iter().map(|(name, _)| (*name).to_owned()).collect(),
            bars: self.answer.told.iter().map(bar).collect(),
        };
        self.text.push_str(&bars.html("Cost"));
        self.text.push_str(
            "<table><tr><th></th><th>bought</th><th>running</th><th>rented</th><th>cancelled</th><th>together</th><th>whole price</th></tr>",
        );
        for told in &self.answer.told {
            let cost = |of: fn(&Costs) -> f64| money(mean(told, of));
            let _ = write!(
                self.text,
                "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&told.name_and_end(self.scenario)),
                cost(|costs| costs.bought),
                cost(|costs| costs.running),
                cost(|costs| costs.rented),
                cost(|costs| costs.cancelled),
                cost(Costs::total),
                cost(|costs| costs.purchase)
            );
        }
        self.text.push_str("</table></section>");
    }

    fn differences(&mut self) {
        let [first, ..] = &self.answer.told[..] else { return };
        if self.answer.differences.is_empty() {
            return;
        }
        let _ = write!(
            self.text,
            "<section><h2>The ways compared with {}</h2><p>How much longer (right) or shorter (left) jobs wait, in the mean of runs with \
             the same random numbers; the bar is the interval in which the difference lies with 95 % confidence. Where it holds 0, there may \
             be no difference.</p>{}</section>",
            escape(&first.name),
            intervals::svg(&self.answer.differences)
        );
    }

    fn ways(&mut self) {
        self.text.push_str(
            "<section><h2>What was run</h2><table><tr><th></th><th>runs that keep every limit</th><th>first limit not kept</th>\
             <th>jobs finished</th><th>given up by their framework</th><th>not started at the end</th></tr>",
        );
        for told in &self.answer.told {
            let _ = write!(
                self.text,
                "<tr><th>{}</th><td>{} of {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&told.name_and_end(self.scenario)),
                told.kept(),
                told.outcomes.len(),
                escape(&told.first_failure(self.scenario).unwrap_or_else(|| "none".to_owned())),
                money(told.mean(|outcome| outcome.finished as f64)),
                money(told.mean(|outcome| outcome.given_up as f64)),
                money(told.mean(|outcome| outcome.not_started as f64))
            );
        }
        self.text.push_str("</table></section>");
    }

    fn reasons(&mut self) {
        let unit = self.unit();
        let days =
            |why| self.answer.told.iter().map(|told| told.mean(|outcome| outcome.reasons.days(why))).sum::<f64>();
        // What nobody waits for is not told, but for the two that every reader will look for.
        let parts = Why::ALL.into_iter().filter(|why| matches!(why, Why::Taken | Why::Scattered) || days(*why) > 0.0);
        let parts: Vec<(String, Why)> = parts.map(|why| (in_full(why, unit), why)).collect();
        let a_week = |outcome: &Outcome, why| outcome.reasons.days(why) / outcome.weeks.len().max(1) as f64;
        let bar = |told: &Told| Bar {
            name: told.name_and_end(self.scenario),
            parts: parts.iter().map(|(_, why)| told.mean(|outcome| a_week(outcome, *why))).collect(),
        };
        let bars = Bars {
            bars: self.answer.told.iter().map(bar).collect(),
            parts: parts.iter().map(|(name, _)| name.clone()).collect(),
        };
        let _ = write!(
            self.text,
            "<section><h2>Why jobs waited</h2><p>Job-days in a week: each job that waits is counted once a day, with what it waits for then; the \
             mean of the weeks that were run.</p>{}\
             </section>",
            bars.html("Why jobs waited")
        );
    }

    fn tried(&mut self) {
        if self.answer.tried.is_empty() {
            return;
        }
        self.text.push_str(
            "<section><h2>Sizes that were tried</h2><p>The last column says between what the part of the runs that keep every limit \
             would come out if there were many more runs, with 95 % confidence: sizes whose ranges overlap can't be told apart by so few.</p>\
             <table><tr><th>machines</th><th>runs that keep every limit</th><th>of many runs</th></tr>",
        );
        for tried in &self.answer.tried {
            let (low, high) = wilson(tried.kept, tried.runs);
            let of = if tried.of.is_empty() { String::new() } else { format!("{}: ", escape(&tried.of)) };
            let _ = write!(
                self.text,
                "<tr><td>{of}{}</td><td>{} of {}</td><td>{:.0} to {:.0} %</td></tr>",
                tried.count,
                tried.kept,
                tried.runs,
                low * 100.0,
                high * 100.0
            );
        }
        self.text.push_str("</table></section>");
    }

    /// The days of what is ordered and rented.
    fn plan(&mut self) {
        let dated = |told: &Told| !told.milestones.is_empty();
        if !self.answer.told.iter().any(dated) {
            return;
        }
        self.text.push_str(
            "<section><h2>What happens when</h2><table><tr><th>day</th><th>week</th><th>what</th><th>way</th></tr>",
        );
        for told in &self.answer.told {
            for of in &told.milestones {
                let _ = write!(
                    self.text,
                    "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    self.scenario.date(of.at),
                    of.at.0 / WEEK.as_micros() as u64 + 1,
                    escape(&of.text),
                    escape(&told.name)
                );
            }
        }
        self.text.push_str("</table></section>");
    }
}

/// Why jobs wait, for people.
fn in_full(why: Why, unit: &str) -> String {
    match why {
        Why::Taken => format!("too few {unit}, cores or memory free in the whole fleet"),
        Why::Scattered => "enough free, but not together on one machine: free pieces are scattered".to_owned(),
        Why::OtherModel => "enough free, but too few of a model that will do".to_owned(),
        Why::Price => "enough free, but not at a price that they may cost".to_owned(),
        Why::Quota => "their workload holds all that it may (quota)".to_owned(),
        Why::Bound => "room only beside as many of the same app as may be on one machine".to_owned(),
    }
}

fn by_week(told: &Told, of: fn(&Week) -> f64) -> Vec<f64> {
    by_week_of(told, &of)
}

fn by_week_of(told: &Told, of: &dyn Fn(&Week) -> f64) -> Vec<f64> {
    (0..told.weeks()).map(|number| mean_of_week(told, number, of)).collect()
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
