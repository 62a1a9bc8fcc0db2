//! Answers, good ones and such with a fault inside.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use hardsign_plugin::chain::Certificate;
use hardsign_plugin::proto::Base64;
use serde_json::{Map, Value, json};

use super::{DECLARES, LEAF, Manners, ROOT, key};

/// The answer of `get-plugin-metadata`.
pub(super) fn metadata(manners: &Manners) -> Value {
    let usual = "SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST,HARDSIGN.SESSION";
    let capabilities = manners
        .config
        .get("capabilities")
        .map_or(usual, String::as_str);
    let capabilities: Vec<_> = capabilities.split(',').filter(|c| !c.is_empty()).collect();
    let mut answer = json!({
        "name": "rude",
        "description": "Misbehaves on demand, for tests",
        "version": manners.config.get("version").map_or("1.2.3", String::as_str),
        "url": "https://example.com/rude",
        "supportedContractVersions": ["0.9", "1.0"],
        "capabilities": capabilities,
        "memberOfALaterContract": {"ignored": true},
    });
    if let Some(declared) = manners.config.get(DECLARES) {
        let setting = |name| json!({"name": name, "description": "what it is told"});
        answer["settings"] = declared.split(',').map(setting).collect();
    }
    let (member, value) = match manners.at("get-plugin-metadata") {
        "wrong-name" => ("name", json!("polite")),
        "empty-name" => ("name", json!("")),
        "empty-description" => ("description", json!("")),
        "empty-version" => ("version", Value::Null),
        "empty-url" => ("url", json!("")),
        "no-capabilities" => ("capabilities", json!([])),
        "no-signing" => ("capabilities", json!(["TEA.EARL_GREY"])),
        "no-contract" => ("supportedContractVersions", json!([])),
        "wrong-contract" => ("supportedContractVersions", json!(["1.1", "2.0"])),
        _ => return answer,
    };
    answer[member] = value;
    answer
}

/// The answer of `describe-key`.
pub(super) fn describe_key(manners: &Manners) -> Value {
    let fault = manners.at("describe-key");
    json!({"keyId": key_id(manners, fault), "keySpec": key_spec(fault)})
}

/// The answer of `generate-signature` and `sign-digest`.
pub(super) fn signature(manners: &Manners, fault: &str, request: &Value) -> Value {
    let digest = match bytes(&request["payload"]) {
        Some(payload) => key::hash(&payload),
        None => bytes(&request["digest"]).unwrap_or_default(),
    };
    let mut answer = json!({
        "keyId": key_id(manners, fault),
        "signature": sign(fault, &digest),
        "signingAlgorithm": match fault {
            "wrong-algorithm" => "RSASSA-PSS-SHA-256",
            "root-claimed" => "ECDSA-SHA-384",
            "unknown-algorithm" => "HMAC-MD5",
            _ => "ECDSA-SHA-256",
        },
        "certificateChain": chain(fault),
        "memberOfALaterContract": 1,
    });
    if fault == "no-signature"
        && let Some(members) = answer.as_object_mut()
    {
        members.remove("signature");
    }
    answer
}

/// The answer to `open` of a session.
pub(super) fn open(manners: &Manners, fault: &str) -> Value {
    let in_flight = manners
        .config
        .get("in-flight")
        .and_then(|n| n.parse().ok())
        .unwrap_or(4_u32);
    let mut answer = json!({
        "keyId": key_id(manners, fault),
        "keySpec": key_spec(fault),
        "certificateChain": chain(fault),
        "maxInFlight": if fault == "none-in-flight" { 0 } else { in_flight },
        "interaction": "none",
    });
    match fault {
        "other-public-key" => answer["publicKey"] = public_key(key::OTHER),
        "garbage-public-key" => answer["publicKey"] = base64(b"key"),
        _ => {}
    }
    answer
}

/// The answer of `attest-key`.
pub(super) fn evidence(fault: &str) -> Value {
    let key = match fault {
        "attests-another" => key::OTHER,
        _ => LEAF,
    };
    let format = match fault {
        "attests-nothing" => "",
        _ => "rude",
    };
    json!({"format": format, "publicKey": public_key(key)})
}

/// Writes the throw-away key, and gives the answer of `generate-test-key`.
pub(super) fn test_key(fault: &str, request: &Value) -> io::Result<Value> {
    let write = |member: &str, label: &str, mode: u32, der: &[u8]| {
        let text = format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            base64(der).as_str().unwrap_or_default()
        );
        let path = request[member].as_str().unwrap_or_default();
        let mut options = File::options();
        options.write(true);
        match fault {
            "overwrites-test-key" => options.create(true).truncate(true),
            _ => options.create_new(true),
        };
        with_mode(&mut options, mode);
        options.open(path)?.write_all(text.as_bytes())
    };
    let mode = match fault {
        "open-test-key" => 0o644,
        _ => 0o600,
    };
    write("keyPath", "PRIVATE KEY", mode, key::LEAF_KEY)?;
    write("certPath", "CERTIFICATE", 0o644, LEAF)?;
    let answered = match fault {
        "other-test-key" => ROOT,
        _ => LEAF,
    };
    Ok(json!({"certificate": base64(answered), "notAfter": "2100-01-01T00:00:00Z"}))
}

#[cfg(unix)]
fn with_mode(options: &mut OpenOptions, mode: u32) {
    std::os::unix::fs::OpenOptionsExt::mode(options, mode);
}

#[cfg(not(unix))]
fn with_mode(_: &mut OpenOptions, _: u32) {}

/// The answer of `verify-signature`.
pub(super) fn verification(fault: &str, request: &Value) -> Value {
    let asked = request["trustPolicy"]["signatureVerification"].as_array();
    let mut results = Map::new();
    for capability in asked.into_iter().flatten().filter_map(Value::as_str) {
        let fails = match capability {
            "SIGNATURE_VERIFIER.TRUSTED_IDENTITY" => fault == "identity-fails",
            _ => fault == "revocation-fails",
        };
        let result = if fails {
            json!({"success": false, "reason": "it \u{1b}[31msaid so"})
        } else {
            json!({"success": true})
        };
        results.insert(capability.into(), result);
    }
    match fault {
        "missing-result" => {
            results.remove("SIGNATURE_VERIFIER.TRUSTED_IDENTITY");
        }
        "surplus-result" => {
            results.insert("TEA.EARL_GREY".into(), json!({"success": true}));
        }
        _ => {}
    }
    let processed = match fault {
        "unprocessed" => json!([]),
        _ => request["signature"]["unprocessedAttributes"].clone(),
    };
    json!({"verificationResults": results, "processedAttributes": processed})
}

/// A signature over a digest, as base64.
pub(super) fn sign(fault: &str, digest: &[u8]) -> Value {
    let signature = match fault {
        "other-key" => key::sign_with_other(digest),
        "changed-digest" => key::sign(&key::hash(digest)),
        _ => key::sign(digest),
    };
    match fault {
        "short-signature" => base64(signature.get(1..).unwrap_or_default()),
        "bad-base64" => json!("%%%"),
        _ => base64(&signature),
    }
}

fn key_id(manners: &Manners, fault: &str) -> String {
    match fault {
        "wrong-key-id" => "another".into(),
        _ => manners.key_id.clone(),
    }
}

fn key_spec(fault: &str) -> &'static str {
    match fault {
        "wrong-key-spec" | "root-described" | "root-claimed" => "EC-384",
        "unknown-key-spec" => "RSA-1024",
        _ => "EC-256",
    }
}

pub(super) fn chain(fault: &str) -> Vec<Value> {
    let certificates: &[&[u8]] = match fault {
        "no-chain" => &[],
        "other-chain" => &[key::OTHER, ROOT],
        "leaf-only" => &[LEAF],
        "reversed-chain" | "root-described" | "root-claimed" => &[ROOT, LEAF],
        "expired-chain" => &[key::EXPIRED, ROOT],
        "garbage-chain" => &[b"leaf", b"root"],
        "long-chain" => return vec![base64(ROOT); 1000],
        _ => &[LEAF, ROOT],
    };
    certificates.iter().map(|der| base64(der)).collect()
}

/// The public key of a certificate.
fn public_key(certificate: &[u8]) -> Value {
    let certificate = Certificate::from_der(certificate);
    certificate.map_or(Value::Null, |read| base64(read.spki_der()))
}

pub(super) fn base64(bytes: &[u8]) -> Value {
    serde_json::to_value(Base64(bytes.to_vec())).unwrap_or_default()
}

pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    serde_json::from_value::<Base64>(value.clone())
        .ok()
        .map(|base64| base64.0)
}
