//! Verification: whether an artifact or a file satisfies its policy.
//!
//! Implements "Signature Verification" of the Notary Project trust store and trust policy
//! specification. Each check is one pure function in a file of its own; each
//! fills one field of a [`Report`]; one place enforces what the level says ([`Report`]).
//! [`judge()`] is all of them for one signature, by what is at hand. [`Verifier`] drives a repository or a
//! file through the same, asks what has to be asked, and decides when enough signatures are good.
//! Time is an argument; what happens is told to an [`Observer`](crate::event::Observer).
//!
//! What must hold for safety: a [`VerifiedSignature`] exists only after every check was reached and
//! allowed, a [`Verified`] only after the policy's demands on the whole artifact were met. Nothing
//! else says yes.

// Requirements: VER-01 to VER-43, DIF-45, VER-06.

#[cfg(feature = "runtime")]
mod attached;
mod authentic_timestamp;
mod authenticity;
mod compared;
mod content;
mod expiry;
mod explain;
mod extension;
mod hardware;
mod integrity;
mod judge;
mod options;
#[cfg(feature = "runtime")]
mod outcome;
mod report;
#[cfg(feature = "runtime")]
mod verifier;
#[cfg(feature = "runtime")]
mod window;

#[cfg(feature = "files")]
pub use crate::policy::check_together;
pub use crate::policy::{Policy, PolicyFile, PolicyLoadError};
pub use authentic_timestamp::{Need, TimestampFailure};
pub use authenticity::AuthenticityError;
pub use compared::{Compared, Difference, Holder};
pub use content::{ContentError, MetadataError, Target};
pub use expiry::ExpiryError;
pub use explain::{Because, ExplainedStore, Explanation};
pub use extension::{
    Described, Extension, ExtensionAnswer, ExtensionError, ExtensionFailure, ExtensionRequest,
    NoPlugins, PluginCheck,
};
pub use hardware::{HardwareError, hardware};
pub use integrity::IntegrityError;
pub use judge::{Answers, Grounds, MoreThanOneSignature, VerifiedSignature, judge};
pub use options::Options;
#[cfg(feature = "runtime")]
pub use outcome::{
    Accepted, Attached, AttachedFault, Attempt, AttemptFailure, Attempts, Outcome, PassedOver,
    SignatureName, Skipped, Verified, VerifyError,
};
pub use report::{Finding, Logged, Rejected, Report, RevocationFailure, Step};
#[cfg(feature = "runtime")]
pub use verifier::{Blob, BlobSignature, Verifier};
