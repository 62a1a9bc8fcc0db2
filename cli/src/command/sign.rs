//! `hardsign sign` (CLI-22 to CLI-32): one signer for the whole batch.

use std::ops::ControlFlow;

use hardsign_core::artifact::Kind;
use hardsign_core::batch;
use hardsign_core::budget::Phase;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::oci::SignatureSource as _;
use hardsign_core::oci::registry::Access;
use hardsign_core::sign::{self, SignError, SignOptions, SignedArtifact};
use serde_json::{Value, json};

use super::Context;
use super::build_metadata;
use super::repository::{self, Named, Opener};
use super::selection::{self, Item};
use super::signer;
use super::tally::Tally;
use crate::args::Output;
use crate::args::sign::SignArgs;
use crate::failure::Failure;
use crate::output::one_line;

/// What became of one reference.
struct Outcome {
    reference: String,
    result: Result<(String, SignedArtifact), Failure>,
    /// The signer itself failed, or the timestamping authority can't be used, so nothing after
    /// this can succeed.
    signer_failed: bool,
}

pub(super) fn run(args: SignArgs, context: &Context) -> Result<(), Failure> {
    let mut typed = match &args.metadata_file {
        Some(path) => build_metadata::references(path)?,
        None => Vec::new(),
    };
    typed.extend(args.references.iter().cloned());
    let references = repository::expand(typed)?;
    repository::one_registry(&references, &args.registry)?;
    let dirs = context.dirs()?;
    context.wait(async {
        let deadline = &args.signing.deadline;
        let open = signer::open(&args.signing, Kind::Oci, &dirs, context);
        let opened = deadline.budget().run(Phase::OpeningKey, open).await?;
        let result = sign_all(&args, references, &opened, &dirs, context).await;
        signer::close(&opened.signer, deadline).await;
        result
    })
}

async fn sign_all(
    args: &SignArgs,
    references: Vec<Named>,
    opened: &signer::Opened,
    dirs: &Dirs,
    context: &Context,
) -> Result<(), Failure> {
    let signer = &opened.signer;
    let opener = Opener::new(&args.registry, Access::Write, dirs, context)?;
    let (selection, deadline) = (&args.selection, &args.signing.deadline);
    let items = selection::items(references, &opener, selection, "sign", deadline, context).await?;
    let options = SignOptions::new(signer::format(&args.signing, dirs)?, context.now())
        .expiry(args.signing.expiry)
        .user_metadata(args.signing.user_metadata.clone())
        .timestamp(signer::timestamp(&args.signing, signer, dirs, context)?)
        .evidence(opened.evidence.clone());
    let work = async |item: Item| {
        let mut signer_failed = false;
        let reference = item.reference.clone();
        let result = async {
            let budget = deadline.budget();
            let (place, artifact) = item.artifact("sign", &budget, context).await?;
            let options = options.clone().now(context.now()).budget(budget);
            let signed = sign::sign_artifact(signer, &place, &artifact, &options)
                .await
                .map_err(|error| {
                    signer_failed = ends_the_batch(&error);
                    signer::failure(signer, error)
                })?;
            Ok((place.name(), signed))
        }
        .await;
        Outcome {
            reference,
            result,
            signer_failed,
        }
    };
    let progress = context.console.progress("signing", items.len());
    let references = items.iter().map(|item| item.reference.clone()).collect();
    let mut report = Report {
        tally: Tally::new("reference", references),
        output: args.signing.output,
        format: options.format,
        printing: Ok(()),
    };
    batch::in_order(items, signer.max_in_flight(), work, |outcome| {
        progress.step();
        report.add(outcome, context)
    })
    .await;
    drop(progress);
    report.finish(context)
}

pub(super) fn ends_the_batch(error: &SignError) -> bool {
    match error {
        SignError::Signer(_) | SignError::EvidenceOfOtherKey { .. } => true,
        SignError::Timestamp(error) => error.is_unreachable(),
        _ => false,
    }
}

/// What is told of a batch: lines as they come, or one JSON document at the end.
struct Report {
    tally: Tally,
    output: Output,
    format: Format,
    /// Whether standard output still takes lines.
    printing: Result<(), Failure>,
}

impl Report {
    /// Tells of one artifact; breaks when nothing more can be done or told.
    fn add(&mut self, outcome: Outcome, context: &Context) -> ControlFlow<()> {
        match outcome.result {
            Ok((name, signed)) => {
                if self.printing.is_ok() {
                    self.printing = self.print(&name, &signed, context);
                }
                let record = self.record(&name, &signed);
                self.tally.signed(&outcome.reference, record);
            }
            Err(failure) => {
                self.tally
                    .failed(&outcome.reference, failure, outcome.signer_failed);
            }
        }
        if self.printing.is_err() {
            return ControlFlow::Break(());
        }
        self.tally.flow()
    }

    fn print(&self, name: &str, signed: &SignedArtifact, context: &Context) -> Result<(), Failure> {
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
        Ok(())
    }

    fn record(&self, name: &str, signed: &SignedArtifact) -> Value {
        let (artifact, signature) = (&signed.artifact, &signed.pushed.manifest);
        json!({
            "reference": format!("{name}@{}", artifact.digest),
            "artifact": {"mediaType": artifact.media_type, "digest": artifact.digest, "size": artifact.size},
            "signature": {"mediaType": signature.media_type, "digest": signature.digest, "size": signature.size},
            "signatureEnvelopeType": self.format.media_type(),
        })
    }

    fn finish(self, context: &Context) -> Result<(), Failure> {
        self.printing?;
        if self.output == Output::Json {
            context.console.json(&self.tally.document())?;
        }
        self.tally.result("artifacts")
    }
}
