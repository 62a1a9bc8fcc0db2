//! What is inside a JWS envelope: extended attributes and the payload.

use hardsign_core::config::formats::json::Value;
use hardsign_core::envelope::{AttributeError, Envelope, EnvelopeError, Format, Signature};
use hardsign_test_support::jws::{Jws, Object, header, payload, protected};
use hardsign_test_support::{Builder, Key, Pki, Told};

const KEY: Key = Key::P256;

fn verify(protected: &str, payload: &str) -> Result<Signature, EnvelopeError> {
    let pki = Pki::new();
    let leaf = pki.issue(Builder::leaf("Leaf", KEY.spki), &KEY);
    let jws = Jws::sign(
        protected,
        payload.as_bytes(),
        header(&pki.chain(&leaf)),
        &KEY,
    );
    Envelope::parse(Format::Jws, &jws.to_bytes())?.verify_integrity()
}

fn with_protected(protected: &Object) -> Result<Signature, EnvelopeError> {
    verify(&protected.to_json(), &payload())
}

fn with_payload(payload: &str) -> Result<Signature, EnvelopeError> {
    verify(&protected(&KEY).to_json(), payload)
}

/// JWS-26: extended attributes keep their exact value.
#[test]
fn jws_26_extended_attributes() {
    let header = protected(&KEY)
        .with("a", "{\"n\":9007199254740993,\"f\":1.10}")
        .with("b", "\"x\"")
        .with("crit", "[\"io.cncf.notary.signingScheme\",\"b\"]");
    let signature = with_protected(&header).unwrap();
    let attributes = signature.attributes();
    assert_eq!(attributes.extended.len(), 2);
    let a = attributes.extended("a").unwrap();
    assert!(!a.critical);
    assert_eq!(
        a.value.to_json().unwrap().to_json(),
        "{\"n\":9007199254740993,\"f\":1.10}"
    );
    let b = attributes.extended("b").unwrap();
    assert!(b.critical);
    assert_eq!(b.value.to_json(), Some(Value::String("x".to_owned())));
    // ENV-25: what a plugin must process.
    let critical: Vec<_> = attributes
        .critical_for_plugin()
        .map(|a| a.key.to_string())
        .collect();
    assert_eq!(critical, ["b"]);
    assert_eq!(attributes.verification_plugin(), Ok(None));
}

/// ENV-26, ENV-27: the verification plugin.
#[test]
fn env_26_verification_plugin() {
    let name = "io.cncf.notary.verificationPlugin";
    let version = "io.cncf.notary.verificationPluginMinVersion";
    let with = |members: &[(&str, &str)], critical: &[&str]| {
        let mut header = protected(&KEY);
        for (n, v) in members {
            header = header.with(n, v);
        }
        let critical: Vec<String> = ["io.cncf.notary.signingScheme"]
            .iter()
            .chain(critical)
            .map(|n| format!("\"{n}\""))
            .collect();
        let header = header.with("crit", &format!("[{}]", critical.join(",")));
        with_protected(&header)
            .unwrap()
            .attributes()
            .verification_plugin()
    };
    let plugin = with(&[(name, "\"p\""), (version, "\"1.2.3\"")], &[name, version])
        .unwrap()
        .unwrap();
    assert_eq!(plugin.name, "p");
    assert_eq!(plugin.min_version.unwrap().to_string(), "1.2.3");
    let text = |verdict: Result<_, AttributeError>| verdict.unwrap_err().told();
    assert_eq!(
        text(with(&[(name, "\"p\"")], &[])),
        format!("{name} is not a critical Extended attribute")
    );
    assert_eq!(
        text(with(&[(name, "7")], &[name])),
        format!("{name} from extended attribute is not a string")
    );
    for blank in ["\"\"", "\"  \""] {
        assert_eq!(
            text(with(&[(name, blank)], &[name])),
            "io.cncf.notary.verificationPlugin from extended attribute is an empty string"
        );
    }
    for bad in ["\"1\"", "\"v1.0.0\"", "\"1.0\""] {
        assert_eq!(
            text(with(&[(name, "\"p\""), (version, bad)], &[name, version])),
            "io.cncf.notary.verificationPluginMinVersion from extended attribute is not a valid SemVer"
        );
    }
    assert!(with(&[(name, "\"p\""), (version, "\"1.0.0\"")], &[name]).is_err());
    // ENV-27: read only when a plugin is named.
    assert_eq!(with(&[(version, "\"x\"")], &[version]), Ok(None));
}

/// ENV-04, ENV-08, ENV-15, ENV-16, DIF-30: the payload.
#[test]
fn env_04_payload() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let target = |members: &str| format!("{{\"targetArtifact\":{{{members}}}}}");
    let base = format!("\"mediaType\":\"m\",\"digest\":\"{digest}\",\"size\":1");
    let signature = with_payload(&target(&base)).unwrap();
    assert_eq!(signature.payload().target.digest.to_string(), digest);
    assert!(signature.payload().unknown.is_empty());
    let rich = format!(
        "{{\"new\":1,\"targetArtifact\":{{\"artifactType\":\"a\",\"annotations\":{{\"k\":\"v\"}},\"urls\":[],{base}}}}}"
    );
    let signature = with_payload(&rich).unwrap();
    assert_eq!(signature.payload().unknown, ["new", "targetArtifact.urls"]);
    assert_eq!(signature.payload().target.annotations["k"], "v");
    assert_eq!(signature.payload_bytes(), rich.as_bytes());
    // ENV-10: exact up to int64.
    let big = base.replace("\"size\":1", "\"size\":9007199254740993");
    assert_eq!(
        with_payload(&target(&big)).unwrap().payload().target.size,
        9_007_199_254_740_993
    );
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        "{\"targetArtifact\":null}".to_owned(),
        target(""),
        target(&base.replace("\"size\":1", "\"size\":-1")),
        target(&base.replace("\"size\":1", "\"size\":1.0")),
        target(&base.replace("\"size\":1", "\"size\":\"1\"")),
        target(&base.replace("\"size\":1", "\"size\":9223372036854775808")),
        target(&base.replace("\"m\"", "7")),
        target(&base.replace("sha256", "sha1")),
        target(&base.replace("0a", "0A")),
        target(&format!("{base},\"size\":1")),
        target(&format!("{base},\"Size\":1")),
        target(&format!("{base},\"annotations\":{{\"k\":1}}")),
        target(&format!("{base},\"annotations\":null")),
        target(&format!("{base},\"artifactType\":7")),
        format!("{{\"TargetArtifact\":{{}},\"targetArtifact\":{{{base}}}}}"),
        format!("{}x", target(&base)),
    ] {
        let verdict = with_payload(&bad);
        assert!(
            matches!(verdict, Err(EnvelopeError::Payload { .. })),
            "{bad}"
        );
    }
}
