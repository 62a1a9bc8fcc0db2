//! `hardsign sign` (CLI-22 to CLI-32): one signer for the whole batch.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use hardsign_core::artifact::{Descriptor, Kind};
use hardsign_core::batch::{self, Turn};
use hardsign_core::budget::Phase;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::oci::Repository;
use hardsign_core::oci::registry::Access;
use hardsign_core::sign::{
    self, LearntLeaf, Made, Present, SignError, SignOptions, SignedArtifact, Unless,
};
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use super::Context;
use super::build_metadata;
use super::lines::{self, Kind as Listing, Lines};
use super::many::{self, Rest, Source};
use super::repository::{self, Named, Opener};
use super::selection::{self, Item};
use super::signer;
use super::tally::{Tally, Telling};
use crate::args::sign::SignArgs;
use crate::args::{Deadline, Output, Selection};
use crate::failure::Failure;
use crate::output::{json, one_line};

/// What became of one reference.
struct Outcome {
    result: Result<Done, Failure>,
    /// The signer itself failed, or the timestamping authority can't be used, so nothing after
    /// this can succeed.
    signer_failed: bool,
}

/// A reference that is signed, now or before.
enum Done {
    Signed(String, SignedArtifact),
    /// It had the signature.
    Skipped(String, Descriptor, Descriptor),
}

/// What all of a batch have in common.
struct Job {
    opened: signer::Opened,
    options: SignOptions,
    /// There is one signature to make and no other.
    one: bool,
    skip_signed: bool,
    deadline: Deadline,
    leaf: LearntLeaf,
    /// Artifacts that are looked at and signed now.
    taken: Taken,
    context: Context,
}

/// One artifact is signed once at a time, so that a second line for it finds the signature of the
/// first.
#[derive(Default)]
struct Taken(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Taken {
    async fn take(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds or waits for any more.
            if taken.len() >= MAX_TAKEN {
                taken.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(taken.entry(key.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

/// The images of a metadata file; what has none is told.
fn built(path: &str, context: &Context) -> Result<Vec<String>, Failure> {
    let build = build_metadata::references(path)?;
    for target in &build.without_image {
        context.console.warning(format_args!(
            "metadata file {}: target {} has no image that was pushed, so none of it is signed",
            one_line(path),
            one_line(target)
        ));
    }
    Ok(build.references)
}

pub(super) fn run(args: SignArgs, context: &Context) -> Result<(), Failure> {
    let mut typed = match &args.metadata_file {
        Some(path) => built(path, context)?,
        None => Vec::new(),
    };
    typed.extend(args.references.iter().cloned());
    let mut references = repository::expand(typed, args.batch.from_file.is_some())?;
    repository::one_registry(&references, &args.registry)?;
    references.retain(|named| !lines::is_of_another(args.batch.shard, &named.text));
    let dirs = context.dirs()?;
    let list = args.batch.from_file.as_ref();
    let list = list.map(|list| lines::open(list, Listing::Artifacts, args.batch.shard));
    let list = list.transpose()?;
    if references.is_empty() && list.is_none() {
        many::nothing_here(context);
        return Tally::new(telling(&args), false).finish(Rest::default(), context);
    }
    let one = references.len() == 1 && list.is_none() && args.selection == Selection::Named;
    let work = async {
        let open = signer::open(&args.signing, Kind::Oci, &dirs, context);
        let budget = args.signing.deadline.budget();
        let open = budget.run(Phase::OpeningKey, open);
        // While the plugin starts and logs in, the registry is asked for what is to be signed.
        let find = find(&args, references, one, &dirs, context);
        let (opened, found) = tokio::try_join!(open, async { Ok(find.await) })?;
        sign_all(&args, found, list, one, opened, &dirs, context).await
    };
    match one {
        true => context.wait_for_one(work),
        // A layout's files are this process's work, as much as the token's rate allows.
        false if args.registry.oci_layout => context.wait(work),
        false => context.wait_for_others(work),
    }
}

/// The artifacts that were named, and what opens those of a list.
async fn find(
    args: &SignArgs,
    references: Vec<Named>,
    one: bool,
    dirs: &Dirs,
    context: &Context,
) -> Result<(Arc<Opener>, Vec<Item>), Failure> {
    let opener = Arc::new(Opener::new(&args.registry, Access::Write, dirs, context)?);
    let (selection, deadline) = (&args.selection, &args.signing.deadline);
    let items = selection::items(references, &opener, selection, "sign", deadline, context);
    let mut items = items.await?;
    if one && let Some(item) = items.pop() {
        let item = item.resolved_ahead(&deadline.budget()).await;
        item.prepare();
        items.push(item);
    }
    Ok((opener, items))
}

fn telling(args: &SignArgs) -> Telling {
    let json = args.signing.output == Output::Json;
    Telling::new(
        "reference",
        "artifacts",
        json,
        &args.batch,
        args.skip_signed,
    )
}

async fn sign_all(
    args: &SignArgs,
    found: Result<(Arc<Opener>, Vec<Item>), Failure>,
    list: Option<Lines>,
    one: bool,
    opened: signer::Opened,
    dirs: &Dirs,
    context: &Context,
) -> Result<(), Failure> {
    let prepared = found.and_then(|(opener, items)| {
        let format = signer::format(&args.signing, dirs)?;
        let options = signer::options(&args.signing, format, &opened, dirs, context)?;
        Ok((options, opener, items))
    });
    let (options, opener, items) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            signer::close(&opened.signer, &args.signing.deadline).await;
            return Err(failure);
        }
    };
    let known = items.len();
    let listed = list.map(|list| {
        let (selection, deadline) = (args.selection.clone(), args.signing.deadline.clone());
        selection::listed(list, opener, selection, "sign", deadline, context.clone())
    });
    let source = Source::new(items, listed);
    let format = options.format;
    let job = Arc::new(Job {
        opened,
        options,
        one,
        skip_signed: args.skip_signed,
        deadline: args.signing.deadline.clone(),
        leaf: LearntLeaf::default(),
        taken: Taken::default(),
        context: context.clone(),
    });
    let result = sign_each(args, &job, source, known, format).await;
    signer::close(&job.opened.signer, &job.deadline).await;
    result
}

async fn sign_each(
    args: &SignArgs,
    job: &Arc<Job>,
    mut source: Source<Item>,
    known: usize,
    format: Format,
) -> Result<(), Failure> {
    let context = &job.context;
    let output = args.signing.output;
    let report = RefCell::new(Report {
        tally: Tally::new(telling(args), known > 1 || args.batch.from_file.is_some()),
        output,
        format,
        printing: Ok(()),
    });
    let progress = many::progress("signing", known, &args.batch, context).await;
    let waiting = match args.registry.oci_layout {
        true => many::WAITING,
        false => 0,
    };
    let window = many::window(&args.batch, job.opened.signer.max_in_flight(), waiting);
    let begin = |number, item: Item, turn| {
        report.borrow_mut().tally.begun(number, item.name.clone());
        progress.count(batch::task(sign_one(Arc::clone(job), item, turn)))
    };
    let done = |number, outcome| report.borrow_mut().add(number, outcome, context);
    let stop = many::stop("signatures", context);
    let ended = batch::spread(&mut source, window, stop, begin, done).await;
    drop(progress);
    let rest = source.rest(|item| item.name);
    if ended.begun == 0 && rest.empty_list.is_none() && rest.list.is_none() && known == 0 {
        many::nothing_here(context);
    }
    let report = report.into_inner();
    report.printing?;
    report.tally.finish(rest, context)
}

/// Signs one artifact, unless it has the signature.
async fn sign_one(job: Arc<Job>, item: Item, turn: Turn) -> Outcome {
    let mut signer_failed = false;
    let result = async {
        let context = &job.context;
        let budget = job.deadline.budget();
        let mut user_metadata = job.options.user_metadata.clone();
        user_metadata.extend(item.user_metadata.clone());
        let (place, artifact) = item.artifact("sign", &budget, context).await?;
        let options = job.options.clone().now(context.now());
        let options = options.user_metadata(user_metadata).budget(budget.clone());
        let sign = sign_or_skip(&job, &*place, artifact, &options, turn);
        let signed = budget.run(Phase::Signing, sign).await;
        signed.map_err(|error| {
            signer_failed = ends_the_batch(&error);
            signer::failure(&job.opened.signer, error)
        })
    }
    .await;
    Outcome {
        result,
        signer_failed,
    }
}

async fn sign_or_skip(
    job: &Job,
    place: &dyn Repository,
    artifact: Descriptor,
    options: &SignOptions,
    turn: Turn,
) -> Result<Done, SignError> {
    let signer = &job.opened.signer;
    let announced = place.announce();
    let name = place.name();
    let (mut existing, mut _taken) = (Present::default(), None);
    if job.skip_signed {
        _taken = Some(job.taken.take(&format!("{name}@{}", artifact.digest)).await);
        existing = sign::existing(place, &artifact, options).await?;
    }
    let make = async {
        place.check_room().map_err(SignError::Push)?;
        sign::make_signature(signer, &artifact, options).await
    };
    let made = job.leaf.make_unless_there(
        signer.leaf_thumbprint(),
        !existing.is_empty(),
        |leaf| existing.find(leaf),
        make,
        Made::leaf_thumbprint,
    );
    let made = match made.await? {
        Unless::There(found) => {
            let found = found.manifest.clone();
            return Ok(Done::Skipped(name, artifact, found));
        }
        Unless::Made(made) => made,
    };
    if job.one {
        // The plugin logs out and ends while its signature is stored.
        signer.finish().await;
    }
    if announced.is_some() {
        // What is left is waiting for a checkpoint, together with others.
        turn.give_back();
    }
    Ok(Done::Signed(name, made.store(place).await?))
}

pub(super) fn ends_the_batch(error: &SignError) -> bool {
    match error {
        SignError::Signer(_) | SignError::EvidenceOfOtherKey { .. } => true,
        SignError::Timestamp(error) => error.is_unreachable(),
        _ => false,
    }
}

/// What is told of a batch: lines as they come, or one JSON document at the end.
struct Report {
    tally: Tally,
    output: Output,
    format: Format,
    /// Whether standard output still takes lines.
    printing: Result<(), Failure>,
}

impl Report {
    /// Tells of one artifact; breaks when nothing more can be done or told.
    fn add(&mut self, number: usize, outcome: Outcome, context: &Context) -> ControlFlow<()> {
        let line = match outcome.result {
            Ok(done) => {
                if self.printing.is_ok() {
                    self.printing = self.print(&done, context);
                }
                let record = self.record(&done);
                match done {
                    Done::Signed(..) => self.tally.signed(number, record),
                    Done::Skipped(..) => self.tally.skipped(number, record),
                }
            }
            Err(failure) => self.tally.failed(number, failure, outcome.signer_failed),
        };
        if let Some(line) = line
            && self.printing.is_ok()
        {
            self.printing = context.console.json_line(&line).map_err(Failure::from);
        }
        if self.printing.is_err() {
            return ControlFlow::Break(());
        }
        self.tally.flow()
    }

    fn print(&self, done: &Done, context: &Context) -> Result<(), Failure> {
        let console = &context.console;
        if let Done::Signed(_, signed) = done {
            for warning in &signed.pushed.warnings {
                console.warning(warning);
            }
        }
        if self.output != Output::Text {
            return Ok(());
        }
        match done {
            Done::Signed(name, signed) => {
                let (artifact, signature) = (&signed.artifact, &signed.pushed.manifest);
                let name = one_line(name);
                console.line(format_args!(
                    "Successfully signed {name}@{}",
                    artifact.digest
                ))?;
                console.line(format_args!(
                    "Pushed the signature to {name}@{}",
                    signature.digest
                ))?;
            }
            Done::Skipped(name, artifact, signature) => {
                let name = one_line(name);
                console.line(format_args!(
                    "Skipped {name}@{}, which has this signature: {}",
                    artifact.digest, signature.digest
                ))?;
            }
        }
        Ok(())
    }

    fn record(&self, done: &Done) -> Value {
        let (name, artifact, signature) = match done {
            Done::Signed(name, signed) => (name, &signed.artifact, &signed.pushed.manifest),
            Done::Skipped(name, artifact, signature) => (name, artifact, signature),
        };
        json!({
            "reference": format!("{name}@{}", artifact.digest),
            "artifact": json::descriptor(artifact),
            "signature": json::descriptor(signature),
            "signatureEnvelopeType": self.format.media_type(),
        })
    }
}

/// So many artifacts are remembered before those that nobody waits for are forgotten.
const MAX_TAKEN: usize = 1024;
