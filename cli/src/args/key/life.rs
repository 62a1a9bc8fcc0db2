//! `hardsign key create`, `request`, `certify`, `renew`, `crl`, `import-cert`, `export-cert`, `show`: flags
//! and their rules.

use std::str::FromStr as _;

use clap::{Arg, ArgMatches, Command};
use hardsign_core::algorithm::KeySpec;
use hardsign_core::certify::{Reason, RsaPadding};
use hardsign_core::trust::StoreName;
use hardsign_plugin::proto::{PinPolicy, TouchPolicy};

use super::super::flags::{self, Reader};
use super::super::{BTreeMap, Output, Usage};

/// A plugin, and a key or a place in its own terms.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) plugin: String,
    pub(crate) id: String,
    pub(crate) config: BTreeMap<String, String>,
}

/// `hardsign key create`.
#[derive(Debug)]
pub(crate) struct CreateArgs {
    pub(crate) name: String,
    pub(crate) device: Device,
    pub(crate) key_spec: KeySpec,
    pub(crate) pin_policy: Option<PinPolicy>,
    pub(crate) touch_policy: Option<TouchPolicy>,
    pub(crate) default: bool,
    pub(crate) force: bool,
    pub(crate) yes: bool,
}

/// `hardsign key request`.
#[derive(Debug)]
pub(crate) struct RequestArgs {
    pub(crate) name: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) subject: String,
    pub(crate) padding: RsaPadding,
    pub(crate) out: Out,
}

/// `hardsign key certify`.
#[derive(Debug)]
pub(crate) struct CertifyArgs {
    /// Whose certificate it will be.
    pub(crate) holder: Holder,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) terms: Terms,
    /// The path length of a CA certificate.
    pub(crate) ca: Option<u8>,
    pub(crate) trust: Option<StoreName>,
    /// Replaces the file, and the certificate of a device that keeps one only.
    pub(crate) force: bool,
    pub(crate) out: Out,
}

/// Who gets a certificate.
#[derive(Debug)]
pub(crate) enum Holder {
    /// A key of the list.
    Key { name: String, subject: String },
    /// A request in a file, under its own subject or another.
    Request {
        file: String,
        subject: Option<String>,
    },
}

/// What certificates of `certify` and `renew` have in common.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) days: u32,
    pub(crate) issuer: Option<String>,
    pub(crate) crl_url: Option<String>,
    pub(crate) padding: RsaPadding,
}

/// `hardsign key renew`.
#[derive(Debug)]
pub(crate) struct RenewArgs {
    pub(crate) name: String,
    pub(crate) config: BTreeMap<String, String>,
    /// A request in place of a certificate.
    pub(crate) request: bool,
    /// A new key beside the old one, in place of the same.
    pub(crate) new_key: Option<NewKeyArgs>,
    pub(crate) terms: Terms,
    pub(crate) trust: Option<StoreName>,
    pub(crate) out: Out,
}

/// `hardsign key renew --new-key`.
#[derive(Debug)]
pub(crate) struct NewKeyArgs {
    /// Its name in the list; made of the old one's if it is not given.
    pub(crate) name: Option<String>,
    /// Its id; the plugin's choice if it is not given.
    pub(crate) id: Option<String>,
    /// Type and size; those of the old key if they are not given.
    pub(crate) key_spec: Option<KeySpec>,
    pub(crate) pin_policy: Option<PinPolicy>,
    pub(crate) touch_policy: Option<TouchPolicy>,
    pub(crate) default: bool,
    pub(crate) yes: bool,
}

/// `hardsign key crl`.
#[derive(Debug)]
pub(crate) struct CrlArgs {
    pub(crate) name: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) revoke: Vec<String>,
    pub(crate) reason: Reason,
    pub(crate) days: u32,
    pub(crate) padding: RsaPadding,
    pub(crate) out: Out,
}

/// `hardsign key import-cert`.
#[derive(Debug)]
pub(crate) struct ImportArgs {
    pub(crate) name: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) files: Vec<String>,
    pub(crate) ca: bool,
    pub(crate) force: bool,
}

/// `hardsign key export-cert` and `key show`.
#[derive(Debug)]
pub(crate) struct LookArgs {
    pub(crate) name: String,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) out: Out,
    pub(crate) output: Output,
}

/// Where a document goes.
#[derive(Debug)]
pub(crate) struct Out {
    /// Standard output if there is none.
    pub(crate) file: Option<String>,
    pub(crate) force: bool,
}

const CREATE: &str = "\
Examples:
  Create a key in a SoftHSM token and make it the default:
    hardsign key create release --plugin pkcs11 --type EC-384 --default \\
      --id 'pkcs11:token=release;object=signing' \\
      --plugin-config module-path=/usr/lib/softhsm/libsofthsm2.so

  Create a key on a YubiKey that asks for the PIN once and for touches:
    hardsign key create release --plugin yubikey --id yubikey:slot=9c \\
      --type EC-256 --pin-policy once --touch-policy cached

  Create a software key for development:
    hardsign key create dev --plugin local --id ./dev.key --type EC-256";

const REQUEST: &str = "\
Examples:
  Get a certificate from a CA: write a request, then store the CA's answer:
    hardsign key request release --subject 'C=US,ST=WA,O=Example,CN=release' \\
      --out release.csr
    hardsign key import-cert release release.crt intermediate.crt root.crt

  Write a request for a CA that does not support RSASSA-PSS:
    hardsign key request release --subject 'C=US,ST=WA,O=Example,CN=release' \\
      --rsa-padding pkcs1v15";

const CERTIFY: &str = "\
Examples:
  Make a self-signed certificate and trust it on this machine:
    hardsign key certify release --subject 'C=US,ST=WA,O=Example,CN=release' \\
      --days 365 --trust example

  Set up a small CA, trust it on this machine, and issue a certificate:
    hardsign key certify root --subject 'C=US,ST=WA,O=Example,CN=Example CA' \\
      --days 3650 --ca --trust example
    hardsign key certify release --subject 'C=US,ST=WA,O=Example,CN=release' \\
      --days 365 --issuer root

  Issue a certificate for someone else's request:
    hardsign key certify --request build.csr --days 365 --issuer root \\
      --out build.crt";

const RENEW: &str = "\
Examples:
  Renew the certificate with the same CA:
    hardsign key renew release --days 365 --issuer root

  Write a new request for an external CA:
    hardsign key renew release --csr --out release.csr

  Create a new key and keep the old one:
    hardsign key renew release --new-key --days 365 --issuer root

  Create the new key in a given slot:
    hardsign key renew release --new-key --id yubikey:slot=82 --days 365 \\
      --issuer root";

const CRL: &str = "\
Examples:
  Revoke a certificate; publish the list at the URL that the certificates name:
    hardsign key crl root --revoke 4f2a09c3 --reason keyCompromise

  Reissue the list before it expires:
    hardsign key crl root --days 30 --out example.crl";

const IMPORT: &str = "\
Examples:
  Store certificates issued by a CA, in any order:
    hardsign key import-cert release release.crt chain.pem

  Store a CA certificate for the key of a CA:
    hardsign key import-cert root root.crt --ca";

const EXPORT: &str = "\
Examples:
  Write a key's certificate chain to a file:
    hardsign key export-cert release --out release.pem";

const SHOW: &str = "\
Examples:
  Show a key's device, properties and certificates:
    hardsign key show release";

pub(super) fn definitions() -> Vec<Command> {
    vec![
        create(),
        request(),
        certify(),
        renew(),
        crl(),
        flags::verb("import-cert", "Store a key's certificates", IMPORT)
            .arg(flags::switch("ca", "Store a CA certificate"))
            .arg(flags::force("Replace existing certificates of the key"))
            .args(common())
            .arg(flags::positional(
                "key_name> <file...",
                "Name of the key in the list, then certificate files, PEM or DER",
            )),
        flags::verb(
            "export-cert",
            "Print a key's certificate chain, leaf first",
            EXPORT,
        )
        .args(out("Write to this file instead of standard output"))
        .args(common())
        .arg(name()),
        flags::verb(
            "show",
            "Show a key's device, properties and certificates",
            SHOW,
        )
        .args(common())
        .arg(name()),
    ]
}

fn create() -> Command {
    flags::verb(
        "create",
        "Create a key on a device and add it to the list",
        CREATE,
    )
    .args(device(
        "Plugin of the device (required)",
        "Key id of the new key, as the plugin writes it (required)",
    ))
    .arg(flags::value(
        "type",
        "TYPE",
        "RSA-2048, RSA-3072, RSA-4096, EC-256, EC-384 or EC-521 (required)",
    ))
    .args(policies())
    .arg(flags::switch("default", "Make it the default signing key"))
    .arg(flags::force(
        "Replace an existing key: tokens and files lose the old one permanently, services keep it",
    ))
    .arg(flags::yes())
    .arg(flags::output())
    .arg(name())
}

fn request() -> Command {
    flags::verb("request", "Create a certificate request for a key", REQUEST)
        .arg(subject())
        .args(out("Write to this file instead of standard output"))
        .args(common())
        .arg(padding())
        .arg(name())
}

fn certify() -> Command {
    flags::verb(
        "certify",
        "Certify a key, self-signed or with a CA key",
        CERTIFY,
    )
    .arg(subject())
    .arg(days("How long the certificate is valid (required)"))
    .arg(flags::switch("ca", "Make a CA certificate"))
    .arg(flags::value(
        "path-length",
        "N",
        "Number of CAs allowed below this one [default: 0]",
    ))
    .arg(issuer())
    .arg(flags::value(
        "request",
        "FILE",
        "Certify the key in this request file instead of a key in the list",
    ))
    .arg(crl_url())
    .arg(trust())
    .arg(flags::value(
        "out",
        "FILE",
        "Also write the certificate chain to this file",
    ))
    .arg(flags::force(
        "Overwrite the file, and replace the certificate on a device that holds only one",
    ))
    .args(common())
    .arg(padding())
    .arg(name())
}

fn renew() -> Command {
    flags::verb(
        "renew",
        "Renew a key's certificate, or request a new one, with the same subject",
        RENEW,
    )
    .arg(days("How long the certificate is valid"))
    .arg(issuer())
    .arg(flags::switch(
        "csr",
        "Create a request instead of a certificate",
    ))
    .args(new_key())
    .arg(crl_url())
    .arg(trust())
    .args(out("Write it to this file"))
    .args(common())
    .arg(padding())
    .arg(name())
}

fn crl() -> Command {
    flags::verb("crl", "Issue the revocation list of a CA key", CRL)
        .arg(flags::list(
            "revoke",
            "SERIAL",
            "Revoke the certificate with this serial number (repeatable)",
        ))
        .arg(flags::value(
            "reason",
            "REASON",
            "unspecified, keyCompromise, superseded or cessationOfOperation [default: unspecified]",
        ))
        .arg(days("How long the list is valid [default: 30]"))
        .args(out("Also write the list to this file"))
        .args(common())
        .arg(padding())
        .arg(name())
}

fn name() -> Arg {
    flags::positional("key_name", "Name of the key in the list")
}

fn days(help: &'static str) -> Arg {
    flags::value("days", "N", help)
}

fn subject() -> Arg {
    flags::value(
        "subject",
        "NAME",
        "Subject, for instance C=US,ST=WA,O=Example,CN=release",
    )
}

fn issuer() -> Arg {
    flags::value(
        "issuer",
        "CA-KEY",
        "Key in the list that issues the certificate [default: the key itself]",
    )
}

fn crl_url() -> Arg {
    flags::value(
        "crl-url",
        "URL",
        "http URL where the CA's revocation list will be published",
    )
}

fn trust() -> Arg {
    flags::value(
        "trust",
        "STORE",
        "Add the root to this trust store of type ca",
    )
}

/// The flags that name a device.
pub(crate) fn device(plugin: &'static str, id: &'static str) -> [Arg; 3] {
    [
        flags::value("plugin", "NAME", plugin),
        flags::value("id", "KEY-ID", id),
        flags::plugin_config("Setting to pass to the plugin (repeatable)"),
    ]
}

/// The flags that say when a key asks for its PIN and for a touch.
fn policies() -> [Arg; 2] {
    [
        flags::value(
            "pin-policy",
            "POLICY",
            "When the key requires the PIN: never, once or always [default: the device's]",
        ),
        flags::value(
            "touch-policy",
            "POLICY",
            "When the key requires a touch: never, always or cached [default: the device's]",
        ),
    ]
}

/// The flags that make a new key beside an old one.
fn new_key() -> Vec<Arg> {
    let [pin, touch] = policies();
    vec![
        flags::switch("new-key", "Create a new key and keep the old one"),
        flags::value(
            "as",
            "NAME",
            "Name of the new key in the list [default: the old name with a number]",
        ),
        flags::value(
            "id",
            "KEY-ID",
            "Key id of the new key, as the plugin writes it; required if the device has slots",
        ),
        flags::value(
            "type",
            "TYPE",
            "Type of the new key [default: the old one's]",
        ),
        pin,
        touch,
        flags::switch("default", "Make the new key the default signing key"),
        flags::yes(),
    ]
}

fn common() -> [Arg; 2] {
    [
        flags::plugin_config("Setting to pass to the key's plugin (repeatable)"),
        flags::output(),
    ]
}

fn out(help: &'static str) -> [Arg; 2] {
    [
        flags::value("out", "FILE", help),
        flags::force("Overwrite the file"),
    ]
}

fn padding() -> Arg {
    flags::value(
        "rsa-padding",
        "PADDING",
        "Padding for RSA signatures: pss or pkcs1v15 [default: pss]",
    )
}

impl Device {
    pub(in crate::args) fn read(reader: &Reader<'_>) -> Result<Self, Usage> {
        Ok(Self {
            plugin: reader.text("plugin").unwrap_or_default(),
            id: reader.text("id").unwrap_or_default(),
            config: reader.pairs("plugin-config")?,
        })
    }
}

impl Out {
    fn read(reader: &Reader<'_>) -> Result<Self, Usage> {
        let out = Self::read_with_other_force(reader)?;
        if out.force && out.file.is_none() {
            return Err(Usage::new("--force needs --out".to_owned()));
        }
        Ok(out)
    }

    /// Of a command whose --force is for something else as well.
    fn read_with_other_force(reader: &Reader<'_>) -> Result<Self, Usage> {
        let file = reader.text("out");
        if file.as_deref() == Some("") {
            return Err(Usage::new("--out needs a file name".to_owned()));
        }
        Ok(Self {
            file,
            force: reader.switch("force")?,
        })
    }
}

impl Terms {
    fn read(reader: &Reader<'_>, days: u32) -> Result<Self, Usage> {
        Ok(Self {
            days,
            issuer: reader.text("issuer"),
            crl_url: reader.text("crl-url"),
            padding: read_padding(reader)?,
        })
    }
}

fn read_padding(reader: &Reader<'_>) -> Result<RsaPadding, Usage> {
    match reader.text("rsa-padding").as_deref() {
        None | Some("pss") => Ok(RsaPadding::Pss),
        Some("pkcs1v15") => Ok(RsaPadding::Pkcs1),
        Some(other) => {
            let fault = Usage::new(format!(
                "invalid argument {other:?} for \"--rsa-padding\" flag: the paddings are pss and pkcs1v15"
            ));
            Err(fault.meant(other, ["pss", "pkcs1v15"]))
        }
    }
}

fn read_type(text: &str) -> Result<KeySpec, Usage> {
    KeySpec::from_str(&text.to_ascii_uppercase()).map_err(|_| {
        let known = KeySpec::ALL.map(KeySpec::name).join(", ");
        let fault = Usage::new(format!(
            "invalid argument {text:?} for \"--type\" flag: the types are {known}"
        ));
        fault.meant(text, KeySpec::ALL.map(KeySpec::name))
    })
}

fn read_pin_policy(reader: &Reader<'_>) -> Result<Option<PinPolicy>, Usage> {
    let policy = reader
        .text("pin-policy")
        .map(|text| PinPolicy::from(&*text));
    match policy {
        Some(PinPolicy::Unknown(text)) => {
            let fault = Usage::new(format!(
                "invalid argument {text:?} for \"--pin-policy\" flag: the policies are never, once, always"
            ));
            Err(fault.meant(&text, ["never", "once", "always"]))
        }
        policy => Ok(policy),
    }
}

fn read_touch_policy(reader: &Reader<'_>) -> Result<Option<TouchPolicy>, Usage> {
    let policy = reader
        .text("touch-policy")
        .map(|text| TouchPolicy::from(&*text));
    match policy {
        Some(TouchPolicy::Unknown(text)) => {
            let fault = Usage::new(format!(
                "invalid argument {text:?} for \"--touch-policy\" flag: the policies are never, always, cached"
            ));
            Err(fault.meant(&text, ["never", "always", "cached"]))
        }
        policy => Ok(policy),
    }
}

fn read_days(reader: &Reader<'_>) -> Result<Option<u32>, Usage> {
    let Some(number) = reader.number("days", "--days")? else {
        return Ok(None);
    };
    match u32::try_from(number) {
        Ok(days @ 1..) => Ok(Some(days)),
        _ => Err(Usage::new(format!(
            "days value {number} must be a positive number"
        ))),
    }
}

fn one_name(reader: &Reader<'_>) -> Result<String, Usage> {
    let mut names = reader.all("positional");
    match names.len() {
        1 => Ok(names.remove(0)),
        0 => Err(Usage::new("missing key name".to_owned())),
        more => Err(Usage::new(format!("accepts 1 arg(s), received {more}"))),
    }
}

fn read_trust(reader: &Reader<'_>) -> Result<Option<StoreName>, Usage> {
    let store = reader.text("trust").map(|name| StoreName::parse(&name));
    store.transpose().map_err(|_| {
        Usage::new("named store name needs to follow [a-zA-Z0-9_.-]+ format".to_owned())
    })
}

impl CreateArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader)?;
        reader.required(&["plugin", "id", "type"])?;
        let key_spec = read_type(&reader.text("type").unwrap_or_default())?;
        reader.output()?;
        Ok(Self {
            name,
            device: Device::read(&reader)?,
            key_spec,
            pin_policy: read_pin_policy(&reader)?,
            touch_policy: read_touch_policy(&reader)?,
            default: reader.switch("default")?,
            force: reader.switch("force")?,
            yes: reader.switch("yes")?,
        })
    }
}

impl RequestArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader)?;
        reader.required(&["subject"])?;
        reader.output()?;
        Ok(Self {
            name,
            config: reader.pairs("plugin-config")?,
            subject: reader.text("subject").unwrap_or_default(),
            padding: read_padding(&reader)?,
            out: Out::read(&reader)?,
        })
    }
}

impl CertifyArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let subject = reader.text("subject");
        let holder = match reader.text("request") {
            Some(file) => {
                if !reader.all("positional").is_empty() {
                    return Err(Usage::new(
                        "give either a key name or --request, not both".to_owned(),
                    ));
                }
                reader.required(&["issuer", "days"])?;
                Holder::Request { file, subject }
            }
            None => {
                let name = one_name(&reader)?;
                reader.required(&["subject", "days"])?;
                Holder::Key {
                    name,
                    subject: subject.unwrap_or_default(),
                }
            }
        };
        let days = read_days(&reader)?.unwrap_or_default();
        let ca = reader.switch("ca")?;
        let length = reader.number("path-length", "--path-length")?;
        if length.is_some() && !ca {
            return Err(Usage::new("--path-length needs --ca".to_owned()));
        }
        let length = u8::try_from(length.unwrap_or(0))
            .map_err(|_| Usage::new("path-length is a number from 0 to 255".to_owned()))?;
        reader.output()?;
        Ok(Self {
            holder,
            config: reader.pairs("plugin-config")?,
            terms: Terms::read(&reader, days)?,
            ca: ca.then_some(length),
            trust: read_trust(&reader)?,
            force: reader.switch("force")?,
            out: Out::read_with_other_force(&reader)?,
        })
    }
}

impl RenewArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader)?;
        let request = reader.switch("csr")?;
        if !request {
            reader.required(&["days"])?;
        }
        let days = read_days(&reader)?.unwrap_or_default();
        reader.output()?;
        let new_key = match reader.switch("new-key")? {
            true => Some(NewKeyArgs::read(&reader)?),
            false => None,
        };
        for flag in [
            "as",
            "id",
            "type",
            "pin-policy",
            "touch-policy",
            "default",
            "yes",
        ] {
            if new_key.is_none() && reader.given(flag) {
                return Err(Usage::new(format!("--{flag} needs --new-key")));
            }
        }
        for flag in ["issuer", "crl-url", "trust"] {
            if request && reader.given(flag) {
                return Err(Usage::new(format!(
                    "--{flag} is for a certificate; --csr makes a request"
                )));
            }
        }
        Ok(Self {
            name,
            config: reader.pairs("plugin-config")?,
            request,
            new_key,
            terms: Terms::read(&reader, days)?,
            trust: read_trust(&reader)?,
            out: Out::read(&reader)?,
        })
    }
}

impl NewKeyArgs {
    fn read(reader: &Reader<'_>) -> Result<Self, Usage> {
        let key_spec = reader.text("type").map(|text| read_type(&text));
        Ok(Self {
            name: reader.text("as"),
            id: reader.text("id"),
            key_spec: key_spec.transpose()?,
            pin_policy: read_pin_policy(reader)?,
            touch_policy: read_touch_policy(reader)?,
            default: reader.switch("default")?,
            yes: reader.switch("yes")?,
        })
    }
}

impl CrlArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader)?;
        let reason = match reader.text("reason") {
            None => Reason::default(),
            Some(text) => Reason::from_name(&text).ok_or_else(|| {
                let known = Reason::ALL.map(|(name, _)| name).join(", ");
                Usage::new(format!(
                    "invalid argument {text:?} for \"--reason\" flag: the reasons are {known}"
                ))
            })?,
        };
        reader.output()?;
        Ok(Self {
            name,
            config: reader.pairs("plugin-config")?,
            revoke: reader.all("revoke"),
            reason,
            days: read_days(&reader)?.unwrap_or(30),
            padding: read_padding(&reader)?,
            out: Out::read(&reader)?,
        })
    }
}

impl ImportArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut files = reader.all("positional");
        if files.is_empty() {
            return Err(Usage::new("missing key name".to_owned()));
        }
        let name = files.remove(0);
        if files.is_empty() {
            return Err(Usage::new("missing certificate path".to_owned()));
        }
        reader.output()?;
        Ok(Self {
            name,
            config: reader.pairs("plugin-config")?,
            files,
            ca: reader.switch("ca")?,
            force: reader.switch("force")?,
        })
    }
}

impl LookArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let name = one_name(&reader)?;
        Ok(Self {
            name,
            config: reader.pairs("plugin-config")?,
            output: reader.output()?,
            out: Out::read(&reader)?,
        })
    }
}
