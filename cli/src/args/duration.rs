//! Durations as Go writes them (`24h`, `1h30m`, `1.5h`), for `--expiry` (CLI-27) and `--deadline`.

use std::time::Duration;

use super::Usage;

/// Reads the value of `--expiry`: not negative, whole seconds; zero means no expiry.
pub(super) fn expiry(text: &str) -> Result<Option<Duration>, Usage> {
    let nanoseconds = read(text, EXPIRY)?;
    if nanoseconds < 0 {
        return Err(Usage::new(
            "expiry duration cannot be a negative value".to_owned(),
        ));
    }
    if nanoseconds % SECOND != 0 {
        return Err(Usage::new(
            "expiry duration supports minimum granularity of seconds".to_owned(),
        ));
    }
    let seconds = u64::try_from(nanoseconds / SECOND).unwrap_or(0);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

/// Whether `text` is a duration at all.
pub(super) fn check(text: &str) -> Result<(), Usage> {
    read(text, EXPIRY).map(drop)
}

/// Reads the value of `--deadline`: longer than nothing.
pub(super) fn deadline(text: &str) -> Result<Duration, Usage> {
    positive(text, "--deadline")
}

/// Reads the value of a flag: longer than nothing.
pub(super) fn positive(text: &str, flag: &str) -> Result<Duration, Usage> {
    let nanoseconds = read(text, flag)?;
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds @ 1..) => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(Usage::new(format!(
            "invalid argument {text:?} for \"{flag}\" flag: it must be longer than zero"
        ))),
    }
}

/// Reads the value of `--timeout`: what containerd gives a verifier, between a second and ten minutes.
pub(super) fn timeout(text: &str) -> Result<Duration, Usage> {
    let nanoseconds = read(text, "--timeout")?;
    match u64::try_from(nanoseconds).map(Duration::from_nanos) {
        Ok(time) if (Duration::from_secs(1)..=Duration::from_secs(600)).contains(&time) => Ok(time),
        _ => Err(Usage::new(format!(
            "invalid argument {text:?} for \"--timeout\" flag: it must be between 1s and 10m"
        ))),
    }
}

/// How the flag is spelt in messages.
const EXPIRY: &str = "-e, --expiry";

fn read(text: &str, flag: &str) -> Result<i128, Usage> {
    parse(text).ok_or_else(|| {
        let why = match text.trim_start_matches(['+', '-']) {
            "" => "invalid duration".to_owned(),
            rest if rest.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                "missing unit in duration".to_owned()
            }
            rest => match unknown_unit(rest) {
                Some(unit) => format!("unknown unit {unit:?} in duration"),
                None => "invalid duration".to_owned(),
            },
        };
        Usage::new(format!(
            "invalid argument {text:?} for \"{flag}\" flag: time: {why} {text:?}"
        ))
    })
}

const SECOND: i128 = 1_000_000_000;

/// Longest duration that Go's 64-bit nanoseconds hold, about 292 years.
const LONGEST: i128 = i64::MAX as i128;

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// Nanoseconds of a Go duration, or nothing where it is malformed or too long.
fn parse(text: &str) -> Option<i128> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total = total.checked_add(scaled(number, scale)?)?;
        if total > LONGEST {
            return None;
        }
        rest = tail;
    }
    Some(if negative { -total } else { total })
}

/// The first unit that is none, where a number stands before each.
fn unknown_unit(text: &str) -> Option<&str> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    while rest.starts_with(is_number) {
        rest = rest.trim_start_matches(is_number);
        let (unit, tail) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return (!unit.is_empty()).then_some(unit);
        }
        rest = tail;
    }
    None
}

/// `number` (digits with at most one point) times `scale`, truncated.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut value = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars().take(18) {
        place /= 10;
        value = value.checked_add(i128::from(digit.to_digit(10)?) * place)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_27_go_durations() {
        for (text, seconds) in [
            ("24h", 86_400),
            ("1h30m", 5_400),
            ("1.5h", 5_400),
            ("+90s", 90),
            ("1000ms", 1),
            ("8760h0m0s", 31_536_000),
        ] {
            assert_eq!(
                expiry(text).unwrap(),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(expiry("0").unwrap(), None);
        assert_eq!(expiry("0s").unwrap(), None);
    }

    #[test]
    fn deadlines() {
        assert_eq!(deadline("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(deadline("1500ms").unwrap(), Duration::from_millis(1500));
        for bad in ["0", "0s", "-1s"] {
            let fault = deadline(bad).unwrap_err().message;
            assert!(fault.ends_with("it must be longer than zero"), "{fault}");
        }
        assert_eq!(
            deadline("10").unwrap_err().message,
            r#"invalid argument "10" for "--deadline" flag: time: missing unit in duration "10""#
        );
    }

    #[test]
    fn cli_27_faults() {
        let fault = |text| expiry(text).unwrap_err().message;
        assert_eq!(fault("-1h"), "expiry duration cannot be a negative value");
        assert_eq!(
            fault("1500ms"),
            "expiry duration supports minimum granularity of seconds"
        );
        assert_eq!(
            fault("1d"),
            r#"invalid argument "1d" for "-e, --expiry" flag: time: unknown unit "d" in duration "1d""#
        );
        assert_eq!(
            fault("12"),
            r#"invalid argument "12" for "-e, --expiry" flag: time: missing unit in duration "12""#
        );
        for bad in [
            "",
            "h",
            ".h",
            "1..2h",
            "9999999999999999999999h",
            "1h-2m",
            "3000000h",
        ] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
    }
}
