//! The verdict on a file, in the words of the command line.

use std::error::Error;

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::blob::Digests;
use hardsign_core::envelope::{Envelope, Format, SigningScheme};
use hardsign_core::policy::{Check, Policy, Verification, blob};
use hardsign_core::revocation::{self, Checked, Status, Unknown};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{LoadedStores, StoreRef, StoreType, TrustStore};
use hardsign_core::verify::{
    Answers, Compared, Grounds, Options, Rejected, Step, Target, VerifiedSignature, judge,
};
use hardsign_core::x509::Certificate;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The policy where none is given: whoever has a certificate under the trusted ones may sign. Revocation can't be looked at, since that
/// takes a network.
const POLICY: &[u8] = br#"{
  "version": "1.0",
  "trustPolicies": [{
    "name": "page",
    "globalPolicy": true,
    "signatureVerification": { "level": "strict", "override": { "revocation": "skip" } },
    "trustStores": ["ca:page", "signingAuthority:page"],
    "trustedIdentities": ["*"]
  }]
}"#;

/// What is judged. Empty is not given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inputs<'a> {
    /// The file.
    pub file: &'a [u8],
    /// The envelope, JWS or COSE: told apart by their first byte.
    pub signature: &'a [u8],
    /// Certificates to trust, PEM or DER: they stand for each `ca` and `signingAuthority` store that the policy names. Its `tsa`
    /// stores have none: the revocation of a timestamping authority is always enforced, and takes a network.
    pub certificates: &'a [u8],
    /// A trust policy for files (`trustpolicy.blob.json`), of which the global statement counts.
    pub policy: &'a [u8],
}

/// The verdict at a time, in seconds since 1970, as a JSON document:
///
/// - `verified`: whether every check that the policy enforces passed;
/// - `message`: the same in words, or the error with its causes;
/// - `step`: the check that failed; absent where nothing could be judged;
/// - `rows`: names and values of what is known of the signature, each once;
/// - `metadata`: the signed user metadata of a verified signature;
/// - `notes`: what else there is to know.
pub fn verdict(inputs: &Inputs<'_>, seconds: f64) -> Value {
    match judged(inputs, seconds) {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(rejected)) => refused(&rejected),
        Err(error) => json!({
            "verified": false,
            "message": WithCauses(&*error).to_string(),
            "rows": [],
            "metadata": {},
            "notes": [],
        }),
    }
}

fn judged(
    inputs: &Inputs<'_>,
    seconds: f64,
) -> Result<Result<Value, Box<Rejected>>, Box<dyn Error>> {
    if inputs.signature.is_empty() {
        return Err("there is no signature, or it is empty".into());
    }
    let format = match inputs.signature.trim_ascii_start().first() {
        Some(b'{') => Format::Jws,
        _ => Format::Cose,
    };
    let now = timestamp(seconds)?;
    let (name, text) = match inputs.policy {
        [] => ("the policy of this page", POLICY),
        given => ("the trust policy", given),
    };
    let policy = Policy::<blob::Document>::from_bytes(name, text)?;
    let statement = policy.document().statement_for(None)?;
    let Verification::Verify(rules) = statement.verification() else {
        return Err("the trust policy says to skip verification, so nothing was verified".into());
    };
    let stores = stores(inputs, rules.stores())?;
    let digests = Digests::of(inputs.file, &HashAlgorithm::ALL)?;
    let target = Target::Blob {
        digests: &digests,
        media_type: None,
    };
    let own = policy.rules(statement.name());
    let grounds = Grounds::new(statement.name(), rules, own, &stores, Options::new(now))?;
    let mut answers = Answers::default();
    answers.signer = revocation_offline(format, inputs.signature);
    let verdict = judge(format, inputs.signature, target, &grounds, answers);
    Ok(verdict
        .map(|verified| accepted(&verified, statement.name(), inputs))
        .map_err(Box::new))
}

fn timestamp(seconds: f64) -> Result<Timestamp, Box<dyn Error>> {
    // Out of range it saturates, which the next line refuses.
    let whole = seconds as i64;
    Ok(Timestamp::from_second(whole)?)
}

/// Of each certificate, leaf first, whether there is anybody to ask about its revocation: if not, it counts as good (REV-01, REV-02).
fn revocation_offline(format: Format, envelope: &[u8]) -> Vec<Checked> {
    let Ok(signature) = Envelope::parse(format, envelope).and_then(Envelope::verify_integrity)
    else {
        return Vec::new();
    };
    let chain = signature.chain().certificates();
    let root = chain.len() - 1;
    let status = |(place, certificate): (usize, &Certificate)| {
        if place == root || !revocation::names_addresses(certificate) {
            Status::NotRevocable
        } else {
            Status::Unknown(Unknown::NotAsked)
        }
    };
    chain.iter().enumerate().map(|c| status(c).into()).collect()
}

/// The certificates under the name of each store that the policy names.
fn stores(inputs: &Inputs<'_>, named: &[StoreRef]) -> Result<LoadedStores, Box<dyn Error>> {
    if inputs.certificates.is_empty() {
        return Err("there is no certificate to trust".into());
    }
    let trusted = Certificate::parse_file(inputs.certificates)?;
    let mut stores = LoadedStores::default();
    for store in named.iter().filter(|s| s.store_type != StoreType::Tsa) {
        stores = stores.with(TrustStore::new(store.clone(), trusted.clone())?);
    }
    Ok(stores)
}

fn accepted(verified: &VerifiedSignature, statement: &str, inputs: &Inputs<'_>) -> Value {
    let signature = verified.signature();
    let attributes = signature.attributes();
    let leaf = signature.chain().leaf();
    let word = match attributes.signing_scheme {
        SigningScheme::X509 => "by the signer's own clock",
        SigningScheme::SigningAuthority => "by the signing authority's clock",
    };
    let timestamp = match (
        &verified.report().timestamp,
        signature.unsigned().timestamp_token.is_some(),
    ) {
        (Some(token), _) => format!(
            "{} by {}",
            token.range().latest,
            token.chain().leaf().subject()
        ),
        (None, true) => "there, but not needed under this policy, and not looked at".to_owned(),
        (None, false) => "none".to_owned(),
    };
    let mut rows = vec![
        json!(["signer", leaf.subject().to_string()]),
        json!(["SHA-256", leaf.thumbprint_hex()]),
        json!(["signed", format!("{}, {word}", attributes.signing_time)]),
        json!(["timestamp", timestamp]),
    ];
    if let Some(expiry) = attributes.expiry {
        rows.push(json!(["expires", expiry.to_string()]));
    }
    rows.push(json!(["trusted", trusted(verified)]));
    if !inputs.policy.is_empty() {
        rows.push(json!(["policy", format!("statement {statement:?}")]));
    }
    let mut notes: Vec<_> = verified
        .report()
        .logged()
        .map(|logged| logged.to_string())
        .collect();
    notes.push(
        "Whether a certificate was revoked was not looked at: that takes a network.".to_owned(),
    );
    if !inputs.policy.is_empty() {
        notes.push(
            "Rules of a policy.hardsign.json beside the trust policy were not looked at."
                .to_owned(),
        );
    }
    json!({
        "verified": true,
        "message": "Successfully verified signature",
        "rows": rows,
        "metadata": signature.payload().target.annotations,
        "notes": notes,
    })
}

fn trusted(verified: &VerifiedSignature) -> String {
    let Some(first) = verified.anchors().first() else {
        return "by no certificate; the policy only logs that".to_owned();
    };
    format!("through {}", first.certificate.subject())
}

fn refused(rejected: &Rejected) -> Value {
    let rows = rejected.compared().map(compared).unwrap_or_default();
    let mut notes = Vec::new();
    if rejected.compared().is_some() {
        notes.push(
            "The signature is intact, but not accepted: what it says of itself proves nothing.",
        );
    }
    if let Step::Policy(Check::Revocation | Check::AuthenticTimestamp) = rejected.step() {
        notes.push("Revocation takes a network: verify with hardsign blob verify.");
    }
    json!({
        "verified": false,
        "message": WithCauses(rejected).to_string(),
        "step": rejected.step().name(),
        "rows": rows,
        "metadata": {},
        "notes": notes,
    })
}

/// What a refused signature says, beside what it was held against.
fn compared(compared: &Compared) -> Vec<Value> {
    let mut rows = vec![
        json!(["signer", compared.signer.subject]),
        json!(["SHA-256", compared.signer.sha256]),
        json!(["root", compared.root.subject]),
        json!(["root's SHA-256", compared.root.sha256]),
        json!([
            "signed",
            format!("{}, by the signer's own word", compared.signing_time)
        ]),
    ];
    if let Some(expiry) = compared.expiry {
        rows.push(json!(["expires", expiry.to_string()]));
    }
    rows.push(json!(["now", compared.now.to_string()]));
    for difference in &compared.differences {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        rows.push(json!([
            format!("{} of the file", difference.name),
            said(&difference.expected)
        ]));
        rows.push(json!([
            format!("{} in the signature", difference.name),
            said(&difference.actual)
        ]));
    }
    rows
}
