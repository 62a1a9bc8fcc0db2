//! Keys, certificates and servers for hardsign's own tests.

pub mod registry;
