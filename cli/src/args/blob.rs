//! `hardsign blob`: flags and their rules (CLI-94 to CLI-101).

use std::path::{Path, PathBuf};

use hardsign_core::blob::signature_path;
use hardsign_core::envelope::Format;

use super::batch::{self, Batch};
use super::deadline::READING;
use super::flags::{self, Reader};
use super::policy;
use super::sign::{Signing, signing_flags};
use super::{ArgMatches, BTreeMap, Command, Deadline, Output, Usage};

const EXAMPLES: &str = "\
Examples:
  Sign a file, and verify it with the blob trust policy:
    hardsign blob sign --key release release.tar.gz
    hardsign blob verify --signature release.tar.gz.jws.sig release.tar.gz

  Trust whoever signed a file, for all files:
    hardsign blob policy add-signer releases --from release.tar.gz.jws.sig \\
      --global";

const SIGN_EXAMPLES: &str = "\
Examples:
  Sign a file; the signature is written next to it, as release.tar.gz.jws.sig:
    hardsign blob sign --key release release.tar.gz

  Sign several files with one login, and put the signatures in a directory:
    hardsign blob sign --key release --signature-directory sigs dist/*

  Sign with a timestamp, so that the signature outlives its certificate:
    hardsign blob sign --timestamp-url http://tsa.example.com \\
      --timestamp-root-cert tsa-root.crt release.tar.gz

  Sign standard input:
    make-sbom | hardsign blob sign --key release --signature sbom.json.jws.sig -";

const VERIFY_EXAMPLES: &str = "\
Examples:
  Verify a file with the global statement of the blob trust policy:
    hardsign blob verify --signature release.tar.gz.jws.sig release.tar.gz

  Verify it with a named statement:
    hardsign blob verify --policy-name releases \\
      --signature release.tar.gz.jws.sig release.tar.gz

  Verify it where hardsign's policy requires two signers:
    hardsign blob verify -s build/release.tar.gz.jws.sig \\
      -s security/release.tar.gz.jws.sig release.tar.gz

  Verify several files whose signatures are in a directory:
    hardsign blob verify --signature-directory sigs dist/*";

const INSPECT_EXAMPLES: &str = "\
Examples:
  Show the contents of a signature file, without verifying it:
    hardsign blob inspect release.tar.gz.jws.sig";

const POLICY_EXAMPLES: policy::Examples = policy::Examples {
    group: "\
Examples:
  Trust the signer of a file for all files:
    hardsign blob policy add-signer releases --from release.tar.gz.jws.sig \\
      --global

  Import a trust policy:
    hardsign blob policy import my-policy.json

  Show the policy in use:
    hardsign blob policy show

  Explain what it requires of files:
    hardsign blob policy explain --policy-name releases",
    import: "\
Examples:
  Import a trust policy for files:
    hardsign blob policy import my-policy.json

  Replace an existing policy without being asked:
    hardsign blob policy import --force my-policy.json",
    show: "\
Examples:
  Show the trust policy for files, followed by hardsign's own rules:
    hardsign blob policy show",
    explain: "\
Examples:
  Explain what is required of all files:
    hardsign blob policy explain

  Explain what a named statement requires:
    hardsign blob policy explain --policy-name releases",
    init: "\
Examples:
  Trust one signer for all files:
    hardsign blob policy init --global --name releases --trust-store ca:acme \\
      --trusted-identity 'x509.subject: C=US, ST=WA, O=Acme'",
    remove: "\
Examples:
  Remove a signer that `add-signer` added:
    hardsign blob policy remove-signer build

  Name the signer's identity where the statement has several:
    hardsign blob policy remove-signer build --statement releases \\
      --identity 'x509.subject: C=US, ST=WA, O=Acme, CN=build'",
};

/// `hardsign blob sign`.
#[derive(Debug)]
pub(crate) struct SignArgs {
    /// Files as typed; `-` is standard input.
    pub(crate) blobs: Vec<String>,
    pub(crate) batch: Batch,
    /// `--skip-signed`.
    pub(crate) skip_signed: bool,
    pub(crate) signing: Signing,
    pub(crate) media_type: String,
    pub(crate) directory: Option<String>,
    /// `--signature`: the file to write, for a single blob.
    pub(crate) signature: Option<String>,
    pub(crate) force: bool,
}

/// `hardsign blob verify`.
#[derive(Debug)]
pub(crate) struct VerifyArgs {
    /// Files as typed, each with its signature files.
    pub(crate) blobs: Vec<SignedFile>,
    pub(crate) batch: Batch,
    /// `--signature-directory`, in which the signatures of each file are looked for.
    pub(crate) directory: Option<String>,
    pub(crate) policy_name: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) plugin_config: BTreeMap<String, String>,
    pub(crate) user_metadata: BTreeMap<String, String>,
    /// `--require-hardware`.
    pub(crate) require_hardware: bool,
    pub(crate) policy_file: Option<String>,
    pub(crate) deadline: Deadline,
    pub(crate) output: Output,
}

/// A file to verify.
#[derive(Debug)]
pub(crate) struct SignedFile {
    /// `-` is standard input.
    pub(crate) blob: String,
    /// Those given with `--signature`.
    pub(crate) signatures: Vec<String>,
}

/// `hardsign blob inspect`.
#[derive(Debug)]
pub(crate) struct InspectArgs {
    pub(crate) signature: String,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    flags::verb("blob", "Sign, verify and inspect files", EXAMPLES)
        .subcommand(sign())
        .subcommand(verify())
        .subcommand(inspect())
        .subcommand(policy_group())
}

fn sign() -> Command {
    signing_flags(flags::verb(
        "sign",
        "Sign files",
        SIGN_EXAMPLES,
    ))
    .arg(flags::value(
        "media-type",
        "TYPE",
        "Media type of the file [default: application/octet-stream]",
    ))
    .arg(flags::value(
        "signature-directory",
        "DIRECTORY",
        "Directory for the signature files [default: next to each file]",
    ))
    .arg(
        flags::value(
            "signature",
            "FILE",
            "Signature file to write (with one file or -)",
        )
        .short('s'),
    )
    .arg(flags::force(
        "Overwrite existing signature files",
    ))
    .args(batch::batch(
        "Also sign the files listed in this file (- for standard input), one path or JSON object per line",
    ))
    .arg(batch::skip_signed())
    .arg(flags::positional(
        "blob_path...",
        "Files to sign; - is standard input",
    ))
}

fn verify() -> Command {
    flags::verb(
        "verify",
        "Verify files against their signatures",
        VERIFY_EXAMPLES,
    )
    .arg(flags::list("signature", "FILE", "Signature file (required, repeatable)").short('s'))
    .arg(flags::value(
        "signature-directory",
        "DIR",
        "Directory that holds the signature files (instead of --signature)",
    ))
    .arg(flags::value(
        "policy-name",
        "NAME",
        "Trust policy statement to use [default: the global one]",
    ))
    .arg(flags::value(
        "media-type",
        "TYPE",
        "Media type that the signature must state",
    ))
    .arg(flags::plugin_config(
        "Setting to pass to the verification plugin (repeatable)",
    ))
    .arg(flags::user_metadata(
        "Metadata that must be in the signed payload (repeatable)",
    ))
    .arg(flags::require_hardware())
    .arg(flags::policy())
    .arg(flags::deadline())
    .args(batch::batch(
        "Also verify the files listed in this file (- for standard input), one path or JSON object per line",
    ))
    .arg(batch::output())
    .arg(flags::positional(
        "blob_path...",
        "Files to verify; - is standard input",
    ))
}

fn inspect() -> Command {
    flags::verb(
        "inspect",
        "Show a signature file without verifying it",
        INSPECT_EXAMPLES,
    )
    .arg(
        flags::value(
            "output",
            "FORMAT",
            "Output format: tree or json [default: tree]",
        )
        .short('o'),
    )
    .arg(flags::positional("signature_path", "The signature file"))
}

fn policy_group() -> Command {
    let explain = policy::explain(
        "Explain what the trust policy requires of files",
        POLICY_EXAMPLES.explain,
    )
    .arg(flags::value(
        "policy-name",
        "NAME",
        "Trust policy statement to use [default: the global one]",
    ))
    .arg(flags::positional("none", "").hide(true));
    policy::group("Manage the trust policy for files", &POLICY_EXAMPLES)
        .subcommand(explain)
        .subcommand(
            policy::init(POLICY_EXAMPLES.init)
                .arg(flags::switch("global", "Apply the statement to all files")),
        )
        .subcommand(policy::signer::add_blob())
        .subcommand(policy::signer::remove(POLICY_EXAMPLES.remove))
}

impl SignArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let blobs = reader.all("positional");
        let batch = Batch::read(&reader)?;
        if blobs.is_empty() && batch.from_file.is_none() {
            return Err(Usage::new(format!(
                "missing file path to the blob artifact: use `{program} blob sign --help` to see what parameters are required"
            )));
        }
        if blobs.iter().any(String::is_empty) {
            return Err(Usage::new("blob path cannot be empty".to_owned()));
        }
        batch.check_input(&blobs)?;
        let directory = reader.text("signature-directory");
        if directory.as_deref() == Some("") {
            return Err(Usage::new("signature directory cannot be empty".to_owned()));
        }
        reader.exclusive(&["signature-directory", "signature"])?;
        let signature = reader.text("signature");
        let listed = usize::from(batch.from_file.is_some()) * 2;
        match (
            &signature,
            blobs.len() + listed,
            blobs.iter().any(|blob| blob == "-"),
        ) {
            (Some(_), 2.., _) => {
                return Err(Usage::new(
                    "--signature names one file, but there are several to sign".to_owned(),
                ));
            }
            (None, _, true) => {
                return Err(Usage::new(
                    "standard input has no file name: name the signature file with --signature"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        Ok(Self {
            blobs,
            batch,
            skip_signed: reader.switch("skip-signed")?,
            signing: Signing::read(&reader)?,
            media_type: reader
                .text("media-type")
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            directory,
            signature,
            force: reader.switch("force")?,
        })
    }
}

impl VerifyArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06 and CLI-96.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let blobs = reader.all("positional");
        let batch = Batch::read(&reader)?;
        if blobs.is_empty() && batch.from_file.is_none() {
            return Err(Usage::new(format!(
                "missing path to the blob artifact: use `{program} blob verify --help` to see what parameters are required"
            )));
        }
        let (signatures, directory) = (reader.all("signature"), reader.text("signature-directory"));
        batch.check_input(&blobs)?;
        let needed = !blobs.is_empty() && signatures.is_empty() && directory.is_none();
        if blobs.is_empty() && !signatures.is_empty() {
            return Err(Usage::new(
                "--signature applies to files on the command line; a list names its own signatures, or they are next to its files".to_owned(),
            ));
        }
        if needed || signatures.iter().any(String::is_empty) {
            return Err(Usage::new(
                "filepath of the signature cannot be empty".to_owned(),
            ));
        }
        if directory.as_deref() == Some("") {
            return Err(Usage::new("signature directory cannot be empty".to_owned()));
        }
        reader.exclusive(&["signature", "signature-directory"])?;
        let media_type = reader.text("media-type");
        if media_type.as_deref() == Some("") {
            return Err(Usage::new(
                "--media-type is set but with empty value".to_owned(),
            ));
        }
        Ok(Self {
            blobs: assign(blobs, signatures, directory.is_some())?,
            batch,
            directory,
            policy_name: reader.text("policy-name"),
            media_type,
            plugin_config: reader.pairs("plugin-config")?,
            user_metadata: reader.pairs("user-metadata")?,
            require_hardware: reader.switch("require-hardware")?,
            policy_file: reader.text("policy"),
            deadline: reader.deadline(READING)?,
            output: batch::read_output(&reader)?,
        })
    }
}

/// Gives each file its signatures: all of them to a single file, else each to the file that it is
/// named after.
fn assign(
    blobs: Vec<String>,
    signatures: Vec<String>,
    in_directory: bool,
) -> Result<Vec<SignedFile>, Usage> {
    let mut files: Vec<_> = blobs
        .into_iter()
        .map(|blob| SignedFile {
            blob,
            signatures: vec![],
        })
        .collect();
    if let [only] = files.as_mut_slice() {
        only.signatures = signatures;
        return Ok(files);
    }
    if files.iter().any(|file| file.blob == "-") {
        return Err(Usage::new(
            "standard input has no file name by which to find its signature: verify it on its own"
                .to_owned(),
        ));
    }
    for signature in signatures {
        let name = Path::new(&signature).file_name().unwrap_or_default();
        let mut named = files.iter_mut().filter(|file| {
            let path = |format| signature_path(Path::new(&file.blob), format, None);
            let is = |path: PathBuf| path.file_name() == Some(name);
            [Format::Jws, Format::Cose]
                .into_iter()
                .filter_map(path)
                .any(is)
        });
        match (named.next(), named.next()) {
            (Some(file), None) => file.signatures.push(signature),
            (None, _) => {
                return Err(Usage::new(format!(
                    "{signature} does not match any of the files: with several files, the signature of <file> must be named <file>.jws.sig or <file>.cose.sig"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Usage::new(format!(
                    "{signature} matches several of the files: verify files with the same name one at a time"
                )));
            }
        }
    }
    match files.iter().find(|file| file.signatures.is_empty()) {
        Some(file) if !in_directory => Err(Usage::new(format!(
            "no --signature matches {}: with several files, the signature of <file> must be named <file>.jws.sig or <file>.cose.sig",
            file.blob
        ))),
        _ => Ok(files),
    }
}

impl InspectArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut signatures = reader.all("positional");
        match signatures.len() {
            0 => {
                return Err(Usage::new(format!(
                    "missing signature path: use `{program} blob inspect --help` to see what parameters are required"
                )));
            }
            1 => {}
            more => {
                return Err(Usage::new(format!(
                    "blob inspect takes one signature file, but got {more}"
                )));
            }
        }
        let output = match reader.text("output").as_deref() {
            None | Some("tree") => Output::Text,
            Some("json") => Output::Json,
            Some(other) => {
                let fault = Usage::new(format!("unrecognized output format {other}"));
                return Err(fault.meant(other, ["tree", "json"]));
            }
        };
        Ok(Self {
            signature: signatures.remove(0),
            output,
        })
    }
}
