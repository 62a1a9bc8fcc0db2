//! Under construction.

pub mod peers;
