//! Sessions (`HARDSIGN.SESSION`): many requests to one process, as newline-delimited JSON.
//!
//! The first request is `open`, for one key; from then on `sign-digest`. Answers come in any
//! order, each with the id of its request. Events may stand between them.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{Base64, PluginConfig, null_as_default, open_names};
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
    /// [`OPEN`] or [`SIGN_DIGEST`].
    pub command: String,
    /// [`OpenRequest`] or [`SessionSignRequest`].
    #[serde(default)]
    pub request: Value,
}

/// Request of [`OPEN`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenRequest {
    /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
    pub contract_version: String,
    /// Names the key, in the plugin's own terms.
    pub key_id: String,
    /// Settings of the key.
    #[serde(
        default,
        deserialize_with = "null_as_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub plugin_config: PluginConfig,
}

/// Answer of [`OPEN`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenResponse {
    /// The key id of the request.
    pub key_id: String,
    /// Type and size of the key.
    pub key_spec: KeySpec,
    /// Certificates in DER, leaf to root.
    pub certificate_chain: Vec<Base64>,
    /// How many requests the host may have under way; at least 1.
    pub max_in_flight: u32,
    /// Whether a signature needs a person.
    pub interaction: Interaction,
}

open_names! {
    /// What a person has to do for each signature.
    Interaction {
        /// Nothing.
        None => "none",
        /// Enter a PIN.
        Pin => "pin",
        /// Touch the device.
        Touch => "touch",
    }
}

/// Request of [`SIGN_DIGEST`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionSignRequest {
    /// The raw digest of the bytes to be signed.
    pub digest: Base64,
    /// The hash that made it; the one that goes with the key.
    pub hash_algorithm: HashAlgorithm,
}

/// Answer of [`SIGN_DIGEST`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionSignResponse {
    /// The RSASSA-PSS signature, or r‖s of ECDSA.
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
        /// Why it failed.
        error: ErrorResponse,
    },
    /// `{"event":…}`
    Event(Event),
}

/// Something that happens beside the answers.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
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

impl Event {
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
                if let Event::Notice {
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
                "notice" => Event::Notice {
                    id,
                    message: line.message.unwrap_or_default(),
                    wait_seconds: line.wait_seconds,
                },
                "prompting" => Event::Prompting,
                "prompted" => Event::Prompted,
                _ => Event::Unknown(name),
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
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;
    use crate::error::Error;
    use crate::proto::CONTRACT_VERSION;

    fn pinned<T: Debug + DeserializeOwned + PartialEq + Serialize>(value: &T, text: &str) {
        assert_eq!(serde_json::to_string(value).unwrap(), text);
        assert_eq!(serde_json::from_str::<T>(text).unwrap(), *value);
    }

    #[test]
    fn requests() {
        let open = OpenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: "k".into(),
            plugin_config: PluginConfig::new(),
        };
        pinned(
            &SessionRequest {
                id: 1,
                command: OPEN.into(),
                request: serde_json::to_value(open).unwrap(),
            },
            r#"{"id":1,"command":"open","request":{"contractVersion":"1.0","keyId":"k"}}"#,
        );
        pinned(
            &SessionSignRequest {
                digest: Base64(vec![0; 3]),
                hash_algorithm: HashAlgorithm::Sha384,
            },
            r#"{"digest":"AAAA","hashAlgorithm":"SHA-384"}"#,
        );
    }

    #[test]
    fn answers() {
        pinned(
            &OpenResponse {
                key_id: "k".into(),
                key_spec: KeySpec::Ec384,
                certificate_chain: vec![Base64(vec![1])],
                max_in_flight: 8,
                interaction: Interaction::None,
            },
            r#"{"keyId":"k","keySpec":"EC-384","certificateChain":["AQ=="],"maxInFlight":8,"interaction":"none"}"#,
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
            &SessionLine::Event(Event::Notice {
                id: Some(7),
                message: "Touch the YubiKey".into(),
                wait_seconds: Some(15),
            }),
            r#"{"event":"notice","id":7,"message":"Touch the YubiKey","waitSeconds":15}"#,
        );
        pinned(
            &SessionLine::Event(Event::Prompting),
            r#"{"event":"prompting"}"#,
        );
        pinned(
            &SessionLine::Event(Event::Prompted),
            r#"{"event":"prompted"}"#,
        );
        let newer: SessionLine = serde_json::from_str(r#"{"event":"song","verse":2}"#).unwrap();
        assert_eq!(newer, SessionLine::Event(Event::Unknown("song".into())));
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
