//! The part of a statement that both kinds of document share (TP-08 to TP-24).

use std::collections::{BTreeMap, BTreeSet};

use super::hardsign::Signers;
use super::level::{Action, Actions, Check, Level, LevelFault, VerifyTimestamp};
use super::reader::{MalformedPolicy, Object, UnknownMember};
use super::{Kind, PolicyError};
use crate::artifact::Quoted;
use crate::json::Value;
use crate::trust::{StoreRef, StoreRefFault, StoreType};
use crate::x509::identity::{IdentityError, TrustedIdentities};

/// What a statement demands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verification {
    /// Level `skip`: nothing is verified.
    // VER-04
    Skip,
    /// Any other level.
    Verify(Rules),
}

/// How signatures are verified under a statement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    level: Level,
    overridden: bool,
    actions: Actions,
    verify_timestamp: VerifyTimestamp,
    stores: Vec<StoreRef>,
    identities: TrustedIdentities,
}

/// A statement and what is wrong with it.
// TP-12
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// No name.
    // TP-11
    #[error("a trust policy statement is missing a name, every statement requires a name")]
    MissingName,
    /// A fault of a named statement.
    #[error("trust policy statement {} {fault}", Quoted(statement))]
    Fault {
        /// The statement.
        statement: String,
        /// Which member of the statement, and how.
        fault: StatementFault,
    },
}

/// What is wrong with a statement. The texts follow `trust policy statement "<n>" `.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementFault {
    /// A fault in `signatureVerification`.
    // TP-13 to TP-17
    #[error("has invalid signatureVerification: {0}")]
    SignatureVerification(LevelFault),
    /// Level skip with stores or identities.
    // TP-18
    #[error(
        "is set to skip signature verification but configured with trust stores and/or trusted identities, remove them if signature verification needs to be skipped"
    )]
    SkipWithTrust,
    /// Stores or identities are missing.
    // TP-19
    #[error("is either missing trust stores or trusted identities, both must be specified")]
    Incomplete,
    /// A value that names no store.
    // TP-21
    #[error(transparent)]
    Store(#[from] StoreRefFault),
    /// A value that is no identity.
    // TP-22, TP-24
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl StatementError {
    /// The question whether a known name was meant.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::Fault { fault, .. } => fault.did_you_mean(),
            Self::MissingName => None,
        }
    }
}

impl StatementFault {
    /// The question whether a known name was meant.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::SignatureVerification(fault) => fault.did_you_mean(),
            Self::Store(fault) => fault.did_you_mean(),
            _ => None,
        }
    }
}

/// A statement as written, its members of the right types but nothing else checked.
pub(super) struct RawStatement {
    name: String,
    level: String,
    overrides: BTreeMap<String, String>,
    verify_timestamp: String,
    stores: Vec<String>,
    identities: Vec<String>,
}

impl Rules {
    /// The base level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether `override` changed the base level.
    pub fn is_overridden(&self) -> bool {
        self.overridden
    }

    /// What a failure of `check` does.
    pub fn action(&self, check: Check) -> Action {
        self.actions.action(check)
    }

    /// What a failure of each check does.
    pub fn actions(&self) -> Actions {
        self.actions
    }

    /// When the timestamp is looked at.
    pub fn verify_timestamp(&self) -> VerifyTimestamp {
        self.verify_timestamp
    }

    /// The stores, in the order of the policy, each once; never empty.
    pub fn stores(&self) -> &[StoreRef] {
        &self.stores
    }

    /// The stores of one type.
    // TST-02
    pub fn stores_of(&self, store_type: StoreType) -> impl Iterator<Item = &StoreRef> {
        self.stores
            .iter()
            .filter(move |store| store.store_type == store_type)
    }

    /// The identities that signers may have.
    pub fn identities(&self) -> &TrustedIdentities {
        &self.identities
    }

    /// The same rules for what `signers` alone may have signed: their stores in place of the
    /// statement's, but for those of timestamps. Who of those whom the stores vouch for is one of the
    /// signers, is for [`Signers::tally`].
    #[must_use]
    pub fn for_signers(&self, signers: &Signers) -> Self {
        let mut stores: Vec<_> = self.stores_of(StoreType::Tsa).cloned().collect();
        for party in signers.parties() {
            let own = party.stores();
            let of_party = if own.is_empty() { &self.stores } else { own };
            for store in of_party {
                if !stores.contains(store) {
                    stores.push(store.clone());
                }
            }
        }
        Self {
            stores,
            identities: TrustedIdentities::any(),
            ..self.clone()
        }
    }
}

impl Verification {
    /// The base level.
    pub fn level(&self) -> Level {
        match self {
            Self::Skip => Level::Skip,
            Self::Verify(rules) => rules.level(),
        }
    }

    /// The rules, none for `skip`.
    pub fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Skip => None,
            Self::Verify(rules) => Some(rules),
        }
    }
}

/// Names of the members that [`RawStatement`] reads.
pub(super) const MEMBERS: [&str; 4] = [
    "name",
    "signatureVerification",
    "trustStores",
    "trustedIdentities",
];

/// Reads version and statements of a document, each statement with `read` (TP-08, TP-09).
pub(super) fn read_all<T>(
    document: &Object<'_>,
    kind: Kind,
    mut read: impl FnMut(&Object<'_>) -> Result<T, MalformedPolicy>,
) -> Result<Vec<T>, PolicyError> {
    let malformed = PolicyError::Malformed;
    let version = document.string("version").map_err(malformed)?;
    let items = document.array_or_null("trustPolicies").map_err(malformed)?;
    let statements: Result<Vec<_>, _> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let name = item.get("name").and_then(Value::as_str);
            let place = document.place().member("trustPolicies").item(index, name);
            read(&Object::new(item, place)?)
        })
        .collect();
    let statements = statements.map_err(malformed)?;
    match version {
        "1.0" if statements.is_empty() => Err(PolicyError::NoStatements { kind }),
        "1.0" => Ok(statements),
        "" => Err(PolicyError::EmptyVersion { kind }),
        version => Err(PolicyError::UnsupportedVersion {
            kind,
            version: version.to_owned(),
        }),
    }
}

/// Applies the rules that concern one statement, and that names are unique (TP-11).
pub(super) fn check_all(
    statements: &[RawStatement],
    kind: Kind,
) -> Result<Vec<Verification>, PolicyError> {
    let mut names = BTreeSet::new();
    let check = |statement: &RawStatement| {
        if names.contains(&statement.name) {
            let name = statement.name.clone();
            return Err(PolicyError::DuplicateName { kind, name });
        }
        names.insert(statement.name.clone());
        statement
            .check()
            .map_err(|error| PolicyError::Statement { kind, error })
    };
    statements.iter().map(check).collect()
}

impl RawStatement {
    /// Reads the shared members; unknown ones of `signatureVerification` go to `unknown`.
    pub(super) fn read(
        object: &Object<'_>,
        unknown: &mut Vec<UnknownMember>,
    ) -> Result<Self, MalformedPolicy> {
        let mut raw = Self {
            name: object.string("name")?.to_owned(),
            level: String::new(),
            overrides: BTreeMap::new(),
            verify_timestamp: String::new(),
            stores: object.strings_or_null("trustStores")?,
            identities: object.strings_or_null("trustedIdentities")?,
        };
        if let Some(verification) = object.object("signatureVerification")? {
            unknown.extend(verification.unknown(&["level", "override", "verifyTimestamp"])?);
            raw.level = verification.string("level")?.to_owned();
            raw.overrides = verification.string_map("override")?;
            raw.verify_timestamp = verification.string("verifyTimestamp")?.to_owned();
        }
        Ok(raw)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Applies the rules, in the order of the reference, so that the same fault is reported first.
    fn check(&self) -> Result<Verification, StatementError> {
        if self.name.is_empty() {
            return Err(StatementError::MissingName);
        }
        self.verification().map_err(|fault| StatementError::Fault {
            statement: self.name.clone(),
            fault,
        })
    }

    fn verification(&self) -> Result<Verification, StatementFault> {
        let invalid = StatementFault::SignatureVerification;
        let level = Level::parse(&self.level).map_err(invalid)?;
        let actions = match level.actions() {
            None if self.overrides.is_empty() => None,
            None => return Err(invalid(LevelFault::SkipOverridden)),
            Some(actions) => Some(actions.overridden(&self.overrides).map_err(invalid)?),
        };
        let verify_timestamp = VerifyTimestamp::parse(&self.verify_timestamp).map_err(invalid)?;
        let Some(actions) = actions else {
            if !self.stores.is_empty() || !self.identities.is_empty() {
                return Err(StatementFault::SkipWithTrust);
            }
            return Ok(Verification::Skip);
        };
        if self.stores.is_empty() || self.identities.is_empty() {
            return Err(StatementFault::Incomplete);
        }
        let mut stores = Vec::new();
        for text in &self.stores {
            let store = StoreRef::parse(text)?;
            if !stores.contains(&store) {
                stores.push(store);
            }
        }
        Ok(Verification::Verify(Rules {
            level,
            overridden: !self.overrides.is_empty(),
            actions,
            verify_timestamp,
            stores,
            identities: TrustedIdentities::parse(&self.identities)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;
    use crate::policy::{blob, oci};
    use crate::x509::identity::TrustedIdentity;

    /// A statement without the braces, for both kinds of document.
    fn statement(verification: &str, stores: &str, identities: &str) -> String {
        format!(
            r#""name":"n","signatureVerification":{verification},"trustStores":{stores},"trustedIdentities":{identities}"#
        )
    }

    fn parse_oci(statement: &str) -> Result<Verification, String> {
        let text = format!(
            r#"{{"version":"1.0","trustPolicies":[{{{statement},"registryScopes":["a/b"]}}]}}"#
        );
        oci::Document::parse(text.as_bytes())
            .map(|d| d.statements()[0].verification().clone())
            .map_err(|e| e.told())
    }

    fn parse_blob(statement: &str) -> Result<Verification, String> {
        let text = format!(r#"{{"version":"1.0","trustPolicies":[{{{statement}}}]}}"#);
        blob::Document::parse(text.as_bytes())
            .map(|d| d.statements()[0].verification().clone())
            .map_err(|e| e.told())
    }

    const STRICT: &str = r#"{"level":"strict"}"#;
    const SKIP: &str = r#"{"level":"skip"}"#;
    const STORES: &str = r#"["ca:a"]"#;

    /// TP-12 to TP-24: every fault of a statement, with its text, in both kinds of document.
    #[test]
    fn statement_faults() {
        let skip_with_trust = "is set to skip signature verification but configured with trust stores and/or trusted identities, remove them if signature verification needs to be skipped";
        let incomplete =
            "is either missing trust stores or trusted identities, both must be specified";
        for (verification, stores, identities, fault) in [
            (
                "{}",
                STORES,
                r#"["*"]"#,
                "has invalid signatureVerification: signature verification level is empty or missing in the trust policy statement",
            ),
            (
                r#"{"level":"skip","override":{"expiry":"log"}}"#,
                "[]",
                "[]",
                "has invalid signatureVerification: signature verification level \"skip\" can't be used to customize signature verification",
            ),
            (
                r#"{"level":"audit","override":{"integrity":"log"}}"#,
                STORES,
                r#"["*"]"#,
                "has invalid signatureVerification: \"integrity\" verification can not be overridden in custom signature verification",
            ),
            (
                r#"{"level":"audit","verifyTimestamp":"no"}"#,
                STORES,
                r#"["*"]"#,
                "has invalid signatureVerification: verifyTimestamp must be \"always\" or \"afterCertExpiry\", but got \"no\"",
            ),
            (SKIP, STORES, "[]", skip_with_trust),
            (SKIP, "[]", r#"["*"]"#, skip_with_trust),
            (STRICT, "[]", r#"["*"]"#, incomplete),
            (STRICT, STORES, "[]", incomplete),
            (
                STRICT,
                r#"["ca"]"#,
                r#"["*"]"#,
                "has malformed trust store value \"ca\". The required format is <TrustStoreType>:<TrustStoreName>",
            ),
            (
                STRICT,
                r#"["ca:a","root:b"]"#,
                r#"["*"]"#,
                "uses an unsupported trust store type \"root\" in trust store value \"root:b\"",
            ),
            (
                STRICT,
                STORES,
                r#"["*","x509.subject:C=US,ST=WA,O=a"]"#,
                "uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values",
            ),
        ] {
            let text = statement(verification, stores, identities);
            let tail = format!("trust policy: trust policy statement \"n\" {fault}");
            assert_eq!(parse_oci(&text), Err(format!("oci {tail}")));
            assert_eq!(parse_blob(&text), Err(format!("blob {tail}")));
        }
    }

    /// TP-10, TP-14, TP-17, TP-20: what a statement says, as types; a store named twice is one.
    #[test]
    fn statement_as_types() {
        let text = statement(
            r#"{"level":"permissive","override":{"revocation":"skip"},"verifyTimestamp":"afterCertExpiry"}"#,
            r#"["ca:a","tsa:t","ca:a","signingAuthority:s"]"#,
            r#"["*"]"#,
        );
        let parsed = parse_oci(&text).unwrap();
        assert_eq!(parse_blob(&text).as_ref(), Ok(&parsed));
        let rules = parsed.rules().unwrap();
        assert_eq!(rules.level(), Level::Permissive);
        assert!(rules.is_overridden());
        assert_eq!(rules.action(Check::Revocation), Action::Skip);
        assert_eq!(rules.action(Check::Expiry), Action::Log);
        assert_eq!(rules.verify_timestamp(), VerifyTimestamp::AfterCertExpiry);
        assert_eq!(rules.identities().items(), [TrustedIdentity::Any]);
        let names = |t| {
            rules
                .stores_of(t)
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(StoreType::Ca), ["ca:a"]);
        assert_eq!(names(StoreType::SigningAuthority), ["signingAuthority:s"]);
        assert_eq!(names(StoreType::Tsa), ["tsa:t"]);
        assert_eq!(
            parse_oci(&statement(SKIP, "[]", "[]")),
            Ok(Verification::Skip)
        );
    }
}
