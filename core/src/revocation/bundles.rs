//! Where CRLs come from: memory, the cache on disk, the network; each is proven before it is used
//! or kept (REV-40, REV-46, REV-49 to REV-51).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::attempt::ServerError;
use super::cache::{CacheError, Cached, FileCache};
use super::crl::{Bundle, Crl, CrlError, go_time};
use super::fetch::Fetcher;
use super::points::DistributionPoint;
use super::shared::{Found, Shared};
use crate::budget::apart;
use crate::event::{Event, Observer};
use crate::x509::Certificate;

/// Bytes of CRLs that are kept in memory.
const KEPT: usize = 64 << 20;
/// What keeping nothing but a failure counts for.
const SMALLEST: usize = 4 << 10;
/// Most addresses of a delta CRL that are tried (REV-12).
const MAX_DELTA_URLS: usize = 8;

type Result<T> = std::result::Result<T, Arc<ServerError>>;

/// Proven CRLs, by address and issuer.
pub(super) struct Bundles {
    directory: Option<PathBuf>,
    cache: OnceLock<Option<FileCache>>,
    faulted: AtomicBool,
    known: Shared<(String, [u8; 32]), Result<Arc<Bundle>>>,
}

/// Which CRL is wanted, and for what.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) url: &'a str,
    /// Whose CRL.
    pub(super) issuer: &'a Certificate,
    /// What it is to say something about, and where that names it.
    pub(super) certificate: &'a Certificate,
    pub(super) point: &'a DistributionPoint,
    pub(super) now: Timestamp,
    pub(super) observer: &'a dyn Observer,
}

impl Bundles {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            cache: OnceLock::new(),
            faulted: AtomicBool::new(false),
            known: Shared::new(KEPT),
        }
    }

    /// The CRL at an address, and its delta, by this issuer.
    pub(super) async fn get(&self, wanted: Wanted<'_>) -> Result<Arc<Bundle>> {
        let now = wanted.now;
        let key = (wanted.url.to_owned(), wanted.issuer.thumbprint());
        let find = async {
            let value = self.find(wanted).await.map(Arc::new);
            let (until, weight) = match &value {
                Ok(bundle) => {
                    let delta = bundle.delta().map_or(0, |delta| delta.der().len());
                    let weight = bundle.base().der().len().saturating_add(delta);
                    (wanted.valid_until(bundle), weight)
                }
                Err(_) => (None, 0),
            };
            Found {
                value,
                until,
                weight: weight.max(SMALLEST),
            }
        };
        self.known.get(key, now, find).await
    }

    async fn find(&self, wanted: Wanted<'_>) -> Result<Bundle> {
        let cached = self.cached(wanted).await;
        let outdated = |bundle: &Bundle| {
            let next = bundle.base().next_publish();
            next.is_some_and(|next| wanted.now > next)
        };
        match cached {
            Some(bundle) if !outdated(&bundle) => return Ok(bundle),
            Some(_) => wanted
                .observer
                .observe(&Event::CacheOutdated { url: wanted.url }),
            None => {}
        }
        let (bundle, cached) = match (self.fetch(wanted).await, cached) {
            (Ok(bundle), cached) => (bundle, cached),
            // It is current all the same.
            (Err(_), Some(cached)) => return Ok(cached),
            (Err(error), None) => return Err(error),
        };
        let (certificate, point) = (wanted.certificate.clone(), wanted.point.clone());
        let (bundle, covers) = apart(move || {
            let covers = bundle.check_covers(&certificate, &point).is_ok();
            (bundle, covers)
        })
        .await;
        let useful = covers && wanted.valid_until(&bundle).is_some();
        match cached {
            Some(cached) if !useful || cached.base().is_newer_than(bundle.base()) => Ok(cached),
            _ if useful => Ok(self.store(wanted, bundle).await),
            _ => Ok(bundle),
        }
    }

    /// Downloads and proves the base CRL, and only then follows it to its delta: the first that is
    /// current, or else one that has expired, which may still list the certificate.
    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Bundle> {
        let base = download(wanted, wanted.url).await?;
        let deltas: Vec<_> = base
            .freshest_urls()
            .iter()
            .take(MAX_DELTA_URLS)
            .cloned()
            .collect();
        let issuer = wanted.issuer.clone();
        let mut bundle = prove(move || Bundle::prove(base, &issuer)).await?;
        let mut failure = None;
        for url in deltas {
            match download(wanted, &url).await {
                Ok(delta) => {
                    let issuer = wanted.issuer.clone();
                    let (proven, result) = apart(move || {
                        let result = bundle.add_delta(delta, &issuer);
                        (bundle, result)
                    })
                    .await;
                    bundle = proven;
                    match result {
                        Ok(()) if wanted.valid_until(&bundle).is_some() => return Ok(bundle),
                        Ok(()) => {}
                        Err(error) => failure = Some((url, Arc::new(error.into()))),
                    }
                }
                Err(error) => failure = Some((url, error)),
            }
        }
        match failure {
            Some((url, source)) if bundle.delta().is_none() => {
                Err(Arc::new(ServerError::Delta { url, source }))
            }
            _ => Ok(bundle),
        }
    }

    /// What the cache on disk has, if that is current, proves to be the issuer's, and says
    /// something about the certificate.
    async fn cached(&self, wanted: Wanted<'_>) -> Option<Bundle> {
        let cache = self.cache(wanted.observer)?.clone();
        let (url, now) = (wanted.url, wanted.now);
        wanted.observer.observe(&Event::CacheRead { url });
        let (key, issuer) = (url.to_owned(), wanted.issuer.clone());
        let (certificate, point) = (wanted.certificate.clone(), wanted.point.clone());
        let covering =
            move |bundle: Bundle| bundle.check_covers(&certificate, &point).map(|()| bundle);
        let read = apart(move || {
            Ok(match cache.get(&key, now)? {
                Cached::Bundle(base, delta) => {
                    Ok(restore(*base, delta, &issuer).and_then(covering))
                }
                Cached::Missing => Err(None),
                Cached::Expired(next_update) => Err(Some(next_update)),
            })
        });
        match read.await {
            Ok(Ok(Ok(bundle))) => return Some(bundle),
            Ok(Ok(Err(error))) => wanted
                .observer
                .observe(&Event::CacheRefused { url, error: &error }),
            Ok(Err(Some(next_update))) => wanted.observer.observe(&Event::CacheExpired {
                next_update: format_args!("{}", go_time(next_update)),
            }),
            Ok(Err(None)) => wanted.observer.observe(&Event::CacheMiss { url }),
            Err(error) => self.fault(&error, wanted.observer),
        }
        None
    }

    /// Stores what is proven and of use.
    async fn store(&self, wanted: Wanted<'_>, bundle: Bundle) -> Bundle {
        let Some(cache) = self.cache(wanted.observer).cloned() else {
            return bundle;
        };
        let url = wanted.url.to_owned();
        wanted
            .observer
            .observe(&Event::CacheStore { url: wanted.url });
        let (bundle, stored) = apart(move || {
            let stored = cache.put(&url, bundle.base(), bundle.delta());
            (bundle, stored)
        })
        .await;
        if let Err(error) = stored {
            self.fault(&error, wanted.observer);
        }
        bundle
    }

    /// The cache on disk, made when it is first needed.
    fn cache(&self, observer: &dyn Observer) -> Option<&FileCache> {
        let directory = self.directory.as_ref()?;
        let open = || match FileCache::open(directory) {
            Ok(cache) => Some(cache),
            Err(error) => {
                observer.observe(&Event::CacheUnavailable { error: &error });
                None
            }
        };
        self.cache.get_or_init(open).as_ref()
    }

    fn fault(&self, error: &CacheError, observer: &dyn Observer) {
        let first = !self.faulted.swap(true, Ordering::Relaxed);
        observer.observe(&Event::CacheFault { error, first });
    }
}

impl Wanted<'_> {
    /// Until when a bundle holds; none where it has expired.
    fn valid_until(&self, bundle: &Bundle) -> Option<Timestamp> {
        bundle.valid_until().filter(|until| self.now <= *until)
    }
}

/// A bundle out of the cache; without the delta that its base names it is none.
fn restore(
    base: Crl,
    delta: Option<Box<Crl>>,
    issuer: &Certificate,
) -> std::result::Result<Bundle, CrlError> {
    let has_delta = !base.freshest_urls().is_empty();
    let mut bundle = Bundle::prove(base, issuer)?;
    match delta {
        Some(delta) => bundle.add_delta(*delta, issuer)?,
        None if has_delta => return Err(CrlError::DeltaMissing),
        None => {}
    }
    Ok(bundle)
}

async fn download(wanted: Wanted<'_>, url: &str) -> Result<Crl> {
    let downloaded = wanted.fetcher.crl(url).await;
    let (bytes, _place) = downloaded.map_err(|error| Arc::new(error.into()))?;
    prove(move || Crl::parse(bytes)).await
}

async fn prove<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, CrlError> + Send + 'static,
) -> Result<T> {
    apart(work).await.map_err(|error| Arc::new(error.into()))
}
