//! How this user's revocation checks are made.

use hardsign_core::dirs::Dirs;
use hardsign_core::revocation::{Online, OnlineOptions};

use super::Context;

/// A checker with this user's CRL cache (REV-47). It asks nobody before it has to.
pub(super) fn checker(dirs: &Dirs, context: &Context) -> Online {
    let mut options = OnlineOptions::default();
    options.cache = dirs.crl_cache();
    options.client.listener = context.listener();
    Online::new(options)
}
