//! Keys made, listed and given certificates on disk: `create-key`, `list-keys`,
//! `import-certificates`, as a plugin for hardware does them on its device.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::EcdsaKeyPair;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain;
use hardsign_plugin::proto::{
    CertificateSummary, CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest,
    ImportCertificatesResponse, KeyEntry, ListKeysRequest, ListKeysResponse,
};
use hardsign_plugin::text::names_after;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::error::{FileError, LocalError};
use crate::generate::{pem, replace, write};
use crate::key::{CERT_CHAIN, CURVES, certificate_path, public_key_of, read_certificates};

/// Files of a directory that are looked at.
const MAX_FILES: usize = 1_000;

/// Makes a key file that only its owner can read.
pub(crate) fn create_key(request: &CreateKeyRequest) -> Result<CreateKeyResponse, LocalError> {
    if request.pin_policy.is_some() || request.touch_policy.is_some() {
        return Err(LocalError::Policy);
    }
    let mut path = absolute(&request.key_id)?;
    if request.beside {
        path = beside(&path)?;
    }
    let exists = path.symlink_metadata().is_ok();
    if exists && !request.overwrite {
        return Err(LocalError::KeyExists { path });
    }
    let text = pem("PRIVATE KEY", &pkcs8(request.key_spec)?);
    let replaced = match exists {
        true => {
            replace(&path, &text, 0o600).map_err(LocalError::WriteKey)?;
            Some(format!("the key in {path:?}"))
        }
        false => {
            write(&path, &text, 0o600).map_err(LocalError::WriteKey)?;
            None
        }
    };
    let public = public_key_of(&path)?;
    let public_key = public
        .to_spki_der()
        .map_err(|_| LocalError::Generate)?
        .into();
    Ok(CreateKeyResponse {
        key_id: path.display().to_string(),
        key_spec: request.key_spec,
        public_key,
        token: None,
        replaced,
    })
}

/// A file beside that of a key: its name with the first number under which there is neither a key nor a
/// certificate.
fn beside(path: &Path) -> Result<PathBuf, LocalError> {
    public_key_of(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy());
    let extension = extension.map_or_else(String::new, |extension| format!(".{extension}"));
    names_after(&stem)
        .take(MAX_FILES)
        .map(|name| path.with_file_name(format!("{name}{extension}")))
        .find(|free| !is_there(free) && !is_there(&certificate_path(free, None)))
        .ok_or_else(|| LocalError::KeyExists { path: path.into() })
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// A new key in PKCS#8.
fn pkcs8(key_spec: KeySpec) -> Result<Zeroizing<Vec<u8>>, LocalError> {
    let rsa = |size| -> Result<Zeroizing<Vec<u8>>, LocalError> {
        let key = RsaKeyPair::generate(size).map_err(|_| LocalError::Generate)?;
        let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| LocalError::Generate)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    };
    let [p256, p384, p521] = CURVES;
    let curve = match key_spec {
        KeySpec::Rsa2048 => return rsa(KeySize::Rsa2048),
        KeySpec::Rsa3072 => return rsa(KeySize::Rsa3072),
        KeySpec::Rsa4096 => return rsa(KeySize::Rsa4096),
        KeySpec::Ec256 => p256,
        KeySpec::Ec384 => p384,
        KeySpec::Ec521 => p521,
    };
    let document = EcdsaKeyPair::generate_pkcs8(curve, &SystemRandom::new());
    let document = document.map_err(|_| LocalError::Generate)?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// Writes the chain beside the key, or where `cert-chain` says.
pub(crate) fn import_certificates(
    request: &ImportCertificatesRequest,
) -> Result<ImportCertificatesResponse, LocalError> {
    let key = absolute(&request.key_id)?;
    let public = public_key_of(&key)?;
    let path = certificate_path(&key, request.plugin_config.get(CERT_CHAIN).map(Path::new));
    let leaf = request.certificate_chain.first();
    if !leaf.is_some_and(|leaf| chain::matches(&public, &leaf.0)) {
        return Err(LocalError::Mismatch {
            key,
            certificate: path,
        });
    }
    let blocks = request.certificate_chain.iter();
    let text: String = blocks
        .map(|certificate| pem("CERTIFICATE", &certificate.0).to_string())
        .collect();
    let replaced = match path.symlink_metadata() {
        Ok(_) if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) => None,
        Ok(_) if !request.overwrite => return Err(LocalError::CertificatesExist { path }),
        Ok(_) => {
            replace(&path, &text, 0o644).map_err(LocalError::WriteCertificate)?;
            Some(format!("the certificates in {path:?}"))
        }
        Err(_) => {
            write(&path, &text, 0o644).map_err(LocalError::WriteCertificate)?;
            None
        }
    };
    Ok(ImportCertificatesResponse {
        stored: u32::try_from(request.certificate_chain.len()).unwrap_or(u32::MAX),
        replaced,
    })
}

/// The private keys in the files of a directory.
pub(crate) fn list_keys(request: &ListKeysRequest) -> Result<ListKeysResponse, LocalError> {
    if request.key_id.is_empty() {
        return Err(LocalError::NoDirectory);
    }
    let directory = absolute(&request.key_id)?;
    let failed = |source| {
        LocalError::Open(FileError {
            path: directory.clone(),
            source,
        })
    };
    if directory.is_file() {
        // A host that looks for one key.
        public_key_of(&directory)?;
        return Ok(ListKeysResponse {
            keys: entry(&directory).into_iter().collect(),
            ..ListKeysResponse::default()
        });
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)?.take(MAX_FILES) {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    let truncated = paths.len() == MAX_FILES;
    let keys = paths.iter().filter_map(|path| entry(path)).collect();
    Ok(ListKeysResponse {
        keys,
        truncated,
        ..ListKeysResponse::default()
    })
}

/// What is told of a file that holds a key.
fn entry(path: &Path) -> Option<KeyEntry> {
    let public = public_key_of(path).ok()?;
    let leaf = read_certificates(&certificate_path(path, None))
        .ok()
        .and_then(|certificates| certificates.into_iter().next())
        .filter(|leaf| chain::matches(&public, leaf));
    let key_spec = public.key_spec();
    Some(KeyEntry {
        key_id: path.display().to_string(),
        key_spec,
        description: match key_spec {
            Some(_) => "key file".to_owned(),
            None => format!("key file: can't be used, it is {}", public.describe()),
        },
        label: path.file_stem()?.to_str().map(str::to_owned),
        certificate: leaf.and_then(|der| {
            let certificate = Certificate::from_der(&der).ok()?;
            let not_after = &certificate.tbs_certificate.validity.not_after;
            Some(CertificateSummary {
                subject: chain::subject(&der)?,
                not_after: not_after.to_date_time().to_string(),
            })
        }),
        token: None,
    })
}

fn absolute(path: &str) -> Result<PathBuf, LocalError> {
    std::path::absolute(path).map_err(|source| {
        LocalError::Open(FileError {
            path: path.into(),
            source,
        })
    })
}
