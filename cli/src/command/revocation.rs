//! How this user's revocation checks are made, and what is told of them.

use std::sync::Arc;

use hardsign_core::dirs::Dirs;
use hardsign_core::event::Severity;
use hardsign_core::net::Trace;
use hardsign_core::revocation::{Event, Online, OnlineOptions};

use super::Context;
use crate::output::Console;

/// A checker with this user's CRL cache (REV-47). It asks nobody before it has to.
pub(super) fn checker(dirs: &Dirs, context: &Context) -> Online {
    let mut options = OnlineOptions::default();
    options.cache = dirs.crl_cache();
    if context.console.shows_debug() {
        let console = Arc::clone(&context.console);
        options.client.trace = Some(Trace::new(move |message| console.log("debug", message)));
    }
    Online::new(options)
}

/// The level of a record in the log.
pub(super) fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "debug",
        Severity::Info => "info",
        Severity::Warn => "warning",
        Severity::Error => "error",
    }
}

/// Tells what the user should know in any case (REV-50).
pub(super) fn warn(event: &Event<'_>, console: &Console) {
    if let Some(warning) = event.warning() {
        console.warning(warning);
    }
}

/// The log of checks outside a verification, and their warnings.
pub(super) fn tell(event: &Event<'_>, console: &Console) {
    console.log(level(event.severity()), event);
    warn(event, console);
}
