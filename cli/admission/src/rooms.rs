//! Room for long bodies, so that memory is bounded whoever sends. Who wants room waits for it; of those who have some and do
//! not send what they said they would, the slowest loses it to whoever waits.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// All of the room. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Rooms {
    free: Arc<Semaphore>,
    /// Those that are still being filled.
    filling: Arc<Mutex<HashMap<u64, Arc<Filling>>>>,
    next: Arc<AtomicU64>,
}

/// Room for one body; free again when this value ends.
#[derive(Debug)]
pub(crate) struct Room {
    number: u64,
    rooms: Rooms,
    filling: Arc<Filling>,
    bytes: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Filling {
    since: Instant,
    progress: Mutex<Progress>,
    leave: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    bytes: u64,
    last: Instant,
}

impl Rooms {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes)),
            filling: Arc::default(),
            next: Arc::default(),
        }
    }

    /// Room for a body of so many bytes, as soon as there is so much.
    pub(crate) async fn take(&self, bytes: usize) -> Room {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut free = pin!(Arc::clone(&self.free).acquire_many_owned(wanted));
        let taken = loop {
            match timeout(AGAIN, free.as_mut()).await {
                Ok(taken) => break taken,
                Err(_) => self.make_room(),
            }
        };
        let now = Instant::now();
        let filling = Arc::new(Filling {
            since: now,
            progress: Mutex::new(Progress {
                bytes: 0,
                last: now,
            }),
            leave: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&filling));
        Room {
            number,
            rooms: self.clone(),
            filling,
            bytes: taken.ok(),
        }
    }

    /// Asks the one to leave that has been slow for longest.
    fn make_room(&self) {
        let now = Instant::now();
        let mut filling = self.lock();
        let slow = filling.iter().filter(|(_, one)| one.is_slow(now));
        let oldest = slow.min_by_key(|(_, one)| one.since);
        let oldest = oldest.map(|(number, _)| *number);
        if let Some(one) = oldest.and_then(|number| filling.remove(&number)) {
            one.leave.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Filling>>> {
        self.filling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Ready when the body is too slow and others want the room.
    pub(crate) async fn wanted(&self) {
        self.filling.leave.notified().await;
    }

    /// So many bytes of the body are there.
    pub(crate) fn filled(&self, bytes: usize) {
        *self.filling.progress() = Progress {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            last: Instant::now(),
        };
    }

    /// The body is there: its room is no longer given to others.
    pub(crate) fn complete(&self) {
        self.rooms.lock().remove(&self.number);
    }

    /// Gives back what is more than so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        if let Some(held) = &mut self.bytes {
            drop(held.split(held.num_permits().saturating_sub(bytes)));
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.complete();
    }
}

impl Filling {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing has come for a while, or less in all than should have.
    fn is_slow(&self, now: Instant) -> bool {
        let Progress { bytes, last } = *self.progress();
        let time = now.duration_since(self.since).saturating_sub(GRACE);
        let due = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        now.duration_since(last) > PAUSE || bytes < due.saturating_mul(PACE)
    }
}

/// How soon somebody is asked to leave, while there is no room.
const AGAIN: Duration = Duration::from_millis(50);
/// Longest time without a byte.
const PAUSE: Duration = Duration::from_secs(2);
/// Bytes that come in a millisecond at least; an API server sends many times that.
const PACE: u64 = 256;
/// Time before the pace counts.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_stalls_gives_way_and_who_is_done_does_not() {
        let rooms = Rooms::new(100 << 10);
        let mut done = rooms.take(50 << 10).await;
        done.filled(50 << 10);
        done.complete();
        let stalls = rooms.take(50 << 10).await;
        stalls.filled((50 << 10) - 1);
        let wants = rooms.clone();
        let begun = Instant::now();
        let third = tokio::spawn(async move { wants.take(40 << 10).await });
        stalls.wanted().await;
        assert!(begun.elapsed() > PAUSE && begun.elapsed() < 2 * PAUSE);
        drop(stalls);
        let third = third.await.unwrap();
        // What is done gives back what it needs no more, and the rest at its end.
        assert_eq!(rooms.free.available_permits(), 10 << 10);
        done.shrink(200 << 10);
        assert_eq!(rooms.free.available_permits(), 10 << 10);
        done.shrink(1 << 10);
        assert_eq!(rooms.free.available_permits(), 59 << 10);
        drop((done, third));
        assert_eq!(rooms.free.available_permits(), 100 << 10);
        assert!(rooms.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_gives_way_to_who_waits_alone() {
        let rooms = Rooms::new(8 << 20);
        let drips = rooms.take(7 << 20).await;
        let drip = async {
            for bytes in 1.. {
                drips.filled(bytes);
                tokio::time::sleep(PAUSE / 2).await;
            }
        };
        // Nobody waits.
        assert!(
            timeout(20 * PAUSE, async { tokio::join!(drip, drips.wanted()) })
                .await
                .is_err()
        );
        let wants = rooms.clone();
        let other = tokio::spawn(async move { wants.take(7 << 20).await });
        drips.wanted().await;
        drop(drips);
        assert!(other.await.unwrap().bytes.is_some());
    }
}
