//! Differences with the intervals in which they lie, as SVG.

use std::fmt::Write;

use super::super::super::answer::Difference;
use super::super::super::units::in_words;
use super::escape;

const WIDTH: f64 = 860.0;
const ROW: f64 = 44.0;
const LEFT: f64 = 20.0;
const TOP: f64 = 8.0;

pub(super) fn svg(differences: &[Difference]) -> String {
    let most = differences.iter().map(|of| of.low.abs().max(of.high.abs())).fold(0.0, f64::max).max(1e-9);
    let x = |seconds: f64| WIDTH / 2.0 + seconds / most * (WIDTH / 2.0 - LEFT);
    let height = TOP + ROW * differences.len() as f64 + 8.0;
    let mut svg =
        format!("<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Differences of waits\">");
    let middle = WIDTH / 2.0;
    let _ = write!(svg, "<line class=\"grid\" x1=\"{middle}\" y1=\"0\" x2=\"{middle}\" y2=\"{height}\"/>");
    for (row, of) in differences.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let verdict = match of.mean < 0.0 {
            _ if of.is_none() => "may be none",
            true => "shorter",
            false => "longer",
        };
        let text = format!(
            "{}, {}, {}: {} {verdict} ({} to {})",
            of.way,
            of.workload,
            of.measure,
            in_words(of.mean.abs()),
            signed(of.low),
            signed(of.high)
        );
        let (low, high, mean, line) = (x(of.low), x(of.high), x(of.mean), y + 28.0);
        let class = if of.is_none() { "none" } else { "some" };
        let _ = write!(
            svg,
            "<text x=\"{LEFT}\" y=\"{:.1}\">{}</text><line class=\"interval {class}\" x1=\"{low:.1}\" y1=\"{line:.1}\" x2=\"{high:.1}\" \
             y2=\"{line:.1}\"/><circle class=\"{class}\" cx=\"{mean:.1}\" cy=\"{line:.1}\" r=\"5\"/>",
            y + 14.0,
            escape(&text)
        );
    }
    svg.push_str("</svg></figure>");
    svg
}

fn signed(seconds: f64) -> String {
    format!("{}{}", if seconds < 0.0 { "-" } else { "+" }, in_words(seconds.abs()))
}
