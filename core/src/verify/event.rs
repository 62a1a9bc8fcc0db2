//! What happens during verification, for a log (VER-08, VER-23). Nothing is decided here, and
//! nothing printed: the caller's observer does as it likes with the text.

use std::error::Error;
use std::fmt;

use super::Need;
use crate::artifact::{Digest, Quoted};
use crate::event::Severity;
use crate::policy::{Check, Verification};
use crate::revocation;
use crate::text::WithCauses;

/// Receives what happens. It is called from the task that verifies, so it should be quick.
pub type Observer<'a> = &'a (dyn Fn(&Event<'_>) + Send + Sync);

/// Something that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The statement for an artifact is looked up.
    CheckLevel {
        /// The artifact.
        reference: &'a str,
    },
    /// The statement that applies (LOG-06).
    Statement {
        /// Its name.
        name: &'a str,
        /// What it demands.
        demands: &'a Verification,
    },
    /// The level is skip.
    Skipping,
    /// A signature of an artifact is verified.
    VerifySignature {
        /// The artifact's digest.
        artifact: &'a Digest,
        /// The artifact.
        reference: &'a str,
        /// Media type of the envelope.
        media_type: &'static str,
    },
    /// A signature of a file is verified.
    VerifyBlobSignature {
        /// Media type of the envelope.
        media_type: &'static str,
    },
    /// The chain is looked up in the stores.
    ValidateChain,
    /// The leaf is compared with the identities.
    ValidateIdentity,
    /// Evidence of hardware is looked at.
    ValidateHardware,
    /// The expiry is looked at.
    ValidateExpiry,
    /// The chain's validity at the time of signing is looked at.
    ValidateTimestamp,
    /// Whether the timestamp countersignature is looked at, and why (TSA-29).
    TimestampNeed(Need),
    /// The range of a timestamp that the chain was valid in (TSA-31).
    TimestampRange(crate::timestamp::Range),
    /// The timestamp countersignature holds (TSA-29).
    TimestampOk,
    /// Revocation is looked at.
    ValidateRevocation,
    /// What happens while revocation is checked.
    Revocation(&'a revocation::Event<'a>),
    /// Nothing speaks against the chain (REV-07).
    RevocationOk,
    /// A verification plugin is asked what it can do.
    FindPlugin {
        /// The plugin.
        plugin: &'a str,
    },
    /// A verification plugin verifies.
    RunPlugin {
        /// The plugin.
        plugin: &'a str,
        /// The capabilities asked for.
        capabilities: &'a str,
    },
    /// A verification plugin answered more than it was asked (PLG-46, DIF-15).
    PluginSurplus {
        /// The plugin.
        plugin: &'a str,
        /// What it answered.
        name: &'a str,
    },
    /// A check failed and is enforced.
    Failed {
        /// The check.
        check: Check,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A check failed and is only logged.
    Logged {
        /// The check.
        check: Check,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A signature was not accepted; the next one is tried (VER-24).
    SignatureFailed {
        /// The signature's manifest.
        digest: &'a Digest,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// A signature could not be fetched or read; the next one is tried (VER-28).
    SignatureUnreadable {
        /// The signature's manifest.
        digest: &'a Digest,
        /// The failure, with its causes.
        error: &'a (dyn Error + 'static),
    },
    /// The repository left something out of its listing.
    Listing(&'a crate::oci::Warning),
    /// A trust store has something that should be known.
    Store(&'a crate::trust::Warning),
    /// A signature was accepted.
    Succeeded {
        /// The artifact's digest.
        artifact: &'a Digest,
        /// The signature's manifest.
        digest: &'a Digest,
    },
}

impl Event<'_> {
    /// How much a reader of the log should care.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Failed { .. } => Severity::Error,
            Self::Revocation(event) => event.severity(),
            Self::Logged { .. }
            | Self::SignatureFailed { .. }
            | Self::SignatureUnreadable { .. }
            | Self::PluginSurplus { .. }
            | Self::Listing(_)
            | Self::Store(_) => Severity::Warn,
            Self::Statement { .. } | Self::TimestampNeed(Need::NoStore | Need::Unexpired) => {
                Severity::Info
            }
            _ => Severity::Debug,
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckLevel { reference } => {
                write!(f, "Check verification level against artifact {reference}")
            }
            Self::Statement { name, demands } => {
                write!(f, "Trust policy configuration: ")?;
                statement(name, demands, f)
            }
            Self::Skipping => f.write_str("Skipping signature verification"),
            Self::VerifySignature {
                artifact,
                reference,
                media_type,
            } => write!(
                f,
                "Verify signature against artifact {artifact} referenced as {reference} in signature media type {media_type}"
            ),
            Self::VerifyBlobSignature { media_type } => {
                write!(f, "Verify signature of media type {media_type}")
            }
            Self::ValidateChain => f.write_str("Validating cert chain"),
            Self::ValidateIdentity => f.write_str("Validating trust identity"),
            Self::ValidateHardware => f.write_str("Validating evidence of hardware"),
            Self::ValidateExpiry => f.write_str("Validating expiry"),
            Self::ValidateTimestamp => f.write_str("Validating authentic timestamp"),
            Self::TimestampNeed(need) => f.write_str(match need {
                Need::NoStore => {
                    "Timestamp verification disabled: no tsa trust store is configured in trust policy"
                }
                Need::Unexpired => {
                    "Timestamp verification disabled: verifyTimestamp is set to \"afterCertExpiry\" and signing cert chain unexpired"
                }
                Need::Token => "Performing timestamp verification...",
            }),
            Self::TimestampRange(range) => write!(f, "Timestamp range: {range}"),
            Self::TimestampOk => f.write_str("Timestamp verification: Success"),
            Self::ValidateRevocation => f.write_str("Validating revocation"),
            Self::Revocation(event) => event.fmt(f),
            Self::RevocationOk => f.write_str(
                "No verification impacting errors encountered while checking revocation, status is OK",
            ),
            Self::FindPlugin { plugin } => {
                write!(f, "Finding verification plugin {}", Quoted(plugin))
            }
            Self::RunPlugin {
                plugin,
                capabilities,
            } => write!(
                f,
                "Executing verification plugin {} with capabilities {capabilities}",
                Quoted(plugin)
            ),
            Self::PluginSurplus { plugin, name } => write!(
                f,
                "verification plugin {} answered {}, which it was not asked",
                Quoted(plugin),
                Quoted(name)
            ),
            Self::Failed { check, error } => {
                write!(f, "{check} validation failed. Failure reason: {}", WithCauses(*error))
            }
            Self::Logged { check, error } => write!(
                f,
                "{check} validation failed with validation action set to \"logged\". Failure reason: {}",
                WithCauses(*error)
            ),
            Self::SignatureFailed { digest, error } => {
                write!(
                    f,
                    "Signature {digest} failed verification with error: {}",
                    WithCauses(*error)
                )
            }
            Self::SignatureUnreadable { digest, error } => write!(
                f,
                "unable to retrieve digital signature with digest \"{digest}\", error : {}",
                WithCauses(*error)
            ),
            Self::Listing(warning) => warning.fmt(f),
            Self::Store(warning) => warning.fmt(f),
            Self::Succeeded { artifact, digest } => write!(
                f,
                "Signature verification succeeded for artifact {artifact} with signature digest {digest}"
            ),
        }
    }
}

/// A statement in the form that Go gives to values for `%+v`, which the reference logs (LOG-06).
fn statement(name: &str, demands: &Verification, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{{Name:{name} VerificationLevel:{}", demands.level())?;
    if let Some(rules) = demands.rules() {
        let identities = rules.identities().items();
        let list = |items: Vec<String>| items.join(" ");
        write!(
            f,
            " VerifyTimestamp:{} TrustStores:[{}] TrustedIdentities:[{}]",
            rules.verify_timestamp(),
            list(rules.stores().iter().map(ToString::to_string).collect()),
            list(identities.iter().map(ToString::to_string).collect()),
        )?;
    }
    f.write_str("}")
}
