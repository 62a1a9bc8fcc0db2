//! `hardsign blob sign` and `blob inspect` (CLI-94 to CLI-98); verification is in `verify`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::artifact::{Descriptor, Kind as Artifact};
use hardsign_core::batch::{self, Turn};
use hardsign_core::blob::{self, check_media_type, describe};
use hardsign_core::budget::Phase;
use hardsign_core::config::{read_named, write_atomic};
use hardsign_core::envelope::{Envelope, Format, MAX_ENVELOPE_LEN};
use hardsign_core::sign::{LearntLeaf, SignOptions, Unless, makes_needless, sign_blob};
use hardsign_core::text::WithCauses;
use serde_json::json;
use tokio::sync::Semaphore;

use super::interrupts::Heeding;
use super::lines::{self, Kind, Lines, More};
use super::many::{self, Feed, Listed, Name, Rest, Source};
use super::sign::ends_the_batch;
use super::tally::{Tally, Telling};
use super::{Context, Unanswered, signer};
use crate::args::blob::{InspectArgs, SignArgs};
use crate::args::{Deadline, Output};
use crate::failure::{Exit, Failure};
use crate::output::progress::Busy;
use crate::output::{json, one_line, signature};

/// A file to sign and where its signature goes.
struct Job {
    name: Name,
    signature: PathBuf,
    more: More,
    /// Whether the user said yes to replacing a signature, or need not be asked.
    may_replace: bool,
    /// A line that can't be done, which is told in its turn.
    fault: Option<Failure>,
}

/// Why a file was not signed, and whether the next one would fail for the same reason.
struct Unsigned {
    failure: Failure,
    ends_the_batch: bool,
}

impl From<Failure> for Unsigned {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            ends_the_batch: false,
        }
    }
}

/// A file that is signed, now or before.
struct Done {
    blob: String,
    descriptor: Descriptor,
    signature: PathBuf,
    /// It had the signature.
    skipped: bool,
}

/// What all of a batch have in common.
struct Work {
    opened: signer::Opened,
    hash: HashAlgorithm,
    media_type: String,
    options: SignOptions,
    skip_signed: bool,
    leaf: LearntLeaf,
    deadline: Deadline,
    /// Files that are read at a time.
    reading: Semaphore,
    context: Context,
}

pub(super) fn sign(args: SignArgs, context: &Context) -> Result<(), Failure> {
    check_media_type(&args.media_type).map_err(Failure::error)?;
    let dirs = context.dirs()?;
    let format = signer::format(&args.signing, &dirs)?;
    let mut places = Places::default();
    let jobs = jobs(&args, format, &mut places)?;
    let list = args.batch.from_file.as_ref();
    let list = list.map(|list| lines::open(list, Kind::FilesToSign, args.batch.shard));
    let list = list.transpose()?;
    if jobs.is_empty() && list.is_none() {
        many::nothing_here(context);
        return Tally::new(telling(&args), false).finish(Rest::default(), context);
    }
    context.wait(async {
        let deadline = &args.signing.deadline;
        let open = signer::open(&args.signing, Artifact::Blob, &dirs, context);
        let opened = deadline.budget().run(Phase::OpeningKey, open).await?;
        let prepared = prepare(&args, jobs, format, opened, &dirs, context).await?;
        let (work, jobs) = prepared;
        let work = Arc::new(work);
        let known = jobs.len();
        let listed = list.map(|list| listed(list, &args, format, places));
        let source = Source::new(jobs, listed);
        let result = sign_each(&args, &work, source, known, format).await;
        signer::close(&work.opened.signer, deadline).await;
        result
    })
}

fn telling(args: &SignArgs) -> Telling {
    let json = args.signing.output == Output::Json;
    Telling::new("blob", "files", json, &args.batch, args.skip_signed)
}

/// What signing needs, once all questions are answered.
async fn prepare(
    args: &SignArgs,
    all: Vec<Job>,
    format: Format,
    opened: signer::Opened,
    dirs: &hardsign_core::dirs::Dirs,
    context: &Context,
) -> Result<(Work, Vec<Job>), Failure> {
    let prepared: Result<_, Failure> = (|| {
        let signer = &opened.signer;
        let options = signer::options(&args.signing, format, &opened, dirs, context)?;
        let hash = signer.key_spec().map_err(Failure::from)?.hash();
        let mut jobs = Vec::new();
        for job in all {
            if args.skip_signed && !args.force {
                // What is there may be this very signature, which is seen in its turn.
                jobs.push(job);
            } else if may_write(&job.signature, args.force, context)? {
                jobs.push(Job {
                    may_replace: true,
                    ..job
                });
            }
        }
        Ok((options, hash, jobs))
    })();
    match prepared {
        Ok((options, hash, jobs)) => {
            let work = Work {
                opened,
                hash,
                media_type: args.media_type.clone(),
                options,
                skip_signed: args.skip_signed,
                leaf: LearntLeaf::default(),
                deadline: args.signing.deadline.clone(),
                reading: Semaphore::new(many::cores() * 2),
                context: context.clone(),
            };
            Ok((work, jobs))
        }
        Err(failure) => {
            signer::close(&opened.signer, &args.signing.deadline).await;
            Err(failure)
        }
    }
}

/// The files that a list names, as it is read.
fn listed(lines: Lines, args: &SignArgs, format: Format, mut places: Places) -> Listed<Job> {
    let (mut feed, listed) = Feed::new(lines);
    let (directory, force) = (args.directory.clone(), args.force);
    tokio::spawn(async move {
        while let Some((name, more)) = feed.next().await {
            let line = name.line();
            let job = more.and_then(|more| {
                let job = places.job(name.clone(), more, None, directory.as_deref(), format);
                // The command line is not at fault.
                job.map_err(|fault| Failure {
                    exit: Exit::Failed,
                    ..fault
                })
            });
            let job = match job {
                Ok(job) => Job {
                    may_replace: force,
                    ..job
                },
                Err(fault) => Job {
                    name,
                    signature: PathBuf::new(),
                    more: More::default(),
                    may_replace: false,
                    fault: Some(fault),
                },
            };
            if !feed.hand_on(job, line).await {
                return;
            }
        }
        feed.end();
    });
    listed
}

async fn sign_each(
    args: &SignArgs,
    work: &Arc<Work>,
    mut source: Source<Job>,
    known: usize,
    format: Format,
) -> Result<(), Failure> {
    let context = &work.context;
    let many = known > 1 || args.batch.from_file.is_some();
    let tally = RefCell::new(Tally::new(telling(args), many));
    let mut printing = Ok(());
    let progress = many::progress("signing", known, &args.batch, context).await;
    let window = many::window(&args.batch, work.opened.signer.max_in_flight(), 0);
    let begin = |number, job: Job, turn| {
        tally.borrow_mut().begun(number, job.name.clone());
        progress.count(batch::task(sign_one(Arc::clone(work), job, turn)))
    };
    let done = |number, result: Result<Done, Unsigned>| {
        let mut tally = tally.borrow_mut();
        let line = match result {
            Ok(done) => {
                if printing.is_ok() {
                    printing = print(&done, args.signing.output, context);
                }
                let record = json!({
                    "blob": done.blob,
                    "artifact": json::descriptor(&done.descriptor),
                    "signature": done.signature,
                    "signatureEnvelopeType": format.media_type(),
                });
                match done.skipped {
                    true => tally.skipped(number, record),
                    false => tally.signed(number, record),
                }
            }
            Err(unsigned) => tally.failed(number, unsigned.failure, unsigned.ends_the_batch),
        };
        if let Some(line) = line
            && printing.is_ok()
        {
            printing = context.console.json_line(&line).map_err(Failure::from);
        }
        match printing {
            Ok(()) => tally.flow(),
            Err(_) => ControlFlow::Break(()),
        }
    };
    let stop = many::stop("signatures", context);
    let ended = batch::spread(&mut source, window, stop, begin, done).await;
    drop(progress);
    let rest = source.rest(|job| job.name);
    if ended.begun == 0 && rest.list.is_none() && rest.empty_list.is_none() && known == 0 {
        // No question was answered with no: there was none.
        if args.blobs.is_empty() {
            many::nothing_here(context);
        }
    }
    printing?;
    tally.into_inner().finish(rest, context)
}

fn print(done: &Done, output: Output, context: &Context) -> Result<(), Failure> {
    if output != Output::Text {
        return Ok(());
    }
    let console = &context.console;
    let (blob, signature) = (&done.blob, done.signature.display());
    if done.skipped {
        console.line(format_args!(
            "Skipped {blob}, which has this signature: {signature}"
        ))?;
    } else {
        // The space at the start of the second line is the reference's (CLI-95).
        console.line(format_args!("Successfully signed {blob}"))?;
        console.line(format_args!(" Signature file written to {signature}"))?;
    }
    Ok(())
}

/// Hashes, signs and writes one file's signature, unless it is there; a failure leaves no file.
async fn sign_one(work: Arc<Work>, mut job: Job, _turn: Turn) -> Result<Done, Unsigned> {
    if let Some(fault) = job.fault.take() {
        return Err(fault.into());
    }
    let (context, signer) = (&work.context, &work.opened.signer);
    let name = job.name.text.clone();
    let media_type = job.more.media_type.take();
    let media_type = media_type.unwrap_or_else(|| work.media_type.clone());
    check_media_type(&media_type).map_err(Failure::error)?;
    let unreadable = |error| {
        Failure::failed(format!(
            "failed to read {}: {}",
            one_line(&name),
            WithCauses(&error)
        ))
    };
    let reading = many::place(&work.reading, &name).await;
    let (opener, blob) = (Arc::clone(&work), name.clone());
    let opened = many::apart(move || open(&blob, &opener.deadline, &opener.context)).await;
    let (progress, reader) = opened.map_err(unreadable)?;
    let hash = work.hash;
    let read = async {
        let describe = move |file: &mut dyn Read| describe(file, hash, &media_type);
        let read = blob::read_apart(reader, &name, describe).await;
        read.map_err(unreadable)
    };
    // How large it is is not known.
    let descriptor = work.deadline.given().run(Phase::Reading, read).await?;
    drop((progress, reading));
    let mut user_metadata = work.options.user_metadata.clone();
    user_metadata.append(&mut job.more.user_metadata);
    let options = work.options.clone().now(context.now());
    let options = options
        .user_metadata(user_metadata)
        .budget(work.deadline.budget());
    let done = |skipped| Done {
        blob: name.clone(),
        descriptor: descriptor.clone(),
        signature: job.signature.clone(),
        skipped,
    };
    let existing = match work.skip_signed {
        true => read_existing(&job.signature)?,
        false => None,
    };
    let taken = !job.may_replace && std::fs::symlink_metadata(&job.signature).is_ok();
    let failed = |error| Unsigned {
        ends_the_batch: ends_the_batch(&error),
        failure: signer::failure(signer, error),
    };
    let is_there = |leaf| {
        let needless = match &existing {
            Some(bytes) => makes_needless(options.format, bytes, &descriptor, &options, leaf),
            None => Ok(false),
        };
        match needless.map_err(failed)? {
            true => Ok(Some(())),
            false if taken => Err(exists(&job.signature, work.skip_signed).into()),
            false => Ok(None),
        }
    };
    if existing.is_none() && taken {
        return Err(exists(&job.signature, work.skip_signed).into());
    }
    let made = work.leaf.make_unless_there(
        signer.leaf_thumbprint(),
        existing.is_some(),
        is_there,
        async {
            sign_blob(signer, &descriptor, &options)
                .await
                .map_err(failed)
        },
        |signed| signed.chain().leaf().thumbprint(),
    );
    let signed = match made.await? {
        Unless::There(()) => return Ok(done(true)),
        Unless::Made(signed) => signed,
    };
    write_atomic(&job.signature, signed.bytes(), 0o600).map_err(|error| {
        let causes = WithCauses(&error);
        Failure::failed(format!("failed to write signature to file: {causes}"))
    })?;
    Ok(done(false))
}

/// The signature file that is there, if it is one that may be read.
fn read_existing(signature: &Path) -> Result<Option<Vec<u8>>, Failure> {
    if std::fs::symlink_metadata(signature).is_err() {
        return Ok(None);
    }
    match read_named(signature, MAX_ENVELOPE_LEN as u64) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => {
            let causes = WithCauses(&error);
            Err(Failure::failed(format!(
                "failed to read signature file: {causes}"
            )))
        }
    }
}

/// A signature file that nobody was asked about.
fn exists(signature: &Path, skip_signed: bool) -> Failure {
    let signature = one_line(&signature.display().to_string());
    let what = match skip_signed {
        true => "is another signature",
        false => "already exists",
    };
    Failure::failed(format!("{signature} {what}"))
        .hint("use --force to replace signature files, or --skip-signed to skip files that already have this signature")
}

/// The file, or standard input for `-`; Ctrl-C ends its reading, and where it is large a bar shows
/// how far that is.
pub(super) fn open(
    blob: &str,
    deadline: &Deadline,
    context: &Context,
) -> io::Result<(Busy, Box<dyn Read + Send>)> {
    let interrupts = &context.interrupts;
    let (file, quick, size): (Box<dyn Read + Send>, _, _) = if blob == "-" {
        (Box::new(io::stdin()), false, None)
    } else {
        let path = PathBuf::from(blob);
        // A named pipe is open when somebody writes to it.
        let time = deadline.time_left();
        let file = interrupts.heeding(&context.console, time, || File::open(path))??;
        let found = file.metadata()?;
        if found.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        (Box::new(file), found.is_file(), Some(found.len()))
    };
    let file = Box::new(Heeding::new(file, quick, interrupts.interrupt()));
    Ok(context.console.reading(file, blob, size))
}

/// Each file that was typed and where its signature goes.
fn jobs(args: &SignArgs, format: Format, places: &mut Places) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    for blob in &args.blobs {
        if lines::is_of_another(args.batch.shard, blob) {
            continue;
        }
        let (signature, directory) = (args.signature.as_deref(), args.directory.as_deref());
        let name = Name::typed(blob.clone());
        jobs.push(places.job(name, More::default(), signature, directory, format)?);
    }
    Ok(jobs)
}

/// Where the signatures of a batch go, no two to the same file. Of a place no more is kept than a hash,
/// since there may be millions.
#[derive(Default)]
struct Places {
    hash: RandomState,
    taken: HashMap<u64, u32>,
    /// Those of which messages can say whose they are.
    first: Vec<(String, PathBuf)>,
}

impl Places {
    /// A file and where its signature goes: to a name that [`blob::signature_format`] reads this format
    /// from (BLOB-06).
    fn job(
        &mut self,
        name: Name,
        more: More,
        signature: Option<&str>,
        directory: Option<&str>,
        format: Format,
    ) -> Result<Job, Failure> {
        let signature = more.signatures.first().map(String::as_str).or(signature);
        if name.text == "-" && name.listed.is_some() {
            return Err(Failure::failed(
                "a list can't name standard input: give - on the command line",
            ));
        }
        let signature = signature_path(&name.text, signature, directory, format)?;
        let number = u32::try_from(self.taken.len()).unwrap_or(u32::MAX);
        let other = self
            .taken
            .insert(self.hash.hash_one(place(&signature)), number);
        if let Some(other) = other {
            let other = usize::try_from(other).ok();
            let other = other.and_then(|other| self.first.get(other));
            let other = other.map(|(name, path)| (name.as_str(), path.as_path()));
            let (other, path) = other.unwrap_or(("another file", &signature));
            return Err(shared(other, &name.text, path));
        }
        if self.first.len() < MAX_NAMED {
            self.first.push((name.text.clone(), signature.clone()));
        }
        Ok(Job {
            name,
            signature,
            more,
            may_replace: false,
            fault: None,
        })
    }
}

/// Files that a message can name as those with the same signature.
const MAX_NAMED: usize = 10_000;

/// The one path among those that lead to the same file.
fn place(signature: &Path) -> PathBuf {
    let directory = match signature.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    };
    match (directory.canonicalize(), signature.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        // One that will be made.
        _ => std::path::absolute(signature).unwrap_or_else(|_| signature.to_owned()),
    }
}

/// Two files whose signatures would be one file.
fn shared(first: &str, second: &str, signature: &Path) -> Failure {
    let failure = Failure::usage(format!(
        "the signatures of {} and {} would both be {}",
        one_line(first),
        one_line(second),
        one_line(&signature.display().to_string())
    ));
    failure.hint(
        "give each file only once, and sign files with the same name into different directories",
    )
}

fn signature_path(
    blob: &str,
    signature: Option<&str>,
    directory: Option<&str>,
    format: Format,
) -> Result<PathBuf, Failure> {
    if let Some(path) = signature {
        let path = PathBuf::from(path);
        if blob::signature_format(&path) != Ok(format) {
            return Err(Failure::usage(format!(
                "the name of signature file {} does not end in .{}.sig",
                one_line(&path.display().to_string()),
                format.name()
            ))
            .hint("`hardsign blob verify` takes the format from the name of the signature file; choose the format with --signature-format"));
        }
        return Ok(path);
    }
    blob::signature_path(Path::new(blob), format, directory.map(Path::new))
        .ok_or_else(|| Failure::failed(format!("{blob} is not a file")))
}

/// Asks before a signature file is replaced, and before anything is signed (BLOB-04, BLOB-05).
fn may_write(signature: &Path, force: bool, context: &Context) -> Result<bool, Failure> {
    let exists = std::fs::symlink_metadata(signature).is_ok();
    if force {
        if exists {
            context
                .console
                .warning("existing signature file will be overwritten");
        }
        return Ok(true);
    }
    context.confirm(
        "The signature file already exists, do you want to overwrite it?",
        !exists,
        &Unanswered::new(
            format!(
                "{} was not replaced",
                one_line(&signature.display().to_string())
            ),
            "--force",
        ),
    )
}

pub(super) fn inspect(args: InspectArgs, context: &Context) -> Result<(), Failure> {
    let path = Path::new(&args.signature);
    let format = blob::signature_format(path).map_err(Failure::error)?;
    let bytes = read_named(path, MAX_ENVELOPE_LEN as u64).map_err(|error| {
        let causes = WithCauses(&error);
        Failure::failed(format!("failed to read signature file: {causes}"))
    })?;
    let parsed = Envelope::parse(format, &bytes)
        .and_then(Envelope::danger_unverified)
        .map_err(|error| {
            let causes = WithCauses(&error);
            Failure::failed(format!("failed to parse signature: {causes}"))
                .hint("check that this is a signature, as `hardsign blob sign` writes it next to the signed file")
        })?;
    let content = parsed.danger_content();
    match args.output {
        Output::Json => context
            .console
            .json(&signature::json(None, format, content))?,
        Output::Text => {
            let root = signature::root(&args.signature, format, content);
            context.console.bytes(root.render().as_bytes())?;
        }
    }
    Ok(())
}
