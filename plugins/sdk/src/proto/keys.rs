//! Key life cycle on the device: `list-keys`, `create-key`, `import-certificates`
//! (`HARDSIGN.KEYS`), `attest-key` (`HARDSIGN.ATTEST`), `generate-test-key` (`HARDSIGN.TEST_KEYS`),
//! `set-up-token` (`HARDSIGN.SETUP`).
//!
//! Each request is the same as a command of its own and within a session.

use std::collections::BTreeMap;

use super::{Base64, PluginConfig, is_false, message, null_as_default, open_names};
use crate::algorithm::KeySpec;

message! {
    /// Request of `list-keys`.
    pub struct ListKeysRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Narrows the list, in the plugin's own terms; empty, and then omitted, for all keys.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
        pub key_id: String,
        /// Settings, for instance which module to ask.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// Answer of `list-keys`.
    #[derive(Default)]
    pub struct ListKeysResponse {
        /// The keys, in the plugin's order.
        pub keys: Vec<KeyEntry>,
        /// Whether there are more keys than the list holds.
        #[serde(default, skip_serializing_if = "is_false")]
        pub truncated: bool,
        /// What could not be looked at and why, one line each.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub warnings: Vec<String>,
    }
}

message! {
    /// One key of `list-keys`.
    #[derive(Default)]
    pub struct KeyEntry {
        /// Names the key in later requests.
        pub key_id: String,
        /// Type and size; absent when the key can't sign under the Notary Project's rules.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key_spec: Option<KeySpec>,
        /// What a person would call it: label, token, slot.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
        pub description: String,
        /// Its label or alias in the key store, which may be a name in a key list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub label: Option<String>,
        /// The certificate that the key store keeps beside it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub certificate: Option<CertificateSummary>,
        /// Where it lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token: Option<Token>,
    }
}

message! {
    /// What a list says of a certificate.
    #[derive(Default, Eq)]
    pub struct CertificateSummary {
        /// Its subject, RFC 4514.
        pub subject: String,
        /// When it expires, RFC 3339.
        pub not_after: String,
    }
}

message! {
    /// The device or service that a key lives in, as far as it says.
    #[derive(Default, Eq)]
    pub struct Token {
        /// Its label: CKA_LABEL of a token, name of a vault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub label: Option<String>,
        /// Its serial number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub serial: Option<String>,
        /// Who made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub manufacturer: Option<String>,
        /// Which kind it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub model: Option<String>,
    }
}

message! {
    /// Something that a device or service says of a key: `{"name":"extractable","value":"no"}`.
    #[derive(Eq)]
    pub struct Property {
        /// What it is about.
        pub name: String,
        /// What is said.
        pub value: String,
    }
}

impl Property {
    /// A property.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

open_names! {
    /// When a key asks for its PIN.
    PinPolicy {
        /// Never.
        Never => "never",
        /// Once in a session.
        Once => "once",
        /// For each signature.
        Always => "always",
    }
}

open_names! {
    /// When a key asks for a touch.
    TouchPolicy {
        /// Never.
        Never => "never",
        /// For each signature.
        Always => "always",
        /// For each signature, unless there was one in the last seconds.
        Cached => "cached",
    }
}

message! {
    /// Request of `create-key`.
    pub struct CreateKeyRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Where the key goes and what it is called, in the plugin's own terms.
        pub key_id: String,
        /// Type and size.
        pub key_spec: KeySpec,
        /// Settings.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
        /// Whether a key that is there already may be replaced.
        #[serde(default, skip_serializing_if = "is_false")]
        pub overwrite: bool,
        /// Whether `keyId` names a key that is there, beside which the new one is made under a name that
        /// the plugin chooses. A plugin that can't choose refuses.
        #[serde(default, skip_serializing_if = "is_false")]
        pub beside: bool,
        /// Whether the user agreed already to what would be asked
        /// ([`Error::needs_confirmation`](crate::Error::needs_confirmation)).
        #[serde(default, skip_serializing_if = "is_false")]
        pub confirmed: bool,
        /// When the key asks for its PIN; absent for the device's default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub pin_policy: Option<PinPolicy>,
        /// When the key asks for a touch; absent for the device's default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub touch_policy: Option<TouchPolicy>,
    }
}

message! {
    /// Answer of `create-key`.
    pub struct CreateKeyResponse {
        /// Names the key from now on: what a key list should hold.
        pub key_id: String,
        /// Type and size.
        pub key_spec: KeySpec,
        /// The public key, a `SubjectPublicKeyInfo` in DER.
        pub public_key: Base64,
        /// Where it was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token: Option<Token>,
        /// What was replaced, in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub replaced: Option<String>,
    }
}

message! {
    /// Request of `import-certificates`.
    pub struct ImportCertificatesRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key that the first certificate is for.
        pub key_id: String,
        /// Certificates in DER, leaf first.
        pub certificate_chain: Vec<Base64>,
        /// Settings.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
        /// Whether certificates that are there already may be replaced.
        #[serde(default, skip_serializing_if = "is_false")]
        pub overwrite: bool,
    }
}

message! {
    /// Answer of `import-certificates`.
    #[derive(Default)]
    pub struct ImportCertificatesResponse {
        /// How many certificates of the chain are stored now, from the leaf on; 0 where the key
        /// store can hold none, so that the host has to keep them.
        pub stored: u32,
        /// What was replaced, in one line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub replaced: Option<String>,
    }
}

message! {
    /// Request of `attest-key`.
    pub struct AttestKeyRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key, in the plugin's own terms.
        pub key_id: String,
        /// Settings.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// Answer of `attest-key`.
    pub struct AttestKeyResponse {
        /// What kind of evidence it is: `yubico-piv`, `pkcs11-attributes`.
        pub format: String,
        /// Certificates in DER that prove something, in the format's order.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub certificates: Vec<Base64>,
        /// What the key store says without proof.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub statements: Vec<Property>,
        /// The public key that the evidence is about, a `SubjectPublicKeyInfo` in DER.
        pub public_key: Base64,
    }
}

message! {
    /// Request of `generate-test-key`.
    // CLI-80
    pub struct GenerateTestKeyRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Where the private key goes: PKCS#8 PEM, mode 0600; must not exist.
        pub key_path: String,
        /// Where the certificate goes: PEM, mode 0644; must not exist.
        pub cert_path: String,
        /// Common name of the certificate.
        pub common_name: String,
        /// Size of the RSA key: 2048, 3072 or 4096.
        pub bits: u32,
    }
}

message! {
    /// Answer of `generate-test-key`.
    pub struct GenerateTestKeyResponse {
        /// The certificate in DER.
        pub certificate: Base64,
        /// When it expires, RFC 3339.
        pub not_after: String,
    }
}

message! {
    /// Request of `set-up-token`.
    pub struct SetUpTokenRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the token, in the plugin's own terms; empty, and then omitted, where there is one only.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
        pub key_id: String,
        /// Settings, among them where a new PIN comes from.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
        /// Whether the user agreed already to what would be asked
        /// ([`Error::needs_confirmation`](crate::Error::needs_confirmation)).
        #[serde(default, skip_serializing_if = "is_false")]
        pub confirmed: bool,
    }
}

message! {
    /// Answer of `set-up-token`. It holds no secret.
    #[derive(Default)]
    pub struct SetUpTokenResponse {
        /// The token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub token: Option<Token>,
        /// What was given a value of its own: "PIN", "PUK".
        pub changed: Vec<String>,
        /// What had one already, and was left.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub unchanged: Vec<String>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{CONTRACT_VERSION, pinned};

    fn config() -> PluginConfig {
        PluginConfig::from([("a".to_owned(), "b".to_owned())])
    }

    #[test]
    fn list_keys() {
        pinned(
            &ListKeysRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: String::new(),
                plugin_config: config(),
            },
            r#"{"contractVersion":"1.0","pluginConfig":{"a":"b"}}"#,
        );
        pinned(
            &ListKeysResponse {
                keys: vec![KeyEntry {
                    key_id: "k".into(),
                    key_spec: Some(KeySpec::Ec256),
                    description: "d".into(),
                    ..KeyEntry::default()
                }],
                ..ListKeysResponse::default()
            },
            r#"{"keys":[{"keyId":"k","keySpec":"EC-256","description":"d"}]}"#,
        );
        pinned(
            &ListKeysResponse {
                keys: vec![KeyEntry {
                    key_id: "k".into(),
                    label: Some("l".into()),
                    certificate: Some(CertificateSummary {
                        subject: "CN=s".into(),
                        not_after: "2026-01-02T03:04:05Z".into(),
                    }),
                    token: Some(Token {
                        serial: Some("7".into()),
                        ..Token::default()
                    }),
                    ..KeyEntry::default()
                }],
                truncated: true,
                warnings: vec!["slot 3: CKR_DEVICE_ERROR".into()],
            },
            r#"{"keys":[{"keyId":"k","label":"l","certificate":{"subject":"CN=s","notAfter":"2026-01-02T03:04:05Z"},"token":{"serial":"7"}}],"truncated":true,"warnings":["slot 3: CKR_DEVICE_ERROR"]}"#,
        );
    }

    #[test]
    fn create_key() {
        let mut request = CreateKeyRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: "k".into(),
            key_spec: KeySpec::Ec384,
            plugin_config: PluginConfig::new(),
            overwrite: false,
            beside: false,
            confirmed: false,
            pin_policy: None,
            touch_policy: None,
        };
        pinned(
            &request,
            r#"{"contractVersion":"1.0","keyId":"k","keySpec":"EC-384"}"#,
        );
        request.beside = true;
        pinned(
            &request,
            r#"{"contractVersion":"1.0","keyId":"k","keySpec":"EC-384","beside":true}"#,
        );
        request.beside = false;
        request.plugin_config = config();
        request.overwrite = true;
        request.confirmed = true;
        request.pin_policy = Some(PinPolicy::Once);
        request.touch_policy = Some(TouchPolicy::Cached);
        pinned(
            &request,
            r#"{"contractVersion":"1.0","keyId":"k","keySpec":"EC-384","pluginConfig":{"a":"b"},"overwrite":true,"confirmed":true,"pinPolicy":"once","touchPolicy":"cached"}"#,
        );
        pinned(
            &CreateKeyResponse {
                key_id: "pkcs11:object=k".into(),
                key_spec: KeySpec::Ec384,
                public_key: Base64(vec![1]),
                token: Some(Token {
                    label: Some("T".into()),
                    ..Token::default()
                }),
                replaced: Some("an EC-256 key".into()),
            },
            r#"{"keyId":"pkcs11:object=k","keySpec":"EC-384","publicKey":"AQ==","token":{"label":"T"},"replaced":"an EC-256 key"}"#,
        );
    }

    #[test]
    fn import_certificates() {
        pinned(
            &ImportCertificatesRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: "k".into(),
                certificate_chain: vec![Base64(vec![1]), Base64(vec![2])],
                plugin_config: PluginConfig::new(),
                overwrite: true,
            },
            r#"{"contractVersion":"1.0","keyId":"k","certificateChain":["AQ==","Ag=="],"overwrite":true}"#,
        );
        let stored = ImportCertificatesResponse {
            stored: 1,
            replaced: None,
        };
        pinned(&stored, r#"{"stored":1}"#);
    }

    #[test]
    fn attest_key() {
        pinned(
            &AttestKeyRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: "k".into(),
                plugin_config: config(),
            },
            r#"{"contractVersion":"1.0","keyId":"k","pluginConfig":{"a":"b"}}"#,
        );
        pinned(
            &AttestKeyResponse {
                format: "yubico-piv".into(),
                certificates: vec![Base64(vec![1])],
                statements: vec![Property::new("origin", "generated")],
                public_key: Base64(vec![2]),
            },
            r#"{"format":"yubico-piv","certificates":["AQ=="],"statements":[{"name":"origin","value":"generated"}],"publicKey":"Ag=="}"#,
        );
    }

    #[test]
    fn set_up_token() {
        let mut request = SetUpTokenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: String::new(),
            plugin_config: PluginConfig::new(),
            confirmed: false,
        };
        pinned(&request, r#"{"contractVersion":"1.0"}"#);
        request.key_id = "t".into();
        request.plugin_config = config();
        request.confirmed = true;
        pinned(
            &request,
            r#"{"contractVersion":"1.0","keyId":"t","pluginConfig":{"a":"b"},"confirmed":true}"#,
        );
        pinned(
            &SetUpTokenResponse {
                token: Some(Token {
                    serial: Some("7".into()),
                    ..Token::default()
                }),
                changed: vec!["PIN".into()],
                unchanged: vec!["PUK".into()],
            },
            r#"{"token":{"serial":"7"},"changed":["PIN"],"unchanged":["PUK"]}"#,
        );
    }

    #[test]
    fn cli_80_generate_test_key() {
        pinned(
            &GenerateTestKeyRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_path: "/k".into(),
                cert_path: "/c".into(),
                common_name: "cn".into(),
                bits: 2048,
            },
            r#"{"contractVersion":"1.0","keyPath":"/k","certPath":"/c","commonName":"cn","bits":2048}"#,
        );
        pinned(
            &GenerateTestKeyResponse {
                certificate: Base64(vec![1]),
                not_after: "2026-01-02T03:04:05Z".into(),
            },
            r#"{"certificate":"AQ==","notAfter":"2026-01-02T03:04:05Z"}"#,
        );
    }
}
