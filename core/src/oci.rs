//! Where artifacts and their signatures are: registries (OCI distribution specification) and OCI
//! layout directories (OCI image specification, "OCI Image Layout").
//!
//! Everything read is bounded and compared with the digest and size of its descriptor.
//! Nothing here decides whether a signature is good: a repository hands out
//! candidates in its own order, and one that cannot be read never hides the others.

// Requirements: OCI-13, OCI-14, VER-28.

#[cfg(feature = "repositories")]
pub mod attach;
#[cfg(feature = "registry")]
pub mod auth;
#[cfg(feature = "repositories")]
pub mod content;
#[cfg(feature = "repositories")]
pub mod copy;
#[cfg(feature = "runtime")]
mod error;
#[cfg(feature = "registry")]
pub mod hosts;
#[cfg(feature = "layout")]
pub mod layout;
pub mod manifest;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "repositories")]
mod repository;
#[cfg(feature = "runtime")]
mod source;
#[cfg(feature = "repositories")]
pub mod walk;

#[cfg(feature = "repositories")]
use content::{check_content, check_is_signature, envelope_of};
#[cfg(feature = "runtime")]
pub use error::OciError;
#[cfg(fuzzing)]
pub use registry::read_referrers;
#[cfg(feature = "repositories")]
pub use repository::{Announced, Many, Repository};
#[cfg(feature = "runtime")]
pub use source::{
    FetchedSignature, Listing, Pushed, Referrers, SignatureSource, SignatureStore, Warning,
};
