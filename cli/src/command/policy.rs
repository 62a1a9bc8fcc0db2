//! `hardsign policy` and `hardsign blob policy`: trust policies as files (CLI-84 to CLI-90,
//! CLI-99 to CLI-101), and `policy.hardsign.json` beside them.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hardsign_core::artifact::Kind;
use hardsign_core::config::{
    FileLock, PolicyFile, PolicyFileError, read_named, read_policy, read_regular, write_atomic,
};
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
    let Some(path) = replace(subject, &bytes, args.force, &dirs, context)? else {
        return Ok(());
    };
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
    let file = Path::new(&args.path);
    check_rules(subject.kind, file, bytes, &dirs)?;
    let path = dirs.hardsign_policy();
    let before = read_rules(&dirs).ok();
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
    let _lock = lock(&dirs)?;
    if !args.force && read_rules(&dirs).ok() != before {
        return Err(changed(&path));
    }
    check_rules(subject.kind, file, bytes, &dirs)?;
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
    context.console.line(NOT_ENFORCED)?;
    Ok(context.console.document(&json!({ "path": path }))?)
}

/// Hardsign's own rules out of a file, held against the trust policies as they are.
fn check_rules(kind: Kind, file: &Path, bytes: &[u8], dirs: &Dirs) -> Result<(), Failure> {
    let policy = match read_policy(dirs, kind) {
        Ok(file) => Some(file.bytes),
        Err(PolicyFileError::NotPresent) => None,
        Err(error) => return Err(refused(error.into())),
    };
    let checked = check_together(Some(bytes), kind, policy.as_deref(), dirs);
    checked.map_err(|error| match error {
        PolicyLoadError::Hardsign(_) => refused_at(error, file, bytes, None),
        other => refused_in(other, None, kind, dirs),
    })
}

/// What is said where rules are written that `notation` does not know.
const NOT_ENFORCED: &str =
    "Other verifiers do not enforce the rules in policy.hardsign.json: they are hardsign's own.";

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
    match error {
        PolicyLoadError::File(PolicyFileError::NotPresent) => {
            refused(error).hint(hint_of_absence(absent(kind, dirs)))
        }
        // CLI-02: scripts compare all that is printed of these; `policy import` tells their place.
        PolicyLoadError::Policy(
            PolicyError::DuplicateScope { .. } | PolicyError::DuplicateName { .. },
        ) => refused(error),
        error => match file {
            Some(file) => refused_at(error, file, &read_again(file), Some("hardsign")),
            None => {
                let path = faulty_file(&error, kind, dirs);
                refused_at(error, &path, &read_again(&path), None)
            }
        },
    }
}

/// A document that was refused, with the place of the fault in it. `within`: the member of it that holds
/// hardsign's own rules.
fn refused_at(error: PolicyLoadError, file: &Path, bytes: &[u8], within: Option<&str>) -> Failure {
    let position = position_of(&error, bytes, within);
    see(refused(error), file, position)
}

fn position_of(
    error: &PolicyLoadError,
    bytes: &[u8],
    within: Option<&str>,
) -> Option<position::Position> {
    match error {
        PolicyLoadError::Policy(error) => position::of_policy(bytes, error),
        PolicyLoadError::Hardsign(error) => position::of_rules(bytes, within, error),
        _ => None,
    }
}

/// The file to change where a user's policy was refused, with the place in it.
pub(super) fn place_of(error: &PolicyLoadError, kind: Kind, dirs: &Dirs) -> String {
    let path = faulty_file(error, kind, dirs);
    match position_of(error, &read_again(&path), None) {
        Some(position) => format!("{}:{position}", path.display()),
        None => path.display().to_string(),
    }
}

/// Which of the user's policy files has the fault, if `kind` was to be verified. Hardsign's own rules can make
/// the policy of the other kind needed as well.
fn faulty_file(error: &PolicyLoadError, kind: Kind, dirs: &Dirs) -> PathBuf {
    let of = |kind| match read_policy(dirs, kind) {
        Ok(file) => (file.path, check(subject(kind), &file.bytes).is_ok()),
        Err(_) => (path(kind, dirs), false),
    };
    match error {
        PolicyLoadError::Policy(_) => match of(kind) {
            (_, true) => of(kind.other()).0,
            (path, false) => path,
        },
        PolicyLoadError::File(_) => of(kind).0,
        _ => dirs.hardsign_policy(),
    }
}

/// Which kind of policy is missing, if `kind` was to be verified.
fn absent(kind: Kind, dirs: &Dirs) -> Kind {
    match read_policy(dirs, kind) {
        Ok(_) => kind.other(),
        Err(_) => kind,
    }
}

fn read_again(path: &Path) -> Vec<u8> {
    read_named(path, Kind::MAX_POLICY_LEN as u64).unwrap_or_default()
}

fn subject(kind: Kind) -> &'static Subject {
    match kind {
        Kind::Oci => &OCI,
        Kind::Blob => &BLOB,
    }
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
    let Some(path) = replace(subject, &bytes, args.force, &dirs, context)? else {
        return Ok(());
    };
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
    let Some(bytes) = read_rules(dirs)? else {
        return Ok(());
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
        .map_err(|error| refused_at(error.into(), &path, &bytes, None))
}

/// Where the policy of a kind is written.
fn path(kind: Kind, dirs: &Dirs) -> PathBuf {
    match kind {
        Kind::Oci => dirs.oci_policy(),
        Kind::Blob => dirs.blob_policy(),
    }
}

/// A policy that can't be used. Where the text ends with what to do, the hint is what was found wrong.
fn refused(error: PolicyLoadError) -> Failure {
    let cause = match &error {
        PolicyLoadError::Policy(policy) if policy.is_malformed() => policy.source(),
        PolicyLoadError::File(PolicyFileError::Permission { source, .. }) => Some(source as _),
        _ => None,
    };
    if let PolicyLoadError::Roots { .. } = &error {
        return Failure::error(error).hint(HINT_OF_ROOTS);
    }
    match cause {
        Some(cause) => Failure::failed(error.to_string()).hint(WithCauses(cause).to_string()),
        None => Failure {
            hint: error.did_you_mean(),
            ..Failure::error(error)
        },
    }
}

/// Reads a policy as verification would.
fn check(subject: &Subject, bytes: &[u8]) -> Result<Vec<Warning>, PolicyError> {
    (subject.parse)(bytes)
}

/// Asks, and writes the policy; nothing where the answer is no. What it replaces stays beside it, as
/// `<name>.bak` (CLI-87).
///
/// # Errors
/// It does not fit hardsign's own rules, the policy was changed while the question waited, or it can't be
/// written.
fn replace(
    subject: &Subject,
    bytes: &[u8],
    force: bool,
    dirs: &Dirs,
    context: &Context,
) -> Result<Option<PathBuf>, Failure> {
    check_with_rules(subject.kind, bytes, dirs)?;
    let there = || read_policy(dirs, subject.kind).ok();
    let before = there();
    if !may_replace(subject, before.as_ref(), force, context)? {
        return Ok(None);
    }
    let _lock = lock(dirs)?;
    let path = path(subject.kind, dirs);
    if !force && there() != before {
        return Err(changed(&path));
    }
    check_with_rules(subject.kind, bytes, dirs)?;
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
    Ok(Some(path))
}

/// Asks before an existing policy is replaced. One that is no JSON is replaced without a question
/// (CLI-87); `--force` warns instead (CLI-86).
fn may_replace(
    subject: &Subject,
    there: Option<&PolicyFile>,
    force: bool,
    context: &Context,
) -> Result<bool, Failure> {
    let noun = subject.noun;
    let is_json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    let there = there.filter(|file| is_json(&file.bytes));
    let exists = there.is_some();
    let path = there.map(|file| file.path.clone()).unwrap_or_default();
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

/// Holds a trust policy against hardsign's own rules as they are: a policy that verification would refuse
/// is not written.
fn check_with_rules(kind: Kind, policy: &[u8], dirs: &Dirs) -> Result<(), Failure> {
    let rules = read_rules(dirs)?;
    let checked = check_together(rules.as_deref(), kind, Some(policy), dirs);
    checked.map_err(|error| not_together(error, kind, dirs))
}

/// The bytes of `policy.hardsign.json`, if there is one.
fn read_rules(dirs: &Dirs) -> Result<Option<Vec<u8>>, Failure> {
    match read_regular(&dirs.hardsign_policy(), Kind::MAX_POLICY_LEN as u64) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(Failure::error(error)),
    }
}

/// A trust policy of this kind that does not fit hardsign's own rules.
fn not_together(error: PolicyLoadError, kind: Kind, dirs: &Dirs) -> Failure {
    let failure = match error {
        // The policy of this kind was read before.
        PolicyLoadError::Policy(_) | PolicyLoadError::File(_) => {
            refused_in(error, None, kind.other(), dirs)
        }
        error => refused_in(error, None, kind, dirs),
    };
    failure.further(&format!(
        "nothing was written: verification would refuse both together; first change {}, or put it aside and import it last",
        dirs.hardsign_policy().display()
    ))
}

/// Lets one process at a time change policies.
fn lock(dirs: &Dirs) -> Result<FileLock, Failure> {
    FileLock::acquire(&dirs.hardsign_policy(), PATIENCE).map_err(Failure::error)
}

/// A policy that is not what the user was asked about.
fn changed(path: &Path) -> Failure {
    Failure::failed(format!(
        "{} was changed by another command meanwhile",
        path.display()
    ))
    .hint("nothing was written; run the same command again")
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

const HINT_OF_ROOTS: &str = "the path after \"file:\" is relative to the policy's file, or absolute; the file holds certificates in PEM or DER";

/// How long another command may take to write its change.
const PATIENCE: Duration = Duration::from_secs(30);

const SPECIFICATION: &str = "https://github.com/notaryproject/specifications/blob/8cf800c60b7315a43f0adbcae463d848a353b412/specs/trust-store-trust-policy.md";
