//! Durations, amounts and the other small notations inside scalars.

/// Seconds of `1h 30m`, `90 minutes`, `2 hours and 5 seconds` or a bare number; `None` when it is none of these or overflows.
pub(crate) fn duration_s(text: &str) -> Option<u64> {
    if let Some(seconds) = digits(text.trim()) {
        return Some(seconds);
    }
    let mut rest = text.trim_start();
    let mut total = 0u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after.trim_start(), |c| c.is_ascii_alphabetic());
        total = total.checked_add(digits(number)?.checked_mul(unit_s(unit)?)?)?;
        rest = after.trim_start_matches(',').trim_start();
        if let Some(after) = rest.strip_prefix("and ") {
            rest = after.trim_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    (!text.trim().is_empty()).then_some(total)
}

fn unit_s(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        "mo" | "mos" | "month" | "months" => 30 * 86_400,
        "y" | "yr" | "yrs" | "year" | "years" => 365 * 86_400,
        _ => return None,
    })
}

/// Thousandths of a decimal such as `2` or `0.125`; `None` for more than three decimals, a sign or an exponent.
pub(crate) fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 3 {
        return None;
    }
    let fraction = digits(fraction)? * 10u64.pow(3 - u32::try_from(fraction.len()).ok()?);
    digits(whole)?.checked_mul(1_000)?.checked_add(fraction)
}

/// MiB of `512MiB`, `1.5 GiB`, `2TiB` or a bare number of MiB; `None` for anything else or when it is not whole.
pub(crate) fn mib(text: &str) -> Option<u64> {
    let (number, unit) = split(text.trim(), |c| c.is_ascii_digit() || c == '.');
    let factor = match unit.trim_start() {
        "" | "MiB" => 1,
        "GiB" => 1 << 10,
        "TiB" => 1 << 20,
        _ => return None,
    };
    let thousandths = thousandths(number)?.checked_mul(factor)?;
    thousandths.is_multiple_of(1_000).then_some(thousandths / 1_000)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// A number without sign; `u64::from_str` alone would take `+5`.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
