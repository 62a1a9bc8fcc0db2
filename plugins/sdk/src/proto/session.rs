//! Sessions (`HARDSIGN.SESSION`): many requests to one process, as newline-delimited JSON.
//!
//! `get-plugin-metadata` may be asked at any time. The first other request is `open`: for one key, or
//! without a key id for the key store. From then on come `sign-digest`, if a key is open, and the
//! commands that a plugin can also be started with, with the same requests and answers. A session of
//! the key store may open one key later. Answers come in any order, each with the id of its request.
//! Events may stand between them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Base64, PluginConfig, Token, is_false, message, null_as_default, open_names};
use crate::algorithm::{HashAlgorithm, KeySpec};
use crate::error::ErrorResponse;

/// The command that opens a session.
pub const OPEN: &str = "open";

/// The command that asks for a signature within a session.
pub const SIGN_DIGEST: &str = "sign-digest";

/// A line from the host: `{"id":1,"command":"open","request":{…}}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct SessionRequest {
    /// Chosen by the host; not used again while a request with it is under way.
    pub id: u64,
    /// [`OPEN`], [`SIGN_DIGEST`], or a command that a plugin can also be started with.
    pub command: String,
    /// [`OpenRequest`], [`SessionSignRequest`], or the request of that command.
    #[serde(default)]
    pub request: Value,
}

message! {
    /// Request of [`OPEN`].
    #[derive(Eq)]
    pub struct OpenRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key, in the plugin's own terms; absent for a session of the key store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key_id: Option<String>,
        /// Settings of the key.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
        /// What the key is opened for; omitted for signatures.
        #[serde(default, skip_serializing_if = "Purpose::is_sign")]
        pub purpose: Purpose,
    }
}

/// What a key is opened for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Notary Project signatures: the key needs its certificate chain.
    #[default]
    Sign,
    /// To be looked at: nothing will be signed, so don't log in if the key can be seen without. It
    /// may have no certificates.
    Describe,
    /// To sign certificate requests, certificates and CRLs: the key may have no certificates.
    Certify,
}

impl Purpose {
    fn is_sign(&self) -> bool {
        *self == Self::Sign
    }
}

message! {
    /// Answer of [`OPEN`]. Without a key, what is said of keys is absent.
    #[derive(Default, Eq)]
    pub struct OpenResponse {
        /// The key id of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key_id: Option<String>,
        /// Type and size of the key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key_spec: Option<KeySpec>,
        /// The public key, a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1), where the key store tells
        /// it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub public_key: Option<Base64>,
        /// Certificates in DER, leaf to root; there are some at least if the purpose is to sign.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub certificate_chain: Vec<Base64>,
        /// How many requests the host may have under way; at least 1.
        pub max_in_flight: u32,
        /// Whether a signature needs a person.
        pub interaction: Interaction,
        /// What the key can sign with beside the scheme that goes with its key spec; for
        /// [`Purpose::Certify`] only.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub signature_schemes: Vec<SignatureScheme>,
        /// Where the key lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token: Option<Token>,
        /// Whether the key store keeps one chain for the key, so that another one takes its place.
        #[serde(default, skip_serializing_if = "is_false")]
        pub one_chain: bool,
    }
}

open_names! {
    /// What a person has to do for each signature.
    #[derive(Default)]
    Interaction {
        /// Nothing.
        #[default]
        None => "none",
        /// Enter a PIN.
        Pin => "pin",
        /// Touch the device.
        Touch => "touch",
    }
}

open_names! {
    /// A signature scheme that a key doesn't use for Notary Project signatures.
    SignatureScheme {
        /// RSASSA-PKCS1-v1_5 (RFC 8017 §8.2), which certificate authorities expect of requests.
        RsassaPkcs1V15 => "RSASSA-PKCS1-V1_5",
    }
}

message! {
    /// Request of [`SIGN_DIGEST`].
    #[derive(Eq)]
    pub struct SessionSignRequest {
        /// The raw digest of the bytes to be signed.
        pub digest: Base64,
        /// The hash that made it; the one that goes with the key.
        pub hash_algorithm: HashAlgorithm,
        /// Another scheme than the one that goes with the key spec; for a key that was opened to
        /// certify and offers it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub signature_scheme: Option<SignatureScheme>,
    }
}

/// Answer of [`SIGN_DIGEST`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionSignResponse {
    /// The RSASSA-PSS signature, or r‖s of ECDSA; or that of the scheme that was asked for.
    pub signature: Base64,
}

/// A line from the plugin.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionLine {
    /// `{"id":7,"response":{…}}`
    Response {
        /// Id of the request.
        id: u64,
        /// [`OpenResponse`] or [`SessionSignResponse`].
        response: Value,
    },
    /// `{"id":7,"error":{…}}`
    Error {
        /// Id of the request.
        id: u64,
        /// The error, in the form of contract 1.0.
        error: ErrorResponse,
    },
    /// `{"event":…}`
    Event(SessionEvent),
}

/// Something that happens beside the answers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// `{"event":"notice","id":7,"message":"Touch the YubiKey","waitSeconds":15}`
    Notice {
        /// The request that it is about, if it is about one.
        id: Option<u64>,
        /// One line for the user.
        message: String,
        /// How long the plugin will wait for the user, in seconds.
        wait_seconds: Option<u32>,
    },
    /// `{"event":"prompting"}`: the plugin is about to ask on the terminal.
    Prompting,
    /// `{"event":"prompted"}`: it has asked.
    Prompted,
    /// An event of a newer version; to be ignored.
    Unknown(String),
}

impl SessionEvent {
    /// The name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::Notice { .. } => "notice",
            Self::Prompting => "prompting",
            Self::Prompted => "prompted",
            Self::Unknown(name) => name,
        }
    }
}

/// All members that a line from the plugin may have.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorResponse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait_seconds: Option<u32>,
}

impl Serialize for SessionLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = RawLine::default();
        match self.clone() {
            Self::Response { id, response } => {
                line.id = Some(id);
                line.response = Some(response);
            }
            Self::Error { id, error } => {
                line.id = Some(id);
                line.error = Some(error);
            }
            Self::Event(event) => {
                line.event = Some(event.name().to_owned());
                if let SessionEvent::Notice {
                    id,
                    message,
                    wait_seconds,
                } = event
                {
                    line.id = id;
                    line.message = Some(message);
                    line.wait_seconds = wait_seconds;
                }
            }
        }
        line.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SessionLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = RawLine::deserialize(deserializer)?;
        match (line.event, line.id, line.response, line.error) {
            (Some(name), id, None, None) => Ok(Self::Event(match name.as_str() {
                "notice" => SessionEvent::Notice {
                    id,
                    message: line.message.unwrap_or_default(),
                    wait_seconds: line.wait_seconds,
                },
                "prompting" => SessionEvent::Prompting,
                "prompted" => SessionEvent::Prompted,
                _ => SessionEvent::Unknown(name),
            })),
            (None, Some(id), Some(response), None) => Ok(Self::Response { id, response }),
            (None, Some(id), None, Some(error)) => Ok(Self::Error { id, error }),
            _ => Err(serde::de::Error::custom(
                "expected one of: event; id and response; id and error",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Error;
    use crate::proto::{CONTRACT_VERSION, pinned};

    #[test]
    fn requests() {
        let mut open = OpenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: Some("k".into()),
            plugin_config: PluginConfig::new(),
            purpose: Purpose::Sign,
        };
        pinned(
            &SessionRequest {
                id: 1,
                command: OPEN.into(),
                request: serde_json::to_value(&open).unwrap(),
            },
            r#"{"id":1,"command":"open","request":{"contractVersion":"1.0","keyId":"k"}}"#,
        );
        open.purpose = Purpose::Certify;
        pinned(
            &open,
            r#"{"contractVersion":"1.0","keyId":"k","purpose":"certify"}"#,
        );
        open.key_id = None;
        open.purpose = Purpose::Sign;
        pinned(&open, r#"{"contractVersion":"1.0"}"#);
        let mut sign = SessionSignRequest {
            digest: Base64(vec![0; 3]),
            hash_algorithm: HashAlgorithm::Sha384,
            signature_scheme: None,
        };
        pinned(&sign, r#"{"digest":"AAAA","hashAlgorithm":"SHA-384"}"#);
        sign.signature_scheme = Some(SignatureScheme::RsassaPkcs1V15);
        pinned(
            &sign,
            r#"{"digest":"AAAA","hashAlgorithm":"SHA-384","signatureScheme":"RSASSA-PKCS1-V1_5"}"#,
        );
        for purpose in [Purpose::Sign, Purpose::Describe, Purpose::Certify] {
            let text = serde_json::to_string(&purpose).unwrap();
            assert_eq!(serde_json::from_str::<Purpose>(&text).unwrap(), purpose);
        }
        assert!(serde_json::from_str::<Purpose>(r#""encrypt""#).is_err());
    }

    #[test]
    fn answers() {
        pinned(
            &OpenResponse {
                key_id: Some("k".into()),
                key_spec: Some(KeySpec::Ec384),
                certificate_chain: vec![Base64(vec![1])],
                max_in_flight: 8,
                ..OpenResponse::default()
            },
            r#"{"keyId":"k","keySpec":"EC-384","certificateChain":["AQ=="],"maxInFlight":8,"interaction":"none"}"#,
        );
        pinned(
            &OpenResponse {
                max_in_flight: 1,
                interaction: Interaction::Pin,
                public_key: Some(Base64(vec![2])),
                signature_schemes: vec![SignatureScheme::RsassaPkcs1V15],
                token: Some(Token {
                    label: Some("T".into()),
                    ..Token::default()
                }),
                one_chain: true,
                ..OpenResponse::default()
            },
            r#"{"publicKey":"Ag==","maxInFlight":1,"interaction":"pin","signatureSchemes":["RSASSA-PKCS1-V1_5"],"token":{"label":"T"},"oneChain":true}"#,
        );
        pinned(
            &SessionLine::Response {
                id: 7,
                response: json!({"signature": "AQ=="}),
            },
            r#"{"id":7,"response":{"signature":"AQ=="}}"#,
        );
        pinned(
            &SessionLine::Error {
                id: 7,
                error: Error::timeout("m").into(),
            },
            r#"{"id":7,"error":{"errorCode":"TIMEOUT","errorMessage":"m"}}"#,
        );
    }

    #[test]
    fn events() {
        pinned(
            &SessionLine::Event(SessionEvent::Notice {
                id: Some(7),
                message: "Touch the YubiKey".into(),
                wait_seconds: Some(15),
            }),
            r#"{"event":"notice","id":7,"message":"Touch the YubiKey","waitSeconds":15}"#,
        );
        pinned(
            &SessionLine::Event(SessionEvent::Prompting),
            r#"{"event":"prompting"}"#,
        );
        pinned(
            &SessionLine::Event(SessionEvent::Prompted),
            r#"{"event":"prompted"}"#,
        );
        let newer: SessionLine = serde_json::from_str(r#"{"event":"song","verse":2}"#).unwrap();
        assert_eq!(
            newer,
            SessionLine::Event(SessionEvent::Unknown("song".into()))
        );
    }

    #[test]
    fn lines_that_are_neither_answer_nor_event_are_refused() {
        for bad in [
            r"{}",
            r#"{"id":7}"#,
            r#"{"response":{}}"#,
            r#"{"id":7,"response":{},"error":{}}"#,
            r#"{"id":7,"response":{},"event":"notice"}"#,
            r#"{"id":7,"id":8,"response":{}}"#,
            r#"{"id":-1,"response":{}}"#,
            r#"{"id":"7","response":{}}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<SessionLine>(bad).is_err(), "{bad}");
        }
    }
}
