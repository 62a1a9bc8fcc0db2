//! When the index is rewritten, and for whom.
//!
//! Each signature must be in the index before it is reported, and the index must be rewritten
//! whole. So writers hand in what they want to have in it, and wait; a checkpoint writes it for all
//! that wait, once
//!
//! - those that wait would make a quarter of the index, so that all rewrites of a batch together
//!   cost no more than a few times the last one,
//! - or a second has passed,
//! - or nobody else is on the way to wait: one signature alone waits for nothing.
//!
//! **Order.** The new content is flushed, then the index that names it, then the index is renamed
//! into place and the directory flushed; only then is anything reported. A process that is killed
//! in between leaves the index as it was and content that nothing leads to; the same work done again
//! completes it.
//!
//! **Lock.** An advisory `flock` on the layout directory itself: it leaves no file behind and
//! survives the index being renamed over. Tools that take no lock (the reference is one) can
//! still overwrite our entries if they write in the same instant.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use super::current::Current;
use super::index::{Change, Index};
use super::{LayoutError, files};

/// How long anybody waits for a checkpoint to begin.
const LONGEST: Duration = Duration::from_secs(1);
/// A checkpoint is due once this part of the index is new.
const PART: usize = 4;

/// The only writer of a layout's index in this process.
#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    current: Arc<Current>,
    lock_wait: Duration,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Request>,
    /// When the first of them came.
    since: Option<Instant>,
    /// Writers that wait, or will.
    writing: usize,
    /// Pieces of work that will end with a writer.
    announced: usize,
    /// Whether a checkpoint is being written.
    busy: bool,
}

#[derive(Debug)]
struct Request {
    change: Change,
    /// Content that has to last before the index names it.
    content: Vec<PathBuf>,
    done: oneshot::Sender<Result<(), Arc<LayoutError>>>,
}

/// A writer on its way: while there are others, a checkpoint may wait for them.
#[derive(Debug)]
pub(super) struct Writing(Arc<Writer>);

/// The right to write a checkpoint, of which there is one.
#[derive(Debug)]
struct Busy(Arc<Writer>);

/// Work that may end with a signature in the layout, until this is dropped.
#[derive(Debug)]
pub(super) struct Working(Arc<Writer>);

impl Queue {
    /// When the next checkpoint is due, if anybody waits for one.
    fn due(&self, size: usize, now: Instant) -> Option<Instant> {
        let since = self.since?;
        let waiting = self.waiting.len();
        let others = self.writing.max(self.announced) > waiting;
        let many = waiting.saturating_mul(PART) >= size;
        Some(if many || !others {
            now
        } else {
            since + LONGEST
        })
    }
}

impl Writer {
    pub(super) fn new(root: PathBuf, current: Arc<Current>, lock_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            root,
            current,
            lock_wait,
            queue: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// A writer begins its way.
    pub(super) fn begin(self: &Arc<Self>) -> Writing {
        guard(&self.queue).writing += 1;
        Writing(Arc::clone(self))
    }

    /// How many signatures may be written beside those that the index has: those on their way, and one.
    pub(super) fn under_way(&self) -> usize {
        let queue = guard(&self.queue);
        queue.writing.max(queue.announced).max(1)
    }

    /// Work begins that may end with a writer.
    pub(super) fn announce(self: &Arc<Self>) -> Working {
        guard(&self.queue).announced += 1;
        Working(Arc::clone(self))
    }

    /// Waits until a checkpoint is due and nobody writes one; the caller is to write it.
    async fn due(self: &Arc<Self>) -> Busy {
        loop {
            // Before the queue is looked at, so that no change of it goes unheard.
            let woken = self.wake.notified();
            let now = Instant::now();
            let look_again = {
                let mut queue = guard(&self.queue);
                match queue.due(self.current.size(), now) {
                    Some(due) if due <= now && !queue.busy => {
                        queue.busy = true;
                        return Busy(Arc::clone(self));
                    }
                    Some(due) if !queue.busy => due,
                    _ => now + LONGEST,
                }
            };
            let _elapsed = timeout_at(look_again, woken).await;
        }
    }

    /// Writes for all that wait now.
    fn begin_checkpoint(self: &Arc<Self>, busy: Busy) {
        let requests = {
            let mut queue = guard(&self.queue);
            queue.since = None;
            std::mem::take(&mut queue.waiting)
        };
        // Goes on though nobody waits any more; who does hears of it.
        tokio::task::spawn_blocking(move || {
            let busy = busy;
            busy.0.write(requests);
        });
    }

    fn write(&self, requests: Vec<Request>) {
        let mut changes = Vec::with_capacity(requests.len());
        let mut content = Vec::with_capacity(requests.len());
        let mut waiting = Vec::with_capacity(requests.len());
        for request in requests {
            changes.push(request.change);
            content.extend(request.content);
            waiting.push(request.done);
        }
        let result = self.checkpoint(&changes, &content).map_err(|error| {
            self.current.forget();
            Arc::new(error)
        });
        for done in waiting {
            // Who no longer waits needs no answer.
            let _gone = done.send(result.clone());
        }
    }

    fn checkpoint(&self, changes: &[Change], content: &[PathBuf]) -> Result<(), LayoutError> {
        let _lock = lock(&self.root, self.lock_wait)?;
        refuse_link(&Index::path(&self.root))?;
        let replacement = self.current.change(changes)?;
        files::flush(content)?;
        files::sync_blobs(&self.root)?;
        match replacement {
            Some(replacement) => self.current.replace(replacement),
            None => Ok(()),
        }
    }
}

impl Writing {
    /// Makes the change, and returns once it and `content` are on the disk.
    pub(super) async fn commit(
        self,
        change: Change,
        content: Vec<PathBuf>,
    ) -> Result<(), LayoutError> {
        let writer = &self.0;
        let (done, mut answer) = oneshot::channel();
        {
            let mut queue = guard(&writer.queue);
            queue.waiting.push(Request {
                change,
                content,
                done,
            });
            queue.since.get_or_insert_with(Instant::now);
        }
        // Whoever waits sees to the checkpoint, so that no task is needed that outlives them.
        writer.wake_if_due();
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                busy = writer.due() => writer.begin_checkpoint(busy),
            }
        };
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Arc::try_unwrap(error).unwrap_or_else(|error| error.again())),
            Err(_) => Err(LayoutError::Interrupted {
                path: writer.root.clone(),
            }),
        }
    }
}

impl Writer {
    /// Wakes one of those that wait where a checkpoint became due.
    fn wake_if_due(&self) {
        let now = Instant::now();
        let queue = guard(&self.queue);
        let due = queue.due(self.current.size(), now);
        if !queue.busy && due.is_some_and(|due| due <= now) {
            self.wake.notify_one();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.current.forget();
        }
        let mut queue = guard(&self.0.queue);
        queue.busy = false;
        if !queue.waiting.is_empty() {
            self.0.wake.notify_one();
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        guard(&self.0.queue).writing -= 1;
        self.0.wake_if_due();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        guard(&self.0.queue).announced -= 1;
        self.0.wake_if_due();
    }
}

/// Waits for the layout's lock; it is released when the file is dropped.
pub(super) fn lock(root: &Path, wait: Duration) -> Result<File, LayoutError> {
    let fail = |source| LayoutError::io("lock", root, source);
    let directory = File::open(root).map_err(fail)?;
    let start = std::time::Instant::now();
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) if start.elapsed() < wait => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(LayoutError::Locked {
                    path: root.to_owned(),
                    waited: wait,
                });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
    }
}

/// An index behind a link would be cut off from it by the first rewrite.
fn refuse_link(path: &Path) -> Result<(), LayoutError> {
    let metadata =
        fs::symlink_metadata(path).map_err(|source| LayoutError::io("look at", path, source))?;
    if metadata.is_symlink() {
        return Err(LayoutError::Link {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// A mutex is only ever held over code that leaves its content whole.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
