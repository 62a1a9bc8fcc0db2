//! Why an artifact or file is not verified: the reference's words (CLI-40, CLI-41), and below them
//! why each signature was not accepted (CLI-42).

use std::error::Error;

use hardsign_core::attestation::AttestationError;
use hardsign_core::plugin::PluginError;
use hardsign_core::text::WithCauses;
use hardsign_core::trust::TrustError;
use hardsign_core::verify::{
    AttachedFault, Attempt, AttemptFailure, ExtensionError, HardwareError, PassedOver, Rejected,
    SignatureName, Step, VerifyError,
};
use serde_json::{Value, json};

use super::{Exit, Failure, budget, plugin, registry};
use crate::output::one_line;

/// A verification that did not succeed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// Everything that was looked at in vain, for JSON.
    pub(crate) not_accepted: Vec<Value>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            not_accepted: vec![],
        }
    }
}

/// Tells `error`; `files` are the signature files given, for a file.
pub(crate) fn refusal(error: &VerifyError, files: &[String], program: &str) -> Refusal {
    let not_accepted = match error {
        VerifyError::Attached { passed_over, .. } => passed_over
            .iter()
            .map(|p| json!({"digest": p.digest, "error": WithCauses(&p.fault).to_string()}))
            .collect(),
        _ => not_accepted(error.attempts(), files),
    };
    Refusal {
        failure: failure(error, files, program),
        not_accepted,
    }
}

/// Signatures that were tried in vain, for JSON.
pub(crate) fn not_accepted(attempts: &[Attempt], files: &[String]) -> Vec<Value> {
    attempts
        .iter()
        .map(|a| json!({"signature": name(&a.signature, files), "error": WithCauses(&a.failure).to_string()}))
        .collect()
}

fn failure(error: &VerifyError, files: &[String], program: &str) -> Failure {
    if let Some(fault) = error.trust_store_fault() {
        return Failure::failed(if fault.is_not_found() {
            format!(
                "{fault}. Use command '{program} cert add' to create and add trusted certificates to the trust store"
            )
        } else {
            // The reference's texts.
            match (fault, fault.source()) {
                (TrustError::UnsuitableForTsa { .. }, _) | (_, None) => {
                    WithCauses(fault).to_string()
                }
                (_, Some(cause)) => format!("{fault}. {}", WithCauses(cause)),
            }
        });
    }
    let message = match error {
        VerifyError::AllFailed { .. } => error.to_string(),
        _ => format!("signature verification failed: {}", WithCauses(error)),
    };
    let mut hints = Vec::new();
    match error {
        VerifyError::Attached { passed_over, .. } => hints.push(of_attached(passed_over)),
        _ => hints.extend(of_attempts(error.attempts(), files)),
    }
    match error {
        VerifyError::LimitReached { .. } => hints.push(MORE.to_owned()),
        VerifyError::Signers { .. } if !files.is_empty() => hints.push(ALL_FILES.to_owned()),
        VerifyError::Signers { .. } => hints.push(OTHERS.to_owned()),
        VerifyError::HardwareUnderSkip { .. } => hints.push(UNDER_SKIP.to_owned()),
        _ => {}
    }
    hints.extend(of_hardware(error).map(str::to_owned));
    let (exit, hint) = classify(error);
    hints.extend(hint.as_deref().map(one_line));
    Failure {
        hint: (!hints.is_empty()).then(|| hints.join("\n")),
        ..Failure::new(exit, message)
    }
}

/// Why each signature was not accepted: the first few, so that junk beside an artifact does not
/// fill the screen.
fn of_attempts(attempts: &[Attempt], files: &[String]) -> Option<String> {
    let reason = |a: &Attempt| {
        let name = name(&a.signature, files);
        format!(
            "{}: {}",
            one_line(&name),
            one_line(&WithCauses(&a.failure).to_string())
        )
    };
    match attempts {
        [] => None,
        [only] => Some(format!("the signature was not accepted: {}", reason(only))),
        many => Some(first_few("no signature was accepted:", many, reason)),
    }
}

fn of_attached(passed_over: &[PassedOver]) -> String {
    if passed_over.is_empty() {
        return "nothing of that type is attached: `hardsign attach` attaches and signs a file; what another tool attached, `hardsign sign` signs by its own digest".to_owned();
    }
    first_few("attached, and not accepted:", passed_over, |p| {
        format!(
            "{}: {}",
            p.digest,
            one_line(&WithCauses(&p.fault).to_string())
        )
    })
}

fn first_few<T>(heading: &str, items: &[T], line: impl Fn(&T) -> String) -> String {
    let mut lines = vec![heading.to_owned()];
    lines.extend(
        items
            .iter()
            .take(SHOWN)
            .map(|item| format!("  {}", line(item))),
    );
    let more = items.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("  and {more} more; -o json or -d shows all"));
    }
    lines.join("\n")
}

fn name(signature: &SignatureName, files: &[String]) -> String {
    match signature {
        SignatureName::Manifest(digest) => digest.to_string(),
        SignatureName::Position(position) => match files.get(*position) {
            Some(file) => file.clone(),
            None => format!("signature {}", position + 1),
        },
    }
}

/// The exit code and a hint: whether something that was found has no verdict, because a registry
/// or a plugin could not be reached or used (CLI-03).
fn classify(error: &VerifyError) -> (Exit, Option<String>) {
    let unreachable = |(exit, _): &(Exit, _)| *exit == Exit::Unreachable;
    let found = match error {
        VerifyError::List { source, .. } | VerifyError::ListAttached { source, .. } => {
            return registry::classify(source);
        }
        VerifyError::Budget(overspent) => return budget::classify(overspent),
        VerifyError::Rejected(rejected) => Some(of_plugin(rejected)),
        VerifyError::Attached { passed_over, .. } => passed_over
            .iter()
            .map(|p| match &p.fault {
                AttachedFault::Unreadable(error) => registry::classify(error),
                AttachedFault::NotVerified(error) => classify(error),
                _ => NOT_VERIFIED,
            })
            .find(unreachable),
        _ => error
            .attempts()
            .iter()
            .map(|a| match &a.failure {
                AttemptFailure::Unreadable(error) => registry::classify(error),
                AttemptFailure::Rejected(rejected) => of_plugin(rejected),
                _ => NOT_VERIFIED,
            })
            .find(unreachable),
    };
    found.unwrap_or(NOT_VERIFIED)
}

/// The verification plugin that a trusted signature names is missing, or broke off.
fn of_plugin(rejected: &Rejected) -> (Exit, Option<String>) {
    let error = match rejected.step() {
        Step::Extension => rejected.report().extension.error(),
        _ => None,
    };
    let Some(
        ExtensionError::NotFound { source, .. }
        | ExtensionError::Run { source, .. }
        | ExtensionError::Describe(source),
    ) = error
    else {
        return NOT_VERIFIED;
    };
    let fault = source.downcast_ref::<PluginError>();
    (Exit::Unreachable, fault.and_then(plugin::hint))
}

/// What to do about evidence of hardware that is missing, or proves nothing here.
fn of_hardware(error: &VerifyError) -> Option<&'static str> {
    let rejected = match error {
        VerifyError::Rejected(rejected) => vec![rejected],
        _ => {
            let attempts = error.attempts().iter();
            let rejected = attempts.filter_map(|attempt| match &attempt.failure {
                AttemptFailure::Rejected(rejected) => Some(rejected),
                _ => None,
            });
            rejected.collect()
        }
    };
    let hint = |error: &HardwareError| match error {
        HardwareError::NoEvidence => Some(NO_EVIDENCE),
        HardwareError::Unproven(error) => match **error {
            AttestationError::Untrusted { .. } => Some(OTHER_MAKER),
            _ => None,
        },
        _ => None,
    };
    let errors = rejected
        .iter()
        .filter_map(|rejected| rejected.report().hardware.error());
    errors.filter_map(hint).next()
}

/// A verdict, and it is no.
const NOT_VERIFIED: (Exit, Option<String>) = (Exit::Failed, None);

const MORE: &str = "there are more signatures: raise --max-signatures to look at them";

const ALL_FILES: &str = "give the signature files of all signers, each with --signature";

const NO_EVIDENCE: &str =
    "evidence is added when signing: `sign --attest`, with a key that a YubiKey made";

const OTHER_MAKER: &str = "if the device is of another maker, name its roots in policy.hardsign.json: \"hardware\": {\"roots\": [\"file:maker.pem\"]}";

const UNDER_SKIP: &str =
    "leave --require-hardware out, or give the statement a level that verifies";

const OTHERS: &str = "let those who are missing sign it too";

/// How many signatures a hint goes into.
const SHOWN: usize = 5;
