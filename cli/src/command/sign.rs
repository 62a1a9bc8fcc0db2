//! `hardsign sign` (CLI-22 to CLI-32): one signer for the whole batch.

use std::ops::ControlFlow;

use hardsign_core::batch;
use hardsign_core::envelope::Format;
use hardsign_core::oci::Repository as _;
use hardsign_core::oci::registry::Access;
use hardsign_core::sign::{self, SignOptions, SignedArtifact};
use serde_json::{Value, json};

use super::Context;
use super::repository::{self, Opener};
use super::selection::{self, Item};
use super::signer;
use crate::args::Output;
use crate::args::sign::SignArgs;
use crate::failure::Failure;
use crate::output::one_line;

/// What became of one reference.
struct Outcome {
    reference: String,
    result: Result<(String, SignedArtifact), Failure>,
    /// The signer itself failed, so nothing after this can succeed.
    signer_failed: bool,
}

pub(super) fn run(args: SignArgs, context: &Context) -> Result<(), Failure> {
    let references = repository::expand(args.references)?;
    let dirs = context.dirs()?;
    context.wait(async {
        let signer = signer::open_for_artifacts(&args.signing, &dirs, context).await?;
        let opener = Opener::new(&args.registry, Access::Write, &dirs, context)?;
        let selection = &args.selection;
        let items = selection::items(references, &opener, selection, "sign", context).await?;
        let options = SignOptions {
            format: signer::format(&args.signing, &dirs)?,
            expiry: args.signing.expiry,
            user_metadata: args.signing.user_metadata.clone(),
            now: context.now(),
        };
        let work = async |item: Item| {
            let mut signer_failed = false;
            let (reference, place) = (item.reference.clone(), item.target.place.clone());
            let result = async {
                let artifact = item.artifact("sign", context).await?;
                let signed = sign::sign_artifact(&signer, &place, &artifact, &options)
                    .await
                    .inspect_err(|e| signer_failed = matches!(e, sign::SignError::Signer(_)))?;
                Ok((place.name(), signed))
            }
            .await;
            Outcome {
                reference,
                result,
                signer_failed,
            }
        };
        let total = items.len();
        let progress = context.console.progress("signing", total);
        let mut report = Report::new(total, args.signing.output, options.format);
        let mut printing = Ok(());
        batch::in_order(items, signer.max_in_flight(), work, |outcome| {
            progress.step();
            let stop = outcome.signer_failed;
            printing = report.add(outcome, context);
            if stop || printing.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
        drop(progress);
        signer.close().await;
        printing?;
        report.finish(context)
    })
}

/// What is told of a batch: lines as they come, or one JSON document at the end.
struct Report {
    total: usize,
    output: Output,
    format: Format,
    signed: Vec<Value>,
    failed: Vec<Failure>,
    failures: Vec<Value>,
}

impl Report {
    fn new(total: usize, output: Output, format: Format) -> Self {
        Self {
            total,
            output,
            format,
            signed: vec![],
            failed: vec![],
            failures: vec![],
        }
    }

    fn add(&mut self, outcome: Outcome, context: &Context) -> Result<(), Failure> {
        match outcome.result {
            Ok((name, signed)) => self.signed(&name, &signed, context)?,
            Err(failure) => {
                self.failures.push(json!({
                    "reference": outcome.reference,
                    "error": failure.messages.join("\n"),
                }));
                let failure = if self.total > 1 {
                    failure.about(&outcome.reference)
                } else {
                    failure
                };
                self.failed.push(failure);
            }
        }
        Ok(())
    }

    fn signed(
        &mut self,
        name: &str,
        signed: &SignedArtifact,
        context: &Context,
    ) -> Result<(), Failure> {
        let console = &context.console;
        for warning in &signed.pushed.warnings {
            console.warning(warning);
        }
        let (artifact, signature) = (&signed.artifact, &signed.pushed.manifest);
        if self.output == Output::Text {
            let name = one_line(name);
            console.line(format_args!(
                "Successfully signed {name}@{}",
                artifact.digest
            ))?;
            console.line(format_args!(
                "Pushed the signature to {name}@{}",
                signature.digest
            ))?;
        }
        self.signed.push(json!({
            "reference": format!("{name}@{}", artifact.digest),
            "artifact": {"mediaType": artifact.media_type, "digest": artifact.digest, "size": artifact.size},
            "signature": {"mediaType": signature.media_type, "digest": signature.digest, "size": signature.size},
            "signatureEnvelopeType": self.format.media_type(),
        }));
        Ok(())
    }

    fn finish(mut self, context: &Context) -> Result<(), Failure> {
        if self.output == Output::Json {
            context
                .console
                .json(&json!({"signed": self.signed, "failed": self.failures}))?;
        }
        let left = self.total - self.signed.len();
        if let Some(last) = self.failed.last_mut()
            && self.total > 1
        {
            last.messages.push(format!(
                "{left} of {} artifacts were not signed",
                self.total
            ));
        }
        Failure::all(self.failed).map_or(Ok(()), Err)
    }
}
