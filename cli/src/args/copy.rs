//! `hardsign copy`: flags and their rules.

use hardsign_core::oci::auth::Secret;

use super::deadline::READING;
use super::flags::{self, Reader};
use super::{Arg, ArgMatches, Command, Deadline, Output, Registry, Usage};

const EXAMPLES: &str = "\
Examples:
  Copy an artifact with its signatures and everything else attached to it:
    hardsign copy registry.example.com/app:v1 mirror.example.com/app

  Carry it into an isolated network in an OCI layout:
    hardsign copy --to-oci-layout registry.example.com/app:v1 ./layout:v1
    hardsign copy --from-oci-layout ./layout:v1 registry.inside/app:v1

  Copy an artifact and verify the copy:
    hardsign copy registry.example.com/app:v1 mirror.example.com/app:v1
    hardsign verify mirror.example.com/app:v1";

/// `hardsign copy`.
#[derive(Debug)]
pub(crate) struct CopyArgs {
    pub(crate) ends: Ends,
    /// Copy what is attached too.
    pub(crate) referrers: bool,
    pub(crate) output: Output,
    pub(crate) deadline: Deadline,
}

/// From where to where, and how the two are reached.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) from_layout: bool,
    pub(crate) to_layout: bool,
    /// How registries are reached.
    pub(crate) registry: Registry,
    /// User name and password for the source alone.
    pub(crate) from: Option<(String, Secret)>,
    /// User name and password for the destination alone.
    pub(crate) to: Option<(String, Secret)>,
}

pub(super) fn definition() -> Command {
    flags::verb("copy", "Copy artifacts with their signatures", EXAMPLES)
        .visible_alias("cp")
        .args(flags::registry())
        .args(Ends::flags())
        .arg(flags::switch(
            "without-referrers",
            "Copy only the artifact, not its signatures or anything else attached to it",
        ))
        .arg(flags::switch(
            "force-referrers-tag",
            "List attachments in the referrers tag schema instead of the referrers API",
        ))
        .arg(flags::deadline())
        .arg(flags::output())
        .arg(Ends::positional())
}

impl CopyArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        Ok(Self {
            ends: Ends::read(&reader, "copy")?,
            referrers: !reader.switch("without-referrers")?,
            output: reader.output()?,
            deadline: reader.deadline(READING)?,
        })
    }
}

impl Ends {
    pub(super) fn flags() -> [Arg; 6] {
        [
            flags::switch(
                "from-oci-layout",
                "The source is an OCI image layout: <path>:<tag> or <path>@<digest>",
            ),
            flags::switch(
                "to-oci-layout",
                "The destination is an OCI image layout, created if missing: <path>[:<tag>]",
            ),
            flags::value(
                "from-username",
                "NAME",
                "User name for the source registry only",
            ),
            flags::value(
                "from-password",
                "PASSWORD",
                "Password for the source registry only",
            ),
            flags::value(
                "to-username",
                "NAME",
                "User name for the destination registry only",
            ),
            flags::value(
                "to-password",
                "PASSWORD",
                "Password for the destination registry only",
            ),
        ]
    }

    pub(super) fn positional() -> Arg {
        flags::positional(
            "source> <destination",
            "Source: <registry>/<repository>:<tag> or @<digest>; destination: <registry>/<repository>[:<tag>] [default tag: that of the source]",
        )
    }

    pub(super) fn read(reader: &Reader<'_>, command: &str) -> Result<Self, Usage> {
        let Ok([source, destination]) = <[String; 2]>::try_from(reader.all("positional")) else {
            return Err(Usage::new(format!(
                "{command} takes a source and a destination"
            )));
        };
        reader.together(&["from-username", "from-password"])?;
        reader.together(&["to-username", "to-password"])?;
        reader.exclusive(&["to-oci-layout", "force-referrers-tag"])?;
        let own = |username: &str, password: &str| {
            let password = Secret::new(reader.text(password)?);
            Some((reader.text(username)?, password))
        };
        Ok(Self {
            source,
            destination,
            from_layout: reader.switch("from-oci-layout")?,
            to_layout: reader.switch("to-oci-layout")?,
            registry: Registry::read(reader)?,
            from: own("from-username", "from-password"),
            to: own("to-username", "to-password"),
        })
    }
}
