//! The policy of a run out of files.

use std::error::Error;
use std::path::{Path, PathBuf};

use super::hardsign;
use super::run::{Policy, PolicyFile, PolicyLoadError, bind};
use super::{Applicability, Document, Kind, blob, oci};
use crate::config;
use crate::dirs::Dirs;
use crate::x509::{Certificate, MAX_FILE_LEN};

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
                policy.root_files = load_roots(&mut policy.rules, &path)?;
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
        policy.root_files = load_roots(&mut policy.rules, path)?;
        policy.bind()?;
        // The file takes the place of both documents, so it has no statements of the other kind.
        policy.rules.bind(A::KIND.other(), |_| None, &[])?;
        Ok(policy)
    }
}

/// Loads the roots that rules in `file` name, relative to it, and returns the paths of their files.
fn load_roots(
    rules: &mut hardsign::Document,
    file: &Path,
) -> Result<Vec<PathBuf>, PolicyLoadError> {
    let directory = file.parent().unwrap_or(Path::new(""));
    let files = rules.root_files().map(|f| directory.join(f)).collect();
    let read = |name: &Path| {
        let path = directory.join(name);
        read_roots(&path).map_err(|source| PolicyLoadError::Roots { path, source })
    };
    rules.load_roots(read)??;
    Ok(files)
}

/// Checks hardsign's own rules and the trust policy of one kind against each other, as the next
/// verification will, before they are written; where the rules concern the other kind as well, with the
/// policy file of that kind as it is. Files with roots are looked for beside `policy.hardsign.json`.
///
/// # Errors
/// See [`PolicyLoadError`].
pub fn check_together(
    rules: Option<&[u8]>,
    kind: Kind,
    policy: Option<&[u8]>,
    dirs: &Dirs,
) -> Result<(), PolicyLoadError> {
    let Some(mut rules) = rules.map(hardsign::Document::parse).transpose()? else {
        return Ok(());
    };
    load_roots(&mut rules, &dirs.hardsign_policy())?;
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
