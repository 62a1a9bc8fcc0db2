//! The plugin against SoftHSM, as its host runs it.
#![allow(
    clippy::unwrap_used,
    reason = "a test that can't go on should stop where it is"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start the plugin, SoftHSM's tools and openssl"
)]

mod choice;
mod faults;
mod habits;
mod login;
mod plugin;
mod signing;
