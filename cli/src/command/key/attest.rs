//! `hardsign key attest`: a device's evidence of where a key was made, checked and shown.

use std::path::Path;

use hardsign_core::attestation::{
    AttestationError, Attested, Evidence, PinPolicy, Roots, TouchPolicy,
};
use hardsign_core::config::read_named;
use hardsign_core::crypto::PublicKey;
use hardsign_core::plugin::{KeyChoice, KeyStore, PluginKey};
use hardsign_core::x509::{Certificate, MAX_FILE_LEN};
use hardsign_plugin::proto::{AttestKeyResponse, Capability, Property};
use serde_json::{Value, json};

use super::super::{Context, signer};
use crate::args::Output;
use crate::args::key::attest::AttestArgs;
use crate::failure::{Failure, chain};
use crate::output::one_line;

/// The evidence of a YubiKey's PIV application: the statement on the key, and the certificate of the
/// key that signed it.
const YUBICO: &str = "yubico-piv";

pub(crate) fn attest(args: &AttestArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let roots = match &args.root {
        Some(path) => Roots::of(certificates(path)?),
        None => Roots::in_the_box(),
    };
    let certificate = match &args.certificate {
        Some(path) => certificates(path)?.into_iter().next(),
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
        Failure::failed(format!("the plugin's answer holds no public key: {error}"))
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
    if answer.format != YUBICO {
        return unproven(name, &answer, args.output, context);
    }
    let evidence = Evidence::from_certificates(
        &answer
            .certificates
            .iter()
            .map(|der| &der.0)
            .collect::<Vec<_>>(),
    )
    .map_err(|error| Failure::chain(&error))?;
    let attested = evidence
        .prove(&public, &roots, context.now())
        .map_err(|error| refused(name, &error))?;
    match args.output {
        Output::Json => Ok(context.console.json(&document(name, &attested))?),
        Output::Text => print(name, &attested, certificate.as_ref(), context),
    }
}

fn certificates(path: &str) -> Result<Vec<Certificate>, Failure> {
    let bytes = read_named(Path::new(path), MAX_FILE_LEN as u64).map_err(Failure::failed)?;
    let read = Certificate::parse_file(&bytes)
        .map_err(|error| Failure::failed(format!("{}: {}", one_line(path), chain(&error))))?;
    if read.is_empty() {
        return Err(Failure::failed(format!(
            "{} holds no certificate",
            one_line(path)
        )));
    }
    Ok(read)
}

fn no_evidence(plugin: &str) -> Failure {
    Failure::failed(format!(
        "plugin {} gives no evidence of keys",
        one_line(plugin)
    ))
    .hint("YubiKeys do, through the plugin yubikey")
}

fn refused(name: &str, error: &AttestationError) -> Failure {
    let name = one_line(name);
    let failure = Failure::failed(format!(
        "nothing proves where the key {name} was made: {}",
        chain(error)
    ));
    match error {
        AttestationError::Roca { .. } => {
            failure.hint("stop using the key, and make another on a device that is not affected")
        }
        AttestationError::Untrusted { .. } => failure
            .hint("if the device is of another maker, name a file with its root: --root maker.pem"),
        _ => failure,
    }
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
            for Property { name, value } in &answer.statements {
                row(context, &one_line(name), &one_line(value))?;
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
    let device = attested.device();
    context.console.line(format_args!(
        "{}: made on the device, which can't give it away; proven by the device's maker",
        one_line(name)
    ))?;
    let serial = device
        .serial
        .map_or_else(|| "not told".to_owned(), |serial| serial.to_string());
    row(context, "serial number", &serial)?;
    row(context, "firmware", &device.firmware.to_string())?;
    if let Some(form) = device.form_factor {
        row(context, "form factor", &form.to_string())?;
    }
    row(context, "slot", &device.slot)?;
    row(context, "PIN policy", &device.pin_policy.to_string())?;
    row(context, "touch policy", &device.touch_policy.to_string())?;
    row(
        context,
        "FIPS series",
        if device.fips { "yes" } else { "no" },
    )?;
    if device.cspn {
        row(context, "CSPN series", "yes")?;
    }
    if let Some(certificate) = certificate {
        row(context, "certificate", &certificate.subject().to_string())?;
    }
    if let Some(root) = attested.root() {
        row(context, "root", &root.subject().to_string())?;
    }
    for warning in warnings(attested) {
        context.console.warning(warning);
    }
    Ok(())
}

fn row(context: &Context, name: &str, value: &str) -> Result<(), Failure> {
    Ok(context.console.line(format_args!("  {name:<15}{value}"))?)
}

fn warnings(attested: &Attested) -> Vec<&'static str> {
    let mut warnings = Vec::new();
    if attested.leaks_to_equipment() {
        warnings.push(
            "someone with the device in hand and costly equipment could get at the key: an elliptic-curve key \
             on firmware before 5.7 (YSA-2024-03)",
        );
    }
    if attested.device().pin_policy == PinPolicy::Never {
        warnings.push("whoever has the device can sign: the key wants no PIN");
    }
    warnings
}

fn document(name: &str, attested: &Attested) -> Value {
    let device = attested.device();
    json!({
        "name": name,
        "format": YUBICO,
        "proven": true,
        "serialNumber": device.serial,
        "firmware": device.firmware.to_string(),
        "formFactor": device.form_factor.map(|form| form.to_string()),
        "slot": device.slot,
        "pinPolicy": pin_policy(device.pin_policy),
        "touchPolicy": touch_policy(device.touch_policy),
        "fips": device.fips,
        "cspn": device.cspn,
        "root": attested.root().map(|root| root.subject().to_string()),
        "warnings": warnings(attested),
    })
}

/// `null` for a policy that is not known here.
fn pin_policy(policy: PinPolicy) -> Option<String> {
    (!matches!(policy, PinPolicy::Unknown(_))).then(|| policy.to_string())
}

fn touch_policy(policy: TouchPolicy) -> Option<String> {
    (!matches!(policy, TouchPolicy::Unknown(_))).then(|| policy.to_string())
}
