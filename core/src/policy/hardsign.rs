//! Hardsign's own policy, `policy.hardsign.json`: rules on top of those of the Notary Project.
//!
//! For a statement of `trustpolicy.oci.json` or `trustpolicy.blob.json`, by name, it says how many
//! parties must have signed:
//!
//! ```json
//! {
//!   "version": "1.0",
//!   "oci": {
//!     "production": {
//!       "signers": {
//!         "atLeast": 2,
//!         "of": [
//!           { "name": "build",    "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Acme, CN=build"] },
//!           { "name": "security", "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Acme, CN=security"] },
//!           { "name": "auditor",  "trustStores": ["ca:auditor"] }
//!         ]
//!       }
//!     }
//!   },
//!   "blob": {}
//! }
//! ```
//!
//! A signer is one of a party when its leaf has one of the party's identities and its chain is
//! trusted by one of the party's stores; a party names identities, stores or both.
//!
//! The file is read strictly: an unknown member, a statement that does not exist, a rule that could
//! never be met or never be enforced is an error, and an error fails every verification. `notation`
//! does not read this file.
//!
//! Beside or in place of `signers`, a statement for artifacts may say what must be attached to them,
//! be signed itself and satisfy the same statement:
//!
//! ```json
//! "attached": [{ "type": "application/spdx+json", "sameSigner": true }]
//! ```
//!
//! (`"signers"` in such an item, of the form above, names signers of what is attached alone: a scanner
//! with an identity of its own), and any statement in what kind of hardware the keys of its signatures must live:
//!
//! ```json
//! "hardware": { "roots": ["yubico"], "pinPolicy": ["once", "always"], "leastFirmware": "5.7" }
//! ```

// Requirements: REQ-13.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::reader::{self, MalformedPolicy, Object, Place, UnknownMember};
use super::{Kind, Verification};
use crate::artifact::Quoted;
use crate::json::Value;
use crate::text::{meant, nearest};
use crate::trust::{StoreRef, StoreRefFault, StoreType};
use crate::x509::Certificate;
use crate::x509::identity::{IdentityError, TrustedIdentities, TrustedIdentity};

mod attached;
mod hardware;
mod tally;

pub use attached::{AttachedRule, AttachedTypeError};
pub use hardware::{HardwareFault, HardwareRule, Maker};
pub use tally::{Signer, Tally};

/// Rules for the statements of both documents, each by the statement's name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Document {
    oci: BTreeMap<String, StatementRules>,
    blob: BTreeMap<String, StatementRules>,
}

/// The rules for one statement.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StatementRules {
    /// Who must have signed.
    pub signers: Option<Signers>,
    /// What must be attached, signed itself; for artifacts only.
    pub attached: Vec<AttachedRule>,
    /// In what kind of hardware the key of each signature must live.
    pub hardware: Option<Arc<HardwareRule>>,
}

/// How many of which parties must have signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signers {
    at_least: usize,
    parties: Vec<Party>,
}

/// One party.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Party {
    name: String,
    identities: Vec<TrustedIdentity>,
    stores: Vec<StoreRef>,
}

/// Why the rules can't be used. Every verification fails with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HardsignError {
    /// Not such a document at all.
    #[error("malformed hardsign policy")]
    Malformed(#[source] MalformedPolicy),
    /// A member that this version does not know, so can't enforce.
    #[error("hardsign policy: unknown member {}", .0.place)]
    UnknownMember(UnknownMember),
    /// A version other than 1.0, or none.
    #[error("hardsign policy: version must be \"1.0\", but is {}", Quoted(version))]
    Version {
        /// The version as written.
        version: String,
    },
    /// Rules for a statement that does not exist.
    #[error(
        "hardsign policy: there are rules for the {kind} trust policy statement {}, which does not exist",
        Quoted(statement)
    )]
    UnknownStatement {
        /// The document that should have the statement.
        kind: Kind,
        /// The statement.
        statement: String,
        /// The statement that was probably meant.
        nearest: Option<String>,
    },
    /// A fault in the rules for one statement.
    #[error(
        "hardsign policy: rules for the {kind} trust policy statement {}",
        Quoted(statement)
    )]
    Rules {
        /// The document of the statement.
        kind: Kind,
        /// The statement.
        statement: String,
        /// Which part of the rule, and how.
        #[source]
        fault: Box<RuleFault>,
    },
}

impl HardsignError {
    /// The question whether a known name was meant: of a statement, a member or a type of store.
    pub fn did_you_mean(&self) -> Option<String> {
        match self {
            Self::UnknownStatement { nearest, .. } => nearest.as_deref().map(meant),
            Self::UnknownMember(member) => member.nearest.map(meant),
            Self::Rules { fault, .. } => match &**fault {
                RuleFault::Store { fault, .. } => fault.did_you_mean(),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is wrong with the rules for a statement.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleFault {
    /// No rule.
    #[error("\"signers\", \"attached\" or \"hardware\" is missing")]
    NoRule,
    /// A rule on hardware that is none.
    #[error(transparent)]
    Hardware(Box<HardwareFault>),
    /// `attached` without an item.
    #[error("\"attached\" names no type")]
    NothingAttached,
    /// `attached` with more items than anybody has.
    #[error("\"attached\" has {rules} types, more than {}", attached::MAX_RULES)]
    TooManyAttached {
        /// How many there are.
        rules: usize,
    },
    /// A type that can't be demanded.
    #[error("\"attached\"")]
    AttachedType(#[source] AttachedTypeError),
    /// Two rules for one type.
    #[error("\"attached\" names the type {} more than once", Quoted(artifact_type))]
    AttachedTwice {
        /// The type.
        artifact_type: String,
    },
    /// A rule on the signers of what is attached that is none.
    #[error("\"attached\" of type {}", Quoted(artifact_type))]
    AttachedSigners {
        /// The type.
        artifact_type: String,
        /// What is wrong with its signers.
        #[source]
        fault: Box<RuleFault>,
    },
    /// Signers of its own, and a signer of the artifact itself: one or the other.
    #[error(
        "\"attached\" of type {} has both \"sameSigner\" and \"signers\"",
        Quoted(artifact_type)
    )]
    SameSignerOfOthers {
        /// The type.
        artifact_type: String,
    },
    /// Nothing can be attached to a file.
    #[error("\"attached\" is for artifacts, not for files")]
    AttachedToFile,
    /// No `atLeast`, zero, or more than there are parties.
    #[error(
        "\"signers.atLeast\" must be between 1 and the number of parties in \"signers.of\", {parties}, but is {}",
        at_least.map_or_else(|| "missing".to_owned(), |n| n.to_string())
    )]
    AtLeast {
        /// The value as written.
        at_least: Option<u64>,
        /// How many parties there are.
        parties: usize,
    },
    /// More parties than anybody has.
    #[error("\"signers.of\" names {parties} parties, more than {MAX_PARTIES}")]
    TooMany {
        /// How many there are.
        parties: usize,
    },
    /// A party without a name.
    #[error("a party in \"signers.of\" is missing a name")]
    MissingName,
    /// Two parties with one name.
    #[error("several parties in \"signers.of\" are named {}", Quoted(party))]
    DuplicateName {
        /// The name.
        party: String,
    },
    /// A party that anybody or nobody is.
    #[error(
        "party {} has neither trusted identities nor trust stores",
        Quoted(party)
    )]
    EmptyParty {
        /// The party.
        party: String,
    },
    /// An identity that is none.
    #[error("party {} {fault}", Quoted(party))]
    Identity {
        /// The party.
        party: String,
        /// What is wrong with the identity.
        fault: IdentityError,
    },
    /// An identity that is not `x509.subject`.
    #[error(
        "party {} has trusted identity {}: only x509.subject identities are proof of a signer",
        Quoted(party),
        Quoted(identity)
    )]
    NotSubject {
        /// The party.
        party: String,
        /// The identity.
        identity: String,
    },
    /// A store that is none.
    #[error("party {} {fault}", Quoted(party))]
    Store {
        /// The party.
        party: String,
        /// What is wrong with the reference to the store.
        fault: StoreRefFault,
    },
    /// A store that trusts no signers.
    #[error(
        "party {} names the trust store {store}, which is not for signers",
        Quoted(party)
    )]
    TsaStore {
        /// The party.
        party: String,
        /// The store.
        store: StoreRef,
    },
    /// A store that the statement does not name, so that nothing is trusted by it.
    // TST-03
    #[error(
        "party {} names the trust store {store}, which the statement does not name",
        Quoted(party)
    )]
    StoreNotInStatement {
        /// The party.
        party: String,
        /// The store.
        store: StoreRef,
    },
    /// The statement skips verification, so nobody's signature is looked at.
    #[error("the statement skips signature verification, so the rules could never be enforced")]
    StatementSkips,
}

impl Document {
    /// Reads `policy.hardsign.json`.
    ///
    /// # Errors
    /// The first fault that can be seen without the trust policies. [`Document::bind`] finds the
    /// others.
    pub fn parse(bytes: &[u8]) -> Result<Self, HardsignError> {
        let value = reader::parse(bytes).map_err(HardsignError::Malformed)?;
        let object = Object::new(&value, Place::default()).map_err(HardsignError::Malformed)?;
        Self::read(&object)
    }

    /// Reads the rules out of an object of a larger document.
    pub(super) fn read(object: &Object<'_>) -> Result<Self, HardsignError> {
        known_only(object, &["version", "oci", "blob"])?;
        let version = object.string("version").map_err(HardsignError::Malformed)?;
        if version != "1.0" {
            return Err(HardsignError::Version {
                version: version.to_owned(),
            });
        }
        Ok(Self {
            oci: read_section(object, "oci", Kind::Oci)?,
            blob: read_section(object, "blob", Kind::Blob)?,
        })
    }

    /// Whether there are rules for statements of that kind, so that its document is needed to
    /// check the names.
    pub fn concerns(&self, kind: Kind) -> bool {
        !self.section(kind).is_empty()
    }

    /// Checks the rules of one kind against the statements of that kind's document: every name
    /// exists, no statement skips, every store is the statement's. `statement` looks one up, of those that
    /// have these `names`.
    ///
    /// # Errors
    /// The first fault, in the order of the names.
    pub fn bind<'s>(
        &self,
        kind: Kind,
        statement: impl Fn(&str) -> Option<&'s Verification>,
        names: &[&str],
    ) -> Result<(), HardsignError> {
        for (name, rules) in self.section(kind) {
            let found = statement(name).ok_or_else(|| HardsignError::UnknownStatement {
                kind,
                statement: name.clone(),
                nearest: nearest(name, names).map(str::to_owned),
            })?;
            check_against(rules, found).map_err(|fault| HardsignError::Rules {
                kind,
                statement: name.clone(),
                fault: Box::new(fault),
            })?;
        }
        Ok(())
    }

    /// Loads the roots of the makers that rules on hardware name; until then nothing satisfies these
    /// rules. `read` gets a file's certificates, by its path as it stands in the policy.
    ///
    /// # Errors
    /// The error of `read`, or inside it that the file holds no roots.
    pub fn load_roots<E>(
        &mut self,
        mut read: impl FnMut(&Path) -> Result<Vec<Certificate>, E>,
    ) -> Result<Result<(), HardsignError>, E> {
        for kind in [Kind::Oci, Kind::Blob] {
            for (statement, rules) in self.section_mut(kind) {
                let Some(rule) = &mut rules.hardware else {
                    continue;
                };
                if let Err(fault) = Arc::make_mut(rule).load(&mut read)? {
                    return Ok(Err(HardsignError::Rules {
                        kind,
                        statement: statement.clone(),
                        fault: Box::new(RuleFault::Hardware(Box::new(fault))),
                    }));
                }
            }
        }
        Ok(Ok(()))
    }

    /// The files that roots of makers come from, as they stand in the policy.
    pub fn root_files(&self) -> impl Iterator<Item = &Path> {
        let rules = self.oci.values().chain(self.blob.values());
        let makers = rules.filter_map(|rules| rules.hardware.as_deref());
        let makers = makers.flat_map(HardwareRule::makers);
        makers.filter_map(|maker| match maker {
            Maker::File { path, .. } => Some(path.as_path()),
            Maker::Yubico => None,
        })
    }

    /// The rules for a statement, if it has any.
    pub fn rules(&self, kind: Kind, statement: &str) -> Option<&StatementRules> {
        self.section(kind).get(statement)
    }

    fn section(&self, kind: Kind) -> &BTreeMap<String, StatementRules> {
        match kind {
            Kind::Oci => &self.oci,
            Kind::Blob => &self.blob,
        }
    }

    fn section_mut(&mut self, kind: Kind) -> &mut BTreeMap<String, StatementRules> {
        match kind {
            Kind::Oci => &mut self.oci,
            Kind::Blob => &mut self.blob,
        }
    }
}

impl Signers {
    /// How many parties must have signed; at least one.
    pub fn at_least(&self) -> usize {
        self.at_least
    }

    /// The parties, in the order of the file; at least as many as must have signed.
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }
}

impl Party {
    /// The name, unique in its rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identities; where there are any, the leaf must have one.
    pub fn identities(&self) -> &[TrustedIdentity] {
        &self.identities
    }

    /// Its stores; where there are any, one must trust the chain.
    pub fn stores(&self) -> &[StoreRef] {
        &self.stores
    }

    fn includes(&self, leaf: &Certificate, trusted_by: &[StoreRef]) -> bool {
        let identity =
            self.identities.is_empty() || self.identities.iter().any(|i| i.matches(leaf));
        let store = self.stores.is_empty() || self.stores.iter().any(|s| trusted_by.contains(s));
        identity && store
    }
}

fn check_against(rules: &StatementRules, statement: &Verification) -> Result<(), RuleFault> {
    let Some(statement) = statement.rules() else {
        return Err(RuleFault::StatementSkips);
    };
    for party in rules.signers.iter().flat_map(Signers::parties) {
        if let Some(store) = party
            .stores
            .iter()
            .find(|s| !statement.stores().contains(s))
        {
            return Err(RuleFault::StoreNotInStatement {
                party: party.name.clone(),
                store: store.clone(),
            });
        }
    }
    Ok(())
}

fn read_section(
    document: &Object<'_>,
    name: &'static str,
    kind: Kind,
) -> Result<BTreeMap<String, StatementRules>, HardsignError> {
    let malformed = HardsignError::Malformed;
    let Some(section) = document.object(name).map_err(malformed)? else {
        return Ok(BTreeMap::new());
    };
    let mut rules = BTreeMap::new();
    for (statement, value) in section.members() {
        let place = section.place().member(statement);
        let object = Object::new(value, place).map_err(malformed)?;
        let fault = |fault| HardsignError::Rules {
            kind,
            statement: statement.to_owned(),
            fault: Box::new(fault),
        };
        known_only(&object, &["signers", "attached", "hardware"])?;
        let hardware = hardware::read(&object)?.map_err(fault)?;
        let attached = attached::read(&object)?.map_err(fault)?;
        if kind == Kind::Blob && !attached.is_empty() {
            return Err(fault(RuleFault::AttachedToFile));
        }
        let signers = match object.object("signers").map_err(malformed)? {
            Some(signers) => Some(read_signers(&signers)?.map_err(fault)?),
            None if attached.is_empty() && hardware.is_none() => {
                return Err(fault(RuleFault::NoRule));
            }
            None => None,
        };
        rules.insert(
            statement.to_owned(),
            StatementRules {
                signers,
                attached,
                hardware: hardware.map(Arc::new),
            },
        );
    }
    Ok(rules)
}

/// Two layers: what is no such document at all, and what breaks a rule.
fn read_signers(object: &Object<'_>) -> Result<Result<Signers, RuleFault>, HardsignError> {
    let malformed = HardsignError::Malformed;
    known_only(object, &["atLeast", "of"])?;
    let at_least = match object.get("atLeast") {
        None => None,
        Some(value) => Some(value.as_u64().ok_or_else(|| {
            malformed(reader::wrong(
                object.place().member("atLeast"),
                "a whole number",
                value,
            ))
        })?),
    };
    let mut parties = Vec::new();
    let place = object.place().member("of");
    for (index, item) in object.array("of").map_err(malformed)?.iter().enumerate() {
        let name = item.get("name").and_then(Value::as_str);
        let party = Object::new(item, place.item(index, name)).map_err(malformed)?;
        match read_party(&party)? {
            Ok(party) => parties.push(party),
            Err(fault) => return Ok(Err(fault)),
        }
    }
    Ok(check_signers(at_least, parties))
}

fn check_signers(at_least: Option<u64>, parties: Vec<Party>) -> Result<Signers, RuleFault> {
    if parties.len() > MAX_PARTIES {
        return Err(RuleFault::TooMany {
            parties: parties.len(),
        });
    }
    let mut names = BTreeSet::new();
    for party in &parties {
        if !names.insert(&party.name) {
            return Err(RuleFault::DuplicateName {
                party: party.name.clone(),
            });
        }
    }
    let number = at_least.and_then(|n| usize::try_from(n).ok());
    match number {
        Some(at_least) if (1..=parties.len()).contains(&at_least) => {
            Ok(Signers { at_least, parties })
        }
        _ => Err(RuleFault::AtLeast {
            at_least,
            parties: parties.len(),
        }),
    }
}

fn read_party(object: &Object<'_>) -> Result<Result<Party, RuleFault>, HardsignError> {
    let malformed = HardsignError::Malformed;
    known_only(object, &["name", "trustedIdentities", "trustStores"])?;
    let name = object.string("name").map_err(malformed)?.to_owned();
    let identities = object.strings("trustedIdentities").map_err(malformed)?;
    let stores = object.strings("trustStores").map_err(malformed)?;
    Ok(check_party(name, &identities, &stores))
}

fn check_party(name: String, identities: &[String], stores: &[String]) -> Result<Party, RuleFault> {
    if name.is_empty() {
        return Err(RuleFault::MissingName);
    }
    let party = || name.clone();
    if identities.is_empty() && stores.is_empty() {
        return Err(RuleFault::EmptyParty { party: party() });
    }
    let identities = TrustedIdentities::parse(identities).map_err(|fault| RuleFault::Identity {
        party: party(),
        fault,
    })?;
    let identities = identities.items().to_vec();
    let other = |i: &&TrustedIdentity| !matches!(i, TrustedIdentity::Subject { .. });
    if let Some(other) = identities.iter().find(other) {
        return Err(RuleFault::NotSubject {
            party: party(),
            identity: other.text().to_owned(),
        });
    }
    let mut parsed = Vec::new();
    for text in stores {
        let store = StoreRef::parse(text).map_err(|fault| RuleFault::Store {
            party: party(),
            fault,
        })?;
        if store.store_type == StoreType::Tsa {
            return Err(RuleFault::TsaStore {
                party: party(),
                store,
            });
        }
        parsed.push(store);
    }
    Ok(Party {
        name,
        identities,
        stores: parsed,
    })
}

/// Refuses every member but these: what is not understood can't be enforced.
fn known_only(object: &Object<'_>, known: &[&'static str]) -> Result<(), HardsignError> {
    let unknown = object.unknown(known).map_err(HardsignError::Malformed)?;
    match unknown.into_iter().next() {
        Some(member) => Err(HardsignError::UnknownMember(member)),
        None => Ok(()),
    }
}

/// Most parties in one rule.
const MAX_PARTIES: usize = 64;

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// TP-06, REQ-13: `null` in place of a rule is refused with its place, whichever member it is.
    #[test]
    fn req_13_null_is_no_rule() {
        let good = r#"{"version":"1.0","oci":{"p":{"signers":{"atLeast":1,"of":[{"name":"a","trustedIdentities":["x509.subject: C=US, ST=WA, O=a"],"trustStores":["ca:x"]}]},"attached":[{"type":"a/b","sameSigner":true}]}},"blob":{}}"#;
        for (value, place, expected) in [
            (r#""1.0""#, "version", "a string"),
            (r#"{}"#, "blob", "an object"),
            (
                r#"["x509.subject: C=US, ST=WA, O=a"]"#,
                "oci.p.signers.of[0] (\"a\").trustedIdentities",
                "an array",
            ),
            (
                r#""x509.subject: C=US, ST=WA, O=a""#,
                "oci.p.signers.of[0] (\"a\").trustedIdentities[0]",
                "a string",
            ),
            (
                r#"["ca:x"]"#,
                "oci.p.signers.of[0] (\"a\").trustStores",
                "an array",
            ),
            (r#""a","#, "oci.p.signers.of[0].name", "a string"),
            (r#":1,"#, "oci.p.signers.atLeast", "a whole number"),
            (r#""a/b""#, "oci.p.attached[0].type", "a string"),
            ("true", "oci.p.attached[0].sameSigner", "true or false"),
            (
                r#"{"type":"a/b","sameSigner":true}"#,
                "oci.p.attached[0]",
                "an object",
            ),
            (
                r#"[{"type":"a/b","sameSigner":true}]"#,
                "oci.p.attached",
                "an array",
            ),
            (
                r#"{"name":"a","trustedIdentities":["x509.subject: C=US, ST=WA, O=a"],"trustStores":["ca:x"]}"#,
                "oci.p.signers.of[0]",
                "an object",
            ),
            (
                r#"[{"name":"a","trustedIdentities":["x509.subject: C=US, ST=WA, O=a"],"trustStores":["ca:x"]}]"#,
                "oci.p.signers.of",
                "an array",
            ),
            (
                r#"{"atLeast":1,"of":[{"name":"a","trustedIdentities":["x509.subject: C=US, ST=WA, O=a"],"trustStores":["ca:x"]}]}"#,
                "oci.p.signers",
                "an object",
            ),
        ] {
            // The value alone goes; what stands around it in the pattern stays.
            let null = value.replace(value.trim_matches([':', ',']), "null");
            let text = good.replacen(value, &null, 1);
            assert_ne!(text, good, "{place}");
            let error = Document::parse(text.as_bytes()).unwrap_err().told();
            let wanted =
                format!("malformed hardsign policy: {place}: must be {expected}, but is null");
            assert_eq!(error, wanted);
        }
        for (text, place) in [
            (r#"{"version":"1.0","oci":null}"#, "oci"),
            (r#"{"version":"1.0","oci":{"p":null}}"#, "oci.p"),
            (
                r#"{"version":"1.0","blob":{"p":{"signers":null}}}"#,
                "blob.p.signers",
            ),
            (
                r#"{"version":"1.0","blob":{"p":{"attached":null}}}"#,
                "blob.p.attached",
            ),
            ("null", "document"),
        ] {
            let error = Document::parse(text.as_bytes()).unwrap_err().told();
            let wanted = format!("malformed hardsign policy: {place}: must be an ");
            assert!(
                error.starts_with(&wanted) && error.ends_with("but is null"),
                "{error}"
            );
        }
    }
}
