//! `hardsign policy` and `hardsign blob policy`: trust policies as files (CLI-84 to CLI-90,
//! CLI-99 to CLI-101).

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hardsign_core::artifact::Kind;
use hardsign_core::config::{PolicyFileError, read_named, read_policy, write_atomic};
use hardsign_core::dirs::Dirs;
use hardsign_core::policy::{PolicyError, Warning, blob, oci};
use hardsign_core::text::WithCauses;
use hardsign_core::verify::PolicyLoadError;
use serde_json::json;

use super::Context;
use crate::args::policy::ImportArgs;
use crate::failure::Failure;

/// What differs between the policy for artifacts and the one for files.
pub(super) struct Subject {
    kind: Kind,
    /// `OCI` or `blob`.
    noun: &'static str,
    /// The commands are `<program> <command> import` and `show`.
    command: &'static str,
    /// What `import` calls the file that it reads.
    read: &'static str,
    /// What `show` says when there is none.
    absent: &'static str,
    /// What `show` says when it can't be read.
    unreadable: &'static str,
    /// The section of the specification with an example.
    example: &'static str,
    path: fn(&Dirs) -> PathBuf,
    parse: fn(&[u8]) -> Result<Vec<Warning>, PolicyError>,
}

pub(super) const OCI: Subject = Subject {
    kind: Kind::Oci,
    noun: "OCI",
    command: "policy",
    read: "configuration",
    absent: "failed to show OCI trust policy as it does not exist.",
    unreadable: "failed to show OCI trust policy",
    example: "#trust-policy-for-oci-artifacts for a trust policy example.",
    path: Dirs::oci_policy,
    parse: |bytes| oci::Document::parse(bytes).map(|document| document.warnings().to_vec()),
};

pub(super) const BLOB: Subject = Subject {
    kind: Kind::Blob,
    noun: "blob",
    command: "blob policy",
    read: "file",
    absent: "failed to show blob trust policy as the configuration does not exist.",
    unreadable: "failed to show trust policy",
    example: "#trust-policy-for-blobs for a blob trust policy example.",
    path: Dirs::blob_policy,
    parse: |bytes| blob::Document::parse(bytes).map(|document| document.warnings().to_vec()),
};

pub(super) fn import(
    subject: &Subject,
    args: ImportArgs,
    context: &Context,
) -> Result<(), Failure> {
    let Subject { noun, read, .. } = subject;
    let bytes =
        read_named(Path::new(&args.path), Kind::MAX_POLICY_LEN as u64).map_err(|error| {
            Failure::failed(format!(
                "failed to read {noun} trust policy {read}: {}",
                WithCauses(&error)
            ))
        })?;
    let warnings = check(subject, &bytes).map_err(|error| {
        // What the parser says tells more than that the policy is malformed.
        let (doing, what) = match error.source() {
            Some(fault) if error.is_malformed() => ("parse", WithCauses(fault).to_string()),
            _ => ("validate", WithCauses(&error).to_string()),
        };
        Failure::failed(format!(
            "failed to {doing} {noun} trust policy configuration: {what}"
        ))
    })?;
    for warning in warnings {
        context.console.warning(warning);
    }
    let dirs = context.dirs()?;
    if !may_replace(subject, args.force, &dirs, context)? {
        return Ok(());
    }
    let path = write(subject, &bytes, &dirs)?;
    if subject.kind == Kind::Oci {
        delete_old(&dirs, context)?;
    }
    context.console.line(format_args!(
        "Successfully imported {noun} trust policy configuration to {}.",
        path.display()
    ))?;
    Ok(context.console.document(&json!({ "path": path }))?)
}

pub(super) fn show(subject: &Subject, context: &Context) -> Result<(), Failure> {
    let command = format!(
        "{} {} import <path-to-policy.json>",
        context.program, subject.command
    );
    let dirs = context.dirs()?;
    let file = read_policy(&dirs, subject.kind).map_err(|error| match error {
        PolicyFileError::NotPresent => Failure::failed(format!(
            "{}\nYou can import one using `{command}`",
            subject.absent
        )),
        other => refused(other.into()).about(subject.unreadable),
    })?;
    if file.path == dirs.old_policy() {
        context.console.warning(format_args!(
            "old trust policy `trustpolicy.json` is deprecated; please update the trust policy configuration via `{} policy import`.",
            context.program
        ));
    }
    let parsed = check(subject, &file.bytes);
    if parsed.is_err() {
        context.console.plain(format_args!(
            "Existing {} trust policy configuration is invalid, you may update or create a new one via `{command}`. See {SPECIFICATION}{}",
            subject.noun, subject.example
        ));
    }
    context.console.bytes(&file.bytes)?;
    parsed.map(drop).map_err(|error| refused(error.into()))
}

/// A policy that can't be used. Where the text ends with what to do, the hint is what was found wrong.
pub(super) fn refused(error: PolicyLoadError) -> Failure {
    let cause = match &error {
        PolicyLoadError::Policy(policy) if policy.is_malformed() => policy.source(),
        PolicyLoadError::File(PolicyFileError::Permission { source, .. }) => Some(source as _),
        _ => None,
    };
    match cause {
        Some(cause) => Failure::failed(error.to_string()).hint(WithCauses(cause).to_string()),
        None => Failure::error(error),
    }
}

/// Reads a policy as verification would.
pub(super) fn check(subject: &Subject, bytes: &[u8]) -> Result<Vec<Warning>, PolicyError> {
    (subject.parse)(bytes)
}

/// Asks before an existing policy is replaced. One that is no JSON is replaced without a question
/// (CLI-87); `--force` warns instead (CLI-86).
pub(super) fn may_replace(
    subject: &Subject,
    force: bool,
    dirs: &Dirs,
    context: &Context,
) -> Result<bool, Failure> {
    let noun = subject.noun;
    let exists = read_policy(dirs, subject.kind)
        .is_ok_and(|file| serde_json::from_slice::<serde_json::Value>(&file.bytes).is_ok());
    if exists && force {
        context.console.warning(format_args!(
            "existing {noun} trust policy configuration will be overwritten"
        ));
    }
    context.confirm(
        &format!(
            "The {noun} trust policy configuration already exists, do you want to overwrite it?"
        ),
        force || !exists,
    )
}

/// Writes the policy, and keeps what it replaces beside it, as `<name>.bak` (CLI-87).
pub(super) fn write(subject: &Subject, bytes: &[u8], dirs: &Dirs) -> Result<PathBuf, Failure> {
    let path = (subject.path)(dirs);
    back_up(&path)
        .map_err(|error| WithCauses(&error).to_string())
        .and_then(|()| {
            let written = write_atomic(&path, bytes, 0o600);
            written.map_err(|error| WithCauses(&error).to_string())
        })
        .map_err(|error| {
            Failure::failed(format!(
                "failed to write {} trust policy configuration: {error}",
                subject.noun
            ))
        })?;
    Ok(path)
}

fn back_up(path: &Path) -> io::Result<()> {
    let mut backup = path.as_os_str().to_owned();
    backup.push(".bak");
    match fs::copy(path, &backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// `trustpolicy.json` goes when `trustpolicy.oci.json` comes (CLI-84).
fn delete_old(dirs: &Dirs, context: &Context) -> Result<(), Failure> {
    match fs::remove_file(dirs.old_policy()) {
        Ok(()) => {
            context
                .console
                .line("Deleted old trust policy configuration trustpolicy.json.")?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => context.console.warning(format_args!(
            "failed to delete old trust policy configuration trustpolicy.json: {error}"
        )),
    }
    Ok(())
}

const SPECIFICATION: &str = "https://github.com/notaryproject/specifications/blob/8cf800c60b7315a43f0adbcae463d848a353b412/specs/trust-store-trust-policy.md";
