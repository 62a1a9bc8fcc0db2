//! What became of each artifact or file of a signing batch: signed, skipped, failed, or left because
//! the signer or another had failed before.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Context;
use super::many::{Name, Rest};
use crate::args::batch::Batch;
use crate::failure::Failure;
use crate::output::one_line;

/// How a batch is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    /// `reference` or `blob`: the member that names one in JSON.
    pub(super) member: &'static str,
    /// What the items are, in the plural.
    pub(super) what: &'static str,
    /// One JSON document is printed at the end, so that all records are kept.
    pub(super) document: bool,
    /// One JSON document for each is printed as it is done.
    pub(super) lines: bool,
    /// `--skip-signed`.
    pub(super) skips: bool,
    /// Nothing more begins after a failure.
    pub(super) fail_fast: bool,
}

/// The count of a batch.
pub(super) struct Tally {
    telling: Telling,
    /// Whether failures say which item they are about.
    many: bool,
    /// Those that were begun and of which nothing was told yet, by number.
    left: BTreeMap<usize, Name>,
    signed: u64,
    skipped: u64,
    unsigned: u64,
    signed_records: Vec<Value>,
    skipped_records: Vec<Value>,
    failures: Vec<Value>,
    failed: Vec<Failure>,
    /// Failures that are not told one by one.
    more: u64,
    signer_failed: bool,
}

impl Telling {
    pub(super) fn new(
        member: &'static str,
        what: &'static str,
        output_json: bool,
        batch: &Batch,
        skips: bool,
    ) -> Self {
        Self {
            member,
            what,
            document: output_json && !batch.json_lines,
            lines: batch.json_lines,
            skips,
            fail_fast: batch.fail_fast,
        }
    }
}

impl Tally {
    /// A batch; `many` is whether it has, or may have, more than one item.
    pub(super) fn new(telling: Telling, many: bool) -> Self {
        Self {
            telling,
            many,
            left: BTreeMap::new(),
            signed: 0,
            skipped: 0,
            unsigned: 0,
            signed_records: Vec::new(),
            skipped_records: Vec::new(),
            failures: Vec::new(),
            failed: Vec::new(),
            more: 0,
            signer_failed: false,
        }
    }

    /// One is begun.
    pub(super) fn begun(&mut self, number: usize, name: Name) {
        self.left.insert(number, name);
    }

    /// One was signed; `record` is what JSON says of it. What is to be printed now is returned.
    pub(super) fn signed(&mut self, number: usize, record: Value) -> Option<Value> {
        let name = self.left.remove(&number);
        self.signed += 1;
        let line = self.line(number, name.as_ref(), "signed", &record);
        if self.telling.document {
            self.signed_records.push(record);
        }
        line
    }

    /// One has the signature already.
    pub(super) fn skipped(&mut self, number: usize, record: Value) -> Option<Value> {
        let name = self.left.remove(&number);
        self.skipped += 1;
        let line = self.line(number, name.as_ref(), "skipped", &record);
        if self.telling.document {
            self.skipped_records.push(record);
        }
        line
    }

    /// One was not signed. Where the signer itself failed, the others that are still under way fail for
    /// the same reason, which is told once.
    pub(super) fn failed(
        &mut self,
        number: usize,
        failure: Failure,
        signer_failed: bool,
    ) -> Option<Value> {
        if signer_failed && self.signer_failed {
            return None;
        }
        self.signer_failed |= signer_failed;
        let name = self.left.remove(&number)?;
        self.unsigned += 1;
        let record = self.failure(&name, &failure.messages.join("\n"), failure.hint.as_deref());
        let line = self.line(number, Some(&name), "failed", &record);
        if self.telling.document {
            self.failures.push(record);
        }
        // The last one of those that stop the batch is told in any case.
        if self.failed.len() < MAX_TOLD || signer_failed {
            self.failed.push(match self.many {
                true => failure.about(&name.to_string()),
                false => failure,
            });
        } else {
            self.more += 1;
        }
        line
    }

    fn failure(&self, name: &Name, error: &str, detail: Option<&str>) -> Value {
        let mut record = Map::new();
        let text = match name.text.as_str() {
            "" => name.to_string(),
            text => text.to_owned(),
        };
        record.insert(self.telling.member.to_owned(), text.into());
        if let Some(line) = name.line() {
            record.insert("line".to_owned(), line.into());
        }
        record.insert("error".to_owned(), error.into());
        record.insert("detail".to_owned(), detail.into());
        record.into()
    }

    /// The document of one item for `--output jsonl`.
    fn line(
        &self,
        number: usize,
        name: Option<&Name>,
        outcome: &str,
        record: &Value,
    ) -> Option<Value> {
        self.telling
            .lines
            .then(|| line(number, name, outcome, record))
    }

    /// Whether there is any use in going on.
    pub(super) fn flow(&self) -> ControlFlow<()> {
        if self.signer_failed || self.telling.fail_fast && self.unsigned > 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Ends the batch: tells the rest of it in JSON, and returns its failure, if there is one.
    ///
    /// # Errors
    /// Something was not signed, or nothing was there to sign.
    pub(super) fn finish(mut self, rest: Rest, context: &Context) -> Result<(), Failure> {
        let interrupted = context.interrupts.interrupt().is_raised();
        let why = if self.signer_failed {
            "not tried: the signer failed earlier"
        } else if interrupted {
            "not tried: interrupted"
        } else {
            "not tried: another one failed earlier"
        };
        let abandoned = match self.signer_failed {
            true => why,
            false => "interrupted while in progress; it may or may not be signed",
        };
        let begun = std::mem::take(&mut self.left);
        let first = begun.keys().next_back().map_or(0, |last| last + 1);
        let mut left = Vec::new();
        let mut lines = Vec::new();
        let numbered = begun
            .into_iter()
            .map(|(number, name)| (number, name, abandoned));
        let told =
            usize::try_from(self.signed + self.skipped + self.unsigned).unwrap_or(usize::MAX);
        let first = first.max(told);
        let rest_numbered = (first..)
            .zip(rest.items)
            .map(|(number, name)| (number, name, why));
        for (number, name, error) in numbered.chain(rest_numbered) {
            let record = self.failure(&name, error, None);
            lines.extend(self.line(number, Some(&name), "failed", &record));
            if self.telling.document {
                self.failures.push(record);
            }
            left.push(name);
        }
        for line in lines {
            context.console.json_line(&line)?;
        }
        if self.telling.document {
            context.console.json(&self.document(rest.list.as_ref()))?;
        }
        if let Some(list) = rest.empty_list
            && self.signed + self.skipped + self.unsigned == 0
            && left.is_empty()
        {
            return Err(nothing_listed(&list));
        }
        self.result(&left, rest.list, interrupted)
    }

    /// The document of `--output json`: every one of the batch is in it.
    fn document(&self, list: Option<&(Arc<str>, u64)>) -> Value {
        let mut document = Map::new();
        document.insert("signed".to_owned(), self.signed_records.clone().into());
        if self.telling.skips {
            document.insert("skipped".to_owned(), self.skipped_records.clone().into());
        }
        document.insert("failed".to_owned(), self.failures.clone().into());
        if let Some((list, line)) = list {
            let rest = json!({"list": &**list, "afterLine": line});
            document.insert("notTried".to_owned(), rest);
        }
        document.into()
    }

    /// The failure of the batch, if there is one.
    fn result(
        mut self,
        left: &[Name],
        list: Option<(Arc<str>, u64)>,
        interrupted: bool,
    ) -> Result<(), Failure> {
        let left_count = u64::try_from(left.len()).unwrap_or(u64::MAX);
        let unsigned = self.unsigned + left_count;
        let total = self.signed + self.skipped + unsigned;
        if self.failed.is_empty() && (unsigned > 0 || list.is_some()) && interrupted {
            self.failed.push(Failure::failed("interrupted"));
        }
        if let Some(last) = self.failed.last_mut()
            && self.many
        {
            if self.more > 0 {
                let more = self.more;
                last.messages.push(format!(
                    "{more} more failed; --output jsonl reports each as it fails"
                ));
            }
            let what = self.telling.what;
            let mut text = format!("{unsigned} of {total} {what} were not signed");
            if !left.is_empty() {
                text.push_str("; not tried after the failure:");
            }
            for name in left.iter().take(MAX_NAMED) {
                text = format!("{text}\n  {}", one_line(&name.to_string()));
            }
            if let Some(more @ 1..) = left.len().checked_sub(MAX_NAMED) {
                text = format!("{text}\n  and {more} more, which --output json names");
            }
            last.messages.push(text);
            if let Some((list, line)) = list {
                last.messages
                    .push(format!("nothing after line {line} of {list} was tried"));
            }
        }
        Failure::all(self.failed).map_or(Ok(()), Err)
    }
}

/// A list without anything in it.
pub(super) fn nothing_listed(list: &str) -> Failure {
    Failure::usage(format!("{list} is empty"))
}

/// The document of one item for `--output jsonl`: its number in the batch, what became of it, and its
/// record.
pub(super) fn line(number: usize, name: Option<&Name>, outcome: &str, record: &Value) -> Value {
    let mut line = Map::new();
    line.insert("index".to_owned(), number.into());
    if let Some(number) = name.and_then(Name::line) {
        line.insert("line".to_owned(), number.into());
    }
    line.insert("outcome".to_owned(), outcome.into());
    if let Value::Object(record) = record {
        line.extend(record.clone());
    }
    line.into()
}

/// How many of those that are left the text names.
const MAX_NAMED: usize = 50;

/// How many failures are told one by one at the end, so that memory is bounded.
pub(super) const MAX_TOLD: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(fail_fast: bool) -> Telling {
        Telling {
            member: "reference",
            what: "artifacts",
            document: true,
            lines: true,
            skips: true,
            fail_fast,
        }
    }

    fn tally(count: usize) -> Tally {
        let mut tally = Tally::new(telling(false), count > 1);
        for number in 0..count {
            tally.begun(number, Name::typed(format!("r{number}")));
        }
        tally
    }

    /// What `finish` makes of those that are left.
    fn left(tally: &mut Tally) -> Vec<Name> {
        std::mem::take(&mut tally.left).into_values().collect()
    }

    /// CLI-32: each one of a batch is told of once, as signed, as failed or as left.
    #[test]
    fn cli_32_every_one_is_told_of() {
        let mut tally = tally(6);
        let line = tally.signed(0, json!({"reference": "r0@d"}));
        assert_eq!(
            line,
            Some(json!({"index": 0, "outcome": "signed", "reference": "r0@d"}))
        );
        let line = tally.failed(1, Failure::failed("pushed nowhere"), false);
        let told = json!({"index": 1, "outcome": "failed", "reference": "r1", "error": "pushed nowhere", "detail": null});
        assert_eq!(line, Some(told));
        assert!(tally.flow().is_continue());
        assert!(
            tally
                .failed(2, Failure::failed("plugin died"), true)
                .is_some()
        );
        assert!(tally.flow().is_break());
        // Under way when the signer failed: one is done all the same, one fails as well.
        tally.signed(3, json!({"reference": "r3@d"}));
        assert_eq!(tally.failed(4, Failure::failed("plugin died"), true), None);
        tally.skipped(5, json!({"reference": "r5@d"}));
        assert_eq!(
            tally.document(None),
            json!({
                "signed": [{"reference": "r0@d"}, {"reference": "r3@d"}],
                "skipped": [{"reference": "r5@d"}],
                "failed": [
                    {"reference": "r1", "error": "pushed nowhere", "detail": null},
                    {"reference": "r2", "error": "plugin died", "detail": null},
                ],
            })
        );
        let left = left(&mut tally);
        let failure = tally.result(&left, None, false).unwrap_err();
        assert_eq!(
            failure.messages,
            [
                "r1: pushed nowhere",
                "r2: plugin died",
                "3 of 6 artifacts were not signed; not tried after the failure:\n  r4",
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let mut many = tally(60);
        many.failed(0, Failure::failed("no"), true);
        let others = left(&mut many);
        let messages = many.result(&others, None, false).unwrap_err().messages;
        assert!(messages[1].ends_with("\n  r50\n  and 9 more, which --output json names"));
        // One alone needs no count.
        let mut one = tally(1);
        one.failed(0, Failure::failed("no"), true);
        assert_eq!(one.result(&[], None, false).unwrap_err().messages, ["no"]);
        // Failures without end are counted.
        let mut many = tally(MAX_TOLD + 5);
        for number in 0..MAX_TOLD + 5 {
            many.failed(number, Failure::failed("no"), false);
        }
        let list = Some(("list".into(), 7));
        let messages = many.result(&[], list, false).unwrap_err().messages;
        assert_eq!(messages.len(), MAX_TOLD + 3);
        assert_eq!(
            messages[MAX_TOLD],
            "5 more failed; --output jsonl reports each as it fails"
        );
        assert_eq!(
            messages[MAX_TOLD + 1],
            "1005 of 1005 artifacts were not signed"
        );
        assert_eq!(
            messages[MAX_TOLD + 2],
            "nothing after line 7 of list was tried"
        );
    }

    #[test]
    fn a_line_of_a_list_is_named_by_its_number() {
        let name = |text: &str| Name {
            text: text.to_owned(),
            listed: Some(("refs.txt".into(), 12)),
        };
        let mut tally = Tally::new(telling(true), true);
        tally.begun(0, name("a:1"));
        tally.begun(1, name(""));
        let told = tally
            .failed(0, Failure::failed("not found"), false)
            .unwrap();
        assert_eq!(
            (&told["line"], &told["reference"]),
            (&json!(12), &json!("a:1"))
        );
        assert!(tally.flow().is_break());
        tally.failed(1, Failure::failed("it has a zero byte"), false);
        let messages = tally.result(&[], None, false).unwrap_err().messages;
        assert_eq!(messages[0], "refs.txt line 12, a:1: not found");
        assert_eq!(messages[1], "refs.txt line 12: it has a zero byte");
    }
}
