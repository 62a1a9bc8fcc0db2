//! Many artifacts through one signer or one verifier: several under way at once, results in the
//! order of the input or as they come, and no more work once one result says that the rest can't
//! succeed.
//!
//! [`in_order`] is for work that waits for others, and borrows what it works with. [`spread`] is for
//! a stream of any length. So that all cores have a share, each piece is a [`task`] of its own there, or, where it
//! reads local files, is done by one of a few [`Threads`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::{Budget, Overspent, Party, Phase};
use crate::desk::{Desk, Task};

/// How much of a batch may be under way. All of it costs memory, however long the batch is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Items that are worked on.
    pub working: usize,
    /// Items begun and not yet handed over: those that are worked on, those that gave their
    /// [`Turn`] back, and results that wait for an earlier one.
    pub begun: usize,
    /// Whether results are handed over in the order of the input, and not as they come.
    pub in_order: bool,
}

/// The right to be worked on; the next item begins once the result of this one was seen. Work that is
/// over but for waiting for something that others are waiting for too gives it back early.
#[derive(Debug)]
pub struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// Lets the next item begin now.
    pub fn give_back(self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// What ends a batch from outside.
#[derive(Debug)]
pub struct Stop<F, N> {
    /// Is done when nothing further shall begin.
    pub raised: F,
    /// Hears how many items are waited for then.
    pub waiting: N,
    /// How long those have.
    pub farewell: Duration,
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// Items begun.
    pub begun: usize,
    /// Results handed over. Fewer than begun: the others were given up.
    pub handed_over: usize,
}

/// Work as a task of its own, begun at once, on whichever core is free. It ends when nobody waits for it any
/// more.
///
/// # Panics
/// With the panic of the work.
pub fn task<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> {
    Task::new(work)
}

/// Threads for work that reads local files: one of them does all of one piece, so that nothing is handed from one
/// to another. Work that has to wait for somebody else goes on as a task.
#[derive(Clone, Debug)]
pub struct Threads(Arc<Desk>);

impl Threads {
    /// So many threads, for as many processors; a few more where a disk is slow.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Desk::of(count)))
    }

    /// Does `work`, which keeps to its budget by itself, on one of the threads. If it is still not back a moment after the
    /// end of that budget, it is held up by the disk of `party`, and is given up.
    ///
    /// # Errors
    /// It was given up.
    ///
    /// # Panics
    /// With the panic of the work.
    pub async fn run<T, F>(
        &self,
        budget: &Budget,
        phase: Phase,
        party: Party,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> Result<T, Overspent>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = async {
            let mut work = pin!(self.0.begin(work));
            loop {
                tokio::select! {
                    biased;
                    result = &mut work => return result,
                    () = tokio::time::sleep(SLOW) => self.0.more(),
                }
            }
        };
        budget.overdue(phase, party, work).await
    }
}

/// What takes longer than this on a thread makes room for another one.
const SLOW: Duration = Duration::from_millis(20);

/// Does `work` for every item that `items` gives, within the bounds of `window`, and hands results with the
/// number of their item, from 0, to `done`. What `work` returns is polled where this is: see [`task`] and
/// [`Threads`].
///
/// When `done` breaks, or `stop` is raised, nothing further begins. What is under way is finished
/// and handed over all the same, since a signature that is stored must not go unreported; after a
/// stop it has the time for farewell.
///
/// # Panics
/// With the panic of a piece of work.
pub async fn spread<S, T, Fut>(
    mut items: S,
    window: Window,
    stop: Stop<impl Future<Output = ()>, impl FnOnce(usize)>,
    mut work: impl FnMut(usize, S::Item, Turn) -> Fut,
    mut done: impl FnMut(usize, T) -> ControlFlow<()>,
) -> Ended
where
    S: Stream + Unpin,
    Fut: Future<Output = T>,
{
    let turns = Arc::new(Semaphore::new(window.working.max(1)));
    let most = window.begun.max(window.working).max(1);
    let mut running = FuturesUnordered::new();
    let mut early = BTreeMap::new();
    let mut ended = Ended {
        begun: 0,
        handed_over: 0,
    };
    let mut open = true;
    let mut waiting = Some(stop.waiting);
    let deadline = tokio::time::sleep(Duration::MAX);
    tokio::pin!(deadline);
    let raised = stop.raised;
    tokio::pin!(raised);
    loop {
        let room = open && ended.begun - ended.handed_over < most;
        if !open && running.is_empty() {
            break;
        }
        tokio::select! {
            biased;
            () = &mut raised, if waiting.is_some() => {
                open = false;
                deadline.as_mut().reset(tokio::time::Instant::now() + stop.farewell);
                if let Some(waiting) = waiting.take() {
                    waiting(running.len());
                }
            }
            () = &mut deadline, if waiting.is_none() => break,
            // The turn ends with this block.
            Some((number, result, _turn)) = running.next() => {
                early.insert(number, result);
                while let Some(result) = next(&mut early, &ended, window.in_order) {
                    ended.handed_over += 1;
                    if done(result.0, result.1).is_break() {
                        open = false;
                    }
                }
            }
            // Neither loses anything when another branch is faster.
            next = async {
                let turn = Arc::clone(&turns).acquire_owned().await;
                (turn, items.next().await)
            }, if room => match next {
                (Ok(turn), Some(item)) => {
                    let number = ended.begun;
                    let turn = Arc::new(Mutex::new(Some(turn)));
                    let work = work(number, item, Turn(Arc::clone(&turn)));
                    running.push(async move { (number, work.await, turn) });
                    ended.begun += 1;
                }
                _ => open = false,
            },
        }
    }
    // Results that waited for one that was given up.
    for (number, result) in early {
        ended.handed_over += 1;
        let _over = done(number, result);
    }
    ended
}

/// The next result to be handed over, if it is there.
fn next<T>(early: &mut BTreeMap<usize, T>, ended: &Ended, in_order: bool) -> Option<(usize, T)> {
    match in_order {
        true => early.remove_entry(&ended.handed_over),
        false => early.pop_first(),
    }
}

/// Does `work` for every item, at most `at_most` at a time, and hands the results to `done` in the
/// order of `items`.
///
/// When `done` breaks, nothing further is started. What is under way is finished and handed over all
/// the same, since a signature that is stored must not go unreported. Returns how many results were
/// handed over.
pub async fn in_order<I, T, Fut>(
    items: I,
    at_most: usize,
    work: impl FnMut(I::Item) -> Fut,
    mut done: impl FnMut(T) -> ControlFlow<()>,
) -> usize
where
    I: IntoIterator,
    Fut: Future<Output = T>,
{
    let stopped = Cell::new(false);
    let items = items.into_iter().take_while(|_| !stopped.get());
    let mut results = stream::iter(items).map(work).buffered(at_most.max(1));
    let mut handed_over = 0;
    while let Some(result) = results.next().await {
        handed_over += 1;
        if done(result).is_break() {
            stopped.set(true);
        }
    }
    handed_over
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// CLI-32: results come in input order though later items are done first, and no more than
    /// the limit are under way.
    #[tokio::test]
    async fn cli_32_results_keep_input_order_within_the_limit() {
        let under_way = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let mut results = Vec::new();
        let work = async |i: u64| {
            let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20 - 2 * i)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            i
        };
        let count = in_order(0..10, 4, work, |i| {
            results.push(i);
            ControlFlow::Continue(())
        })
        .await;
        assert_eq!((count, results), (10, (0..10).collect()));
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    /// A result that ends the batch stops what has not begun; what is under way is still handed
    /// over, for it may have been done.
    #[tokio::test]
    async fn a_break_starts_nothing_more() {
        let started = AtomicUsize::new(0);
        let work = async |i: u64| {
            started.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            i
        };
        let mut results = Vec::new();
        let count = in_order(0..100, 3, work, |i| {
            results.push(i);
            if i == 1 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
        let started = started.load(Ordering::SeqCst);
        assert!((3..=5).contains(&started), "{started}");
        assert_eq!(count, started);
        assert_eq!(results.len(), started);
    }

    fn never() -> Stop<std::future::Pending<()>, impl FnOnce(usize)> {
        Stop {
            raised: std::future::pending(),
            waiting: |_| {},
            farewell: Duration::ZERO,
        }
    }

    fn window(working: usize, begun: usize, in_order: bool) -> Window {
        Window {
            working,
            begun,
            in_order,
        }
    }

    /// CLI-32: input order within the bounds, though a late item is done first; as they come, the
    /// stuck one is the last.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn cli_32_a_stuck_item_holds_back_one_window() {
        for in_order in [true, false] {
            let begun = Arc::new(AtomicUsize::new(0));
            let free = Arc::new(Semaphore::new(0));
            let mut results = Vec::new();
            let work = {
                let (begun, free) = (Arc::clone(&begun), Arc::clone(&free));
                move |number: usize, item: usize, _turn: Turn| {
                    let (begun, free) = (Arc::clone(&begun), Arc::clone(&free));
                    async move {
                        assert_eq!(number, item);
                        begun.fetch_add(1, Ordering::SeqCst);
                        match item {
                            0 => drop(free.acquire().await),
                            // Once the window is full.
                            6 if in_order => free.add_permits(1),
                            _ => {}
                        }
                        item
                    }
                }
            };
            let items = stream::iter(0..100);
            let ended = spread(items, window(3, 7, in_order), never(), work, |number, i| {
                if number == 0 && in_order {
                    assert_eq!(begun.load(Ordering::SeqCst), 7);
                }
                results.push(i);
                // Once all others are done.
                if !in_order && results.len() == 99 {
                    free.add_permits(1);
                }
                ControlFlow::Continue(())
            })
            .await;
            assert_eq!((ended.begun, ended.handed_over), (100, 100));
            if in_order {
                assert_eq!(results, (0..100).collect::<Vec<_>>());
            } else {
                assert_eq!(results.last(), Some(&0));
            }
        }
    }

    /// One at a time means that the next one begins when the result of the last was seen.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_begins_before_a_break_is_known() {
        for _ in 0..50 {
            let begun = Arc::new(AtomicUsize::new(0));
            let work = |_, item: usize, _turn: Turn| {
                begun.fetch_add(1, Ordering::SeqCst);
                async move { item }
            };
            let items = stream::iter(0..100);
            let ended = spread(items, window(1, 2, false), never(), work, |_, _| {
                ControlFlow::Break(())
            });
            assert_eq!(ended.await.begun, 1);
        }
    }

    /// Items that gave their turn back don't keep others from being worked on.
    #[tokio::test]
    async fn a_turn_given_back_is_another_s() {
        let together = Arc::new(tokio::sync::Barrier::new(8));
        let work = |_, item: usize, turn: Turn| {
            let together = Arc::clone(&together);
            async move {
                turn.give_back();
                together.wait().await;
                item
            }
        };
        let items = stream::iter(0..16);
        let ended = spread(items, window(1, 8, true), never(), work, |_, _| {
            ControlFlow::Continue(())
        });
        assert_eq!(ended.await.handed_over, 16);
    }

    #[tokio::test]
    async fn a_break_begins_nothing_more_and_a_stop_gives_up() {
        let work = |_, item: usize, _turn: Turn| async move {
            tokio::task::yield_now().await;
            item
        };
        let mut results = Vec::new();
        let items = stream::iter(0..100);
        let ended = spread(items, window(3, 3, true), never(), work, |_, i| {
            results.push(i);
            match i {
                1 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
        .await;
        assert!((2..=6).contains(&ended.begun), "{ended:?}");
        assert_eq!(ended.handed_over, ended.begun);
        assert_eq!(results, (0..ended.begun).collect::<Vec<_>>());

        // The first one never ends; what was done after it is told all the same.
        let work = |_, item: usize, _turn: Turn| async move {
            if item == 0 {
                std::future::pending::<()>().await;
            }
            item
        };
        let (mut results, mut waited_for) = (Vec::new(), 0);
        let stop = Stop {
            raised: tokio::time::sleep(Duration::from_millis(50)),
            waiting: |count| waited_for = count,
            farewell: Duration::from_millis(50),
        };
        let items = stream::iter(0..100);
        let ended = spread(items, window(2, 4, true), stop, work, |_, i| {
            results.push(i);
            ControlFlow::Continue(())
        })
        .await;
        assert_eq!((ended.begun, ended.handed_over), (4, 3));
        assert_eq!(results, [1, 2, 3]);
        assert_eq!(waited_for, 1);
    }

    /// All threads are held up, and there are more for what comes after.
    #[tokio::test]
    async fn threads_that_are_held_up_are_not_the_last() {
        let threads = Threads::new(1);
        let together = Arc::new(std::sync::Barrier::new(4));
        let all = (0..4).map(|number| {
            let together = Arc::clone(&together);
            let work = async move || {
                together.wait();
                number
            };
            let party = Party::Directory("images".to_owned());
            let budget = Budget::within(Duration::from_secs(60));
            let threads = threads.clone();
            async move { threads.run(&budget, Phase::Verifying, party, work).await }
        });
        let done = futures_util::future::join_all(all).await;
        assert_eq!(done, [Ok(0), Ok(1), Ok(2), Ok(3)]);
    }

    /// Work that a disk holds up is given up a moment after its deadline, and told of with the directory's name.
    #[tokio::test]
    async fn work_that_is_held_up_is_given_up() {
        let (free, held) = std::sync::mpsc::channel::<()>();
        let work = async move || held.recv().is_ok();
        let party = Party::Directory("images".to_owned());
        let budget = Budget::within(Duration::from_millis(100));
        let threads = Threads::new(1);
        let given_up = threads.run(&budget, Phase::Verifying, party, work);
        let told = given_up.await.unwrap_err().to_string();
        let begins = "the deadline of 0.1 seconds passed while checking the signatures: waited ";
        assert!(told.starts_with(begins), "{told}");
        assert!(
            told.ends_with(" seconds for the directory images"),
            "{told}"
        );
        drop(free);
    }
}
