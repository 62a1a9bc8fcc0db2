//! `hardsign verify` (CLI-33 to CLI-42), and what it shares with `hardsign blob verify`: both print
//! what `hardsign-core` decided.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardsign_core::batch::{self, Threads, Turn};
use hardsign_core::budget::{Budget, Party, Phase};
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::registry::Access;
use hardsign_core::policy::hardsign::HardwareRule;
use hardsign_core::policy::{Applicability, Document, oci};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{Options, Outcome, Policy, Verifier};

use super::lines::{self, Kind};
use super::many::{self, Name, Source};
use super::repository::{self, Opener};
use super::revocation;
use super::selection::{self, Item};
use super::signer;
use super::{Context, permissions};
use crate::args::Selection;
use crate::args::verify::VerifyArgs;
use crate::failure::Failure;
use crate::failure::verification::{Asked, Refusal, refusal};

mod blob;
mod report;

pub(super) use blob::run as blob;
use report::{Checked, Report, Telling};
pub(super) use report::{describe, print};

/// What all of a batch have in common.
struct Job {
    policy: Policy<oci::Document>,
    verifier: Verifier<'static>,
    hardware: Option<Arc<HardwareRule>>,
    args: VerifyArgs,
    context: Context,
}

pub(super) fn run(mut args: VerifyArgs, context: &Context) -> Result<(), Failure> {
    let batch = args.batch.clone();
    let typed = std::mem::take(&mut args.references);
    let mut references = repository::expand(typed, batch.from_file.is_some())?;
    repository::one_registry(&references, &args.registry)?;
    references.retain(|named| !lines::is_of_another(batch.shard, &named.text));
    let dirs = context.dirs()?;
    let policy: Policy<oci::Document> = load(args.policy_file.as_deref(), &dirs, context)?;
    let opener = Arc::new(Opener::new(&args.registry, Access::Read, &dirs, context)?);
    let list = batch.from_file.as_ref();
    let list = list.map(|list| lines::open(list, Kind::Artifacts, batch.shard));
    let list = list.transpose()?;
    let telling = Telling {
        member: "reference",
        output: args.output,
        lines: batch.json_lines,
        many: references.len() > 1 || list.is_some(),
        fail_fast: batch.fail_fast,
    };
    let job = Arc::new(Job {
        policy,
        verifier: verifier(&dirs, context),
        hardware: require_hardware(args.require_hardware),
        args,
        context: context.clone(),
    });
    let one = !telling.many && job.args.selection == Selection::Named;
    let work = async {
        let selection = &job.args.selection;
        let deadline = &job.args.deadline;
        let items =
            selection::items(references, &opener, selection, "verify", deadline, context).await?;
        let known = items.len();
        let many = telling.many || known > 1;
        let listed = list.map(|list| {
            let (selection, deadline) = (selection.clone(), deadline.clone());
            selection::listed(list, opener, selection, "verify", deadline, context.clone())
        });
        let mut source = Source::new(items, listed);
        let report = RefCell::new(Report::new(Telling { many, ..telling }));
        let printing = RefCell::new(Ok(()));
        let progress = many::progress("verifying", known, &batch, context).await;
        let threads = (many && job.args.registry.oci_layout).then(|| Threads::new(many::cores()));
        let begin = |number, item: Item, turn| {
            report.borrow_mut().begun(number, item.name.clone());
            progress.count(check(Arc::clone(&job), item, turn, threads.clone()))
        };
        let done = |number, checked| tell(&report, &printing, number, checked, context);
        let window = match threads {
            Some(_) => many::window_of_threads(&batch),
            None => many::window(&batch, 0, 0),
        };
        let stop = many::stop("verifications", context);
        batch::spread(&mut source, window, stop, begin, done).await;
        drop(progress);
        finish(source, |item| item.name, report, printing, known, context)
    };
    match one {
        true => context.wait_for_one(work),
        false => context.wait(work),
    }
}

/// Tells of one; nothing more once standard output takes nothing.
fn tell(
    report: &RefCell<Report>,
    printing: &RefCell<Result<(), Failure>>,
    number: usize,
    checked: Checked,
    context: &Context,
) -> ControlFlow<()> {
    let mut printing = printing.borrow_mut();
    let mut report = report.borrow_mut();
    if printing.is_ok() {
        *printing = report.add(number, checked, context);
    }
    match *printing {
        Ok(()) => report.flow(),
        Err(_) => ControlFlow::Break(()),
    }
}

fn finish<T>(
    source: Source<T>,
    name: impl Fn(T) -> Name,
    report: RefCell<Report>,
    printing: RefCell<Result<(), Failure>>,
    known: usize,
    context: &Context,
) -> Result<(), Failure> {
    printing.into_inner()?;
    let rest = source.rest(name);
    let report = report.into_inner();
    if report.is_empty() && rest.list.is_none() && rest.empty_list.is_none() && known == 0 {
        many::nothing_here(context);
    }
    report.finish(rest, context)
}

/// Verifies one artifact: all of it on one of the `threads`, where there are any, and else in a task of its own.
async fn check(job: Arc<Job>, item: Item, turn: Turn, threads: Option<Threads>) -> Checked {
    let (warned, budget) = (item.by_tag, job.args.deadline.budget());
    let place = item.place().map(Party::Directory);
    let spent = budget.clone();
    let work = move || verdict(job, item, spent, turn);
    let result = match (threads, place) {
        (Some(threads), Some(place)) => threads
            .run(&budget, Phase::Verifying, place, work)
            .await
            .unwrap_or_else(|overspent| Err(Failure::from(overspent).into())),
        _ => batch::task(work()).await,
    };
    Checked {
        warned,
        files: vec![],
        result,
    }
}

async fn verdict(
    job: Arc<Job>,
    item: Item,
    budget: Budget,
    _turn: Turn,
) -> Result<Outcome, Refusal> {
    let (context, args) = (&job.context, &job.args);
    let mut user_metadata = args.user_metadata.clone();
    user_metadata.extend(item.user_metadata.clone());
    let options = Options::new(context.now())
        .max_signatures(args.max_signatures)
        .user_metadata(&user_metadata)
        .plugin_config(&args.plugin_config)
        .hardware(job.hardware.as_ref())
        .observer(&*context.console)
        .budget(&budget);
    let found = item.artifact("verify", &budget, context).await;
    let (place, artifact) = found.map_err(Refusal::from)?;
    let name = place.name();
    let scope = args.scope.as_deref().unwrap_or(&name);
    let (policy, attached) = (&job.policy, &args.attached);
    job.verifier
        .verify_with_attached(policy, &*place, scope, &artifact, attached, options)
        .await
        .map_err(|error| {
            let asked = Asked::Artifact {
                flags: &args.registry.words(),
                policy: args.policy_file.as_deref(),
            };
            refusal(&error, &asked, context.program, context.console.err_width())
        })
}

/// `--require-hardware`: what is demanded where the policy has no rule on hardware.
pub(super) fn require_hardware(is_given: bool) -> Option<Arc<HardwareRule>> {
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
    let policy = policy
        .map_err(|error| super::policy::refused_in(error, file.map(Path::new), A::KIND, dirs))?;
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
