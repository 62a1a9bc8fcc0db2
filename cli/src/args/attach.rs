//! `hardsign attach`: flags and their rules.

use std::path::Path;

use hardsign_core::oci::attach::check_type;

use super::flags::{self, Reader};
use super::sign::{Signing, signing_flags};
use super::{ArgMatches, BTreeMap, Command, Registry, Usage};

const EXAMPLES: &str = "\
Examples:
  Attach an SBOM to an image, sign it, and require it when verifying:
    hardsign attach --type application/spdx+json --key release sbom.spdx.json \\
      registry.example.com/app@sha256:<digest>
    hardsign verify --with-attached application/spdx+json \\
      registry.example.com/app@sha256:<digest>

  Attach the output of a scanner:
    grype -o sarif registry.example.com/app@sha256:<digest> \\
      | hardsign attach --type application/sarif+json --title scan.sarif \\
        --key scanner - registry.example.com/app@sha256:<digest>

  Attach a file to an artifact in an OCI layout:
    hardsign attach --oci-layout --type application/spdx+json sbom.spdx.json \\
      ./layout:v1";

/// `hardsign attach`.
#[derive(Debug)]
pub(crate) struct AttachArgs {
    /// The file; `-` for standard input.
    pub(crate) file: String,
    pub(crate) reference: String,
    /// `--type`.
    pub(crate) artifact_type: String,
    /// Media type of the file itself.
    pub(crate) media_type: String,
    /// Name that the file gets where it is pulled.
    pub(crate) title: Option<String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) signing: Signing,
    pub(crate) registry: Registry,
}

pub(super) fn definition() -> Command {
    let command = flags::verb("attach", "Attach signed files to artifacts", EXAMPLES)
        .arg(flags::value(
            "type",
            "TYPE",
            "Artifact type to attach the file as, for instance application/spdx+json",
        ))
        .arg(flags::value(
            "media-type",
            "TYPE",
            "Media type of the file [default: the artifact type]",
        ))
        .arg(flags::value(
            "title",
            "NAME",
            "File name to record for those who pull it [default: its own]",
        ))
        .arg(flags::list(
            "annotation",
            "KEY=VALUE",
            "Annotation for the attached artifact (repeatable)",
        ));
    signing_flags(command)
        .mut_arg("output", |output| {
            output.help("Output format: text or json")
        })
        .args(flags::registry())
        .arg(flags::oci_layout())
        .arg(flags::switch(
            "force-referrers-tag",
            "List it in the referrers tag schema instead of the referrers API",
        ))
        .arg(flags::positional(
            "file> <reference",
            "The file (- for standard input), then the artifact: <registry>/<repository>@<digest>",
        ))
}

impl AttachArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let Ok([file, reference]) = <[String; 2]>::try_from(reader.all("positional")) else {
            return Err(Usage::new("attach takes a file and a reference".to_owned()));
        };
        reader.required(&["type"])?;
        let artifact_type = type_of(&reader, "type")?.unwrap_or_default();
        let media_type = type_of(&reader, "media-type")?;
        Ok(Self {
            media_type: media_type.unwrap_or_else(|| artifact_type.clone()),
            artifact_type,
            title: title(&reader, &file)?,
            annotations: reader.pairs("annotation")?,
            signing: Signing {
                output: reader.output()?,
                ..Signing::read(&reader)?
            },
            registry: Registry::read(&reader)?,
            file,
            reference,
        })
    }
}

fn type_of(reader: &Reader<'_>, flag: &str) -> Result<Option<String>, Usage> {
    let Some(text) = reader.text(flag) else {
        return Ok(None);
    };
    check_type(&text)
        .map_err(|error| Usage::new(format!("invalid argument for \"--{flag}\" flag: {error}")))?;
    Ok(Some(text))
}

/// A plain file name: whoever pulls it writes it into a directory of theirs.
fn title(reader: &Reader<'_>, file: &str) -> Result<Option<String>, Usage> {
    let Some(title) = reader.text("title") else {
        let name = Path::new(file).file_name().filter(|_| file != "-");
        return Ok(name.map(|name| name.to_string_lossy().into_owned()));
    };
    let plain = !matches!(title.as_str(), "" | "." | "..")
        && !title.contains(|c: char| matches!(c, '/' | '\\') || c.is_control());
    match plain {
        true => Ok(Some(title)),
        false => Err(Usage::new(format!(
            "invalid argument {title:?} for \"--title\" flag: it is not a file name"
        ))),
    }
}
