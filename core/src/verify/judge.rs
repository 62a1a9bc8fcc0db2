//! All checks of one signature, in the order of the specification with two moves: the payload is
//! compared as soon as it is known to be intact (VER-22), and a verification plugin is looked for
//! only once the chain is trusted (VER-13). Both only refuse earlier what would be refused anyway
//! (VER-21).
//!
//! Nothing here waits or opens anything. A [`Case`] goes on until there is a [`Question`] that only
//! somebody else can answer, and goes on from there with the answer. [`judge`] is for who has all answers at
//! hand, [`super::Verifier`] asks for them one after the other; the checks are the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::authentic_timestamp::{TimestampFailure, authentic_timestamp, need};
use super::authenticity::{self, AuthenticityError};
use super::compared::Compared;
use super::content::{self, Target};
use super::expiry::expiry;
use super::extension::{
    self, Described, Errand, ExtensionAnswer, ExtensionError, ExtensionFailure, Plugin, PluginCheck,
};
use super::hardware::{HardwareError, hardware};
use super::integrity::{IntegrityError, integrity};
use super::options::Options;
use super::report::{Finding, Rejected, Report, RevocationFailure, Step};
use crate::artifact::Quoted;
use crate::envelope::{Format, ProvenChains, Signature, SigningScheme, VerificationPlugin};
use crate::event::{Event, Observer};
use crate::policy::hardsign::{HardwareRule, StatementRules};
use crate::policy::{Action, Check, Rules};
use crate::revocation::{self, Checked};
use crate::timestamp;
use crate::trust::{Anchor, LoadedStores};

/// What a signature is judged by: a statement of a policy, the stores that it names, and what the
/// user asks for.
#[derive(Clone, Copy)]
pub struct Grounds<'a> {
    pub(super) statement: &'a str,
    pub(super) rules: &'a Rules,
    /// In what kind of hardware the key must live, if that is demanded.
    pub(super) hardware: Option<&'a Arc<HardwareRule>>,
    pub(super) stores: &'a LoadedStores,
    pub(super) user_metadata: &'a BTreeMap<String, String>,
    pub(super) plugin_config: &'a BTreeMap<String, String>,
    pub(super) now: Timestamp,
    pub(super) observer: &'a dyn Observer,
}

/// Rules of a policy that one signature can't satisfy, whatever it says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("the rule \"{rule}\" of trust policy statement {} is about more than one signature", Quoted(.statement))]
pub struct MoreThanOneSignature {
    /// The statement.
    pub statement: String,
    /// The member of the rules: `signers` or `attached`.
    pub rule: &'static str,
}

/// Answers that are at hand. What is not answered is not known, and fails where the policy wants to
/// know it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Answers {
    /// The status of each certificate of the signing chain, leaf first.
    pub signer: Vec<Checked>,
    /// The status of each certificate of the timestamping authority's chain, leaf first.
    pub authority: Vec<Checked>,
    /// What the verification plugin that the signature names says of itself, and what it decided.
    pub plugin: Option<(Described, ExtensionAnswer)>,
}

/// A signature that passed every check that its statement enforces. Only a verification makes one.
#[derive(Debug)]
pub struct VerifiedSignature {
    signature: Signature,
    report: Report,
    anchors: Vec<Anchor>,
}

/// What only somebody else can answer.
pub(super) enum Question<'a> {
    /// What the plugin can do that the signature names.
    Plugin(&'a VerificationPlugin),
    /// The revocation of the timestamping authority's chain.
    Authority(&'a timestamp::Verified),
    /// The revocation of the signing chain.
    Signer(&'a Signature),
    /// What the plugin decides.
    Decision {
        plugin: &'a Plugin,
        signature: &'a Signature,
        errand: &'a Errand,
    },
}

/// The answer to a [`Question`].
pub(super) enum Reply {
    Plugin(Result<Described, ExtensionFailure>),
    Revocation(Vec<Checked>),
    Decision(Result<ExtensionAnswer, ExtensionFailure>),
}

/// How far a case is. What stands in it waits for an answer.
enum Stage {
    Begin,
    Plugin(VerificationPlugin),
    Signer,
    Authority(Box<timestamp::Verified>),
    Revocation,
    Revoked,
    Extension,
    Decision(Errand),
    End,
}

/// One signature on the way to its verdict.
pub(super) struct Case<'a> {
    grounds: &'a Grounds<'a>,
    target: Target<'a>,
    integrity: Option<IntegrityError>,
    signature: Option<Signature>,
    report: Report,
    anchors: Vec<Anchor>,
    plugin: Option<Plugin>,
    stage: Stage,
    answer: Option<Reply>,
}

/// The step at which verification ends.
struct Refused(Step);

/// Judges a signature by what is at hand: the envelope's bytes, what it should be about, a statement with its
/// stores, and answers about revocation. Nothing is opened, nobody is asked, and no clock is read.
///
/// ```
/// # use hardsign_test_support::{Key, Pki, certificate, jws};
/// # use hardsign_core::algorithm::KeySpec;
/// use hardsign_core::envelope::Format;
/// use hardsign_core::policy::{Verification, oci};
/// use hardsign_core::trust::{LoadedStores, StoreRef, TrustStore};
/// use hardsign_core::verify::{Answers, Grounds, Options, Policy, Target, judge};
/// use hardsign_core::x509::Certificate;
///
/// # let pki = Pki::new();
/// # let (root, chain) = (pki.root.der.clone(), pki.chain(&pki.signer(KeySpec::Ec256)));
/// # let artifact = hardsign_core::blob::describe(&b"{}"[..], KeySpec::Ec256.hash(), "application/x")?;
/// # let payload = format!(r#"{{"targetArtifact":{{"mediaType":"application/x","digest":"{}","size":2}}}}"#, artifact.digest);
/// # let key = Key::of(KeySpec::Ec256);
/// # let protected = jws::protected(&key).to_json();
/// # let envelope = jws::Jws::sign(&protected, payload.as_bytes(), jws::header(&chain), &key).to_bytes();
/// # let now = certificate::now();
/// let policy = Policy::<oci::Document>::from_bytes(
///     "mine",
///     br#"{"version": "1.0", "trustPolicies": [{
///         "name": "mine", "registryScopes": ["registry.example.com/app"],
///         "signatureVerification": {"level": "strict", "override": {"revocation": "skip"}},
///         "trustStores": ["ca:mine"], "trustedIdentities": ["*"]
///     }]}"#,
/// )?;
/// let store = TrustStore::new(StoreRef::parse("ca:mine")?, Certificate::parse_file(&root)?)?;
/// let stores = LoadedStores::default().with(store);
///
/// let scope = "registry.example.com/app";
/// let statement = policy.document().statement_for_repository(scope, || scope.to_owned())?;
/// let Verification::Verify(rules) = statement.verification() else {
///     return Ok(()); // The policy verifies nothing here.
/// };
/// let own = policy.rules(statement.name());
/// let grounds = Grounds::new(statement.name(), rules, own, &stores, Options::new(now))?;
/// let target = Target::Artifact(&artifact);
/// let verified = judge(Format::Jws, &envelope, target, &grounds, Answers::default())?;
/// println!("signed by {}", verified.signature().chain().leaf().subject());
///
/// // Another artifact is refused.
/// let other = hardsign_core::artifact::Descriptor { size: 3, ..artifact.clone() };
/// let target = Target::Artifact(&other);
/// assert!(judge(Format::Jws, &envelope, target, &grounds, Answers::default()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Rejected`], at the first check that fails and is enforced.
pub fn judge(
    format: Format,
    envelope: &[u8],
    target: Target<'_>,
    grounds: &Grounds<'_>,
    mut answers: Answers,
) -> Result<VerifiedSignature, Rejected> {
    let mut case = Case::new(
        grounds,
        integrity(format, envelope, &ProvenChains::default()),
        target,
    );
    loop {
        let answer = match case.next() {
            Err(verdict) => return *verdict,
            Ok(Question::Signer(_)) => Reply::Revocation(std::mem::take(&mut answers.signer)),
            Ok(Question::Authority(_)) => Reply::Revocation(std::mem::take(&mut answers.authority)),
            Ok(Question::Plugin(_)) => {
                let described = answers
                    .plugin
                    .as_ref()
                    .map(|(described, _)| described.clone());
                Reply::Plugin(described.ok_or_else(ExtensionFailure::none))
            }
            Ok(Question::Decision { .. }) => {
                let decided = answers.plugin.take().map(|(_, decided)| decided);
                Reply::Decision(decided.ok_or_else(ExtensionFailure::none))
            }
        };
        case.answer(answer);
    }
}

impl<'a> Grounds<'a> {
    /// The rules of a statement, hardsign's own rules for it if there are any (`Policy::rules`), and the stores that it names. A rule
    /// on hardware of the policy goes before one of the options; the options' limit of signatures and budget play no part.
    ///
    /// # Errors
    /// [`MoreThanOneSignature`] where the rules say who must have signed, or what must be attached: one signature that passes
    /// would not mean that the policy is satisfied. Use a [`Verifier`](super::Verifier), or [`Grounds::of_several`].
    pub fn new(
        statement: &'a str,
        rules: &'a Rules,
        own: Option<&'a StatementRules>,
        stores: &'a LoadedStores,
        options: Options<'a>,
    ) -> Result<Self, MoreThanOneSignature> {
        let rule = match own {
            Some(own) if own.signers.is_some() => Some("signers"),
            Some(own) if !own.attached.is_empty() => Some("attached"),
            _ => None,
        };
        match rule {
            Some(rule) => Err(MoreThanOneSignature {
                statement: statement.to_owned(),
                rule,
            }),
            None => Ok(Self::of_several(statement, rules, own, stores, options)),
        }
    }

    /// The same for who judges several signatures one by one, and counts the signers and looks at what is attached by themselves: a
    /// signature that passes is one of those that the rules ask for, and no more.
    pub fn of_several(
        statement: &'a str,
        rules: &'a Rules,
        own: Option<&'a StatementRules>,
        stores: &'a LoadedStores,
        options: Options<'a>,
    ) -> Self {
        let hardware = own.and_then(|own| own.hardware.as_ref());
        Self {
            statement,
            rules,
            hardware: hardware.or(options.hardware),
            stores,
            user_metadata: options.user_metadata,
            plugin_config: options.plugin_config,
            now: options.now,
            observer: options.observer,
        }
    }
}

impl VerifiedSignature {
    /// The signature: payload, attributes, chain.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Every finding, the logged failures among them.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// By which certificates of which stores the chain is trusted. Empty only where authenticity
    /// failed and the statement merely logs that.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }
}

impl<'a> Case<'a> {
    /// A signature as it came out of the integrity check.
    pub(super) fn new(
        grounds: &'a Grounds<'a>,
        integrity: Result<Signature, IntegrityError>,
        target: Target<'a>,
    ) -> Self {
        let (signature, fault) = match integrity {
            Ok(signature) => (Some(signature), None),
            Err(fault) => (None, Some(fault)),
        };
        Self {
            report: Report::new(grounds.rules.actions(), grounds.hardware.is_some()),
            grounds,
            target,
            integrity: fault,
            signature,
            anchors: Vec::new(),
            plugin: None,
            stage: Stage::Begin,
            answer: None,
        }
    }

    /// Goes on to the next question, or else to the verdict. The first failure that the statement
    /// enforces ends it (VER-06).
    pub(super) fn next(
        &mut self,
    ) -> Result<Question<'_>, Box<Result<VerifiedSignature, Rejected>>> {
        let Some(signature) = self.signature.take() else {
            if let Some(fault) = self.integrity.take() {
                self.report.integrity = Finding::Failed(fault);
                // A level that only logs it has nothing to go on with either.
                let _logged = self.settle(Check::Integrity);
            }
            return Err(self.rejected(Step::Policy(Check::Integrity), None));
        };
        let went = self.go_on(&signature);
        match went {
            Err(Refused(step)) => Err(self.rejected(step, Some(&signature))),
            Ok(()) if matches!(self.stage, Stage::End) => Err(self.verdict(signature)),
            Ok(()) => {
                let signature = self.signature.insert(signature);
                match (&self.stage, &self.plugin) {
                    (Stage::Plugin(named), _) => Ok(Question::Plugin(named)),
                    (Stage::Authority(verified), _) => Ok(Question::Authority(verified)),
                    (Stage::Decision(errand), Some(plugin)) => Ok(Question::Decision {
                        plugin,
                        signature,
                        errand,
                    }),
                    _ => Ok(Question::Signer(signature)),
                }
            }
        }
    }

    /// The answer to the question that stands.
    pub(super) fn answer(&mut self, answer: Reply) {
        self.answer = Some(answer);
    }

    fn rejected(
        &mut self,
        step: Step,
        signature: Option<&Signature>,
    ) -> Box<Result<VerifiedSignature, Rejected>> {
        let compared = |signature| Compared::new(step, signature, &self.target, self.grounds);
        let compared = signature.map(compared);
        Box::new(Err(Rejected::new(step, self.take_report(), compared)))
    }

    /// Looked at once more as a whole: a step that was left out is not a step that passed.
    fn verdict(&mut self, signature: Signature) -> Box<Result<VerifiedSignature, Rejected>> {
        match self.report.first_refused() {
            Some(step) => self.rejected(step, Some(&signature)),
            None => Box::new(Ok(VerifiedSignature {
                signature,
                report: self.take_report(),
                anchors: std::mem::take(&mut self.anchors),
            })),
        }
    }

    /// The report goes out with the verdict; what is left has reached nothing.
    fn take_report(&mut self) -> Report {
        let empty = Report::new(self.grounds.rules.actions(), true);
        std::mem::replace(&mut self.report, empty)
    }

    /// Does what can be done until a question stands, or all is done.
    fn go_on(&mut self, signature: &Signature) -> Result<(), Refused> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::End);
            let answer = self.answer.take();
            let (next, asks) = match stage {
                Stage::Begin => self.begin(signature)?,
                Stage::Plugin(named) => {
                    self.plugin = Some(self.found(&named, answer)?);
                    (Stage::Signer, false)
                }
                Stage::Signer => self.signer(signature)?,
                Stage::Authority(verified) => {
                    let statuses = statuses(answer);
                    let concluded = timestamp::conclude(verified.chain(), &statuses);
                    if concluded.is_ok() {
                        self.tell(&Event::TimestampOk);
                    }
                    self.report.timestamp = Some(verified);
                    let concluded = concluded.map_err(TimestampFailure::from);
                    self.report.authentic_timestamp = concluded.into();
                    self.settle(Check::AuthenticTimestamp)?;
                    (Stage::Revocation, false)
                }
                Stage::Revocation => self.revocation()?,
                Stage::Revoked => {
                    self.revoked(signature, statuses(answer))?;
                    (Stage::Extension, false)
                }
                Stage::Extension => self.extension(signature)?,
                Stage::Decision(errand) => {
                    self.decided(signature, &errand, answer)?;
                    (Stage::End, false)
                }
                Stage::End => return Ok(()),
            };
            self.stage = next;
            if asks {
                return Ok(());
            }
        }
    }

    /// The payload, critical attributes, and whether the chain is trusted.
    fn begin(&mut self, signature: &Signature) -> Result<(Stage, bool), Refused> {
        self.report.integrity = Finding::Passed;
        let target = &signature.payload().target;
        let hash = signature.algorithm().hash();
        self.report.content = self.target.check(target, hash).into();
        self.enforce(Step::Content)?;
        let required = self.grounds.user_metadata;
        self.report.user_metadata = content::user_metadata(target, required).into();
        self.enforce(Step::UserMetadata)?;
        let named = extension::named_plugin(signature);
        let named = self.failing(named)?;

        self.tell(&Event::ValidateChain);
        let Grounds { rules, stores, .. } = *self.grounds;
        self.report.authenticity = match authenticity::trusted_chain(signature, rules, stores) {
            Ok(anchors) => {
                self.anchors = anchors;
                Finding::Passed
            }
            Err(error) => Finding::Failed(error),
        };
        self.settle(Check::Authenticity)?;
        let Some(named) = named else {
            return Ok((Stage::Signer, false));
        };
        // VER-12, VER-13: nothing is run on a stranger's word.
        if self.anchors.is_empty() {
            let plugin = named.name;
            return self.failing(Err(ExtensionError::UntrustedChain { plugin }));
        }
        let plugin = &named.name;
        self.tell(&Event::FindVerificationPlugin { plugin });
        Ok((Stage::Plugin(named), true))
    }

    /// What the plugin says of itself (VER-35 to VER-37).
    fn found(
        &mut self,
        named: &VerificationPlugin,
        answer: Option<Reply>,
    ) -> Result<Plugin, Refused> {
        let plugin = || named.name.clone();
        let described = match answer {
            Some(Reply::Plugin(described)) => described,
            _ => Err(ExtensionFailure::none()),
        };
        let described = described.map_err(|failure| match failure {
            ExtensionFailure::NotFound(source) => ExtensionError::NotFound {
                plugin: plugin(),
                source,
            },
            ExtensionFailure::NotPassable { attribute } => ExtensionError::NotPassable {
                attribute,
                plugin: plugin(),
            },
            ExtensionFailure::Failed(source) => ExtensionError::Describe(source),
        });
        let checked = described.and_then(|d| extension::check_plugin(named, d));
        self.failing(checked)
    }

    /// Who signed, with what, and when.
    fn signer(&mut self, signature: &Signature) -> Result<(Stage, bool), Refused> {
        let Grounds {
            rules, statement, ..
        } = *self.grounds;
        if self.report.authenticity.is_passed() && !self.does(PluginCheck::TrustedIdentity) {
            self.tell(&Event::ValidateIdentity);
            let identity = authenticity::trusted_identity(signature, rules, statement);
            self.report.authenticity = identity.into();
            self.settle(Check::Authenticity)?;
        }
        self.hardware(signature)?;
        let now = self.grounds.now;
        self.tell(&Event::ValidateExpiry);
        self.report.expiry = expiry(signature.attributes().expiry, now).into();
        self.settle(Check::Expiry)?;

        self.tell(&Event::ValidateTimestamp);
        if signature.attributes().signing_scheme == SigningScheme::X509 {
            let chain = signature.chain().certificates();
            self.tell(&need(chain, rules, now).event());
        }
        // Whatever the action for revocation is, an authority's is always enforced (TSA-32, REV-10).
        match authentic_timestamp(signature, rules, self.grounds.stores, now) {
            Ok(Some(verified)) => {
                self.tell(&Event::TimestampRange {
                    range: format_args!("{}", verified.range()),
                });
                return Ok((Stage::Authority(Box::new(verified)), true));
            }
            Ok(None) => self.report.authentic_timestamp = Finding::Passed,
            Err(failure) => self.report.authentic_timestamp = Finding::Failed(failure),
        }
        self.settle(Check::AuthenticTimestamp)?;
        Ok((Stage::Revocation, false))
    }

    /// Evidence of hardware, before anything is asked over the network. No level weakens it.
    fn hardware(&mut self, signature: &Signature) -> Result<(), Refused> {
        let Some(rule) = self.grounds.hardware else {
            self.report.hardware = Finding::Skipped;
            return self.enforce(Step::Hardware);
        };
        self.tell(&Event::ValidateHardware);
        let carried = signature.unsigned().attestation.as_ref();
        let judged = match signature.chain().leaf().public_key() {
            Ok(key) => hardware(rule, carried, key, self.grounds.now),
            Err(_) => Err(HardwareError::NoEvidence),
        };
        self.report.hardware = match judged {
            Ok(attested) => {
                self.report.attested = Some(Box::new(attested));
                Finding::Passed
            }
            Err(error) => Finding::Failed(error),
        };
        self.enforce(Step::Hardware)
    }

    /// Revocation of the signing chain (VER-17). Nobody is asked about a chain that isn't trusted:
    /// its certificates choose the addresses.
    fn revocation(&mut self) -> Result<(Stage, bool), Refused> {
        if self.grounds.rules.action(Check::Revocation) == Action::Skip {
            self.report.revocation = Finding::Skipped;
            return Ok((Stage::Extension, false));
        }
        if self.does(PluginCheck::RevocationCheck) {
            return Ok((Stage::Extension, false));
        }
        self.tell(&Event::ValidateRevocation);
        if self.report.authenticity.is_passed() {
            return Ok((Stage::Revoked, true));
        }
        self.report.revocation = Finding::Failed(RevocationFailure::Untrusted);
        self.settle(Check::Revocation)?;
        Ok((Stage::Extension, false))
    }

    fn revoked(&mut self, signature: &Signature, checked: Vec<Checked>) -> Result<(), Refused> {
        let result = revocation::conclude(signature.chain().certificates(), &checked);
        if result.is_ok() {
            self.tell(&Event::RevocationOk);
        }
        self.report.revocation = result.map_err(RevocationFailure::Chain).into();
        self.report.certificates = checked;
        self.settle(Check::Revocation)
    }

    /// What is left for the plugin (VER-18, VER-42).
    fn extension(&mut self, signature: &Signature) -> Result<(Stage, bool), Refused> {
        let errand = match &self.plugin {
            Some(plugin) => plugin.errand(signature, self.grounds.rules),
            None => Ok(None),
        };
        let Some(errand) = self.failing(errand)? else {
            self.report.extension = Finding::Passed;
            return Ok((Stage::End, false));
        };
        if let Some(plugin) = &self.plugin {
            self.tell(&Event::RunVerificationPlugin {
                plugin: &plugin.name,
                capabilities: &format!("{:?}", errand.checks),
            });
        }
        Ok((Stage::Decision(errand), true))
    }

    /// What the plugin decided (VER-38 to VER-41).
    fn decided(
        &mut self,
        signature: &Signature,
        errand: &Errand,
        answer: Option<Reply>,
    ) -> Result<(), Refused> {
        let Some(plugin) = self.plugin.clone() else {
            return Err(Refused(Step::Extension));
        };
        let name = || plugin.name.clone();
        let decided = match answer {
            Some(Reply::Decision(decided)) => decided,
            _ => Err(ExtensionFailure::none()),
        };
        let decided = decided.map_err(|failure| match failure {
            ExtensionFailure::NotFound(source) | ExtensionFailure::Failed(source) => {
                ExtensionError::Run {
                    plugin: name(),
                    source,
                }
            }
            ExtensionFailure::NotPassable { attribute } => ExtensionError::NotPassable {
                attribute,
                plugin: name(),
            },
        });
        let mut decided = self.failing(decided)?;
        let surplus = std::mem::take(&mut decided.surplus);
        let said = plugin.said(signature, errand, decided);
        let said = self.failing(said)?;
        for name in &surplus {
            self.tell(&Event::PluginSurplus {
                plugin: &plugin.name,
                name,
            });
        }
        self.report.extension = Finding::Passed;
        if let Some(Err(reason)) = said.identity {
            let plugin = name();
            self.report.authenticity =
                Finding::Failed(AuthenticityError::Plugin { plugin, reason });
            self.settle(Check::Authenticity)?;
        }
        if let Some(result) = said.revocation {
            let failed = |reason| RevocationFailure::Plugin {
                plugin: name(),
                reason,
            };
            self.report.revocation = result.map_err(failed).into();
            self.settle(Check::Revocation)?;
        }
        Ok(())
    }

    fn does(&self, check: PluginCheck) -> bool {
        self.plugin
            .as_ref()
            .is_some_and(|plugin| plugin.does(check))
    }

    fn tell(&self, event: &Event<'_>) {
        self.grounds.observer.observe(event);
    }

    /// Says what became of a check of the policy, and ends verification where it is enforced.
    fn settle(&self, check: Check) -> Result<(), Refused> {
        let step = Step::Policy(check);
        let allowed = self.report.allows(step);
        if let Some(error) = self.report.error(step) {
            self.tell(&if allowed {
                Event::CheckLogged {
                    check: check.name(),
                    error,
                }
            } else {
                Event::CheckFailed {
                    check: check.name(),
                    error,
                }
            });
        }
        if allowed { Ok(()) } else { Err(Refused(step)) }
    }

    fn enforce(&self, step: Step) -> Result<(), Refused> {
        if self.report.allows(step) {
            Ok(())
        } else {
            Err(Refused(step))
        }
    }

    /// Puts a failure of attributes or plugin into the report; it is fatal at every level (VER-41).
    fn failing<T>(&mut self, result: Result<T, ExtensionError>) -> Result<T, Refused> {
        result.map_err(|error| {
            self.report.extension = Finding::Failed(error);
            Refused(Step::Extension)
        })
    }
}

/// The statuses that were asked for; none where the answer is about something else.
fn statuses(answer: Option<Reply>) -> Vec<Checked> {
    match answer {
        Some(Reply::Revocation(checked)) => checked,
        _ => Vec::new(),
    }
}
