//! The policy of one run: read once, and the same for every artifact of the run (SEC-32).
//!
//! A [`Policy`] is a trust policy document together with hardsign's own rules for it, which were
//! checked against each other, and the files that both came from.

use std::error::Error;
use std::path::PathBuf;

use super::hardsign::{self, HardsignError, StatementRules};
use super::{Applicability, Document, PolicyError, Statement};
#[cfg(feature = "files")]
use crate::config::{FileError, PolicyFileError};
use crate::crypto;

/// A trust policy document, hardsign's own rules for it, and where both came from.
///
/// ```
/// use hardsign_core::policy::{Level, Policy, oci};
///
/// let policy = Policy::<oci::Document>::from_bytes(
///     "mine",
///     br#"{"version": "1.0", "trustPolicies": [{
///         "name": "apps", "registryScopes": ["registry.example.com/app"],
///         "signatureVerification": {"level": "strict"},
///         "trustStores": ["ca:mine"], "trustedIdentities": ["x509.subject: CN=release, O=Example, ST=WA, C=US"]
///     }]}"#,
/// )?;
/// let scope = "registry.example.com/app";
/// let statement = policy.document().statement_for_repository(scope, || scope.to_owned())?;
/// assert_eq!((statement.name(), statement.verification().level()), ("apps", Level::Strict));
///
/// // Nothing is trusted that no statement names.
/// let other = "registry.example.com/other";
/// assert!(policy.document().statement_for_repository(other, || other.to_owned()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy<D> {
    pub(super) document: D,
    pub(super) rules: hardsign::Document,
    pub(super) source: PolicyFile,
    pub(super) rules_source: Option<PolicyFile>,
    pub(super) root_files: Vec<PathBuf>,
}

/// A file as it was when it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PolicyFile {
    /// Its path.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// Why there is no policy to verify under.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyLoadError {
    /// The trust policy can't be read.
    // TP-03, TP-04
    #[cfg(feature = "files")]
    #[error(transparent)]
    File(#[from] PolicyFileError),
    /// The trust policy breaks a rule.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The file given for this run, or hardsign's own policy, can't be read.
    #[cfg(feature = "files")]
    #[error("policy file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file.
        #[source]
        source: Box<FileError>,
    },
    /// A file with the roots of a maker of hardware can't be used.
    #[error("the roots of a maker of hardware in {} can't be used", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file, or with a certificate in it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Hardsign's own rules can't be used.
    #[error(transparent)]
    Hardsign(#[from] HardsignError),
}

impl PolicyLoadError {
    /// The question whether a known name was meant.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::Policy(error) => error.did_you_mean(),
            Self::Hardsign(error) => error.did_you_mean(),
            _ => None,
        }
    }
}

impl<A: Applicability> Policy<Document<A>> {
    /// A policy whose bytes are at hand: a trust policy document of this kind, with hardsign's own rules in its
    /// member `hardsign`, if there are any. `name` is what it is called in reports. No file is opened, so that
    /// rules can't name files with roots.
    ///
    /// # Errors
    /// See [`PolicyLoadError`].
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: &[u8]) -> Result<Self, PolicyLoadError> {
        let (document, mut rules) = Document::parse_with_rules(bytes)??;
        rules.load_roots(|file| {
            Err(PolicyLoadError::Roots {
                path: file.to_owned(),
                source: "the policy does not come from a file, so there are no files beside it"
                    .into(),
            })
        })??;
        let policy = Self {
            document,
            rules,
            source: PolicyFile::new(name.into(), bytes),
            rules_source: None,
            root_files: Vec::new(),
        };
        policy.bind()?;
        policy.rules.bind(A::KIND.other(), |_| None, &[])?;
        Ok(policy)
    }

    /// A policy that is at hand already, without rules of hardsign's own.
    pub fn from_document(document: Document<A>, source: PolicyFile) -> Self {
        Self {
            document,
            rules: hardsign::Document::default(),
            source,
            rules_source: None,
            root_files: Vec::new(),
        }
    }

    /// The trust policy.
    pub fn document(&self) -> &Document<A> {
        &self.document
    }

    /// The file of the trust policy.
    pub fn source(&self) -> &PolicyFile {
        &self.source
    }

    /// The file of hardsign's own policy, where one was read beside the trust policy.
    pub fn rules_source(&self) -> Option<&PolicyFile> {
        self.rules_source.as_ref()
    }

    /// The files from which the roots of makers of hardware were read.
    pub fn root_files(&self) -> &[PathBuf] {
        &self.root_files
    }

    /// Hardsign's own rules for a statement.
    pub fn rules(&self, statement: &str) -> Option<&StatementRules> {
        self.rules.rules(A::KIND, statement)
    }

    pub(super) fn bind(&self) -> Result<(), HardsignError> {
        bind(&self.rules, &self.document)
    }
}

pub(super) fn bind<A: Applicability>(
    rules: &hardsign::Document,
    document: &Document<A>,
) -> Result<(), HardsignError> {
    let verification = |name: &str| document.statement(name).map(Statement::verification);
    let names: Vec<_> = document.statements().iter().map(Statement::name).collect();
    rules.bind(A::KIND, verification, &names)
}

impl PolicyFile {
    /// A file that was read as these bytes.
    pub fn new(path: PathBuf, bytes: &[u8]) -> Self {
        Self {
            path,
            sha256: crypto::sha256(bytes),
        }
    }
}
