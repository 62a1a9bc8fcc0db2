//! What can be wrong with a token, with an answer that should carry one, and with the file of a
//! TSA's root.

use der::asn1::ObjectIdentifier;
use jiff::civil::DateTime;

use super::ber::BerError;
use crate::artifact::Quoted;
use crate::crypto::{KeyError, SignedDataError};
use crate::x509::{CertificateError, ChainError, Name, NotValidAt, rfc1123};

/// id-ct-TSTInfo, the content type of a token.
pub(super) const TST_INFO: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");

/// Bytes that are no TimeStampToken, or one that can't be relied on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not even BER.
    // TSA-17, TSA-39
    #[error("cms: syntax error: invalid signed data: failed to convert from BER to DER")]
    Ber {
        /// Where it breaks off.
        #[from]
        source: BerError,
    },
    /// Not the structure that RFC 5652 demands.
    #[error("cms: syntax error: invalid {part}")]
    Malformed {
        /// The part that is malformed.
        part: &'static str,
        /// What the DER decoder met.
        source: der::Error,
    },
    /// The ContentInfo holds something else than SignedData.
    #[error("cms: content type is not signed-data")]
    NotSignedData,
    /// A version other than those of RFC 3161.
    // TSA-16
    #[error("cms: syntax error: unsupported {part} version")]
    Version {
        /// SignedData or SignerInfo.
        part: &'static str,
    },
    /// What is signed is no TSTInfo.
    // TSA-16
    #[error(
        "unexpected content type: {found}. Expected to be id-ct-TSTInfo ({})",
        TST_INFO
    )]
    ContentType {
        /// The type found.
        found: ObjectIdentifier,
    },
    /// SignedData without content.
    #[error("cms: syntax error: the signed content is missing")]
    NoContent,
    /// None or several signers.
    // TSA-21
    #[error("a timestamp token has exactly one signer")]
    Signers,
    /// A certificate that can't be read.
    #[error("cms: syntax error: failed to parse X.509 certificates from signed data")]
    Certificate {
        /// What is wrong with it.
        source: CertificateError,
    },
    /// More certificates, or attributes, than a token needs.
    #[error("cms: syntax error: more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A signed attribute that RFC 3161 demands is missing.
    // TSA-16, TSA-18
    #[error("cms verification failure: the signed attribute {attribute} is missing")]
    AttributeMissing {
        /// Its name.
        attribute: &'static str,
    },
    /// A signed attribute that stands there twice, or with none or several values.
    #[error("cms verification failure: the signed attribute {attribute} has not exactly one value")]
    AttributeRepeated {
        /// Its type.
        attribute: ObjectIdentifier,
    },
    /// The content type among the signed attributes is another than that of the content.
    // TSA-16
    #[error("cms verification failure: mismatch content type")]
    ContentTypeMismatch,
    /// The digest among the signed attributes is not that of the content.
    // TSA-16
    #[error("cms verification failure: mismatch message digest")]
    DigestMismatch,
    /// A hash other than SHA-256, SHA-384 and SHA-512.
    // TSA-18, TSA-19
    #[error("cms verification failure: the hash algorithm of {of} is not supported")]
    HashAlgorithm {
        /// What is hashed.
        of: &'static str,
    },
    /// The signer's certificate is not in the token.
    #[error("signing certificate not found in the timestamp token")]
    NoSigningCertificate,
    /// The signed attribute binds another certificate.
    // TSA-18
    #[error("the certificate of the signer is not the one that signing-certificate-v2 names")]
    CertificateMismatch,
    /// The signer's key can't be used.
    #[error("cms verification failure")]
    Key {
        /// What is wrong with the key.
        source: KeyError,
    },
    /// The signature is wrong, or of a kind that is not accepted.
    // TSA-19
    #[error("cms verification failure")]
    Signature {
        /// Which part of the CMS message does not verify.
        source: SignedDataError,
    },
    /// The signingTime attribute is no time, or outside the chain's validity.
    // TSA-20
    #[error(
        "cms verification failure: the signing time is outside the certificate's validity period"
    )]
    SigningTime,
    /// No path leads from the signer to a trusted root.
    // TSA-33
    #[error("the certificate chain of the timestamping authority {} ends in no trusted root{}", subject.quoted(), lacking(wanted.as_ref()))]
    Untrusted {
        /// Subject of the signer.
        subject: Name,
        /// The issuer whose certificate is missing; none where the path ends in a root that is not
        /// trusted.
        wanted: Option<Name>,
    },
    /// Too many certificates that could have issued one another.
    #[error("the certificates of the timestamp token lead to too many paths")]
    Paths,
    /// The chain breaks a rule for timestamping chains.
    // TSA-30
    #[error("invalid timestamping certificate chain")]
    Chain {
        /// The rule.
        source: ChainError,
    },
    /// A certificate of the chain was not valid when the token was made.
    #[error("invalid timestamping certificate chain")]
    NotValidAt {
        /// Which, and when.
        source: NotValidAt,
    },
    /// What the token says is no use.
    #[error("invalid TSTInfo")]
    Info {
        /// What is wrong with the TSTInfo.
        #[from]
        source: InfoError,
    },
}

/// A TSTInfo that is malformed, or about something else.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InfoError {
    /// Not the structure of RFC 3161.
    #[error("malformed")]
    Malformed {
        /// What the DER decoder met.
        source: der::Error,
    },
    /// A version other than 1.
    // TSA-07
    #[error("timestamp token info version must be 1")]
    Version,
    /// genTime in another form than RFC 3161 gives it.
    // TSA-07
    #[error("genTime is not a UTC time")]
    GenTime,
    /// A negative or absurd accuracy.
    // TSA-25
    #[error("the accuracy is out of bounds")]
    Accuracy,
    /// genTime and accuracy lead out of all time.
    #[error("the time range is out of bounds")]
    Range,
    /// A hash other than SHA-256, SHA-384 and SHA-512.
    // TSA-35
    #[error("unrecognized hash algorithm")]
    HashAlgorithm,
    /// The imprint is of another message.
    // TSA-30
    #[error("mismatched message")]
    Mismatch,
}

/// An answer of a TSA that carries no token for the request.
// TSA-07
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not even BER.
    #[error("invalid timestamping response")]
    Ber {
        /// Where it breaks off.
        #[from]
        source: BerError,
    },
    /// Not the structure of RFC 3161 §2.4.2.
    #[error("invalid timestamping response")]
    Malformed {
        /// What the DER decoder met.
        source: der::Error,
    },
    /// The TSA refused.
    #[error(
        "the timestamping authority refused the request: {}{}{}",
        status_name(status),
        failure_text(failures),
        text_of(texts)
    )]
    Refused {
        /// PKIStatus, or its bytes where it is no small number.
        status: Vec<u8>,
        /// The bits of PKIFailureInfo that are set.
        failures: Vec<u32>,
        /// What the TSA says about it.
        texts: Vec<String>,
    },
    /// Granted, but no token.
    #[error("invalid timestamping response: it carries no token")]
    NoToken,
    /// The token can't be relied on.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is over the right message, but under another hash than was asked for.
    #[error("invalid timestamping response: its hash algorithm is not the one of the request")]
    HashAlgorithm,
    /// The nonce is missing or another.
    // TSA-04, TSA-07
    #[error("invalid timestamping response: its nonce is not the one of the request")]
    Nonce,
}

impl From<InfoError> for ResponseError {
    fn from(source: InfoError) -> Self {
        Self::Token(TokenError::Info { source })
    }
}

/// A file that holds no root of a TSA.
// TSA-10, TSA-11
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// What the file holds is no certificate.
    #[error(transparent)]
    File(#[from] crate::x509::FileError),
    /// The file is empty.
    #[error(
        "cannot find any certificate from {}. {EXPECTING} from the file",
        Quoted(path)
    )]
    Empty {
        /// The file.
        path: String,
    },
    /// The file holds several certificates.
    #[error(
        "found more than one certificates from {}. {EXPECTING} from the file",
        Quoted(path)
    )]
    Several {
        /// The file.
        path: String,
    },
    /// The certificate is not signed with its own key.
    #[error("failed to check root certificate with error")]
    NotSelfSigned {
        /// Which condition of being issued by the next one does not hold.
        source: crate::x509::NotIssued,
    },
    /// Issuer and subject differ.
    #[error(
        "certificate from {} is not a root certificate. {EXPECTING} from the file",
        Quoted(path)
    )]
    NotSelfIssued {
        /// The file.
        path: String,
    },
}

const EXPECTING: &str = "Expecting single x509 root certificate in PEM or DER format";

/// A time that a certificate of the signing chain does not cover.
// TSA-31
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OutsideValidity {
    /// The range begins before the certificate is valid.
    #[error(
        "timestamp can be before certificate {} validity period, it will be valid from \"{}\"",
        subject.quoted(),
        rfc1123(*not_before)
    )]
    Before {
        /// Its subject.
        subject: Name,
        /// Begin of its validity.
        not_before: DateTime,
    },
    /// The range ends after the certificate has expired.
    #[error(
        "timestamp can be after certificate {} validity period, it was expired at \"{}\"",
        subject.quoted(),
        rfc1123(*not_after)
    )]
    After {
        /// Its subject.
        subject: Name,
        /// End of its validity.
        not_after: DateTime,
    },
}

/// The certificate that is missing.
fn lacking(wanted: Option<&Name>) -> String {
    match wanted {
        None => String::new(),
        Some(wanted) => format!(
            ": the certificate of {} is wanted, and none that fits is in the timestamp or among the trusted roots",
            wanted.quoted()
        ),
    }
}

/// PKIStatus (RFC 3161 §2.4.2).
fn status_name(status: &[u8]) -> &'static str {
    match status {
        [2] => "rejection",
        [3] => "waiting",
        [4] => "a revocation is imminent",
        [5] => "a revocation has occurred",
        _ => "unknown status",
    }
}

/// PKIFailureInfo (RFC 3161 §2.4.2).
fn failure_text(failures: &[u32]) -> String {
    let name = |bit: &u32| match bit {
        0 => "badAlg: unrecognized or unsupported algorithm",
        2 => "badRequest: transaction not permitted or supported",
        5 => "badDataFormat: the data submitted has the wrong format",
        14 => "timeNotAvailable: its time source is not available",
        15 => "unacceptedPolicy: the policy asked for is not supported",
        16 => "unacceptedExtension: the extension asked for is not supported",
        17 => "addInfoNotAvailable: the additional information is not available",
        25 => "systemFailure: the request cannot be handled now",
        _ => "unknown failure",
    };
    let names: Vec<_> = failures.iter().map(name).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(" ({})", names.join("; ")),
    }
}

fn text_of(texts: &[String]) -> String {
    let text: Vec<_> = texts.iter().map(|t| Quoted(t).to_string()).collect();
    match text.is_empty() {
        true => String::new(),
        false => format!(": {}", text.join(" ")),
    }
}
