//! `hardsign key renew`: another certificate or request under the same subject, for the same key or for a
//! new one beside it.

use hardsign_core::certify::{NewCertificate, Subject};
use hardsign_core::config::{ConfigError, KeyLocation, SigningKeys};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{KeyChoice, KeyStore, NewKey, PluginKey, of_any_key};
use hardsign_core::x509::Certificate;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::PluginConfig;
use hardsign_plugin::text::names_after;

use super::super::{Context, signer};
use super::certify::{Applicant, Ca, Made, finish, make_request, put_request, self_sign, store};
use super::device::{self, Held, Kept, Opened};
use crate::args::key::life::{NewKeyArgs, RenewArgs};
use crate::failure::Failure;
use crate::output::one_line;

/// What a renewal made.
enum Renewed {
    Request(Vec<u8>),
    Certificate(Box<Made>, Kept),
}

pub(in crate::command) fn renew(args: RenewArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    device::check_out(&args.out)?;
    if let Some(new) = &args.new_key {
        return with_new_key(&args, new, &dirs, context);
    }
    let (subject, renewed) = context.wait(async {
        let issuer = args.terms.issuer.as_deref();
        let applicant = Applicant::open(&args.name, &args.config, issuer, &dirs, context).await?;
        let Some(old) = applicant.key().certificate()? else {
            return Err(device::no_certificate(&args.name));
        };
        let subject = subject_of(&old)?;
        if let (true, Applicant::Open(opened)) = (args.request, &applicant) {
            let der = make_request(opened, &subject, args.terms.padding).await?;
            opened.store.close().await;
            return Ok((subject, Renewed::Request(der)));
        }
        check_issuer(&old, &args)?;
        let mut new = terms_of(&old, &args, context)?;
        new.follows = Some(begin(&old));
        let padding = args.terms.padding;
        let (made, held) = applicant.certify(&new, padding, &dirs, context).await?;
        let kept = store(held, &made, &args.out, true, &dirs, context).await?;
        Ok((subject, Renewed::Certificate(Box::new(made), kept)))
    })?;
    match renewed {
        Renewed::Request(der) => put_request(&args.name, &subject, &der, &args.out, context),
        Renewed::Certificate(made, kept) => {
            let trust = args.trust.as_ref();
            let (name, out) = (Some(args.name.as_str()), &args.out);
            finish(name, &made, Some(&kept), trust, out, &dirs, context)?;
            Ok(context.console.line(
                "Signatures made with the earlier certificate still verify: each contains it.",
            )?)
        }
    }
}

/// A new key beside the old one, under a name of its own; the old one stays what it is.
fn with_new_key(
    args: &RenewArgs,
    new: &NewKeyArgs,
    dirs: &Dirs,
    context: &Context,
) -> Result<(), Failure> {
    let keys = SigningKeys::load(dirs)?;
    let name = match &new.name {
        Some(name) if keys.get(name).is_ok() => {
            return Err(ConfigError::KeyExists { name: name.clone() }.into());
        }
        Some(name) if name.is_empty() => return Err(ConfigError::KeyNameEmpty.into()),
        Some(name) => name.clone(),
        None => free_name(&args.name, &keys),
    };
    let was_default = keys.default_name() == Some(args.name.as_str());
    let config = own_config(&args.name, &keys)?;
    let made = context.wait(async {
        let host = signer::host(dirs, context);
        let choice = KeyChoice::Named(&args.name);
        let old = PluginKey::resolve(host.finder(), dirs, choice, &args.config)?;
        let plugin = old.plugin.name.to_string();
        let settings = of_any_key(old.config.clone());
        let store = KeyStore::open(&host, old.plugin, &old.id, settings).await?;
        let store: &'static KeyStore = Box::leak(Box::new(store));
        let made = NewKeyOf {
            args,
            new,
            store,
            old: &old.id,
            old_config: old.config,
            name: &name,
            plugin: &plugin,
            config,
            dirs,
            context,
        }
        .make()
        .await;
        store.close().await;
        made
    })?;
    let (subject, made, replaced) = made;
    if let Some(replaced) = replaced {
        context
            .console
            .warning(format_args!("replaced {}", one_line(&replaced)));
    }
    let console = &context.console;
    let (old_name, new_name) = (one_line(&args.name), one_line(&name));
    let is_request = matches!(made, Renewed::Request(_));
    if !is_request || args.out.file.is_some() {
        console.line(format_args!("Made a new key {new_name} beside {old_name}"))?;
    }
    match made {
        Renewed::Request(der) => {
            put_request(&name, &subject, &der, &args.out, context)?;
            if args.out.file.is_none() {
                return Ok(());
            }
        }
        Renewed::Certificate(made, kept) => {
            let trust = args.trust.as_ref();
            let out = &args.out;
            finish(Some(&name), &made, Some(&kept), trust, out, dirs, context)?;
            if args.terms.issuer.is_none() && trust.is_none() {
                console.warning(format_args!(
                    "the certificate of key {new_name} is self-signed: verifiers must trust it in addition to the old one (`hardsign key export-cert {new_name}` prints it)"
                ));
            }
        }
    }
    console.line(format_args!(
        "{old_name} is unchanged, and its signatures still verify."
    ))?;
    let next = match (new.default, was_default, is_request) {
        (true, _, _) => format!("{new_name}: marked as default"),
        (false, _, true) => format!("Sign with {old_name} until {new_name} has its certificate."),
        (false, true, false) => format!(
            "{old_name} is still the default: sign with --key {new_name}, or make it the default with `hardsign key update --default {new_name}`."
        ),
        (false, false, false) => format!("Sign with --key {new_name} from now on."),
    };
    Ok(console.line(next)?)
}

/// What is needed to make a key beside another.
struct NewKeyOf<'a> {
    args: &'a RenewArgs,
    new: &'a NewKeyArgs,
    store: &'static KeyStore,
    /// The old key's id and settings.
    old: &'a str,
    old_config: PluginConfig,
    name: &'a str,
    plugin: &'a str,
    /// Settings of the new key in the list.
    config: PluginConfig,
    dirs: &'a Dirs,
    context: &'a Context,
}

impl NewKeyOf<'_> {
    /// The subject, what was made, and what the new key replaced.
    async fn make(self) -> Result<(Subject, Renewed, Option<String>), Failure> {
        let (args, context) = (self.args, self.context);
        let config = self.old_config.clone();
        let described = self.store.describe_key_with(self.old, config).await?;
        let leaf = described.certificate_chain.first();
        let leaf = leaf.ok_or_else(|| device::no_certificate(&args.name))?;
        let old = Certificate::from_der(&leaf.0).map_err(Failure::error)?;
        let subject = subject_of(&old)?;
        // Whatever keeps the new key from being certified is found out before there is one.
        if !args.request {
            check_issuer(&old, args)?;
        }
        let ca = match &args.terms.issuer {
            Some(issuer) => {
                let (beside, padding) = (Some(self.store), args.terms.padding);
                Some(Ca::open(issuer, beside, padding, self.dirs, context).await?)
            }
            None => None,
        };
        let new = terms_of(&old, args, context)?;
        let made = match self.create(described.key_spec).await {
            Ok((id, replaced)) => self
                .certify(id, &subject, ca.as_ref(), &new)
                .await
                .map(|renewed| (subject, renewed, replaced))
                .map_err(|failure| half_made(self.name, failure)),
            Err(failure) => Err(failure),
        };
        if let Some(ca) = ca {
            ca.close().await;
        }
        made
    }

    /// Has the new key certified, or its request made.
    async fn certify(
        &self,
        id: String,
        subject: &Subject,
        ca: Option<&Ca>,
        new: &NewCertificate,
    ) -> Result<Renewed, Failure> {
        let (args, device, dirs) = (self.args, self.store, self.dirs);
        let padding = args.terms.padding;
        let key = PluginKey::new(device.plugin().clone(), id, device.config().clone());
        let (made, held) = match ca {
            Some(ca) => {
                let held = Held::described(device, self.name, key).await?;
                (ca.issue(held.public_key()?, new, dirs).await?, held)
            }
            None => {
                let opened = Opened::of(device, self.name, key).await?;
                if args.request {
                    let der = make_request(&opened, subject, padding).await?;
                    return Ok(Renewed::Request(der));
                }
                (self_sign(&opened, new, padding, dirs).await?, opened.key)
            }
        };
        let kept = store(held, &made, &args.out, false, dirs, self.context).await?;
        Ok(Renewed::Certificate(Box::new(made), kept))
    }

    /// Makes the key and adds it to the list: its id, and what it replaced.
    async fn create(&self, old: KeySpec) -> Result<(String, Option<String>), Failure> {
        let mut wanted = NewKey {
            key_id: self.new.id.clone().unwrap_or_else(|| self.old.to_owned()),
            key_spec: self.new.key_spec.unwrap_or(old),
            overwrite: false,
            beside: self.new.id.is_none(),
            confirmed: false,
            pin_policy: self.new.pin_policy.clone(),
            touch_policy: self.new.touch_policy.clone(),
        };
        let made = device::make_key(self.store, &mut wanted, self.new.yes, self.context).await?;
        let (id, config) = (made.key_id, self.config.clone());
        let default = self.new.default;
        device::register(self.name, self.plugin, &id, config, default, self.dirs)?;
        Ok((id, made.replaced))
    }
}

/// The new key is there and in the list, and nothing more.
fn half_made(name: &str, mut failure: Failure) -> Failure {
    let name = one_line(name);
    if let Some(message) = failure.messages.first_mut() {
        *message = format!(
            "the new key was made and is in the list as {name}, but it has no certificate yet: {message}"
        );
    }
    failure.hint(format!(
        "go on with `hardsign key certify {name} --subject <subject> --days <days>` or `hardsign key request {name} --subject <subject>`; the old key is unchanged"
    ))
}

fn subject_of(old: &Certificate) -> Result<Subject, Failure> {
    Subject::from_der(old.subject().der()).map_err(Failure::error)
}

fn begin(old: &Certificate) -> jiff::Timestamp {
    old.not_before()
}

/// Whoever issued the old certificate issues the new one.
fn check_issuer(old: &Certificate, args: &RenewArgs) -> Result<(), Failure> {
    if args.terms.issuer.is_some() || old.is_self_signed() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the certificate of key {} was issued by {}, not by the key itself",
        args.name,
        old.issuer()
    ))
    .hint("name the CA's key with --issuer, or make a request for the CA with --csr"))
}

/// A certificate like the old one.
fn terms_of(
    old: &Certificate,
    args: &RenewArgs,
    context: &Context,
) -> Result<NewCertificate, Failure> {
    let basic = old.basic_constraints().filter(|constraints| constraints.ca);
    let terms = &args.terms;
    let own_url = || old.crl_urls().first().cloned();
    Ok(NewCertificate {
        subject: subject_of(old)?,
        days: terms.days,
        ca: basic.map(|constraints| {
            let length = constraints.path_len;
            length
                .and_then(|length| u8::try_from(length).ok())
                .unwrap_or(0)
        }),
        crl_url: terms.crl_url.clone().or_else(own_url),
        follows: None,
        now: context.now(),
    })
}

/// The settings of a key as the list has them, but for those that are its alone.
fn own_config(name: &str, keys: &SigningKeys) -> Result<PluginConfig, Failure> {
    let config = match keys.get(name)?.location()? {
        KeyLocation::Plugin { config, .. } => config.clone(),
        KeyLocation::Files { .. } => PluginConfig::new(),
    };
    Ok(of_any_key(config))
}

/// A name that no key has: the old one with the first number that is free.
fn free_name(old: &str, keys: &SigningKeys) -> String {
    names_after(old)
        .find(|name| keys.get(name).is_err())
        .unwrap_or_else(|| format!("{old}-new"))
}
