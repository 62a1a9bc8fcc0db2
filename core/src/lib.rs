//! Notary Project signatures with keys that stay in hardware or in a cloud KMS.

pub mod artifact;
pub mod batch;
pub mod blob;
pub mod config;
pub mod crypto;
pub mod dirs;
pub mod envelope;
pub mod io_text;
pub mod json;
pub mod net;
pub mod oci;
pub mod plugin;
pub mod policy;
pub mod revocation;
pub mod sign;
pub mod timestamp;
pub mod trust;
pub mod verify;
pub mod x509;

pub use hardsign_plugin::algorithm;
