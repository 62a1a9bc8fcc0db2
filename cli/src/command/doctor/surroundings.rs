//! What stands around the configuration: plugin and cache directories, policy files that are not
//! read, and what `notation` means here.

use std::fs;
use std::path::{Path, PathBuf};

use hardsign_core::dirs::{Dirs, search_path};

use super::Findings;
use crate::command::Context;

pub(super) fn look(dirs: &Dirs, context: &Context, findings: &mut Findings) {
    let subject = format!("plugin directory {}", dirs.plugins().display());
    if dirs.libexec != dirs.config && !dirs.libexec.is_dir() {
        findings.warn(
            subject,
            "does not exist, so only plugins that come with hardsign are found",
            "set NOTATION_LIBEXEC to the directory that contains `plugins`",
        );
    } else {
        findings.ok(
            subject,
            match dirs.plugins().is_dir() {
                true => "exists",
                false => "does not exist yet; `plugin install` creates it",
            },
        );
    }
    cache(dirs, findings);
    old_policy(dirs, context, findings);
    notation(findings);
}

/// `trustpolicy.json` beside `trustpolicy.oci.json`: for notation 1.x, which reads no other.
fn old_policy(dirs: &Dirs, context: &Context, findings: &mut Findings) {
    let (old, new) = (dirs.old_policy(), dirs.oci_policy());
    let (Ok(of_old), Ok(of_new)) = (fs::read(&old), fs::read(&new)) else {
        return;
    };
    let subject = "OCI trust policy";
    if of_old == of_new {
        let message = format!("{} is a copy of it, for notation 1.x", old.display());
        return findings.ok(subject, message);
    }
    findings.warn(
        subject,
        format!(
            "{} differs from it: {} does not read that file, and notation 1.x reads no other",
            old.display(),
            context.program
        ),
        &format!(
            "check with `{} policy show` which one is right; where notation 1.x is in use, copy {} over the other, and otherwise delete it",
            context.program,
            new.display()
        ),
    );
}

fn cache(dirs: &Dirs, findings: &mut Findings) {
    let Some(cache) = &dirs.cache else {
        return findings.warn(
            "cache directory",
            "there is none, so revocation lists are fetched each time",
            "set NOTATION_CACHE, or HOME",
        );
    };
    // What does not exist yet is made below the first directory that does.
    let existing = cache.ancestors().find(|directory| directory.exists());
    let subject = format!("cache directory {}", cache.display());
    if existing.is_some_and(|directory| !directory.is_dir() || !may_write(directory)) {
        findings.warn(
            subject,
            "can't be written to, so revocation lists are fetched each time",
            "make it a directory you can write to, or set NOTATION_CACHE to one",
        );
    } else {
        findings.ok(
            subject,
            match cache.is_dir() {
                true => "exists",
                false => "does not exist yet; it is created when needed",
            },
        );
    }
}

#[cfg(unix)]
fn may_write(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(not(unix))]
fn may_write(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| !found.permissions().readonly())
}

/// Scripts call `notation`: which program is that?
fn notation(findings: &mut Findings) {
    let name = format!("notation{}", std::env::consts::EXE_SUFFIX);
    let Some(found) = in_path(&name) else {
        return;
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    let ours = std::env::current_exe().ok().and_then(|path| real(&path));
    let message = if real(&found) == ours {
        format!("{} is hardsign", found.display())
    } else {
        format!(
            "{} is another program, which uses the same configuration",
            found.display()
        )
    };
    findings.ok("command notation", message);
}

/// The first program of this name in `PATH`.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let places = search_path().into_iter().map(|dir| dir.join(program));
    places.into_iter().find(|path| path.is_file())
}
