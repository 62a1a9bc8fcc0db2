//! The host as runner of verification plugins: what a signature names, found and run.
//!
//! `verify` decides when that may happen (only for a trusted chain), what is asked and what
//! the answer means. Here that becomes messages of the plugin contract and back.
//! Such a plugin has the environment that a signing plugin has, where its
//! service's credentials are.

// Requirements: VER-35 to VER-43, PLG-40 to PLG-48, PLG-10, SEC-24.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Capability, CriticalAttributes, Metadata, NO_EXPIRY, PolicyToVerify,
    SignatureToVerify, VerifySignatureRequest, VerifySignatureResponse,
};

use super::{Host, Plugin, PluginError};
use crate::envelope::{ExtendedAttribute, PAYLOAD_CONTENT_TYPE};
use crate::json::Value;
use crate::verify::{
    Described, Extension, ExtensionAnswer, ExtensionFailure, ExtensionRequest, PluginCheck,
};

#[async_trait]
impl Extension for Host {
    async fn describe(
        &self,
        plugin: &str,
        config: &BTreeMap<String, String>,
    ) -> Result<Described, ExtensionFailure> {
        let plugin = named(self, plugin)?;
        let metadata = plugin.metadata(config).await.map_err(failed)?;
        Ok(described(&metadata))
    }

    async fn verify(
        &self,
        plugin: &str,
        request: ExtensionRequest<'_>,
    ) -> Result<ExtensionAnswer, ExtensionFailure> {
        let message = verification_request(request)?;
        let plugin = named(self, plugin)?;
        let response = plugin.verify_signature(&message).await.map_err(failed)?;
        Ok(verification_answer(&message, response))
    }
}

fn named(host: &Host, name: &str) -> Result<Plugin, ExtensionFailure> {
    let file = host
        .finder()
        .find(name)
        .map_err(|error| ExtensionFailure::NotFound(Box::new(error)))?;
    Ok(host.run_for_signature(file))
}

fn failed(error: PluginError) -> ExtensionFailure {
    ExtensionFailure::Failed(Box::new(error))
}

/// What a plugin's metadata says of it as a verifier.
pub fn described(metadata: &Metadata) -> Described {
    let checks = metadata.capabilities.iter().filter_map(check).collect();
    Described::new(metadata.version.clone(), checks)
}

fn check(capability: &Capability) -> Option<PluginCheck> {
    match capability {
        Capability::TrustedIdentity => Some(PluginCheck::TrustedIdentity),
        Capability::RevocationCheck => Some(PluginCheck::RevocationCheck),
        _ => None,
    }
}

const fn capability(check: PluginCheck) -> Capability {
    match check {
        PluginCheck::TrustedIdentity => Capability::TrustedIdentity,
        PluginCheck::RevocationCheck => Capability::RevocationCheck,
    }
}

/// The message for a request.
///
/// # Errors
/// [`ExtensionFailure::NotPassable`].
pub fn verification_request(
    request: ExtensionRequest<'_>,
) -> Result<VerifySignatureRequest, ExtensionFailure> {
    let checks = request.checks.iter().copied();
    Ok(VerifySignatureRequest {
        contract_version: CONTRACT_VERSION.to_owned(),
        signature: signature(&request)?,
        trust_policy: PolicyToVerify {
            trusted_identities: request.identities.to_vec(),
            signature_verification: checks.map(capability).collect(),
        },
        plugin_config: request.config.clone(),
    })
}

fn signature(request: &ExtensionRequest<'_>) -> Result<SignatureToVerify, ExtensionFailure> {
    let attributes = request.signature.attributes();
    let mut extended_attributes = serde_json::Map::new();
    for attribute in request.attributes() {
        match (attribute.key.as_text(), to_plugin(attribute)) {
            (Some(key), Some(value)) => {
                extended_attributes.insert(key.to_owned(), value);
            }
            _ if attribute.critical => {
                return Err(ExtensionFailure::NotPassable {
                    attribute: attribute.key.to_string(),
                });
            }
            _ => {}
        }
    }
    let chain = request.signature.chain().certificates().iter();
    Ok(SignatureToVerify {
        unprocessed_attributes: extended_attributes.keys().cloned().collect(),
        critical_attributes: CriticalAttributes {
            content_type: PAYLOAD_CONTENT_TYPE.to_owned(),
            signing_scheme: attributes.signing_scheme.name().to_owned(),
            expiry: attributes
                .expiry
                .map_or_else(|| NO_EXPIRY.to_owned(), |time| time.to_string()),
            authentic_signing_time: attributes
                .authentic_signing_time()
                .map(|time| time.to_string()),
            extended_attributes,
        },
        certificate_chain: chain.map(|c| Base64(c.der().to_vec())).collect(),
    })
}

/// What the answer to a message says.
pub fn verification_answer(
    message: &VerifySignatureRequest,
    response: VerifySignatureResponse,
) -> ExtensionAnswer {
    let processed: BTreeSet<String> = response.processed_attributes.into_iter().collect();
    let asked = &message.trust_policy.signature_verification;
    let sent = &message.signature.unprocessed_attributes;
    let results = response.verification_results.keys();
    let surplus = results
        .filter(|capability| !asked.contains(capability))
        .map(Capability::name)
        .chain(
            processed
                .iter()
                .map(String::as_str)
                .filter(|p| !sent.iter().any(|s| s == p)),
        )
        .map(str::to_owned)
        .collect();
    let results = response.verification_results.iter();
    let results = results.filter_map(|(capability, result)| {
        let decided = result.success.then_some(()).ok_or(result.reason.clone());
        Some((check(capability)?, decided))
    });
    let mut answer = ExtensionAnswer::new(BTreeSet::new(), results.collect());
    answer.processed = processed;
    answer.surplus = surplus;
    answer
}

/// The value in the plugin contract, where it has one without loss: JSON values, and of COSE's the
/// primitive ones (PLG-47).
fn to_plugin(attribute: &ExtendedAttribute) -> Option<serde_json::Value> {
    use crate::envelope::AttributeValue::{Cbor, Json};
    match &attribute.value {
        Json(value) => exact(value),
        Cbor(ciborium::Value::Bytes(_) | ciborium::Value::Tag(..)) => None,
        Cbor(ciborium::Value::Array(_) | ciborium::Value::Map(_)) => None,
        Cbor(_) => exact(&attribute.value.to_json()?),
    }
}

/// The same value in the plugin protocol's JSON, unless a number would be rounded.
fn exact(value: &Value) -> Option<serde_json::Value> {
    use serde_json::Value as Out;
    Some(match value {
        Value::Null => Out::Null,
        Value::Bool(value) => Out::Bool(*value),
        Value::String(text) => Out::String(text.clone()),
        Value::Number(text) => {
            let number: serde_json::Number = text.parse().ok()?;
            let whole = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            if whole && !(number.is_i64() || number.is_u64()) {
                return None;
            }
            Out::Number(number)
        }
        Value::Array(items) => Out::Array(items.iter().map(exact).collect::<Option<_>>()?),
        Value::Object(members) => Out::Object(
            members
                .iter()
                .map(|(name, value)| Some((name.clone(), exact(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}
