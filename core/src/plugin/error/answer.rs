//! What is wrong with what a plugin answered: it broke the contract, or its key is of no use.

use std::error::Error;
use std::fmt;

use hardsign_plugin::algorithm::{KeySpec, SignatureAlgorithm};

use crate::crypto::SignatureInvalid;
use crate::envelope::EnvelopeError;
use crate::plugin::text::{Lines, escaped};
use crate::text::{WithCauses, plural};

/// What is wrong with a plugin's answer; nothing of it was used.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnswerFault {
    /// Metadata of a plugin of another name.
    // PLG-20
    WrongName {
        /// The name that it gave.
        answered: String,
        /// Its executable.
        file: String,
    },
    /// An answer with a key that it can't be about.
    WrongPublicKey(&'static str),
    /// An answer for another key.
    // PLG-24, PLG-29
    WrongKey {
        /// Which answer, as the reference spells it.
        answer: &'static str,
        /// The key that the answer names.
        answered: String,
        /// The key that was asked for.
        asked: String,
    },
    /// A key that the Notary Project doesn't know.
    // PLG-25
    UnknownKeySpec {
        /// The key.
        key: String,
        /// The key spec as answered.
        answered: String,
    },
    /// A signing algorithm that doesn't go with the key.
    // PLG-28, DIF-06
    WrongAlgorithm {
        /// Which answer.
        answer: &'static str,
        /// The algorithm as answered.
        answered: String,
        /// The one that the key needs.
        expected: SignatureAlgorithm,
    },
    /// A signature whose length doesn't go with the key.
    // ENV-37
    SignatureLength {
        /// Bytes returned.
        length: usize,
        /// The key, which decides how many there should be.
        key: KeySpec,
    },
    /// More or larger certificates than any chain has.
    ChainTooLarge {
        /// Number of certificates.
        count: usize,
        /// Their size.
        bytes: usize,
    },
    /// A certificate chain that breaks a rule, found before the signature could be looked at.
    // PLG-30
    Chain(Box<EnvelopeError>),
    /// A key was opened with certificates that are no chain, or not that key's.
    // PLG-30
    Certificates(Box<EnvelopeError>),
    /// A session that was started again answers for another key or chain.
    KeyChanged,
    /// An envelope of another kind than asked for.
    // PLG-34
    WrongEnvelopeType {
        /// The type as answered.
        answered: String,
        /// The type asked for.
        asked: String,
    },
}

impl AnswerFault {
    /// The text of the error, of `plugin` at `command`.
    pub(super) fn tell(
        &self,
        plugin: &str,
        command: &str,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        match self {
            Self::WrongName { answered, file } => write!(
                f,
                "plugin executable file name must be \"notation-{}\" instead of \"{file}\"",
                escaped(answered, 200, Lines::Escape)
            ),
            Self::WrongPublicKey(fault) => write!(
                f,
                "plugin {plugin} answered {command} with a public key that {fault}"
            ),
            Self::WrongKey {
                answer,
                answered,
                asked,
            } => write!(
                f,
                "keyID in {answer} response {answered:?} does not match request {asked:?}"
            ),
            Self::UnknownKeySpec { .. } => f.write_str("unknown key spec"),
            Self::WrongAlgorithm {
                answer,
                answered,
                expected,
            } => write!(
                f,
                "signing algorithm in {answer} response {answered:?} does not match key spec, which requires {expected}"
            ),
            Self::SignatureLength { length, key } => {
                let expected = key.signature_len();
                let source = SignatureInvalid::of(*key);
                let invalid = EnvelopeError::Signature { source };
                write!(
                    f,
                    "generated signature failed verification: {}: it has {} instead of {expected}",
                    WithCauses(&invalid),
                    plural(*length, "byte")
                )
            }
            Self::ChainTooLarge { count, bytes } => write!(
                f,
                "plugin {plugin} returned a certificate chain of {} and {}, which is more than hardsign reads",
                plural(*count, "certificate"),
                plural(*bytes, "byte")
            ),
            Self::Chain(_) => f.write_str("generated signature failed verification"),
            Self::Certificates(_) => write!(
                f,
                "plugin {plugin} opened the key with certificates that can't be used"
            ),
            Self::KeyChanged => write!(
                f,
                "plugin {plugin} was started again and answered with another key or certificate chain"
            ),
            Self::WrongEnvelopeType { answered, asked } => write!(
                f,
                "signatureEnvelopeType in generateEnvelope response {answered:?} does not match request {asked:?}"
            ),
        }
    }

    pub(super) fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Chain(source) | Self::Certificates(source) => Some(source),
            _ => None,
        }
    }
}

/// What is wrong with a plugin's metadata, in the reference's words.
// PLG-18, PLG-19
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataFault {
    /// No name.
    #[error("empty name")]
    Name,
    /// No description.
    #[error("empty description")]
    Description,
    /// No version.
    #[error("empty version")]
    Version,
    /// No URL.
    #[error("empty url")]
    Url,
    /// No capabilities.
    #[error("empty capabilities")]
    Capabilities,
    /// Settings that are too many or whose names can't be names.
    #[error("settings are too many, or have names that can't be names")]
    Settings,
    /// No contract versions.
    #[error("supported contract versions not specified")]
    NoContractVersions,
    /// Not our contract version.
    #[error("contract version \"1.0\" is not in the list of the plugin supported versions [{}]", escaped(&.versions.join(" "), 200, Lines::Escape))]
    ContractVersion {
        /// The versions that the plugin supports.
        versions: Vec<String>,
    },
}
