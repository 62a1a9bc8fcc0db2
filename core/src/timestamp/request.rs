//! TimeStampReq and TimeStampResp (RFC 3161 §2.4).
//!
//! ```text
//! TimeStampReq ::= SEQUENCE {
//!     version INTEGER (1), messageImprint MessageImprint, nonce INTEGER, certReq BOOLEAN TRUE }
//! TimeStampResp ::= SEQUENCE {
//!     status SEQUENCE { status INTEGER, statusString SEQUENCE OF UTF8String OPTIONAL,
//!                       failInfo BIT STRING OPTIONAL },
//!     timeStampToken ContentInfo OPTIONAL }
//! ```

use der::asn1::BitStringRef;
use der::{Decode, Reader, SliceReader, Tag};

use super::ber;
use super::cms::{of_tag, optional};
use super::error::ResponseError;
use super::token::{Token, Verified};
use crate::algorithm::HashAlgorithm;
use crate::crypto::{self, NoRandomness};
use crate::x509::Certificate;

/// Bytes of a nonce.
const NONCE_LEN: usize = 20;

/// Most texts of a refusal that are shown, and characters of each.
const MAX_TEXTS: usize = 4;
const MAX_TEXT: usize = 200;

/// A request for a timestamp over a message.
#[derive(Clone, Debug)]
pub struct Request {
    algorithm: HashAlgorithm,
    digest: Vec<u8>,
    nonce: [u8; NONCE_LEN],
}

/// A token that answers a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimestampAnswer {
    /// DER of the token, to be stored as it is. Where the authority sent DER, these are
    /// its very bytes; BER is converted.
    // TSA-12
    pub token: Vec<u8>,
    /// What was verified of it.
    pub verified: Verified,
}

impl Request {
    /// A request over `message`, under `algorithm`, with a new random nonce.
    ///
    /// # Errors
    /// [`NoRandomness`].
    // TSA-02, TSA-04, TSA-14
    pub fn new(algorithm: HashAlgorithm, message: &[u8]) -> Result<Self, NoRandomness> {
        let mut nonce = crypto::random::<NONCE_LEN>()?;
        // Positive, and of full length: 158 random bits.
        let [first, ..] = &mut nonce;
        *first = *first & 0x3f | 0x40;
        Ok(Self {
            algorithm,
            digest: crypto::hash(algorithm, message),
            nonce,
        })
    }

    /// The request as DER.
    // TSA-03
    pub fn to_der(&self) -> Vec<u8> {
        let element = |tag: Tag, content: &[u8]| {
            let mut der = Vec::new();
            ber::write(&[tag.octet()], content, &mut der);
            der
        };
        let imprint = [
            crypto::hash_identifier(self.algorithm),
            element(Tag::OctetString, &self.digest),
        ];
        let parts = [
            element(Tag::Integer, &[1]),
            element(Tag::Sequence, &imprint.concat()),
            element(Tag::Integer, &self.nonce),
            element(Tag::Boolean, &[0xff]),
        ];
        element(Tag::Sequence, &parts.concat())
    }

    /// Judges an answer: granted, with a token that verifies up to one of `roots`, over
    /// the message of this request, under its hash and with its nonce.
    ///
    /// # Errors
    /// [`ResponseError`].
    // TSA-07
    pub fn accept(
        &self,
        response: &[u8],
        message: &[u8],
        roots: &[Certificate],
    ) -> Result<TimestampAnswer, ResponseError> {
        let token = granted(response)?;
        let verified = Token::parse(&token)?.verify(message, roots)?;
        let info = verified.info();
        if info.hash_algorithm != Some(self.algorithm) || info.hashed_message != self.digest {
            return Err(ResponseError::HashAlgorithm);
        }
        if info.nonce.as_deref() != Some(&self.nonce) {
            return Err(ResponseError::Nonce);
        }
        Ok(TimestampAnswer { token, verified })
    }
}

/// The token of a response that grants one.
fn granted(response: &[u8]) -> Result<Vec<u8>, ResponseError> {
    let der = ber::to_der(response)?;
    let (status, token) = parse(&der).map_err(|source| ResponseError::Malformed { source })?;
    if !matches!(status.status, [GRANTED | GRANTED_WITH_MODS]) {
        return Err(ResponseError::Refused {
            status: status.status.to_vec(),
            failures: status.failures,
            texts: status.texts,
        });
    }
    match token {
        [] => Err(ResponseError::NoToken),
        token => Ok(token.to_vec()),
    }
}

struct Status<'a> {
    status: &'a [u8],
    texts: Vec<String>,
    failures: Vec<u32>,
}

/// Status, and the bytes of the token.
fn parse(der: &[u8]) -> der::Result<(Status<'_>, &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|reader| {
        let status = reader.sequence(|status| {
            let number = of_tag(status, Tag::Integer)?;
            let texts = optional(status, Tag::Sequence)?.unwrap_or_default();
            let failures = match status.peek_byte() {
                None => Vec::new(),
                Some(_) => failures(BitStringRef::decode(status)?),
            };
            Ok(Status {
                status: number,
                texts: self::texts(texts)?,
                failures,
            })
        })?;
        let token = if reader.is_finished() {
            &[][..]
        } else {
            reader.tlv_bytes()?
        };
        Ok((status, token))
    })?;
    reader.finish(parts)
}

fn texts(content: &[u8]) -> der::Result<Vec<String>> {
    let mut reader = SliceReader::new(content)?;
    let mut texts = Vec::new();
    while !reader.is_finished() {
        let text = String::from_utf8_lossy(of_tag(&mut reader, Tag::Utf8String)?);
        if texts.len() < MAX_TEXTS {
            texts.push(text.chars().take(MAX_TEXT).collect());
        }
    }
    Ok(texts)
}

/// The numbers of the bits that are set, of those that have a meaning.
fn failures(bits: BitStringRef<'_>) -> Vec<u32> {
    let numbered = (0..32).zip(bits.bits());
    numbered.filter(|(_, set)| *set).map(|(n, _)| n).collect()
}

const GRANTED: u8 = 0;
const GRANTED_WITH_MODS: u8 = 1;
