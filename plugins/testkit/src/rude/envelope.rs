//! Whole envelopes: JWS, made by hand (`generate-envelope`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{answers, key};

const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";

/// The answer of `generate-envelope`.
pub(super) fn generate(fault: &str, request: &Value) -> Value {
    let envelope = match fault {
        "garbage-envelope" => b"an envelope".to_vec(),
        _ => envelope(fault, request).to_string().into_bytes(),
    };
    let envelope_type = match fault {
        "wrong-envelope-type" => json!("application/cose"),
        _ => request["signatureEnvelopeType"].clone(),
    };
    let annotation = match fault {
        "reserved-annotation" => "io.cncf.notary.surprise",
        _ => "com.example.made-by",
    };
    json!({
        "signatureEnvelope": answers::base64(&envelope),
        "signatureEnvelopeType": envelope_type,
        "annotations": {annotation: "rude"},
    })
}

fn envelope(fault: &str, request: &Value) -> Value {
    let protected = encode(protected(fault, request).to_string().as_bytes());
    let payload = encode(payload(fault, request).to_string().as_bytes());
    let digest = key::hash(format!("{protected}.{payload}").as_bytes());
    let signature = match fault {
        "other-key" => key::sign_with_other(&digest),
        "changed-digest" => key::sign(&key::hash(&digest)),
        _ => key::sign(&digest),
    };
    json!({
        "payload": payload,
        "protected": protected,
        "header": {"x5c": answers::chain(fault), "io.cncf.notary.signingAgent": "rude/1.2.3"},
        "signature": encode(&signature),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the signing time of an envelope that this plugin makes itself"
)]
fn protected(fault: &str, request: &Value) -> Value {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let mut header = json!({"alg": "ES256", "cty": request["payloadType"]});
    let mut critical = vec![SCHEME.to_owned()];
    if request["pluginConfig"]["scheme"] == "authority" {
        header[SCHEME] = json!("notary.x509.signingAuthority");
        header[AUTHENTIC_TIME] = json!(now.to_string());
        critical.push(AUTHENTIC_TIME.to_owned());
    } else {
        header[SCHEME] = json!("notary.x509");
        header[TIME] = json!(now.to_string());
    }
    for (name, value) in attributes(request) {
        header[&name] = json!(value);
        critical.push(name);
    }
    let seconds = request["expiryDurationInSeconds"].as_i64().unwrap_or(0);
    let seconds = match fault {
        "no-expiry" => 0,
        "wrong-expiry" => seconds.saturating_add(1),
        _ => seconds,
    };
    if seconds > 0 {
        let expiry = now.saturating_add(SignedDuration::from_secs(seconds));
        critical.push(EXPIRY.to_owned());
        header[EXPIRY] = json!(expiry.unwrap_or(now).to_string());
    }
    header["crit"] = json!(critical);
    header
}

/// The settings that begin with `attribute:`: critical attributes of the envelope.
fn attributes(request: &Value) -> Vec<(String, String)> {
    let settings = request["pluginConfig"].as_object();
    settings
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix("attribute:")?;
            Some((name.to_owned(), value.as_str()?.to_owned()))
        })
        .collect()
}

fn payload(fault: &str, request: &Value) -> Value {
    let payload = answers::bytes(&request["payload"]).unwrap_or_default();
    let mut payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
    let artifact = &mut payload["targetArtifact"];
    match fault {
        "other-subject" => artifact["size"] = json!(8),
        "drop-annotation" => artifact["annotations"] = json!({}),
        "change-annotation" => artifact["annotations"]["k"] = json!("changed"),
        "extra-annotation" => artifact["annotations"]["extra"] = json!("added"),
        "unknown-member" => artifact["surprise"] = json!(1),
        _ => {}
    }
    payload
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
