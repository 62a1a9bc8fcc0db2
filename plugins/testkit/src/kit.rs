//! The plugin contract as a suite: what `hardsign-plugin-test` runs.
//!
//! Each rule names the requirement that it comes from. A rule that is a MUST of the contract fails;
//! one that is a SHOULD warns. Where a rule fails, the report has the exact request and answer. Keys
//! are used for signatures over made-up bytes, and for nothing else.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hardsign_plugin::proto::{Capability, Metadata, PluginConfig};

mod certificates;
mod envelope;
mod keys;
mod metadata;
mod offers;
mod process;
mod session;
mod signing;
mod verification;

use envelope::Envelope;
use process::Exchange;

/// The plugin to be tested, and the key to test it with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The executable.
    pub path: PathBuf,
    /// The plugin's name for the key; without one nothing is signed.
    pub key_id: Option<String>,
    /// The plugin's settings.
    pub config: PluginConfig,
    /// Where a key may be made, and how it is then named, in the plugin's own terms; without it none is
    /// made.
    pub create: Option<String>,
    /// How long a request may take.
    pub patience: Duration,
    /// Whom the policy of `verify-signature` trusts, in the plugin's own terms (an AWS Signer profile,
    /// `x509.subject: …`); empty for anyone.
    pub trusted_identities: Vec<String>,
    /// Seconds since 1970, for judging certificates.
    pub now: u64,
}

impl Subject {
    /// A plugin that is only asked who it is, with a minute for each request. `now` is what
    /// certificates are judged by.
    pub fn new(path: impl Into<PathBuf>, now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH);
        Self {
            path: path.into(),
            key_id: None,
            config: PluginConfig::new(),
            create: None,
            patience: Duration::from_secs(60),
            trusted_identities: Vec::new(),
            now: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// The same with a key to sign with.
    #[must_use]
    pub fn with_key(self, key_id: impl Into<String>) -> Self {
        Self {
            key_id: Some(key_id.into()),
            ..self
        }
    }

    /// The same with leave to make a key there. It stays.
    #[must_use]
    pub fn with_new_key(self, key_id: impl Into<String>) -> Self {
        Self {
            create: Some(key_id.into()),
            ..self
        }
    }

    /// The same with one more identity to trust.
    #[must_use]
    pub fn with_trusted_identity(mut self, identity: impl Into<String>) -> Self {
        self.trusted_identities.push(identity.into());
        self
    }

    /// The same with one more of the plugin's settings.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(name.into(), value.into());
        self
    }
}

/// How a rule was met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was.
    Passed,
    /// It was not, and is a SHOULD.
    Warned(Finding),
    /// It was not.
    Failed(Finding),
    /// Something that it needs failed, or was not named.
    Skipped(String),
    /// It does not apply: the plugin does not offer what it is about, or it can't be tried without harm.
    Untried(String),
}

/// What was wrong.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Finding {
    /// One sentence.
    pub reason: String,
    /// The request, as it was sent.
    pub request: String,
    /// The answer, as it came.
    pub answer: String,
}

/// One rule and how it was met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// The requirement, for instance `PLG-18`.
    pub requirement: &'static str,
    /// The rule, in one sentence.
    pub rule: &'static str,
    /// How it was met.
    pub verdict: Verdict,
}

/// All rules.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// In the order in which they were tried.
    pub checks: Vec<Check>,
}

/// Runs all rules against the plugin.
pub fn run(subject: &Subject) -> Report {
    let mut report = Report::default();
    let Some(metadata) = metadata::check(subject, &mut report) else {
        report.skip(
            "*",
            "everything else",
            "the plugin's metadata can't be used",
        );
        return report;
    };
    let has = |capability: &Capability| metadata.capabilities.contains(capability);
    let own = signatures(subject, &metadata, &mut report);
    if let Some(place) = &subject.create {
        match has(&Capability::Keys) && has(&Capability::Session) {
            true => keys::check(subject, place, &mut report),
            false => report.skip(
                "PLG-51",
                "create-key and import-certificates",
                "the plugin lacks HARDSIGN.KEYS or HARDSIGN.SESSION",
            ),
        }
    }
    if has(&Capability::TrustedIdentity) || has(&Capability::RevocationCheck) {
        verification::check(subject, &metadata, own.as_ref(), &mut report);
    }
    if has(&Capability::TestKeys) {
        offers::test_key(subject, &mut report);
    }
    offers::untried(subject, &metadata, &mut report);
    report
}

/// The rules of signing with the key, if one was named; the envelope, if one was made that holds.
fn signatures(subject: &Subject, metadata: &Metadata, report: &mut Report) -> Option<Envelope> {
    let has = |capability: &Capability| metadata.capabilities.contains(capability);
    let Some(key_id) = &subject.key_id else {
        report.skip("PLG-23", "keys and signatures", "no key was named (--id)");
        return None;
    };
    let key = if has(&Capability::RawSignature) {
        let key = signing::check(subject, metadata, key_id, report);
        offers::settings(subject, metadata, key_id, report);
        key
    } else {
        None
    };
    if has(&Capability::Attest) {
        offers::attest(subject, key_id, key.as_ref(), report);
    }
    if has(&Capability::Session) {
        session::check(subject, metadata, key_id, key.as_ref(), report);
    }
    let makes_envelopes = has(&Capability::Envelope) || has(&Capability::EnvelopeForBlob);
    makes_envelopes.then(|| envelope::check(subject, key_id, report))?
}

impl Report {
    /// Whether no rule failed.
    pub fn passed(&self) -> bool {
        !self
            .checks
            .iter()
            .any(|check| matches!(check.verdict, Verdict::Failed(_)))
    }

    fn add(&mut self, requirement: &'static str, rule: &'static str, verdict: Verdict) {
        self.checks.push(Check {
            requirement,
            rule,
            verdict,
        });
    }

    fn skip(&mut self, requirement: &'static str, rule: &'static str, why: &str) {
        self.add(requirement, rule, Verdict::Skipped(why.into()));
    }

    fn untried(&mut self, requirement: &'static str, rule: &'static str, why: String) {
        self.add(requirement, rule, Verdict::Untried(why));
    }

    /// A MUST: passes what the closure gives, or notes what is wrong with the exchange.
    fn must<T>(
        &mut self,
        requirement: &'static str,
        rule: &'static str,
        exchange: &Exchange,
        result: Result<T, String>,
    ) -> Option<T> {
        let (value, verdict) = judged(exchange, result, Verdict::Failed);
        self.add(requirement, rule, verdict);
        value
    }

    /// A SHOULD.
    fn should<T>(
        &mut self,
        requirement: &'static str,
        rule: &'static str,
        exchange: &Exchange,
        result: Result<T, String>,
    ) -> Option<T> {
        let (value, verdict) = judged(exchange, result, Verdict::Warned);
        self.add(requirement, rule, verdict);
        value
    }
}

fn judged<T>(
    exchange: &Exchange,
    result: Result<T, String>,
    broken: fn(Finding) -> Verdict,
) -> (Option<T>, Verdict) {
    match result {
        Ok(value) => (Some(value), Verdict::Passed),
        Err(reason) => (
            None,
            broken(Finding {
                reason,
                request: exchange.shown_request(),
                answer: exchange.shown_answer(),
            }),
        ),
    }
}

/// A table for people: one line a rule, and below a rule that was not met what was said.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = [0_usize; 5];
        for check in &self.checks {
            let (column, mark, finding) = match &check.verdict {
                Verdict::Passed => (0, "ok  ", None),
                Verdict::Warned(finding) => (1, "WARN", Some(finding)),
                Verdict::Failed(finding) => (2, "FAIL", Some(finding)),
                Verdict::Skipped(_) => (3, "skip", None),
                Verdict::Untried(_) => (4, "none", None),
            };
            if let Some(count) = counts.get_mut(column) {
                *count = count.saturating_add(1);
            }
            write!(f, "{mark}  {:<8} {}", check.requirement, check.rule)?;
            if let Verdict::Skipped(why) | Verdict::Untried(why) = &check.verdict {
                write!(f, " ({why})")?;
            }
            writeln!(f)?;
            if let Some(finding) = finding {
                writeln!(f, "        {}", finding.reason)?;
                writeln!(f, "        request: {}", finding.request)?;
                for (at, line) in finding.answer.lines().enumerate() {
                    let label = if at == 0 { "answer:  " } else { "         " };
                    writeln!(f, "        {label}{line}")?;
                }
            }
        }
        let [passed, warned, failed, skipped, untried] = counts;
        write!(
            f,
            "{passed} met, {failed} broken, {warned} to be considered, {skipped} skipped"
        )?;
        match untried {
            0 => Ok(()),
            untried => write!(f, ", {untried} not tried"),
        }
    }
}
