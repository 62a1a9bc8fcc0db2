//! COSE envelopes of any content.

use ciborium::Value;

use crate::key::Key;

/// Members of a CBOR map in their order. Labels may repeat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map(pub Vec<(Value, Value)>);

/// A COSE_Sign1, its four parts as they will be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Cose {
    /// CBOR of the protected header.
    pub protected: Vec<u8>,
    /// CBOR of the unprotected header.
    pub unprotected: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Map {
    /// Sets a member, in its old place if it is there already.
    #[must_use]
    pub fn with(mut self, label: impl Into<Value>, value: impl Into<Value>) -> Self {
        let (label, value) = (label.into(), value.into());
        match self.0.iter_mut().find(|(l, _)| *l == label) {
            Some((_, old)) => *old = value,
            None => self.0.push((label, value)),
        }
        self
    }

    /// Adds a member, whether or not the label is there.
    #[must_use]
    pub fn and(mut self, label: impl Into<Value>, value: impl Into<Value>) -> Self {
        self.0.push((label.into(), value.into()));
        self
    }

    /// Removes a member.
    #[must_use]
    pub fn without(mut self, label: impl Into<Value>) -> Self {
        let label = label.into();
        self.0.retain(|(l, _)| *l != label);
        self
    }

    /// The CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        to_cbor(&Value::Map(self.0.clone()))
    }
}

/// Definite-length CBOR.
pub fn to_cbor(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).unwrap();
    out
}

/// An epoch time, tag 1.
pub fn epoch(seconds: i64) -> Value {
    Value::Tag(1, Box::new(Value::from(seconds)))
}

/// A protected header that keeps every rule.
pub fn protected(key: &Key) -> Map {
    let algorithm = key.spec.unwrap().signature_algorithm().cose_id();
    Map::default()
        .with(1, algorithm)
        .with(2, vec![Value::from("io.cncf.notary.signingScheme")])
        .with(3, "application/vnd.cncf.notary.payload.v1+json")
        .with("io.cncf.notary.signingTime", epoch(1_767_323_045))
        .with("io.cncf.notary.signingScheme", "notary.x509")
}

/// A protected header under `notary.x509.signingAuthority`.
pub fn protected_by_authority(key: &Key) -> Map {
    let critical = [
        "io.cncf.notary.signingScheme",
        "io.cncf.notary.authenticSigningTime",
    ];
    protected(key)
        .with(2, critical.map(Value::from).to_vec())
        .without("io.cncf.notary.signingTime")
        .with(
            "io.cncf.notary.signingScheme",
            "notary.x509.signingAuthority",
        )
        .with("io.cncf.notary.authenticSigningTime", epoch(1_767_323_045))
}

/// An unprotected header with this chain.
pub fn unprotected(chain: &[Vec<u8>]) -> Map {
    let certificates: Vec<Value> = chain.iter().cloned().map(Value::Bytes).collect();
    Map::default()
        .with(33, certificates)
        .with("io.cncf.notary.signingAgent", "hardsign-tests/1.0")
}

impl Cose {
    /// Signs the given bytes.
    pub fn sign(protected: &[u8], payload: &[u8], unprotected: &Map, key: &Key) -> Self {
        Self {
            protected: protected.to_vec(),
            unprotected: unprotected.to_cbor(),
            payload: payload.to_vec(),
            signature: key.sign(&sig_structure(protected, payload)),
        }
    }

    /// The envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![0xd2, 0x84];
        out.extend(to_cbor(&Value::Bytes(self.protected.clone())));
        out.extend_from_slice(&self.unprotected);
        out.extend(to_cbor(&Value::Bytes(self.payload.clone())));
        out.extend(to_cbor(&Value::Bytes(self.signature.clone())));
        out
    }
}

/// What a COSE_Sign1 signs.
pub fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    to_cbor(&Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(protected.to_vec()),
        Value::Bytes(Vec::new()),
        Value::Bytes(payload.to_vec()),
    ]))
}
