//! Write signing plugins for hardsign and `notation`.
//!
//! Under construction: protocol types, framing, `serve`, PIN sources.

pub mod algorithm;
