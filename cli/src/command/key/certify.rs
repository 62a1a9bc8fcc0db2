//! `hardsign key request`, `certify` and `crl`: documents that a key signs.

use std::path::Path;

use hardsign_core::certify::{
    self, CertificateRequest, CertifyError, Issued, Issuer, Ledger, LedgerEntry, LedgerError,
    NewCertificate, NewCrl, RsaPadding, Serial, SigningKey, Subject, Unsigned,
};
use hardsign_core::config::{create_private_directory, read_named, write_atomic};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::KeyStore;
use hardsign_core::text::WithCauses;
use hardsign_core::trust::{StoreName, StoreRef, StoreType, edit};
use hardsign_core::x509::{Certificate, MAX_FILE_LEN};
use hardsign_plugin::proto::PluginConfig;
use serde_json::{Value, json};

use super::super::Context;
use super::device::{self, Held, Kept, Opened};
use crate::args::key::life::{CertifyArgs, CrlArgs, Holder, Out, RequestArgs, Terms};
use crate::failure::{Exit, Failure};
use crate::output::one_line;

impl From<CertifyError> for Failure {
    fn from(error: CertifyError) -> Self {
        let hint = match &error {
            CertifyError::NotCa { .. } => Some(
                "give --issuer the key of a CA: `hardsign key certify <ca-key> --ca --subject <subject> --days <days>` makes the certificate of one",
            ),
            CertifyError::PathLength { .. } => {
                Some("give the upper CA a longer --path-length, or the lower one a shorter")
            }
            CertifyError::Serial { .. } => Some(
                "`hardsign key show <name>` and `openssl x509 -noout -serial -in <file>` show it",
            ),
            _ => None,
        };
        let failure = Self::error(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::error(error)
    }
}

/// The key of an open device, and how it is to sign.
fn signing_key(opened: &Opened, padding: RsaPadding) -> Result<SigningKey, Failure> {
    if padding == RsaPadding::Pkcs1 && opened.key_spec.is_rsa() && !opened.signs_pkcs1() {
        return Err(Failure::failed(format!(
            "the device of key {} does not sign RSASSA-PKCS1-v1_5",
            opened.name
        ))
        .hint("leave --rsa-padding out; if the CA takes no RSASSA-PSS, use an EC key"));
    }
    Ok(SigningKey::new(opened.public_key()?, padding)?)
}

/// Has the device sign.
async fn sign(opened: &Opened, unsigned: &Unsigned) -> Result<Vec<u8>, Failure> {
    let pkcs1 = unsigned.padding() == RsaPadding::Pkcs1;
    let signature = opened.sign(&unsigned.digest(), pkcs1).await?;
    Ok(unsigned.assemble(&signature)?)
}

/// Only `*` in a trust policy can mean a signer without these.
fn warn_of_subject(subject: &Subject, context: &Context) {
    let missing = subject.missing();
    if !missing.is_empty() {
        context.console.warning(format_args!(
            "the subject has no {}, so a trust policy can't name it: only trustedIdentities \"*\" will trust it",
            missing.join(", no ")
        ));
    }
}

fn subject(text: &str) -> Result<Subject, Failure> {
    Subject::parse(text).map_err(|error| {
        Failure::of(Exit::Usage, &error).hint("write it as C=US,ST=WA,O=Example,CN=release")
    })
}

pub(in crate::command) fn request(args: RequestArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let subject = subject(&args.subject)?;
    device::check_out(&args.out)?;
    warn_of_subject(&subject, context);
    let der = context.wait(async {
        let opened = device::open(&args.name, &args.config, &dirs, context).await?;
        let der = make_request(&opened, &subject, args.padding).await?;
        opened.store.close().await;
        Ok(der)
    })?;
    put_request(&args.name, &subject, &der, &args.out, context)
}

pub(super) async fn make_request(
    opened: &Opened,
    subject: &Subject,
    padding: RsaPadding,
) -> Result<Vec<u8>, Failure> {
    let key = signing_key(opened, padding)?;
    sign(opened, &certify::request(&key, subject)?).await
}

pub(super) fn put_request(
    name: &str,
    subject: &Subject,
    der: &[u8],
    out: &Out,
    context: &Context,
) -> Result<(), Failure> {
    let pem = certify::pem("CERTIFICATE REQUEST", der)?;
    device::put_out(out, pem.as_bytes(), context)?;
    if let Some(file) = &out.file {
        context.console.line(format_args!(
            "Wrote the request of key {} to {}. Store what the CA issues with `hardsign key import-cert {} <file>...`",
            one_line(name),
            one_line(file),
            one_line(name)
        ))?;
    }
    Ok(context.console.document(&json!({
        "name": name,
        "subject": subject.to_string(),
        "path": out.file,
        "pem": pem,
    }))?)
}

/// A CA: its key, and what makes certificates that the key is to sign.
pub(super) struct Ca {
    opened: Opened,
    issuer: Issuer,
    /// Whether the key has a session of its own.
    own: bool,
}

impl Ca {
    /// Opens the CA's key, in the session of the key that it certifies if that can be asked about both.
    pub(super) async fn open(
        name: &str,
        beside: Option<&'static KeyStore>,
        padding: RsaPadding,
        dirs: &Dirs,
        context: &Context,
    ) -> Result<Self, Failure> {
        let opened = device::open_issuer(name, beside, dirs, context).await?;
        let Some(certificate) = opened.chain.first() else {
            return Err(device::no_certificate(name));
        };
        let issuer = Issuer::new(signing_key(&opened, padding)?, certificate)?;
        let own = beside.is_none_or(|beside| !std::ptr::eq(beside, opened.store));
        Ok(Self {
            opened,
            issuer,
            own,
        })
    }

    /// Makes a certificate for a public key; it is noted before it is given away.
    pub(super) async fn issue(
        &self,
        spki: &[u8],
        new: &NewCertificate,
        dirs: &Dirs,
    ) -> Result<Made, Failure> {
        let issued = certify::issue(&self.issuer, spki, new)?;
        let der = sign(&self.opened, &issued.unsigned).await?;
        note(&self.opened.name, &issued, new, true, dirs)?;
        let mut chain = vec![der];
        chain.extend(self.opened.chain.iter().cloned());
        Ok(Made { chain, issued })
    }

    pub(super) async fn close(&self) {
        if self.own {
            self.opened.store.close().await;
        }
    }
}

/// A key that gets a certificate.
pub(super) enum Applicant {
    /// It signs its certificate itself.
    Open(Box<Opened>),
    /// That CA does.
    Of { held: Held, issuer: String },
}

impl Applicant {
    /// Opens the key, or has it described if another one is to sign.
    pub(super) async fn open(
        name: &str,
        config: &PluginConfig,
        issuer: Option<&str>,
        dirs: &Dirs,
        context: &Context,
    ) -> Result<Self, Failure> {
        Ok(match issuer {
            None => Self::Open(Box::new(device::open(name, config, dirs, context).await?)),
            Some(issuer) => Self::Of {
                held: device::look(name, config, dirs, context).await?,
                issuer: issuer.to_owned(),
            },
        })
    }

    pub(super) fn key(&self) -> &Held {
        match self {
            Self::Open(opened) => opened,
            Self::Of { held, .. } => held,
        }
    }

    /// Makes the certificate.
    pub(super) async fn certify(
        self,
        new: &NewCertificate,
        padding: RsaPadding,
        dirs: &Dirs,
        context: &Context,
    ) -> Result<(Made, Held), Failure> {
        match self {
            Self::Open(opened) => {
                let made = self_sign(&opened, new, padding, dirs).await?;
                Ok((made, opened.key))
            }
            Self::Of { held, issuer } => {
                let ca = Ca::open(&issuer, Some(held.store), padding, dirs, context).await?;
                let made = ca.issue(held.public_key()?, new, dirs).await?;
                ca.close().await;
                Ok((made, held))
            }
        }
    }
}

/// Makes a certificate that the key signs itself.
pub(super) async fn self_sign(
    opened: &Opened,
    new: &NewCertificate,
    padding: RsaPadding,
    dirs: &Dirs,
) -> Result<Made, Failure> {
    let issued = certify::self_signed(&signing_key(opened, padding)?, new)?;
    let der = sign(opened, &issued.unsigned).await?;
    note(&opened.name, &issued, new, new.ca.is_some(), dirs)?;
    Ok(Made {
        chain: vec![der],
        issued,
    })
}

/// A certificate that was made, with those above it.
pub(super) struct Made {
    chain: Vec<Vec<u8>>,
    issued: Issued,
}

/// Notes what the CA `name` has issued.
fn note(
    name: &str,
    issued: &Issued,
    new: &NewCertificate,
    by_ca: bool,
    dirs: &Dirs,
) -> Result<(), Failure> {
    let Some((ledger, _)) = dirs.authority(name).filter(|_| by_ca) else {
        return Ok(());
    };
    if let Some(parent) = ledger.parent() {
        create_private_directory(parent).map_err(Failure::error)?;
    }
    Ledger::update(&ledger, |ledger| {
        ledger.issued.push(LedgerEntry {
            serial: issued.serial.to_string(),
            subject: new.subject.to_string(),
            not_after: issued.not_after.to_string(),
            crl_url: new.crl_url.clone(),
        });
        Ok::<_, LedgerError>(())
    })?;
    Ok(())
}

pub(in crate::command) fn certify(args: CertifyArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    device::check_out(&args.out)?;
    let terms = &args.terms;
    let (name, spki_of_request, subject) = match &args.holder {
        Holder::Key {
            name,
            subject: text,
        } => (Some(name.clone()), Vec::new(), subject(text)?),
        Holder::Request {
            file,
            subject: text,
        } => {
            let request = read_request(file)?;
            let wanted = match text {
                Some(text) => subject(text)?,
                None => request.subject().clone(),
            };
            if wanted.is_empty() {
                return Err(
                    Failure::failed(format!("{file}: the request has no subject"))
                        .hint("give one with --subject"),
                );
            }
            (None, request.spki().to_vec(), wanted)
        }
    };
    if args.ca.is_none() {
        warn_of_subject(&subject, context);
    }
    let mut new = NewCertificate {
        subject,
        days: terms.days,
        ca: args.ca,
        crl_url: terms.crl_url.clone(),
        follows: None,
        now: context.now(),
    };
    let (made, kept) = context.wait(async {
        let Some(name) = &name else {
            let issuer = terms.issuer.as_deref();
            let issuer = issuer.ok_or_else(|| Failure::usage("--request needs --issuer"))?;
            let ca = Ca::open(issuer, None, terms.padding, &dirs, context).await?;
            let made = ca.issue(&spki_of_request, &new, &dirs).await?;
            ca.close().await;
            return Ok((made, None));
        };
        let issuer = terms.issuer.as_deref();
        let applicant = Applicant::open(name, &args.config, issuer, &dirs, context).await?;
        if let Some(old) = applicant.key().certificate()? {
            check_replacement(applicant.key(), &old, terms, args.force)?;
            new.follows = Some(old.not_before());
        }
        let (made, held) = applicant
            .certify(&new, terms.padding, &dirs, context)
            .await?;
        let kept = store(held, &made, &args.out, true, &dirs, context).await?;
        Ok((made, Some(kept)))
    })?;
    finish(
        name.as_deref(),
        &made,
        kept.as_ref(),
        args.trust.as_ref(),
        &args.out,
        &dirs,
        context,
    )
}

/// Refuses, before anything is made, to put a certificate in the place of another unasked.
fn check_replacement(
    holder: &Held,
    old: &Certificate,
    terms: &Terms,
    force: bool,
) -> Result<(), Failure> {
    if force || !holder.one_chain {
        return Ok(());
    }
    let issuer = match &terms.issuer {
        Some(issuer) => format!(" --issuer {issuer}"),
        None => String::new(),
    };
    Err(Failure::failed(format!(
        "key {} already has a certificate, of {}, and its device holds only one",
        holder.name,
        old.subject()
    ))
    .hint(format!(
        "`hardsign key renew {} --days {}{issuer}` makes another one under the same subject; --force replaces it, and existing signatures are unaffected",
        holder.name, terms.days
    )))
}

/// Gives the key its certificate. If that fails, the certificate is not lost.
pub(super) async fn store(
    holder: Held,
    made: &Made,
    out: &Out,
    replaces: bool,
    dirs: &Dirs,
    context: &Context,
) -> Result<Kept, Failure> {
    // Where the device keeps several, the old ones stay.
    let replaces = replaces && holder.one_chain;
    let kept = device::keep(&holder, &made.chain, replaces, dirs, context).await;
    let name = holder.name.clone();
    holder.store.close().await;
    kept.map_err(|mut failure| {
        let saved = pem_of(&made.chain).and_then(|pem| match &out.file {
            Some(file) => {
                device::write_out(file, out.force, pem.as_bytes())?;
                Ok(file.clone())
            }
            None => {
                let own = dirs.chain(&name);
                let own = own.ok_or_else(|| Failure::failed("no file name"))?;
                create_private_directory(&dirs.chains())
                    .and_then(|()| write_atomic(&own, pem.as_bytes(), 0o600))
                    .map_err(Failure::error)?;
                Ok(own.display().to_string())
            }
        });
        if let (Some(message), Ok(file)) = (failure.messages.first_mut(), saved) {
            *message =
                format!("the certificate was made, but not stored beside the key: {message}");
            failure.hint = Some(format!(
                "it is in {file}; `hardsign key import-cert {name} {file}` tries again"
            ));
        }
        failure
    })
}

fn pem_of(chain: &[Vec<u8>]) -> Result<String, Failure> {
    let mut text = String::new();
    for der in chain {
        text.push_str(&certify::pem("CERTIFICATE", der)?);
    }
    Ok(text)
}

/// Says what was made, writes it out and trusts it.
pub(super) fn finish(
    name: Option<&str>,
    made: &Made,
    kept: Option<&Kept>,
    trust: Option<&StoreName>,
    out: &Out,
    dirs: &Dirs,
    context: &Context,
) -> Result<(), Failure> {
    let console = &context.console;
    let parsed = made.chain.iter().map(|der| Certificate::from_der(der));
    let chain: Vec<Certificate> = parsed.collect::<Result<_, _>>().map_err(Failure::error)?;
    let pem = pem_of(&made.chain)?;
    let leaf = chain
        .first()
        .ok_or_else(|| Failure::failed("nothing was made"))?;
    if out.file.is_some() || name.is_none() {
        device::put_out(out, pem.as_bytes(), context)?;
    }
    let issued = &made.issued;
    if out.file.is_some() || name.is_some() {
        console.line(format_args!(
            "Certified {}",
            one_line(&leaf.subject().to_string())
        ))?;
        console.line(format_args!("  serial number {}", issued.serial))?;
        console.line(format_args!(
            "  valid from {} to {}",
            issued.not_before, issued.not_after
        ))?;
    }
    if issued.cut {
        console.warning(format_args!(
            "it expires with its issuer, at {}",
            issued.not_after
        ));
    }
    if let (Some(name), Some(kept)) = (name, kept) {
        device::tell_kept(name, &chain, kept, context)?;
    }
    let trusted = match trust {
        Some(store) => Some(add_to_store(store, &chain, name, dirs)?),
        None => None,
    };
    if let Some(file) = &trusted {
        console.line(format_args!("Trusted: {}", one_line(file)))?;
    }
    let mut document = json!({
        "name": name,
        "subject": leaf.subject().to_string(),
        "issuer": leaf.issuer().to_string(),
        "serialNumber": issued.serial.to_string(),
        "notBefore": issued.not_before.to_string(),
        "notAfter": issued.not_after.to_string(),
        "onDevice": kept.map(|kept| kept.file.is_none()),
        "trusted": trusted,
        "path": out.file,
    });
    if let Value::Object(members) = &mut document {
        members.insert("pem".to_owned(), Value::String(pem));
    }
    Ok(console.document(&document)?)
}

/// Adds the root to a store of type `ca`; says where.
fn add_to_store(
    store: &StoreName,
    chain: &[Certificate],
    name: Option<&str>,
    dirs: &Dirs,
) -> Result<String, Failure> {
    let store = StoreRef {
        store_type: StoreType::Ca,
        name: store.clone(),
    };
    let root = chain.last().ok_or_else(|| Failure::failed("no root"))?;
    let pem = certify::pem("CERTIFICATE", root.der())?;
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let short: String = root.thumbprint_hex().chars().take(8).collect();
    let name: String = match root.subject().common_name().or(name) {
        Some(name) => name.chars().take(60).map(safe).collect(),
        None => "root".to_owned(),
    };
    let file = format!("{name}-{short}.crt");
    edit::put_new(dirs, &store, &file, pem.as_bytes()).map_err(|error| {
        Failure::failed(format!(
            "the certificate was made and stored, but its root was not added to the trust store {}: {}",
            store.name,
            WithCauses(&error)
        ))
    })?;
    Ok(edit::directory(dirs, &store)
        .join(file)
        .display()
        .to_string())
}

fn read_request(file: &str) -> Result<CertificateRequest, Failure> {
    let bytes = read_named(Path::new(file), MAX_FILE_LEN as u64).map_err(Failure::error)?;
    let read = certify::request_file(&bytes).and_then(|der| CertificateRequest::from_der(&der));
    read.map_err(|error| {
        Failure::failed(format!("{file}: {}", WithCauses(&error)))
            .hint("give a request (PKCS#10) in PEM or DER; `hardsign key request <name> --subject <subject>` makes one")
    })
}

pub(in crate::command) fn crl(args: CrlArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    device::check_out(&args.out)?;
    let (ledger_file, crl_file) = dirs.authority(&args.name).ok_or_else(|| {
        Failure::failed(format!(
            "the name {:?} can't be used as a file name",
            args.name
        ))
    })?;
    let now = context.now();
    let next_update = now
        .checked_add(jiff::SignedDuration::from_hours(
            i64::from(args.days).saturating_mul(24),
        ))
        .map_err(|_| Failure::usage("days: too many"))?;
    // The next list is made of a copy; what it says counts only once it is signed.
    let mut ledger = Ledger::load(&ledger_file)?;
    let before = ledger.crl_number;
    let mut revoked = Vec::new();
    for text in &args.revoke {
        let serial = Serial::parse(text)?;
        if ledger.is_revoked(&serial) {
            return Err(Failure::failed(format!(
                "the certificate with serial number {serial} is already revoked"
            )));
        }
        let Some(entry) = ledger.entry(&serial) else {
            return Err(Failure::failed(format!(
                "key {} has issued no certificate with serial number {serial}",
                args.name
            ))
            .hint(issued_hint(&ledger)));
        };
        let subject = entry.subject.clone();
        ledger.revoke(&serial, now, args.reason);
        revoked.push((serial, subject));
    }
    ledger.crl_number = before.saturating_add(1);
    let list = NewCrl {
        number: ledger.crl_number,
        now,
        next_update,
        revoked: ledger.crl_entries()?,
    };
    let der = context.wait(async {
        let opened = device::open(&args.name, &args.config, &dirs, context).await?;
        let own = opened.chain.first().cloned();
        let own = own.ok_or_else(|| device::no_certificate(&args.name))?;
        let issuer = Issuer::new(signing_key(&opened, args.padding)?, &own)?;
        let der = sign(&opened, &certify::revocation_list(&issuer, &list)?).await?;
        opened.store.close().await;
        Ok(der)
    })?;
    if let Some(parent) = ledger_file.parent() {
        create_private_directory(parent).map_err(Failure::error)?;
    }
    let mut changed = false;
    Ledger::update(&ledger_file, |stored| {
        changed = stored.crl_number != before;
        if !changed {
            ledger.issued = std::mem::take(&mut stored.issued);
            *stored = ledger.clone();
        }
        Ok::<_, LedgerError>(())
    })?;
    if changed {
        return Err(Failure::failed(
            "another revocation list of this CA was made at the same time; nothing was changed",
        )
        .hint("run it again"));
    }
    write_atomic(&crl_file, &der, 0o644).map_err(Failure::error)?;
    if args.out.file.is_some() {
        device::put_out(&args.out, &der, context)?;
    }
    let console = &context.console;
    for (serial, subject) in &revoked {
        console.line(format_args!("Revoked {serial} ({})", one_line(subject)))?;
    }
    let file = args
        .out
        .file
        .clone()
        .unwrap_or_else(|| crl_file.display().to_string());
    console.line(format_args!(
        "Revocation list {} of {}: {} revoked, valid until {next_update}, in {}",
        list.number,
        one_line(&args.name),
        list.revoked.len(),
        one_line(&file)
    ))?;
    let urls: Vec<String> = ledger.crl_urls().into_iter().map(str::to_owned).collect();
    for url in &urls {
        console.line(format_args!("Publish it at {}", one_line(url)))?;
    }
    if urls.is_empty() {
        console.warning(
            "no certificate of this CA names the URL of its list, so no verifier will look for it; issue them with --crl-url",
        );
    }
    Ok(console.document(&json!({
        "name": args.name,
        "number": list.number,
        "revoked": revoked.iter().map(|(serial, _)| serial.to_string()).collect::<Vec<_>>(),
        "entries": list.revoked.len(),
        "nextUpdate": next_update.to_string(),
        "path": file,
        "urls": urls,
    }))?)
}

fn issued_hint(ledger: &Ledger) -> String {
    let listed: Vec<String> = ledger
        .issued
        .iter()
        .rev()
        .take(5)
        .map(|entry| format!("{} ({})", entry.serial, entry.subject))
        .collect();
    match listed.is_empty() {
        true => "it has issued none here".to_owned(),
        false => format!("the last ones it issued: {}", listed.join("; ")),
    }
}
