//! The results of all checks of one signature, and the one place that enforces them.

use std::error::Error;
use std::fmt;

use super::{
    AuthenticityError, Compared, ContentError, ExpiryError, ExtensionError, HardwareError,
    IntegrityError, MetadataError, TimestampFailure,
};
use crate::attestation::Attested;
use crate::policy::{Action, Actions, Check};
use crate::revocation;
use crate::text::WithCauses;
use crate::timestamp;
use crate::trust::TrustError;

/// The result of one check.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding<E> {
    /// Verification ended before the check, or the check was forgotten. Never accepted.
    NotReached,
    /// Not done, because the policy says so.
    Skipped,
    /// Done, nothing found.
    Passed,
    /// Done, with this failure.
    Failed(E),
}

/// What was found about one signature: one field for each check of the policy, then the checks
/// that no policy can weaken.
#[derive(Debug)]
pub struct Report {
    actions: Actions,
    /// Whether a rule demands evidence of hardware.
    demands_hardware: bool,
    /// Well formed, and signed by the leaf's key.
    // VER-11
    pub integrity: Finding<IntegrityError>,
    /// Chain trusted, signer among the identities.
    // VER-14
    pub authenticity: Finding<AuthenticityError>,
    /// Chain valid when the signature was made.
    // VER-16
    pub authentic_timestamp: Finding<TimestampFailure>,
    /// The timestamp that was looked at, and its authority, if one was.
    pub timestamp: Option<Box<timestamp::Verified>>,
    /// Signature not expired.
    // VER-15
    pub expiry: Finding<ExpiryError>,
    /// Chain not revoked.
    // VER-17
    pub revocation: Finding<RevocationFailure>,
    /// What is known about the revocation of each certificate of the chain, leaf first. Empty where
    /// that was not checked here: skipped by the policy, or the verification plugin's part.
    pub certificates: Vec<revocation::Checked>,
    /// The payload is about this artifact.
    // VER-19, BLOB-09
    pub content: Finding<ContentError>,
    /// The required user metadata is there.
    // VER-20
    pub user_metadata: Finding<MetadataError>,
    /// Critical attributes are understood, the verification plugin did its part.
    // VER-35 to VER-42
    pub extension: Finding<ExtensionError>,
    /// The key lives in hardware; skipped where no rule demands that.
    pub hardware: Finding<HardwareError>,
    /// What was proven of the device, where a rule demands it.
    pub attested: Option<Box<Attested>>,
}

/// Why revocation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationFailure {
    /// Nobody was asked, since authenticity failed and the statement merely logs that.
    #[error("not checked: untrusted certificate chain")]
    Untrusted,
    /// By the statuses of the chain.
    #[error(transparent)]
    Chain(#[from] revocation::NotGood),
    /// By the verification plugin.
    // VER-40
    #[error(
        "revocation check by verification plugin {} failed with reason {}",
        crate::artifact::Quoted(plugin),
        crate::artifact::Quoted(reason)
    )]
    Plugin {
        /// The plugin.
        plugin: String,
        /// What it said.
        reason: String,
    },
}

/// One of the checks of a report.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// One whose action the policy decides.
    Policy(Check),
    /// The payload against the artifact; always enforced.
    Content,
    /// The user metadata; always enforced.
    UserMetadata,
    /// Critical attributes and verification plugin; always enforced.
    // VER-41
    Extension,
    /// Evidence of hardware; enforced at every level, where a rule demands it.
    Hardware,
}

/// A signature that is not accepted.
#[derive(Debug)]
pub struct Rejected {
    step: Step,
    report: Box<Report>,
    compared: Option<Box<Compared>>,
}

/// A failure that the policy only logs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Logged<'a> {
    /// The check.
    pub check: Check,
    /// The failure.
    pub error: &'a (dyn Error + Send + Sync + 'static),
}

/// A finding without its type.
enum Erased<'a> {
    NotReached,
    Skipped,
    Passed,
    Failed(&'a (dyn Error + Send + Sync + 'static)),
}

impl<E> Finding<E> {
    /// Whether the check was done and found nothing.
    pub fn is_passed(&self) -> bool {
        matches!(self, Self::Passed)
    }

    /// The failure, if the check was done and failed.
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl<E> From<Result<(), E>> for Finding<E> {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => Self::Failed(error),
        }
    }
}

impl<E: Error + Send + Sync + 'static> Finding<E> {
    fn erase(&self) -> Erased<'_> {
        match self {
            Self::NotReached => Erased::NotReached,
            Self::Skipped => Erased::Skipped,
            Self::Passed => Erased::Passed,
            Self::Failed(error) => Erased::Failed(error),
        }
    }
}

impl Report {
    /// A report in which nothing has been checked yet.
    pub(super) fn new(actions: Actions, demands_hardware: bool) -> Self {
        Self {
            actions,
            demands_hardware,
            integrity: Finding::NotReached,
            authenticity: Finding::NotReached,
            authentic_timestamp: Finding::NotReached,
            timestamp: None,
            expiry: Finding::NotReached,
            revocation: Finding::NotReached,
            certificates: Vec::new(),
            content: Finding::NotReached,
            user_metadata: Finding::NotReached,
            extension: Finding::NotReached,
            hardware: Finding::NotReached,
            attested: None,
        }
    }

    /// What a failure of each check does.
    pub fn actions(&self) -> Actions {
        self.actions
    }

    /// The failures that the policy only logs, in the order of the checks.
    // VER-06, VER-07
    pub fn logged(&self) -> impl Iterator<Item = Logged<'_>> {
        Check::ALL.into_iter().filter_map(|check| {
            match (
                self.actions.action(check),
                self.finding(Step::Policy(check)),
            ) {
                (Action::Log, Erased::Failed(error)) => Some(Logged { check, error }),
                _ => None,
            }
        })
    }

    /// Whether the finding of one step lets verification go on. This and nothing else decides
    /// what a level means (VER-01 to VER-06).
    pub(super) fn allows(&self, step: Step) -> bool {
        let action = match step {
            Step::Policy(check) => self.actions.action(check),
            Step::Content | Step::UserMetadata | Step::Extension => Action::Enforce,
            Step::Hardware if self.demands_hardware => Action::Enforce,
            Step::Hardware => Action::Skip,
        };
        match (self.finding(step), action) {
            (Erased::Passed, _)
            | (Erased::Failed(_), Action::Log)
            | (Erased::Skipped, Action::Skip) => true,
            (Erased::Failed(_), Action::Enforce | Action::Skip)
            | (Erased::Skipped, Action::Enforce | Action::Log)
            | (Erased::NotReached, _) => false,
        }
    }

    /// The first step that is not allowed, over all of them.
    pub(super) fn first_refused(&self) -> Option<Step> {
        Step::ALL.into_iter().find(|step| !self.allows(*step))
    }

    /// The failure of a step.
    pub fn error(&self, step: Step) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match self.finding(step) {
            Erased::Failed(error) => Some(error),
            _ => None,
        }
    }

    fn finding(&self, step: Step) -> Erased<'_> {
        match step {
            Step::Policy(Check::Integrity) => self.integrity.erase(),
            Step::Policy(Check::Authenticity) => self.authenticity.erase(),
            Step::Policy(Check::AuthenticTimestamp) => self.authentic_timestamp.erase(),
            Step::Policy(Check::Expiry) => self.expiry.erase(),
            Step::Policy(Check::Revocation) => self.revocation.erase(),
            Step::Content => self.content.erase(),
            Step::UserMetadata => self.user_metadata.erase(),
            Step::Extension => self.extension.erase(),
            Step::Hardware => self.hardware.erase(),
        }
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 9] = [
        Self::Policy(Check::Integrity),
        Self::Content,
        Self::UserMetadata,
        Self::Policy(Check::Authenticity),
        Self::Hardware,
        Self::Policy(Check::Expiry),
        Self::Policy(Check::AuthenticTimestamp),
        Self::Policy(Check::Revocation),
        Self::Extension,
    ];

    /// The name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy(check) => check.name(),
            Self::Content => "content",
            Self::UserMetadata => "userMetadata",
            Self::Extension => "extension",
            Self::Hardware => "hardware",
        }
    }
}

impl Rejected {
    pub(super) fn new(step: Step, report: Report, compared: Option<Compared>) -> Self {
        Self {
            step,
            report: Box::new(report),
            compared: compared.map(Box::new),
        }
    }

    /// Who the signature says signed it, and what it was held against; none where it is not intact.
    pub fn compared(&self) -> Option<&Compared> {
        self.compared.as_deref()
    }

    /// The step at which verification ended.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The fault of a trust store that made authenticity or the timestamp fail, which the user can
    /// mend.
    // CLI-41
    pub fn trust_store_fault(&self) -> Option<&TrustError> {
        match (
            self.step,
            &self.report.authenticity,
            &self.report.authentic_timestamp,
        ) {
            (
                Step::Policy(Check::Authenticity),
                Finding::Failed(AuthenticityError::Store(fault)),
                _,
            )
            | (
                Step::Policy(Check::AuthenticTimestamp),
                _,
                Finding::Failed(TimestampFailure::Store(fault)),
            ) => Some(fault),
            _ => None,
        }
    }

    /// Everything that was found until then.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.report.error(self.step) {
            Some(error) => fmt::Display::fmt(error, f),
            None => write!(f, "{} was not verified", self.step.name()),
        }
    }
}

impl Error for Rejected {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.report.error(self.step).and_then(Error::source)
    }
}

impl fmt::Display for Logged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was set to \"log\" and failed with error: {}",
            self.check,
            WithCauses(self.error)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Level;

    fn passed(actions: Actions) -> Report {
        Report {
            actions,
            demands_hardware: true,
            integrity: Finding::Passed,
            authenticity: Finding::Passed,
            authentic_timestamp: Finding::Passed,
            timestamp: None,
            expiry: Finding::Passed,
            revocation: Finding::Passed,
            certificates: Vec::new(),
            content: Finding::Passed,
            user_metadata: Finding::Passed,
            extension: Finding::Passed,
            hardware: Finding::Passed,
            attested: None,
        }
    }

    fn set<E>(finding: &mut Finding<E>, kind: &str, error: E) {
        *finding = match kind {
            "not reached" => Finding::NotReached,
            "skipped" => Finding::Skipped,
            "failed" => Finding::Failed(error),
            _ => Finding::Passed,
        };
    }

    fn with(mut report: Report, step: Step, kind: &str) -> Report {
        let expiry = || ExpiryError {
            expiry: jiff::Timestamp::UNIX_EPOCH,
        };
        match step {
            Step::Policy(Check::Integrity) => set(
                &mut report.integrity,
                kind,
                IntegrityError::Invalid(crate::envelope::EnvelopeError::CertificateChainMissing),
            ),
            Step::Policy(Check::Authenticity) => set(
                &mut report.authenticity,
                kind,
                AuthenticityError::Untrusted(crate::trust::Untrusted::NotFound),
            ),
            Step::Policy(Check::AuthenticTimestamp) => {
                set(
                    &mut report.authentic_timestamp,
                    kind,
                    TimestampFailure::NoToken,
                );
            }
            Step::Policy(Check::Expiry) => set(&mut report.expiry, kind, expiry()),
            Step::Policy(Check::Revocation) => set(
                &mut report.revocation,
                kind,
                RevocationFailure::Plugin {
                    plugin: String::new(),
                    reason: String::new(),
                },
            ),
            Step::Content => set(&mut report.content, kind, ContentError::Artifact),
            Step::UserMetadata => set(&mut report.user_metadata, kind, MetadataError),
            Step::Extension => set(
                &mut report.extension,
                kind,
                ExtensionError::UntrustedChain {
                    plugin: String::new(),
                },
            ),
            Step::Hardware => set(&mut report.hardware, kind, HardwareError::NoEvidence),
        }
        report
    }

    /// VER-01 to VER-06, SEC-13: each level × step × finding. A check that was not reached, or
    /// skipped without leave, is never accepted.
    #[test]
    fn enforcement_table() {
        let skipping = [("revocation".to_owned(), "skip".to_owned())].into();
        let strict = Level::Strict.actions().unwrap();
        for (name, actions, logged) in [
            ("strict", strict, &[][..]),
            (
                "permissive",
                Level::Permissive.actions().unwrap(),
                &[Check::AuthenticTimestamp, Check::Expiry, Check::Revocation],
            ),
            (
                "audit",
                Level::Audit.actions().unwrap(),
                &[
                    Check::Authenticity,
                    Check::AuthenticTimestamp,
                    Check::Expiry,
                    Check::Revocation,
                ],
            ),
            ("no revocation", strict.overridden(&skipping).unwrap(), &[]),
        ] {
            for step in Step::ALL {
                for kind in ["not reached", "skipped", "passed", "failed"] {
                    let may_skip =
                        name == "no revocation" && step == Step::Policy(Check::Revocation);
                    let is_logged = matches!(step, Step::Policy(c) if logged.contains(&c));
                    let allowed = match kind {
                        "passed" => true,
                        "failed" => is_logged,
                        "skipped" => may_skip,
                        _ => false,
                    };
                    let report = with(passed(actions), step, kind);
                    assert_eq!(report.allows(step), allowed, "{name} {step:?} {kind}");
                    assert_eq!(report.first_refused().is_none(), allowed);
                    let warned = report.logged().map(|l| l.check).collect::<Vec<_>>();
                    assert_eq!(warned.len(), usize::from(kind == "failed" && is_logged));
                }
            }
        }
    }

    /// Without a rule on hardware the step is skipped, and a failure is a failure all the same.
    #[test]
    fn hardware_that_nobody_demands() {
        for (kind, allowed) in [
            ("not reached", false),
            ("skipped", true),
            ("passed", true),
            ("failed", false),
        ] {
            let mut report = with(
                passed(Level::Audit.actions().unwrap()),
                Step::Hardware,
                kind,
            );
            report.demands_hardware = false;
            assert_eq!(report.allows(Step::Hardware), allowed, "{kind}");
        }
    }

    /// VER-07: the warning's text.
    #[test]
    fn logged_text() {
        let report = with(
            passed(Level::Permissive.actions().unwrap()),
            Step::Policy(Check::Expiry),
            "failed",
        );
        assert_eq!(
            report.logged().map(|l| l.to_string()).collect::<Vec<_>>(),
            [
                "expiry was set to \"log\" and failed with error: digital signature has expired on \"Thu, 01 Jan 1970 00:00:00 +0000\""
            ]
        );
    }
}
