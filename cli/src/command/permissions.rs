//! Warnings of files that somebody else can change, where they decide what is trusted or what runs
//! (SEC-10). `doctor` looks at all of them; here stands what a run depends on.

use std::collections::BTreeSet;
use std::path::Path;

use hardsign_core::config::permissions::{Exposed, exposed, exposed_below};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::Finder;
use hardsign_plugin::text::plural;

use super::Context;

/// Before a verification: the files of its policy, and the trust stores.
pub(super) fn of_trust<'a>(files: impl Iterator<Item = &'a Path>, dirs: &Dirs, context: &Context) {
    let mut found: Vec<_> = exposed(&dirs.config).into_iter().collect();
    found.extend(files.filter_map(exposed));
    // Down to the certificates in each store: truststore, x509, type, name.
    found.extend(exposed_below(&dirs.config.join("truststore"), 3));
    warn(
        found,
        "whoever can change it decides what is trusted",
        context,
    );
}

/// Before plugins run: those that are installed, those of the box, and the directories they are in.
pub(super) fn of_plugins(finder: &Finder, dirs: &Dirs, context: &Context) {
    let mut found: Vec<_> = exposed(&dirs.libexec).into_iter().collect();
    found.extend(exposed_below(&dirs.plugins(), 1));
    found.extend(exposed(&dirs.plugin_pins()));
    for file in finder.list_box() {
        found.extend(file.path.parent().and_then(exposed));
        found.extend(exposed(&file.path));
    }
    warn(found, "whoever can change it decides what runs", context);
}

fn warn(found: Vec<Exposed>, why: &str, context: &Context) {
    let mut seen = BTreeSet::new();
    let found: Vec<_> = found
        .into_iter()
        .filter(|exposed| seen.insert(exposed.path.clone()))
        .collect();
    for exposed in found.iter().take(SHOWN) {
        let fix = exposed.fix();
        context
            .console
            .warning(format_args!("{exposed}, and {why}; fix it with `{fix}`"));
    }
    if let Some(more @ 1..) = found.len().checked_sub(SHOWN) {
        context.console.warning(format_args!(
            "{} can be changed by others: `{} doctor` lists them",
            plural(more, "more file"),
            context.program
        ));
    }
}

/// Warnings of one kind that a run prints.
const SHOWN: usize = 5;
