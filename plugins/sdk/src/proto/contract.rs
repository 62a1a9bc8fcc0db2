//! One-shot commands: a request on stdin, an answer on stdout, one process each.

// Requirements: PLG-01, PLG-02.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Base64, Capability, PluginConfig, Property, Setting, is_false, message, null_as_default,
};
use crate::algorithm::{HashAlgorithm, KeySpec, SignatureAlgorithm};

message! {
    /// Request of `get-plugin-metadata`.
    // PLG-17
    #[derive(Default)]
    pub struct GetMetadataRequest {
        /// Settings of the key that will be used, if any.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// Answer of `get-plugin-metadata`.
    ///
    /// All members are required by the contract, yet read as empty when absent, so that the host
    /// can name the one that is missing.
    // PLG-18
    #[derive(Default)]
    pub struct Metadata {
        /// The name, as in `notation-<name>`.
        #[serde(default, deserialize_with = "null_as_default")]
        pub name: String,
        /// One sentence for the user.
        #[serde(default, deserialize_with = "null_as_default")]
        pub description: String,
        /// Semantic version of the plugin.
        #[serde(default, deserialize_with = "null_as_default")]
        pub version: String,
        /// Where to learn more.
        #[serde(default, deserialize_with = "null_as_default")]
        pub url: String,
        /// Contract versions, for instance `["1.0"]`.
        #[serde(default, deserialize_with = "null_as_default")]
        pub supported_contract_versions: Vec<String>,
        /// What the plugin can do.
        #[serde(default, deserialize_with = "null_as_default")]
        pub capabilities: Vec<Capability>,
        /// The settings that the plugin knows. `None`, and then omitted: it doesn't say, and takes
        /// what it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub settings: Option<Vec<Setting>>,
    }
}

message! {
    /// Request of `describe-key`.
    // PLG-23
    pub struct DescribeKeyRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key, in the plugin's own terms.
        pub key_id: String,
        /// Settings of the key.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// Answer of `describe-key`. What comes after the key spec is ours.
    // PLG-23 to PLG-25
    pub struct DescribeKeyResponse {
        /// The key id of the request.
        pub key_id: String,
        /// Type and size of the key.
        pub key_spec: KeySpec,
        /// The public key, a `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1); omitted if unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub public_key: Option<Base64>,
        /// Certificates in DER, leaf to root; omitted if there are none or they weren't looked for.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub certificate_chain: Vec<Base64>,
        /// What the key store says about the key. It is its word, and proves nothing.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
        pub properties: Vec<Property>,
        /// Whether the key store keeps one chain for the key, so that another one takes its place.
        #[serde(default, skip_serializing_if = "is_false")]
        pub one_chain: bool,
    }
}

message! {
    /// Request of `generate-signature`.
    // PLG-26
    pub struct GenerateSignatureRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key, in the plugin's own terms.
        pub key_id: String,
        /// The key spec that `describe-key` gave.
        pub key_spec: KeySpec,
        /// The hash that goes with the key spec.
        pub hash_algorithm: HashAlgorithm,
        /// The bytes to be signed, not hashed yet.
        pub payload: Base64,
        /// Settings of the key.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// Answer of `generate-signature` and of `sign-digest`.
    // PLG-27 to PLG-29
    pub struct GenerateSignatureResponse {
        /// The key id of the request.
        pub key_id: String,
        /// The RSASSA-PSS signature, or r‖s of ECDSA.
        pub signature: Base64,
        /// The algorithm that goes with the key.
        pub signing_algorithm: SignatureAlgorithm,
        /// Certificates in DER, leaf to root.
        pub certificate_chain: Vec<Base64>,
    }
}

message! {
    /// Request of `sign-digest` (`HARDSIGN.DIGEST`): `generate-signature` without the payload.
    pub struct SignDigestRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key, in the plugin's own terms.
        pub key_id: String,
        /// Settings of the key.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
        /// The key spec that the host expects.
        pub key_spec: KeySpec,
        /// The hash that goes with the key spec.
        pub hash_algorithm: HashAlgorithm,
        /// The raw digest of the bytes to be signed.
        pub digest: Base64,
    }
}

message! {
    /// Request of `generate-envelope`.
    // PLG-32
    pub struct GenerateEnvelopeRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// Names the key, in the plugin's own terms.
        pub key_id: String,
        /// Content type of the payload.
        pub payload_type: String,
        /// Media type of the envelope that is asked for.
        pub signature_envelope_type: String,
        /// The payload's JSON.
        pub payload: Base64,
        /// Lifetime of the signature in seconds; 0 for none, and then omitted.
        #[serde(default, skip_serializing_if = "is_zero")]
        pub expiry_duration_in_seconds: u64,
        /// Settings of the key.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// Answer of `generate-envelope`.
    // PLG-33
    pub struct GenerateEnvelopeResponse {
        /// The envelope's bytes.
        pub signature_envelope: Base64,
        /// Media type of the envelope.
        pub signature_envelope_type: String,
        /// Annotations for the signature manifest.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub annotations: BTreeMap<String, String>,
    }
}

message! {
    /// Request of `verify-signature`.
    // PLG-40
    pub struct VerifySignatureRequest {
        /// [`CONTRACT_VERSION`](super::CONTRACT_VERSION).
        pub contract_version: String,
        /// What the signature says.
        pub signature: SignatureToVerify,
        /// What the policy asks for.
        pub trust_policy: PolicyToVerify,
        /// Settings from `--plugin-config`.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
        pub plugin_config: PluginConfig,
    }
}

message! {
    /// The signature in a `verify-signature` request.
    pub struct SignatureToVerify {
        /// The critical attributes of the envelope.
        pub critical_attributes: CriticalAttributes,
        /// Names of extended attributes that the host did not process.
        // PLG-43
        #[serde(default, deserialize_with = "null_as_default")]
        pub unprocessed_attributes: Vec<String>,
        /// Certificates in DER, leaf to root.
        // PLG-44
        pub certificate_chain: Vec<Base64>,
    }
}

message! {
    /// Critical attributes in a `verify-signature` request.
    // PLG-40 to PLG-43
    pub struct CriticalAttributes {
        /// Content type of the payload.
        pub content_type: String,
        /// `notary.x509` or `notary.x509.signingAuthority`.
        pub signing_scheme: String,
        /// Expiry in RFC 3339; [`NO_EXPIRY`] when the signature has none.
        // PLG-41
        pub expiry: String,
        /// Authentic signing time in RFC 3339, under `notary.x509.signingAuthority` only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub authentic_signing_time: Option<String>,
        /// Critical extended attributes by name.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Map::is_empty")]
        pub extended_attributes: Map<String, Value>,
    }
}

message! {
    /// The policy in a `verify-signature` request.
    pub struct PolicyToVerify {
        /// Trusted identities of the statement.
        pub trusted_identities: Vec<String>,
        /// The checks to perform, by capability.
        // PLG-44
        pub signature_verification: Vec<Capability>,
    }
}

message! {
    /// Answer of `verify-signature`.
    // PLG-45
    pub struct VerifySignatureResponse {
        /// Outcome of each check.
        pub verification_results: BTreeMap<Capability, VerificationResult>,
        /// Names of extended attributes that the plugin processed.
        #[serde(default, deserialize_with = "null_as_default")]
        pub processed_attributes: Vec<String>,
    }
}

message! {
    /// Outcome of one check of `verify-signature`.
    pub struct VerificationResult {
        /// Whether it passed.
        pub success: bool,
        /// Why it did not.
        #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
        pub reason: String,
    }
}

/// The `expiry` of a signature without one.
// PLG-41
pub const NO_EXPIRY: &str = "0001-01-01T00:00:00Z";

/// For serde: whether a number is omitted.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{CONTRACT_VERSION, pinned};

    fn config() -> PluginConfig {
        PluginConfig::from([("a".to_owned(), "b".to_owned())])
    }

    /// PLG-13, PLG-16: every request but this carries the version; empty config is omitted.
    #[test]
    fn plg_17_metadata_request() {
        pinned(&GetMetadataRequest::default(), "{}");
        pinned(
            &GetMetadataRequest {
                plugin_config: config(),
            },
            r#"{"pluginConfig":{"a":"b"}}"#,
        );
    }

    #[test]
    fn plg_18_metadata() {
        pinned(
            &Metadata {
                name: "n".into(),
                description: "d".into(),
                version: "1.2.3".into(),
                url: "https://example.com".into(),
                supported_contract_versions: vec![CONTRACT_VERSION.into()],
                capabilities: vec![Capability::RawSignature],
                settings: None,
            },
            r#"{"name":"n","description":"d","version":"1.2.3","url":"https://example.com","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}"#,
        );
        let empty: Metadata = serde_json::from_str(r#"{"capabilities":null,"new":[]}"#).unwrap();
        assert_eq!(empty, Metadata::default());
    }

    #[test]
    fn plg_23_describe_key() {
        pinned(
            &DescribeKeyRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: "k".into(),
                plugin_config: PluginConfig::new(),
            },
            r#"{"contractVersion":"1.0","keyId":"k"}"#,
        );
        pinned(
            &DescribeKeyResponse {
                key_id: "k".into(),
                key_spec: KeySpec::Ec384,
                public_key: None,
                certificate_chain: Vec::new(),
                properties: Vec::new(),
                one_chain: false,
            },
            r#"{"keyId":"k","keySpec":"EC-384"}"#,
        );
        pinned(
            &DescribeKeyResponse {
                key_id: "k".into(),
                key_spec: KeySpec::Ec384,
                public_key: Some(Base64(vec![1])),
                certificate_chain: vec![Base64(vec![2])],
                properties: vec![Property::new("origin", "generated")],
                one_chain: true,
            },
            r#"{"keyId":"k","keySpec":"EC-384","publicKey":"AQ==","certificateChain":["Ag=="],"properties":[{"name":"origin","value":"generated"}],"oneChain":true}"#,
        );
        let unknown = r#"{"keyId":"k","keySpec":"RSA-1024"}"#;
        let error = serde_json::from_str::<DescribeKeyResponse>(unknown).unwrap_err();
        assert!(error.to_string().contains("unknown key spec"), "{error}");
    }

    /// PLG-26, PLG-27: names and their order.
    #[test]
    fn plg_26_generate_signature() {
        pinned(
            &GenerateSignatureRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: "k".into(),
                key_spec: KeySpec::Rsa3072,
                hash_algorithm: HashAlgorithm::Sha384,
                payload: Base64(b"payload".to_vec()),
                plugin_config: config(),
            },
            r#"{"contractVersion":"1.0","keyId":"k","keySpec":"RSA-3072","hashAlgorithm":"SHA-384","payload":"cGF5bG9hZA==","pluginConfig":{"a":"b"}}"#,
        );
        pinned(
            &GenerateSignatureResponse {
                key_id: "k".into(),
                signature: Base64(vec![1]),
                signing_algorithm: SignatureAlgorithm::RsassaPssSha384,
                certificate_chain: vec![Base64(vec![2]), Base64(vec![3])],
            },
            r#"{"keyId":"k","signature":"AQ==","signingAlgorithm":"RSASSA-PSS-SHA-384","certificateChain":["Ag==","Aw=="]}"#,
        );
    }

    #[test]
    fn sign_digest_carries_no_payload() {
        pinned(
            &SignDigestRequest {
                contract_version: CONTRACT_VERSION.into(),
                key_id: "k".into(),
                plugin_config: config(),
                key_spec: KeySpec::Ec256,
                hash_algorithm: HashAlgorithm::Sha256,
                digest: Base64(vec![0; 3]),
            },
            r#"{"contractVersion":"1.0","keyId":"k","pluginConfig":{"a":"b"},"keySpec":"EC-256","hashAlgorithm":"SHA-256","digest":"AAAA"}"#,
        );
    }

    /// PLG-32, PLG-33: names and their order; no expiry is no member.
    #[test]
    fn plg_32_generate_envelope() {
        let mut request = GenerateEnvelopeRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: "k".into(),
            payload_type: "t".into(),
            signature_envelope_type: "application/cose".into(),
            payload: Base64(b"{}".to_vec()),
            expiry_duration_in_seconds: 0,
            plugin_config: PluginConfig::new(),
        };
        pinned(
            &request,
            r#"{"contractVersion":"1.0","keyId":"k","payloadType":"t","signatureEnvelopeType":"application/cose","payload":"e30="}"#,
        );
        request.expiry_duration_in_seconds = 60;
        request.plugin_config = config();
        pinned(
            &request,
            r#"{"contractVersion":"1.0","keyId":"k","payloadType":"t","signatureEnvelopeType":"application/cose","payload":"e30=","expiryDurationInSeconds":60,"pluginConfig":{"a":"b"}}"#,
        );
        pinned(
            &GenerateEnvelopeResponse {
                signature_envelope: Base64(vec![1]),
                signature_envelope_type: "application/cose".into(),
                annotations: BTreeMap::new(),
            },
            r#"{"signatureEnvelope":"AQ==","signatureEnvelopeType":"application/cose"}"#,
        );
    }

    /// PLG-40, PLG-41, PLG-43: expiry is always there, the rest only where it belongs.
    #[test]
    fn plg_40_verify_signature() {
        pinned(
            &VerifySignatureRequest {
                contract_version: CONTRACT_VERSION.into(),
                signature: SignatureToVerify {
                    critical_attributes: CriticalAttributes {
                        content_type: "c".into(),
                        signing_scheme: "notary.x509".into(),
                        expiry: NO_EXPIRY.into(),
                        authentic_signing_time: None,
                        extended_attributes: Map::new(),
                    },
                    unprocessed_attributes: Vec::new(),
                    certificate_chain: vec![Base64(vec![1])],
                },
                trust_policy: PolicyToVerify {
                    trusted_identities: vec!["*".into()],
                    signature_verification: vec![Capability::RevocationCheck],
                },
                plugin_config: PluginConfig::new(),
            },
            r#"{"contractVersion":"1.0","signature":{"criticalAttributes":{"contentType":"c","signingScheme":"notary.x509","expiry":"0001-01-01T00:00:00Z"},"unprocessedAttributes":[],"certificateChain":["AQ=="]},"trustPolicy":{"trustedIdentities":["*"],"signatureVerification":["SIGNATURE_VERIFIER.REVOCATION_CHECK"]}}"#,
        );
    }

    /// PLG-45: null is an empty list of attributes.
    #[test]
    fn plg_45_verify_signature_response() {
        let text = r#"{"verificationResults":{"SIGNATURE_VERIFIER.TRUSTED_IDENTITY":{"success":false,"reason":"r"}},"processedAttributes":null}"#;
        let response: VerifySignatureResponse = serde_json::from_str(text).unwrap();
        let result = &response.verification_results[&Capability::TrustedIdentity];
        assert!(!result.success);
        assert_eq!(result.reason, "r");
        assert!(response.processed_attributes.is_empty());
    }
}
