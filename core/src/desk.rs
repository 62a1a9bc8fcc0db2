//! Threads for work that may block: files on a disk, and what is done with them.
//!
//! A piece of such work takes some microseconds, less than it takes to hand it to a thread that sleeps and back. So a
//! thread does what is waiting before it ends, there are few of them unless much is waiting, as it is where the
//! disk is slow, and a thread that may block already hands nothing on.

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

/// Threads at a time: more gain little, and each has a stack.
const MOST: usize = 8;
/// Threads that begin as soon as there is work.
const AT_ONCE: usize = 2;
/// Pieces that wait for each thread before another begins.
const WAITING: usize = 8;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a desk's thread, so that what may block can be done here and now.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// Where work is handed in.
#[derive(Debug)]
pub(crate) struct Desk {
    queue: Mutex<Queue>,
    at_once: usize,
    waiting: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    threads: usize,
}

type Work = Box<dyn FnOnce() + Send>;

/// What became of a task on a desk's thread.
enum Begun<T> {
    Done(T),
    Waits(Task<T>),
    Panicked(Box<dyn Any + Send>),
}

/// A task of the runtime, which ends when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Task<T>(JoinHandle<T>);

/// A thread's place, which is given back however the thread ends, and where none begins as well.
struct Place {
    desk: Option<Arc<Desk>>,
    /// Whether it is in place of a thread that did not begin.
    second: bool,
}

impl<T: Send + 'static> Task<T> {
    /// Begins it.
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    /// # Panics
    /// With the panic of the task.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(context)) {
            Ok(result) => Poll::Ready(result),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime ends, and this with it.
                Err(_) => Poll::Pending,
            },
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Default for Desk {
    /// For many small pieces.
    fn default() -> Self {
        Self {
            queue: Mutex::default(),
            at_once: AT_ONCE,
            waiting: WAITING,
        }
    }
}

impl Desk {
    /// One that has so many threads as soon as there is work, and more where [`Self::more`] says so.
    pub(crate) fn of(threads: usize) -> Self {
        Self {
            queue: Mutex::default(),
            at_once: threads.clamp(1, MOST),
            waiting: usize::MAX,
        }
    }

    /// Does the work on a thread that may block; `None` where that ended without a result.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if may_block() {
            return Some(work());
        }
        let (done, answer) = oneshot::channel();
        self.hand_in(Box::new(move || {
            // Who no longer waits needs no answer.
            let _gone = done.send(work());
        }));
        answer.await.ok()
    }

    /// Begins a task on a thread that may block, where it goes as far as it can without waiting for anybody else. If
    /// it has to wait, the rest is done by a task of the runtime, so that the thread is free. It ends
    /// when nobody waits for it any more.
    ///
    /// # Panics
    /// With the panic of the task.
    pub(crate) async fn begin<T, F>(
        self: &Arc<Self>,
        task: impl FnOnce() -> F + Send + 'static,
    ) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (begun, answer) = oneshot::channel();
        let runtime = Handle::current();
        self.hand_in(Box::new(move || {
            if begun.is_closed() {
                return;
            }
            let _inside = runtime.enter();
            let begin = || {
                // Made here: it may be large, and is not moved any more.
                let mut task = Box::pin(task());
                // Whoever would be woken is asked again by the task of the runtime.
                let mut nobody = Context::from_waker(Waker::noop());
                match task.as_mut().poll(&mut nobody) {
                    Poll::Ready(result) => Begun::Done(result),
                    Poll::Pending => Begun::Waits(Task::new(task)),
                }
            };
            let result = catch_unwind(AssertUnwindSafe(begin)).unwrap_or_else(Begun::Panicked);
            let _gone = begun.send(result);
        }));
        match answer.await {
            Ok(Begun::Done(result)) => result,
            Ok(Begun::Waits(task)) => task.await,
            Ok(Begun::Panicked(panic)) => resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => pending().await,
        }
    }

    /// Adds a thread if something waits for one.
    pub(crate) fn more(self: &Arc<Self>) {
        let place = {
            let mut queue = self.queue();
            match queue.waiting.is_empty() {
                true => None,
                false => self.place(&mut queue),
            }
        };
        start(place);
    }

    fn hand_in(self: &Arc<Self>, work: Work) {
        let place = {
            let mut queue = self.queue();
            queue.waiting.push_back(work);
            let enough = queue.threads.saturating_mul(self.waiting);
            match queue.threads < self.at_once || queue.waiting.len() > enough {
                true => self.place(&mut queue),
                false => None,
            }
        };
        start(place);
    }

    /// The place of a further thread, if there is one.
    fn place(self: &Arc<Self>, queue: &mut Queue) -> Option<Place> {
        if queue.threads >= MOST {
            return None;
        }
        queue.threads += 1;
        Some(Place {
            desk: Some(Arc::clone(self)),
            second: false,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(place: Option<Place>) {
    if let Some(place) = place {
        // It ends by itself.
        drop(spawn_blocking(move || place.serve()));
    }
}

impl Place {
    fn serve(mut self) {
        MAY_BLOCK.set(true);
        while let Some(work) = self.next() {
            // Whoever waits for it learns that there is no result.
            let _panicked = catch_unwind(AssertUnwindSafe(work));
        }
        // The runtime's thread has other work next.
        MAY_BLOCK.set(false);
    }

    /// The next work; without any the place is given back in the same moment, so that none is left lying.
    fn next(&mut self) -> Option<Work> {
        let desk = self.desk.as_ref()?;
        let mut queue = desk.queue();
        let work = queue.waiting.pop_front();
        if work.is_none() {
            queue.threads -= 1;
            drop(queue);
            self.desk = None;
        }
        work
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(desk) = self.desk.take() else {
            return;
        };
        // Its runtime ended before it began. Who handed work in since then counted on it.
        let place = {
            let mut queue = desk.queue();
            queue.threads -= 1;
            match queue.waiting.is_empty() || self.second {
                true => None,
                false => desk.place(&mut queue),
            }
        };
        if let Some(mut place) = place {
            place.second = true;
            // Without any thread nothing can be done.
            drop(thread::Builder::new().spawn(move || place.serve()));
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
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
                thread::yield_now();
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

    /// Threads that a runtime was to begin, and that it never did, are made up for.
    #[test]
    fn a_thread_that_never_began_is_replaced() {
        let desk = Arc::new(Desk::default());
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let old = runtime.max_blocking_threads(1).build().unwrap();
        let (free, held) = std::sync::mpsc::channel::<()>();
        drop(old.spawn_blocking(move || held.recv()));
        let handed_in = old.block_on(async {
            let two = futures_util::future::join(desk.run(|| 1), desk.run(|| 2));
            let mut two = Box::pin(two);
            std::future::poll_fn(|task| Poll::Ready(two.as_mut().poll(task).is_pending())).await
        });
        assert!(handed_in);
        old.shutdown_background();
        assert_eq!(desk.queue().threads, 2);
        let new = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let watched = Arc::clone(&desk);
        let watch = thread::spawn(move || {
            while watched.queue().waiting.len() < 3 {
                thread::yield_now();
            }
            drop(free);
        });
        assert_eq!(new.block_on(desk.run(|| 3)), Some(3));
        watch.join().unwrap();
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

    /// A task that waits for nobody is done on one thread, with what it hands in itself.
    #[tokio::test]
    async fn a_task_is_done_where_it_was_begun() {
        let desk = Arc::new(Desk::of(2));
        let files = Arc::new(Desk::default());
        assert!(!may_block());
        let threads = desk.begin(async move || {
            let here = (thread::current().id(), may_block());
            let there = files.run(|| (thread::current().id(), may_block()));
            (here, there.await.unwrap())
        });
        let (here, there) = threads.await;
        assert!(here.1);
        assert_eq!(here, there);
        assert_ne!(here.0, thread::current().id());
    }

    /// One that waits goes on as a task of the runtime, and the thread is free.
    #[tokio::test]
    async fn a_task_that_waits_goes_on_elsewhere() {
        let desk = Arc::new(Desk::of(1));
        let (say, hear) = oneshot::channel();
        let waits = desk.begin(async move || {
            let before = may_block();
            let heard = hear.await;
            (before, may_block(), heard)
        });
        let says = desk.begin(async move || say.send(5));
        let (waited, said) = futures_util::future::join(waits, says).await;
        assert_eq!((waited, said), ((true, false, Ok(5)), Ok(())));
    }

    /// Nobody waits any more: neither a task that has begun nor one that has not goes on.
    #[tokio::test]
    async fn a_task_ends_when_nobody_waits() {
        let desk = Arc::new(Desk::of(1));
        let (dropped, drops) = oneshot::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let waits = tokio::spawn(async move {
            let task = async move || {
                let _dropped = dropped;
                let _heard = begun.send(());
                pending::<()>().await;
            };
            desk.begin(task).await;
        });
        begins.await.unwrap();
        waits.abort();
        assert!(drops.await.is_err());
    }

    #[tokio::test]
    #[should_panic(expected = "as the test wants it")]
    async fn a_task_s_panic_is_that_of_whoever_waits() {
        let desk = Arc::new(Desk::of(1));
        desk.begin(async || panic!("as the test wants it")).await
    }
}
