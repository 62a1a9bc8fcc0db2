//! `hardsign sign`: flags and their rules (CLI-22 to CLI-32).

use hardsign_core::envelope::Format;

use super::batch::{self, Batch};
use super::deadline::SIGNING;
use super::flags::{self, Reader};
use super::{
    ArgMatches, BTreeMap, Command, Deadline, Duration, Output, Registry, Selection, Usage,
};

const EXAMPLES: &str = "\
Examples:
  Sign with the default key:
    hardsign sign registry.example.com/app@sha256:<digest>

  Sign with a key in a YubiKey, an HSM or a KMS, named by plugin and key id:
    hardsign sign --plugin pkcs11 --id 'pkcs11:token=release;object=signing' \\
      registry.example.com/app@sha256:<digest>

  Sign several artifacts with one login:
    hardsign sign --key release registry.example.com/a@sha256:<digest> \\
      registry.example.com/b@sha256:<digest>

  Sign the artifacts listed in a file; run it again to finish if interrupted:
    hardsign sign --key release --from-file references.txt --skip-signed

  Sign what a build pushed, by the digests in its metadata file:
    docker buildx build --push --tag registry.example.com/app:v1 \\
      --metadata-file build.json .
    hardsign sign --key release --metadata-file build.json

  Sign an index and everything it lists, or the image of one platform:
    hardsign sign --recursive registry.example.com/app@sha256:<digest>
    hardsign sign --platform linux/arm64 \\
      registry.example.com/app@sha256:<digest>

  Sign with a timestamp, so that the signature outlives its certificate:
    hardsign sign --timestamp-url http://tsa.example.com \\
      --timestamp-root-cert tsa-root.crt \\
      registry.example.com/app@sha256:<digest>

  Sign, and include the YubiKey's proof that the key was generated in it:
    hardsign sign --key release --attest \\
      registry.example.com/app@sha256:<digest>

  Sign an artifact in an OCI layout:
    hardsign sign --oci-layout ./layout:v1";

/// The signing key that was asked for (CLI-26).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum KeyChoice {
    /// `--key`, a name in the key list.
    Named(String),
    /// `--plugin` and `--id`, a key that is in no list.
    Direct { plugin: String, id: String },
    /// The default key of the key list.
    Default,
}

/// The flags that all signing commands share.
#[derive(Debug)]
pub(crate) struct Signing {
    pub(crate) key: KeyChoice,
    /// `--signature-format`, or nothing: then the configuration decides.
    pub(crate) format: Option<Format>,
    pub(crate) expiry: Option<Duration>,
    pub(crate) plugin_config: BTreeMap<String, String>,
    pub(crate) user_metadata: BTreeMap<String, String>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) attest: Option<Attest>,
    pub(crate) deadline: Deadline,
    pub(crate) output: Output,
}

/// `--attest`, with `--attest-root`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attest {
    /// File with the roots of the device's maker, in place of those that came with hardsign.
    pub(crate) root: Option<String>,
}

/// `--timestamp-url` and `--timestamp-root-cert` (TSA-01).
#[derive(Clone, Debug)]
pub(crate) struct Timestamp {
    pub(crate) url: String,
    pub(crate) root_certificate: String,
}

/// `hardsign sign`.
#[derive(Debug)]
pub(crate) struct SignArgs {
    /// References as typed; `-` stands for those listed on standard input.
    pub(crate) references: Vec<String>,
    /// `--metadata-file`: what `docker buildx` wrote.
    pub(crate) metadata_file: Option<String>,
    pub(crate) selection: Selection,
    pub(crate) batch: Batch,
    /// `--skip-signed`.
    pub(crate) skip_signed: bool,
    pub(crate) signing: Signing,
    pub(crate) registry: Registry,
}

pub(super) fn definition() -> Command {
    signing_flags(flags::verb("sign", "Sign artifacts", EXAMPLES))
        .args(flags::registry())
        .arg(flags::oci_layout())
        .arg(flags::allow_referrers_api())
        .args(flags::selection())
        .args(batch::batch(
            "Also sign the artifacts listed in this file (- for standard input), one reference or JSON object per line",
        ))
        .arg(batch::skip_signed())
        .arg(flags::switch(
            "force-referrers-tag",
            "List the signature in the referrers tag schema instead of the referrers API",
        ))
        .arg(flags::value(
            "metadata-file",
            "FILE",
            "Sign the images in a metadata file of `docker buildx build` or `bake`",
        ))
        .arg(flags::positional(
            "reference...",
            "Artifacts: <registry>/<repository>@<digest>; - reads them from standard input",
        ))
}

/// Adds the flags that all signing commands share.
pub(super) fn signing_flags(command: Command) -> Command {
    command
        .arg(flags::value("key", "NAME", "Signing key, as named in the key list").short('k'))
        .arg(flags::value(
            "id",
            "KEY-ID",
            "Key id of a key that is not in the key list (with --plugin)",
        ))
        .arg(flags::value("plugin", "NAME", "Signing plugin (with --id)"))
        .arg(flags::value(
            "signature-format",
            "FORMAT",
            "Signature envelope format: jws or cose [default: jws]",
        ))
        .arg(
            flags::value(
                "expiry",
                "DURATION",
                "How long the signature stays valid, for instance 24h [default: no limit]",
            )
            .short('e'),
        )
        .arg(flags::plugin_config(
            "Setting to pass to the signing plugin (repeatable)",
        ))
        .arg(flags::user_metadata(
            "Metadata added to the signed payload (repeatable)",
        ))
        .arg(flags::value(
            "timestamp-url",
            "URL",
            "RFC 3161 timestamping authority (TSA) that countersigns (with --timestamp-root-cert)",
        ))
        .arg(flags::value(
            "timestamp-root-cert",
            "FILE",
            "Root certificate of the timestamping authority, PEM or DER (with --timestamp-url)",
        ))
        .arg(flags::switch(
            "attest",
            "Include the device's proof that the key is in hardware, with its serial number",
        ))
        .arg(flags::value(
            "attest-root",
            "FILE",
            "Root certificates of the device's maker, instead of the built-in ones (with --attest)",
        ))
        .arg(flags::deadline())
        .arg(batch::output())
}

impl SignArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let references = reader.all("positional");
        let metadata_file = reader.text("metadata-file");
        let batch = Batch::read(&reader)?;
        if references.is_empty() && metadata_file.is_none() && batch.from_file.is_none() {
            return Err(flags::missing_reference("sign", program));
        }
        batch.check_input(&references)?;
        Ok(Self {
            references,
            metadata_file,
            selection: reader.selection()?,
            batch,
            skip_signed: reader.switch("skip-signed")?,
            signing: Signing::read(&reader)?,
            registry: Registry::read(&reader)?,
        })
    }
}

impl Signing {
    pub(super) fn read(reader: &Reader<'_>) -> Result<Self, Usage> {
        let expiry = reader.expiry()?;
        reader.together(&["id", "plugin"])?;
        reader.together(&["timestamp-url", "timestamp-root-cert"])?;
        reader.exclusive(&["key", "id"])?;
        reader.exclusive(&["key", "plugin"])?;
        let key = match (reader.text("plugin"), reader.text("id"), reader.text("key")) {
            (Some(plugin), Some(id), _) => KeyChoice::Direct { plugin, id },
            (_, _, Some(name)) => KeyChoice::Named(name),
            _ => KeyChoice::Default,
        };
        Ok(Self {
            key,
            format: reader
                .text("signature-format")
                .map(|f| format(&f))
                .transpose()?,
            expiry,
            plugin_config: reader.pairs("plugin-config")?,
            user_metadata: reader.pairs("user-metadata")?,
            timestamp: timestamp(reader)?,
            attest: attest(reader)?,
            deadline: reader.deadline(SIGNING)?,
            output: batch::read_output(reader)?,
        })
    }
}

fn attest(reader: &Reader<'_>) -> Result<Option<Attest>, Usage> {
    let root = reader.text("attest-root");
    match (reader.switch("attest")?, root) {
        (true, root) => Ok(Some(Attest { root })),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Usage::new("--attest-root needs --attest".to_owned())),
    }
}

/// CLI-25: neither of the two may be empty.
fn timestamp(reader: &Reader<'_>) -> Result<Option<Timestamp>, Usage> {
    let texts = (
        reader.text("timestamp-url"),
        reader.text("timestamp-root-cert"),
    );
    let (Some(url), Some(root_certificate)) = texts else {
        return Ok(None);
    };
    let empty = |what| Err(Usage::new(format!("timestamping: {what} cannot be empty")));
    if url.is_empty() {
        return empty("tsa url");
    }
    if root_certificate.is_empty() {
        return empty("tsa root certificate path");
    }
    Ok(Some(Timestamp {
        url,
        root_certificate,
    }))
}

/// Reads a signature format, exact lower case (CLI-28).
pub(crate) fn format(name: &str) -> Result<Format, Usage> {
    match name {
        "jws" => Ok(Format::Jws),
        "cose" => Ok(Format::Cose),
        other => {
            let fault = Usage::new(format!(
                "signature format {other:?} not supported\nSupported signature envelope formats are \"jws\" and \"cose\""
            ));
            Err(fault.meant(other, ["jws", "cose"]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CLI-23, CLI-95: every flag of the reference's `sign`, with its shorthand; those of signing
    /// are `blob sign`'s too.
    #[test]
    fn cli_23_flags() {
        let shared = [
            ("key", Some('k')),
            ("id", None),
            ("plugin", None),
            ("signature-format", None),
            ("expiry", Some('e')),
            ("plugin-config", None),
            ("user-metadata", Some('m')),
            ("timestamp-url", None),
            ("timestamp-root-cert", None),
        ];
        let artifacts = [
            ("force-referrers-tag", None),
            ("oci-layout", None),
            ("username", Some('u')),
            ("password", Some('p')),
            ("insecure-registry", None),
        ];
        let root = super::super::definition("hardsign");
        let sign = root.find_subcommand("sign").unwrap();
        let blob = root.find_subcommand("blob").unwrap();
        let blob = blob.find_subcommand("sign").unwrap();
        let has = |command: &Command, (long, short): (&str, Option<char>)| {
            let mut flags = command.get_arguments();
            flags.any(|flag| flag.get_long() == Some(long) && flag.get_short() == short)
        };
        for flag in shared.into_iter().chain(artifacts) {
            assert!(has(sign, flag), "{flag:?}");
        }
        for flag in shared {
            assert!(has(blob, flag), "{flag:?}");
        }
        assert!(has(&root, ("debug", Some('d'))));
    }
}
