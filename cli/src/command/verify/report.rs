//! What is told of a verification: lines as they come, or one JSON document at the end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hardsign_core::revocation::Checked as Looked;
use hardsign_core::text::WithCauses;
use hardsign_core::verify::{Accepted, Attached, Outcome, Verified};
use hardsign_core::x509::Certificate;
use serde_json::{Map, Value, json};

use super::super::Context;
use super::super::many::{Name, Rest};
use super::super::tally::{MAX_TOLD, line, nothing_listed};
use crate::args::Output;
use crate::failure::Failure;
use crate::failure::verification::{Refusal, attached_fault, not_accepted};
use crate::output::{Mark, device, json, one_line, signer};

/// What became of one artifact or file: its name, and the answer.
pub(super) struct Checked {
    /// A warning about it was shown: the reference is a tag.
    pub(super) warned: bool,
    /// The signature files given, for a file.
    pub(super) files: Vec<String>,
    pub(super) result: Result<Outcome, Refusal>,
}

/// How a batch is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    /// `reference` or `blob`: the member that names one in JSON.
    pub(super) member: &'static str,
    pub(super) output: Output,
    /// `--output jsonl`.
    pub(super) lines: bool,
    /// Whether failures say what they are about.
    pub(super) many: bool,
    /// Nothing more begins after a failure.
    pub(super) fail_fast: bool,
}

/// What is told of a batch.
pub(super) struct Report {
    telling: Telling,
    /// Those that were begun and of which nothing was told yet, by number.
    left: BTreeMap<usize, Name>,
    told: usize,
    verified: Vec<Value>,
    skipped: Vec<Value>,
    failed: Vec<Value>,
    failures: Vec<Failure>,
    /// Failures that are not told one by one.
    more: u64,
}

impl Report {
    pub(super) fn new(telling: Telling) -> Self {
        Self {
            telling,
            left: BTreeMap::new(),
            told: 0,
            verified: vec![],
            skipped: vec![],
            failed: vec![],
            failures: vec![],
            more: 0,
        }
    }

    /// Whether nothing was begun.
    pub(super) fn is_empty(&self) -> bool {
        self.told == 0 && self.left.is_empty()
    }

    /// One is begun.
    pub(super) fn begun(&mut self, number: usize, name: Name) {
        self.left.insert(number, name);
    }

    /// Tells of one.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(super) fn add(
        &mut self,
        number: usize,
        checked: Checked,
        context: &Context,
    ) -> Result<(), Failure> {
        let Some(name) = self.left.remove(&number) else {
            return Ok(());
        };
        self.told += 1;
        let output = self.telling.output;
        let (outcome, record) = match checked.result {
            Ok(Outcome::Verified(verified)) => {
                print(
                    &verified,
                    output,
                    checked.warned,
                    self.telling.many,
                    context,
                )?;
                if output == Output::Text {
                    return Ok(());
                }
                (
                    "verified",
                    describe(&verified, self.telling.member, &checked.files),
                )
            }
            Ok(Outcome::Skipped(skipped)) => {
                if output == Output::Text {
                    if checked.warned {
                        context.console.line("")?;
                    }
                    context.console.line(format_args!(
                        "Trust policy is configured to skip signature verification for {}",
                        one_line(&skipped.reference)
                    ))?;
                }
                let record = json!({
                    self.telling.member: skipped.reference,
                    "statement": skipped.statement,
                });
                ("skipped", record)
            }
            Err(refusal) => ("failed", self.refused(&name, refusal)),
        };
        if self.telling.lines {
            let line = line(number, Some(&name), outcome, &record);
            context.console.json_line(&line)?;
        } else if output == Output::Json {
            match outcome {
                "verified" => self.verified.push(record),
                "skipped" => self.skipped.push(record),
                _ => self.failed.push(record),
            }
        }
        Ok(())
    }

    /// Notes a failure, and returns its record.
    fn refused(&mut self, name: &Name, refusal: Refusal) -> Value {
        let Refusal {
            failure,
            error,
            not_accepted,
        } = refusal;
        let detail = failure.hint.as_deref();
        let record = failed(self.telling.member, name, &error, detail, &not_accepted);
        if self.failures.len() < MAX_TOLD {
            self.failures.push(match self.telling.many {
                true => failure.about(&name.to_string()),
                false => failure,
            });
        } else {
            self.more += 1;
        }
        record
    }

    /// Whether there is any use in going on.
    pub(super) fn flow(&self) -> ControlFlow<()> {
        match self.telling.fail_fast && !self.failures.is_empty() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Ends the batch: tells the rest of it, and returns its failure, if there is one.
    ///
    /// # Errors
    /// Something was not verified, or nothing was there to verify.
    pub(super) fn finish(mut self, rest: Rest, context: &Context) -> Result<(), Failure> {
        let interrupted = context.interrupts.interrupt().is_raised();
        let why = match interrupted {
            true => "not verified: interrupted",
            false => "not tried: another one failed earlier",
        };
        let begun = std::mem::take(&mut self.left);
        let first = begun.keys().next_back().map_or(0, |last| last + 1);
        let first = first.max(self.told);
        let left: Vec<_> = begun.into_iter().chain((first..).zip(rest.items)).collect();
        for (number, name) in &left {
            let record = failed(self.telling.member, name, why, None, &[]);
            if self.telling.lines {
                let line = line(*number, Some(name), "failed", &record);
                context.console.json_line(&line)?;
            } else if self.telling.output == Output::Json {
                self.failed.push(record);
            }
        }
        if self.telling.output == Output::Json && !self.telling.lines {
            let mut document = json!({
                "verified": self.verified,
                "skipped": self.skipped,
                "failed": self.failed,
            });
            if let (Some((list, line)), Value::Object(document)) = (&rest.list, &mut document) {
                let rest = json!({"list": &**list, "afterLine": line});
                document.insert("notTried".to_owned(), rest);
            }
            context.console.json(&document)?;
        }
        if let Some(list) = rest.empty_list
            && self.told == 0
            && left.is_empty()
        {
            return Err(nothing_listed(&list));
        }
        if self.failures.is_empty() && (!left.is_empty() || rest.list.is_some()) {
            self.failures.push(Failure::failed("interrupted"));
        }
        if let Some(last) = self.failures.last_mut() {
            if self.more > 0 {
                let more = self.more;
                last.messages.push(format!(
                    "{more} more failed; --output jsonl reports each as it fails"
                ));
            }
            if !left.is_empty() {
                let count = left.len();
                last.messages.push(format!("{count} more were not tried"));
            }
            if let Some((list, line)) = rest.list {
                last.messages
                    .push(format!("nothing after line {line} of {list} was tried"));
            }
        }
        Failure::all(self.failures).map_or(Ok(()), Err)
    }
}

/// What JSON says of one that was not verified.
fn failed(
    member: &'static str,
    name: &Name,
    error: &str,
    detail: Option<&str>,
    not_accepted: &[Value],
) -> Value {
    let reference = match name.text.as_str() {
        "" => name.to_string(),
        text => text.to_owned(),
    };
    let mut record = json!({
        member: reference,
        "error": error,
        "detail": detail,
        "notAccepted": not_accepted,
    });
    if let (Some(line), Value::Object(record)) = (name.line(), &mut record) {
        record.insert("line".to_owned(), line.into());
    }
    record
}

/// CLI-37: an empty line parts the result from warnings above it.
pub(in crate::command) fn print(
    verified: &Verified,
    output: Output,
    mut warned: bool,
    many: bool,
    context: &Context,
) -> Result<(), Failure> {
    let console = &context.console;
    let attached = || verified.attached().iter().map(|a| &a.verified);
    let of_attached = attached().flat_map(|verified| verified.signatures());
    for accepted in verified.signatures().iter().chain(of_attached) {
        for logged in accepted.signature.report().logged() {
            warned = true;
            console.warning(format_args!(
                "{} was set to \"log\" and failed with error: {}",
                logged.check,
                WithCauses(logged.error)
            ));
        }
    }
    if output == Output::Json {
        return Ok(());
    }
    if warned {
        console.line("")?;
    }
    let reference = one_line(verified.reference());
    console.verdict(
        Mark::Good,
        "Successfully verified signature",
        format_args!(" for {reference}"),
    )?;
    // Nothing but its own lines where we stand in for the reference.
    let explains = context.program != "notation";
    let in_full = !many || console.is_verbose();
    if explains {
        signers(verified, in_full, context)?;
        if in_full {
            policy(verified, context)?;
        }
    }
    for attached in verified.attached() {
        console.line(format_args!(
            "Successfully verified attached {} {}",
            one_line(&attached.artifact_type),
            one_line(attached.verified.reference())
        ))?;
        if explains {
            signers(&attached.verified, console.is_verbose(), context)?;
        }
    }
    let metadata = &verified.target().annotations;
    if !metadata.is_empty() {
        console.line("")?;
        console.line("The artifact was signed with the following user metadata.")?;
        console.line("")?;
        let rows: Vec<_> = metadata
            .iter()
            .map(|(k, v)| [k.clone(), v.clone()])
            .collect();
        console.table(["KEY", "VALUE"], &rows)?;
    }
    Ok(())
}

/// Who signed: each in full, or in one line.
fn signers(verified: &Verified, in_full: bool, context: &Context) -> Result<(), Failure> {
    for accepted in verified.signatures() {
        match in_full {
            true => context.console.fields(&signer::rows(&accepted.signature))?,
            false => context
                .console
                .line(format_args!("  {}", signer::in_short(&accepted.signature)))?,
        }
    }
    Ok(())
}

/// What was decided under.
fn policy(verified: &Verified, context: &Context) -> Result<(), Failure> {
    let statement = format!(
        "statement {:?}, level {}",
        verified.statement(),
        verified.level()
    );
    let file = verified.policy().path.display().to_string();
    // As wide as the names above them.
    Ok(context
        .console
        .fields(&[("policy   ", statement), ("in", file)])?)
}

/// What `--output json` says of a verified artifact or file (SEC-31: with every digest); `member` is
/// what names it there.
pub(in crate::command) fn describe(
    verified: &Verified,
    member: &'static str,
    files: &[String],
) -> Value {
    let target = verified.target();
    json!({
        member: verified.reference(),
        "artifact": {"mediaType": target.media_type, "digest": target.digest, "size": target.size},
        "userMetadata": target.annotations,
        "statement": verified.statement(),
        "level": verified.level().name(),
        "policy": {
            "path": verified.policy().path,
            "sha256": hex::encode(verified.policy().sha256),
        },
        "hardwareRule": verified.hardware().map(device::rule),
        "signatures": verified.signatures().iter().map(accepted).collect::<Vec<_>>(),
        "attached": verified.attached().iter().map(attached).collect::<Vec<_>>(),
        "notAccepted": not_accepted(verified.attempts(), files),
    })
}

fn attached(attached: &Attached) -> Value {
    let verified = &attached.verified;
    let target = verified.target();
    json!({
        "artifactType": attached.artifact_type,
        "sameSigner": attached.same_signer,
        "reference": verified.reference(),
        "artifact": {"mediaType": target.media_type, "digest": target.digest, "size": target.size},
        "signatures": verified.signatures().iter().map(accepted).collect::<Vec<_>>(),
        "notAccepted": attached
            .passed_over
            .iter()
            .map(|p| json!({"digest": p.digest, "error": attached_fault(&p.fault)}))
            .collect::<Vec<_>>(),
    })
}

fn accepted(accepted: &Accepted) -> Value {
    let signature = accepted.signature.signature();
    let leaf = signature.chain().leaf();
    let logged: Map<String, Value> = accepted
        .signature
        .report()
        .logged()
        .map(|logged| {
            (
                logged.check.to_string(),
                Value::String(WithCauses(logged.error).to_string()),
            )
        })
        .collect();
    json!({
        "digest": accepted.manifest,
        "signatureEnvelopeType": signature.format().media_type(),
        "signatureAlgorithm": signature.algorithm(),
        "signingTime": signature.attributes().signing_time.to_string(),
        "expiry": signature.attributes().expiry.map(|expiry| expiry.to_string()),
        "signer": signer::certificate(leaf),
        "trustedBy": signer::trusted_by(accepted.signature.anchors()),
        "timestamp": signer::timestamp(accepted.signature.report().timestamp.as_deref()),
        "logged": logged,
        "hardware": accepted.signature.report().attested.as_deref().map(device::proven),
        "revocation": revocation(accepted),
    })
}

/// What is known about each certificate of the chain, leaf first; nothing where it was not checked
/// here.
fn revocation(accepted: &Accepted) -> Vec<Value> {
    let chain_of = accepted.signature.signature().chain().certificates();
    let checked = &accepted.signature.report().certificates;
    let describe = |(certificate, looked): (&Certificate, &Looked)| {
        let mut described = json!({"subject": certificate.subject().to_string()});
        if let (Some(members), Value::Object(looked)) =
            (described.as_object_mut(), json::checked(looked))
        {
            members.extend(looked);
        }
        described
    };
    chain_of.iter().zip(checked).map(describe).collect()
}
