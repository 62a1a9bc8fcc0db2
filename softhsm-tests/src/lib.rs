//! What the end-to-end tests share: SoftHSM tokens, test keys, OCI layouts, a directory for each
//! test, the built executables, and the programs on the other side ([`peers`]).
//!
//! The tests drive executables only; nothing of `hardsign-core` is linked. They expect
//! `cargo build --workspace --bins` to have run in the same profile, as `scripts/test` does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test harness: it starts programs, and a failure of its own is a failed test"
)]

use std::path::PathBuf;
use std::process::{Command, Output};

#[cfg(target_os = "linux")]
pub mod admission;
pub mod authority;
pub mod between;
pub mod cloud;
pub mod desk;
pub mod fakes;
pub mod https;
pub mod jwt;
pub mod keys;
#[cfg(target_os = "linux")]
pub mod kubernetes;
pub mod layout;
#[cfg(target_os = "linux")]
pub mod manifests;
pub mod ministack;
#[cfg(target_os = "linux")]
pub mod node;
pub mod openbao;
pub mod package;
pub mod pages;
pub mod pair;
pub mod peers;
pub mod ports;
#[cfg(target_os = "linux")]
pub mod process;
pub mod reader;
pub mod scene;
pub mod token;
pub mod tree;
pub mod tsa;
pub mod workbench;
pub mod yubikey;

/// The directory of the executables under test: that of this profile's build.
pub fn binaries() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// Runs a program that must succeed.
///
/// # Panics
/// It fails; its output is in the message.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
