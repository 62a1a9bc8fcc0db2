//! `hardsign certificate`: flags and their rules (CLI-69 to CLI-83).

use hardsign_core::trust::{StoreName, StoreRef, StoreType};

use super::flags::{self, Reader};
use super::{Arg, ArgMatches, Command, Output, Usage};

const EXAMPLES: &str = "\
Examples:
  Trust a CA for signatures, and see what is trusted:
    hardsign certificate add --type ca --store acme acme-root.crt
    hardsign certificate list

  Try signing with a key and a certificate for testing:
    hardsign certificate generate-test --default demo.example.com";

const ADD: &str = "\
Examples:
  Trust a CA for signatures:
    hardsign certificate add --type ca --store acme acme-root.crt

  Trust a timestamping authority:
    hardsign certificate add --type tsa --store acme-tsa tsa-root.crt";

const LIST: &str = "\
Examples:
  List the trusted certificates:
    hardsign certificate list

  List those of one trust store:
    hardsign certificate list --type ca --store acme";

const SHOW: &str = "\
Examples:
  Show a certificate of a trust store:
    hardsign certificate show --type ca --store acme acme-root.crt";

const DELETE: &str = "\
Examples:
  Stop trusting one certificate:
    hardsign certificate delete --type ca --store acme acme-root.crt

  Delete a trust store without confirmation:
    hardsign certificate delete --type ca --store acme --all --yes";

const GENERATE_TEST: &str = "\
Examples:
  Make a test key, trust its certificate, and make it the default key:
    hardsign certificate generate-test --default demo.example.com";

const CLEANUP_TEST: &str = "\
Examples:
  Remove a test key and its certificate:
    hardsign certificate cleanup-test demo.example.com";

/// `hardsign certificate add`.
#[derive(Debug)]
pub(crate) struct AddArgs {
    pub(crate) store: StoreRef,
    pub(crate) paths: Vec<String>,
}

/// `hardsign certificate list`.
#[derive(Debug)]
pub(crate) struct ListArgs {
    /// All of them where neither is given.
    pub(crate) filter: (Option<StoreType>, Option<StoreName>),
    pub(crate) output: Output,
}

/// `hardsign certificate show`.
#[derive(Debug)]
pub(crate) struct ShowArgs {
    pub(crate) store: StoreRef,
    pub(crate) file: String,
    pub(crate) output: Output,
}

/// `hardsign certificate delete`.
#[derive(Debug)]
pub(crate) struct DeleteArgs {
    pub(crate) store: StoreRef,
    /// One file, or with nothing the whole store.
    pub(crate) file: Option<String>,
    pub(crate) yes: bool,
}

/// `hardsign certificate generate-test`.
#[derive(Debug)]
pub(crate) struct GenerateTestArgs {
    pub(crate) name: StoreName,
    pub(crate) bits: u32,
    pub(crate) default: bool,
}

/// `hardsign certificate cleanup-test`.
#[derive(Debug)]
pub(crate) struct CleanupTestArgs {
    pub(crate) name: StoreName,
    pub(crate) yes: bool,
}

pub(super) fn definition() -> Command {
    let file = || flags::positional("file", "Name of the certificate file in the store");
    flags::verb("certificate", "Manage trusted certificates", EXAMPLES)
        .visible_alias("cert")
        .subcommand(
            flags::verb("add", "Add certificates to a trust store", ADD)
                .args(store_flags())
                .arg(flags::output())
                .arg(flags::positional(
                    "path...",
                    "Certificate files, PEM or DER",
                )),
        )
        .subcommand(
            flags::verb("list", "List the trusted certificates", LIST)
                .visible_alias("ls")
                .args(store_flags())
                .arg(flags::output()),
        )
        .subcommand(
            flags::verb(
                "show",
                "Show the certificates in a file of a trust store",
                SHOW,
            )
            .args(store_flags())
            .arg(flags::output())
            .arg(file()),
        )
        .subcommand(
            flags::verb(
                "delete",
                "Delete a certificate or a whole trust store",
                DELETE,
            )
            .args(store_flags())
            .arg(flags::switch("all", "Delete the whole trust store").short('a'))
            .arg(flags::yes())
            .arg(flags::output())
            .arg(file()),
        )
        .subcommand(
            flags::verb(
                "generate-test",
                "Generate an RSA key and a self-signed certificate, for testing only",
                GENERATE_TEST,
            )
            .arg(flags::value("bits", "N", "Size of the RSA key [default: 2048]").short('b'))
            .arg(flags::switch("default", "Make it the default signing key"))
            .arg(flags::output())
            .arg(flags::positional(
                "common_name",
                "Common name of the certificate",
            )),
        )
        .subcommand(
            flags::verb(
                "cleanup-test",
                "Remove a test key and its certificate",
                CLEANUP_TEST,
            )
            .arg(flags::yes())
            .arg(flags::output())
            .arg(flags::positional(
                "common_name",
                "Common name of the certificate",
            )),
        )
}

fn store_flags() -> [Arg; 2] {
    [
        flags::value(
            "type",
            "TYPE",
            "Trust store type: ca, signingAuthority or tsa",
        )
        .short('t'),
        flags::value("store", "NAME", "Trust store name").short('s'),
    ]
}

impl AddArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let paths = reader.all("positional");
        if paths.is_empty() {
            return Err(Usage::new("missing certificate path".to_owned()));
        }
        let store = store(&reader)?;
        reader.output()?;
        Ok(Self { store, paths })
    }
}

impl ListArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let text = |flag| reader.text(flag).filter(|text| !text.is_empty());
        let name = text("store").map(|name| store_name(&name)).transpose()?;
        let filter = match text("type") {
            None => (None, name),
            Some(wanted) => {
                let of_type = store_type(&wanted).ok_or_else(|| no_store_type(&wanted))?;
                (Some(of_type), name)
            }
        };
        Ok(Self {
            filter,
            output: reader.output()?,
        })
    }
}

impl ShowArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut files = reader.all("positional");
        match files.len() {
            0 => return Err(Usage::new("missing certificate file name".to_owned())),
            1 => {}
            _ => {
                return Err(Usage::new(
                    "show only supports single certificate file".to_owned(),
                ));
            }
        }
        let store = store(&reader)?;
        let file = files.remove(0);
        if file.is_empty() {
            return Err(Usage::new(
                "certificate fileName cannot be empty".to_owned(),
            ));
        }
        Ok(Self {
            store,
            file,
            output: reader.output()?,
        })
    }
}

impl DeleteArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06 and CLI-76.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let all = reader.switch("all")?;
        let mut files = reader.all("positional");
        let file = match (all, files.len()) {
            (true, 0) => None,
            (true, _) => {
                return Err(Usage::new(
                    "cannot delete a single certificate file when --all flag is set. use --help flag for more details"
                        .to_owned(),
                ));
            }
            (false, 1) => Some(files.remove(0)),
            (false, _) => {
                return Err(Usage::new(
                    "delete requires either the certificate file name that needs to be deleted or --all flag to delete all certificates in the given named trust store"
                        .to_owned(),
                ));
            }
        };
        let store = store(&reader)?;
        reader.output()?;
        Ok(Self {
            store,
            file,
            yes: reader.switch("yes")?,
        })
    }
}

impl GenerateTestArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let bits = match reader.text("bits") {
            None => 2048,
            Some(text) => text.parse().map_err(|_| {
                Usage::new(format!(
                    "invalid argument {text:?} for \"-b, --bits\" flag: strconv.ParseInt: parsing {text:?}: invalid syntax"
                ))
            })?,
        };
        let name = common_name(
            &reader,
            "missing certificate common_name",
            "name needs to follow",
        )?;
        if !matches!(bits, 2048 | 3072 | 4096) {
            return Err(Usage::new(format!(
                "RSA keys have 2048, 3072 or 4096 bits, not {bits}"
            )));
        }
        reader.output()?;
        Ok(Self {
            name,
            bits,
            default: reader.switch("default")?,
        })
    }
}

impl CleanupTestArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = common_name(
            &reader,
            "missing certificate common name",
            "certificate common name must follow",
        )?;
        reader.output()?;
        Ok(Self {
            name,
            yes: reader.switch("yes")?,
        })
    }
}

fn common_name(reader: &Reader<'_>, missing: &str, malformed: &str) -> Result<StoreName, Usage> {
    let names = reader.all("positional");
    match names.as_slice() {
        [] => Err(Usage::new(missing.to_owned())),
        [name] => StoreName::parse(name)
            .map_err(|_| Usage::new(format!("{malformed} [a-zA-Z0-9_.-]+ format"))),
        more => Err(Usage::new(format!(
            "accepts 1 arg(s), received {}",
            more.len()
        ))),
    }
}

/// `--type` and `--store`, both required.
fn store(reader: &Reader<'_>) -> Result<StoreRef, Usage> {
    reader.required(&["type", "store"])?;
    let wanted = reader.text("type").unwrap_or_default();
    if wanted.is_empty() {
        return Err(Usage::new("store type cannot be empty".to_owned()));
    }
    Ok(StoreRef {
        store_type: store_type(&wanted).ok_or_else(|| no_store_type(&wanted))?,
        name: store_name(&reader.text("store").unwrap_or_default())?,
    })
}

fn no_store_type(wanted: &str) -> Usage {
    let fault = Usage::new(format!("unsupported store type: {wanted}"));
    fault.meant(wanted, StoreType::ALL.map(StoreType::name))
}

fn store_type(name: &str) -> Option<StoreType> {
    StoreType::ALL
        .into_iter()
        .find(|known| known.name() == name)
}

fn store_name(name: &str) -> Result<StoreName, Usage> {
    StoreName::parse(name).map_err(|_| {
        Usage::new("named store name needs to follow [a-zA-Z0-9_.-]+ format".to_owned())
    })
}
