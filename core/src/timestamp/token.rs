//! TimeStampToken (RFC 3161 §2.4.2): parsed, and judged as a whole.

use der::Tag;
use jiff::Timestamp;

use super::ber;
use super::cms::SignedData;
use super::error::{OutsideValidity, TokenError};
use super::info::{Info, Range};
use super::path;
use crate::x509::{Certificate, Chain, Timestamping};

/// A token as it was received. Nothing in it is to be believed.
#[derive(Clone, Debug)]
pub struct Token {
    signed: SignedData,
    info: Info,
}

/// A token whose signature verifies, over the message it was asked about, by a timestamping
/// authority whose chain ends in a trusted root. Only [`Token::verify`] makes one.
///
/// It says that the message existed at the end of the range, and nothing about when the message
/// was made. Revocation of the authority's chain is a question of its own.
// TSA-37, TSA-32
#[derive(Clone, Debug)]
pub struct Verified {
    chain: Chain<Timestamping>,
    info: Info,
    range: Range,
}

impl Token {
    /// Reads a token: DER of a CMS ContentInfo, or BER.
    ///
    /// # Errors
    /// [`TokenError`].
    // TSA-16, TSA-17, TSA-21
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        let der = ber::to_der(bytes)?;
        let signed = SignedData::from_der(&der)?;
        let info = Info::from_der(&signed.content)?;
        Ok(Self { signed, info })
    }

    /// Judges the token over `message`, the bytes of the primitive signature: the CMS
    /// signature, the chain up to one of `roots` at the time of the token, the imprint, the range.
    /// Before the signature is verified, nothing of the content
    /// is used.
    ///
    /// # Errors
    /// [`TokenError`].
    // TSA-02, TSA-18 to TSA-25, TSA-30, TSA-33, TSA-22
    pub fn verify(&self, message: &[u8], roots: &[Certificate]) -> Result<Verified, TokenError> {
        let signer = self.signed.verify_signature()?;
        let carried = &self.signed.certificates;
        let chain = path::find(signer, carried, roots, self.info.gen_time())?;
        self.check_signing_time(&chain)?;
        self.info.check_imprint(message)?;
        Ok(Verified {
            chain,
            range: self.info.range()?,
            info: self.info.clone(),
        })
    }

    /// The range that the token claims for `message`, for showing it: nobody vouches for it.
    ///
    /// # Errors
    /// [`TokenError::Info`] where the token is about another message or its times are no times.
    pub fn danger_range(&self, message: &[u8]) -> Result<Range, TokenError> {
        self.info.check_imprint(message)?;
        Ok(self.info.range()?)
    }

    /// Checks what can be checked of a token without knowing whom to trust: signature, imprint, and
    /// the rules for the certificate of a timestamping authority.
    ///
    /// # Errors
    /// [`TokenError`].
    // PLG-37, DIF-10
    pub fn check_intact(&self, message: &[u8]) -> Result<Range, TokenError> {
        let signer = self.signed.verify_signature()?;
        Chain::<Timestamping>::check_leaf(signer).map_err(|source| TokenError::Chain { source })?;
        self.danger_range(message)
    }

    /// The certificates that the token carries, in its order: nobody vouches for them.
    // TSA-38
    pub fn danger_certificates(&self) -> &[Certificate] {
        &self.signed.certificates
    }

    /// TSA-20.
    fn check_signing_time(&self, chain: &Chain<Timestamping>) -> Result<(), TokenError> {
        let Some((tag, text)) = self.signed.signing_time()? else {
            return Ok(());
        };
        let time = signing_time(tag, text).ok_or(TokenError::SigningTime)?;
        chain
            .check_validity_at(time)
            .map_err(|_| TokenError::SigningTime)
    }
}

impl Verified {
    /// The authority's chain, which keeps every rule of the timestamping profile.
    pub fn chain(&self) -> &Chain<Timestamping> {
        &self.chain
    }

    /// The range of time in which the token was made.
    pub fn range(&self) -> Range {
        self.range
    }

    pub(super) fn info(&self) -> &Info {
        &self.info
    }
}

impl Range {
    /// Whether the whole range lies inside the validity of every certificate, bounds included.
    ///
    /// # Errors
    /// The first certificate that does not cover it.
    // TSA-31
    pub fn check_inside(self, certificates: &[Certificate]) -> Result<(), OutsideValidity> {
        for certificate in certificates {
            let subject = || certificate.subject().clone();
            if self.earliest < certificate.not_before() {
                return Err(OutsideValidity::Before {
                    subject: subject(),
                    not_before: certificate.not_before_utc(),
                });
            }
            if self.latest > certificate.not_after() {
                return Err(OutsideValidity::After {
                    subject: subject(),
                    not_after: certificate.not_after_utc(),
                });
            }
        }
        Ok(())
    }
}

/// `Time ::= CHOICE { UTCTime, GeneralizedTime }`, the former of years from 1950 to 2049.
fn signing_time(tag: Tag, text: &[u8]) -> Option<Timestamp> {
    match (tag, text) {
        (Tag::GeneralizedTime, text) => super::info::gen_time(text),
        (Tag::UtcTime, [decade, ..]) => {
            let century: &[u8] = if *decade < b'5' { b"20" } else { b"19" };
            super::info::gen_time(&[century, text].concat())
        }
        _ => None,
    }
}
