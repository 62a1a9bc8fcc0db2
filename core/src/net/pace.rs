//! How many requests a server is asked at a time: as many as it answers without complaint.
//!
//! A batch starts with a moderate number, which doubles while requests queue for a turn and are
//! answered, until the server says that it is too much (429, 503) or does not answer in time. That
//! halves the number, once for all that were under way together; from then on it grows by one for
//! each round. While a server asks for a pause, nobody is sent to it. A request that was turned away
//! is sent again for as long as others get through, so that throttling makes a batch slower and
//! fails nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{StatusCode, Url};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::{HttpAnswer, NetError};

/// Requests at a time to begin with.
const FIRST: usize = 16;
/// Requests at a time at most.
const MOST: usize = 256;
/// Servers that are remembered.
const MAX_SERVERS: usize = 1024;
/// Longest pause that is kept for all requests; a longer one is each request's own affair.
const LONGEST_PAUSE: Duration = Duration::from_secs(90);

/// The paces of all servers of a run, by origin.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<HashMap<String, Arc<Pace>>>);

/// The pace of one server.
#[derive(Debug)]
pub(super) struct Pace {
    turns: Semaphore,
    limit: AtomicUsize,
    /// Turns that are taken out as they come back.
    owed: AtomicUsize,
    /// Answers that were no complaint.
    answered: AtomicU64,
    round: Mutex<Round>,
}

#[derive(Debug, Default)]
struct Round {
    /// Whether a complaint ended the doubling.
    cut: bool,
    /// Answers since the limit grew.
    answers: usize,
    /// Requests begun before this have brought their complaint.
    cut_at: Option<Instant>,
    pause_until: Option<Instant>,
}

/// The right to send one request after the other.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    permit: Option<SemaphorePermit<'a>>,
    /// Whether it had to be waited for.
    waited: bool,
}

impl Paces {
    pub(super) fn of(&self, url: &Url) -> Arc<Pace> {
        let mut paces = guard(&self.0);
        let origin = url.origin().ascii_serialization();
        if let Some(pace) = paces.get(&origin) {
            return Arc::clone(pace);
        }
        if paces.len() >= MAX_SERVERS {
            paces.clear();
        }
        Arc::clone(paces.entry(origin).or_default())
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(FIRST),
            limit: AtomicUsize::new(FIRST),
            owed: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            round: Mutex::default(),
        }
    }
}

impl Pace {
    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Turn<'_> {
        if let Ok(permit) = self.turns.try_acquire() {
            return Turn {
                pace: self,
                permit: Some(permit),
                waited: false,
            };
        }
        Turn {
            pace: self,
            // Never closed.
            permit: self.turns.acquire().await.ok(),
            waited: true,
        }
    }

    /// Answers so far that were no complaint.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sends nobody before that much time has passed.
    pub(super) fn pause(&self, wait: Duration) {
        if wait <= LONGEST_PAUSE {
            let until = Instant::now() + wait;
            let mut round = guard(&self.round);
            round.pause_until = round.pause_until.max(Some(until));
        }
    }

    fn grow(&self, by: usize) {
        let limit = self.limit.load(Ordering::Relaxed);
        let by = by.min(MOST.saturating_sub(limit));
        self.limit.fetch_add(by, Ordering::Relaxed);
        self.turns.add_permits(by);
    }

    fn halve(&self) {
        let limit = self.limit.load(Ordering::Relaxed);
        let by = limit / 2;
        self.limit.fetch_sub(by, Ordering::Relaxed);
        let idle = self.turns.forget_permits(by);
        self.owed.fetch_add(by - idle, Ordering::Relaxed);
    }
}

impl Turn<'_> {
    /// Waits while the server wants a pause.
    pub(super) async fn after_pause(&self) {
        loop {
            let until = guard(&self.pace.round).pause_until;
            match until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Notes what became of a request that began then.
    pub(super) fn note(&self, result: &Result<HttpAnswer, NetError>, began: Instant) {
        let pace = self.pace;
        let mut round = guard(&pace.round);
        if is_complaint(result) {
            let seen = round.cut_at.is_some_and(|cut| began <= cut);
            if !seen {
                round.cut = true;
                round.cut_at = Some(Instant::now());
                round.answers = 0;
                pace.halve();
            }
        } else if result.is_ok() {
            pace.answered.fetch_add(1, Ordering::Relaxed);
            round.answers += 1;
            let limit = pace.limit.load(Ordering::Relaxed);
            // What nobody waits for need not grow.
            if self.waited && (!round.cut || round.answers >= limit) {
                round.answers = 0;
                pace.grow(1);
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let owed = &self.pace.owed;
        let pay = |owed: usize| owed.checked_sub(1);
        if owed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay)
            .is_ok()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

/// Whether the server says that it is asked too much.
pub(super) fn is_throttled(result: &Result<HttpAnswer, NetError>) -> bool {
    let busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    matches!(result, Ok(answer) if busy.contains(&answer.status))
}

fn is_complaint(result: &Result<HttpAnswer, NetError>) -> bool {
    match result {
        Err(NetError::Timeout { .. }) => true,
        Err(NetError::Transport { cause, .. }) => cause.is_timeout(),
        _ => is_throttled(result),
    }
}

/// A mutex is only ever held over code that leaves its content whole.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Result<HttpAnswer, NetError> {
        let url = "http://registry.example.com/v2/".parse().unwrap();
        Ok(HttpAnswer::new(
            StatusCode::from_u16(status).unwrap(),
            url,
            Vec::new(),
        ))
    }

    fn limit(pace: &Pace) -> usize {
        pace.limit.load(Ordering::Relaxed)
    }

    /// REG-11: more at a time while others wait and are answered; half as much, once, at complaints
    /// about what was under way together.
    #[tokio::test(start_paused = true)]
    async fn reg_11_a_pace_grows_and_halves() {
        let paces = Paces::default();
        let pace = paces.of(&"http://registry.example.com/v2/a".parse().unwrap());
        let same = paces.of(&"http://registry.example.com/v2/b".parse().unwrap());
        assert!(Arc::ptr_eq(&pace, &same));
        // Who need not wait needs no more turns.
        for _ in 0..100 {
            let turn = pace.turn().await;
            turn.note(&answer(200), Instant::now());
        }
        assert_eq!(limit(&pace), FIRST);
        let mut held = Vec::new();
        for _ in 0..FIRST {
            held.push(pace.turn().await);
        }
        assert!(futures_util::FutureExt::now_or_never(pace.turn()).is_none());
        drop(held.pop());
        for _ in 0..1000 {
            let mut turn = pace.turn().await;
            turn.waited = true;
            turn.note(&answer(200), Instant::now());
        }
        assert_eq!(limit(&pace), MOST);
        drop(held);
        // Two that began together complain: one cut.
        let began = Instant::now();
        let (one, two) = (pace.turn().await, pace.turn().await);
        one.note(&answer(429), began);
        two.note(&answer(503), began);
        drop((one, two));
        assert_eq!(limit(&pace), MOST / 2);
        assert_eq!(pace.turns.available_permits(), MOST / 2);
        // Those that were held when it was halved are taken out as they come back.
        let held = [pace.turn().await, pace.turn().await];
        pace.halve();
        let rest = pace.turns.forget_permits(MOST);
        drop(held);
        assert_eq!(rest + pace.turns.available_permits(), MOST / 4);
        pace.turns.add_permits(rest);
        pace.grow(MOST / 4);
        // From then on one for each round.
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..MOST / 2 {
            let mut turn = pace.turn().await;
            turn.waited = true;
            turn.note(&answer(200), Instant::now());
        }
        assert_eq!(limit(&pace), MOST / 2 + 1);
        // At least one is sent.
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(1)).await;
            pace.turn().await.note(&answer(429), Instant::now());
        }
        assert_eq!(limit(&pace), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_sent_during_a_pause() {
        let pace = Pace::default();
        pace.pause(Duration::from_secs(5));
        pace.pause(Duration::from_secs(3));
        let began = Instant::now();
        pace.turn().await.after_pause().await;
        assert_eq!(began.elapsed().as_secs(), 5);
        pace.pause(LONGEST_PAUSE * 2);
        pace.turn().await.after_pause().await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}
