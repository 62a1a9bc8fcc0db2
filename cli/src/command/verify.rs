//! `hardsign verify` and `hardsign blob verify` (CLI-33 to CLI-42, CLI-96, CLI-97): prints what
//! `hardsign-core` decided.

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;

use hardsign_core::batch;
use hardsign_core::blob::signature_format;
use hardsign_core::config::read_named;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::MAX_ENVELOPE_LEN;
use hardsign_core::oci::Repository as _;
use hardsign_core::oci::registry::Access;
use hardsign_core::plugin::Host;
use hardsign_core::policy::{blob, oci};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{
    Accepted, Attached, Attempt, Blob, BlobSignature, Document, Event, Options, Outcome,
    PassedOver, Policy, Severity, SignatureName, Verified, Verifier, VerifyError,
};
use serde_json::{Map, Value, json};

use super::Context;
use super::repository::{self, Opener};
use super::revocation;
use super::selection::{self, Item};
use super::signer;
use crate::args::Output;
use crate::args::blob::VerifyArgs as BlobArgs;
use crate::args::verify::VerifyArgs;
use crate::failure::{Failure, chain, registry};
use crate::output::{one_line, table::table};

/// What became of one artifact: its name, and the answer.
struct Checked {
    reference: String,
    /// A warning about it was shown: the reference is a tag.
    warned: bool,
    result: Result<Outcome, Failure>,
}

pub(super) fn run(args: VerifyArgs, context: &Context) -> Result<(), Failure> {
    let references = repository::expand(args.references)?;
    let dirs = context.dirs()?;
    let policy: Policy<oci::Document> = load(args.policy_file.as_deref(), &dirs, context)?;
    let verifier = verifier(&dirs, context);
    let opener = Opener::new(&args.registry, Access::Read, &dirs, context)?;
    let observe = observer(context);
    let options = Options {
        max_signatures: args.max_signatures,
        user_metadata: &args.user_metadata,
        plugin_config: &args.plugin_config,
        now: context.now(),
        observer: &observe,
    };
    let work = async |item: Item| {
        let (reference, warned) = (item.reference.clone(), item.target.is_by_tag());
        let place = item.target.place.clone();
        let result = async {
            let artifact = item.artifact("verify", context).await?;
            let name = place.name();
            let scope = args.scope.as_deref().unwrap_or(&name);
            verifier
                .verify_with_attached(&policy, &place, scope, &artifact, &args.attached, options)
                .await
                .map_err(|error| refusal(&error, context))
        }
        .await;
        Checked {
            reference,
            warned,
            result,
        }
    };
    let report = context.wait(async {
        let selection = &args.selection;
        let items = selection::items(references, &opener, selection, "verify", context).await?;
        let mut report = Report::new(args.output, items.len());
        let progress = context.console.progress("verifying", items.len());
        let mut printing = Ok(());
        batch::in_order(items, IN_FLIGHT, work, |checked| {
            progress.step();
            printing = report.add(checked, context);
            if printing.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
        drop(progress);
        printing.map(|()| report)
    })?;
    report.finish(context)
}

pub(super) fn blob(args: BlobArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    // BLOB-11: the file, the signature, the policy, the signature's name.
    let (progress, reader) = super::blob::open(&args.blob, context)
        .map_err(|error| Failure::failed(format!("failed to open {}: {error}", args.blob)))?;
    let path = Path::new(&args.signature);
    let envelope = read_named(path, MAX_SIGNATURE).map_err(Failure::failed)?;
    let policy: Policy<blob::Document> = load(args.policy_file.as_deref(), &dirs, context)?;
    let format = signature_format(path).map_err(Failure::failed)?;
    let verifier = verifier(&dirs, context);
    let observe = observer(context);
    let options = Options {
        max_signatures: NonZeroUsize::MIN,
        user_metadata: &args.user_metadata,
        plugin_config: &args.plugin_config,
        now: context.now(),
        observer: &observe,
    };
    let file = Blob {
        reference: &args.blob,
        reader,
        media_type: args.media_type.as_deref(),
    };
    let signatures = [BlobSignature {
        format,
        envelope: &envelope,
    }];
    let name = args.policy_name.as_deref();
    let result = context.wait(async {
        verifier
            .verify_blob(&policy, name, file, &signatures, options)
            .await
            .map_err(|error| refusal(&error, context))
    });
    drop(progress);
    let mut report = Report::new(args.output, 1);
    report.add(
        Checked {
            reference: args.blob.clone(),
            warned: false,
            result,
        },
        context,
    )?;
    report.finish(context)
}

/// A verifier that runs the verification plugins that signatures name.
fn verifier(dirs: &Dirs, context: &Context) -> Verifier<Host> {
    Verifier::new(Loader::new(dirs.trust_stores()))
        .with_extension(signer::host(dirs, context))
        .with_revocation(revocation::checker(dirs, context))
}

/// The policy in use: the user's, or that of `--policy` for this run.
pub(super) fn load<D: Document>(
    file: Option<&str>,
    dirs: &Dirs,
    context: &Context,
) -> Result<Policy<D>, Failure> {
    let policy = match file {
        Some(path) => Policy::<D>::from_file(Path::new(path)),
        None => Policy::load(dirs),
    };
    let policy = policy.map_err(|error| super::policy::refused(&error))?;
    for warning in policy.document().warnings() {
        context.console.warning(warning);
    }
    Ok(policy)
}

/// Verification's log, and the warnings that concern the user's own files.
fn observer(context: &Context) -> impl Fn(&Event<'_>) + Send + Sync {
    |event| {
        let level = match event.severity() {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warning",
            Severity::Error => "error",
        };
        match event {
            Event::Store(warning) => context.console.warning(warning),
            _ => context.console.log(level, event),
        }
        if let Event::Revocation(event) = event {
            revocation::warn(event, context);
        }
    }
}

/// A refusal in the reference's words (CLI-40, CLI-41), and below it why each signature failed
/// (CLI-42).
fn refusal(error: &VerifyError, context: &Context) -> Failure {
    if let Some(fault) = error.trust_store_fault() {
        return Failure::failed(if fault.is_not_found() {
            format!(
                "{fault}. Use command '{} cert add' to create and add trusted certificates to the trust store",
                context.program
            )
        } else {
            match fault.source() {
                Some(cause) => format!("{fault}. {cause}"),
                None => fault.to_string(),
            }
        });
    }
    let failure = match error {
        VerifyError::AllFailed { .. } => Failure::failed(error),
        _ => Failure::failed(format!("signature verification failed: {}", chain(error))),
    };
    if let VerifyError::Attached { passed_over, .. } = error {
        return attached_refusal(failure, passed_over);
    }
    if let VerifyError::List { source, .. } | VerifyError::ListAttached { source, .. } = error {
        let (exit, hint) = registry::classify(source);
        return Failure {
            exit,
            hint,
            ..failure
        };
    }
    let reasons: Vec<_> = error.attempts().iter().map(reason).collect();
    match reasons.as_slice() {
        [] => failure,
        [only] => failure.hint(format!("the signature was not accepted: {only}")),
        many => failure.hint(format!(
            "no signature was accepted:\n  {}",
            many.join("\n  ")
        )),
    }
}

fn attached_refusal(failure: Failure, passed_over: &[PassedOver]) -> Failure {
    let reasons: Vec<_> = passed_over
        .iter()
        .map(|p| format!("\n  {}: {}", p.digest, one_line(&chain(&p.fault))))
        .collect();
    failure.hint(if reasons.is_empty() {
        "nothing of that type is attached: attach it with the tool that makes it, then sign it by its own digest".to_owned()
    } else {
        format!("attached, and not accepted:{}", reasons.concat())
    })
}

fn reason(attempt: &Attempt) -> String {
    format!(
        "{}: {}",
        name(&attempt.signature),
        one_line(&chain(&attempt.failure))
    )
}

fn name(signature: &SignatureName) -> String {
    match signature {
        SignatureName::Manifest(digest) => digest.to_string(),
        SignatureName::Position(position) => format!("signature {}", position + 1),
    }
}

/// What is told of a batch: lines as they come, or one JSON document at the end.
struct Report {
    output: Output,
    total: usize,
    verified: Vec<Value>,
    skipped: Vec<Value>,
    failed: Vec<Value>,
    failures: Vec<Failure>,
}

impl Report {
    fn new(output: Output, total: usize) -> Self {
        Self {
            output,
            total,
            verified: vec![],
            skipped: vec![],
            failed: vec![],
            failures: vec![],
        }
    }

    fn add(&mut self, checked: Checked, context: &Context) -> Result<(), Failure> {
        match checked.result {
            Ok(Outcome::Verified(verified)) => {
                print(&verified, self.output, checked.warned, context)?;
                self.verified.push(describe(&verified));
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
            Err(failure) => {
                self.failed.push(json!({
                    "reference": checked.reference,
                    "error": failure.messages.join("\n"),
                    "detail": failure.hint,
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

    fn finish(self, context: &Context) -> Result<(), Failure> {
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
                chain(logged.error)
            ));
        }
    }
    if output == Output::Json {
        return Ok(());
    }
    if warned {
        console.line("")?;
    }
    console.line(format_args!(
        "Successfully verified signature for {}",
        one_line(verified.reference())
    ))?;
    for attached in verified.attached() {
        console.line(format_args!(
            "Successfully verified attached {} {}",
            one_line(&attached.artifact_type),
            one_line(attached.verified.reference())
        ))?;
    }
    let metadata = &verified.target().annotations;
    if !metadata.is_empty() {
        console.line("\nThe artifact was signed with the following user metadata.\n")?;
        let rows: Vec<_> = metadata
            .iter()
            .map(|(k, v)| [k.clone(), v.clone()])
            .collect();
        console.bytes(table(["KEY", "VALUE"], &rows).as_bytes())?;
    }
    Ok(())
}

/// What `--output json` says of a verified artifact (SEC-31: with every digest).
fn describe(verified: &Verified) -> Value {
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
        "signatures": verified.signatures().iter().map(accepted).collect::<Vec<_>>(),
        "attached": verified.attached().iter().map(attached).collect::<Vec<_>>(),
        "notAccepted": verified
            .attempts()
            .iter()
            .map(|a| json!({"signature": name(&a.signature), "error": chain(&a.failure)}))
            .collect::<Vec<_>>(),
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
            .map(|p| json!({"artifact": p.digest, "error": chain(&p.fault)}))
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
        .map(|logged| (logged.check.to_string(), Value::String(chain(logged.error))))
        .collect();
    json!({
        "digest": accepted.manifest,
        "signatureEnvelopeType": signature.format().media_type(),
        "signatureAlgorithm": signature.algorithm(),
        "signingTime": signature.attributes().signing_time.to_string(),
        "expiry": signature.attributes().expiry.map(|expiry| expiry.to_string()),
        "signer": {"subject": leaf.subject().to_string(), "sha256Thumbprint": leaf.thumbprint_hex()},
        "logged": logged,
    })
}

/// Artifacts that are verified at a time.
const IN_FLIGHT: usize = 8;

/// Largest signature file, in bytes.
const MAX_SIGNATURE: u64 = MAX_ENVELOPE_LEN as u64;
