//! Tests of plugins: the contract as a suite that runs against any executable, in any language,
//! and a plugin that misbehaves on demand, for the suite's and the host's own tests.
//!
//! [`kit`] is what `hardsign-plugin-test` runs; [`rude`] is what `notation-rude` does. Neither knows
//! anything of the host.

pub mod kit;
pub mod rude;
