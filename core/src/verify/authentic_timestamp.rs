//! Whether the chain was valid when the signature was made (VER-16, TSA-26 to TSA-36).

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::artifact::Quoted;
use crate::envelope::{Signature, SigningScheme};
use crate::event::Event;
use crate::policy::{Rules, VerifyTimestamp};
use crate::timestamp::{self, AuthorityRevocation, OutsideValidity, Token, TokenError};
use crate::trust::{LoadedStores, StoreType, TrustError};
use crate::x509::{Certificate, rfc1123, utc};

/// A chain that is not known to have been valid when it signed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampFailure {
    /// No timestamp is looked at, and a certificate is not valid yet.
    // TSA-28
    #[error(
        "verification time is before certificate {} validity period, it will be valid from \"{}\"",
        Quoted(subject),
        rfc1123(*not_before)
    )]
    NotYetValid {
        /// Its subject.
        subject: String,
        /// Begin of its validity.
        not_before: DateTime,
    },
    /// No timestamp is looked at, and a certificate has expired.
    // TSA-28
    #[error(
        "verification time is after certificate {} validity period, it was expired at \"{}\"",
        Quoted(subject),
        rfc1123(*not_after)
    )]
    Expired {
        /// Its subject.
        subject: String,
        /// End of its validity.
        not_after: DateTime,
    },
    /// A timestamp is needed and there is none.
    // TSA-30
    #[error("no timestamp countersignature was found in the signature envelope")]
    NoToken,
    /// A `tsa` store can't be used.
    #[error("failed to load tsa trust store")]
    Store(#[source] Arc<TrustError>),
    /// A timestamp is needed and the one there can't be relied on.
    #[error("failed to verify the timestamp countersignature")]
    Token(#[from] TokenError),
    /// The timestamp does not show that the chain was valid.
    // TSA-31
    #[error(transparent)]
    Outside(#[from] OutsideValidity),
    /// The chain of the timestamping authority is not known to be good.
    // TSA-32
    #[error(transparent)]
    Revocation(#[from] AuthorityRevocation),
    /// A certificate was not valid at the time that the signing authority vouches for.
    // TSA-36
    #[error(
        "certificate {} was not valid when the digital signature was produced at \"{}\"",
        Quoted(subject),
        rfc1123(utc(*signing_time))
    )]
    NotValidWhenSigned {
        /// Its subject.
        subject: String,
        /// The authentic signing time.
        signing_time: Timestamp,
    },
}

/// Whether the timestamp countersignature is looked at under `notary.x509`.
// TSA-26, TSA-29
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Need {
    /// The statement names no `tsa` store.
    NoStore,
    /// The statement asks for it after expiry only, and no certificate has expired.
    Unexpired,
    /// It is needed.
    Token,
}

impl Need {
    /// What is told of it (TSA-29).
    pub(super) fn event(self) -> Event<'static> {
        match self {
            Self::NoStore => Event::TimestampNotNeeded {
                reason: "no tsa trust store is configured in trust policy",
            },
            Self::Unexpired => Event::TimestampNotNeeded {
                reason: "verifyTimestamp is set to \"afterCertExpiry\" and signing cert chain unexpired",
            },
            Self::Token => Event::TimestampNeeded,
        }
    }
}

/// Decides whether the timestamp countersignature is looked at.
pub(super) fn need(chain: &[Certificate], rules: &Rules, now: Timestamp) -> Need {
    if rules.stores_of(StoreType::Tsa).next().is_none() {
        return Need::NoStore;
    }
    let expired = chain.iter().any(|c| now > c.not_after());
    match rules.verify_timestamp() {
        VerifyTimestamp::AfterCertExpiry if !expired => Need::Unexpired,
        VerifyTimestamp::AfterCertExpiry | VerifyTimestamp::Always => Need::Token,
    }
}

/// The check as far as it needs no network. Where no timestamp is looked at, every certificate
/// must be valid now, at one instant for all of them; a token that is there all the same is ignored
/// (TSA-34). What is returned is a timestamp whose authority may still be revoked (TSA-32).
pub(super) fn authentic_timestamp(
    signature: &Signature,
    rules: &Rules,
    stores: &LoadedStores,
    now: Timestamp,
) -> Result<Option<timestamp::Verified>, TimestampFailure> {
    let chain = signature.chain().certificates();
    let attributes = signature.attributes();
    if attributes.signing_scheme == SigningScheme::SigningAuthority {
        return valid_when_signed(chain, attributes.signing_time).map(|()| None);
    }
    match need(chain, rules, now) {
        Need::NoStore | Need::Unexpired => valid_now(chain, now).map(|()| None),
        Need::Token => timestamped(signature, rules, stores).map(Some),
    }
}

/// TSA-30, TSA-31, TSA-33: a token over this very signature, by an authority of the statement's
/// `tsa` stores, from a time at which the whole chain was valid.
fn timestamped(
    signature: &Signature,
    rules: &Rules,
    stores: &LoadedStores,
) -> Result<timestamp::Verified, TimestampFailure> {
    let token = signature.unsigned().timestamp_token.as_deref();
    let token = Token::parse(token.ok_or(TimestampFailure::NoToken)?)?;
    let mut roots = Vec::new();
    for store in rules.stores_of(StoreType::Tsa) {
        let store = stores.get(store).map_err(TimestampFailure::Store)?;
        roots.extend_from_slice(store.certificates());
    }
    let verified = token.verify(signature.signature_bytes(), &roots)?;
    verified
        .range()
        .check_inside(signature.chain().certificates())?;
    Ok(verified)
}

fn valid_now(chain: &[Certificate], now: Timestamp) -> Result<(), TimestampFailure> {
    for certificate in chain {
        let subject = || certificate.subject().to_string();
        if now < certificate.not_before() {
            return Err(TimestampFailure::NotYetValid {
                subject: subject(),
                not_before: certificate.not_before_utc(),
            });
        }
        if now > certificate.not_after() {
            return Err(TimestampFailure::Expired {
                subject: subject(),
                not_after: certificate.not_after_utc(),
            });
        }
    }
    Ok(())
}

fn valid_when_signed(
    chain: &[Certificate],
    signing_time: Timestamp,
) -> Result<(), TimestampFailure> {
    match chain.iter().find(|c| !c.is_valid_at(signing_time)) {
        None => Ok(()),
        Some(certificate) => Err(TimestampFailure::NotValidWhenSigned {
            subject: certificate.subject().to_string(),
            signing_time,
        }),
    }
}
