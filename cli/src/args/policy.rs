//! `hardsign policy`: flags and their rules (CLI-84 to CLI-90).

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Output, Usage};

const EXAMPLES: &str = "\
Examples:
  Use a trust policy for OCI artifacts:
    hardsign policy import my-policy.json

  Show the one in use:
    hardsign policy show

  Explain what it demands of an artifact, without the network:
    hardsign policy explain registry.example.com/app:v1";

/// `hardsign policy import`.
#[derive(Debug)]
pub(crate) struct ImportArgs {
    pub(crate) path: String,
    pub(crate) force: bool,
}

/// `hardsign policy explain` and `hardsign blob policy explain`.
#[derive(Debug)]
pub(crate) struct ExplainArgs {
    /// The artifact or its repository; for files the name of a statement, or nothing.
    pub(crate) subject: Option<String>,
    /// `--policy`.
    pub(crate) policy_file: Option<String>,
    pub(crate) output: Output,
}

pub(super) fn definition() -> Command {
    group("Manage the trust policy for OCI artifacts", EXAMPLES).subcommand(
        explain(
            "Explain what the trust policy demands of an artifact, without the network",
            EXAMPLES,
        )
        .arg(flags::positional(
            "reference",
            "The artifact, or its repository: <registry>/<repository>[:<tag>|@<digest>]",
        )),
    )
}

/// `explain`, as it is for artifacts and files.
pub(super) fn explain(about: &'static str, examples: &'static str) -> Command {
    flags::verb("explain", about, examples)
        .arg(flags::policy())
        .arg(flags::output())
}

/// The commands that the policies for artifacts and for files have in common.
pub(super) fn group(about: &'static str, examples: &'static str) -> Command {
    flags::verb("policy", about, examples)
        .subcommand(
            flags::verb("import", "Use the trust policy of a JSON file", examples)
                .arg(flags::force(
                    "Replace an existing policy without a question",
                ))
                .arg(flags::output())
                .arg(flags::positional("path", "The file")),
        )
        .subcommand(
            flags::verb("show", "Print the trust policy in use", examples)
                .arg(flags::positional("none", "").hide(true)),
        )
}

impl ImportArgs {
    /// `command` is the command group, for instance `blob policy`.
    ///
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str, command: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut paths = reader.all("positional");
        if paths.len() != 1 {
            return Err(Usage(format!(
                "requires 1 argument but received {}.\nUsage: {program} {command} import <path-to-policy.json>\nPlease specify a trust policy {} location as the argument",
                paths.len(),
                if command.starts_with("blob") {
                    "configuration"
                } else {
                    "file"
                }
            )));
        }
        reader.output()?;
        Ok(Self {
            path: paths.remove(0),
            force: reader.switch("force")?,
        })
    }
}

impl ExplainArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let reference = reader.one("policy explain", program)?;
        Self::about(&reader, Some(reference))
    }

    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read_blob(matches: &ArgMatches) -> Result<Self, Usage> {
        no_arguments(matches)?;
        let reader = Reader(matches);
        Self::about(&reader, reader.text("policy-name"))
    }

    fn about(reader: &Reader<'_>, subject: Option<String>) -> Result<Self, Usage> {
        Ok(Self {
            subject,
            policy_file: reader.text("policy"),
            output: reader.output()?,
        })
    }
}

/// Refuses arguments to a command that takes none.
///
/// # Errors
/// [`Usage`] with the number of arguments.
pub(crate) fn no_arguments(matches: &ArgMatches) -> Result<(), Usage> {
    match Reader(matches).all("positional").len() {
        0 => Ok(()),
        more => Err(Usage(format!("accepts 0 arg(s), received {more}"))),
    }
}
