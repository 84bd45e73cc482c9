//! Intervals, and numbers in words.

use super::super::units::in_words;
use crate::dice::Dice;

/// How often the runs are drawn again for an interval.
const RESAMPLES: usize = 2000;

/// The mean, and between what it lies with 95 % confidence: by drawing the values again.
pub(super) fn interval_of_mean(values: &[f64]) -> (f64, f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mut dice = Dice::child(values.len() as u64, "bootstrap");
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| values.iter().filter_map(|_| dice.pick(values)).sum::<f64>() / values.len().max(1) as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    (mean, means[RESAMPLES / 40], means[RESAMPLES - 1 - RESAMPLES / 40])
}

pub(in super::super) fn wilson(kept: usize, runs: usize) -> (f64, f64) {
    let (n, p, z) = (runs.max(1) as f64, kept as f64 / runs.max(1) as f64, 1.96_f64);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

pub(super) fn signed(seconds: f64) -> String {
    format!("{}{}", if seconds < 0.0 { "-" } else { "+" }, in_words(seconds.abs()))
}

/// An amount of money with its thousands apart.
pub(in super::super) fn money(amount: f64) -> String {
    let digits = format!("{:.0}", amount.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if amount < 0.0 { format!("-{text}") } else { text }
}
