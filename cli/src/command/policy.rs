//! `hardsign policy` and `hardsign blob policy`: trust policies as files (CLI-84 to CLI-90,
//! CLI-99 to CLI-101), and `policy.hardsign.json` beside them.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hardsign_core::artifact::Kind;
use hardsign_core::config::{PolicyFileError, read_named, read_policy, read_regular, write_atomic};
use hardsign_core::dirs::Dirs;
use hardsign_core::policy::edit::{self, Applies, EditError};
use hardsign_core::policy::position;
use hardsign_core::policy::{PolicyError, Warning, blob, hardsign, oci};
use hardsign_core::text::WithCauses;
use hardsign_core::verify::{PolicyLoadError, check_together};
use serde_json::json;

use super::{Context, Unanswered};
use crate::args::policy::{ImportArgs, InitArgs, Schema};
use crate::failure::Failure;

pub(super) mod signer;
pub(super) mod trial;

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
    parse: fn(&[u8]) -> Result<Vec<Warning>, PolicyError>,
}

impl Subject {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }
}

pub(super) const OCI: Subject = Subject {
    kind: Kind::Oci,
    noun: "OCI",
    command: "policy",
    read: "configuration",
    absent: "failed to show OCI trust policy as it does not exist.",
    unreadable: "failed to show OCI trust policy",
    example: "#trust-policy-for-oci-artifacts for a trust policy example.",
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
    if is_rules(&bytes) {
        return import_rules(subject, &args, &bytes, context);
    }
    let warnings = check(subject, &bytes).map_err(|error| {
        // What the parser says tells more than that the policy is malformed.
        let (doing, what) = match error.source() {
            Some(fault) if error.is_malformed() => ("parse", WithCauses(fault).to_string()),
            _ => ("validate", WithCauses(&error).to_string()),
        };
        let failure = Failure {
            hint: error.did_you_mean(),
            ..Failure::failed(format!(
                "failed to {doing} {noun} trust policy configuration: {what}"
            ))
        };
        see(
            failure,
            Path::new(&args.path),
            position::of_policy(&bytes, &error),
        )
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

/// Whether a file is `policy.hardsign.json` rather than a trust policy: what it has tells, and what
/// neither has is for the reader of trust policies to refuse.
fn is_rules(bytes: &[u8]) -> bool {
    let tree = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or_default();
    let has = |member: &str| tree.get(member).is_some();
    !has("trustPolicies") && (has("oci") || has("blob"))
}

/// `policy import` of `policy.hardsign.json`.
fn import_rules(
    subject: &Subject,
    args: &ImportArgs,
    bytes: &[u8],
    context: &Context,
) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let policy = match read_policy(&dirs, subject.kind) {
        Ok(file) => Some(file.bytes),
        Err(PolicyFileError::NotPresent) => None,
        Err(error) => return Err(refused(error.into())),
    };
    let checked = check_together(Some(bytes), subject.kind, policy.as_deref(), &dirs);
    checked.map_err(|error| match error {
        PolicyLoadError::Hardsign(error) => {
            let position = position::of_rules(bytes, None, &error);
            let failure = Failure {
                hint: error.did_you_mean(),
                ..Failure::error(error)
            };
            see(failure, Path::new(&args.path), position)
        }
        other => refused(other),
    })?;
    let path = dirs.hardsign_policy();
    let exists = path.exists();
    if exists && args.force {
        context
            .console
            .warning("existing hardsign policy will be overwritten");
    }
    let question = "The hardsign policy already exists, do you want to overwrite it?";
    let unanswered = Unanswered::new(format!("{} was not replaced", path.display()), "--force");
    if !context.confirm(question, args.force || !exists, &unanswered)? {
        return Ok(());
    }
    back_up(&path)
        .map_err(|error| WithCauses(&error).to_string())
        .and_then(|()| {
            write_atomic(&path, bytes, 0o600).map_err(|error| WithCauses(&error).to_string())
        })
        .map_err(|error| {
            Failure::failed(format!("failed to write the hardsign policy: {error}"))
        })?;
    context.console.line(format_args!(
        "Successfully imported hardsign policy to {}.",
        path.display()
    ))?;
    Ok(context.console.document(&json!({ "path": path }))?)
}

/// Where in the file the fault is, as the hint, below what was probably meant.
fn see(failure: Failure, file: &Path, position: Option<position::Position>) -> Failure {
    match position {
        None => failure,
        Some(position) => {
            let place = format!("{}:{position}", file.display());
            let hint = hint_of_place(failure.hint.as_deref(), &place);
            failure.hint(hint)
        }
    }
}

/// The place of a fault together with what else is known of it.
fn hint_of_place(known: Option<&str>, place: &str) -> String {
    match known {
        Some(meant) if meant.starts_with("did you mean ") => format!("{meant} See {place}"),
        Some(cause) => format!("{place}: {cause}"),
        None => format!("see {place}"),
    }
}

/// What to do where there is no policy.
fn hint_of_absence(kind: Kind) -> &'static str {
    match kind {
        Kind::Oci => {
            "`hardsign policy add-signer <name> --cert <file> --scope <repository>` creates one that trusts a signer; `hardsign policy import <file>` takes one that you have"
        }
        Kind::Blob => {
            "`hardsign blob policy add-signer <name> --cert <file>` creates one that trusts a signer; `hardsign blob policy import <file>` takes one that you have"
        }
    }
}

/// A policy file that was refused, with the place of the fault in it. The file is read again to find
/// that place, and for nothing else.
pub(super) fn refused_in(
    error: PolicyLoadError,
    file: Option<&Path>,
    kind: Kind,
    dirs: &Dirs,
) -> Failure {
    let (path, within) = match (&error, file) {
        (PolicyLoadError::File(PolicyFileError::NotPresent), _) => {
            return refused(error).hint(hint_of_absence(kind));
        }
        (_, Some(file)) => (file.to_owned(), Some("hardsign")),
        (PolicyLoadError::Policy(_), None) => match read_policy(dirs, kind) {
            Ok(file) => (file.path, None),
            Err(_) => return refused(error),
        },
        (_, None) => (dirs.hardsign_policy(), None),
    };
    let bytes = read_named(&path, Kind::MAX_POLICY_LEN as u64).unwrap_or_default();
    let position = match &error {
        // CLI-02: scripts compare all that is printed of these; `policy import` tells their place.
        PolicyLoadError::Policy(
            PolicyError::DuplicateScope { .. } | PolicyError::DuplicateName { .. },
        ) => None,
        PolicyLoadError::Policy(error) => position::of_policy(&bytes, error),
        PolicyLoadError::Hardsign(error) => position::of_rules(&bytes, within, error),
        _ => None,
    };
    let failure = refused(error);
    let Some(position) = position else {
        return failure;
    };
    let place = format!("{}:{position}", path.display());
    let hint = hint_of_place(failure.hint.as_deref(), &place);
    failure.hint(hint)
}

/// Writes a policy of one statement (CLI-99): two spaces of indent, no final newline.
pub(super) fn init(subject: &Subject, args: &InitArgs, context: &Context) -> Result<(), Failure> {
    let noun = subject.noun;
    let applies = match subject.kind {
        Kind::Oci => Applies::Artifacts(args.scopes.clone()),
        Kind::Blob => Applies::Files {
            global: args.global,
        },
    };
    let bytes = edit::init(
        &args.name,
        &applies,
        &args.trust_stores,
        &args.trusted_identities,
    )
    .map_err(|error: EditError| {
        Failure::failed(format!("invalid {noun} policy: {}", WithCauses(&error)))
    })?;
    let dirs = context.dirs()?;
    if !may_replace(subject, args.force, &dirs, context)? {
        return Ok(());
    }
    let path = write(subject, &bytes, &dirs)?;
    context.console.line(format_args!(
        "Successfully initialized {noun} trust policy file to {}.",
        path.display()
    ))?;
    if subject.kind == Kind::Oci {
        delete_old(&dirs, context)?;
    }
    Ok(context.console.document(&json!({ "path": path }))?)
}

/// `policy schema`.
pub(super) fn schema(schema: Schema, context: &Context) -> Result<(), Failure> {
    let text = match schema {
        Schema::Oci => include_str!("../schemas/trustpolicy.oci.json"),
        Schema::Blob => include_str!("../schemas/trustpolicy.blob.json"),
        Schema::Hardsign => include_str!("../schemas/policy.hardsign.json"),
    };
    Ok(context.console.bytes(text.as_bytes())?)
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
    show_rules(&file.bytes, &dirs, context)?;
    parsed
        .map(drop)
        .map_err(|error| refused_in(error.into(), None, subject.kind, &dirs))
}

/// `policy.hardsign.json`, where there is one, below the trust policy.
fn show_rules(above: &[u8], dirs: &Dirs, context: &Context) -> Result<(), Failure> {
    let path = dirs.hardsign_policy();
    let bytes = match read_regular(&path, Kind::MAX_POLICY_LEN as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(Failure::error(error)),
    };
    if !above.ends_with(b"\n") {
        context.console.bytes(b"\n")?;
    }
    context.console.plain(format_args!(
        "Hardsign's own rules, which other verifiers do not enforce, from {}:",
        path.display()
    ));
    context.console.bytes(&bytes)?;
    hardsign::Document::parse(&bytes)
        .map(drop)
        .map_err(|error| {
            let position = position::of_rules(&bytes, None, &error);
            let failure = Failure {
                hint: error.did_you_mean(),
                ..Failure::error(error)
            };
            see(failure, &path, position)
        })
}

/// Where the policy of a kind is written.
fn path(kind: Kind, dirs: &Dirs) -> PathBuf {
    match kind {
        Kind::Oci => dirs.oci_policy(),
        Kind::Blob => dirs.blob_policy(),
    }
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
        None => Failure {
            hint: error.did_you_mean(),
            ..Failure::error(error)
        },
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
    let there = read_policy(dirs, subject.kind);
    let there = there
        .ok()
        .filter(|file| serde_json::from_slice::<serde_json::Value>(&file.bytes).is_ok());
    let exists = there.is_some();
    let path = there.map(|file| file.path).unwrap_or_default();
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
        &Unanswered::new(format!("{} was not replaced", path.display()), "--force"),
    )
}

/// Writes the policy, and keeps what it replaces beside it, as `<name>.bak` (CLI-87).
pub(super) fn write(subject: &Subject, bytes: &[u8], dirs: &Dirs) -> Result<PathBuf, Failure> {
    let path = path(subject.kind, dirs);
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
            "failed to delete old trust policy configuration trustpolicy.json: {}",
            WithCauses(&error)
        )),
    }
    Ok(())
}

const SPECIFICATION: &str = "https://github.com/notaryproject/specifications/blob/8cf800c60b7315a43f0adbcae463d848a353b412/specs/trust-store-trust-policy.md";
