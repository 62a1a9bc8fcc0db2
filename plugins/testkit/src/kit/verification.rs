//! Rules of `verify-signature`.
//!
//! The signature is made up, of a key that everyone has: whether the plugin trusts it is its own
//! business, how it answers is not. A plugin may judge signatures of its own kind alone, as that of
//! AWS Signer does: it then refuses the made-up ones with `VALIDATION_ERROR`, which is a warning,
//! and is asked again for less: an identity that is named, the other signing scheme, and a
//! signature of its own, where it made one.

use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Capability, CriticalAttributes, Metadata, NO_EXPIRY, PolicyToVerify,
    SignatureToVerify, VerifySignatureRequest, VerifySignatureResponse,
};
use serde_json::{Map, json};

use super::envelope::Envelope;
use super::process::Exchange;
use super::signing::to_value;
use super::{Report, Subject};
use crate::rude;

const ATTRIBUTE: &str = "com.example.attribute";

/// What any identity is called in a policy.
const ANYONE: &str = "*";

/// The identity of the made-up signature's leaf.
const MADE_UP_IDENTITY: &str = "x509.subject: C=US, ST=WA, O=Hardsign test kit";

/// One way of asking, from what every plugin should take to what only its own signatures have.
struct Attempt {
    /// What is to be taken, told as a rule where it is refused.
    rule: &'static str,
    signature: SignatureToVerify,
    identities: Vec<String>,
}

/// Asks the plugin to verify; `own` is an envelope that it made before.
pub(super) fn check(
    subject: &Subject,
    metadata: &Metadata,
    own: Option<&Envelope>,
    report: &mut Report,
) {
    let asked: Vec<Capability> = metadata
        .capabilities
        .iter()
        .filter(|c| matches!(c, Capability::TrustedIdentity | Capability::RevocationCheck))
        .cloned()
        .collect();
    for attempt in attempts(subject, own) {
        let request = to_value(&VerifySignatureRequest {
            contract_version: CONTRACT_VERSION.into(),
            trust_policy: PolicyToVerify {
                trusted_identities: attempt.identities,
                signature_verification: asked.clone(),
            },
            plugin_config: subject.config.clone(),
            signature: attempt.signature,
        });
        let exchange = Exchange::run(subject, "verify-signature", &request);
        if !exchange.is_validation_error() {
            let attributes = &request["signature"]["criticalAttributes"]["extendedAttributes"];
            let known = |name: &str| attributes.get(name).is_some();
            return judge(&exchange, &asked, known, report);
        }
        report.should::<()>(
            "PLG-40",
            attempt.rule,
            &exchange,
            Err("it is refused with VALIDATION_ERROR, and less is asked for".into()),
        );
    }
    report.skip(
        "PLG-45",
        "verify-signature answers with verificationResults and processedAttributes",
        match (own, subject.trusted_identities.is_empty()) {
            (None, _) => {
                "it judges signatures of its own alone: --id names a key to make one with, \
                 --trusted-identity whom to trust"
            }
            (_, true) => "it refuses its own signature: --trusted-identity names whom to trust",
            _ => "it refuses its own signature under the identities that were named",
        },
    );
}

fn attempts(subject: &Subject, own: Option<&Envelope>) -> Vec<Attempt> {
    let named = match subject.trusted_identities.as_slice() {
        [] => vec![MADE_UP_IDENTITY.to_owned()],
        given => given.to_vec(),
    };
    let attempt = |rule, signature, identities: &[String]| Attempt {
        rule,
        signature,
        identities: identities.to_vec(),
    };
    let mut attempts = vec![
        attempt(
            "a signature of the scheme notary.x509 is judged for the identities of the policy",
            made_up("notary.x509", None),
            &named,
        ),
        attempt(
            "a signature of the scheme notary.x509.signingAuthority is judged",
            made_up("notary.x509.signingAuthority", Some(SIGNED)),
            &named,
        ),
    ];
    if subject.trusted_identities.is_empty() {
        let anyone = attempt(
            "a policy that trusts any identity (trustedIdentities [\"*\"]) is applied",
            made_up("notary.x509", None),
            &[ANYONE.to_owned()],
        );
        attempts.insert(0, anyone);
    }
    if let Some(own) = own {
        let rule = "a signature that the plugin itself made is judged";
        attempts.push(attempt(rule, own.to_verify(), &named));
    }
    attempts
}

/// When the made-up signature of a signing authority was made.
const SIGNED: &str = "2026-06-01T00:00:00Z";

fn made_up(scheme: &str, authentic_signing_time: Option<&str>) -> SignatureToVerify {
    SignatureToVerify {
        critical_attributes: CriticalAttributes {
            content_type: "application/vnd.cncf.notary.payload.v1+json".into(),
            signing_scheme: scheme.into(),
            expiry: NO_EXPIRY.into(),
            authentic_signing_time: authentic_signing_time.map(str::to_owned),
            extended_attributes: Map::from_iter([(ATTRIBUTE.to_owned(), json!("value"))]),
        },
        unprocessed_attributes: vec![ATTRIBUTE.into()],
        certificate_chain: vec![Base64(rude::LEAF.to_vec()), Base64(rude::ROOT.to_vec())],
    }
}

/// The rules of an answer; `known` says whether the request had an attribute of that name.
fn judge(
    exchange: &Exchange,
    asked: &[Capability],
    known: impl Fn(&str) -> bool,
    report: &mut Report,
) {
    let Some(answer) = report.must::<VerifySignatureResponse>(
        "PLG-45",
        "verify-signature answers with verificationResults and processedAttributes",
        exchange,
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
        exchange,
        match (missing, surplus) {
            (Some(capability), _) => Err(format!("there is none for {capability}")),
            (_, Some(capability)) => Err(format!("{capability} was not asked for")),
            _ => Ok(()),
        },
    );
    report.must(
        "PLG-45",
        "a result that is no success has a reason",
        exchange,
        answer
            .verification_results
            .iter()
            .find(|(_, result)| !result.success && result.reason.is_empty())
            .map_or(Ok(()), |(capability, _)| {
                Err(format!("{capability} has none"))
            }),
    );
    let mut processed = answer.processed_attributes.iter();
    let unknown = processed.find(|attribute| !known(attribute));
    report.should(
        "PLG-45",
        "processedAttributes names attributes of the request",
        exchange,
        unknown.map_or(Ok(()), |attribute| Err(format!("{attribute} is none"))),
    );
}
