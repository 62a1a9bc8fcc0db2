//! A software YubiKey (PIV application) for tests: APDU in, APDU out.
//!
//! [`VirtualYubiKey`] is the card. [`Readers`] puts cards into readers behind pcsc-lite's socket
//! protocol, without a daemon and without root: a program that is started with
//! `PCSCLITE_CSOCK_NAME` pointing to the socket finds them. Cards can be looked at, changed, pulled
//! out and put in while programs use them. [`vpcd`] connects a card to the real `pcscd`.
//!
//! The executable `vyk` does the same for people; see its `main`.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test harness: a failure of its own is a failed test"
)]

pub mod card;
pub mod der;
pub mod keys;
#[cfg(unix)]
pub mod readers;
#[cfg(target_os = "linux")]
pub mod vpcd;

pub use card::{Config, Counters, Touch, VirtualYubiKey};
#[cfg(unix)]
pub use readers::Readers;
