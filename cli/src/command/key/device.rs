//! `hardsign key create`, `key show`, `key list --plugin`, `key import-cert` and `key export-cert`:
//! what is done with the device that a key lives in.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use hardsign_core::algorithm::KeySpec;
use hardsign_core::certify::{self, ImportError, arrange};
use hardsign_core::config::{ConfigError, SigningKeys, create_private_directory, write_atomic};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{KeyChoice, KeyStore, NewKey, OpenKey, PluginError, PluginKey};
use hardsign_core::text::WithCauses;
use hardsign_core::x509::Certificate;
use hardsign_plugin::proto::{
    Base64, Capability, CreateKeyResponse, KeyEntry, PluginConfig, Purpose, SignatureScheme,
};
use hardsign_plugin::text::plural;
use serde_json::{Value, json};

use super::super::{Context, Unanswered, certificate_file, signer};
use crate::args::Output;
use crate::args::key::life::{CreateArgs, Device, ImportArgs, LookArgs, Out};
use crate::failure::Failure;
use crate::output::{json, one_line};

/// The setting of a key that names its certificate file.
const CHAIN_FILE: &str = "cert-chain";

/// The certificate file that a key's settings name. It may be written `file:path`.
pub(in crate::command) fn chain_file(config: &PluginConfig) -> Option<&Path> {
    let named = config.get(CHAIN_FILE)?;
    Some(Path::new(named.strip_prefix("file:").unwrap_or(named)))
}

/// A key of the list, and the session of its device.
pub(super) struct Held {
    /// A command opens two at most and ends with them.
    pub(super) store: &'static KeyStore,
    id: String,
    pub(super) name: String,
    /// The certificate file that the key names, if any: signing then goes by that.
    chain_file: Option<PathBuf>,
    pub(super) key_spec: KeySpec,
    public_key: Option<Vec<u8>>,
    /// DER, leaf to root; empty if the key has none.
    pub(super) chain: Vec<Vec<u8>>,
    /// Whether the device keeps one certificate of the key, so that another takes its place.
    pub(super) one_chain: bool,
}

impl Held {
    /// A key as its device describes it. It is not opened: a session signs with one key, which may be that of its issuer.
    pub(super) async fn described(
        store: &'static KeyStore,
        name: &str,
        key: PluginKey,
    ) -> Result<Self, PluginError> {
        let chain_file = chain_file(&key.config).map(Path::to_owned);
        let mut config = key.config;
        // A file that is not there may be one that is to be written.
        if chain_file.as_ref().is_some_and(|file| !file.exists()) {
            config.remove(CHAIN_FILE);
        }
        let told = store.describe_key_with(&key.id, config).await?;
        Ok(Self {
            store,
            id: key.id,
            name: name.to_owned(),
            chain_file,
            key_spec: told.key_spec,
            public_key: told.public_key.map(|Base64(der)| der),
            chain: told
                .certificate_chain
                .into_iter()
                .map(|Base64(der)| der)
                .collect(),
            one_chain: told.one_chain,
        })
    }

    /// SubjectPublicKeyInfo in DER.
    pub(super) fn public_key(&self) -> Result<&[u8], Failure> {
        let none = || Failure::failed("the plugin returned no public key");
        self.public_key.as_deref().ok_or_else(none)
    }

    /// The certificate of the key, if it has one.
    pub(super) fn certificate(&self) -> Result<Option<Certificate>, Failure> {
        let parsed = self.chain.first().map(|der| Certificate::from_der(der));
        parsed.transpose().map_err(Failure::error)
    }
}

/// A key of the list that is open, to sign.
pub(super) struct Opened {
    pub(super) key: Held,
    open: OpenKey<'static>,
}

impl Deref for Opened {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.key
    }
}

impl Opened {
    /// Opens a key in a session that can be asked about it.
    pub(super) async fn of(
        store: &'static KeyStore,
        name: &str,
        key: PluginKey,
    ) -> Result<Self, PluginError> {
        let chain_file = chain_file(&key.config).map(Path::to_owned);
        let mut open = store
            .open_key(&key.id, key.config, Purpose::Certify)
            .await?;
        Ok(Self {
            key: Held {
                store,
                id: key.id,
                name: name.to_owned(),
                chain_file,
                key_spec: open.key_spec,
                public_key: open.public_key.take(),
                chain: std::mem::take(&mut open.certificate_chain),
                one_chain: open.one_chain,
            },
            open,
        })
    }

    pub(super) fn signs_pkcs1(&self) -> bool {
        self.open.schemes.contains(&SignatureScheme::RsassaPkcs1V15)
    }

    pub(super) async fn sign(&self, digest: &[u8], pkcs1: bool) -> Result<Vec<u8>, Failure> {
        let scheme = pkcs1.then_some(SignatureScheme::RsassaPkcs1V15);
        Ok(self.open.sign_digest(digest, scheme).await?)
    }
}

/// Opens a key of the list to certify.
pub(super) async fn open(
    name: &str,
    config: &PluginConfig,
    dirs: &Dirs,
    context: &Context,
) -> Result<Opened, Failure> {
    open_found(name, find(name, config, dirs, context)?, dirs, context).await
}

/// Looks at a key of the list that another one certifies.
pub(super) async fn look(
    name: &str,
    config: &PluginConfig,
    dirs: &Dirs,
    context: &Context,
) -> Result<Held, Failure> {
    let key = find(name, config, dirs, context)?;
    let store = connect(&key, dirs, context).await?;
    or_close(store, Held::described(store, name, key).await).await
}

/// Opens the key of an issuer: in the session of the key that it certifies, if that can be asked about both. A device that one
/// process has for itself answers no second one, and one login is enough.
pub(super) async fn open_issuer(
    name: &str,
    beside: Option<&'static KeyStore>,
    dirs: &Dirs,
    context: &Context,
) -> Result<Opened, Failure> {
    let key = find(name, &PluginConfig::new(), dirs, context)?;
    match beside.filter(|store| store.serves(&key)) {
        Some(store) => Ok(Opened::of(store, name, key).await?),
        None => open_found(name, key, dirs, context).await,
    }
}

/// Opens a key in a session of its own.
async fn open_found(
    name: &str,
    key: PluginKey,
    dirs: &Dirs,
    context: &Context,
) -> Result<Opened, Failure> {
    let store = connect(&key, dirs, context).await?;
    or_close(store, Opened::of(store, name, key).await).await
}

fn find(
    name: &str,
    config: &PluginConfig,
    dirs: &Dirs,
    context: &Context,
) -> Result<PluginKey, Failure> {
    let host = signer::host(dirs, context);
    let choice = KeyChoice::Named(name);
    Ok(PluginKey::resolve(host.finder(), dirs, choice, config)?)
}

async fn connect(
    key: &PluginKey,
    dirs: &Dirs,
    context: &Context,
) -> Result<&'static KeyStore, Failure> {
    let (host, plugin) = (signer::host(dirs, context), key.plugin.clone());
    let store = KeyStore::open(&host, plugin, &key.id, key.config.clone()).await?;
    Ok(Box::leak(Box::new(store)))
}

/// What came of the first request of a session, which ends with it if that failed.
async fn or_close<T>(store: &KeyStore, outcome: Result<T, PluginError>) -> Result<T, Failure> {
    if outcome.is_err() {
        store.close().await;
    }
    Ok(outcome?)
}

pub(in crate::command) fn create(args: CreateArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let console = &context.console;
    let Device { plugin, id, config } = args.device;
    if id.is_empty() {
        return Err(ConfigError::KeyIdMissing.into());
    }
    // Before the device is touched: a key that can't be registered is half made.
    if args.name.is_empty() {
        return Err(ConfigError::KeyNameEmpty.into());
    }
    if SigningKeys::load(&dirs)?.get(&args.name).is_ok() {
        return Err(ConfigError::KeyExists { name: args.name }.into());
    }
    let host = signer::host(&dirs, context);
    let file = host.finder().find(&plugin)?;
    let mut new = NewKey {
        key_id: id.clone(),
        key_spec: args.key_spec,
        overwrite: args.force,
        beside: false,
        confirmed: false,
        pin_policy: args.pin_policy,
        touch_policy: args.touch_policy,
    };
    let (made, config) = context.wait(async {
        let store = KeyStore::open(&host, file, &id, config).await?;
        // What the list will hold is known to be fit for it before there is a key.
        let fit = super::no_secrets(Some(store.metadata()), &id, store.config());
        let agreed = fit.and_then(|()| may_replace(&store, &new, args.yes, context));
        let made = match agreed {
            Ok(()) => make_key(&store, &mut new, args.yes, context).await,
            Err(declined) => Err(declined),
        };
        store.close().await;
        made.map(|made| (made, store.config().clone()))
    })?;
    register(
        &args.name,
        &plugin,
        &made.key_id,
        config,
        args.default,
        &dirs,
    )?;
    let name = one_line(&args.name);
    if let Some(replaced) = &made.replaced {
        console.warning(format_args!("replaced {}", one_line(replaced)));
    }
    console.line(format_args!("Made {} key {name}", made.key_spec))?;
    if args.default {
        console.line(format_args!("{name}: marked as default"))?;
    }
    console.line(format_args!(
        "It has no certificate yet. Next: `hardsign key certify {name} --subject <subject> --days <days>`, or `hardsign key request {name} --subject <subject>` for a CA"
    ))?;
    Ok(console.document(&json!({
        "name": args.name,
        "default": args.default,
        "keyId": made.key_id,
        "pluginName": plugin,
        "keySpec": made.key_spec,
        "token": made.token.as_ref().map(json::token),
        "replaced": made.replaced,
    }))?)
}

/// Asks before a key can be replaced, and before the key store is touched: what becomes of the old one
/// is told as it is.
fn may_replace(
    store: &KeyStore,
    new: &NewKey,
    yes: bool,
    context: &Context,
) -> Result<(), Failure> {
    if !new.overwrite {
        return Ok(());
    }
    let fate = match store.has(&Capability::Versions) {
        true => "it is kept, and the new one takes over its name",
        false => "it and its certificates are permanently deleted",
    };
    let id = one_line(&new.key_id);
    let question = format!("If there is a key at {id}, {fate}. Are you sure?");
    match context.confirm(&question, yes, &unanswered())? {
        true => Ok(()),
        false => Err(not_agreed()),
    }
}

fn unanswered() -> Unanswered {
    Unanswered::new("no key was made", "--yes")
}

/// Whoever makes a key in a script has to learn that there is none.
fn not_agreed() -> Failure {
    Failure::failed("no key was made: the answer was not yes")
        .hint("add --yes to skip the question")
}

/// Has the device make a key, and asks the user first where the plugin wants that.
pub(super) async fn make_key(
    store: &KeyStore,
    new: &mut NewKey,
    yes: bool,
    context: &Context,
) -> Result<CreateKeyResponse, Failure> {
    let made = store.create_key(new).await;
    let Some(question) = made.as_ref().err().and_then(PluginError::question) else {
        return Ok(made?);
    };
    if !context.confirm(&question, yes, &unanswered())? {
        return Err(not_agreed());
    }
    new.confirmed = true;
    Ok(store.create_key(new).await?)
}

/// Adds a key that was made to the list.
pub(super) fn register(
    name: &str,
    plugin: &str,
    id: &str,
    config: PluginConfig,
    default: bool,
    dirs: &Dirs,
) -> Result<(), Failure> {
    let registered = SigningKeys::update(dirs, |keys| {
        keys.add_plugin_key(name, plugin, id, config)?;
        if default {
            keys.set_default(name)?;
        }
        Ok::<_, ConfigError>(())
    });
    registered.map_err(|error| {
        Failure::failed(format!(
            "the key was made, but not added to the list: {error}"
        ))
        .hint(format!(
            "add it with `hardsign key add --plugin {plugin} --id '{id}' {name}`"
        ))
    })
}

pub(in crate::command) fn list(
    device: Device,
    output: Output,
    context: &Context,
) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let host = signer::host(&dirs, context);
    let file = host.finder().find(&device.plugin)?;
    let listed = context.wait(async {
        let store = KeyStore::open(&host, file, &device.id, device.config.clone()).await?;
        let listed = store.list_keys(&device.id).await;
        store.close().await;
        Ok(listed?)
    })?;
    let console = &context.console;
    for warning in &listed.warnings {
        console.warning(one_line(warning));
    }
    if listed.truncated {
        console.warning("not all keys are listed; name a token with --id");
    }
    if output == Output::Json {
        let document = json!({
            "keys": listed.keys.iter().map(json::key_entry).collect::<Vec<_>>(), "truncated": listed.truncated, "warnings": listed.warnings,
        });
        return Ok(console.json(&document)?);
    }
    let rows: Vec<_> = listed.keys.iter().map(row).collect();
    if rows.is_empty() {
        console.plain("There are no visible keys; some are visible only after login (--plugin-config pin-source=prompt)");
    }
    let header = ["LABEL", "TYPE", "CERTIFICATE", "EXPIRES", "ID"];
    Ok(console.table(header, &rows)?)
}

fn row(key: &KeyEntry) -> [String; 5] {
    let certificate = key.certificate.as_ref();
    [
        key.label.clone().unwrap_or_default(),
        key.key_spec
            .map_or_else(|| "(unusable)".to_owned(), |spec| spec.to_string()),
        certificate.map(|c| c.subject.clone()).unwrap_or_default(),
        certificate.map(|c| c.not_after.clone()).unwrap_or_default(),
        key.key_id.clone(),
    ]
}

pub(in crate::command) fn show(args: LookArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let (opened, properties) = context.wait(async {
        let opened = open(&args.name, &args.config, &dirs, context).await?;
        let properties = opened.store.describe_key(&opened.id).await?.properties;
        opened.store.close().await;
        Ok((opened, properties))
    })?;
    let key = &opened.open;
    let now = context.now();
    let certificates = parsed(&opened.chain)?;
    let shown: Vec<Value> = certificates
        .iter()
        .map(|certificate| {
            json!({
                "subject": certificate.subject().to_string(),
                "issuer": certificate.issuer().to_string(),
                "serialNumber": hex::encode(certificate.serial()),
                "notBefore": certificate.not_before().to_string(),
                "notAfter": certificate.not_after().to_string(),
                "sha256Fingerprint": certificate.thumbprint_hex(),
            })
        })
        .collect();
    let document = json!({
        "name": opened.name,
        "pluginName": opened.store.metadata().name,
        "keySpec": key.key_spec,
        "token": key.token.as_ref().map(json::token),
        "properties": properties,
        "certificates": shown,
    });
    if args.output == Output::Json {
        return Ok(context.console.json(&document)?);
    }
    let mut lines = vec![
        format!("Name:   {}", opened.name),
        format!("Plugin: {}", opened.store.metadata().name),
        format!("Type:   {}", key.key_spec),
    ];
    if let Some(token) = &key.token {
        let parts = [
            ("", &token.label),
            ("serial ", &token.serial),
            ("", &token.manufacturer),
            ("", &token.model),
        ];
        let parts = parts
            .into_iter()
            .filter_map(|(what, text)| text.as_ref().map(|text| format!("{what}{text}")));
        lines.push(format!("Device: {}", parts.collect::<Vec<_>>().join(", ")));
    }
    if !properties.is_empty() {
        lines.push("Reported by the device:".to_owned());
        for property in &properties {
            lines.push(format!("  {}: {}", property.name, property.value));
        }
    }
    match certificates.first() {
        None => lines.push(format!(
            "Certificates: none yet. Next: `hardsign key certify {0} --subject <subject> --days <days>`, or `hardsign key request {0} --subject <subject>` for a CA",
            opened.name
        )),
        Some(_) => lines.push("Certificates:".to_owned()),
    }
    for certificate in &certificates {
        let state = match certificate.is_valid_at(now) {
            true => "",
            false => " (not valid now)",
        };
        lines.push(format!("  {}", certificate.subject()));
        lines.push(format!("    issued by {}", certificate.issuer()));
        lines.push(format!(
            "    serial number {}",
            hex::encode(certificate.serial())
        ));
        lines.push(format!(
            "    valid from {} to {}{state}",
            certificate.not_before(),
            certificate.not_after()
        ));
    }
    for line in lines {
        context.console.line(one_line(&line))?;
    }
    Ok(())
}

fn parsed(chain: &[Vec<u8>]) -> Result<Vec<Certificate>, Failure> {
    let parsed = chain.iter().map(|der| Certificate::from_der(der));
    let parsed: Result<Vec<_>, _> = parsed.collect();
    parsed.map_err(Failure::error)
}

fn hint_of_import(error: &ImportError, name: &str) -> Option<String> {
    Some(match error {
        ImportError::OtherKey { .. } => format!(
            "give the certificate that was issued for this key's request; `hardsign key request {name} --subject <subject>` makes a new request"
        ),
        ImportError::Gap { issuer, .. } => format!(
            "give a file with the certificate of {issuer:?} too, and those above it up to the root"
        ),
        ImportError::Expired { .. } => format!(
            "have a new one issued: `hardsign key request {name} --subject <subject>` makes the request"
        ),
        ImportError::IsCa { .. } => {
            "get a certificate for signing; if this is the key of a CA, add --ca".to_owned()
        }
        ImportError::NotCa { .. } => "leave out --ca for a key that signs artifacts".to_owned(),
        ImportError::Rules(_) => {
            "a signing certificate must have digitalSignature as its only key usage, marked critical; if it has extended key usages, codeSigning must be among them".to_owned()
        }
        _ => return None,
    })
}

pub(in crate::command) fn import(args: ImportArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let mut certificates = Vec::new();
    for file in &args.files {
        certificates.extend(certificate_file::read(file)?);
    }
    let kept = context.wait(async {
        let opened = open(&args.name, &args.config, &dirs, context).await?;
        let spki = opened.public_key()?.to_vec();
        let arranged = arrange(&spki, &certificates, args.ca, context.now()).map_err(|error| {
            let failure = Failure::failed(format!("{}: {}", args.name, WithCauses(&error)));
            match hint_of_import(&error, &args.name) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        for subject in &arranged.left_out {
            context.console.warning(format_args!(
                "{subject:?} does not belong to the chain; left out"
            ));
        }
        let chain: Vec<_> = arranged.chain.iter().map(|c| c.der().to_vec()).collect();
        let kept = keep(&opened, &chain, args.force, &dirs, context).await?;
        opened.store.close().await;
        Ok((kept, arranged.chain))
    })?;
    let (kept, chain) = kept;
    tell_kept(&args.name, &chain, &kept, context)?;
    Ok(context
        .console
        .document(&stored_document(&args.name, &chain, &kept))?)
}

/// Where certificates were put.
pub(super) struct Kept {
    /// On the device; else in this file.
    pub(super) file: Option<String>,
    /// How many the device holds, from the leaf on.
    pub(super) on_device: usize,
    pub(super) replaced: Option<String>,
}

/// Stores a chain on the device or, where that holds none, in the configuration directory.
pub(super) async fn keep(
    holder: &Held,
    chain: &[Vec<u8>],
    overwrite: bool,
    dirs: &Dirs,
    context: &Context,
) -> Result<Kept, Failure> {
    let answer = holder
        .store
        .import_certificates(&holder.id, chain, overwrite)
        .await?;
    let own = dirs.chain(&holder.name);
    let stored = usize::try_from(answer.stored).unwrap_or(usize::MAX);
    if stored >= chain.len() {
        // What was kept here for an earlier certificate must not come before the device's.
        if let Some(own) = own.filter(|own| own.is_file()) {
            std::fs::remove_file(&own).map_err(|error| {
                Failure::failed(format!(
                    "failed to delete {}: {}",
                    own.display(),
                    WithCauses(&error)
                ))
            })?;
        }
        let kept = own_file(holder, dirs);
        if let Some(file) = kept {
            context.console.warning(format_args!(
                "the key's setting {CHAIN_FILE} names {}, which signing uses; put the new chain there, or remove the setting",
                file.display()
            ));
        }
        return Ok(Kept {
            file: None,
            on_device: chain.len(),
            replaced: answer.replaced,
        });
    }
    let Some(own) = own else {
        return Err(Failure::failed(format!(
            "the device holds no certificates, and the name {:?} can't be used as a file name",
            holder.name
        )));
    };
    let mut text = String::new();
    for der in chain {
        text.push_str(&certify::pem("CERTIFICATE", der).map_err(Failure::error)?);
    }
    create_private_directory(&dirs.chains()).map_err(Failure::error)?;
    write_atomic(&own, text.as_bytes(), 0o600).map_err(Failure::error)?;
    Ok(Kept {
        file: Some(own.display().to_string()),
        on_device: stored,
        replaced: answer.replaced,
    })
}

/// A certificate file that the key's settings name, beside the one that is kept for it.
fn own_file<'a>(holder: &'a Held, dirs: &Dirs) -> Option<&'a Path> {
    let kept = dirs.chain(&holder.name);
    let named = holder.chain_file.as_deref()?;
    let is_plugin = holder.store.metadata().name == "local";
    (!is_plugin && kept.as_deref() != Some(named)).then_some(named)
}

pub(super) fn tell_kept(
    name: &str,
    chain: &[Certificate],
    kept: &Kept,
    context: &Context,
) -> Result<(), Failure> {
    let console = &context.console;
    if let Some(replaced) = &kept.replaced {
        console.line(format_args!("Replaced {}", one_line(replaced)))?;
    }
    let place = match &kept.file {
        None => "beside the key".to_owned(),
        Some(file) if kept.on_device == 0 => {
            format!("in {}, since the device holds none", one_line(file))
        }
        Some(file) => format!(
            "in {}; the device holds the first {}",
            one_line(file),
            match kept.on_device {
                1 => String::new(),
                number => format!("{number} "),
            }
        )
        .trim_end()
        .to_owned(),
    };
    let number = chain.len();
    let number = plural(number, "certificate");
    Ok(console.line(format_args!("{}: stored {number} {place}", one_line(name)))?)
}

pub(super) fn stored_document(name: &str, chain: &[Certificate], kept: &Kept) -> Value {
    json!({
        "name": name,
        "certificates": chain.iter().map(|c| c.subject().to_string()).collect::<Vec<_>>(),
        "onDevice": kept.file.is_none(),
        "path": kept.file,
        "replaced": kept.replaced,
    })
}

pub(in crate::command) fn export(args: LookArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let held = context.wait(async {
        let held = look(&args.name, &args.config, &dirs, context).await?;
        held.store.close().await;
        Ok(held)
    })?;
    if held.chain.is_empty() {
        return Err(no_certificate(&args.name));
    }
    let mut text = String::new();
    for der in &held.chain {
        text.push_str(&certify::pem("CERTIFICATE", der).map_err(Failure::error)?);
    }
    put_out(&args.out, text.as_bytes(), context)?;
    Ok(context.console.document(&json!({
        "name": args.name,
        "path": args.out.file,
        "pem": text,
    }))?)
}

/// A key without a certificate, and what is next.
pub(super) fn no_certificate(name: &str) -> Failure {
    Failure::failed(format!("key {name} has no certificate, or no complete chain")).hint(format!(
        "`hardsign key certify {name} --subject <subject> --days <days>` makes one; `hardsign key request {name} --subject <subject>` makes a request for a CA, and `hardsign key import-cert {name} <file>...` stores what it issues"
    ))
}

/// Writes a document to its file, or to standard output.
pub(super) fn put_out(out: &Out, bytes: &[u8], context: &Context) -> Result<(), Failure> {
    match &out.file {
        Some(file) => write_out(file, out.force, bytes),
        None if context.console.prints_json() => Ok(()),
        None => Ok(context.console.bytes(bytes)?),
    }
}

/// Fails before any work if the file is there and may not be overwritten.
pub(super) fn check_out(out: &Out) -> Result<(), Failure> {
    match &out.file {
        Some(file) if !out.force && Path::new(file).symlink_metadata().is_ok() => {
            Err(Failure::failed(format!("{file} already exists"))
                .hint("choose another --out, or overwrite the file with --force"))
        }
        _ => Ok(()),
    }
}

pub(super) fn write_out(file: &str, force: bool, bytes: &[u8]) -> Result<(), Failure> {
    check_out(&Out {
        file: Some(file.to_owned()),
        force,
    })?;
    let path = std::path::absolute(file)
        .map_err(|error| Failure::failed(format!("{file}: {}", WithCauses(&error))))?;
    write_atomic(&path, bytes, 0o644).map_err(Failure::error)
}
