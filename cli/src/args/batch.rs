//! Flags of the commands that take many artifacts or files at once.

use std::num::NonZeroUsize;

use super::flags::{self, Reader};
use super::{Arg, Output, Usage};

/// How a batch is read, split, and done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Batch {
    /// `--from-file`: where more of it is listed, `-` for standard input.
    pub(crate) from_file: Option<String>,
    /// `--shard`: the part of it that is done here.
    pub(crate) shard: Option<Shard>,
    /// `--jobs`: how many are worked on at a time.
    pub(crate) jobs: Option<NonZeroUsize>,
    /// `--fail-fast`.
    pub(crate) fail_fast: bool,
    /// `--output jsonl`: one document for each, as it is done.
    pub(crate) json_lines: bool,
}

/// One of several parts of a batch (0-based).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Shard {
    pub(crate) index: u64,
    pub(crate) count: u64,
}

/// The flags of [`Batch`]; `--output` is [`output`].
pub(super) fn batch(listed: &'static str) -> [Arg; 4] {
    [
        flags::value("from-file", "FILE", listed),
        flags::value("shard", "I/N", "Process only part I of N, counted from 0"),
        flags::value(
            "jobs",
            "N",
            "Maximum number of items in progress at once [default: chosen to suit token, registry and machine]",
        ),
        flags::switch("fail-fast", "Stop after the first failure"),
    ]
}

/// `--skip-signed`.
pub(super) fn skip_signed() -> Arg {
    flags::switch(
        "skip-signed",
        "Skip items that this certificate has already signed the same way",
    )
}

/// `--output` of a batch.
pub(super) fn output() -> Arg {
    flags::value(
        "output",
        "FORMAT",
        "Output format: text, json, or jsonl (a line for each item as it is done)",
    )
    .short('o')
}

impl Batch {
    /// # Errors
    /// Values that can't be read.
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, Usage> {
        let from_file = reader.text("from-file");
        if from_file.as_deref() == Some("") {
            return Err(Usage::new("--from-file cannot be empty".to_owned()));
        }
        let jobs = reader.number("jobs", "--jobs")?;
        let jobs = jobs.map(|number| {
            let jobs = usize::try_from(number).ok().and_then(NonZeroUsize::new);
            let jobs = jobs.filter(|jobs| jobs.get() <= MAX_JOBS);
            jobs.ok_or_else(|| {
                Usage::new(format!("--jobs must be from 1 to {MAX_JOBS}, not {number}"))
            })
        });
        Ok(Self {
            from_file,
            shard: reader.text("shard").map(|text| shard(&text)).transpose()?,
            jobs: jobs.transpose()?,
            fail_fast: reader.switch("fail-fast")?,
            json_lines: reader.text("output").as_deref() == Some("jsonl"),
        })
    }

    /// Standard input can be read once.
    pub(super) fn check_input(&self, typed: &[String]) -> Result<(), Usage> {
        let is_stdin = |text: &str| text == "-";
        if self.from_file.as_deref().is_some_and(is_stdin) && typed.iter().any(|t| is_stdin(t)) {
            return Err(Usage::new("- may be given only once".to_owned()));
        }
        Ok(())
    }
}

/// `--output` of a batch (CLI-21): text by default.
pub(super) fn read_output(reader: &Reader<'_>) -> Result<Output, Usage> {
    match reader.text("output").as_deref() {
        Some("jsonl") => Ok(Output::Json),
        _ => reader.output(),
    }
}

fn shard(text: &str) -> Result<Shard, Usage> {
    let wrong = || {
        Usage::new(format!(
            "invalid argument {text:?} for \"--shard\" flag: it must be I/N, with I from 0 to N-1, for instance 0/8"
        ))
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    let (index, count) = (
        number(index).ok_or_else(wrong)?,
        number(count).ok_or_else(wrong)?,
    );
    if index >= count {
        return Err(wrong());
    }
    Ok(Shard { index, count })
}

/// More at a time than any token, registry or machine can use.
const MAX_JOBS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_zero() {
        for (text, index, count) in [("0/1", 0, 1), ("0/8", 0, 8), ("7/8", 7, 8), ("007/8", 7, 8)] {
            assert_eq!(shard(text).unwrap(), Shard { index, count });
        }
        for text in [
            "",
            "1",
            "/",
            "1/",
            "/2",
            "8/8",
            "9/8",
            "0/0",
            "-1/2",
            "+1/2",
            "1/2/3",
            " 1/2",
            "a/b",
            "0/18446744073709551616",
        ] {
            assert!(shard(text).is_err(), "{text}");
        }
    }
}
