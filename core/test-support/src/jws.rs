//! JWS envelopes of any content.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::key::Key;

/// Members of a JSON object: name and JSON text of the value. Names may repeat.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Object(pub Vec<(String, String)>);

/// A flattened JWS, its four members as they will be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Jws {
    /// base64url of the payload.
    pub payload: String,
    /// base64url of the protected header.
    pub protected: String,
    /// The unprotected header.
    pub header: Object,
    /// base64url of the signature.
    pub signature: String,
}

impl Object {
    /// Sets a member to JSON text, in its old place if it is there already.
    #[must_use]
    pub fn with(mut self, name: &str, json: &str) -> Self {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => json.clone_into(old),
            None => self.0.push((name.to_owned(), json.to_owned())),
        }
        self
    }

    /// Adds a member, whether or not the name is there.
    #[must_use]
    pub fn and(mut self, name: &str, json: &str) -> Self {
        self.0.push((name.to_owned(), json.to_owned()));
        self
    }

    /// Removes a member.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(n, _)| n != name);
        self
    }

    /// The JSON text.
    pub fn to_json(&self) -> String {
        let members: Vec<String> = self.0.iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A protected header that keeps every rule.
pub fn protected(key: &Key) -> Object {
    let algorithm = key.spec.unwrap().signature_algorithm().jws_name();
    Object::default()
        .with("alg", &format!("\"{algorithm}\""))
        .with("crit", "[\"io.cncf.notary.signingScheme\"]")
        .with("cty", "\"application/vnd.cncf.notary.payload.v1+json\"")
        .with("io.cncf.notary.signingScheme", "\"notary.x509\"")
        .with("io.cncf.notary.signingTime", "\"2026-01-02T03:04:05Z\"")
}

/// A protected header under `notary.x509.signingAuthority`.
pub fn protected_by_authority(key: &Key) -> Object {
    protected(key)
        .with(
            "io.cncf.notary.signingScheme",
            "\"notary.x509.signingAuthority\"",
        )
        .without("io.cncf.notary.signingTime")
        .with(
            "io.cncf.notary.authenticSigningTime",
            "\"2026-01-02T03:04:05Z\"",
        )
        .with(
            "crit",
            "[\"io.cncf.notary.signingScheme\",\"io.cncf.notary.authenticSigningTime\"]",
        )
}

/// A payload that keeps every rule.
pub fn payload() -> String {
    let digest = "0123456789abcdef".repeat(4);
    format!(
        "{{\"targetArtifact\":{{\"digest\":\"sha256:{digest}\",\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"size\":528}}}}"
    )
}

/// An unprotected header with this chain.
pub fn header(chain: &[Vec<u8>]) -> Object {
    let certificates: Vec<String> = chain
        .iter()
        .map(|der| format!("\"{}\"", STANDARD.encode(der)))
        .collect();
    Object::default()
        .with("x5c", &format!("[{}]", certificates.join(",")))
        .with("io.cncf.notary.signingAgent", "\"hardsign-tests/1.0\"")
}

impl Jws {
    /// Signs the given texts.
    pub fn sign(protected: &str, payload: &[u8], header: Object, key: &Key) -> Self {
        let protected = URL_SAFE_NO_PAD.encode(protected);
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let signature = key.sign(format!("{protected}.{payload}").as_bytes());
        Self {
            payload,
            protected,
            header,
            signature: URL_SAFE_NO_PAD.encode(signature),
        }
    }

    /// The four members as an object.
    pub fn to_object(&self) -> Object {
        Object::default()
            .with("payload", &format!("\"{}\"", self.payload))
            .with("protected", &format!("\"{}\"", self.protected))
            .with("header", &self.header.to_json())
            .with("signature", &format!("\"{}\"", self.signature))
    }

    /// The envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_object().to_json().into_bytes()
    }
}
