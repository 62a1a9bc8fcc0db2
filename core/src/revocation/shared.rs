//! Answers that are asked for once, however many want them at the same time (REV-29).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::budget::Lock;

/// How long a failure is remembered, so that a batch does not wait for a dead server again and
/// again.
const FAILURE: Duration = Duration::from_secs(30);

/// What is known under some keys. Whoever asks first finds out; others wait for the same answer.
/// Where the first gives up, the next one takes over.
pub(super) struct Shared<K, V> {
    inner: Mutex<Inner<K, V>>,
    /// Weight at which everything old is forgotten.
    capacity: usize,
}

struct Inner<K, V> {
    slots: HashMap<K, Slot<V>>,
    weight: usize,
}

type Slot<V> = Arc<Lock<Option<Kept<V>>>>;

struct Kept<V> {
    value: V,
    /// None for a failure.
    until: Option<Timestamp>,
    made: Instant,
}

/// Something found out.
pub(super) struct Found<V> {
    pub(super) value: V,
    /// Until when it holds; none for a failure.
    pub(super) until: Option<Timestamp>,
    /// What it counts against the capacity.
    pub(super) weight: usize,
}

impl<K: Clone + Eq + Hash, V: Clone> Shared<K, V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                slots: HashMap::new(),
                weight: 0,
            }),
            capacity,
        }
    }

    /// What is known under `key`, or what `find` finds out.
    pub(super) async fn get(
        &self,
        key: K,
        now: Timestamp,
        find: impl Future<Output = Found<V>>,
    ) -> V {
        let slot = Arc::clone(self.lock().slots.entry(key.clone()).or_default());
        let mut slot_value = slot.lock().await;
        if let Some(kept) = &*slot_value
            && kept.is_fresh(now)
        {
            return kept.value.clone();
        }
        let found = slot.lead(find).await;
        *slot_value = Some(Kept {
            value: found.value.clone(),
            until: found.until,
            made: Instant::now(),
        });
        drop(slot_value);
        self.weigh(key, &slot, found.weight);
        found.value
    }

    /// Forgets all the rest where there is too much of it.
    fn weigh(&self, key: K, slot: &Slot<V>, weight: usize) {
        let mut inner = self.lock();
        inner.weight = inner.weight.saturating_add(weight);
        if inner.weight > self.capacity {
            inner.slots.clear();
            inner.slots.insert(key, Arc::clone(slot));
            inner.weight = weight;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        // Nothing in between can leave it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Kept<V> {
    fn is_fresh(&self, now: Timestamp) -> bool {
        match self.until {
            Some(until) => now <= until,
            None => self.made.elapsed() < FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn found(value: usize, until: Option<i64>) -> Found<usize> {
        Found {
            value,
            until: until.map(time),
            weight: 1,
        }
    }

    /// REV-29: asked once by many at the same time, and again when the answer has expired.
    #[tokio::test]
    async fn many_ask_once() {
        let shared = Shared::new(100);
        let asked = AtomicUsize::new(0);
        let ask = |now| {
            shared.get("a", time(now), async {
                tokio::task::yield_now().await;
                found(asked.fetch_add(1, Ordering::SeqCst), Some(10))
            })
        };
        let all = futures_util::future::join_all((0..5).map(ask)).await;
        assert_eq!(all, [0; 5]);
        assert_eq!(ask(10).await, 0);
        assert_eq!(ask(11).await, 1);
    }

    /// The next one asks where the first was dropped half-way.
    #[tokio::test]
    async fn the_next_takes_over() {
        let shared = Shared::new(100);
        {
            let first = shared.get("a", time(0), std::future::pending());
            tokio::pin!(first);
            let polled = std::future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context)));
            assert!(polled.await.is_pending());
        }
        let second = shared.get("a", time(0), async { found(7, Some(10)) });
        assert_eq!(second.await, 7);
    }

    /// A failure is remembered for a moment; what is remembered is bounded.
    #[tokio::test]
    async fn failures_and_bounds() {
        let shared = Shared::new(3);
        assert_eq!(shared.get(0, time(0), async { found(1, None) }).await, 1);
        assert_eq!(shared.get(0, time(0), async { found(2, None) }).await, 1);
        for key in 1..10 {
            shared
                .get(key, time(0), async { found(key, Some(1)) })
                .await;
            assert!(shared.lock().slots.len() <= 3);
        }
        assert_eq!(shared.get(9, time(0), async { found(0, None) }).await, 9);
    }
}
