//! Lines over weeks, as SVG.

use std::fmt::Write;

use super::super::super::answer::Told;
use super::super::super::outcome::Week;
use super::super::super::scenario::Date;
use super::escape;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 310.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// The least of an axis of magnitudes.
const LOG_FLOOR: f64 = 0.01;

/// Lines over weeks, with what is marked among them.
pub(super) struct Chart {
    /// The first day of the first week.
    pub(super) start: Date,
    pub(super) unit: &'static str,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<Mark>,
    /// A line across that is not to be passed.
    pub(super) limit: Option<f64>,
    /// The ranges of the runs.
    pub(super) bands: Vec<Band>,
    /// Parts of a whole, one on top of the other.
    pub(super) stack: Vec<Line>,
    /// Whether each step up is ten times as much.
    pub(super) is_log: bool,
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: Look,
    /// By week.
    pub(super) values: Vec<f64>,
}

/// The same in all charts of a page.
#[derive(Clone, Copy)]
pub(super) enum Look {
    /// What is asked for, whatever is done.
    Demand,
    /// One of the ways, by its place.
    Way(usize),
    /// A part of a whole, by its place.
    Part(usize),
}

impl Look {
    /// The classes of its line, and of its key.
    fn classes(self) -> (String, String) {
        match self {
            Self::Demand => ("line demand".to_owned(), "key demand".to_owned()),
            Self::Way(way) if way < COLOURS => (format!("line l{way}"), format!("key k{way}")),
            Self::Way(way) => (format!("line l{} again", way % COLOURS), format!("key k{}", way % COLOURS)),
            Self::Part(part) => (format!("area p{part}"), format!("key box p{part}")),
        }
    }
}

impl Look {
    /// The class of the range of its runs.
    fn band(self) -> String {
        match self {
            Self::Way(way) => format!("band b{}", way % COLOURS),
            Self::Demand | Self::Part(_) => "band".to_owned(),
        }
    }
}

/// So many ways have a colour of their own; those after them are dashed.
const COLOURS: usize = 6;

/// A moment, in weeks.
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) name: String,
}

pub(super) struct Band {
    look: Look,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Band {
    pub(super) fn over(told: &Told, look: Look, of: &dyn Fn(&Week) -> f64) -> Self {
        let values = |number: usize| told.outcomes.iter().filter_map(move |outcome| outcome.weeks.get(number)).map(of);
        Self {
            look,
            low: (0..told.weeks()).map(|number| values(number).fold(f64::MAX, f64::min)).collect(),
            high: (0..told.weeks()).map(|number| values(number).fold(0.0, f64::max)).collect(),
        }
    }
}

/// Where values lie on the paper.
struct Scale {
    weeks: f64,
    low: f64,
    high: f64,
    is_log: bool,
}

impl Scale {
    fn x(&self, week: f64) -> f64 {
        LEFT + week / self.weeks * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let part = if self.is_log {
            (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
            return (low..=high).map(|power| 10_f64.powi(power)).collect();
        }
        let step = step_for(self.high);
        (0..=(self.high / step) as u32).map(|tick| f64::from(tick) * step).collect()
    }
}

impl Chart {
    pub(super) fn svg(&self, title: &str) -> String {
        let scale = self.scale();
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(title));
        self.axes(&scale, &mut svg);
        for band in &self.bands {
            let there = band.high.iter().enumerate().map(|(week, value)| (week, *value));
            let back = band.low.iter().enumerate().rev().map(|(week, value)| (week, *value));
            let points: Vec<String> = there.chain(back).map(|(week, value)| point(&scale, week, value)).collect();
            let _ = write!(svg, "<polygon class=\"{}\" points=\"{}\"/>", band.look.band(), points.join(" "));
        }
        if let Some(limit) = self.limit {
            let y = scale.y(limit);
            let _ = write!(
                svg,
                "<line class=\"limit\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/><text class=\"limit\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">limit</text>",
                WIDTH - RIGHT,
                WIDTH - RIGHT - 4.0,
                y - 5.0
            );
        }
        self.areas(&scale, &mut svg);
        for line in &self.lines {
            let points: Vec<String> =
                line.values.iter().enumerate().map(|(week, value)| point(&scale, week, *value)).collect();
            let _ = write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.look.classes().0, points.join(" "));
        }
        self.marks(&scale, &mut svg);
        svg.push_str("</svg>");
        self.legend(&mut svg);
        svg
    }

    /// The parts of the whole, from below.
    fn areas(&self, scale: &Scale, svg: &mut String) {
        let mut below = vec![0.0; self.stack.iter().map(|part| part.values.len()).max().unwrap_or(0)];
        for part in &self.stack {
            let above: Vec<f64> = below.iter().zip(&part.values).map(|(below, value)| below + value.max(0.0)).collect();
            let there = above.iter().enumerate().map(|(week, value)| point(scale, week, *value));
            let back = below.iter().enumerate().take(above.len()).rev().map(|(week, value)| point(scale, week, *value));
            let points: Vec<String> = there.chain(back).collect();
            let _ = write!(svg, "<polygon class=\"{}\" points=\"{}\"/>", part.look.classes().0, points.join(" "));
            below = above;
        }
    }

    fn scale(&self) -> Scale {
        let highs = self.bands.iter().flat_map(|band| band.high.iter().copied());
        let values = self.lines.iter().flat_map(|line| line.values.iter().copied()).chain(highs).chain(self.limit);
        let whole = if self.stack.is_empty() { 0.0 } else { 100.0 };
        let most = values.fold(whole, f64::max);
        let weeks = self.lines.iter().chain(&self.stack).map(|line| line.values.len()).max().unwrap_or(1).max(1) as f64;
        if self.is_log {
            let high = 10_f64.powf((most.max(1.0) * 1.01).log10().ceil());
            return Scale { weeks, low: LOG_FLOOR, high, is_log: true };
        }
        let step = step_for(most.max(1e-9));
        Scale { weeks, low: 0.0, high: (most / step).ceil().max(1.0) * step, is_log: false }
    }

    fn axes(&self, scale: &Scale, svg: &mut String) {
        for tick in scale.ticks() {
            let y = scale.y(tick);
            let name = if scale.is_log && tick <= LOG_FLOOR { "0".to_owned() } else { label(tick) };
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0
            );
        }
        let every = ((scale.weeks / 9.0).ceil() as usize).max(1);
        for week in (0..scale.weeks as usize).step_by(every) {
            let x = scale.x(week as f64 + 0.5);
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">week {}</text><text class=\"date\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                HEIGHT - 24.0,
                week + 1,
                HEIGHT - 9.0,
                self.start.plus_days(7 * week as i64)
            );
        }
        let _ = write!(svg, "<text x=\"{LEFT}\" y=\"14\">{}</text>", self.unit);
    }

    fn marks(&self, scale: &Scale, svg: &mut String) {
        let there = self.marks.iter().filter(|mark| (0.0..=scale.weeks).contains(&mark.at));
        for (at, mark) in there.enumerate() {
            let x = scale.x(mark.at);
            let y = TOP + 12.0 + 15.0 * (at % 4) as f64;
            // A name that would run out of the paper stands before its line.
            let (text_x, anchor) = if x > WIDTH * 0.75 { (x - 4.0, "end") } else { (x + 4.0, "start") };
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.1}\"/><text class=\"mark\" x=\"{text_x:.1}\" \
                 y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - BOTTOM,
                escape(&mark.name)
            );
        }
    }

    fn legend(&self, svg: &mut String) {
        svg.push_str("<figcaption>");
        for line in self.lines.iter().chain(&self.stack) {
            let _ = write!(svg, "<span class=\"{}\">{}</span> ", line.look.classes().1, escape(&line.name));
        }
        svg.push_str("</figcaption>");
    }
}

fn point(scale: &Scale, week: usize, value: f64) -> String {
    format!("{:.1},{:.1}", scale.x(week as f64 + 0.5), scale.y(value))
}

/// A step of 1, 2 or 5 times a power of ten, such that there are four to ten of them up to `most`.
fn step_for(most: f64) -> f64 {
    let power = 10_f64.powf((most / 4.0).log10().floor());
    [5.0, 2.0, 1.0].into_iter().map(|factor| factor * power).find(|step| most / step >= 4.0).unwrap_or(power)
}

fn label(value: f64) -> String {
    if value >= 10_000.0 { format!("{}k", value / 1000.0) } else { format!("{}", (value * 100.0).round() / 100.0) }
}
