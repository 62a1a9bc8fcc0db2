//! Where a package comes from: a file, or an `https` URL (PLI-04 to PLI-07).
//!
//! Either is copied to disk piece by piece, counted and hashed on the way; what was hashed is what
//! is unpacked afterwards, whoever else can write to the original.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use hardsign_plugin::algorithm::HashAlgorithm;

use super::PackageSource;
use super::archive::MAX_BYTES;
use super::error::InstallError;
use crate::config::open_regular;
use crate::crypto::Hasher;
use crate::event::{Event, Listener, Observer as _};
use crate::net::{Client, Limits, Method, NetError, Request, StatusCode, Url};
use crate::plugin::Interrupt;

/// A package on this machine.
#[derive(Debug)]
pub(super) struct Brought {
    /// SHA-256 in hexadecimal.
    pub(super) sha256: String,
    /// The name of the file, which for a single executable says what it is (PLI-12).
    pub(super) name: String,
    /// Its permissions, where it had some.
    pub(super) mode: Option<u32>,
}

/// What a download may take: ten minutes in all.
// PLI-06
pub fn download_limits() -> Limits {
    Limits {
        total: Duration::from_secs(600),
        // No more for more bytes.
        min_rate: u64::MAX,
        ..Limits::default()
    }
}

/// Copies the package to `to`.
pub(super) async fn bring(
    source: PackageSource<'_>,
    checksum: Option<&str>,
    to: &Path,
    interrupt: &Interrupt,
    listener: &Listener,
) -> Result<Brought, InstallError> {
    let brought = match source {
        PackageSource::File(path) => {
            let (path, to, interrupt) = (path.to_owned(), to.to_owned(), interrupt.clone());
            super::blocking(move || copy(&path, &to, &interrupt)).await?
        }
        PackageSource::Url { url, client } => {
            let parsed = parse(url)?;
            listener.observe(&Event::Downloading { url });
            let sha256 = tokio::select! {
                done = download(url, &parsed, client, to) => done?,
                () = interrupt.raised() => return Err(InstallError::Interrupted),
            };
            listener.observe(&Event::Downloaded);
            let name = parsed.path_segments().and_then(|mut all| all.next_back());
            Brought {
                sha256,
                name: name.unwrap_or_default().to_owned(),
                mode: None,
            }
        }
    };
    match checksum {
        Some(expected) if !expected.eq_ignore_ascii_case(&brought.sha256) => {
            Err(InstallError::Checksum {
                expected: expected.to_owned(),
            })
        }
        _ => Ok(brought),
    }
}

/// A URL that may be fetched from (PLI-05).
pub(super) fn parse(url: &str) -> Result<Url, InstallError> {
    let scheme = match url.split_once(':') {
        Some((scheme, _))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) =>
        {
            scheme.to_ascii_lowercase()
        }
        _ => String::new(),
    };
    if scheme != "https" {
        return Err(InstallError::Scheme { scheme });
    }
    Url::from_str(url).map_err(|source| InstallError::Url {
        url: url.to_owned(),
        source,
    })
}

async fn download(
    shown: &str,
    url: &Url,
    client: &Client,
    to: &Path,
) -> Result<String, InstallError> {
    let failed = |source| match source {
        NetError::TooLarge { .. } => InstallError::DownloadTooLarge { url: shown.into() },
        source => InstallError::Download {
            url: shown.into(),
            source,
        },
    };
    let request = Request::new(Method::GET, url.clone());
    let limit = MAX_BYTES.saturating_sub(1);
    let mut answer = client.open(&request, limit).await.map_err(failed)?;
    if answer.status != StatusCode::OK {
        return Err(InstallError::Status {
            url: shown.into(),
            status: answer.status,
        });
    }
    let written = || InstallError::io("write", to);
    let mut file = File::create_new(to).map_err(written())?;
    let mut hasher = Hasher::new(HashAlgorithm::Sha256);
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(written())?;
    }
    Ok(hex::encode(hasher.finish()))
}

fn copy(path: &Path, to: &Path, interrupt: &Interrupt) -> Result<Brought, InstallError> {
    let missing = |source| InstallError::NotFound {
        path: path.to_owned(),
        source,
    };
    // Links are followed, as in the reference; what they lead to must be a file.
    let real = fs::canonicalize(path).map_err(missing)?;
    let metadata = fs::metadata(&real).map_err(missing)?;
    if !metadata.is_file() {
        return Err(InstallError::NotAFile {
            path: path.to_owned(),
        });
    }
    let mut reader = open_regular(&real)?;
    let written = || InstallError::io("write", to);
    let mut file = File::create_new(to).map_err(written())?;
    let mut hasher = Hasher::new(HashAlgorithm::Sha256);
    let mut chunk = vec![0; CHUNK];
    let mut total: u64 = 0;
    loop {
        if interrupt.is_raised() {
            return Err(InstallError::Interrupted);
        }
        let count = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(InstallError::io("read", path)(error)),
        };
        total = total.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if total >= MAX_BYTES {
            return Err(InstallError::FileTooLarge);
        }
        let piece = chunk.get(..count).unwrap_or_default();
        hasher.update(piece);
        file.write_all(piece).map_err(written())?;
    }
    Ok(Brought {
        sha256: hex::encode(hasher.finish()),
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        mode: Some(permissions(&metadata)),
    })
}

#[cfg(unix)]
fn permissions(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode()
}

/// Windows knows executables by their names.
#[cfg(not(unix))]
fn permissions(_: &fs::Metadata) -> u32 {
    0o755
}

/// Bytes moved at once.
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// PLI-05: only `https` is fetched from, and the scheme is named.
    #[test]
    fn pli_05_schemes() {
        for (url, scheme) in [
            ("http://localhost", "http"),
            ("HTTP://localhost", "http"),
            ("file:///etc/passwd", "file"),
            ("localhost/x", ""),
            ("", ""),
            ("1https://x", ""),
        ] {
            let error = parse(url).unwrap_err().told();
            assert_eq!(
                error,
                format!(
                    "failed to download plugin from URL: only the HTTPS scheme is supported, but got {scheme}"
                )
            );
        }
        assert!(parse("HTTPS://localhost/x").is_ok());
        assert!(matches!(parse("https://"), Err(InstallError::Url { .. })));
    }

    /// PLI-06: ten minutes, however much is sent.
    #[test]
    fn pli_06_ten_minutes() {
        assert_eq!(download_limits().total, Duration::from_secs(600));
        assert_eq!(MAX_BYTES.checked_div(download_limits().min_rate), Some(0));
    }
}
