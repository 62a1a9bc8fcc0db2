//! Tests of plugins: the contract as a suite that runs against any executable, in any language,
//! and two plugins for the suite's and the host's own tests: one that misbehaves on demand, and one
//! whose key store is far away.
//!
//! [`kit`] is what `hardsign-plugin-test` runs; [`rude`] is what `notation-rude` does, [`toy`] what
//! `notation-toy` does. None knows anything of the host.
//!
//! # From a plugin's own tests
//!
//! ```no_run
//! use std::time::SystemTime;
//!
//! use hardsign_plugin_testkit::kit::{self, Subject};
//!
//! // In a test of the plugin's crate: env!("CARGO_BIN_EXE_notation-mine")
//! let executable = "/build/notation-mine";
//! let subject = Subject::new(executable, SystemTime::now())
//!     .with_key("/keys/release.key")
//!     .with_setting("cert-chain", "/keys/chain.pem");
//! let report = kit::run(&subject);
//! assert!(report.passed(), "{report}");
//! ```
//!
//! The report names each rule with the requirement that it comes from; where one is broken, it has
//! the exact request and answer.

pub mod kit;
pub mod rude;
pub mod toy;
