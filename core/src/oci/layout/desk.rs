//! The threads that do a layout's file work.
//!
//! A piece of it takes some microseconds, less than it takes to hand it to a thread that sleeps and back. So a thread
//! does what is waiting before it ends, and there are few of them unless much is waiting, as it is where the
//! disk is slow.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// Threads at a time: more gain little, and each has a stack.
const MOST: usize = 8;
/// Threads that begin as soon as there is work.
const AT_ONCE: usize = 2;
/// Pieces that wait for each thread before another begins.
const WAITING: usize = 8;

/// Where file work is handed in.
#[derive(Default)]
pub(super) struct Desk(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    threads: usize,
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread's place, which is given back however the thread ends, and where none begins as well.
struct Place(Option<Arc<Desk>>);

impl Desk {
    /// Does the work on a thread that may block; `None` where that ended without a result.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let work: Work = Box::new(move || {
            // Who no longer waits needs no answer.
            let _gone = done.send(work());
        });
        if let Some(place) = self.take(work) {
            // It ends by itself.
            drop(spawn_blocking(move || place.serve()));
        }
        answer.await.ok()
    }

    /// Takes work; the place of a further thread, if there has to be one.
    fn take(self: &Arc<Self>, work: Work) -> Option<Place> {
        let mut queue = self.queue();
        queue.waiting.push_back(work);
        let enough = queue.threads.saturating_mul(WAITING);
        let more = queue.threads < AT_ONCE || queue.waiting.len() > enough;
        if !more || queue.threads >= MOST {
            return None;
        }
        queue.threads += 1;
        Some(Place(Some(Arc::clone(self))))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn serve(mut self) {
        while let Some(work) = self.next() {
            // Whoever waits for it learns that there is no result.
            let _panicked = catch_unwind(AssertUnwindSafe(work));
        }
    }

    /// The next work; without any the place is given back in the same moment, so that none is left lying.
    fn next(&mut self) -> Option<Work> {
        let desk = self.0.as_ref()?;
        let mut queue = desk.queue();
        let work = queue.waiting.pop_front();
        if work.is_none() {
            queue.threads -= 1;
            drop(queue);
            self.0 = None;
        }
        work
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(desk) = self.0.take() {
            desk.queue().threads -= 1;
        }
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// All is done, by no more threads at a time than there may be, and nobody is left.
    #[tokio::test]
    async fn all_is_done_and_the_threads_end() {
        let desk = Arc::new(Desk::default());
        let at_work = Arc::new(AtomicUsize::new(0));
        let all = (0..500).map(|number| {
            let at_work = Arc::clone(&at_work);
            desk.run(move || {
                let together = at_work.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::yield_now();
                at_work.fetch_sub(1, Ordering::SeqCst);
                (number, together)
            })
        });
        let done = futures_util::future::join_all(all).await;
        let numbers: Vec<_> = done.iter().map(|done| done.unwrap().0).collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>());
        let most = done.iter().map(|done| done.unwrap().1).max().unwrap();
        assert!(most <= MOST, "{most}");
        while desk.queue().threads > 0 {
            tokio::task::yield_now().await;
        }
        assert!(desk.queue().waiting.is_empty());
    }

    /// Work that takes its time brings more threads.
    #[tokio::test]
    async fn slow_work_is_done_side_by_side() {
        let desk = Arc::new(Desk::default());
        let together = Arc::new(Barrier::new(MOST));
        let all = (0..MOST * WAITING * 2).map(|number| {
            let together = Arc::clone(&together);
            desk.run(move || {
                if number < MOST {
                    together.wait();
                }
            })
        });
        let done = futures_util::future::join_all(all).await;
        assert!(done.iter().all(Option::is_some));
    }

    /// Work that panics is no result, and the next is done; work that nobody waits for is done too.
    #[tokio::test]
    async fn a_panic_ends_one_piece_of_work() {
        let desk = Arc::new(Desk::default());
        let panics = desk.run(|| -> u8 { panic!("as the test wants it") });
        assert_eq!(panics.await, None);
        let (done, hears) = oneshot::channel();
        let abandoned = desk.run(move || done.send(7));
        drop(tokio::time::timeout(std::time::Duration::ZERO, abandoned).await);
        assert_eq!(hears.await, Ok(7));
        assert_eq!(desk.run(|| 8).await, Some(8));
    }

    /// A runtime that ended with work undone leaves a desk that still works.
    #[test]
    fn a_desk_outlives_a_runtime() {
        let desk = Arc::new(Desk::default());
        for _ in 0..20 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            let all = (0..50).map(|number| desk.run(move || number));
            runtime.block_on(async {
                let all = futures_util::future::join_all(all);
                // Handed in, and left.
                drop(
                    futures_util::future::select(Box::pin(all), futures_util::future::ready(()))
                        .await,
                );
            });
            runtime.shutdown_background();
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        assert_eq!(runtime.block_on(desk.run(|| 9)), Some(9));
    }
}
