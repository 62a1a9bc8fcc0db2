//! Turns for what is asked of registries: so many at a time, of one registry fewer than that, so that one that drips does not
//! hold up the images of all others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The turns. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    registries: Arc<Mutex<HashMap<String, Arc<Line>>>>,
}

/// Those who want something of one registry.
#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A turn; it ends with the value.
#[derive(Debug)]
pub(crate) struct Turn {
    _of_registry: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            registries: Arc::default(),
        }
    }

    /// Waits for a turn at a registry.
    ///
    /// # Errors
    /// Too many wait, or it took too long, in words.
    pub(crate) async fn take(&self, registry: &str) -> Result<Turn, String> {
        let line = self.line(registry);
        let before = line.waiting.fetch_add(1, Ordering::SeqCst);
        let left = Leaving(&line.waiting);
        let crowded =
            || format!("too many verifications wait for the registry {registry}; try again");
        if before >= WAITING {
            return Err(crowded());
        }
        let take = async {
            let of_registry = Arc::clone(&line.turns).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Turn {
                _of_registry: of_registry,
                _of_all: of_all,
            })
        };
        let turn = timeout(PATIENCE, take).await.ok().flatten();
        drop(left);
        turn.ok_or_else(crowded)
    }

    fn line(&self, registry: &str) -> Arc<Line> {
        let mut registries = self
            .registries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if registries.len() >= REGISTRIES {
            // Whoever waits or has a turn holds on to the line itself.
            registries.retain(|_, line| {
                Arc::strong_count(line) > 1 || line.turns.available_permits() < AT_ONE_REGISTRY
            });
        }
        let line = registries.entry(registry.to_owned()).or_insert_with(|| {
            Arc::new(Line {
                turns: Arc::new(Semaphore::new(AT_ONE_REGISTRY)),
                waiting: AtomicUsize::new(0),
            })
        });
        Arc::clone(line)
    }
}

/// Counts somebody who waits no longer.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Most at a time.
const AT_ONCE: usize = 512;
/// Most at a time of one registry.
const AT_ONE_REGISTRY: usize = 64;
/// Most that wait for one registry.
const WAITING: usize = 2000;
/// How long is waited for a turn.
const PATIENCE: Duration = Duration::from_secs(60);
/// From so many on, lines in which nobody stands are forgotten.
const REGISTRIES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_registry_does_not_hold_up_another() {
        let turns = Turns::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONE_REGISTRY {
            held.push(turns.take("drips.example").await.unwrap());
        }
        let told = turns.take("drips.example").await.unwrap_err();
        assert!(told.contains("drips.example"), "{told}");
        let other = turns.take("other.example").await.unwrap();
        held.clear();
        assert!(turns.take("drips.example").await.is_ok());
        drop(other);
        for at in 0..REGISTRIES * 2 {
            drop(turns.take(&at.to_string()).await.unwrap());
        }
        assert!(turns.registries.lock().unwrap().len() <= REGISTRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_has_an_end() {
        let turns = Turns::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONE_REGISTRY {
            held.push(turns.take("a").await.unwrap());
        }
        let begun = tokio::time::Instant::now();
        let all = (0..=WAITING).map(|_| turns.take("a"));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(begun.elapsed(), PATIENCE);
        // All have left the line.
        held.clear();
        assert!(turns.take("a").await.is_ok());
    }
}
