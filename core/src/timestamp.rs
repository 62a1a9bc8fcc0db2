//! RFC 3161 timestamp countersignatures: asked for, parsed, judged.
//!
//! Implements RFC 3161 with RFC 5816 (ESS signing-certificate-v2) over the CMS of RFC 5652, as
//! "Timestamp" of the Notary Project signature specification and "Timestamp Countersignature
//! Verification" of the trust policy specification narrow them. A token is over the bytes of the
//! primitive signature.
//!
//! [`Token::verify`] is the judgement: pure, over bytes, with the trusted roots as an argument. It
//! does not look at revocation, which is asked separately and always enforced.
//! [`Request`] is a request with its nonce, and judges the answer; [`Client`] carries both.
//! Everything is bounded: bytes, nesting, certificates, attributes, signature checks.

// Requirements: TSA-02, TSA-08, TSA-32.

mod ber;
#[cfg(feature = "timestamp-client")]
mod client;
mod cms;
mod error;
mod info;
mod path;
mod request;
mod revocation;
mod root;
mod token;

use der::{Tag, TagNumber};

pub use ber::BerError;
#[cfg(feature = "timestamp-client")]
pub use client::{Client, ClientError};
pub use error::{InfoError, OutsideValidity, ResponseError, RootError, TokenError};
pub use info::{Info, Range};
pub use request::{Request, TimestampAnswer};
pub use revocation::{AuthorityRevocation, check_revocation, conclude};
pub use root::root_from_file;
pub use token::{Token, Verified};

const fn context(number: u8, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: TagNumber::new(number),
    }
}
