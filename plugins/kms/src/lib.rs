//! What plugins for key management services share.
//!
//! - [`Pace`]: one request at a time is repeated, with back-off and jitter, and never faster than
//!   the user's `rate`
//! - [`check_signature`], [`refuse_key`]: what a service may answer, and what it may not
//! - [`KeyUri`], [`merged`]: key ids as other tools write them, and settings that they say
//! - [`certificates`]: the file that the setting `cert-chain` names
//! - [`Skew`]: what an answer shows of this machine's clock
//! - [`end_commands`]: commands that give credentials don't outlive the wait for them
//!
//! Nothing in here knows a service, and nothing in here reads an environment variable but
//! [`environment`].

mod answer;
mod chain;
mod clock;
mod commands;
mod pace;
mod said;
mod settings;
mod uri;

pub use answer::{NotSigned, check_signature, key_spec, public_key_pem, refuse_key, summary};
pub use chain::certificates;
pub use clock::{Skew, untrusted};
pub use commands::end_commands;
pub use pace::{Failure, Pace};
pub use said::{brief, caused_by, innermost};
pub use settings::{
    check_endpoint, environment, file, is_loopback, names_beside, no_policies, none_beside, number,
    settings, warn_without_tls,
};
pub use uri::{KeyUri, merged};
