//! The plugin host of hardsign against a plugin that misbehaves: every fault is bounded and told.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a failure to set up is a failed test"
)]

mod batches;
mod faults;
mod latch;
mod stage;
mod store;
