//! `generate-test-key`: an RSA key and a self-signed certificate for trying things out (CLI-80).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString, UtcTime};
use der::{Any, Decode as _, Encode as _};
use hardsign_plugin::proto::{GenerateTestKeyRequest, GenerateTestKeyResponse};
use x509_cert::certificate::{Certificate, TbsCertificate, Version};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use crate::error::{FileError, LocalError};

/// How long a test certificate is valid.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// Makes key and certificate and writes them. Existing files are left alone, and no file is left
/// behind when the other can't be written.
pub(crate) fn generate(
    request: &GenerateTestKeyRequest,
    now: SystemTime,
) -> Result<GenerateTestKeyResponse, LocalError> {
    let size = match request.bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        bits => return Err(LocalError::Bits { bits }),
    };
    let subject = subject(&request.common_name)?;
    let (key_path, certificate_path) = (
        PathBuf::from(&request.key_path),
        PathBuf::from(&request.cert_path),
    );
    // Before the work; whether a file is there is decided when it is written.
    must_not_exist(&key_path).map_err(LocalError::WriteKey)?;
    must_not_exist(&certificate_path).map_err(LocalError::WriteCertificate)?;

    let key = KeyPair::generate(size).map_err(|_| LocalError::Generate)?;
    let (certificate, not_after) = certificate(&key, subject, now)?;
    let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| LocalError::Generate)?;
    write(&key_path, &pem("PRIVATE KEY", private.as_ref()), 0o600).map_err(LocalError::WriteKey)?;
    let written = write(&certificate_path, &pem("CERTIFICATE", &certificate), 0o644);
    if let Err(error) = written {
        // The key that was just made; if it can't be removed, the error still says what failed.
        fs::remove_file(&key_path).unwrap_or(());
        return Err(LocalError::WriteCertificate(error));
    }
    Ok(GenerateTestKeyResponse {
        certificate: certificate.into(),
        not_after,
    })
}

/// `C=US, ST=WA, L=Seattle, O=Notary, CN=<name>`. The characters that are allowed need no escape.
fn subject(name: &str) -> Result<Name, LocalError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > 200 || !name.chars().all(allowed) {
        return Err(LocalError::CommonName { name: name.into() });
    }
    let text = format!("CN={name},O=Notary,L=Seattle,ST=WA,C=US");
    Name::from_str(&text).map_err(LocalError::Certificate)
}

/// The certificate in DER and its expiry in RFC 3339.
fn certificate(
    key: &KeyPair,
    subject: Name,
    now: SystemTime,
) -> Result<(Vec<u8>, String), LocalError> {
    let spki = key.public_key().as_der();
    let spki = spki.map_err(|_| LocalError::Generate)?;
    let mut serial = [0_u8; 16];
    let random = SystemRandom::new();
    random.fill(&mut serial).map_err(|_| LocalError::Generate)?;
    let build = || -> der::Result<(TbsCertificate, String)> {
        let since_epoch = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| der::ErrorKind::DateTime)?;
        let not_after = time(since_epoch.saturating_add(LIFETIME))?;
        let tbs = TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&serial)?,
            signature: signature_algorithm(),
            issuer: subject.clone(),
            validity: Validity {
                not_before: time(since_epoch)?,
                not_after,
            },
            subject,
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(spki.as_ref())?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(extensions()?),
        };
        Ok((tbs, not_after.to_date_time().to_string()))
    };
    let (tbs, not_after) = build().map_err(LocalError::Certificate)?;
    let signed = tbs.to_der().map_err(LocalError::Certificate)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &random, &signed, &mut signature)
        .map_err(|_| LocalError::Generate)?;
    let der = BitString::from_bytes(&signature).and_then(|signature| {
        Certificate {
            tbs_certificate: tbs,
            signature_algorithm: signature_algorithm(),
            signature,
        }
        .to_der()
    });
    Ok((der.map_err(LocalError::Certificate)?, not_after))
}

fn signature_algorithm() -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid: SHA256_WITH_RSA,
        parameters: Some(Any::null()),
    }
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
fn time(since_epoch: Duration) -> der::Result<Time> {
    let whole = Duration::from_secs(since_epoch.as_secs());
    match UtcTime::from_unix_duration(whole) {
        Ok(time) => Ok(Time::UtcTime(time)),
        Err(_) => GeneralizedTime::from_unix_duration(whole).map(Time::GeneralTime),
    }
}

fn extensions() -> der::Result<Vec<Extension>> {
    let key_usage = KeyUsage(KeyUsages::DigitalSignature.into());
    let extended = ExtendedKeyUsage(vec![CODE_SIGNING]);
    Ok(vec![
        Extension {
            extn_id: KEY_USAGE,
            critical: true,
            extn_value: OctetString::new(key_usage.to_der()?)?,
        },
        Extension {
            extn_id: EXTENDED_KEY_USAGE,
            critical: false,
            extn_value: OctetString::new(extended.to_der()?)?,
        },
    ])
}

pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let engine = base64::engine::general_purpose::STANDARD;
    let encoded = Zeroizing::new(engine.encode(der));
    // Room for all, so that nothing is moved and left behind.
    let mut pem = Zeroizing::new(String::with_capacity(encoded.len().saturating_mul(2)));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    pem
}

fn must_not_exist(path: &Path) -> Result<(), FileError> {
    match path.symlink_metadata() {
        Ok(_) => Err(FileError {
            path: path.into(),
            source: io::ErrorKind::AlreadyExists.into(),
        }),
        Err(_) => Ok(()),
    }
}

/// Writes a file that must not exist: whole beside its place, then linked to it, which fails if
/// something is there. Directories are made for the user alone.
pub(crate) fn write(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    let failed = |source| FileError {
        path: path.into(),
        source,
    };
    if let Some(parent) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(parent).map_err(failed)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written =
        write_new(&beside, content, mode).and_then(|()| link(&beside, path, content, mode));
    // It has its place now, or is of no use.
    fs::remove_file(&beside).unwrap_or(());
    written.map_err(failed)
}

/// Writes a file in the place of one that is there, whole or not at all.
pub(crate) fn replace(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = write_new(&beside, content, mode).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // It is of no use.
        fs::remove_file(&beside).unwrap_or(());
        FileError {
            path: path.into(),
            source,
        }
    })
}

/// Gives the file its place; where the file system has no links, writes it there directly.
fn link(beside: &Path, path: &Path, content: &str, mode: u32) -> io::Result<()> {
    match fs::hard_link(beside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            write_new(path, content, mode)
        }
        linked => linked,
    }
}

fn write_new(path: &Path, content: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create_new(true).open(path)?;
    file.write_all(content.as_bytes())?;
    set_mode(&file, mode)?;
    file.sync_all()
}

#[cfg(unix)]
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// The directory decides who may read.
#[cfg(not(unix))]
fn set_mode(_: &File, _: u32) -> io::Result<()> {
    Ok(())
}
