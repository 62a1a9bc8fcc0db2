//! The messages between host and plugin: contract 1.0 whole, and our extensions.
//!
//! Implements the "Plugin contract" section of the Notary Project plugin specification
//! and the `HARDSIGN.*` capabilities. Members are written with exactly the
//! contract's names and in its order; unknown members are ignored when reading. What a
//! message claims is not checked here: that is the host's job.

// Requirements: PLG-17 to PLG-49, PLG-14.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::error::{ErrorCode, ErrorResponse};
pub use contract::*;
pub use keys::*;
pub use session::*;
pub use settings::*;

mod contract;
mod keys;
mod session;
mod settings;

/// The version of the plugin contract that this crate speaks.
pub const CONTRACT_VERSION: &str = "1.0";

/// Settings of a key, from the key list and `--plugin-config`; omitted from JSON when empty.
pub type PluginConfig = BTreeMap<String, String>;

/// An enum of names where a name from a newer version is kept as `Unknown`.
macro_rules! open_names {
    ($(#[$doc:meta])* $type:ident { $($(#[$arm_doc:meta])* $arm:ident => $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum $type {
            $($(#[$arm_doc])* $arm,)+
            /// A name that this version does not know.
            Unknown(String),
        }

        impl $type {
            /// Every name that this version knows.
            pub const KNOWN: [Self; [$($name),+].len()] = [$(Self::$arm),+];

            /// The name on the wire.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$arm => $name,)+
                    Self::Unknown(name) => name,
                }
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$arm,)+
                    _ => Self::Unknown(name.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self::from(name.as_str()))
            }
        }
    };
}
pub(crate) use open_names;

/// Derives and attributes of every message.
macro_rules! message {
    ($(#[$doc:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Deserialize, PartialEq, serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name { $($body)* }
    };
}
use message;

open_names! {
    /// What a plugin can do, with our extensions.
    // PLG-21, PLG-51
    Capability {
        /// Signs a payload: `describe-key` and `generate-signature`.
        RawSignature => "SIGNATURE_GENERATOR.RAW",
        /// Makes whole envelopes for OCI artifacts: `generate-envelope`.
        Envelope => "SIGNATURE_GENERATOR.ENVELOPE",
        /// Makes whole envelopes for blobs: `generate-envelope`.
        EnvelopeForBlob => "SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB",
        /// Decides whether the signer is trusted: `verify-signature`.
        TrustedIdentity => "SIGNATURE_VERIFIER.TRUSTED_IDENTITY",
        /// Checks revocation: `verify-signature`.
        RevocationCheck => "SIGNATURE_VERIFIER.REVOCATION_CHECK",
        /// Signs a digest: `sign-digest`.
        Digest => "HARDSIGN.DIGEST",
        /// Serves many requests in one process: `session`.
        Session => "HARDSIGN.SESSION",
        /// Key life cycle: `list-keys`, `create-key`, `import-certificates`.
        Keys => "HARDSIGN.KEYS",
        /// Evidence of where a key was made and lives: `attest-key`.
        Attest => "HARDSIGN.ATTEST",
        /// Makes software keys for tests: `generate-test-key`.
        TestKeys => "HARDSIGN.TEST_KEYS",
        /// Gives a new token secrets of its own: `set-up-token`.
        Setup => "HARDSIGN.SETUP",
        /// A key whose name `create-key` gives to another one stays in the key store.
        Versions => "HARDSIGN.VERSIONS",
    }
}

open_names! {
    /// The command that a plugin is started with: its only argument.
    // PLG-01
    Command {
        /// Who the plugin is and what it can do.
        GetPluginMetadata => "get-plugin-metadata",
        /// The key spec of a key.
        DescribeKey => "describe-key",
        /// A signature over a payload.
        GenerateSignature => "generate-signature",
        /// A whole envelope.
        GenerateEnvelope => "generate-envelope",
        /// Trusted identity and revocation checks.
        VerifySignature => "verify-signature",
        /// A signature over a digest (`HARDSIGN.DIGEST`).
        SignDigest => "sign-digest",
        /// Many requests in one process (`HARDSIGN.SESSION`).
        Session => "session",
        /// The keys that the plugin can see (`HARDSIGN.KEYS`).
        ListKeys => "list-keys",
        /// A new key in the key store (`HARDSIGN.KEYS`).
        CreateKey => "create-key",
        /// Certificates to be kept beside a key (`HARDSIGN.KEYS`).
        ImportCertificates => "import-certificates",
        /// Evidence about a key (`HARDSIGN.ATTEST`).
        AttestKey => "attest-key",
        /// A software key and certificate for tests (`HARDSIGN.TEST_KEYS`).
        GenerateTestKey => "generate-test-key",
        /// Secrets of its own for a new token (`HARDSIGN.SETUP`).
        SetUpToken => "set-up-token",
    }
}

/// Bytes that are base64 in JSON: standard alphabet, padded.
///
/// Line breaks inside are ignored when reading, as the reference's JSON library does.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Base64(pub Vec<u8>);

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Base64 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let mut text = String::deserialize(deserializer)?;
        if text.contains(['\r', '\n']) {
            text.retain(|c| c != '\r' && c != '\n');
        }
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// Reads JSON `null` as the type's default, as the reference's JSON library does.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// For serde: whether a flag is omitted.
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
use tests::pinned;

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;

    /// The value has this text, and the text this value.
    pub(super) fn pinned<T: Debug + DeserializeOwned + PartialEq + Serialize>(
        value: &T,
        text: &str,
    ) {
        assert_eq!(serde_json::to_string(value).unwrap(), text);
        assert_eq!(serde_json::from_str::<T>(text).unwrap(), *value);
    }

    /// PLG-21: the contract's capabilities by name; unknown ones survive a round trip.
    #[test]
    fn plg_21_capabilities() {
        let text = r#"["SIGNATURE_GENERATOR.RAW","SIGNATURE_GENERATOR.ENVELOPE","SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB","SIGNATURE_VERIFIER.TRUSTED_IDENTITY","SIGNATURE_VERIFIER.REVOCATION_CHECK","HARDSIGN.DIGEST","HARDSIGN.SESSION","HARDSIGN.KEYS","HARDSIGN.ATTEST","HARDSIGN.TEST_KEYS","HARDSIGN.SETUP","HARDSIGN.VERSIONS","TEA.EARL_GREY"]"#;
        let capabilities: Vec<Capability> = serde_json::from_str(text).unwrap();
        assert_eq!(capabilities[..12], Capability::KNOWN);
        assert_eq!(
            capabilities[12],
            Capability::Unknown("TEA.EARL_GREY".into())
        );
        assert_eq!(serde_json::to_string(&capabilities).unwrap(), text);
    }

    #[test]
    fn base64_is_standard_and_padded() {
        let bytes = Base64(vec![0xfb, 0xff, 0xfe, 0x01]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), r#""+//+AQ==""#);
        let read = |text: &str| serde_json::from_str::<Base64>(text);
        assert_eq!(read(r#""+//+AQ==""#).unwrap(), bytes);
        assert_eq!(read(r#""+//+\r\nAQ==\n""#).unwrap(), bytes);
        for bad in [r#""-__-AQ==""#, r#""+//+AQ""#, r#""+//+ AQ==""#, "7"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
