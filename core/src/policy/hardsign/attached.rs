//! Rules on attached artifacts: which kinds an artifact must have, and by whom they are signed.

use std::collections::BTreeSet;

use super::{HardsignError, RuleFault, Signers, known_only, read_signers};
use crate::blob::check_media_type;
use crate::oci::manifest::SIGNATURE_ARTIFACT_TYPE;
use crate::policy::reader::Object;

/// An artifact of this type must be attached, be signed itself, and satisfy the same statement, or
/// be signed by signers of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachedRule {
    artifact_type: String,
    same_signer: bool,
    signers: Option<Signers>,
}

/// A type that no attached artifact can be asked for by.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachedTypeError {
    /// Not a media type (RFC 6838).
    #[error("{} is not an artifact type", crate::artifact::Quoted(.0))]
    Malformed(String),
    /// Signatures are demanded by the trust policy itself.
    #[error(
        "{} is the type of signatures, which every statement demands",
        crate::artifact::Quoted(.0)
    )]
    Signature(String),
}

impl AttachedRule {
    /// A rule for artifacts of a type, as their manifest gives it (`artifactType`, or else the
    /// configuration's media type).
    ///
    /// # Errors
    /// The type is none, or that of signatures.
    pub fn new(artifact_type: &str, same_signer: bool) -> Result<Self, AttachedTypeError> {
        if artifact_type == SIGNATURE_ARTIFACT_TYPE {
            return Err(AttachedTypeError::Signature(artifact_type.to_owned()));
        }
        // Go's parser, and so ours, lets a type without a subtype pass.
        if !artifact_type.contains('/') || check_media_type(artifact_type).is_err() {
            return Err(AttachedTypeError::Malformed(artifact_type.to_owned()));
        }
        Ok(Self {
            artifact_type: artifact_type.to_owned(),
            same_signer,
            signers: None,
        })
    }

    /// The type.
    pub fn artifact_type(&self) -> &str {
        &self.artifact_type
    }

    /// Whether a signer of the artifact itself must have signed what is attached.
    pub fn same_signer(&self) -> bool {
        self.same_signer
    }

    /// Who must have signed what is attached, where that is not for the statement to say: its stores
    /// and identities and its own rule on signers don't hold then.
    pub fn signers(&self) -> Option<&Signers> {
        self.signers.as_ref()
    }
}

/// Reads `"attached": [{"type": …, "sameSigner": …, "signers": …}]`. Two layers as in the parent
/// module.
pub(super) fn read(
    statement: &Object<'_>,
) -> Result<Result<Vec<AttachedRule>, RuleFault>, HardsignError> {
    let malformed = HardsignError::Malformed;
    if statement.get("attached").is_none() {
        return Ok(Ok(Vec::new()));
    }
    let place = statement.place().member("attached");
    let mut rules = Vec::new();
    let mut types = BTreeSet::new();
    let items = statement.array("attached").map_err(malformed)?;
    for (index, item) in items.iter().enumerate() {
        let object = Object::new(item, place.item(index, None)).map_err(malformed)?;
        known_only(&object, &["type", "sameSigner", "signers"])?;
        let artifact_type = object.string("type").map_err(malformed)?;
        let same_signer = object.boolean("sameSigner").map_err(malformed)?;
        let mut rule = match AttachedRule::new(artifact_type, same_signer) {
            Ok(rule) => rule,
            Err(fault) => return Ok(Err(RuleFault::AttachedType(fault))),
        };
        if let Some(signers) = object.object("signers").map_err(malformed)? {
            rule.signers = match read_signers(&signers)? {
                Ok(signers) => Some(signers),
                Err(fault) => {
                    return Ok(Err(RuleFault::AttachedSigners {
                        artifact_type: artifact_type.to_owned(),
                        fault: Box::new(fault),
                    }));
                }
            };
            if same_signer {
                return Ok(Err(RuleFault::SameSignerOfOthers {
                    artifact_type: artifact_type.to_owned(),
                }));
            }
        }
        rules.push(rule);
        if !types.insert(artifact_type.to_owned()) {
            return Ok(Err(RuleFault::AttachedTwice {
                artifact_type: artifact_type.to_owned(),
            }));
        }
    }
    Ok(match rules.len() {
        0 => Err(RuleFault::NothingAttached),
        1..=MAX_RULES => Ok(rules),
        _ => Err(RuleFault::TooManyAttached { rules: rules.len() }),
    })
}

/// Most rules on attached artifacts for one statement.
pub(super) const MAX_RULES: usize = 16;
