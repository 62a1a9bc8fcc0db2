//! The serving certificate, read anew when its files change: cert-manager exchanges them while we run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hardsign_core::config::read_named;
use hardsign_core::text::WithCauses;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use zeroize::Zeroizing;

/// The certificate and its key, as they are on disk.
pub(crate) struct Serving {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
    told: Box<Told>,
}

/// Hears of each load.
type Told = dyn Fn(Result<(), &str>) + Send + Sync;

struct Loaded {
    stamp: Stamp,
    key: Arc<CertifiedKey>,
}

type Stamp = [Option<(SystemTime, u64)>; 2];

impl std::fmt::Debug for Serving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Serving {
    /// Reads both files; `told` hears of each further load.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(
        certificate: &Path,
        key: &Path,
        told: impl Fn(Result<(), &str>) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let stamp = stamp(certificate, key);
        let loaded = Loaded {
            stamp,
            key: load(certificate, key)?,
        };
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            loaded: Mutex::new(loaded),
            told: Box::new(told),
        })
    }

    /// The configuration of a server: TLS 1.2 and 1.3, HTTP/1.1.
    pub(crate) fn config(self) -> Result<ServerConfig, String> {
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let now = stamp(&self.certificate, &self.key);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.stamp != now {
            // Between the two renames they may not fit each other: then the one before serves on.
            let read = load(&self.certificate, &self.key);
            (self.told)(read.as_ref().map(|_| ()).map_err(String::as_str));
            if let Ok(key) = read {
                loaded.key = key;
            }
            loaded.stamp = now;
        }
        Arc::clone(&loaded.key)
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let read =
        |path: &Path| read_named(path, MAX_FILE).map_err(|error| WithCauses(&error).to_string());
    let fault = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| fault(certificate, &error))?;
    if chain.is_empty() {
        return Err(fault(certificate, &"there is no certificate in PEM"));
    }
    let pem = Zeroizing::new(read(key)?);
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| fault(key, &error))?;
    let private = Zeroizing::new(private);
    let both =
        |error: rustls::Error| format!("{} and {}: {error}", certificate.display(), key.display());
    let signing = any_supported_type(&private).map_err(both)?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error) => return Err(both(error)),
    }
    Ok(Arc::new(certified))
}

const MAX_FILE: u64 = 1 << 20;
