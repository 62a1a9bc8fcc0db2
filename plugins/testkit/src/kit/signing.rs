//! Rules of `describe-key`, `generate-signature` and `sign-digest`.

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Capability, DescribeKeyRequest, DescribeKeyResponse,
    GenerateSignatureRequest, GenerateSignatureResponse, Metadata, SignDigestRequest,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::certificates::{Chain, digest};
use super::process::Exchange;
use super::{Report, Subject};

/// What the suite learnt about the key.
pub(super) struct Key {
    pub(super) key_spec: KeySpec,
    /// As `generate-signature` returned it.
    pub(super) chain: Option<Vec<Base64>>,
}

pub(super) fn check(
    subject: &Subject,
    metadata: &Metadata,
    key_id: &str,
    report: &mut Report,
) -> Option<Key> {
    let key_spec = describe(subject, key_id, report)?;
    let small = b"The quick brown fox jumps over the lazy dog".to_vec();
    let chain = generate(subject, key_id, key_spec, &small, report);
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    let request = generate_request(subject, key_id, key_spec, &large);
    let exchange = Exchange::run(subject, "generate-signature", &request);
    let signed = exchange
        .answer::<GenerateSignatureResponse>()
        .and_then(|answer| {
            Chain::read(&answer.certificate_chain)?.verify(&large, &answer.signature.0)
        });
    report.must(
        "PLG-26",
        "a payload of a mebibyte is signed",
        &exchange,
        signed,
    );
    if metadata.capabilities.contains(&Capability::Digest) {
        sign_digest(subject, key_id, key_spec, report);
    }
    Some(Key { key_spec, chain })
}

fn describe(subject: &Subject, key_id: &str, report: &mut Report) -> Option<KeySpec> {
    let request = to_value(&DescribeKeyRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.into(),
        plugin_config: subject.config.clone(),
    });
    let exchange = Exchange::run(subject, "describe-key", &request);
    let answer: DescribeKeyResponse = report.must(
        "PLG-23",
        "describe-key answers with keyId and a keySpec of the contract (PLG-25)",
        &exchange,
        exchange.answer(),
    )?;
    report.must(
        "PLG-24",
        "describe-key repeats the keyId",
        &exchange,
        same_key(&answer.key_id, key_id),
    );
    let exchange = Exchange::run(
        subject,
        "describe-key",
        &json!({"contractVersion": CONTRACT_VERSION, "keyId": "", "pluginConfig": subject.config}),
    );
    report.should(
        "PLG-07",
        "an empty keyId is refused with an error answer on stderr",
        &exchange,
        exchange.refusal(),
    );
    Some(answer.key_spec)
}

fn generate_request(subject: &Subject, key_id: &str, key_spec: KeySpec, payload: &[u8]) -> Value {
    to_value(&GenerateSignatureRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.into(),
        key_spec,
        hash_algorithm: key_spec.hash(),
        payload: Base64(payload.to_vec()),
        plugin_config: subject.config.clone(),
    })
}

fn generate(
    subject: &Subject,
    key_id: &str,
    key_spec: KeySpec,
    payload: &[u8],
    report: &mut Report,
) -> Option<Vec<Base64>> {
    let mut request = generate_request(subject, key_id, key_spec, payload);
    request["memberOfALaterContract"] = json!({"x": [1]});
    let exchange = Exchange::run(subject, "generate-signature", &request);
    let answer: GenerateSignatureResponse = report.must(
        "PLG-27",
        "generate-signature answers with keyId, signature, signingAlgorithm and certificateChain",
        &exchange,
        exchange.answer(),
    )?;
    answered(
        subject, key_id, key_spec, payload, &exchange, &answer, report,
    )
}

fn sign_digest(subject: &Subject, key_id: &str, key_spec: KeySpec, report: &mut Report) {
    let message = b"A message that only its digest tells of";
    let request = to_value(&SignDigestRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.into(),
        plugin_config: subject.config.clone(),
        key_spec,
        hash_algorithm: key_spec.hash(),
        digest: Base64(digest(key_spec.hash(), message)),
    });
    let exchange = Exchange::run(subject, "sign-digest", &request);
    let answer: Option<GenerateSignatureResponse> = report.must(
        "PLG-51",
        "sign-digest answers as generate-signature does",
        &exchange,
        exchange.answer(),
    );
    if let Some(answer) = answer {
        answered(
            subject, key_id, key_spec, message, &exchange, &answer, report,
        );
    }
    let mut short = request;
    short["digest"] = json!("AAAA");
    let exchange = Exchange::run(subject, "sign-digest", &short);
    report.should(
        "PLG-51",
        "a digest of another length is refused with an error answer on stderr",
        &exchange,
        exchange.refusal(),
    );
}

/// The rules that both ways of signing share; the chain, if it is one.
fn answered(
    subject: &Subject,
    key_id: &str,
    key_spec: KeySpec,
    message: &[u8],
    exchange: &Exchange,
    answer: &GenerateSignatureResponse,
    report: &mut Report,
) -> Option<Vec<Base64>> {
    report.must(
        "PLG-29",
        "the answer repeats the keyId",
        exchange,
        same_key(&answer.key_id, key_id),
    );
    let expected = key_spec.signature_algorithm();
    report.must(
        "PLG-28",
        "signingAlgorithm is the one that goes with the key",
        exchange,
        (answer.signing_algorithm == expected)
            .then_some(())
            .ok_or_else(|| format!("it is {} instead of {expected}", answer.signing_algorithm)),
    );
    let chain = report.must(
        "PLG-30",
        "certificateChain is a chain, leaf to root",
        exchange,
        Chain::read(&answer.certificate_chain),
    )?;
    report.must(
        "PLG-30",
        "the leaf's key is of the kind that was described",
        exchange,
        same_spec(&chain, key_spec),
    );
    report.must(
        "PLG-30",
        "every certificate is valid now",
        exchange,
        chain.check_validity(subject.now),
    );
    report.must(
        "PLG-30",
        "the signature verifies with the leaf's key",
        exchange,
        chain.verify(message, &answer.signature.0),
    )?;
    Some(answer.certificate_chain.clone())
}

pub(super) fn same_key(answered: &str, asked: &str) -> Result<(), String> {
    (answered == asked)
        .then_some(())
        .ok_or_else(|| format!("it answered for {answered:?}"))
}

pub(super) fn same_spec(chain: &Chain, described: KeySpec) -> Result<(), String> {
    let found = chain.key_spec()?;
    (found == described)
        .then_some(())
        .ok_or_else(|| format!("it is {found}, described as {described}"))
}

pub(super) fn to_value<T: Serialize>(message: &T) -> Value {
    serde_json::to_value(message).unwrap_or_default()
}
