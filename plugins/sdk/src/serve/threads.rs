//! A plugin that blocks: a thread for each signature under way.

use std::io::{Read, Write};
use std::pin::pin;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;

use super::Engine;
use super::session::{Incoming, QUEUE, Session, read_requests};
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
            let work = || {
                while let Some(request) = next() {
                    self.wait(session.with_key(key, &request));
                }
            };
            std::thread::scope(|scope| {
                for _ in 1..key.in_flight(MAX_WORKERS) {
                    scope.spawn(work);
                }
                work();
            });
        }
        u8::from(session.is_broken())
    }
}

fn receive(requests: &Mutex<Receiver<Incoming>>) -> Option<Incoming> {
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    requests.recv().ok()
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
