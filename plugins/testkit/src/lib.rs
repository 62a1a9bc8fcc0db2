//! Tests of plugins: a plugin that misbehaves on demand, for the host's own tests.
//!
//! Neither is installed; both know the plugin contract and nothing of the host.

pub mod rude;
