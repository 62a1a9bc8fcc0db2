//! Critical attributes, and the verification plugin that a signature may name (VER-35 to VER-43,
//! ENV-25 to ENV-27, PLG-40 to PLG-48).
//!
//! The plugin is a program on this machine that an untrusted signature names: it is looked for
//! only after a trust store trusts the signature's chain (VER-13, SEC-24), and its name must be a
//! plain file name (DIF-42). It can add a reason to refuse, and it can stand in for the identity
//! and revocation checks; nothing else (VER-43).

use std::collections::BTreeSet;
use std::error::Error;

use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Capability, CriticalAttributes, Metadata, NO_EXPIRY, PluginConfig,
    PolicyToVerify, SignatureToVerify, VerifySignatureRequest, VerifySignatureResponse,
};

use crate::artifact::Quoted;
use crate::envelope::{
    AttributeError, ExtendedAttribute, PAYLOAD_CONTENT_TYPE, Signature, VERIFICATION_PLUGIN,
    VERIFICATION_PLUGIN_MIN_VERSION, VerificationPlugin,
};
use crate::json::Value;
use crate::policy::{Action, Check, Rules};

/// Runs verification plugins. The plugin host implements it; [`NoPlugins`] has none.
pub trait Extension: Send + Sync {
    /// Finds a plugin and asks what it can do (`get-plugin-metadata`). The answer satisfies the
    /// contract's own rules (PLG-17 to PLG-20).
    fn describe(
        &self,
        plugin: &str,
        config: &PluginConfig,
    ) -> impl Future<Output = Result<Metadata, ExtensionFailure>> + Send;

    /// Lets the plugin verify (`verify-signature`).
    fn verify(
        &self,
        plugin: &str,
        request: &VerifySignatureRequest,
    ) -> impl Future<Output = Result<VerifySignatureResponse, ExtensionFailure>> + Send;
}

/// Why a plugin gave no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtensionFailure {
    /// It is not installed.
    NotFound(Box<dyn Error + Send + Sync>),
    /// It is installed, and failed.
    Failed(Box<dyn Error + Send + Sync>),
}

/// No verification plugin at all: every signature that names one fails (ENV-41).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlugins;

/// Why the attributes of a signature, or its verification plugin, make it fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// A critical attribute that nobody understands (ENV-25, DIF-01).
    #[error(
        "extended critical attribute {} is not supported, and the signature names no verification plugin to process it",
        Quoted(attribute)
    )]
    UnknownCritical {
        /// Its name.
        attribute: String,
    },
    /// The attributes that name the plugin are malformed (ENV-26, ENV-27).
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A name that could lead out of the plugin directory (PLG-04, DIF-42, SEC-24).
    #[error(
        "the signature names the verification plugin {}, which is not a valid plugin name",
        Quoted(plugin)
    )]
    PluginName {
        /// The name.
        plugin: String,
    },
    /// The chain is not trusted, so the program that it names is not run (VER-09, VER-13).
    #[error(
        "the signature needs the verification plugin {}, which is not run because the signature's certificate chain is not trusted",
        Quoted(plugin)
    )]
    UntrustedChain {
        /// The plugin.
        plugin: String,
    },
    /// Not installed (VER-35).
    #[error(
        "error while locating the verification plugin {}, make sure the plugin is installed successfully before verifying the signature. error",
        Quoted(plugin)
    )]
    NotFound {
        /// The plugin.
        plugin: String,
        /// What the host said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It could not say what it can do.
    #[error(transparent)]
    Describe(Box<dyn Error + Send + Sync>),
    /// Its version is no SemVer (VER-36).
    #[error("plugin {plugin} has pluginVersion {} which is not in valid semver format", version.escape_debug())]
    Version {
        /// The plugin.
        plugin: String,
        /// Its version.
        version: String,
    },
    /// It is too old (VER-36).
    #[error(
        "found plugin {plugin} with version {version} but signature verification needs plugin version greater than or equal to {needed}"
    )]
    TooOld {
        /// The plugin.
        plugin: String,
        /// Its version.
        version: semver::Version,
        /// The version that the signature asks for.
        needed: semver::Version,
    },
    /// It can't verify (VER-37).
    #[error(
        "digital signature requires plugin {} with signature verification capabilities (\"SIGNATURE_VERIFIER.TRUSTED_IDENTITY\" and/or \"SIGNATURE_VERIFIER.REVOCATION_CHECK\") installed",
        Quoted(plugin)
    )]
    NoCapability {
        /// The plugin.
        plugin: String,
    },
    /// A critical attribute whose value can't be passed on (PLG-47).
    #[error(
        "extended critical attribute {} can't be processed by the verification plugin {}: its name or value has no form in the plugin contract",
        Quoted(attribute),
        Quoted(plugin)
    )]
    NotPassable {
        /// Its name.
        attribute: String,
        /// The plugin.
        plugin: String,
    },
    /// It could not be run or broke off (VER-41).
    #[error("failed to verify with plugin {plugin}")]
    Run {
        /// The plugin.
        plugin: String,
        /// What the host said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A critical attribute is left (VER-38, VER-42).
    #[error(
        "extended critical attribute {} was not processed by the verification plugin {} (all extended critical attributes must be processed by the verification plugin)",
        Quoted(attribute),
        Quoted(plugin)
    )]
    Unprocessed {
        /// Its name.
        attribute: String,
        /// The plugin.
        plugin: String,
    },
    /// A capability without a result (VER-39).
    #[error(
        "verification plugin {} failed to verify {}",
        Quoted(plugin),
        Quoted(capability.name())
    )]
    NoResult {
        /// The plugin.
        plugin: String,
        /// The capability.
        capability: Capability,
    },
}

/// A plugin that is installed, new enough and able to verify.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) name: String,
    /// Its verifier capabilities, in its own order.
    capabilities: Vec<Capability>,
}

/// What a plugin said.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Whether the identity is trusted, where it was asked; else why not.
    pub(super) identity: Option<Result<(), String>>,
    /// Whether the chain is good, where it was asked; else why not.
    pub(super) revocation: Option<Result<(), String>>,
    /// Names that it answered without having been asked.
    pub(super) surplus: Vec<String>,
}

impl Extension for NoPlugins {
    async fn describe(&self, _: &str, _: &PluginConfig) -> Result<Metadata, ExtensionFailure> {
        Err(ExtensionFailure::NotFound(
            "verification plugins are not available here".into(),
        ))
    }

    async fn verify(
        &self,
        _: &str,
        _: &VerifySignatureRequest,
    ) -> Result<VerifySignatureResponse, ExtensionFailure> {
        Err(ExtensionFailure::NotFound(
            "verification plugins are not available here".into(),
        ))
    }
}

/// The plugin that the signature names. Without one, no critical attribute may be left
/// (ENV-25, DIF-01).
pub(super) fn named_plugin(
    signature: &Signature,
) -> Result<Option<VerificationPlugin>, ExtensionError> {
    let attributes = signature.attributes();
    let Some(plugin) = attributes.verification_plugin()? else {
        let critical = attributes.extended.iter().find(|a| a.critical);
        return match critical {
            None => Ok(None),
            Some(attribute) => Err(ExtensionError::UnknownCritical {
                attribute: attribute.key.to_string(),
            }),
        };
    };
    if !is_plugin_name(&plugin.name) {
        return Err(ExtensionError::PluginName {
            plugin: plugin.name,
        });
    }
    Ok(Some(plugin))
}

/// Looks at what the plugin says about itself (VER-36, VER-37).
pub(super) fn check_plugin(
    named: &VerificationPlugin,
    metadata: &Metadata,
) -> Result<Plugin, ExtensionError> {
    let plugin = || named.name.clone();
    let version =
        semver::Version::parse(&metadata.version).map_err(|_| ExtensionError::Version {
            plugin: plugin(),
            version: metadata.version.clone(),
        })?;
    if let Some(needed) = &named.min_version
        && version.cmp_precedence(needed).is_lt()
    {
        return Err(ExtensionError::TooOld {
            plugin: plugin(),
            version,
            needed: needed.clone(),
        });
    }
    let verifies =
        |c: &&Capability| matches!(c, Capability::TrustedIdentity | Capability::RevocationCheck);
    let capabilities: Vec<_> = metadata
        .capabilities
        .iter()
        .filter(verifies)
        .cloned()
        .collect();
    if capabilities.is_empty() {
        return Err(ExtensionError::NoCapability { plugin: plugin() });
    }
    Ok(Plugin {
        name: plugin(),
        capabilities,
    })
}

impl Plugin {
    /// Whether it takes the place of a check.
    pub(super) fn does(&self, capability: &Capability) -> bool {
        self.capabilities.contains(capability)
    }

    /// The capabilities still needed under these rules (PLG-44).
    fn needed(&self, rules: &Rules) -> Vec<Capability> {
        let skips = rules.action(Check::Revocation) == Action::Skip;
        let needed = |c: &&Capability| !(skips && **c == Capability::RevocationCheck);
        self.capabilities.iter().filter(needed).cloned().collect()
    }

    /// The request, or nothing where the plugin has nothing to do. Then a critical attribute is
    /// left, if there is any (VER-42).
    pub(super) fn request(
        &self,
        signature: &Signature,
        rules: &Rules,
        config: &PluginConfig,
    ) -> Result<Option<VerifySignatureRequest>, ExtensionError> {
        let needed = self.needed(rules);
        if needed.is_empty() {
            return match signature.attributes().critical_for_plugin().next() {
                None => Ok(None),
                Some(attribute) => Err(self.unprocessed(attribute)),
            };
        }
        let identities = rules.identities().items().iter();
        Ok(Some(VerifySignatureRequest {
            contract_version: CONTRACT_VERSION.to_owned(),
            signature: self.signature(signature)?,
            trust_policy: PolicyToVerify {
                trusted_identities: identities.map(|i| i.text().to_owned()).collect(),
                signature_verification: needed,
            },
            plugin_config: config.clone(),
        }))
    }

    fn signature(&self, signature: &Signature) -> Result<SignatureToVerify, ExtensionError> {
        let attributes = signature.attributes();
        let mut extended_attributes = serde_json::Map::new();
        for attribute in extended(signature) {
            match (attribute.key.as_text(), to_plugin(attribute)) {
                (Some(key), Some(value)) => {
                    extended_attributes.insert(key.to_owned(), value);
                }
                _ if attribute.critical => {
                    return Err(ExtensionError::NotPassable {
                        attribute: attribute.key.to_string(),
                        plugin: self.name.clone(),
                    });
                }
                _ => {}
            }
        }
        let chain = signature.chain().certificates().iter();
        Ok(SignatureToVerify {
            unprocessed_attributes: extended_attributes.keys().cloned().collect(),
            critical_attributes: CriticalAttributes {
                content_type: PAYLOAD_CONTENT_TYPE.to_owned(),
                signing_scheme: attributes.signing_scheme.name().to_owned(),
                expiry: attributes
                    .expiry
                    .map_or_else(|| NO_EXPIRY.to_owned(), |time| time.to_string()),
                authentic_signing_time: attributes
                    .authentic_signing_time()
                    .map(|time| time.to_string()),
                extended_attributes,
            },
            certificate_chain: chain.map(|c| Base64(c.der().to_vec())).collect(),
        })
    }

    /// Reads the plugin's answer: every critical attribute processed, every capability answered
    /// (VER-38, VER-39, PLG-46, PLG-48).
    pub(super) fn answer(
        &self,
        signature: &Signature,
        request: &VerifySignatureRequest,
        response: &VerifySignatureResponse,
    ) -> Result<Answer, ExtensionError> {
        let processed: BTreeSet<&str> = response
            .processed_attributes
            .iter()
            .map(String::as_str)
            .collect();
        for attribute in signature.attributes().critical_for_plugin() {
            let key = attribute.key.as_text();
            if !key.is_some_and(|key| processed.contains(key)) {
                return Err(self.unprocessed(attribute));
            }
        }
        let mut answer = Answer::default();
        let asked = &request.trust_policy.signature_verification;
        for capability in asked {
            let result = response.verification_results.get(capability);
            let result = result.ok_or_else(|| ExtensionError::NoResult {
                plugin: self.name.clone(),
                capability: capability.clone(),
            })?;
            let result = result.success.then_some(()).ok_or(result.reason.clone());
            match capability {
                Capability::TrustedIdentity => answer.identity = Some(result),
                _ => answer.revocation = Some(result),
            }
        }
        let sent = &request.signature.unprocessed_attributes;
        let results = response.verification_results.keys();
        answer.surplus = results
            .filter(|capability| !asked.contains(capability))
            .map(|capability| capability.name())
            .chain(
                processed
                    .into_iter()
                    .filter(|p| !sent.iter().any(|s| s == p)),
            )
            .map(str::to_owned)
            .collect();
        Ok(answer)
    }

    fn unprocessed(&self, attribute: &ExtendedAttribute) -> ExtensionError {
        ExtensionError::Unprocessed {
            attribute: attribute.key.to_string(),
            plugin: self.name.clone(),
        }
    }
}

/// The extended attributes that plugins hear of: all but the two that name the plugin (PLG-43).
fn extended(signature: &Signature) -> impl Iterator<Item = &ExtendedAttribute> {
    let names_plugin = |a: &ExtendedAttribute| {
        let key = a.key.as_text();
        key == Some(VERIFICATION_PLUGIN) || key == Some(VERIFICATION_PLUGIN_MIN_VERSION)
    };
    let attributes = &signature.attributes().extended;
    attributes.iter().filter(move |a| !names_plugin(a))
}

/// The value in the plugin contract, where it has one without loss: JSON values, and of COSE's the
/// primitive ones (PLG-47).
fn to_plugin(attribute: &ExtendedAttribute) -> Option<serde_json::Value> {
    use crate::envelope::AttributeValue::{Cbor, Json};
    match &attribute.value {
        Json(value) => exact(value),
        Cbor(ciborium::Value::Bytes(_) | ciborium::Value::Tag(..)) => None,
        Cbor(ciborium::Value::Array(_) | ciborium::Value::Map(_)) => None,
        Cbor(_) => exact(&attribute.value.to_json()?),
    }
}

/// The same value in the plugin protocol's JSON, unless a number would be rounded.
fn exact(value: &Value) -> Option<serde_json::Value> {
    use serde_json::Value as Out;
    Some(match value {
        Value::Null => Out::Null,
        Value::Bool(value) => Out::Bool(*value),
        Value::String(text) => Out::String(text.clone()),
        Value::Number(text) => {
            let number: serde_json::Number = text.parse().ok()?;
            let whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            if whole && !(number.is_i64() || number.is_u64()) {
                return None;
            }
            Out::Number(number)
        }
        Value::Array(items) => Out::Array(items.iter().map(exact).collect::<Option<_>>()?),
        Value::Object(members) => Out::Object(
            members
                .iter()
                .map(|(name, value)| Some((name.clone(), exact(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Letters, digits, `_`, `.` and `-`, but neither `.` nor `..` (PLG-04).
fn is_plugin_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !name.is_empty() && !matches!(name, "." | "..") && name.bytes().all(allowed)
}
