//! Trust policies: read once into types, then asked which statement applies.
//!
//! Implements "Trust Policy" of the Notary Project trust store and trust policy specification:
//! one [`Document`] for both kinds, of which [`oci`] is that for
//! `trustpolicy.oci.json` and `trustpolicy.json`, [`blob`] that for `trustpolicy.blob.json`. A document that was read satisfies every rule, so nothing after the
//! reader can meet an unknown level, a malformed scope or an identity that can't be matched; one
//! fault anywhere fails the whole document. [`hardsign`] reads the policy of our own,
//! which stands in a file beside them.
//!
//! What is read are bytes. [`Policy`], the one of a run, also takes them from the files that [`crate::config`] finds.

// Requirements: TP-05 to TP-45, TP-07.

use std::fmt;

use crate::artifact::Quoted;

pub mod blob;
mod document;
pub mod edit;
pub mod hardsign;
mod level;
#[cfg(feature = "files")]
mod load;
pub mod oci;
pub mod position;
mod reader;
mod run;
mod scope;
mod statement;

pub use crate::artifact::Kind;
pub use document::{Applicability, Document, Statement};
pub use level::{Action, Actions, Check, Level, LevelFault, VerifyTimestamp};
#[cfg(feature = "files")]
pub use load::check_together;
pub use reader::{MalformedPolicy, Place, UnknownMember};
pub use run::{Policy, PolicyFile, PolicyLoadError};
pub use scope::{InvalidScope, Scope, Scopes};
pub use statement::{Rules, StatementError, StatementFault, Verification};

/// Why a policy document can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not a policy document at all.
    // TP-04
    #[error("malformed trust policy. To create a trust policy, see: {}", LINK)]
    Malformed(#[source] MalformedPolicy),
    /// Hardsign's own rules in a file that the reference reads, where nobody would enforce them.
    // REQ-13
    #[error(
        "trust policy has a member \"hardsign\": hardsign's own rules belong in policy.hardsign.json beside it, or in a file given with --policy"
    )]
    Misplaced,
    /// No version.
    // TP-08
    #[error("{kind} trust policy document has empty version, version must be specified")]
    EmptyVersion {
        /// The kind of document.
        kind: Kind,
    },
    /// A version other than 1.0.
    // TP-08
    #[error(
        "{kind} trust policy document uses unsupported version {}",
        Quoted(version)
    )]
    UnsupportedVersion {
        /// The kind of document.
        kind: Kind,
        /// The version as written.
        version: String,
    },
    /// No statement.
    // TP-09
    #[error("{kind} trust policy document can not have zero trust policy statements")]
    NoStatements {
        /// The kind of document.
        kind: Kind,
    },
    /// Two statements with one name.
    // TP-11
    #[error(
        "multiple {kind} trust policy statements use the same name {}, statement names must be unique",
        Quoted(name)
    )]
    DuplicateName {
        /// The kind of document.
        kind: Kind,
        /// The name.
        name: String,
    },
    /// A fault of one statement.
    // TP-12
    #[error("{kind} trust policy")]
    Statement {
        /// The kind of document.
        kind: Kind,
        /// The statement and its fault.
        #[source]
        error: StatementError,
    },
    /// A statement without scopes.
    // TP-35
    #[error(
        "oci trust policy statement {} has zero registry scopes, it must specify registry scopes with at least one value",
        Quoted(statement)
    )]
    NoScopes {
        /// The statement.
        statement: String,
    },
    /// `*` beside other scopes.
    // TP-36
    #[error(
        "oci trust policy statement {} uses wildcard registry scope '*', a wildcard scope cannot be used in conjunction with other scope values",
        Quoted(statement)
    )]
    WildcardScopeNotAlone {
        /// The statement.
        statement: String,
    },
    /// A scope that occurs twice.
    // TP-37
    #[error(
        "registry scope {} is present in multiple oci trust policy statements, one registry scope value can only be associated with one statement",
        Quoted(scope)
    )]
    DuplicateScope {
        /// The scope.
        scope: String,
    },
    /// Two scopes that are one repository.
    // TP-37
    #[error(
        "registry scopes {} and {} are one repository in two spellings, one registry scope value can only be associated with one statement",
        Quoted(first),
        Quoted(second)
    )]
    EqualScopes {
        /// The scope that stands first, as written.
        first: String,
        /// The other, as written.
        second: String,
    },
    /// A scope that is not one.
    // TP-39
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// Two global statements.
    // TP-43
    #[error(
        "multiple blob trust policy statements have globalPolicy set to true. Only one trust policy statement can be marked as global policy"
    )]
    SeveralGlobal {
        /// The second global statement.
        statement: String,
    },
    /// A global statement that skips verification.
    // TP-44, DIF-07
    #[error("global blob trust policy statement cannot have verification level set to skip")]
    GlobalSkip {
        /// The statement.
        statement: String,
    },
}

impl PolicyError {
    /// The question whether a known name was meant, for instance of a level or of a type of store.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::Statement { error, .. } => error.did_you_mean(),
            _ => None,
        }
    }
}

/// No statement applies.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// No statement has the artifact's repository or `*` among its scopes.
    // TP-41
    #[error(
        "artifact {} has no applicable oci trust policy statement. Trust policy applicability for a given artifact is determined by registryScopes. To create a trust policy, see: {}",
        Quoted(reference),
        LINK
    )]
    NoneApplies {
        /// The artifact.
        reference: String,
        /// The scope that was probably meant.
        nearest: Option<String>,
    },
    /// A reference without a digest, from which no scope can be taken.
    #[error(
        "artifact URI {} could not be parsed, make sure it is the fully qualified oci artifact URI without the scheme/protocol. e.g domain.com:80/my/repository@sha256:digest",
        Quoted(reference)
    )]
    NoScope {
        /// The reference.
        reference: String,
    },
    /// A reference whose repository can't be a scope.
    // TP-40
    #[error(transparent)]
    Scope(#[from] InvalidScope),
    /// A blank policy name.
    // TP-45
    #[error("policy name cannot be empty")]
    EmptyName,
    /// No blob statement with that name.
    // TP-45
    #[error("no applicable blob trust policy with name {}", Quoted(name))]
    NoSuchName {
        /// The name.
        name: String,
        /// The statement that was probably meant.
        nearest: Option<String>,
    },
    /// No global blob statement.
    // TP-45
    #[error("no global blob trust policy")]
    NoGlobal,
}

/// Something in a policy that is accepted but should be known.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// A member that has no effect, perhaps a misspelling.
    // TP-06
    UnknownMember(UnknownMember),
    /// A statement that skips verification of every artifact without a statement of its own.
    // TP-42, DIF-07
    WildcardSkip {
        /// The statement.
        statement: String,
    },
}

impl PolicyError {
    /// Whether the document could not be read as a policy at all, rather than breaking one of its
    /// rules.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMember(member) => write!(f, "trust policy: {member}"),
            Self::WildcardSkip { statement } => write!(
                f,
                "trust policy statement {} skips verification of every artifact that no other statement names: the specification forbids level \"skip\" with registry scope \"*\"",
                Quoted(statement)
            ),
        }
    }
}

/// Several texts, quoted, between brackets and separated by spaces: `["a" "b"]`.
struct QuotedList<'a, T>(&'a [T]);

impl<T: AsRef<str>> fmt::Display for QuotedList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, text) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { " " };
            write!(f, "{separator}{}", Quoted(text.as_ref()))?;
        }
        f.write_str("]")
    }
}

/// Where the reference sends people who have no policy.
const LINK: &str = "https://notaryproject.dev/docs/quickstart/#create-a-trust-policy";

/// The member of a policy for one run that holds hardsign's own rules.
const RULES: &str = "hardsign";
