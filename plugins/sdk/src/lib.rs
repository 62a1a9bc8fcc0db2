//! Write signing plugins for hardsign and `notation`.
//!
//! Under construction: `serve`, PIN sources.

pub mod algorithm;
pub mod error;
pub mod frame;
pub mod proto;

pub use error::Error;
