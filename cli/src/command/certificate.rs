//! `hardsign certificate`: trust stores, and the test key (CLI-69 to CLI-83).

use std::fs;
use std::io;
use std::path::Path;

use hardsign_core::config::{ConfigError, SigningKeys};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::KeyStore;
use hardsign_core::text::WithCauses;
use hardsign_core::trust::edit::{self, EditError, Emptied};
use hardsign_core::trust::{StoreRef, StoreType};
use hardsign_core::x509::Certificate;
use hardsign_plugin::proto::{CONTRACT_VERSION, GenerateTestKeyRequest, PluginConfig};
use hardsign_plugin::text::{did_you_mean, io_text};
use jiff::civil::DateTime;
use serde::Serialize;
use serde_json::json;

use super::{Context, Unanswered, signer};
use crate::args::Output;
use crate::args::certificate::{
    AddArgs, CleanupTestArgs, DeleteArgs, GenerateTestArgs, ListArgs, ShowArgs,
};
use crate::failure::Failure;
use crate::output::{one_line, rfc3339};

pub(super) fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let (store_type, name) = (args.store.store_type, args.store.name.as_str());
    let mut added = Vec::new();
    let mut failed = String::new();
    let mut failures = Vec::new();
    for path in &args.paths {
        match edit::add(&dirs, &args.store, Path::new(path)) {
            Ok(certificates) => {
                warn_if_useless(&certificates, &args.store, path, context);
                added.push(path);
            }
            Err(error) => {
                let path = one_line(path);
                let error = WithCauses(&error).to_string();
                failed.push_str(&format!("{path}, with error {error:?}\n"));
                failures.push(json!({"path": path, "error": error}));
            }
        }
    }
    if !added.is_empty() {
        context.console.line(format_args!(
            "Successfully added following certificates to named store {name} of type {store_type}:"
        ))?;
        for path in &added {
            context.console.line(one_line(path))?;
        }
    }
    context.console.document(&json!({
        "storeType": store_type.name(),
        "storeName": name,
        "added": added,
        "failed": failures,
    }))?;
    if failed.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::failed(format!(
        "Failed to add following certificates to named store {name} of type {store_type}:"
    ));
    for message in &mut failure.messages {
        *message = format!("{message}\n{failed}");
    }
    Err(failure)
}

/// CLI-71: a certificate that verification will refuse in this store is told of at once.
fn warn_if_useless(certificates: &[Certificate], store: &StoreRef, path: &str, context: &Context) {
    for certificate in certificates {
        let subject = certificate.subject();
        if store.store_type == StoreType::Tsa && !certificate.is_root_ca() {
            context.console.warning(format_args!(
                "{path}: certificate with subject \"{subject}\" is not a root CA certificate, so verification will refuse this trust store"
            ));
        } else if !certificate.is_ca() && !certificate.is_self_signed() {
            context.console.warning(format_args!(
                "{path}: certificate with subject \"{subject}\" is not a CA certificate or self-signed signing certificate, so verification will refuse this trust store"
            ));
        }
    }
}

pub(super) fn list(args: ListArgs, context: &Context) -> Result<(), Failure> {
    let (of_type, name) = &args.filter;
    let dirs = context.dirs()?;
    let files = edit::list(&dirs, *of_type, name.as_ref()).map_err(|error| {
        let what = match (of_type, name) {
            (None, None) => "all certificates stored in the trust store".to_owned(),
            (Some(of_type), None) => format!("all certificates stored of type {of_type}"),
            (None, Some(name)) => {
                format!(
                    "all certificates stored in the named store {}",
                    name.as_str()
                )
            }
            (Some(of_type), Some(name)) => format!(
                "all certificates stored in the named store {} of type {of_type}",
                name.as_str()
            ),
        };
        let causes = WithCauses(&error);
        Failure::failed(format!("failed to list {what}, with error: {causes}"))
    })?;
    if args.output == Output::Json {
        let listed: Vec<_> = files
            .iter()
            .map(
                |f| json!({"storeType": f.store_type.name(), "storeName": f.store, "file": f.file}),
            )
            .collect();
        return Ok(context.console.json(&json!({ "certificates": listed }))?);
    }
    if files.is_empty() {
        context.console.plain(match name {
            None => match of_type {
                None => "There are no certificates in the trust stores".to_owned(),
                Some(of_type) => {
                    format!("There are no certificates in trust stores of type {of_type}")
                }
            },
            Some(name) => {
                let meant = nearest_store(&dirs, *of_type, name.as_str());
                let meant = meant.map_or_else(String::new, |meant| format!("; {meant}"));
                format!(
                    "There are no certificates in a trust store {}{meant}",
                    name.as_str()
                )
            }
        });
        return Ok(());
    }
    let rows: Vec<_> = files
        .into_iter()
        .map(|f| [f.store_type.to_string(), f.store, f.file])
        .collect();
    let header = ["STORE TYPE", "STORE NAME", "CERTIFICATE"];
    Ok(context.console.table(header, &rows)?)
}

/// Whether a store of another name was meant.
fn nearest_store(dirs: &Dirs, of_type: Option<StoreType>, name: &str) -> Option<String> {
    let listed = edit::list(dirs, of_type, None).unwrap_or_default();
    did_you_mean(name, listed.iter().map(|file| file.store.as_str()))
}

/// The same for a file that is not in its store, or a store that is not there.
fn not_in_store(dirs: &Dirs, store: &StoreRef, file: &str) -> Option<String> {
    let listed = edit::list(dirs, Some(store.store_type), None).unwrap_or_default();
    let here = listed
        .iter()
        .filter(|listed| listed.store == store.name.as_str());
    let files: Vec<_> = here.map(|listed| listed.file.as_str()).collect();
    match files.is_empty() {
        true => nearest_store(dirs, Some(store.store_type), store.name.as_str()),
        false => did_you_mean(file, files),
    }
}

/// One certificate as `certificate show --output json` shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    issuer: String,
    subject: String,
    not_before: String,
    not_after: String,
    is_ca: bool,
    sha256_fingerprint: String,
}

pub(super) fn show(args: ShowArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let certificates = edit::read(&dirs, &args.store, &args.file).map_err(|error| Failure {
        hint: error
            .is_not_found()
            .then(|| not_in_store(&dirs, &args.store, &args.file))
            .flatten(),
        ..Failure::failed(format!(
            "failed to show details of certificate {}, with error: {}",
            args.file,
            WithCauses(&error)
        ))
    })?;
    if args.output == Output::Json {
        let shown: Vec<_> = certificates
            .iter()
            .map(|c| Shown {
                issuer: c.issuer().to_string(),
                subject: c.subject().to_string(),
                not_before: rfc3339(c.not_before_utc()),
                not_after: rfc3339(c.not_after_utc()),
                is_ca: c.is_ca(),
                sha256_fingerprint: c.thumbprint_hex(),
            })
            .collect();
        return Ok(context.console.json(&json!({ "certificates": shown }))?);
    }
    let console = &context.console;
    console.line("Certificate details")?;
    for certificate in &certificates {
        console.line("-".repeat(80))?;
        console.line(format_args!(
            "Issuer: {}",
            one_line(&certificate.issuer().to_string())
        ))?;
        console.line(format_args!(
            "Subject: {}",
            one_line(&certificate.subject().to_string())
        ))?;
        console.line(format_args!(
            "Valid from: {}",
            go_time(certificate.not_before_utc())
        ))?;
        console.line(format_args!(
            "Valid to: {}",
            go_time(certificate.not_after_utc())
        ))?;
        console.line(format_args!("IsCA: {}", certificate.is_ca()))?;
        console.line(format_args!(
            "SHA256 Thumbprint: {}",
            certificate.thumbprint_hex()
        ))?;
    }
    Ok(())
}

/// `2022-12-19 02:43:39 +0000 UTC` (CLI-73).
fn go_time(time: DateTime) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}

pub(super) fn delete(args: DeleteArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let (store_type, name) = (args.store.store_type, args.store.name.as_str());
    match &args.file {
        None => {
            let question = format!(
                "Are you sure you want to delete all certificates in {name:?} of type \"{store_type}\"?"
            );
            let unanswered = Unanswered::new(
                format!("trust store {name} of type {store_type} was not deleted"),
                "--yes",
            );
            if !context.confirm(&question, args.yes, &unanswered)? {
                return Ok(());
            }
            let directory = edit::delete_store(&dirs, &args.store).map_err(|error| {
                let causes = WithCauses(&error);
                let meant = || nearest_store(&dirs, Some(store_type), name);
                Failure {
                    hint: error.is_not_found().then(meant).flatten(),
                    ..Failure::failed(format!("failed to delete the named trust store: {causes}"))
                }
            })?;
            context
                .console
                .line(format_args!("Successfully deleted {}", directory.display()))?;
        }
        Some(file) => {
            let question = format!(
                "Are you sure you want to delete {file:?} in {name:?} of type \"{store_type}\"?"
            );
            let not_done = format!("{} was not deleted", one_line(file));
            let unanswered = Unanswered::new(not_done, "--yes");
            if !context.confirm(&question, args.yes, &unanswered)? {
                return Ok(());
            }
            delete_file(&args.store, file, context).map_err(|error| match error {
                Ok(error) => {
                    let causes = WithCauses(&error);
                    let meant = || not_in_store(&dirs, &args.store, file);
                    Failure {
                        hint: error.is_not_found().then(meant).flatten(),
                        ..Failure::failed(format!(
                            "failed to delete the certificate file: {causes}"
                        ))
                    }
                }
                Err(failure) => failure,
            })?;
        }
    }
    Ok(context.console.document(&json!({
        "storeType": store_type.name(),
        "storeName": name,
        "file": args.file,
    }))?)
}

/// Deletes a file of a store and says so; the outer error is printing's, the inner the deletion's.
fn delete_file(
    store: &StoreRef,
    file: &str,
    context: &Context,
) -> Result<(), Result<EditError, Failure>> {
    let dirs = context.dirs().map_err(Err)?;
    match edit::delete(&dirs, store, file).map_err(Ok)? {
        Emptied::No | Emptied::Removed => {}
        Emptied::CheckFailed { store, error } => context.console.warning(format_args!(
            "failed to check if the trust store directory {} is empty: {}",
            store.display(),
            WithCauses(&error)
        )),
        Emptied::RemoveFailed { store, error } => context.console.warning(format_args!(
            "failed to remove the empty trust store directory {}: {}",
            store.display(),
            WithCauses(&error)
        )),
    }
    context
        .console
        .line(format_args!(
            "Successfully deleted {} from trust store {} of type {}",
            one_line(file),
            store.name.as_str(),
            store.store_type
        ))
        .map_err(|error| Err(error.into()))
}

pub(super) fn generate_test(args: GenerateTestArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let console = &context.console;
    let name = args.name.as_str();
    let (key_path, certificate_path) = dirs.local_key(name);
    console.line(format_args!("generating RSA Key with {} bits", args.bits))?;
    let request = GenerateTestKeyRequest {
        contract_version: CONTRACT_VERSION.to_owned(),
        key_path: key_path.to_string_lossy().into_owned(),
        cert_path: certificate_path.to_string_lossy().into_owned(),
        common_name: name.to_owned(),
        bits: args.bits,
    };
    let host = signer::host(&dirs, context);
    let local = host.finder().local()?;
    let made = context
        .wait(async {
            let store = KeyStore::open(&host, local, "", PluginConfig::new()).await?;
            let made = store.generate_test_key(&request).await;
            store.close().await;
            Ok(made?)
        })
        .map_err(|failure| match fs::symlink_metadata(&key_path) {
            Ok(_) => Failure::failed(failure.messages.join("\n")).hint(format!(
                "remove the earlier test key with `hardsign certificate cleanup-test {name}`"
            )),
            Err(_) => failure,
        })?;
    console.line(format_args!(
        "generated certificate expiring on {}",
        made.not_after
    ))?;
    console.line(format_args!("wrote key: {}", key_path.display()))?;
    console.line(format_args!(
        "wrote certificate: {}",
        certificate_path.display()
    ))?;
    SigningKeys::update(&dirs, |keys| {
        keys.add_files(
            name,
            &key_path.to_string_lossy(),
            &certificate_path.to_string_lossy(),
        )?;
        if args.default {
            keys.set_default(name)?;
        }
        Ok::<_, ConfigError>(())
    })?;
    let store = StoreRef {
        store_type: StoreType::Ca,
        name: args.name.clone(),
    };
    edit::add(&dirs, &store, &certificate_path).map_err(Failure::error)?;
    console.line(format_args!(
        "Successfully added {name}.crt to named store {name} of type ca"
    ))?;
    console.line(format_args!("{name}: added to the key list"))?;
    if args.default {
        console.line(format_args!("{name}: marked as default signing key"))?;
    }
    Ok(console.document(&json!({
        "name": name,
        "default": args.default,
        "keyPath": key_path,
        "certificatePath": certificate_path,
        "notAfter": made.not_after,
        "storeType": store.store_type.name(),
        "storeName": name,
    }))?)
}

pub(super) fn cleanup_test(args: CleanupTestArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let console = &context.console;
    let name = args.name.as_str();
    let (key_path, certificate_path) = dirs.local_key(name);
    if !args.yes {
        for line in [
            format!(
                "The test key {name} and its corresponding certificate will be cleaned up with the following changes:"
            ),
            format!("- Delete certificate {name}.crt from trust store {name} of type ca"),
            format!("- Remove key {name} from the key list"),
            format!("- Delete key file: {}", key_path.display()),
            format!("- Delete certificate file: {}", certificate_path.display()),
            String::new(),
        ] {
            console.question(&format!("{line}\n"))?;
        }
    }
    let question = "Are you sure you want to continue?";
    let unanswered = Unanswered::new(format!("test key {name} was not cleaned up"), "--yes");
    if !context.confirm(question, args.yes, &unanswered)? {
        return Ok(());
    }
    let store = StoreRef {
        store_type: StoreType::Ca,
        name: args.name.clone(),
    };
    let file = format!("{name}.crt");
    match delete_file(&store, &file, context) {
        Ok(()) => {}
        Err(Err(failure)) => return Err(failure),
        Err(Ok(error)) if error.is_not_found() => console.line(format_args!(
            "Certificate {file} does not exist in trust store {name} of type ca"
        ))?,
        Err(Ok(error)) => {
            return Err(Failure::failed(format!(
                "failed to delete certificate {file} from trust store {name} of type ca: {}",
                WithCauses(&error)
            )));
        }
    }
    match SigningKeys::update(&dirs, |keys| keys.remove(name)) {
        Ok(_) => console.line(format_args!(
            "Successfully removed key {name} from the key list"
        ))?,
        Err(ConfigError::KeyNotFound { .. }) => {
            console.line(format_args!("Key {name} does not exist in the key list"))?;
        }
        Err(error) => {
            return Err(Failure::failed(format!(
                "failed to remove key {name} from the key list: {}",
                WithCauses(&error)
            )));
        }
    }
    remove("key", &key_path, context)?;
    remove("certificate", &certificate_path, context)?;
    console.line("Cleanup completed successfully")?;
    Ok(console.document(&json!({ "name": name }))?)
}

fn remove(kind: &str, path: &Path, context: &Context) -> Result<(), Failure> {
    let shown = path.display();
    match fs::remove_file(path) {
        Ok(()) => {
            context
                .console
                .line(format_args!("Successfully deleted {kind} file: {shown}"))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut kind = kind.to_owned();
            if let Some(first) = kind.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            context
                .console
                .line(format_args!("{kind} file {shown} does not exist"))?;
        }
        Err(error) => {
            return Err(Failure::failed(format!(
                "failed to delete {kind} file {shown}: {}",
                io_text(&error)
            )));
        }
    }
    Ok(())
}
