//! Changes to policy documents: signers in and out, without an editor.
//!
//! Everything here goes from bytes to bytes. A document that is changed keeps its other members and
//! their order; what comes out has been read again by the reader that verification uses, so nothing is
//! written that would not be accepted. Certificates, stores and files are for the caller.

use serde_json::{Map, Value, json};

use super::hardsign::{self, HardsignError};
use super::{Applicability, Document, Kind, PolicyError, Verification, blob, oci};
use crate::artifact::Quoted;
use crate::json::{self, JsonError};
use crate::trust::StoreRef;

/// A signer, as a policy names one.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The name, by which it is found again.
    pub name: String,
    /// An item of `trustedIdentities`.
    pub identity: String,
    /// The store that trusts its chain.
    pub store: StoreRef,
}

/// What a statement applies to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Applies {
    /// To the artifacts of these repositories, or `*`.
    Artifacts(Vec<String>),
    /// To every file, or to those that are verified under its name.
    Files {
        /// `globalPolicy`
        global: bool,
    },
}

/// A changed document.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Changed {
    /// The whole document, to be written.
    pub document: Vec<u8>,
    /// The statement concerned.
    pub statement: String,
    /// What was changed, a line each, in the order of the document; empty where all was so already.
    pub changes: Vec<String>,
}

/// Why a document was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The document can't be used as it is, or could not after the change.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The same of hardsign's own policy.
    #[error(transparent)]
    Hardsign(#[from] HardsignError),
    /// It can't be written as JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is not what the reader took it for: nothing is changed then.
    #[error("{0:?} of the policy can't be changed")]
    Shape(&'static str),
    /// The statement verifies nothing.
    #[error(
        "trust policy statement {} skips signature verification",
        Quoted(statement)
    )]
    Skips {
        /// The statement.
        statement: String,
    },
    /// The statement trusts whoever its stores vouch for.
    #[error(
        "trust policy statement {} trusts every signer below its trust stores (trusted identity \"*\")",
        Quoted(statement)
    )]
    AnyIdentity {
        /// The statement.
        statement: String,
    },
    /// A statement that would be made has no scope.
    #[error(
        "trust policy statement {} does not exist, and a new one needs registry scopes",
        Quoted(statement)
    )]
    NoScopes {
        /// The statement.
        statement: String,
    },
    /// A scope belongs to a statement that is also for others.
    #[error(
        "registry scope {} is in the trust policy statement {}, which applies to {}",
        Quoted(scope),
        Quoted(statement),
        others.join(", ")
    )]
    OtherScopes {
        /// The scope.
        scope: String,
        /// The statement that has it.
        statement: String,
        /// All that this statement has.
        others: Vec<String>,
    },
    /// There is no such statement.
    #[error("there is no trust policy statement {}", Quoted(statement))]
    NoSuchStatement {
        /// The name.
        statement: String,
        /// Those that there are.
        names: Vec<String>,
    },
    /// The signer can't be found in the statement.
    #[error(
        "trust policy statement {} has no signer {}",
        Quoted(statement),
        Quoted(signer)
    )]
    NoSuchSigner {
        /// The statement.
        statement: String,
        /// The signer.
        signer: String,
    },
    /// A party of that name has other identities.
    #[error(
        "the rules for statement {} name another signer {}",
        Quoted(statement),
        Quoted(signer)
    )]
    OtherSigner {
        /// The statement.
        statement: String,
        /// The signer.
        signer: String,
    },
    /// The statement has several identities, and which of them is the signer's is not known.
    #[error(
        "trust policy statement {} has several trusted identities, and which is that of {} is not known",
        Quoted(statement),
        Quoted(signer)
    )]
    WhichIdentity {
        /// The statement.
        statement: String,
        /// The signer.
        signer: String,
        /// The identities.
        identities: Vec<String>,
    },
}

/// A trust policy of one statement of level `strict`.
///
/// # Errors
/// The document would not be accepted: [`EditError::Policy`].
pub fn init(
    name: &str,
    applies: &Applies,
    stores: &[String],
    identities: &[String],
) -> Result<Vec<u8>, EditError> {
    let statement = statement(name, applies, json!(stores), json!(identities));
    let bytes = serde_json::to_vec_pretty(&json!({
        "version": "1.0",
        "trustPolicies": [statement],
    }))
    .map_err(JsonError::Data)?;
    match applies {
        Applies::Artifacts(_) => drop(oci::Document::parse(&bytes)?),
        Applies::Files { .. } => drop(blob::Document::parse(&bytes)?),
    }
    Ok(bytes)
}

fn statement(name: &str, applies: &Applies, stores: Value, identities: Value) -> Value {
    let mut statement = Map::new();
    statement.insert("name".to_owned(), json!(name));
    if let Applies::Artifacts(scopes) = applies {
        statement.insert("registryScopes".to_owned(), json!(scopes));
    }
    statement.insert(
        "signatureVerification".to_owned(),
        json!({"level": "strict"}),
    );
    statement.insert("trustStores".to_owned(), stores);
    statement.insert("trustedIdentities".to_owned(), identities);
    if *applies == (Applies::Files { global: true }) {
        statement.insert("globalPolicy".to_owned(), Value::Bool(true));
    }
    Value::Object(statement)
}

/// Trusts a signer: adds it to the statement that applies, or to a new one of level `strict`.
///
/// `document` is the trust policy, if there is one. Without the name of a statement, that is the one
/// with exactly these scopes, or the global one of files, and a new one gets the signer's name.
///
/// # Errors
/// [`EditError`]; a statement is never widened to more than was named.
pub fn add_signer(
    document: Option<&[u8]>,
    named: Option<&str>,
    applies: &Applies,
    signer: &Signer,
) -> Result<Changed, EditError> {
    match applies {
        Applies::Artifacts(scopes) => {
            let found = document.map(oci::Document::parse).transpose()?;
            let name = match (&found, named) {
                (_, Some(name)) => Some(name.to_owned()),
                (None, None) => None,
                (Some(found), None) => of_scopes(found, scopes)?,
            };
            add_to::<crate::policy::Scopes>(document, found, name, applies, signer)
        }
        Applies::Files { global } => {
            let found = document.map(blob::Document::parse).transpose()?;
            let global = match &found {
                Some(found) if *global => found.statement_for(None).ok(),
                _ => None,
            };
            let name = named.or(global.map(super::Statement::name));
            let name = name.map(str::to_owned);
            add_to::<blob::Global>(document, found, name, applies, signer)
        }
    }
}

/// The statement with exactly these scopes; none where no statement has any of them.
fn of_scopes(document: &oci::Document, scopes: &[String]) -> Result<Option<String>, EditError> {
    for scope in scopes {
        let mut statements = document.statements().iter();
        let Some(statement) = statements.find(|s| s.applies_to().has(scope)) else {
            continue;
        };
        let others: Vec<_> = statement.applies_to().texts().map(str::to_owned).collect();
        let all = scopes.iter().all(|scope| statement.applies_to().has(scope));
        return match all && scopes.len() == others.len() {
            true => Ok(Some(statement.name().to_owned())),
            false => Err(EditError::OtherScopes {
                scope: scope.clone(),
                statement: statement.name().to_owned(),
                others,
            }),
        };
    }
    Ok(None)
}

fn add_to<A: Applicability>(
    bytes: Option<&[u8]>,
    found: Option<Document<A>>,
    name: Option<String>,
    applies: &Applies,
    signer: &Signer,
) -> Result<Changed, EditError> {
    let name = name.unwrap_or_else(|| signer.name.clone());
    let store = signer.store.to_string();
    let mut changes = Vec::new();
    let mut tree = tree(bytes, json!({"version": "1.0", "trustPolicies": []}))?;
    let existing = found.as_ref().and_then(|found| found.statement(&name));
    match existing {
        None => {
            if matches!(applies, Applies::Artifacts(scopes) if scopes.is_empty()) {
                return Err(EditError::NoScopes { statement: name });
            }
            let new = statement(&name, applies, json!([store]), json!([signer.identity]));
            list(&mut tree, "trustPolicies")?.push(new);
            changes.push(match applies {
                Applies::Artifacts(scopes) => {
                    format!("new statement {name:?} for {}", scopes.join(", "))
                }
                Applies::Files { global: true } => format!("new statement {name:?} for every file"),
                Applies::Files { global: false } => {
                    format!("new statement {name:?} for files verified under its name")
                }
            });
        }
        Some(statement) => {
            let Verification::Verify(rules) = statement.verification() else {
                return Err(EditError::Skips { statement: name });
            };
            if rules.identities().items().iter().any(|i| i.text() == "*") {
                return Err(EditError::AnyIdentity { statement: name });
            }
            let statement = find_statement(&mut tree, &name)?;
            for (member, item) in [
                ("trustStores", &store),
                ("trustedIdentities", &signer.identity),
            ] {
                let list = list(statement, member)?;
                if !list.iter().any(|there| there == item) {
                    list.push(json!(item));
                    changes.push(format!("statement {name:?}: {member} gets {item:?}"));
                }
            }
        }
    }
    finish::<A>(tree, name, changes)
}

/// Takes a signer out of a statement: its identity, and the store of its name. A statement that is left
/// without a signer goes.
///
/// # Errors
/// [`EditError`]; [`EditError::WhichIdentity`] where the statement has several identities and
/// `identity` names none.
pub fn remove_signer<A: Applicability>(
    bytes: &[u8],
    name: &str,
    signer: &str,
    identity: Option<&str>,
) -> Result<Changed, EditError> {
    let document = Document::<A>::parse(bytes)?;
    let Some(found) = document.statement(name) else {
        return Err(EditError::NoSuchStatement {
            statement: name.to_owned(),
            names: document
                .statements()
                .iter()
                .map(|s| s.name().to_owned())
                .collect(),
        });
    };
    let Verification::Verify(rules) = found.verification() else {
        return Err(EditError::Skips {
            statement: name.to_owned(),
        });
    };
    let identities: Vec<_> = rules
        .identities()
        .items()
        .iter()
        .map(|i| i.text())
        .collect();
    let its_stores: Vec<_> = rules
        .stores()
        .iter()
        .filter(|store| store.name.as_str() == signer)
        .map(ToString::to_string)
        .collect();
    let identity = match (identity, identities.as_slice()) {
        (Some(identity), all) if all.contains(&identity) => identity,
        (None, [only]) if !its_stores.is_empty() => only,
        (None, [_, _, ..]) if !its_stores.is_empty() => {
            return Err(EditError::WhichIdentity {
                statement: name.to_owned(),
                signer: signer.to_owned(),
                identities: identities.iter().map(|i| (*i).to_owned()).collect(),
            });
        }
        _ => {
            return Err(EditError::NoSuchSigner {
                statement: name.to_owned(),
                signer: signer.to_owned(),
            });
        }
    };
    let mut changes = Vec::new();
    let mut tree = tree(Some(bytes), Value::Null)?;
    if identities.len() == 1 {
        let statements = list(&mut tree, "trustPolicies")?;
        statements.retain(|statement| statement.get("name").and_then(Value::as_str) != Some(name));
        changes.push(format!(
            "statement {name:?} is removed: it has no other signer"
        ));
    } else {
        let statement = find_statement(&mut tree, name)?;
        let others_left = rules.stores().iter().any(|s| {
            !its_stores.contains(&s.to_string()) && s.store_type != crate::trust::StoreType::Tsa
        });
        for (member, gone) in [
            (
                "trustStores",
                if others_left { its_stores } else { Vec::new() },
            ),
            ("trustedIdentities", vec![identity.to_owned()]),
        ] {
            let list = list(statement, member)?;
            for item in gone {
                list.retain(|there| *there != item);
                changes.push(format!("statement {name:?}: {member} loses {item:?}"));
            }
        }
    }
    if document.statements().len() == 1 && identities.len() == 1 {
        // A policy without statements is none (TP-09): the caller deletes the file.
        return Ok(Changed {
            document: Vec::new(),
            statement: name.to_owned(),
            changes,
        });
    }
    finish::<A>(tree, name.to_owned(), changes)
}

fn finish<A: Applicability>(
    tree: Value,
    statement: String,
    changes: Vec<String>,
) -> Result<Changed, EditError> {
    let document = written(&tree)?;
    Document::<A>::parse(&document)?;
    Ok(Changed {
        document,
        statement,
        changes,
    })
}

/// Where hardsign's own policy has a signer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Role {
    /// Among those who must have signed what the statement applies to. Without a number, all of them
    /// must.
    Required {
        /// How many must have signed.
        at_least: Option<usize>,
    },
    /// Who must have signed attached artifacts of a type, which must be there.
    Attached {
        /// The type.
        artifact_type: String,
    },
}

/// Adds a signer to hardsign's own policy, `document`, if there is one.
///
/// # Errors
/// [`EditError`].
pub fn add_party(
    document: Option<&[u8]>,
    kind: Kind,
    statement: &str,
    role: &Role,
    signer: &Signer,
) -> Result<Changed, EditError> {
    if let Some(bytes) = document {
        hardsign::Document::parse(bytes)?;
    }
    let mut tree = tree(document, json!({"version": "1.0"}))?;
    let section = member(&mut tree, &kind.to_string(), json!({}));
    let rules = member(section, statement, json!({}));
    let mut changes = Vec::new();
    let (signers, at_least, what) = match role {
        Role::Required { at_least } => {
            let signers = member(rules, "signers", json!({"atLeast": 0, "of": []}));
            (signers, *at_least, "required signers".to_owned())
        }
        Role::Attached { artifact_type } => {
            let rule = attached_rule(rules, artifact_type, &mut changes, statement)?;
            let signers = member(rule, "signers", json!({"atLeast": 0, "of": []}));
            (
                signers,
                None,
                format!("signers of attached {artifact_type}"),
            )
        }
    };
    let party = json!({
        "name": signer.name,
        "trustedIdentities": [signer.identity],
        "trustStores": [signer.store.to_string()],
    });
    let before = signers.get("atLeast").and_then(Value::as_u64).unwrap_or(0);
    let of = list(signers, "of")?;
    let all = before == of.len() as u64;
    let same_name = |there: &&Value| there.get("name") == party.get("name");
    match of.iter().find(same_name) {
        Some(there) if *there == party => {}
        Some(_) => {
            return Err(EditError::OtherSigner {
                statement: statement.to_owned(),
                signer: signer.name.clone(),
            });
        }
        None => {
            of.push(party);
            changes.push(format!(
                "statement {statement:?}: {what} get {:?}",
                signer.name
            ));
        }
    }
    let number = of.len() as u64;
    let wanted = match (at_least, role) {
        (Some(at_least), _) => at_least as u64,
        // Any one of several scanners will do.
        (None, Role::Attached { .. }) => before.max(1),
        (None, Role::Required { .. }) if all => number,
        (None, Role::Required { .. }) => before,
    };
    if wanted != before {
        changes.push(format!(
            "statement {statement:?}: at least {wanted} of {number} {what} must have signed"
        ));
        if let Some(signers) = signers.as_object_mut() {
            signers.insert("atLeast".to_owned(), json!(wanted));
        }
    }
    finish_rules(tree, statement, changes)
}

/// The rule on attached artifacts of a type, put in where it is missing.
fn attached_rule<'t>(
    rules: &'t mut Value,
    artifact_type: &str,
    changes: &mut Vec<String>,
    statement: &str,
) -> Result<&'t mut Value, EditError> {
    member(rules, "attached", json!([]));
    let attached = list(rules, "attached")?;
    let of_type = |rule: &Value| rule.get("type").and_then(Value::as_str) == Some(artifact_type);
    let position = attached.iter().position(of_type).unwrap_or_else(|| {
        changes.push(format!(
            "statement {statement:?}: requires an attached {artifact_type}"
        ));
        attached.push(json!({"type": artifact_type}));
        attached.len() - 1
    });
    attached
        .get_mut(position)
        .ok_or(EditError::Shape("attached"))
}

/// Takes a signer out of hardsign's own policy, wherever the rules for a statement have it. What must be
/// signed by it alone is demanded no longer.
///
/// Returns the identities under which it stood beside the change; none where it stood nowhere. Rules
/// that are left without any content make an empty document: the caller deletes the file.
///
/// # Errors
/// [`EditError`].
pub fn remove_party(
    bytes: &[u8],
    kind: Kind,
    statement: &str,
    signer: &str,
) -> Result<(Changed, Vec<String>), EditError> {
    hardsign::Document::parse(bytes)?;
    let mut tree = tree(Some(bytes), Value::Null)?;
    let mut changes = Vec::new();
    let mut identities = Vec::new();
    let kind = kind.to_string();
    if let Some(rules) = tree
        .get_mut(&kind)
        .and_then(|section| section.get_mut(statement))
    {
        let mut without = |signers: &mut Value, what: &str, rule: &str| {
            let gone = take_party(signers, signer, &mut identities);
            let left = signers
                .get("of")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            if gone && left > 0 {
                let at_least = signers.get("atLeast").and_then(Value::as_u64).unwrap_or(1);
                changes.push(format!(
                    "statement {statement:?}: {what} lose {signer:?}, at least {at_least} of {left} must have signed"
                ));
            } else if gone {
                changes.push(format!(
                    "statement {statement:?}: the rule on {rule} is removed: {signer:?} is its only signer"
                ));
            }
            gone && left == 0
        };
        if rules
            .get_mut("signers")
            .is_some_and(|signers| without(signers, "required signers", "required signers"))
        {
            remove(rules, "signers");
        }
        if let Some(list) = rules.get_mut("attached").and_then(Value::as_array_mut) {
            list.retain_mut(|rule| {
                let attached = rule.get("type").and_then(Value::as_str).unwrap_or_default();
                let attached = format!("attached {attached}");
                let what = format!("signers of {attached}");
                !rule
                    .get_mut("signers")
                    .is_some_and(|signers| without(signers, &what, &attached))
            });
            if list.is_empty() {
                remove(rules, "attached");
            }
        }
        if rules.as_object().is_some_and(Map::is_empty)
            && let Some(section) = tree.get_mut(&kind)
        {
            remove(section, statement);
        }
    }
    let empty = ["oci", "blob"].iter().all(|kind| {
        let section = tree.get(*kind).and_then(Value::as_object);
        section.is_none_or(Map::is_empty)
    });
    if empty && !changes.is_empty() {
        let changed = Changed {
            document: Vec::new(),
            statement: statement.to_owned(),
            changes,
        };
        return Ok((changed, identities));
    }
    Ok((finish_rules(tree, statement, changes)?, identities))
}

/// Takes the party out, and lowers the number of signers where there would be too few.
fn take_party(signers: &mut Value, signer: &str, identities: &mut Vec<String>) -> bool {
    let Ok(of) = list(signers, "of") else {
        return false;
    };
    let before = of.len();
    of.retain(|party| {
        let is = party.get("name").and_then(Value::as_str) == Some(signer);
        if is {
            let listed = party.get("trustedIdentities").and_then(Value::as_array);
            let listed = listed.into_iter().flatten().filter_map(Value::as_str);
            identities.extend(listed.map(str::to_owned));
        }
        !is
    });
    let left = of.len();
    let at_least = signers.get("atLeast").and_then(Value::as_u64).unwrap_or(1);
    if let Some(signers) = signers.as_object_mut() {
        signers.insert("atLeast".to_owned(), json!(at_least.min(left as u64)));
    }
    left < before
}

fn finish_rules(tree: Value, statement: &str, changes: Vec<String>) -> Result<Changed, EditError> {
    let document = written(&tree)?;
    hardsign::Document::parse(&document)?;
    Ok(Changed {
        document,
        statement: statement.to_owned(),
        changes,
    })
}

fn tree(bytes: Option<&[u8]>, empty: Value) -> Result<Value, EditError> {
    Ok(match bytes {
        Some(bytes) => json::from_slice(bytes)?,
        None => empty,
    })
}

fn written(tree: &Value) -> Result<Vec<u8>, EditError> {
    let mut bytes = serde_json::to_vec_pretty(tree).map_err(JsonError::Data)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The member of an object, put in where it is missing.
fn member<'t>(object: &'t mut Value, name: &str, default: Value) -> &'t mut Value {
    if !object.is_object() {
        *object = json!({});
    }
    match object {
        Value::Object(members) => members.entry(name.to_owned()).or_insert(default),
        other => other,
    }
}

fn remove(object: &mut Value, name: &str) {
    if let Some(members) = object.as_object_mut() {
        members.shift_remove(name);
    }
}

/// The list that a member of an object is.
fn list<'t>(object: &'t mut Value, name: &'static str) -> Result<&'t mut Vec<Value>, EditError> {
    let list = object.get_mut(name).and_then(Value::as_array_mut);
    list.ok_or(EditError::Shape(name))
}

fn find_statement<'t>(tree: &'t mut Value, name: &str) -> Result<&'t mut Value, EditError> {
    let is = |statement: &&mut Value| statement.get("name").and_then(Value::as_str) == Some(name);
    let found = list(tree, "trustPolicies")?.iter_mut().find(is);
    found.ok_or(EditError::Shape("trustPolicies"))
}

#[cfg(test)]
mod tests;
