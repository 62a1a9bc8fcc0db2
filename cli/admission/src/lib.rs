//! The admission server: a Kubernetes cluster asks it of every pod, and images that the trust policy does not accept
//! are refused (`hardsign admission serve`).
//!
//! [`serve`] answers `AdmissionReview` v1 at `/validate` and `/mutate`, and Gatekeeper's external-data requests at
//! `/verify`, all over TLS. Whether a signature is good is decided in `hardsign-core` alone; here stands which images of an
//! object are looked at ([`images`]), by which snapshot of the policy ([`snapshot`]), how long a verdict is kept
//! ([`cache`]), and what the API server is told.
//!
//! What must hold: nothing that could not be judged is admitted under `enforce`; a verdict never outlives the policy
//! that it was made under; and an answer comes before the API server stops waiting.

#![cfg(target_os = "linux")]

mod bounded;
pub mod cache;
mod cluster;
mod deadline;
mod engine;
mod handler;
pub mod images;
mod metrics;
mod mutate;
mod provider;
mod recent;
mod review;
mod rooms;
mod seats;
mod server;
pub mod settings;
pub mod snapshot;
mod tls;
mod turns;

pub use cluster::ClusterOptions;
pub use engine::EngineOptions;
pub use server::{Log, Options, ServeError, serve};
