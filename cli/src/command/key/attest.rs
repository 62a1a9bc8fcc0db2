//! `hardsign key attest`: a device's evidence of where a key was made, checked and shown.

use hardsign_core::attestation::Attested;
use hardsign_core::crypto::PublicKey;
use hardsign_core::envelope::YUBICO_PIV;
use hardsign_core::plugin::{KeyChoice, KeyStore, PluginKey};
use hardsign_core::text::WithCauses;
use hardsign_core::x509::Certificate;
use hardsign_plugin::proto::{AttestKeyResponse, Capability, Property};
use serde_json::{Map, Value, json};

use super::super::{Context, certificate_file, evidence, signer};
use crate::args::Output;
use crate::args::key::attest::AttestArgs;
use crate::failure::Failure;
use crate::output::{device, one_line};

pub(crate) fn attest(args: &AttestArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let roots = evidence::roots(args.root.as_deref())?;
    let certificate = match &args.certificate {
        Some(path) => certificate_file::read(path)?.into_iter().next(),
        None => None,
    };
    let host = signer::host(&dirs, context);
    let choice = args
        .name
        .as_deref()
        .map_or(KeyChoice::Default, KeyChoice::Named);
    let key = PluginKey::resolve(host.finder(), &dirs, choice, &args.plugin_config)?;
    let answer: AttestKeyResponse = context.wait(async {
        let store = KeyStore::open(&host, key.plugin.clone(), &key.id, key.config.clone()).await?;
        let answer = match store.has(&Capability::Attest) {
            true => store.attest_key(&key.id).await.map_err(Failure::from),
            false => Err(no_evidence(&store.metadata().name)),
        };
        store.close().await;
        answer
    })?;
    let name = key.name.as_deref().unwrap_or(&key.id);
    let public = PublicKey::from_spki_der(&answer.public_key.0).map_err(|error| {
        let causes = WithCauses(&error);
        Failure::failed(format!(
            "the plugin's answer contains no public key: {causes}"
        ))
    })?;
    if let Some(certificate) = &certificate
        && certificate.public_key() != Ok(&public)
    {
        return Err(Failure::failed(format!(
            "the certificate {} is not of the key {}",
            certificate.subject().quoted(),
            one_line(name)
        )));
    }
    if answer.format != YUBICO_PIV {
        return unproven(name, &answer, args.output, context);
    }
    let attested = evidence::evidence(&answer)?
        .prove(&public, &roots, context.now())
        .map_err(|error| evidence::refused(name, &error, "--root"))?;
    match args.output {
        Output::Json => Ok(context.console.json(&document(name, &attested))?),
        Output::Text => print(name, &attested, certificate.as_ref(), context),
    }
}

fn no_evidence(plugin: &str) -> Failure {
    Failure::failed(format!(
        "plugin {} gives no evidence of keys",
        one_line(plugin)
    ))
    .hint("use a YubiKey, with the plugin yubikey")
}

/// What a module or service says without proof.
fn unproven(
    name: &str,
    answer: &AttestKeyResponse,
    output: Output,
    context: &Context,
) -> Result<(), Failure> {
    let statements: Vec<Value> = answer
        .statements
        .iter()
        .map(|Property { name, value }| json!({"name": name, "value": value}))
        .collect();
    let console = &context.console;
    match output {
        Output::Json => console.json(&json!({
            "name": name,
            "format": answer.format,
            "proven": false,
            "statements": statements,
        }))?,
        Output::Text => {
            console.line(format_args!(
                "{}: not proven; this is what the key store says",
                one_line(name)
            ))?;
            let names = answer
                .statements
                .iter()
                .map(|said| said.name.chars().count());
            let width = names.max().unwrap_or_default();
            for Property { name, value } in &answer.statements {
                let (name, value) = (one_line(name), one_line(value));
                console.line(format_args!("  {name:<width$}  {value}"))?;
            }
        }
    }
    Ok(())
}

fn print(
    name: &str,
    attested: &Attested,
    certificate: Option<&Certificate>,
    context: &Context,
) -> Result<(), Failure> {
    let stated = attested.device();
    context.console.line(format_args!(
        "{}: made on the device, and can't leave it; proven by the device's maker",
        one_line(name)
    ))?;
    for (name, value) in device::rows(stated) {
        row(context, name, &value)?;
    }
    row(
        context,
        "FIPS series",
        if stated.fips { "yes" } else { "no" },
    )?;
    if stated.cspn {
        row(context, "CSPN series", "yes")?;
    }
    if let Some(certificate) = certificate {
        row(context, "certificate", &certificate.subject().to_string())?;
    }
    if let Some(root) = attested.root() {
        row(context, "root", &root.subject().to_string())?;
    }
    for warning in device::warnings(attested) {
        context.console.warning(warning);
    }
    Ok(())
}

fn row(context: &Context, name: &str, value: &str) -> Result<(), Failure> {
    Ok(context.console.line(format_args!("  {name:<15}{value}"))?)
}

fn document(name: &str, attested: &Attested) -> Value {
    let about = [
        ("name", json!(name)),
        ("format", json!(YUBICO_PIV)),
        ("proven", json!(true)),
    ];
    let about = about.map(|(name, value)| (name.to_owned(), value));
    let members: Map<_, _> = about.into_iter().chain(device::proven(attested)).collect();
    Value::Object(members)
}
