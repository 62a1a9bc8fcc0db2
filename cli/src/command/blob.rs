//! `hardsign blob sign` and `blob inspect` (CLI-94 to CLI-98); verification is in `verify`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::artifact::{Descriptor, Kind};
use hardsign_core::batch;
use hardsign_core::blob::{self, check_media_type, describe};
use hardsign_core::budget::Phase;
use hardsign_core::config::{read_named, write_atomic};
use hardsign_core::envelope::{Envelope, Format, MAX_ENVELOPE_LEN};
use hardsign_core::plugin::PluginSigner;
use hardsign_core::sign::{SignOptions, sign_blob};
use hardsign_core::text::WithCauses;
use serde_json::json;

use super::interrupts::Heeding;
use super::sign::ends_the_batch;
use super::tally::Tally;
use super::{Context, Unanswered, signer};
use crate::args::blob::{InspectArgs, SignArgs};
use crate::args::{Deadline, Output};
use crate::failure::Failure;
use crate::output::progress::Busy;
use crate::output::{one_line, signature};

/// A file to sign and where its signature goes.
struct Job {
    blob: String,
    signature: PathBuf,
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

/// A file to sign, and what is known of it.
struct FileToSign<'a> {
    job: &'a Job,
    hash: HashAlgorithm,
    media_type: &'a str,
    deadline: &'a Deadline,
}

/// A file that was signed.
struct Done {
    descriptor: Descriptor,
    signature: PathBuf,
}

pub(super) fn sign(args: SignArgs, context: &Context) -> Result<(), Failure> {
    check_media_type(&args.media_type).map_err(Failure::error)?;
    let dirs = context.dirs()?;
    let format = signer::format(&args.signing, &dirs)?;
    let jobs = jobs(&args, format)?;
    context.wait(async {
        let deadline = &args.signing.deadline;
        let open = signer::open(&args.signing, Kind::Blob, &dirs, context);
        let opened = deadline.budget().run(Phase::OpeningKey, open).await?;
        let result = sign_all(&args, jobs, format, &opened, &dirs, context).await;
        signer::close(&opened.signer, deadline).await;
        result
    })
}

async fn sign_all(
    args: &SignArgs,
    all: Vec<Job>,
    format: Format,
    opened: &signer::Opened,
    dirs: &hardsign_core::dirs::Dirs,
    context: &Context,
) -> Result<(), Failure> {
    let signer = &opened.signer;
    let deadline = &args.signing.deadline;
    let options = SignOptions::new(format, context.now())
        .expiry(args.signing.expiry)
        .user_metadata(args.signing.user_metadata.clone())
        .timestamp(signer::timestamp(&args.signing, signer, dirs, context)?)
        .evidence(opened.evidence.clone());
    let hash = signer.key_spec().map_err(Failure::from)?.hash();
    let mut jobs = Vec::new();
    for job in all {
        if may_write(&job.signature, args.force, context)? {
            jobs.push(job);
        }
    }
    let progress = context.console.progress("signing", jobs.len());
    let mut tally = Tally::new("blob", jobs.iter().map(|job| job.blob.clone()).collect());
    let mut printing = Ok(());
    let work = async |job: Job| {
        let file = FileToSign {
            job: &job,
            hash,
            media_type: &args.media_type,
            deadline,
        };
        let done = sign_one(file, signer, &options, context).await;
        (job.blob, done)
    };
    batch::in_order(jobs, signer.max_in_flight(), work, |(blob, done)| {
        progress.step();
        match done {
            Ok(done) => {
                if printing.is_ok() {
                    printing = print(&blob, &done, args.signing.output, context);
                }
                let record = json!({
                    "blob": blob,
                    "mediaType": done.descriptor.media_type,
                    "digest": done.descriptor.digest,
                    "size": done.descriptor.size,
                    "signature": done.signature,
                    "signatureEnvelopeType": options.format.media_type(),
                });
                tally.signed(&blob, record);
            }
            Err(unsigned) => tally.failed(&blob, unsigned.failure, unsigned.ends_the_batch),
        }
        if printing.is_err() {
            return ControlFlow::Break(());
        }
        tally.flow()
    })
    .await;
    drop(progress);
    printing?;
    if args.signing.output == Output::Json {
        context.console.json(&tally.document())?;
    }
    tally.result("files")
}

fn print(blob: &str, done: &Done, output: Output, context: &Context) -> Result<(), Failure> {
    if output == Output::Text {
        // The space at the start of the second line is the reference's (CLI-95).
        context
            .console
            .line(format_args!("Successfully signed {blob}"))?;
        context.console.line(format_args!(
            " Signature file written to {}",
            done.signature.display()
        ))?;
    }
    Ok(())
}

/// Hashes, signs and writes one file's signature; a failure leaves no file.
async fn sign_one(
    file: FileToSign<'_>,
    signer: &PluginSigner,
    options: &SignOptions,
    context: &Context,
) -> Result<Done, Unsigned> {
    let FileToSign {
        job,
        hash,
        media_type,
        deadline,
    } = file;
    let media_type = media_type.to_owned();
    let unreadable =
        |error| Failure::failed(format!("failed to read {}: {error}", one_line(&job.blob)));
    let (progress, reader) = open(&job.blob, deadline, context).map_err(unreadable)?;
    let read = async {
        let describe = move |file: &mut dyn Read| describe(file, hash, &media_type);
        let read = blob::read_apart(reader, &job.blob, describe).await;
        read.map_err(unreadable)
    };
    // How large it is is not known.
    let descriptor = deadline.given().run(Phase::Reading, read).await?;
    drop(progress);
    let options = options.clone().now(context.now()).budget(deadline.budget());
    let signed = sign_blob(signer, &descriptor, &options)
        .await
        .map_err(|error| Unsigned {
            ends_the_batch: ends_the_batch(&error),
            failure: signer::failure(signer, error),
        })?;
    write_atomic(&job.signature, signed.bytes(), 0o600).map_err(|error| {
        let causes = WithCauses(&error);
        Failure::failed(format!("failed to write signature to file: {causes}"))
    })?;
    Ok(Done {
        descriptor,
        signature: job.signature.clone(),
    })
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

/// Each file and where its signature goes: to a name that [`blob::signature_format`] reads this
/// format from (BLOB-06), and no two to the same.
fn jobs(args: &SignArgs, format: Format) -> Result<Vec<Job>, Failure> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut taken: HashMap<PathBuf, usize> = HashMap::new();
    for (position, blob) in args.blobs.iter().enumerate() {
        let signature = signature_path(blob, args, format)?;
        let other = taken.insert(place(&signature), position);
        if let Some(other) = other.and_then(|position| jobs.get(position)) {
            return Err(shared(other, blob));
        }
        jobs.push(Job {
            blob: blob.clone(),
            signature,
        });
    }
    Ok(jobs)
}

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
fn shared(first: &Job, second: &str) -> Failure {
    let failure = Failure::usage(format!(
        "the signatures of {} and {} would both be {}",
        one_line(&first.blob),
        one_line(second),
        one_line(&first.signature.display().to_string())
    ));
    failure.hint("give each file once, and sign files of the same name into different directories")
}

fn signature_path(blob: &str, args: &SignArgs, format: Format) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.signature {
        let path = PathBuf::from(path);
        if blob::signature_format(&path) != Ok(format) {
            return Err(Failure::usage(format!(
                "the name of signature file {} does not end in .{}.sig",
                one_line(&path.display().to_string()),
                format.name()
            ))
            .hint("`blob verify` reads the signature's format from the name; --signature-format chooses the format"));
        }
        return Ok(path);
    }
    blob::signature_path(
        Path::new(blob),
        format,
        args.directory.as_deref().map(Path::new),
    )
    .ok_or_else(|| Failure::failed(format!("{blob} is no file")))
}

/// Asks before a signature file is replaced, and before anything is signed (BLOB-04, BLOB-05).
fn may_write(signature: &Path, force: bool, context: &Context) -> Result<bool, Failure> {
    if force {
        context
            .console
            .warning("existing signature file will be overwritten");
        return Ok(true);
    }
    let exists = std::fs::symlink_metadata(signature).is_ok();
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
