//! Verdicts that are kept for a while, and one verification for all who ask at the same time.
//!
//! The key has all that a verdict depends on: the snapshot of the policy (its files and trust stores), the statement's
//! place in it, the repository, the digest, and which credential was used. So a changed policy finds nothing here.
//! How old what was learnt of revocation may be is bounded by how long a verdict is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// What was found out about an image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It satisfies the policy.
    Verified {
        /// The statement.
        statement: String,
    },
    /// The policy has it not verified.
    Skipped {
        /// The statement.
        statement: String,
    },
    /// It does not satisfy the policy.
    Refused(String),
    /// There is no verdict: a registry could not be reached, say.
    Undecided(String),
}

impl Verdict {
    /// Whether the image may run.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Verified { .. } | Self::Skipped { .. })
    }
}

/// How a verdict was come by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// It was known.
    Hit,
    /// Somebody else had asked already.
    Coalesced,
    /// It was found out.
    Verification,
}

/// How long verdicts are kept, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For good ones.
    pub good: Duration,
    /// For refusals, since a missing signature may come.
    pub refused: Duration,
    /// For what could not be found out.
    pub undecided: Duration,
    /// Most that are kept.
    pub entries: usize,
    /// Most that are under way or wait.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            good: Duration::from_secs(150),
            refused: Duration::from_secs(5),
            undecided: Duration::from_secs(1),
            entries: 10_000,
            waiting: 10_000,
        }
    }
}

/// The verdicts. Clones share them.
#[derive(Clone, Debug)]
pub struct Cache {
    limits: Limits,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    known: HashMap<Arc<str>, Known>,
    pending: HashMap<Arc<str>, watch::Receiver<Option<Arc<Verdict>>>>,
}

#[derive(Debug)]
struct Known {
    verdict: Arc<Verdict>,
    until: Instant,
    used: Instant,
}

/// A verdict, or one to come.
#[derive(Debug)]
pub struct Asked {
    /// How it is come by.
    pub by: By,
    found: watch::Receiver<Option<Arc<Verdict>>>,
}

impl Asked {
    /// The verdict; none if there is none by then. The verification goes on, for those who ask again.
    pub async fn verdict(mut self, deadline: tokio::time::Instant) -> Option<Arc<Verdict>> {
        let found = self.found.wait_for(Option::is_some);
        match tokio::time::timeout_at(deadline, found).await {
            Ok(Ok(found)) => found.clone(),
            // Whoever was to find out has panicked.
            Ok(Err(_)) => Some(Arc::new(Verdict::Undecided(
                "the verification ended without a verdict".to_owned(),
            ))),
            Err(_) => None,
        }
    }
}

/// Too many verifications wait.
#[derive(Clone, Copy, Debug)]
pub struct Busy;

impl Cache {
    /// A cache that knows nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: Arc::default(),
        }
    }

    /// How many verdicts are kept.
    pub fn len(&self) -> usize {
        self.lock().known.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many verifications are under way or wait.
    pub fn under_way(&self) -> usize {
        self.lock().pending.len()
    }

    /// The verdict under a key. Where there is none, `verify` finds it out, in a task of its own: it is not lost when
    /// who asked has no more time.
    ///
    /// # Errors
    /// [`Busy`].
    pub fn get<F>(&self, key: &str, verify: impl FnOnce() -> F) -> Result<Asked, Busy>
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        let now = Instant::now();
        let mut entries = self.lock();
        if let Some(known) = entries.known.get_mut(key)
            && now < known.until
        {
            known.used = now;
            let (_, found) = watch::channel(Some(Arc::clone(&known.verdict)));
            return Ok(Asked { by: By::Hit, found });
        }
        if let Some(found) = entries.pending.get(key) {
            let found = found.clone();
            return Ok(Asked {
                by: By::Coalesced,
                found,
            });
        }
        if entries.pending.len() >= self.limits.waiting {
            return Err(Busy);
        }
        let key: Arc<str> = key.into();
        let (tell, found) = watch::channel(None);
        entries.pending.insert(Arc::clone(&key), found.clone());
        drop(entries);
        // Its end, a panic included, takes it from the list.
        let pending = Pending {
            cache: self.clone(),
            key,
        };
        let work = verify();
        tokio::spawn(async move {
            let verdict = Arc::new(work.await);
            pending.settle(&verdict);
            drop(tell.send_replace(Some(verdict)));
        });
        Ok(Asked {
            by: By::Verification,
            found,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A verification under way.
struct Pending {
    cache: Cache,
    key: Arc<str>,
}

impl Pending {
    fn settle(&self, verdict: &Arc<Verdict>) {
        let limits = &self.cache.limits;
        let kept = match **verdict {
            Verdict::Verified { .. } | Verdict::Skipped { .. } => limits.good,
            Verdict::Refused(_) => limits.refused,
            Verdict::Undecided(_) => limits.undecided,
        };
        let now = Instant::now();
        let mut entries = self.cache.lock();
        if entries.known.len() >= limits.entries {
            entries.make_room(now);
        }
        let known = Known {
            verdict: Arc::clone(verdict),
            until: now + kept,
            used: now,
        };
        entries.known.insert(Arc::clone(&self.key), known);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.cache.lock().pending.remove(&self.key);
    }
}

impl Entries {
    /// Drops what has expired; where that is nothing, the tenth that was not used for longest.
    fn make_room(&mut self, now: Instant) {
        let before = self.known.len();
        self.known.retain(|_, known| now < known.until);
        if self.known.len() < before {
            return;
        }
        let mut used: Vec<_> = self.known.values().map(|known| known.used).collect();
        used.sort_unstable();
        if let Some(&oldest) = used.get(before / 10) {
            self.known.retain(|_, known| known.used > oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn soon() -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_secs(10)
    }

    fn good() -> Verdict {
        Verdict::Verified {
            statement: "s".to_owned(),
        }
    }

    #[tokio::test]
    async fn two_hundred_who_ask_at_once_cost_one_verification() {
        let cache = Cache::new(Limits::default());
        let made = Arc::new(AtomicUsize::new(0));
        let mut asked = Vec::new();
        for _ in 0..200 {
            let made = Arc::clone(&made);
            let verify = || async move {
                made.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                good()
            };
            asked.push(cache.get("k", verify).unwrap());
        }
        assert_eq!(
            asked
                .iter()
                .filter(|asked| asked.by == By::Coalesced)
                .count(),
            199
        );
        for one in asked {
            assert_eq!(*one.verdict(soon()).await.unwrap(), good());
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(cache.get("k", || async { good() }).unwrap().by, By::Hit);
        assert_eq!(
            cache.get("other", || async { good() }).unwrap().by,
            By::Verification
        );
    }

    #[tokio::test]
    async fn a_verification_outlives_who_asked() {
        let cache = Cache::new(Limits::default());
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(80)).await;
            good()
        };
        let at_once = tokio::time::Instant::now() + Duration::from_millis(5);
        assert_eq!(cache.get("k", slow).unwrap().verdict(at_once).await, None);
        let again = cache
            .get("k", || async { Verdict::Refused("never asked".to_owned()) })
            .unwrap();
        assert_eq!(again.by, By::Coalesced);
        assert_eq!(*again.verdict(soon()).await.unwrap(), good());
    }

    #[tokio::test]
    async fn verdicts_expire_each_in_its_time() {
        let limits = Limits {
            good: Duration::from_secs(60),
            refused: Duration::from_secs(1),
            undecided: Duration::ZERO,
            ..Limits::default()
        };
        let cache = Cache::new(limits);
        for (key, verdict) in [
            ("good", good()),
            ("refused", Verdict::Refused("r".to_owned())),
            ("undecided", Verdict::Undecided("u".to_owned())),
        ] {
            cache
                .get(key, || async { verdict })
                .unwrap()
                .verdict(soon())
                .await
                .unwrap();
        }
        let by = |key: &str| cache.get(key, || async { good() }).unwrap().by;
        assert_eq!(by("undecided"), By::Verification);
        assert_eq!(by("refused"), By::Hit);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(by("refused"), By::Verification);
        assert_eq!(by("good"), By::Hit);
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let cache = Cache::new(Limits {
            entries: 100,
            ..Limits::default()
        });
        for key in 0..1000 {
            cache
                .get(&key.to_string(), || async { good() })
                .unwrap()
                .verdict(soon())
                .await
                .unwrap();
            assert!(cache.len() <= 100, "{}", cache.len());
        }
        assert!(cache.len() > 80, "{}", cache.len());
        let waiting = Cache::new(Limits {
            waiting: 1,
            ..Limits::default()
        });
        let first = waiting.get("a", std::future::pending).unwrap();
        assert!(waiting.get("b", || async { good() }).is_err());
        assert_eq!(first.by, By::Verification);
    }

    #[tokio::test]
    async fn a_panic_is_no_verdict() {
        let cache = Cache::new(Limits::default());
        let asked = cache
            .get("k", || async { panic!("a fault of ours") })
            .unwrap();
        let verdict = asked.verdict(soon()).await.unwrap();
        assert!(matches!(&*verdict, Verdict::Undecided(_)), "{verdict:?}");
        assert_eq!(cache.under_way(), 0);
        assert_eq!(
            cache.get("k", || async { good() }).unwrap().by,
            By::Verification
        );
    }
}
