//! What became of each artifact or file of a signing batch: signed, failed, or left because the
//! signer had failed before.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::one_line;

/// The count of a batch, in the order of its results.
pub(super) struct Tally {
    /// `reference` or `blob`: the member that names one in JSON.
    member: &'static str,
    total: usize,
    /// Those of which nothing was told yet.
    left: VecDeque<String>,
    signed: Vec<Value>,
    failures: Vec<Value>,
    failed: Vec<Failure>,
    signer_failed: bool,
}

impl Tally {
    /// A batch of `names`, in order.
    pub(super) fn new(member: &'static str, names: Vec<String>) -> Self {
        Self {
            member,
            total: names.len(),
            left: names.into(),
            signed: Vec::new(),
            failures: Vec::new(),
            failed: Vec::new(),
            signer_failed: false,
        }
    }

    /// One was signed; `record` is what JSON says of it.
    pub(super) fn signed(&mut self, name: &str, record: Value) {
        self.told(name);
        self.signed.push(record);
    }

    /// One was not. Where the signer itself failed, the others that are still under way fail for
    /// the same reason, which is told once.
    pub(super) fn failed(&mut self, name: &str, failure: Failure, signer_failed: bool) {
        if signer_failed && self.signer_failed {
            return;
        }
        self.signer_failed |= signer_failed;
        self.told(name);
        self.failures
            .push(json!({self.member: name, "error": failure.messages.join("\n")}));
        self.failed.push(if self.total > 1 {
            failure.about(name)
        } else {
            failure
        });
    }

    fn told(&mut self, name: &str) {
        if let Some(at) = self.left.iter().position(|left| left == name) {
            self.left.remove(at);
        }
    }

    /// Whether there is any use in going on.
    pub(super) fn flow(&self) -> ControlFlow<()> {
        if self.signer_failed {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The document of `--output json`: every one of the batch is in it.
    pub(super) fn document(&self) -> Value {
        let left = self.left.iter().map(
            |name| json!({self.member: name, "error": "not tried: the signer had failed before"}),
        );
        let failed: Vec<_> = self.failures.iter().cloned().chain(left).collect();
        json!({"signed": self.signed, "failed": failed})
    }

    /// The failure of the batch, if there is one. `what` it is about stands in the plural.
    pub(super) fn result(mut self, what: &str) -> Result<(), Failure> {
        let unsigned = self.total.saturating_sub(self.signed.len());
        if let Some(last) = self.failed.last_mut()
            && self.total > 1
        {
            let mut text = format!("{unsigned} of {} {what} were not signed", self.total);
            if !self.left.is_empty() {
                text.push_str("; not tried after the failure:");
            }
            for name in self.left.iter().take(MAX_NAMED) {
                text = format!("{text}\n  {}", one_line(name));
            }
            if let Some(more @ 1..) = self.left.len().checked_sub(MAX_NAMED) {
                text = format!("{text}\n  and {more} more, which --output json names");
            }
            last.messages.push(text);
        }
        Failure::all(self.failed).map_or(Ok(()), Err)
    }
}

/// How many of those that are left the text names.
const MAX_NAMED: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("r{i}")).collect()
    }

    /// CLI-32: each one of a batch is told of once, as signed, as failed or as left.
    #[test]
    fn cli_32_every_one_is_told_of() {
        let mut tally = Tally::new("reference", names(5));
        tally.signed("r0", json!({"reference": "r0@d"}));
        tally.failed("r1", Failure::failed("pushed nowhere"), false);
        assert!(tally.flow().is_continue());
        tally.failed("r2", Failure::failed("plugin died"), true);
        assert!(tally.flow().is_break());
        // Under way when the signer failed: one is done all the same, one fails as well.
        tally.signed("r3", json!({"reference": "r3@d"}));
        tally.failed("r4", Failure::failed("plugin died"), true);
        assert_eq!(
            tally.document(),
            json!({
                "signed": [{"reference": "r0@d"}, {"reference": "r3@d"}],
                "failed": [
                    {"reference": "r1", "error": "pushed nowhere"},
                    {"reference": "r2", "error": "plugin died"},
                    {"reference": "r4", "error": "not tried: the signer had failed before"},
                ],
            })
        );
        let failure = tally.result("artifacts").unwrap_err();
        assert_eq!(
            failure.messages,
            [
                "r1: pushed nowhere",
                "r2: plugin died",
                "3 of 5 artifacts were not signed; not tried after the failure:\n  r4",
            ]
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let mut tally = Tally::new("blob", names(60));
        tally.failed("r0", Failure::failed("no"), true);
        let messages = tally.result("files").unwrap_err().messages;
        assert!(messages[1].ends_with("\n  r50\n  and 9 more, which --output json names"));
        // One alone needs no count.
        let mut tally = Tally::new("blob", names(1));
        tally.failed("r0", Failure::failed("no"), true);
        assert_eq!(tally.result("files").unwrap_err().messages, ["no"]);
    }
}
