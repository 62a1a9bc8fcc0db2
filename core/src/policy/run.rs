//! The policy of one run: read once, and the same for every artifact of the run (SEC-32).
//!
//! A [`Policy`] is a trust policy document together with hardsign's own rules for it, which were
//! checked against each other, and the files that both came from.

use std::error::Error;
use std::path::{Path, PathBuf};

use super::hardsign::{self, HardsignError, StatementRules};
use super::{Applicability, Document, Kind, PolicyError, Statement, blob, oci};
use crate::config::{self, FileError, PolicyFileError};
use crate::crypto;
use crate::dirs::Dirs;
use crate::x509::{Certificate, MAX_FILE_LEN};

/// A trust policy document, hardsign's own rules for it, and where both came from.
#[derive(Clone, Debug)]
pub struct Policy<D> {
    document: D,
    rules: hardsign::Document,
    source: PolicyFile,
    rules_source: Option<PolicyFile>,
    root_files: Vec<PathBuf>,
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
    /// The trust policy can't be read (TP-03, TP-04).
    #[error(transparent)]
    File(#[from] PolicyFileError),
    /// The trust policy breaks a rule.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The file given for this run, or hardsign's own policy, can't be read.
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
    /// The user's policy: the trust policy file, and `policy.hardsign.json` beside it if there is
    /// one. Rules for statements of the other kind make that kind's document needed too, since a
    /// name that does not exist fails every verification.
    ///
    /// # Errors
    /// See [`PolicyLoadError`].
    pub fn load(dirs: &Dirs) -> Result<Self, PolicyLoadError> {
        let file = config::read_policy(dirs, A::KIND)?;
        let document = Document::parse(&file.bytes)?;
        let mut policy = Self {
            document,
            rules: hardsign::Document::default(),
            source: PolicyFile::new(file.path, &file.bytes),
            rules_source: None,
            root_files: Vec::new(),
        };
        let path = dirs.hardsign_policy();
        match config::read_regular(&path, Kind::MAX_POLICY_LEN as u64) {
            Err(error) if error.is_not_found() => return Ok(policy),
            Err(source) => {
                let source = Box::new(source);
                return Err(PolicyLoadError::Read { path, source });
            }
            Ok(bytes) => {
                policy.rules = hardsign::Document::parse(&bytes)?;
                policy.load_roots(&path)?;
                policy.rules_source = Some(PolicyFile::new(path, &bytes));
            }
        }
        policy.bind()?;
        let rules = &policy.rules;
        let other = A::KIND.other();
        if rules.concerns(other) {
            let file = config::read_policy(dirs, other)?;
            match other {
                Kind::Oci => bind(rules, &oci::Document::parse(&file.bytes)?)?,
                Kind::Blob => bind(rules, &blob::Document::parse(&file.bytes)?)?,
            }
        }
        Ok(policy)
    }

    /// A policy for this run alone, which takes the place of the trust policy and of
    /// `policy.hardsign.json`. The file is a trust policy document of this kind; its member
    /// `hardsign`, if there is one, holds what `policy.hardsign.json` would. The user names the
    /// file, so a symbolic link is followed.
    ///
    /// # Errors
    /// See [`PolicyLoadError`].
    pub fn from_file(path: &Path) -> Result<Self, PolicyLoadError> {
        let read = |source| PolicyLoadError::Read {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let bytes = config::read_named(path, Kind::MAX_POLICY_LEN as u64).map_err(read)?;
        let (document, rules) = Document::parse_with_rules(&bytes)??;
        let mut policy = Self {
            document,
            rules,
            source: PolicyFile::new(path.to_owned(), &bytes),
            rules_source: None,
            root_files: Vec::new(),
        };
        policy.load_roots(path)?;
        policy.bind()?;
        // The file takes the place of both documents, so it has no statements of the other kind.
        policy.rules.bind(A::KIND.other(), |_| None, &[])?;
        Ok(policy)
    }

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

    /// Loads the roots that the rules name, relative to the file that they stand in.
    fn load_roots(&mut self, file: &Path) -> Result<(), PolicyLoadError> {
        let directory = file.parent().unwrap_or(Path::new(""));
        self.root_files = self.rules.root_files().map(|f| directory.join(f)).collect();
        let read = |name: &Path| {
            let path = directory.join(name);
            read_roots(&path).map_err(|source| PolicyLoadError::Roots { path, source })
        };
        Ok(self.rules.load_roots(read)??)
    }

    fn bind(&self) -> Result<(), HardsignError> {
        bind(&self.rules, &self.document)
    }
}

/// Checks hardsign's own rules and the trust policy of one kind against each other, as the next
/// verification will, before they are written; where the rules concern the other kind as well, with the
/// policy file of that kind as it is.
///
/// # Errors
/// See [`PolicyLoadError`].
pub fn check_together(
    rules: Option<&[u8]>,
    kind: Kind,
    policy: Option<&[u8]>,
    dirs: &Dirs,
) -> Result<(), PolicyLoadError> {
    let Some(rules) = rules.map(hardsign::Document::parse).transpose()? else {
        return Ok(());
    };
    let bind_to = |kind: Kind, policy: &[u8]| {
        match kind {
            Kind::Oci => bind(&rules, &oci::Document::parse(policy)?)?,
            Kind::Blob => bind(&rules, &blob::Document::parse(policy)?)?,
        }
        Ok::<_, PolicyLoadError>(())
    };
    match policy {
        Some(policy) => bind_to(kind, policy)?,
        None => rules.bind(kind, |_| None, &[])?,
    }
    let other = kind.other();
    if rules.concerns(other) {
        bind_to(other, &config::read_policy(dirs, other)?.bytes)?;
    }
    Ok(())
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, Box<dyn Error + Send + Sync>> {
    let bytes = config::read_named(path, MAX_FILE_LEN as u64)?;
    Ok(Certificate::parse_file(&bytes)?)
}

fn bind<A: Applicability>(
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
