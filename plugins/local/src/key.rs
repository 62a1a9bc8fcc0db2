//! A key on disk: PEM file in, signatures out.
//!
//! Private keys are read here and nowhere else in the project. Texts and bytes of a key are
//! zeroed; aws-lc zeroes what it holds.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, RsaEncoding};
use base64::Engine as _;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::proto::Property;
use hardsign_plugin::{Context, Error, Key, KeyRequest, Purpose};
use zeroize::Zeroizing;

use crate::error::{FileError, LocalError};

/// The largest key file.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// The setting that names the certificate file.
pub(crate) const CERT_CHAIN: &str = "cert-chain";

/// A key that was read, with its certificates.
pub(crate) struct LocalKey {
    path: PathBuf,
    private: PrivateKey,
    public: PublicKey,
    key_spec: KeySpec,
    certificates: Vec<Vec<u8>>,
}

enum PrivateKey {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl LocalKey {
    /// Reads certificate and key, and checks that they belong together. A key that is not to sign
    /// may have no certificate.
    pub(crate) fn open(request: &KeyRequest<'_>) -> Result<Self, LocalError> {
        let path = Path::new(request.key_id);
        let named = request.setting(CERT_CHAIN).map(Path::new);
        let certificate = certificate_path(path, named);
        // A key that is to be certified, or looked at, may have none.
        let may_lack = match request.purpose {
            Purpose::Certify => true,
            Purpose::Describe => named.is_none(),
            Purpose::Sign => false,
        };
        let certificates = match (named, certificate.exists()) {
            (_, false) if may_lack => Vec::new(),
            (None, false) => return Err(LocalError::NoCertificatePath),
            _ if may_lack => read_certificates(&certificate).unwrap_or_default(),
            _ => read_certificates(&certificate)?,
        };
        if let Some(key) = certificates
            .first()
            .and_then(|leaf| chain::public_key(leaf).ok())
            && key.key_spec().is_none()
            && !may_lack
        {
            return Err(LocalError::CertificateKey {
                path: certificate,
                what: key.describe(),
            });
        }
        let private = read_key(path)?;
        let public = private
            .public()
            .ok_or_else(|| LocalError::Key { path: path.into() })?;
        let key_spec = public.key_spec().ok_or_else(|| LocalError::KeyKind {
            path: path.into(),
            what: public.describe(),
        })?;
        let matches = certificates
            .first()
            .is_some_and(|leaf| chain::matches(&public, leaf));
        if !matches && !may_lack {
            return Err(LocalError::Mismatch {
                key: path.into(),
                certificate,
            });
        }
        Ok(Self {
            path: path.into(),
            private,
            public,
            key_spec,
            certificates: match matches {
                true => certificates,
                false => Vec::new(),
            },
        })
    }

    fn sign(&self, digest: &[u8], pkcs1: bool) -> Option<Vec<u8>> {
        let (algorithm, pss, pkcs1v15) = algorithms(self.key_spec.hash());
        let padding = if pkcs1 { pkcs1v15 } else { pss };
        let digest = Digest::import_less_safe(digest, algorithm).ok()?;
        match &self.private {
            PrivateKey::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign_digest(padding, &digest, &mut signature).ok()?;
                Some(signature)
            }
            PrivateKey::Ec(key) => Some(key.sign_digest(&digest).ok()?.as_ref().to_vec()),
        }
    }
}

impl Key for LocalKey {
    fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    /// The file's certificates as they stand: order and completeness are for the host to judge.
    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.certificates.clone())
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.public.to_spki_der()?)
    }

    fn sign_digest(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        let signature = self.sign(digest, false);
        let path = || self.path.clone();
        Ok(signature.ok_or_else(|| LocalError::Sign { path: path() })?)
    }

    fn keeps_one_chain(&self) -> bool {
        true
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.key_spec.is_rsa()
    }

    fn sign_digest_pkcs1v15(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
        let signature = self.sign(digest, true);
        let path = || self.path.clone();
        Ok(signature.ok_or_else(|| LocalError::Sign { path: path() })?)
    }

    fn properties(&self) -> Vec<Property> {
        vec![
            Property::new("file", self.path.display().to_string()),
            Property::new("extractable", "yes"),
        ]
    }

    fn max_in_flight(&self) -> u32 {
        let processors = std::thread::available_parallelism();
        processors.map_or(1, |n| u32::try_from(n.get()).unwrap_or(8).min(8))
    }
}

impl PrivateKey {
    fn public(&self) -> Option<PublicKey> {
        let der = match self {
            Self::Rsa(key) => key.public_key().as_der().ok()?,
            Self::Ec(key) => key.public_key().as_der().ok()?,
        };
        PublicKey::from_spki_der(der.as_ref()).ok()
    }
}

/// Hash, RSASSA-PSS with it (aws-lc takes a salt as long as the hash, ENV-35), and
/// RSASSA-PKCS1-v1_5, for certificates alone.
fn algorithms(
    hash: HashAlgorithm,
) -> (
    &'static digest::Algorithm,
    &'static dyn RsaEncoding,
    &'static dyn RsaEncoding,
) {
    use signature as by;
    match hash {
        HashAlgorithm::Sha256 => (&digest::SHA256, &by::RSA_PSS_SHA256, &by::RSA_PKCS1_SHA256),
        HashAlgorithm::Sha384 => (&digest::SHA384, &by::RSA_PSS_SHA384, &by::RSA_PKCS1_SHA384),
        HashAlgorithm::Sha512 => (&digest::SHA512, &by::RSA_PSS_SHA512, &by::RSA_PKCS1_SHA512),
    }
}

/// The curves, with r‖s as output (ENV-37).
pub(crate) const CURVES: [&EcdsaSigningAlgorithm; 3] = [
    &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
    &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
];

/// Where the certificates of a key file are: where the user says, else beside it.
pub(crate) fn certificate_path(key: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| key.with_extension("crt"), Path::to_path_buf)
}

/// The public half of a key file.
pub(crate) fn public_key_of(path: &Path) -> Result<PublicKey, LocalError> {
    let unreadable = || LocalError::Key { path: path.into() };
    read_key(path)?.public().ok_or_else(unreadable)
}

pub(crate) fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, LocalError> {
    Ok(chain::load(path)?)
}

/// Reads a private key (X509-28): PKCS#8, SEC 1 or PKCS#1, in PEM, not encrypted.
fn read_key(path: &Path) -> Result<PrivateKey, LocalError> {
    let text = read(path, MAX_KEY_FILE)?;
    let block = find_key(&text).map_err(|fault| fault.into_error(path))?;
    let der = block.der.as_slice();
    let ec = || {
        let mut curves = CURVES.into_iter();
        curves.find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
    };
    let key = match block.kind {
        Kind::Pkcs8 => RsaKeyPair::from_pkcs8(der)
            .ok()
            .map(PrivateKey::Rsa)
            .or_else(|| ec().map(PrivateKey::Ec)),
        Kind::Sec1 => ec().map(PrivateKey::Ec),
        Kind::Pkcs1 => RsaKeyPair::from_der(der).ok().map(PrivateKey::Rsa),
    };
    key.ok_or_else(|| LocalError::Key { path: path.into() })
}

/// Reads a regular file of bounded size. The buffer is zeroed and never moved.
fn read(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, LocalError> {
    let failed = |source| {
        LocalError::Open(FileError {
            path: path.into(),
            source,
        })
    };
    let too_large = || LocalError::TooLarge {
        path: path.into(),
        limit,
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(LocalError::NotAFile { path: path.into() });
    }
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut file = File::open(path).map_err(failed)?;
    let size = usize::try_from(metadata.len()).map_err(|_| too_large())?;
    let mut bytes = Zeroizing::new(vec![0; size]);
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(failed(error)),
        Err(error) => Err(failed(error)),
    }
}

/// A private key in PEM.
struct Block {
    kind: Kind,
    der: Zeroizing<Vec<u8>>,
}

enum Kind {
    Pkcs8,
    Sec1,
    Pkcs1,
}

enum PemFault {
    NoPem,
    Label(String),
    Damaged,
    Encrypted,
}

impl PemFault {
    fn into_error(self, path: &Path) -> LocalError {
        let path = path.into();
        match self {
            Self::NoPem => LocalError::NoPem { path },
            Self::Label(label) => LocalError::PemLabel { path, label },
            Self::Damaged => LocalError::PemDamaged { path },
            Self::Encrypted => LocalError::Encrypted { path },
        }
    }
}

/// Finds the first private key of a PEM file; blocks of other kinds before it, such as `EC
/// PARAMETERS`, are passed over.
fn find_key(text: &[u8]) -> Result<Block, PemFault> {
    let text = str::from_utf8(text).map_err(|_| PemFault::NoPem)?;
    let mut other = None;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix("-----BEGIN ") else {
            continue;
        };
        let label = label.strip_suffix("-----").ok_or(PemFault::Damaged)?;
        let kind = match label {
            "PRIVATE KEY" => Kind::Pkcs8,
            "EC PRIVATE KEY" => Kind::Sec1,
            "RSA PRIVATE KEY" => Kind::Pkcs1,
            "ENCRYPTED PRIVATE KEY" => return Err(PemFault::Encrypted),
            label if label.ends_with("PRIVATE KEY") => {
                return Err(PemFault::Label(label.to_owned()));
            }
            label => {
                other.get_or_insert_with(|| label.to_owned());
                continue;
            }
        };
        let der = decode(&mut lines, label)?;
        return Ok(Block { kind, der });
    }
    Err(other.map_or(PemFault::NoPem, PemFault::Label))
}

/// Decodes a block up to its last line.
fn decode<'a>(
    lines: &mut impl Iterator<Item = &'a str>,
    label: &str,
) -> Result<Zeroizing<Vec<u8>>, PemFault> {
    let size = usize::try_from(MAX_KEY_FILE).unwrap_or_default();
    let mut content = Zeroizing::new(String::with_capacity(size));
    loop {
        let line = lines.next().ok_or(PemFault::Damaged)?;
        if let Some(end) = line.strip_prefix("-----END ") {
            if end.strip_suffix("-----") != Some(label) {
                return Err(PemFault::Damaged);
            }
            break;
        }
        // RFC 1421 headers, as `openssl rsa -aes128` writes them.
        if line.starts_with("Proc-Type:") && line.contains("ENCRYPTED") {
            return Err(PemFault::Encrypted);
        }
        content.push_str(line);
    }
    let mut der = Zeroizing::new(vec![0; content.len()]);
    let engine = base64::engine::general_purpose::STANDARD;
    let length = engine
        .decode_slice(content.as_bytes(), &mut der)
        .map_err(|_| PemFault::Damaged)?;
    der.truncate(length);
    Ok(der)
}
