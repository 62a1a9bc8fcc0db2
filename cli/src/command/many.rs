//! What the commands that take many artifacts or files share: where the items come from, how many are
//! under way, and what is said when the user interrupts.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::stream::Stream;
use hardsign_core::batch::{Stop, Window};
use hardsign_core::text::WithCauses;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use super::Context;
use super::lines::{Lines, More, Position};
use crate::args::batch::Batch;
use crate::failure::Failure;
use crate::output::progress::Busy;

/// What messages and JSON call an item.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Name {
    /// As it was typed or listed.
    pub(super) text: String,
    /// The list that has it, and the number of its line there.
    pub(super) listed: Option<(Arc<str>, u64)>,
}

impl Name {
    /// Something that was typed.
    pub(super) fn typed(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            listed: None,
        }
    }

    pub(super) fn line(&self) -> Option<u64> {
        self.listed.as_ref().map(|(_, number)| *number)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listed {
            Some((list, number)) if self.text.is_empty() => write!(f, "{list} line {number}"),
            Some((list, number)) => write!(f, "{list} line {number}, {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The items of a batch: those that were typed, and then those of a list as it is read.
pub(super) struct Source<T> {
    /// Those whose turn is next.
    known: VecDeque<T>,
    listed: Option<Listed<T>>,
}

/// Items of a list that are made ready before their turn.
const AHEAD: usize = 16;

/// Items of a list.
pub(super) struct Listed<T> {
    pub(super) name: Arc<str>,
    pub(super) items: mpsc::Receiver<T>,
    pub(super) position: Arc<Position>,
}

/// The lines of a list on their way to becoming items: who makes items of them takes lines and hands
/// items on.
pub(super) struct Feed<T> {
    list: Arc<str>,
    lines: Lines,
    items: mpsc::Sender<T>,
}

impl<T> Feed<T> {
    /// The beginning of a list, and the other end, which takes the items.
    pub(super) fn new(lines: Lines) -> (Self, Listed<T>) {
        let (sender, items) = mpsc::channel(AHEAD);
        let list: Arc<str> = lines.name.clone().into();
        let listed = Listed {
            name: Arc::clone(&list),
            items,
            position: Arc::clone(&lines.position),
        };
        let feed = Self {
            list,
            lines,
            items: sender,
        };
        (feed, listed)
    }

    /// The next line by its name, and what it says beside that, or why it can't be used.
    pub(super) async fn next(&mut self) -> Option<(Name, Result<More, Failure>)> {
        let named = |text, number| Name {
            text,
            listed: Some((Arc::clone(&self.list), number)),
        };
        Some(match self.lines.next().await? {
            Ok(Ok(line)) => (named(line.name, line.number), Ok(line.more)),
            Ok(Err(bad)) => {
                let name = named(String::new(), bad.number);
                (name, Err(Failure::failed(bad.fault)))
            }
            Err(error) => {
                let fault = format!("failed to read {}: {}", self.list, WithCauses(&error));
                (Name::typed(&*self.list), Err(Failure::failed(fault)))
            }
        })
    }

    /// Hands an item of a line on; false once nobody takes more.
    pub(super) async fn hand_on(&self, item: T, line: Option<u64>) -> bool {
        // Noted first: who takes the item may be the one that stops at once and asks what is left.
        let Ok(place) = self.items.reserve().await else {
            return false;
        };
        self.lines.position.handed_on(line);
        place.send(item);
        true
    }

    /// All was handed on.
    pub(super) fn end(self) {
        self.lines.position.end();
    }
}

/// What of a batch was not begun.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Rest {
    pub(super) items: Vec<Name>,
    /// The list, and the number of the last line that was read of it.
    pub(super) list: Option<(Arc<str>, u64)>,
    /// Whether the list had nothing at all.
    pub(super) empty_list: Option<Arc<str>>,
}

impl<T> Source<T> {
    pub(super) fn new(known: Vec<T>, listed: Option<Listed<T>>) -> Self {
        Self {
            known: known.into(),
            listed,
        }
    }

    /// What is left, by name.
    pub(super) fn rest(mut self, name: impl Fn(T) -> Name) -> Rest {
        let mut rest = Rest {
            items: self.known.into_iter().map(&name).collect(),
            list: None,
            empty_list: None,
        };
        let Some(listed) = &mut self.listed else {
            return rest;
        };
        // Nothing more comes while it is looked at.
        listed.items.close();
        while let Ok(item) = listed.items.try_recv() {
            rest.items.push(name(item));
        }
        if !listed.position.is_at_end() {
            rest.list = Some((Arc::clone(&listed.name), listed.position.line()));
        } else if listed.position.named() == 0 {
            rest.empty_list = Some(Arc::clone(&listed.name));
        }
        rest
    }
}

impl<T: Unpin> Stream for Source<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<T>> {
        if let Some(item) = self.known.pop_front() {
            return Poll::Ready(Some(item));
        }
        let Self { known, listed } = &mut *self;
        let Some(listed) = listed else {
            return Poll::Ready(None);
        };
        // All that is there: whoever makes them ready is woken once, and not for each.
        let mut items = Vec::new();
        ready!(listed.items.poll_recv_many(task, &mut items, AHEAD));
        known.extend(items);
        Poll::Ready(known.pop_front())
    }
}

/// Does what may block on a thread of its own, so that nothing else of the batch waits for it.
pub(super) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The command ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A place among the files that are read at a time. What is no file of a disk may never come, and takes none
/// from those that are.
pub(super) async fn place<'a>(reading: &'a Semaphore, blob: &str) -> Option<SemaphorePermit<'a>> {
    match is_file(blob) {
        true => reading.acquire().await.ok(),
        false => None,
    }
}

/// Whether a name is that of a regular file, not of a pipe or a device; nothing is opened.
pub(super) fn is_file(path: &str) -> bool {
    size(path).is_some()
}

/// The size of a regular file in bytes; nothing for a pipe or a device, and nothing is opened.
pub(super) fn size(path: &str) -> Option<u64> {
    let found = std::fs::metadata(path).ok();
    let found = found.filter(|found| path != "-" && found.is_file());
    found.map(|found| found.len())
}

/// How many processors there are to work with.
pub(super) fn cores() -> usize {
    available_parallelism().map_or(2, usize::from).max(2)
}

/// How much is under way: enough for `in_flight` at the signer, and round trips, hashing and checks
/// beside it, or what the user asks for. `waiting` more may wait to be written together.
pub(super) fn window(batch: &Batch, in_flight: usize, waiting: usize) -> Window {
    let most = in_flight.saturating_mul(2).saturating_add(ROUND_TRIPS);
    let working = batch.jobs.map_or(most.min(MOST), usize::from);
    Window {
        working,
        begun: working.saturating_mul(2).saturating_add(waiting),
        in_order: !batch.json_lines,
    }
}

/// The same for work that keeps the processor busy on as many threads as there are processors: enough for them to go on
/// while results are printed.
pub(super) fn window_of_threads(batch: &Batch) -> Window {
    let window = window(batch, 0, 0);
    let most = cores().saturating_mul(AHEAD);
    Window {
        working: window.working.min(most),
        ..window
    }
}

/// Ends a batch when the user interrupts it, and says what is waited for then.
pub(super) fn stop(
    what: &'static str,
    context: &Context,
) -> Stop<impl Future<Output = ()>, impl FnOnce(usize)> {
    let interrupt = context.interrupts.interrupt().clone();
    let console = Arc::clone(&context.console);
    Stop {
        raised: async move { interrupt.raised().await },
        waiting: move |count| {
            if count > 0 {
                console.notice(format_args!(
                    "Interrupted: waiting up to {} seconds for {what} under way: {count}",
                    FAREWELL.as_secs()
                ));
            }
        },
        farewell: FAREWELL,
    }
}

/// Says that a part of a batch is empty: with many parts one may be, and that is no failure.
pub(super) fn nothing_here(context: &Context) {
    context
        .console
        .notice("No item of the batch is in this shard");
}

/// Tells of the progress of a batch of which `known` items were typed.
pub(super) async fn progress(what: &str, known: usize, batch: &Batch, context: &Context) -> Busy {
    let console = &context.console;
    let Some(list) = &batch.from_file else {
        return console.progress(what, known);
    };
    let listed = match console.shows_progress() {
        true => {
            let (list, shard) = (list.clone(), batch.shard);
            apart(move || super::lines::count(&list, shard)).await
        }
        false => None,
    };
    let known = u64::try_from(known).unwrap_or(u64::MAX);
    console.progress_of_list(what, listed.map(|listed| listed.saturating_add(known)))
}

/// Time for what is under way when the user interrupts; less than the command as a whole has.
const FAREWELL: Duration = Duration::from_secs(2);

/// Items beside those at the signer: so many round trips to a registry far away overlap.
const ROUND_TRIPS: usize = 96;

/// More than this many items under way help nobody.
const MOST: usize = 512;

/// Signatures that may wait to be written to a layout together. Each costs a few thousand bytes of memory;
/// at the rate of the fastest token they are those of a second, after which they are written anyway.
pub(super) const WAITING: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(channel: mpsc::Receiver<u64>, position: &Arc<Position>) -> Option<Listed<u64>> {
        Some(Listed {
            name: "refs.txt".into(),
            items: channel,
            position: Arc::clone(position),
        })
    }

    /// What was typed and not begun is left, and of a list what comes after the last line that was
    /// handed on, however far it was read ahead.
    #[tokio::test]
    async fn the_rest_of_a_list_is_known() {
        use futures_util::stream::StreamExt as _;
        let position = Arc::new(Position::default());
        let (sender, channel) = mpsc::channel(2);
        for line in [1, 2] {
            sender.send(line).await.unwrap();
            position.handed_on(Some(line));
        }
        let mut source = Source::new(vec![100], listed(channel, &position));
        assert_eq!(source.next().await, Some(100));
        assert_eq!(source.next().await, Some(1));
        let rest = source.rest(|item: u64| Name::typed(item.to_string()));
        assert_eq!(
            (rest.items, rest.list),
            (vec![Name::typed("2")], Some(("refs.txt".into(), 2)))
        );
        assert!(sender.send(3).await.is_err());
        // One that was read to its end, and had nothing.
        let (sender, channel) = mpsc::channel(2);
        let position = Arc::new(Position::default());
        position.end();
        drop(sender);
        let mut source = Source::new(vec![], listed(channel, &position));
        assert_eq!(source.next().await, None);
        let rest = source.rest(|item: u64| Name::typed(item.to_string()));
        assert_eq!(
            (rest.list, rest.empty_list),
            (None, Some("refs.txt".into()))
        );
    }
}
