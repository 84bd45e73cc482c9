//! Spans of time, amounts and rates as people write them.

use std::time::Duration;

use rialto_core::model::{Milli, Time};

/// What a span is, for errors.
pub(super) const SPAN: &str = "a span such as 26 weeks, 48 h or 10 min";
/// What a moment is, for errors.
pub(super) const MOMENT: &str = "a moment such as week 20 or day 3";
/// What an amount of memory is, for errors.
pub(super) const MEMORY: &str = "an amount of memory such as 384GiB";
/// What a growth is, for errors.
pub(super) const GROWTH: &str = "a growth such as 4% a month";

/// Seven days.
pub const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// A twelfth of a year of 365.25 days.
pub(super) const MONTH: Duration = Duration::from_secs(2_629_800);
/// A year of 365.25 days.
pub(super) const YEAR: Duration = Duration::from_secs(31_557_600);
/// A hundred years: no span is longer.
const SPAN_MAX_S: f64 = 3.2e9;

/// A finite number.
pub(super) fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// `26 weeks`, `48 h`, `10min`.
pub fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (amount, unit) = (number(&text[..at])?, text[at..].trim());
    let unit = match unit.strip_suffix('s').filter(|unit| unit.len() > 1).unwrap_or(unit) {
        "s" | "sec" | "second" => 1.0,
        "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        "d" | "day" => 86_400.0,
        "w" | "week" => WEEK.as_secs_f64(),
        "month" => MONTH.as_secs_f64(),
        "y" | "year" => YEAR.as_secs_f64(),
        _ => return None,
    };
    let seconds = amount * unit;
    (0.0..=SPAN_MAX_S).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// `week 20`: so long after the start.
pub(super) fn moment(text: &str) -> Option<Time> {
    let (unit, amount) = text.trim().split_once(' ')?;
    span(&format!("{amount} {unit}")).map(|after| Time::ZERO + after)
}

/// `384GiB`, `512 MiB`, in MiB.
pub(super) fn memory(text: &str) -> Option<Milli> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = match text[at..].trim() {
        "MiB" => 1.0,
        "GiB" => 1024.0,
        "TiB" => 1024.0 * 1024.0,
        _ => return None,
    };
    let mib = number(&text[..at])? * unit;
    (0.0..=1e12).contains(&mib).then(|| Milli((mib * 1000.0).round() as u64))
}

/// `4% a month`, as the factor of a year.
pub(super) fn growth(text: &str) -> Option<f64> {
    let (percent, per) = text.split_once('%')?;
    let percent = number(percent).filter(|percent| (-90.0..=1000.0).contains(percent))?;
    let per = per.trim().trim_start_matches("a ").trim_start_matches("per ").trim_start_matches('/').trim();
    let length = span(&format!("1 {per}"))?;
    Some((1.0 + percent / 100.0).powf(YEAR.as_secs_f64() / length.as_secs_f64()))
}

/// A date, as days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(i64);

impl Date {
    /// 1970-01-01.
    pub(super) const EPOCH: Self = Self(0);

    /// `2026-10-05`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '-');
        let year: i64 = parts.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
        let month: i64 = parts.next()?.parse().ok().filter(|month| (1..=12).contains(month))?;
        let day: i64 = parts.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
        let date = Self(days_of(year, month, day));
        // The 31st of a shorter month would be a day of the next one.
        (date.civil() == (year, month, day)).then_some(date)
    }

    /// So long after it.
    #[must_use]
    pub(super) fn plus_days(self, days: i64) -> Self {
        Self(self.0 + days)
    }

    /// The day on which `at` falls, if this is the day of [`Time::ZERO`].
    pub(super) fn of(self, at: Time) -> Self {
        self.plus_days((at.0 / 86_400_000_000) as i64)
    }

    /// Year, month and day: the usual algorithm of eras of 400 years that begin in March.
    fn civil(self) -> (i64, i64, i64) {
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * of_year + 2) / 153;
        let month = if march < 10 { march + 3 } else { march - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A moment as people read it: `2026-11-23 12:11:29 UTC`.
pub fn moment_of(unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1000);
    let (day, of_day) = (Date(seconds.div_euclid(86_400)), seconds.rem_euclid(86_400));
    format!("{day} {:02}:{:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let march = (month + 9) % 12;
    let of_year = (153 * march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A span in the words of people: `10 min`, `3.5 h`, `26 weeks`.
pub fn in_words(seconds: f64) -> String {
    let (amount, unit) = match seconds {
        s if s < 120.0 => (s, "s"),
        s if s < 7200.0 => (s / 60.0, "min"),
        s if s < 172_800.0 => (s / 3600.0, "h"),
        s if s < 2.0 * WEEK.as_secs_f64() => (s / 86_400.0, "days"),
        s => (s / WEEK.as_secs_f64(), "weeks"),
    };
    let rounded = (amount * 10.0).round() / 10.0;
    format!("{rounded} {unit}")
}
