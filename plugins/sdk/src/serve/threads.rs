//! A plugin that blocks: a thread for each signature under way.

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{Scope, Thread};

use super::Engine;
use super::session::{Incoming, QUEUE, Request, Session, read_requests};
use crate::asynchronous::AsyncPlugin;
use crate::context::{Channel, Output};

/// The most workers, whatever a key says.
const MAX_WORKERS: u32 = 64;

/// Waits where it stands.
pub(super) struct Threads;

impl Engine for Threads {
    /// The futures of a plugin that blocks are never pending, so that this is one poll.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = TaskContext::from_waker(&waker);
        let mut work = pin!(work);
        loop {
            match work.as_mut().poll(&mut context) {
                Poll::Ready(done) => return done,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    fn session<P: AsyncPlugin>(
        &self,
        plugin: &P,
        input: impl Read + Send + 'static,
        output: &mut (impl Write + Send),
    ) -> u8 {
        let (sender, receiver) = sync_channel(QUEUE);
        read_requests(input, move |incoming| sender.send(incoming).is_ok());
        let channel = Channel::new(Some(Output::new(output)));
        let session = Session::new(plugin, &channel, MAX_WORKERS);
        let requests = Mutex::new(receiver);
        let next = || session.accept(receive(&requests));
        let opened = loop {
            let Some(request) = next() else { break None };
            if let Some(opened) = self.wait(session.before_key(&request)) {
                break Some(opened);
            }
        };
        if let Some(key) = &opened {
            let crew = Crew {
                next,
                work: |request: &Request| self.wait(session.with_key(key, request)),
                idle: AtomicU32::new(0),
                to_come: AtomicU32::new(key.in_flight(MAX_WORKERS).saturating_sub(1)),
            };
            std::thread::scope(|scope| crew.work(scope));
        }
        u8::from(session.is_broken())
    }
}

fn receive(requests: &Mutex<Receiver<Incoming>>) -> Option<Incoming> {
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    requests.recv().ok()
}

/// Threads that answer requests. One is started when a request is taken and none is left that waits for
/// the next: who asks for a single signature has a single thread more.
struct Crew<N, W> {
    next: N,
    work: W,
    /// Threads that wait for a request.
    idle: AtomicU32,
    /// Threads that may be started yet.
    to_come: AtomicU32,
}

impl<N, W> Crew<N, W>
where
    N: Fn() -> Option<Request> + Sync,
    W: Fn(&Request) + Sync,
{
    fn work<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        loop {
            self.idle.fetch_add(1, Ordering::SeqCst);
            let request = (self.next)();
            let was_last = self.idle.fetch_sub(1, Ordering::SeqCst) == 1;
            let Some(request) = request else { return };
            if was_last && self.may_start() {
                scope.spawn(|| self.work(scope));
            }
            (self.work)(&request);
        }
    }

    fn may_start(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        let taken = self
            .to_come
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        taken.is_ok()
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
