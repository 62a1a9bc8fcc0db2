//! All checks of one signature, in the order of the specification with two moves: the payload is
//! compared as soon as it is known to be intact (VER-22), and a verification plugin is looked for
//! only once the chain is trusted (VER-13). Both only refuse earlier what would be refused anyway
//! (VER-21).

use std::collections::BTreeMap;
use std::sync::Arc;

use hardsign_plugin::proto::{Capability, PluginConfig};
use jiff::Timestamp;

use super::authentic_timestamp::{TimestampFailure, authentic_timestamp, need};
use super::authenticity::{self, AuthenticityError, Load};
use super::content::{self, Expected};
use super::event::{Event, Observer};
use super::expiry::expiry;
use super::extension::{self, Extension, ExtensionError, ExtensionFailure, Plugin};
use super::hardware::{HardwareError, hardware};
use super::integrity::IntegrityError;
use super::report::{Finding, Rejected, Report, RevocationFailure, Step};
use crate::budget::{Phase, during};
use crate::envelope::{Signature, SigningScheme};
use crate::policy::hardsign::HardwareRule;
use crate::policy::{Action, Check, Rules};
use crate::revocation::{self, Checker};
use crate::timestamp::check_revocation;
use crate::trust::Anchor;

/// What one signature is verified against.
pub(super) struct Context<'a, E, R> {
    pub(super) statement: &'a str,
    pub(super) rules: &'a Rules,
    /// In what kind of hardware the key must live, if that is demanded.
    pub(super) hardware: Option<&'a Arc<HardwareRule>>,
    pub(super) load: Load<'a>,
    pub(super) extension: &'a E,
    pub(super) revocation: &'a R,
    pub(super) user_metadata: &'a BTreeMap<String, String>,
    pub(super) plugin_config: &'a PluginConfig,
    pub(super) now: Timestamp,
    pub(super) observer: Observer<'a>,
}

/// A signature that passed every check that its statement enforces. Only a verification makes one.
#[derive(Debug)]
pub struct VerifiedSignature {
    signature: Signature,
    report: Report,
    anchors: Vec<Anchor>,
}

/// The step at which verification ends.
struct Refused(Step);

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

/// Runs every check. The first failure that the statement enforces ends it (VER-06).
pub(super) async fn verify<E: Extension, R: Checker>(
    context: &Context<'_, E, R>,
    integrity: Result<Signature, IntegrityError>,
    expected: Expected<'_>,
) -> Result<VerifiedSignature, Rejected> {
    let mut report = Report::new(context.rules.actions(), context.hardware.is_some());
    match context.steps(integrity, expected, &mut report).await {
        Err(Refused(step)) => Err(Rejected::new(step, report)),
        // Looked at once more as a whole: a step that was left out is not a step that passed.
        Ok((signature, anchors)) => match report.first_refused() {
            Some(step) => Err(Rejected::new(step, report)),
            None => Ok(VerifiedSignature {
                signature,
                report,
                anchors,
            }),
        },
    }
}

impl<E: Extension, R: Checker> Context<'_, E, R> {
    async fn steps(
        &self,
        integrity: Result<Signature, IntegrityError>,
        expected: Expected<'_>,
        report: &mut Report,
    ) -> Result<(Signature, Vec<Anchor>), Refused> {
        let signature = match integrity {
            Ok(signature) => signature,
            Err(error) => {
                report.integrity = Finding::Failed(error);
                self.settle(report, Check::Integrity)?;
                return Err(Refused(Step::Policy(Check::Integrity)));
            }
        };
        report.integrity = Finding::Passed;
        let target = &signature.payload().target;
        let hash = signature.algorithm().hash();
        report.content = expected.check(target, hash).into();
        enforce(report, Step::Content)?;
        report.user_metadata = content::user_metadata(target, self.user_metadata).into();
        enforce(report, Step::UserMetadata)?;
        let named = failing(report, extension::named_plugin(&signature))?;

        (self.observer)(&Event::ValidateChain);
        let anchors = match authenticity::trusted_chain(&signature, self.rules, self.load) {
            Ok(anchors) => {
                report.authenticity = Finding::Passed;
                anchors
            }
            Err(error) => {
                report.authenticity = Finding::Failed(error);
                Vec::new()
            }
        };
        self.settle(report, Check::Authenticity)?;
        let plugin = match named {
            None => None,
            Some(named) => {
                let found = self.find_plugin(&named, &anchors).await;
                Some(failing(report, found)?)
            }
        };
        let does = |c| plugin.as_ref().is_some_and(|plugin| plugin.does(&c));
        if report.authenticity.is_passed() && !does(Capability::TrustedIdentity) {
            (self.observer)(&Event::ValidateIdentity);
            report.authenticity =
                authenticity::trusted_identity(&signature, self.rules, self.statement).into();
            self.settle(report, Check::Authenticity)?;
        }
        self.hardware(&signature, report)?;
        self.times(&signature, report).await?;
        if self.rules.action(Check::Revocation) == Action::Skip {
            report.revocation = Finding::Skipped;
        } else if !does(Capability::RevocationCheck) {
            self.revocation(&signature, report).await?;
        }
        match plugin {
            Some(plugin) => self.run_plugin(&plugin, &signature, report).await?,
            None => report.extension = Finding::Passed,
        }
        Ok((signature, anchors))
    }

    /// Evidence of hardware, before anything is asked over the network. No level weakens it.
    fn hardware(&self, signature: &Signature, report: &mut Report) -> Result<(), Refused> {
        let Some(rule) = self.hardware else {
            report.hardware = Finding::Skipped;
            return enforce(report, Step::Hardware);
        };
        (self.observer)(&Event::ValidateHardware);
        let carried = signature.unsigned().attestation.as_ref();
        let judged = match signature.chain().leaf().public_key() {
            Ok(key) => hardware(rule, carried, key, self.now),
            Err(_) => Err(HardwareError::NoEvidence),
        };
        report.hardware = match judged {
            Ok(attested) => {
                report.attested = Some(Box::new(attested));
                Finding::Passed
            }
            Err(error) => Finding::Failed(error),
        };
        enforce(report, Step::Hardware)
    }

    /// Expiry, then the chain's validity (VER-15, VER-16).
    async fn times(&self, signature: &Signature, report: &mut Report) -> Result<(), Refused> {
        (self.observer)(&Event::ValidateExpiry);
        report.expiry = expiry(signature.attributes().expiry, self.now).into();
        self.settle(report, Check::Expiry)?;

        (self.observer)(&Event::ValidateTimestamp);
        if signature.attributes().signing_scheme == SigningScheme::X509 {
            let chain = signature.chain().certificates();
            (self.observer)(&Event::TimestampNeed(need(chain, self.rules, self.now)));
        }
        report.authentic_timestamp = self.timestamp(signature).await.into();
        self.settle(report, Check::AuthenticTimestamp)
    }

    /// The judgement, then the revocation of the timestamping authority: always enforced, and
    /// whatever the action for revocation is (TSA-32, REV-10).
    async fn timestamp(&self, signature: &Signature) -> Result<(), TimestampFailure> {
        let judged = authentic_timestamp(signature, self.rules, self.load, self.now)?;
        if let Some(verified) = judged {
            (self.observer)(&Event::TimestampRange(verified.range()));
            let observer =
                |event: &revocation::Event<'_>| (self.observer)(&Event::Revocation(event));
            let check = check_revocation(self.revocation, verified.chain(), self.now, &observer);
            during(Phase::Revocation, check).await?;
            (self.observer)(&Event::TimestampOk);
        }
        Ok(())
    }

    /// Revocation of the signing chain (VER-17). Nobody is asked about a chain that isn't trusted:
    /// its certificates choose the addresses.
    async fn revocation(&self, signature: &Signature, report: &mut Report) -> Result<(), Refused> {
        (self.observer)(&Event::ValidateRevocation);
        if !report.authenticity.is_passed() {
            report.revocation = Finding::Failed(RevocationFailure::Untrusted);
            return self.settle(report, Check::Revocation);
        }
        let chain = signature.chain();
        let authentic = signature.attributes().authentic_signing_time();
        let observer = |event: &revocation::Event<'_>| (self.observer)(&Event::Revocation(event));
        let check = self.revocation.check(chain, authentic, self.now, &observer);
        let checked = during(Phase::Revocation, check).await;
        let result = revocation::conclude(chain.certificates(), &checked);
        if result.is_ok() {
            (self.observer)(&Event::RevocationOk);
        }
        report.revocation = result.map_err(RevocationFailure::Chain).into();
        report.certificates = checked;
        self.settle(report, Check::Revocation)
    }

    /// Asks the plugin what it can do, once the chain is trusted (VER-12, VER-13, VER-35 to VER-37).
    async fn find_plugin(
        &self,
        named: &crate::envelope::VerificationPlugin,
        anchors: &[Anchor],
    ) -> Result<Plugin, ExtensionError> {
        let plugin = || named.name.clone();
        if anchors.is_empty() {
            return Err(ExtensionError::UntrustedChain { plugin: plugin() });
        }
        (self.observer)(&Event::FindPlugin {
            plugin: &named.name,
        });
        let metadata = self.extension.describe(&named.name, self.plugin_config);
        let metadata = during(Phase::VerificationPlugin, metadata).await;
        let metadata = metadata.map_err(|failure| match failure {
            ExtensionFailure::NotFound(source) => ExtensionError::NotFound {
                plugin: plugin(),
                source,
            },
            ExtensionFailure::Failed(source) => ExtensionError::Describe(source),
        })?;
        extension::check_plugin(named, &metadata)
    }

    /// Lets the plugin do its part (VER-18, VER-38 to VER-42).
    async fn run_plugin(
        &self,
        plugin: &Plugin,
        signature: &Signature,
        report: &mut Report,
    ) -> Result<(), Refused> {
        let request = plugin.request(signature, self.rules, self.plugin_config);
        let Some(request) = failing(report, request)? else {
            report.extension = Finding::Passed;
            return Ok(());
        };
        (self.observer)(&Event::RunPlugin {
            plugin: &plugin.name,
            capabilities: &format!("{:?}", request.trust_policy.signature_verification),
        });
        let response = self.extension.verify(&plugin.name, &request);
        let response = during(Phase::VerificationPlugin, response).await;
        let response = response.map_err(|failure| {
            let (ExtensionFailure::NotFound(source) | ExtensionFailure::Failed(source)) = failure;
            ExtensionError::Run {
                plugin: plugin.name.clone(),
                source,
            }
        });
        let response = failing(report, response)?;
        let answer = failing(report, plugin.answer(signature, &request, &response))?;
        for name in &answer.surplus {
            (self.observer)(&Event::PluginSurplus {
                plugin: &plugin.name,
                name,
            });
        }
        report.extension = Finding::Passed;
        if let Some(Err(reason)) = answer.identity {
            report.authenticity = Finding::Failed(AuthenticityError::Plugin {
                plugin: plugin.name.clone(),
                reason,
            });
            self.settle(report, Check::Authenticity)?;
        }
        if let Some(result) = answer.revocation {
            let failed = |reason| RevocationFailure::Plugin {
                plugin: plugin.name.clone(),
                reason,
            };
            report.revocation = result.map_err(failed).into();
            self.settle(report, Check::Revocation)?;
        }
        Ok(())
    }

    /// Says what became of a check of the policy, and ends verification where it is enforced.
    fn settle(&self, report: &Report, check: Check) -> Result<(), Refused> {
        let step = Step::Policy(check);
        let allowed = report.allows(step);
        if let Some(error) = report.error(step) {
            (self.observer)(&if allowed {
                Event::Logged { check, error }
            } else {
                Event::Failed { check, error }
            });
        }
        if allowed { Ok(()) } else { Err(Refused(step)) }
    }
}

fn enforce(report: &Report, step: Step) -> Result<(), Refused> {
    if report.allows(step) {
        Ok(())
    } else {
        Err(Refused(step))
    }
}

/// Puts a failure of attributes or plugin into the report; it is fatal at every level (VER-41).
fn failing<T>(report: &mut Report, result: Result<T, ExtensionError>) -> Result<T, Refused> {
    result.map_err(|error| {
        report.extension = Finding::Failed(error);
        Refused(Step::Extension)
    })
}
