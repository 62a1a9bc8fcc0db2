//! What was just asked of somebody else: one question for all who ask at the same time, and an answer that counts for a
//! short while, from the moment of the question on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::cache::By;

/// Answers by key. Clones share them.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    /// How long after a question its answer is given to others. Those who ask later ask anew, though an earlier
    /// question is still open.
    fresh: Duration,
    entries: Arc<Mutex<HashMap<Arc<str>, Entry<V>>>>,
}

#[derive(Debug)]
struct Entry<V> {
    asked: Instant,
    answer: Receiver<V>,
}

type Receiver<V> = watch::Receiver<Option<Result<V, String>>>;
type Sender<V> = watch::Sender<Option<Result<V, String>>>;

/// An answer, or one to come, and the end that tells it where it has to be found.
struct Place<V> {
    by: By,
    answer: Receiver<V>,
    tell: Option<Sender<V>>,
}

impl<V> Clone for Recent<V> {
    fn clone(&self) -> Self {
        Self {
            fresh: self.fresh,
            entries: Arc::clone(&self.entries),
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Recent<V> {
    /// Nothing was asked yet.
    pub(crate) fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            entries: Arc::default(),
        }
    }

    /// The answer under a key, which `ask` finds where there is none that is fresh; none where there is none by then. The question
    /// goes on in a task of its own. Failures are told to those who wait for them, and not kept.
    pub(crate) async fn get<F>(
        &self,
        key: &str,
        deadline: tokio::time::Instant,
        ask: impl FnOnce() -> F,
    ) -> Option<(By, Result<V, String>)>
    where
        F: Future<Output = Result<V, String>> + Send + 'static,
    {
        let Some(place) = self.place(key) else {
            let full = "too many questions are open; try again".to_owned();
            return Some((By::Verification, Err(full)));
        };
        let Place { by, mut answer, .. } = place;
        if let Some(tell) = place.tell {
            let (all, key) = (self.clone(), Arc::<str>::from(key));
            let asked = ask();
            tokio::spawn(async move {
                let answer = asked.await;
                if answer.is_err() {
                    all.forget(&key, &tell);
                }
                drop(tell.send_replace(Some(answer)));
            });
        }
        let found = answer.wait_for(Option::is_some);
        match timeout_at(deadline, found).await {
            Ok(Ok(found)) => Some((by, found.clone()?)),
            // Whoever was to find out has panicked.
            Ok(Err(_)) => Some((by, Err("the question ended without an answer".to_owned()))),
            Err(_) => None,
        }
    }

    /// What is fresh, or a place for what is to be found out; none where there is no room.
    fn place(&self, key: &str) -> Option<Place<V>> {
        let now = Instant::now();
        let mut entries = self.lock();
        if let Some(entry) = entries.get(key)
            && now.duration_since(entry.asked) < self.fresh
            && entry.is_alive()
        {
            let by = match entry.answer.borrow().is_some() {
                true => By::Hit,
                false => By::Coalesced,
            };
            return Some(Place {
                by,
                answer: entry.answer.clone(),
                tell: None,
            });
        }
        if entries.len() >= MOST {
            entries.retain(|_, entry| now.duration_since(entry.asked) < self.fresh);
        }
        if entries.len() >= MOST {
            return None;
        }
        let (tell, answer) = watch::channel(None);
        let entry = Entry {
            asked: now,
            answer: answer.clone(),
        };
        entries.insert(key.into(), entry);
        Some(Place {
            by: By::Verification,
            answer,
            tell: Some(tell),
        })
    }

    /// Takes a question out, unless another has taken its place.
    fn forget(&self, key: &str, tell: &Sender<V>) {
        let mut entries = self.lock();
        let is_own = |entry: &Entry<V>| entry.answer.same_channel(&tell.subscribe());
        if entries.get(key).is_some_and(is_own) {
            entries.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry<V>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Entry<V> {
    /// Whether there is an answer, or somebody who finds it.
    fn is_alive(&self) -> bool {
        self.answer.borrow().is_some() || self.answer.has_changed().is_ok()
    }
}

/// Most answers that are kept.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn soon() -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_secs(10)
    }

    async fn ask(
        recent: &Recent<usize>,
        asked: &Arc<AtomicUsize>,
        takes: Duration,
    ) -> Option<(By, Result<usize, String>)> {
        let asked = Arc::clone(asked);
        let find = || async move {
            let answer = asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(takes).await;
            match answer {
                0 => Err("not yet".to_owned()),
                answer => Ok(answer),
            }
        };
        recent.get("tag", soon(), find).await
    }

    #[tokio::test]
    async fn many_cost_one_question_and_a_failure_is_not_kept() {
        let recent = Recent::new(Duration::from_secs(60));
        let asked = Arc::new(AtomicUsize::new(0));
        let takes = Duration::from_millis(20);
        let all = (0..50).map(|_| ask(&recent, &asked, takes));
        let all = futures_util::future::join_all(all).await;
        let told: Vec<_> = all.into_iter().map(Option::unwrap).collect();
        assert!(
            told.iter()
                .all(|(_, answer)| *answer == Err("not yet".to_owned()))
        );
        let coalesced = told.iter().filter(|(by, _)| *by == By::Coalesced).count();
        assert_eq!((coalesced, asked.load(Ordering::SeqCst)), (49, 1));
        for by in [By::Verification, By::Hit] {
            assert_eq!(ask(&recent, &asked, takes).await, Some((by, Ok(1))));
        }
    }

    /// What a tag pointed at when somebody asked is given to nobody who asks later than that by more than is allowed,
    /// though the first still waits.
    #[tokio::test]
    async fn an_old_question_is_not_waited_for() {
        let recent = Recent::new(Duration::from_millis(30));
        let asked = Arc::new(AtomicUsize::new(1));
        let slow = {
            let (recent, asked) = (recent.clone(), Arc::clone(&asked));
            tokio::spawn(async move { ask(&recent, &asked, Duration::from_millis(200)).await })
        };
        tokio::time::sleep(Duration::from_millis(60)).await;
        let second = ask(&recent, &asked, Duration::ZERO).await;
        assert_eq!(second, Some((By::Verification, Ok(2))));
        assert_eq!(slow.await.unwrap(), Some((By::Verification, Ok(1))));
    }

    #[tokio::test]
    async fn there_is_an_answer_by_the_deadline_and_after_a_panic() {
        let recent: Recent<usize> = Recent::new(Duration::from_secs(60));
        let now = tokio::time::Instant::now();
        assert_eq!(recent.get("slow", now, std::future::pending).await, None);
        let panics = || async { panic!("a fault of ours") };
        let told = recent.get("k", soon(), panics).await.unwrap();
        assert!(told.1.unwrap_err().contains("without an answer"));
        let again = recent.get("k", soon(), || async { Ok(7) }).await.unwrap();
        assert_eq!(again, (By::Verification, Ok(7)));
        for key in 0..MOST + 100 {
            drop(
                recent
                    .get(&key.to_string(), now, std::future::pending)
                    .await,
            );
        }
        assert!(recent.lock().len() <= MOST);
    }
}
