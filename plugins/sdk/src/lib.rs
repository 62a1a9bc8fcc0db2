//! Write signing plugins for hardsign and `notation`.
//!
//! Under construction: the complete example.

pub mod algorithm;
#[cfg(feature = "chain")]
pub mod chain;
mod context;
pub mod error;
pub mod frame;
mod os;
mod plugin;
pub mod proto;
pub mod secret;
mod serve;

pub use context::Context;
pub use error::Error;
pub use plugin::{Key, KeyRequest, Once, Plugin, Purpose};
pub use serve::{serve, serve_on};
