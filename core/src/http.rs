//! The HTTP client that registries, revocation, timestamps and downloads of plugins share, as far as a caller needs it: to
//! configure it ([`ClientOptions`]), to give it addresses ([`Url`]), and to tell its errors apart ([`NetError`]).
//!
//! It needs a Tokio runtime. Every exchange has limits of its own ([`Limits`]) and goes on the account of the
//! [`Budget`](crate::budget::Budget) that it belongs to; private addresses are not reached by way of others' redirects.

pub use crate::net::{
    Client, ClientOptions, HeaderMap, HeaderName, HeaderValue, HttpAnswer, Limits, Method,
    NetError, Request, StatusCode, Streaming, TlsIdentity, Url, Via,
};
pub use bytes::Bytes;
pub use zeroize::Zeroizing;
