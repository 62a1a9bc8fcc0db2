//! Rules of `verify-signature`.
//!
//! The signature is made up, of a key that everyone has: whether the plugin trusts it is its own
//! business, how it answers is not.

use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Capability, CriticalAttributes, Metadata, NO_EXPIRY, PolicyToVerify,
    SignatureToVerify, VerifySignatureRequest, VerifySignatureResponse,
};
use serde_json::{Map, json};

use super::process::Exchange;
use super::signing::to_value;
use super::{Report, Subject};
use crate::rude;

const ATTRIBUTE: &str = "com.example.attribute";

pub(super) fn check(subject: &Subject, metadata: &Metadata, report: &mut Report) {
    let asked: Vec<Capability> = metadata
        .capabilities
        .iter()
        .filter(|c| matches!(c, Capability::TrustedIdentity | Capability::RevocationCheck))
        .cloned()
        .collect();
    let request = to_value(&VerifySignatureRequest {
        contract_version: CONTRACT_VERSION.into(),
        signature: SignatureToVerify {
            critical_attributes: CriticalAttributes {
                content_type: "application/vnd.cncf.notary.payload.v1+json".into(),
                signing_scheme: "notary.x509".into(),
                expiry: NO_EXPIRY.into(),
                authentic_signing_time: None,
                extended_attributes: Map::from_iter([(ATTRIBUTE.to_owned(), json!("value"))]),
            },
            unprocessed_attributes: vec![ATTRIBUTE.into()],
            certificate_chain: vec![Base64(rude::LEAF.to_vec()), Base64(rude::ROOT.to_vec())],
        },
        trust_policy: PolicyToVerify {
            trusted_identities: vec!["*".into()],
            signature_verification: asked.clone(),
        },
        plugin_config: subject.config.clone(),
    });
    let exchange = Exchange::run(subject, "verify-signature", &request);
    let Some(answer) = report.must::<VerifySignatureResponse>(
        "PLG-45",
        "verify-signature answers with verificationResults and processedAttributes",
        &exchange,
        exchange.answer(),
    ) else {
        return;
    };
    let missing = asked
        .iter()
        .find(|capability| !answer.verification_results.contains_key(capability));
    let surplus = answer
        .verification_results
        .keys()
        .find(|capability| !asked.contains(capability));
    report.must(
        "PLG-46",
        "the results are those of the capabilities asked for, no less and no more",
        &exchange,
        match (missing, surplus) {
            (Some(capability), _) => Err(format!("there is none for {capability}")),
            (_, Some(capability)) => Err(format!("{capability} was not asked for")),
            _ => Ok(()),
        },
    );
    report.must(
        "PLG-45",
        "a result that is no success has a reason",
        &exchange,
        answer
            .verification_results
            .iter()
            .find(|(_, result)| !result.success && result.reason.is_empty())
            .map_or(Ok(()), |(capability, _)| {
                Err(format!("{capability} has none"))
            }),
    );
    let unknown = answer
        .processed_attributes
        .iter()
        .find(|attribute| *attribute != ATTRIBUTE);
    report.should(
        "PLG-45",
        "processedAttributes names attributes of the request",
        &exchange,
        unknown.map_or(Ok(()), |attribute| Err(format!("{attribute} is none"))),
    );
}
