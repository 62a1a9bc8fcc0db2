//! The frame that both kinds of document share: one JSON object, with hardsign's own rules beside
//! its statements in the policy for one run alone (TP-08).

use super::hardsign::{self, HardsignError};
use super::reader::{self, Object, Place};
use super::{PolicyError, RULES};

/// Reads a document with `read`, which is given the object and the members it may have.
pub(super) fn parse<D>(
    bytes: &[u8],
    read: impl FnOnce(&Object<'_>, &[&'static str]) -> Result<D, PolicyError>,
) -> Result<D, PolicyError> {
    let value = reader::parse(bytes).map_err(PolicyError::Malformed)?;
    let object = Object::new(&value, Place::default()).map_err(PolicyError::Malformed)?;
    if object.get(RULES).is_some() {
        return Err(PolicyError::Misplaced);
    }
    read(&object, &MEMBERS)
}

/// As [`parse`], for a document that may carry hardsign's own rules.
pub(super) fn parse_with_rules<D>(
    bytes: &[u8],
    read: impl FnOnce(&Object<'_>, &[&'static str]) -> Result<D, PolicyError>,
) -> Result<Result<(D, hardsign::Document), HardsignError>, PolicyError> {
    let value = reader::parse(bytes).map_err(PolicyError::Malformed)?;
    let object = Object::new(&value, Place::default()).map_err(PolicyError::Malformed)?;
    let document = read(&object, &[&MEMBERS[..], &[RULES]].concat())?;
    Ok(
        match object.object(RULES).map_err(PolicyError::Malformed)? {
            None => Ok((document, hardsign::Document::default())),
            Some(rules) => hardsign::Document::read(&rules).map(|rules| (document, rules)),
        },
    )
}

const MEMBERS: [&str; 2] = ["version", "trustPolicies"];
