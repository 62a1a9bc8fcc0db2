//! Registries: round trips, authentication, the tag schema, and what a hostile one can do.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

#[path = "registries/auth.rs"]
mod auth;
#[path = "registries/children.rs"]
mod children;
#[path = "registries/copying.rs"]
mod copying;
#[path = "registries/fallback.rs"]
mod fallback;
#[path = "registries/hostile.rs"]
mod hostile;
#[path = "registries/lists.rs"]
mod lists;
#[path = "registries/occupied.rs"]
mod occupied;
#[path = "registries/ordinary.rs"]
mod ordinary;
#[path = "registries/support.rs"]
mod support;
