//! `hardsign blob verify` (CLI-96, CLI-97): each file against all of its signatures, one verdict
//! under its policy.

use std::cell::RefCell;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardsign_core::batch::{self, Turn};
use hardsign_core::blob::{signature_format, signature_path};
use hardsign_core::config::read_named;
use hardsign_core::envelope::{Format, MAX_ENVELOPE_LEN};
use hardsign_core::policy::blob::Document;
use hardsign_core::policy::hardsign::HardwareRule;
use hardsign_core::text::WithCauses;
use hardsign_core::verify::{Blob, BlobSignature, Options, Outcome, Policy, Verifier};
use tokio::sync::Semaphore;

use super::super::lines::{self, Kind, Lines, More};
use super::super::many::{self, Feed, Listed, Name, Source};
use super::super::{Context, blob};
use super::report::{Checked, Report, Telling};
use crate::args::Deadline;
use crate::args::blob::{SignedFile, VerifyArgs};
use crate::failure::Failure;
use crate::failure::verification::{Asked, Refusal, refusal};
use crate::output::progress::Busy;

/// A file and its signatures, as they were found.
struct Found {
    /// Shows how far the file is read.
    _busy: Busy,
    reader: Box<dyn Read + Send>,
    /// Where it is known.
    size: Option<u64>,
    files: Vec<String>,
    envelopes: Vec<Vec<u8>>,
}

/// One file of a batch.
struct Item {
    name: Name,
    signatures: Signatures,
    more: More,
    /// Found before its turn.
    found: Option<Found>,
    /// A line that can't be done, which is told in its turn.
    fault: Option<Failure>,
}

/// Where the signatures of a file are.
enum Signatures {
    Named(Vec<String>),
    In(PathBuf),
    /// Beside it.
    Beside,
}

/// What all of a batch have in common.
struct Job {
    policy: Policy<Document>,
    verifier: Verifier<'static>,
    hardware: Option<Arc<HardwareRule>>,
    args: VerifyArgs,
    /// Files that are read at a time.
    reading: Semaphore,
    context: Context,
}

pub(in crate::command) fn run(mut args: VerifyArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let batch = args.batch.clone();
    let mut items = typed(std::mem::take(&mut args.blobs), args.directory.as_deref());
    items.retain(|item| !lines::is_of_another(batch.shard, &item.name.text));
    let list = batch.from_file.as_ref();
    let list = list.map(|list| lines::open(list, Kind::FilesToVerify, batch.shard));
    let list = list.transpose()?;
    // BLOB-11: the file, the signature, the policy, the signature's name.
    if let ([only], None) = (items.as_mut_slice(), &list) {
        let deadline = &args.deadline;
        only.found = Some(find(&only.name.text, &only.signatures, deadline, context)?);
    }
    let policy: Policy<Document> = super::load(args.policy_file.as_deref(), &dirs, context)?;
    let known = items.len();
    let telling = Telling {
        member: "blob",
        output: args.output,
        lines: batch.json_lines,
        many: known > 1 || list.is_some(),
        fail_fast: batch.fail_fast,
    };
    let job = Arc::new(Job {
        policy,
        verifier: super::verifier(&dirs, context),
        hardware: super::require_hardware(args.require_hardware),
        args,
        reading: Semaphore::new(many::cores() * 2),
        context: context.clone(),
    });
    context.wait(async {
        let listed = list.map(|list| listed(list, job.args.directory.clone()));
        let mut source = Source::new(items, listed);
        let report = RefCell::new(Report::new(telling));
        let printing = RefCell::new(Ok(()));
        let progress = many::progress("verifying", known, &batch, context).await;
        let begin = |number, item: Item, turn| {
            report.borrow_mut().begun(number, item.name.clone());
            progress.count(batch::task(check(Arc::clone(&job), item, turn)))
        };
        let done = |number, checked| super::tell(&report, &printing, number, checked, context);
        let window = many::window(&batch, 0, 0);
        let stop = many::stop("verifications", context);
        batch::spread(&mut source, window, stop, begin, done).await;
        drop(progress);
        super::finish(source, |item| item.name, report, printing, known, context)
    })
}

/// The files that were typed.
fn typed(blobs: Vec<SignedFile>, directory: Option<&str>) -> Vec<Item> {
    let item = |file: SignedFile| Item {
        name: Name::typed(file.blob),
        signatures: match directory {
            Some(directory) => Signatures::In(directory.into()),
            None => Signatures::Named(file.signatures),
        },
        more: More::default(),
        found: None,
        fault: None,
    };
    blobs.into_iter().map(item).collect()
}

/// The files that a list names, as it is read.
fn listed(lines: Lines, directory: Option<String>) -> Listed<Item> {
    let (mut feed, listed) = Feed::new(lines);
    tokio::spawn(async move {
        while let Some((name, more)) = feed.next().await {
            let item = item(name, more, directory.as_deref());
            let line = item.name.line();
            if !feed.hand_on(item, line).await {
                return;
            }
        }
        feed.end();
    });
    listed
}

fn item(name: Name, more: Result<More, Failure>, directory: Option<&str>) -> Item {
    let (mut more, fault) = match more {
        Ok(more) if name.text == "-" => {
            let fault =
                Failure::failed("a list can't name standard input: give - on the command line");
            (more, Some(fault))
        }
        Ok(more) => (more, None),
        Err(fault) => (More::default(), Some(fault)),
    };
    let signatures = match (std::mem::take(&mut more.signatures), directory) {
        (named, _) if !named.is_empty() => Signatures::Named(named),
        (_, Some(directory)) => Signatures::In(directory.into()),
        _ => Signatures::Beside,
    };
    Item {
        name,
        signatures,
        more,
        found: None,
        fault,
    }
}

/// Verifies one file.
async fn check(job: Arc<Job>, mut item: Item, _turn: Turn) -> Checked {
    // A file is read, and not only opened, while it holds this.
    let _reading = many::place(&job.reading, &item.name.text).await;
    let found = match (item.fault.take(), item.found.take()) {
        (Some(fault), _) => Err(fault),
        (None, Some(found)) => Ok(found),
        (None, None) => {
            let (job, name) = (Arc::clone(&job), item.name.text.clone());
            let work = move || find(&name, &item.signatures, &job.args.deadline, &job.context);
            many::apart(work).await
        }
    };
    let found = match found {
        Ok(found) => found,
        Err(failure) => {
            return Checked {
                warned: false,
                files: vec![],
                result: Err(failure.into()),
            };
        }
    };
    let files = found.files.clone();
    let result = verify(&job, &item.name.text, &item.more, found).await;
    Checked {
        warned: false,
        files,
        result,
    }
}

async fn verify(job: &Job, name: &str, more: &More, found: Found) -> Result<Outcome, Refusal> {
    let (context, args) = (&job.context, &job.args);
    let mut user_metadata = args.user_metadata.clone();
    user_metadata.extend(more.user_metadata.clone());
    let budget = args.deadline.file(found.size);
    let options = Options::new(context.now())
        .max_signatures(NonZeroUsize::MAX)
        .user_metadata(&user_metadata)
        .plugin_config(&args.plugin_config)
        .hardware(job.hardware.as_ref())
        .observer(&*context.console)
        .budget(&budget);
    let formats = formats(&found.files)?;
    let signatures: Vec<_> = formats
        .into_iter()
        .zip(&found.envelopes)
        .map(|(format, envelope)| BlobSignature { format, envelope })
        .collect();
    let media_type = more.media_type.as_deref();
    let file = Blob {
        reference: name,
        reader: found.reader,
        media_type: media_type.or(args.media_type.as_deref()),
    };
    let statement = args.policy_name.as_deref();
    job.verifier
        .verify_blob(&job.policy, statement, file, &signatures, options)
        .await
        .map_err(|error| {
            let asked = Asked::Blob {
                name,
                files: &found.files,
                policy: args.policy_file.as_deref(),
            };
            refusal(&error, &asked, context.program, context.console.err_width())
        })
}

/// Opens a file, and reads its signatures.
fn find(
    blob: &str,
    signatures: &Signatures,
    deadline: &Deadline,
    context: &Context,
) -> Result<Found, Failure> {
    let (busy, reader) = blob::open(blob, deadline, context).map_err(|error| {
        Failure::failed(format!("failed to open {blob}: {}", WithCauses(&error)))
    })?;
    let files = match signatures {
        Signatures::Named(files) => files.clone(),
        Signatures::In(directory) => in_directory(blob, directory)?,
        Signatures::Beside => in_directory(blob, beside(blob))?,
    };
    let envelopes = files
        .iter()
        .map(|path| read_named(Path::new(path), MAX_SIGNATURE).map_err(Failure::error))
        .collect::<Result<_, _>>()?;
    Ok(Found {
        _busy: busy,
        reader,
        size: many::size(blob),
        files,
        envelopes,
    })
}

/// The directory of a file.
fn beside(blob: &str) -> &Path {
    match Path::new(blob).parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

/// The signature files of `blob` that are in `directory`, by the names that signing gives them.
fn in_directory(blob: &str, directory: &Path) -> Result<Vec<String>, Failure> {
    let path = |format| signature_path(Path::new(blob), format, Some(directory));
    let paths = [Format::Jws, Format::Cose].map(path);
    let found: Vec<_> = paths
        .iter()
        .flatten()
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if found.is_empty() {
        return Err(Failure::failed(format!(
            "no signature of {blob} in {}",
            directory.display()
        ))
        .hint("a signature has the name of its file with .jws.sig or .cose.sig after it; --signature names one with another name"));
    }
    Ok(found)
}

fn formats(files: &[String]) -> Result<Vec<Format>, Failure> {
    let format = |file: &String| signature_format(Path::new(file)).map_err(Failure::error);
    files.iter().map(format).collect()
}

/// Largest signature file, in bytes.
const MAX_SIGNATURE: u64 = MAX_ENVELOPE_LEN as u64;
