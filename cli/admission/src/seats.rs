//! How many connections there may be. Where all seats are taken, the connection that has asked nothing for longest is
//! closed: those who connect and say nothing, or little by little, keep nobody out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The seats. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    taken: Arc<Mutex<HashMap<u64, Arc<Sitting>>>>,
    next: Arc<AtomicU64>,
}

/// A free seat, for the next connection.
#[derive(Debug)]
pub(crate) struct Free(OwnedSemaphorePermit);

/// A seat; it is free again when this value ends.
#[derive(Debug)]
pub(crate) struct Seat {
    number: u64,
    seats: Seats,
    sitting: Arc<Sitting>,
    _one: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Sitting {
    state: Mutex<State>,
    leave: Notify,
}

#[derive(Debug)]
enum State {
    Idle(Instant),
    Busy,
    Leaving,
}

/// Something is being answered, until this value ends.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Sitting);

impl Seats {
    pub(crate) fn new(seats: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(seats)),
            taken: Arc::default(),
            next: Arc::default(),
        }
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().len()
    }

    /// A free seat, as soon as there is one. It counts as taken, and as idle, once somebody sits down.
    pub(crate) async fn free(&self) -> Free {
        loop {
            let free = Arc::clone(&self.free);
            let one = match Arc::clone(&free).try_acquire_owned() {
                Ok(one) => Some(one),
                Err(_) => {
                    self.make_room();
                    let soon = timeout(AGAIN, free.acquire_owned()).await;
                    soon.ok().and_then(Result::ok)
                }
            };
            if let Some(one) = one {
                return Free(one);
            }
        }
    }

    /// A connection takes a seat.
    pub(crate) fn sit(&self, Free(one): Free) -> Seat {
        let sitting = Arc::new(Sitting {
            state: Mutex::new(State::Idle(Instant::now())),
            leave: Notify::new(),
        });
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&sitting));
        Seat {
            number,
            seats: self.clone(),
            sitting,
            _one: one,
        }
    }

    fn make_room(&self) {
        let taken = self.lock();
        let idle = |sitting: &Arc<Sitting>| match *sitting.lock() {
            State::Idle(since) => Some(since),
            State::Busy | State::Leaving => None,
        };
        let longest = taken
            .values()
            .filter_map(|sitting| Some((idle(sitting)?, sitting)))
            .min_by_key(|(since, _)| *since);
        if let Some((_, sitting)) = longest {
            let mut state = sitting.lock();
            if let State::Idle(_) = *state {
                *state = State::Leaving;
                sitting.leave.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Sitting>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Ready when the seat is wanted by others.
    pub(crate) async fn wanted(&self) {
        self.sitting.leave.notified().await;
    }

    /// A request has come, whole.
    pub(crate) fn busy(&self) -> Busy<'_> {
        let mut state = self.sitting.lock();
        if let State::Idle(_) = *state {
            *state = State::Busy;
        }
        drop(state);
        Busy(&self.sitting)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().remove(&self.number);
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let State::Busy = *state {
            *state = State::Idle(Instant::now());
        }
    }
}

impl Sitting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How soon another is asked to leave, where the one who was asked is still there or nobody was idle.
const AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_leaves_and_the_busy_stay() {
        let seats = Seats::new(3);
        let (first, second, third) = (
            seats.sit(seats.free().await),
            seats.sit(seats.free().await),
            seats.sit(seats.free().await),
        );
        let busy = first.busy();
        let wants = seats.clone();
        let fourth = tokio::spawn(async move { wants.sit(wants.free().await) });
        // Of the two that are idle, the one that has been for longer.
        second.wanted().await;
        drop(second);
        let fourth = fourth.await.unwrap();
        assert_eq!(seats.taken(), 3);
        drop(busy);
        // Now the first has been idle for the shortest time.
        let wants = seats.clone();
        let fifth = tokio::spawn(async move { wants.sit(wants.free().await) });
        third.wanted().await;
        drop(third);
        drop((fifth.await.unwrap(), fourth, first));
        assert_eq!(seats.taken(), 0);
    }

    /// A seat that is kept ready is nobody's: it is not counted, and whoever comes late has not been idle since.
    #[tokio::test]
    async fn a_seat_is_taken_when_somebody_sits_down() {
        let seats = Seats::new(2);
        let kept = seats.free().await;
        assert_eq!(seats.taken(), 0);
        let early = seats.sit(seats.free().await);
        let late = seats.sit(kept);
        assert_eq!(seats.taken(), 2);
        let wants = seats.clone();
        let third = tokio::spawn(async move { wants.free().await });
        early.wanted().await;
        drop(early);
        third.await.unwrap();
        assert_eq!(seats.taken(), 1);
        drop(late);
    }

    #[tokio::test]
    async fn where_all_are_busy_it_is_waited() {
        let seats = Seats::new(1);
        let only = seats.sit(seats.free().await);
        let busy = only.busy();
        assert!(
            timeout(Duration::from_millis(200), seats.free())
                .await
                .is_err()
        );
        drop(busy);
        let wants = seats.clone();
        let next = tokio::spawn(async move { wants.sit(wants.free().await) });
        only.wanted().await;
        drop(only);
        next.await.unwrap();
    }
}
