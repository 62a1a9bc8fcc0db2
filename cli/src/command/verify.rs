//! `hardsign verify` (CLI-33 to CLI-42), and what it shares with `hardsign blob verify`: both print
//! what `hardsign-core` decided.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardsign_core::batch;
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::SignatureSource as _;
use hardsign_core::oci::registry::Access;
use hardsign_core::policy::hardsign::HardwareRule;
use hardsign_core::policy::{Applicability, Document, oci};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{Event, Options, Policy, PolicyLoadError, Severity, Verifier};

use super::repository::{self, Opener};
use super::revocation;
use super::selection::{self, Item};
use super::signer;
use super::{Context, permissions};
use crate::args::verify::VerifyArgs;
use crate::failure::Failure;
use crate::failure::verification::{Refusal, refusal};

mod blob;
mod report;

pub(super) use blob::run as blob;
use report::{Checked, Report};

pub(super) fn run(args: VerifyArgs, context: &Context) -> Result<(), Failure> {
    let references = repository::expand(args.references)?;
    repository::one_registry(&references, &args.registry)?;
    let dirs = context.dirs()?;
    let policy: Policy<oci::Document> = load(args.policy_file.as_deref(), &dirs, context)?;
    let verifier = verifier(&dirs, context);
    let opener = Opener::new(&args.registry, Access::Read, &dirs, context)?;
    let observe = observer(context);
    let hardware = require_hardware(args.require_hardware);
    let options = Options::new(context.now())
        .max_signatures(args.max_signatures)
        .user_metadata(&args.user_metadata)
        .plugin_config(&args.plugin_config)
        .hardware(hardware.as_ref())
        .observer(&observe);
    let work = async |item: Item| {
        let (reference, warned) = (item.reference.clone(), item.by_tag);
        let budget = args.deadline.budget();
        let options = options.now(context.now()).budget(&budget);
        let result = async {
            let found = item.artifact("verify", &budget, context).await;
            let (place, artifact) = found.map_err(Refusal::from)?;
            let name = place.name();
            let scope = args.scope.as_deref().unwrap_or(&name);
            verifier
                .verify_with_attached(&policy, &place, scope, &artifact, &args.attached, options)
                .await
                .map_err(|error| refusal(&error, &[], context.program))
        }
        .await;
        Checked {
            reference,
            warned,
            files: vec![],
            result,
        }
    };
    let report = context.wait(async {
        let selection = &args.selection;
        let deadline = &args.deadline;
        let items =
            selection::items(references, &opener, selection, "verify", deadline, context).await?;
        let mut report = Report::new(args.output, items.len());
        let progress = context.console.progress("verifying", items.len());
        let mut printing = Ok(());
        batch::in_order(items, IN_FLIGHT, work, |checked| {
            progress.step();
            if printing.is_ok() {
                printing = report.add(checked, context);
            }
            if printing.is_err() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
        drop(progress);
        printing.map(|()| report)
    })?;
    report.finish(context)
}

/// `--require-hardware`: what is demanded where the policy has no rule on hardware.
fn require_hardware(is_given: bool) -> Option<Arc<HardwareRule>> {
    is_given.then(|| Arc::new(HardwareRule::of_the_box()))
}

/// A verifier that runs the verification plugins that signatures name.
pub(super) fn verifier(dirs: &Dirs, context: &Context) -> Verifier<'static> {
    let host = signer::host(dirs, context);
    permissions::of_plugins(host.finder(), dirs, context);
    Verifier::new(Loader::new(dirs.trust_stores()))
        .with_extension(host)
        .with_revocation(revocation::checker(dirs, context))
}

/// The policy in use: the user's, or that of `--policy` for this run.
pub(super) fn load<A: Applicability>(
    file: Option<&str>,
    dirs: &Dirs,
    context: &Context,
) -> Result<Policy<Document<A>>, Failure> {
    let policy = match file {
        Some(path) => Policy::from_file(Path::new(path)),
        None => Policy::load(dirs),
    };
    let policy = policy.map_err(|error| match error {
        error @ PolicyLoadError::Roots { .. } => Failure::error(error).hint(
            "the path after \"file:\" is relative to the policy's file, or absolute; the file holds certificates in PEM or DER",
        ),
        other => super::policy::refused_in(other, file.map(Path::new), A::KIND, dirs),
    })?;
    for warning in policy.document().warnings() {
        context.console.warning(warning);
    }
    let rules = policy.rules_source().map(|source| source.path.as_path());
    let roots = policy.root_files().iter().map(PathBuf::as_path);
    let files = std::iter::once(policy.source().path.as_path());
    let files = files.chain(rules).chain(roots);
    permissions::of_trust(files, dirs, context);
    Ok(policy)
}

/// Verification's log, and the warnings that concern the user's own files.
pub(super) fn observer(context: &Context) -> impl Fn(&Event<'_>) + Send + Sync {
    |event| {
        match event {
            Event::Store(warning) => context.console.warning(warning),
            _ => context.console.log(level(event.severity()), event),
        }
        if let Event::Revocation(event) = event {
            revocation::warn(event, &context.console);
        }
    }
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

/// Artifacts that are verified at a time.
const IN_FLIGHT: usize = 8;
