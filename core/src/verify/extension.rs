//! Critical attributes, and the verification plugin that a signature may name (VER-35 to VER-43,
//! ENV-25 to ENV-27).
//!
//! The plugin is a program on this machine that an untrusted signature names: it is looked for
//! only after a trust store trusts the signature's chain (VER-13, SEC-24), and its name must be a
//! plain file name (DIF-42). It can add a reason to refuse, and it can stand in for the identity
//! and revocation checks; nothing else (VER-43).
//!
//! What is asked and answered is told here in terms of signatures and checks. How a program is found and
//! spoken to is the business of whoever implements [`Extension`].

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use async_trait::async_trait;

use crate::artifact::Quoted;
use crate::envelope::{
    AttributeError, ExtendedAttribute, Signature, VERIFICATION_PLUGIN,
    VERIFICATION_PLUGIN_MIN_VERSION, VerificationPlugin,
};
use crate::policy::{Action, Check, Rules};

/// A check that a verification plugin can stand in for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum PluginCheck {
    /// Whether the signer is one of the trusted identities.
    TrustedIdentity,
    /// Whether the chain is revoked.
    RevocationCheck,
}

/// What a verification plugin says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Described {
    /// Its version, as it says it.
    pub version: String,
    /// What it can stand in for, in its own order.
    pub checks: Vec<PluginCheck>,
}

/// What a verification plugin is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ExtensionRequest<'a> {
    /// The signature, whose chain is trusted.
    pub signature: &'a Signature,
    /// The trusted identities of the policy, as written.
    pub identities: &'a [String],
    /// What it is to decide; never empty.
    pub checks: &'a [PluginCheck],
    /// Settings of the user.
    // PLG-16
    pub config: &'a BTreeMap<String, String>,
}

/// What a verification plugin answers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExtensionAnswer {
    /// The extended attributes that it processed.
    pub processed: BTreeSet<String>,
    /// What it decided; the reason where that is no.
    pub results: BTreeMap<PluginCheck, Result<(), String>>,
    /// Names that it answered without having been asked.
    // PLG-46
    pub surplus: Vec<String>,
}

/// Runs verification plugins. The plugin host implements it; [`NoPlugins`] has none.
#[async_trait]
pub trait Extension: Send + Sync {
    /// Finds a plugin and asks what it can do. The answer satisfies the contract's own rules.
    // PLG-17 to PLG-20
    async fn describe(
        &self,
        plugin: &str,
        config: &BTreeMap<String, String>,
    ) -> Result<Described, ExtensionFailure>;

    /// Lets the plugin verify.
    async fn verify(
        &self,
        plugin: &str,
        request: ExtensionRequest<'_>,
    ) -> Result<ExtensionAnswer, ExtensionFailure>;
}

/// Why a plugin gave no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtensionFailure {
    /// It is not installed.
    NotFound(Box<dyn Error + Send + Sync>),
    /// A critical attribute can't be passed on to it.
    // PLG-47
    NotPassable {
        /// Its name.
        attribute: String,
    },
    /// It is installed, and failed.
    Failed(Box<dyn Error + Send + Sync>),
}

/// No verification plugin at all: every signature that names one fails.
// ENV-41
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlugins;

impl PluginCheck {
    /// Its name in the plugin contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrustedIdentity => "SIGNATURE_VERIFIER.TRUSTED_IDENTITY",
            Self::RevocationCheck => "SIGNATURE_VERIFIER.REVOCATION_CHECK",
        }
    }
}

impl Described {
    /// A plugin of this version that can stand in for these checks.
    pub fn new(version: impl Into<String>, checks: Vec<PluginCheck>) -> Self {
        Self {
            version: version.into(),
            checks,
        }
    }
}

impl ExtensionRequest<'_> {
    /// The extended attributes that plugins hear of: all but the two that name the plugin.
    // PLG-43
    pub fn attributes(&self) -> impl Iterator<Item = &ExtendedAttribute> {
        let names_plugin = |a: &ExtendedAttribute| {
            let key = a.key.as_text();
            key == Some(VERIFICATION_PLUGIN) || key == Some(VERIFICATION_PLUGIN_MIN_VERSION)
        };
        let attributes = &self.signature.attributes().extended;
        attributes.iter().filter(move |a| !names_plugin(a))
    }
}

impl ExtensionAnswer {
    /// That these attributes were processed, with these results.
    pub fn new(
        processed: BTreeSet<String>,
        results: BTreeMap<PluginCheck, Result<(), String>>,
    ) -> Self {
        Self {
            processed,
            results,
            surplus: Vec::new(),
        }
    }
}

/// Why the attributes of a signature, or its verification plugin, make it fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// A critical attribute that nobody understands.
    // ENV-25, DIF-01
    #[error(
        "extended critical attribute {} is not supported, and the signature names no verification plugin to process it",
        Quoted(attribute)
    )]
    UnknownCritical {
        /// Its name.
        attribute: String,
    },
    /// The attributes that name the plugin are malformed.
    // ENV-26, ENV-27
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// A name that could lead out of the plugin directory.
    // PLG-04, DIF-42, SEC-24
    #[error(
        "the signature names the verification plugin {}, which is not a valid plugin name",
        Quoted(plugin)
    )]
    PluginName {
        /// The name.
        plugin: String,
    },
    /// The chain is not trusted, so the program that it names is not run.
    // VER-09, VER-13
    #[error(
        "the signature needs the verification plugin {}, which is not run because the signature's certificate chain is not trusted",
        Quoted(plugin)
    )]
    UntrustedChain {
        /// The plugin.
        plugin: String,
    },
    /// Not installed.
    // VER-35
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
    /// Its version is no SemVer.
    // VER-36
    #[error("plugin {plugin} has pluginVersion {} which is not in valid semver format", version.escape_debug())]
    Version {
        /// The plugin.
        plugin: String,
        /// Its version.
        version: String,
    },
    /// It is too old.
    // VER-36
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
    /// It can't verify.
    // VER-37
    #[error(
        "digital signature requires plugin {} with signature verification capabilities (\"SIGNATURE_VERIFIER.TRUSTED_IDENTITY\" and/or \"SIGNATURE_VERIFIER.REVOCATION_CHECK\") installed",
        Quoted(plugin)
    )]
    NoCapability {
        /// The plugin.
        plugin: String,
    },
    /// A critical attribute whose value can't be passed on.
    // PLG-47
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
    /// It could not be run or broke off.
    // VER-41
    #[error("failed to verify with plugin {plugin}")]
    Run {
        /// The plugin.
        plugin: String,
        /// What the host said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A critical attribute is left.
    // VER-38, VER-42
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
    /// A capability without a result.
    // VER-39
    #[error(
        "verification plugin {} failed to verify {}",
        Quoted(plugin),
        Quoted(capability.name())
    )]
    NoResult {
        /// The plugin.
        plugin: String,
        /// The check.
        capability: PluginCheck,
    },
}

/// A plugin that is installed, new enough and able to verify.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) name: String,
    /// What it can stand in for, in its own order.
    checks: Vec<PluginCheck>,
}

/// What a plugin is asked, apart from the signature.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) identities: Vec<String>,
    pub(super) checks: Vec<PluginCheck>,
}

/// What a plugin said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Whether the identity is trusted, where it was asked; else why not.
    pub(super) identity: Option<Result<(), String>>,
    /// Whether the chain is good, where it was asked; else why not.
    pub(super) revocation: Option<Result<(), String>>,
}

#[async_trait]
impl Extension for NoPlugins {
    async fn describe(
        &self,
        _: &str,
        _: &BTreeMap<String, String>,
    ) -> Result<Described, ExtensionFailure> {
        Err(ExtensionFailure::none())
    }

    async fn verify(
        &self,
        _: &str,
        _: ExtensionRequest<'_>,
    ) -> Result<ExtensionAnswer, ExtensionFailure> {
        Err(ExtensionFailure::none())
    }
}

impl ExtensionFailure {
    /// There are no plugins here.
    pub(super) fn none() -> Self {
        Self::NotFound("verification plugins are not available here".into())
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
    described: Described,
) -> Result<Plugin, ExtensionError> {
    let plugin = || named.name.clone();
    let version =
        semver::Version::parse(&described.version).map_err(|_| ExtensionError::Version {
            plugin: plugin(),
            version: described.version.clone(),
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
    if described.checks.is_empty() {
        return Err(ExtensionError::NoCapability { plugin: plugin() });
    }
    Ok(Plugin {
        name: plugin(),
        checks: described.checks,
    })
}

impl Plugin {
    /// Whether it takes the place of a check.
    pub(super) fn does(&self, check: PluginCheck) -> bool {
        self.checks.contains(&check)
    }

    /// What it is asked, or nothing where it has nothing to do (PLG-44). Then a critical attribute is
    /// left, if there is any (VER-42).
    pub(super) fn errand(
        &self,
        signature: &Signature,
        rules: &Rules,
    ) -> Result<Option<Errand>, ExtensionError> {
        let skips = rules.action(Check::Revocation) == Action::Skip;
        let needed = |c: &&PluginCheck| !(skips && **c == PluginCheck::RevocationCheck);
        let checks: Vec<_> = self.checks.iter().filter(needed).copied().collect();
        if checks.is_empty() {
            return match signature.attributes().critical_for_plugin().next() {
                None => Ok(None),
                Some(attribute) => Err(self.unprocessed(attribute)),
            };
        }
        let identities = rules.identities().items().iter();
        Ok(Some(Errand {
            identities: identities.map(|i| i.text().to_owned()).collect(),
            checks,
        }))
    }

    /// Reads the plugin's answer: every critical attribute processed, every check answered
    /// (VER-38, VER-39, PLG-46, PLG-48).
    pub(super) fn said(
        &self,
        signature: &Signature,
        errand: &Errand,
        mut answer: ExtensionAnswer,
    ) -> Result<Said, ExtensionError> {
        for attribute in signature.attributes().critical_for_plugin() {
            let key = attribute.key.as_text();
            if !key.is_some_and(|key| answer.processed.contains(key)) {
                return Err(self.unprocessed(attribute));
            }
        }
        let mut said = Said::default();
        for check in &errand.checks {
            let result = answer.results.remove(check);
            let result = result.ok_or_else(|| ExtensionError::NoResult {
                plugin: self.name.clone(),
                capability: *check,
            })?;
            match check {
                PluginCheck::TrustedIdentity => said.identity = Some(result),
                PluginCheck::RevocationCheck => said.revocation = Some(result),
            }
        }
        Ok(said)
    }

    fn unprocessed(&self, attribute: &ExtendedAttribute) -> ExtensionError {
        ExtensionError::Unprocessed {
            attribute: attribute.key.to_string(),
            plugin: self.name.clone(),
        }
    }
}

/// Letters, digits, `_`, `.` and `-`, but neither `.` nor `..` (PLG-04).
fn is_plugin_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    !name.is_empty() && !matches!(name, "." | "..") && name.bytes().all(allowed)
}
