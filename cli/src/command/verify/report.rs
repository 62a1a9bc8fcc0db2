//! What is told of a verification: lines as they come, or one JSON document at the end.

use hardsign_core::revocation::{Checked as Looked, Status};
use hardsign_core::text::WithCauses;
use hardsign_core::verify::{Accepted, Attached, Outcome, Verified};
use hardsign_core::x509::Certificate;
use serde_json::{Map, Value, json};

use super::super::Context;
use crate::args::Output;
use crate::failure::Failure;
use crate::failure::verification::{Refusal, not_accepted};
use crate::output::{Mark, device, one_line, table::table};

/// What became of one artifact or file: its name, and the answer.
pub(super) struct Checked {
    pub(super) reference: String,
    /// A warning about it was shown: the reference is a tag.
    pub(super) warned: bool,
    /// The signature files given, for a file.
    pub(super) files: Vec<String>,
    pub(super) result: Result<Outcome, Refusal>,
}

/// What is told of a batch.
pub(super) struct Report {
    output: Output,
    total: usize,
    verified: Vec<Value>,
    skipped: Vec<Value>,
    failed: Vec<Value>,
    failures: Vec<Failure>,
}

impl Report {
    pub(super) fn new(output: Output, total: usize) -> Self {
        Self {
            output,
            total,
            verified: vec![],
            skipped: vec![],
            failed: vec![],
            failures: vec![],
        }
    }

    pub(super) fn add(&mut self, checked: Checked, context: &Context) -> Result<(), Failure> {
        match checked.result {
            Ok(Outcome::Verified(verified)) => {
                print(&verified, self.output, checked.warned, context)?;
                self.verified.push(describe(&verified, &checked.files));
            }
            Ok(Outcome::Skipped(skipped)) => {
                if self.output == Output::Text {
                    if checked.warned {
                        context.console.line("")?;
                    }
                    context.console.line(format_args!(
                        "Trust policy is configured to skip signature verification for {}",
                        one_line(&skipped.reference)
                    ))?;
                }
                self.skipped.push(json!({
                    "reference": skipped.reference,
                    "statement": skipped.statement,
                }));
            }
            Err(Refusal {
                failure,
                not_accepted,
            }) => {
                self.failed.push(json!({
                    "reference": checked.reference,
                    "error": failure.messages.join("\n"),
                    "detail": failure.hint,
                    "notAccepted": not_accepted,
                }));
                let many = self.total > 1;
                self.failures.push(if many {
                    failure.about(&checked.reference)
                } else {
                    failure
                });
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, context: &Context) -> Result<(), Failure> {
        if self.output == Output::Json {
            context.console.json(&json!({
                "verified": self.verified,
                "skipped": self.skipped,
                "failed": self.failed,
            }))?;
        }
        Failure::all(self.failures).map_or(Ok(()), Err)
    }
}

/// CLI-37: an empty line parts the result from warnings above it.
fn print(
    verified: &Verified,
    output: Output,
    mut warned: bool,
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
    for attached in verified.attached() {
        console.line(format_args!(
            "Successfully verified attached {} {}",
            one_line(&attached.artifact_type),
            one_line(attached.verified.reference())
        ))?;
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
        console.bytes(table(["KEY", "VALUE"], &rows).as_bytes())?;
    }
    Ok(())
}

/// What `--output json` says of a verified artifact (SEC-31: with every digest).
fn describe(verified: &Verified, files: &[String]) -> Value {
    let target = verified.target();
    json!({
        "reference": verified.reference(),
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
            .map(|p| json!({"artifact": p.digest, "error": WithCauses(&p.fault).to_string()}))
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
        "signer": {"subject": leaf.subject().to_string(), "sha256Thumbprint": leaf.thumbprint_hex()},
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
    let describe = |(certificate, checked): (&Certificate, &Looked)| {
        let source = checked.source.as_ref();
        json!({
            "subject": certificate.subject().to_string(),
            "status": checked.status.name(),
            "method": source.map(|source| source.method.name()),
            "url": source.map(|source| source.url.as_str()),
            "error": match &checked.status {
                Status::Unknown(why) => Some(WithCauses(why).to_string()),
                _ => None,
            },
        })
    };
    chain_of.iter().zip(checked).map(describe).collect()
}
