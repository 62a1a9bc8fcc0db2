//! Why an artifact or file is not verified: the reference's words (CLI-40, CLI-41), and below them
//! why each signature was not accepted (CLI-42): who made it, what was expected and what was found. What to
//! do about it is the hint.

use std::error::Error;

use hardsign_core::attestation::AttestationError;
use hardsign_core::plugin::PluginError;
use hardsign_core::policy::SelectionError;
use hardsign_core::text::WithCauses;
use hardsign_core::trust::TrustError;
use hardsign_core::verify::{
    AttachedFault, Attempt, AttemptFailure, ExtensionError, HardwareError, Rejected, SignatureName,
    Step, VerifyError,
};
use hardsign_plugin::text::meant;
use serde_json::{Map, Value, json};

use super::{Exit, Failure, budget, plugin, registry};
use crate::output::fields::fields;
use crate::output::one_line;

mod asked;
mod compared;

pub(crate) use asked::Asked;

/// A verification that did not succeed.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// Why, in one line, for JSON: the message without what stands below it.
    pub(crate) error: String,
    /// Everything that was looked at in vain, for JSON.
    pub(crate) not_accepted: Vec<Value>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            error: failure.messages.join("\n"),
            failure,
            not_accepted: vec![],
        }
    }
}

/// Tells `error` about what was `asked`; `width` is that of standard error.
pub(crate) fn refusal(
    error: &VerifyError,
    asked: &Asked<'_>,
    program: &str,
    width: Option<usize>,
) -> Refusal {
    let not_accepted = match error {
        VerifyError::Attached { passed_over, .. } => passed_over
            .iter()
            .map(|p| json!({"digest": p.digest, "error": attached_fault(&p.fault)}))
            .collect(),
        VerifyError::Rejected(rejected) => {
            let name = asked.files().first().cloned().unwrap_or_default();
            vec![described(name, rejected, rejected)]
        }
        _ => not_accepted(error.attempts(), asked.files()),
    };
    let mut failure = failure(error, asked, program);
    let plain = failure.messages.join("\n");
    if error.trust_store_fault().is_none()
        && let Some(message) = failure.messages.last_mut()
    {
        for line in below(error, asked, width) {
            message.push('\n');
            message.push_str(&one_line(&line));
        }
    }
    Refusal {
        failure,
        error: plain,
        not_accepted,
    }
}

/// Signatures that were tried in vain, for JSON.
pub(crate) fn not_accepted(attempts: &[Attempt], files: &[String]) -> Vec<Value> {
    let one = |attempt: &Attempt| {
        let name = name(&attempt.signature, files);
        match &attempt.failure {
            AttemptFailure::Rejected(rejected) => described(name, &attempt.failure, rejected),
            failure => json!({"signature": name, "error": WithCauses(failure).to_string()}),
        }
    };
    attempts.iter().map(one).collect()
}

/// Why an attached artifact does not count, without what is the matter with each of its signatures.
pub(crate) fn attached_fault(fault: &AttachedFault) -> String {
    match fault {
        AttachedFault::NotVerified(error) if !error.attempts().is_empty() => error.to_string(),
        _ => WithCauses(fault).to_string(),
    }
}

fn described(name: String, error: &(dyn Error + 'static), rejected: &Rejected) -> Value {
    let mut record = Map::new();
    record.insert("signature".to_owned(), name.into());
    record.insert("error".to_owned(), WithCauses(error).to_string().into());
    record.extend(compared::members(rejected));
    Value::Object(record)
}

fn failure(error: &VerifyError, asked: &Asked<'_>, program: &str) -> Failure {
    if let Some(fault) = error.trust_store_fault() {
        return of_store(fault, program);
    }
    let message = match error {
        // Why each was not accepted stands below.
        VerifyError::AllFailed { .. } => error.to_string(),
        VerifyError::LimitReached { .. } | VerifyError::Signers { .. } => {
            format!("signature verification failed: {error}")
        }
        _ => format!("signature verification failed: {}", WithCauses(error)),
    };
    let mut hints = Vec::new();
    match error {
        VerifyError::Attached { passed_over, .. } if passed_over.is_empty() => {
            hints.push(NOTHING_ATTACHED.to_owned());
        }
        VerifyError::LimitReached { .. } => hints.push(MORE.to_owned()),
        VerifyError::Signers { .. } if !asked.files().is_empty() => {
            hints.push(ALL_FILES.to_owned());
        }
        VerifyError::Signers { .. } => hints.push(OTHERS.to_owned()),
        VerifyError::HardwareUnderSkip { .. } => hints.push(UNDER_SKIP.to_owned()),
        VerifyError::Selection(error) => hints.extend(selection(error)),
        VerifyError::NoSignature { reference } => {
            let sign = asked.sign(reference, None);
            hints.push(format!(
                "it is not signed: ask its publisher for a signature, which `hardsign copy` brings along; if it is your own, `{sign}` signs it"
            ));
        }
        _ => {}
    }
    hints.extend(of_hardware(error, asked).or_else(|| next(error, asked)));
    let (exit, hint) = classify(error);
    hints.extend(hint);
    match hints.is_empty() {
        true => Failure::new(exit, message),
        false => Failure::new(exit, message).hints(hints),
    }
}

/// The statement or the scope that was probably meant.
pub(crate) fn selection(error: &SelectionError) -> Option<String> {
    match error {
        SelectionError::NoneApplies { nearest, .. }
        | SelectionError::NoSuchName { nearest, .. } => nearest.as_deref().map(meant),
        _ => None,
    }
}

/// A trust store that can't be used, in the reference's words.
fn of_store(fault: &TrustError, program: &str) -> Failure {
    if let TrustError::NotFound { store, nearest } = fault {
        let add = format!(
            "`hardsign certificate add --type {} --store {} FILE...` makes it, with the certificates in it",
            store.store_type, store.name
        );
        return Failure::failed(format!(
            "{fault}. Use command '{program} cert add' to create and add trusted certificates to the trust store"
        ))
        .hint(super::meant_or(nearest.as_deref(), &add));
    }
    Failure::failed(match (fault, fault.source()) {
        (TrustError::UnsuitableForTsa { .. }, _) | (_, None) => WithCauses(fault).to_string(),
        (_, Some(cause)) => format!("{fault}. {}", WithCauses(cause)),
    })
}

/// The command that comes next, where one signature decided, or the first of several did.
fn next(error: &VerifyError, asked: &Asked<'_>) -> Option<String> {
    let (reference, attempts) = match error {
        VerifyError::Rejected(rejected) => {
            let Asked::Blob { name, files, .. } = asked else {
                return None;
            };
            let file = files.first().map(String::as_str);
            return compared::next(rejected, asked, name, file, false);
        }
        VerifyError::AllFailed {
            reference,
            attempts,
        } => (reference, attempts),
        _ => return None,
    };
    attempts.iter().find_map(|attempt| {
        let AttemptFailure::Rejected(rejected) = &attempt.failure else {
            return None;
        };
        let file = name(&attempt.signature, asked.files());
        compared::next(rejected, asked, reference, Some(&file), attempts.len() > 1)
    })
}

/// Why each signature was not accepted: the first few, so that junk beside an artifact does not
/// fill the screen.
fn below(error: &VerifyError, asked: &Asked<'_>, width: Option<usize>) -> Vec<String> {
    match error {
        VerifyError::Rejected(rejected) => fields(&compared::rows(rejected), 2, width),
        VerifyError::Attached { passed_over, .. } => first_few(passed_over, |p| {
            (p.digest.to_string(), attached_fault(&p.fault), Vec::new())
        }),
        _ => {
            let attempts = error.attempts();
            first_few(attempts, |attempt| {
                let name = name(&attempt.signature, asked.files());
                let rows = match (&attempt.failure, attempts) {
                    (AttemptFailure::Rejected(rejected), [_]) => compared::rows(rejected),
                    (AttemptFailure::Rejected(rejected), _) => compared::in_short(rejected),
                    _ => Vec::new(),
                };
                let why = WithCauses(&attempt.failure).to_string();
                (name, why, fields(&rows, 4, width))
            })
        }
    }
}

/// A line for each of the first few items, with the lines that stand below it.
fn first_few<T>(items: &[T], said: impl Fn(&T) -> (String, String, Vec<String>)) -> Vec<String> {
    let mut lines = Vec::new();
    for item in items.iter().take(SHOWN) {
        let (name, why, below) = said(item);
        lines.push(format!("  {name}: {why}"));
        lines.extend(below);
    }
    let more = items.len().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("  and {more} more; -o json or -d shows all"));
    }
    lines
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
fn of_hardware(error: &VerifyError, asked: &Asked<'_>) -> Option<String> {
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
        HardwareError::NoEvidence => Some(NO_EVIDENCE.to_owned()),
        HardwareError::Unproven(error) => match **error {
            AttestationError::Untrusted { .. } => Some(format!(
                "if the device is of another maker, name its roots in {}: \"hardware\": {{\"roots\": [\"file:maker.pem\"]}}",
                asked.policy().unwrap_or("policy.hardsign.json")
            )),
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

const NOTHING_ATTACHED: &str = "nothing of that type is attached: `hardsign attach` attaches and signs a file; what another tool attached, `hardsign sign` signs by its own digest";

const NO_EVIDENCE: &str =
    "evidence is added when signing: `sign --attest`, with a key that a YubiKey made";

const UNDER_SKIP: &str =
    "leave --require-hardware out, or give the statement a level that verifies";

const OTHERS: &str = "let those who are missing sign it too";

/// How many signatures a message goes into.
const SHOWN: usize = 5;
