//! The task that owns both ends of a session's pipe.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hardsign_plugin::frame::{LineSplitter, MAX_LINE};
use hardsign_plugin::proto::{ErrorResponse, SessionEvent, SessionLine, SessionRequest};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{SessionClocks, SessionError, SessionListener};
use crate::event::{Event, Observer as _};
use crate::json;
use crate::plugin::messages;
use crate::plugin::text::{Lines, escaped, without_pin};

/// What the session tells its driver.
#[derive(Debug)]
pub(super) enum Message {
    /// Send this.
    Request(Outgoing),
    /// Send nothing more.
    Close,
}

/// A request that is to be sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) command: &'static str,
    pub(super) request: Value,
    /// How long the answer may take, if not as long as usual.
    pub(super) clock: Option<Duration>,
    pub(super) reply: oneshot::Sender<Result<Value, ErrorResponse>>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A request that is under way.
struct Pending {
    command: &'static str,
    /// When it was sent.
    sent: Instant,
    /// When its clock runs out.
    deadline: Instant,
    /// What its clock was set to.
    allowed: Duration,
    notices: u32,
    reply: oneshot::Sender<Result<Value, ErrorResponse>>,
    _permit: OwnedSemaphorePermit,
}

/// Which clock runs out next.
#[derive(Clone, Copy)]
enum Alarm {
    Request {
        command: &'static str,
        allowed: Duration,
    },
    Person,
    /// The plugin stopped reading, or was asked to end.
    Farewell,
}

pub(super) struct Driver<R, W> {
    reader: R,
    /// `None` once stdin is closed.
    writer: Option<W>,
    incoming: mpsc::UnboundedReceiver<Message>,
    clocks: SessionClocks,
    heard: SessionListener,
    splitter: LineSplitter,
    unsent: VecDeque<u8>,
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
    /// Since when the plugin asks on the terminal.
    prompting: Option<Instant>,
    /// What is left for the person, until the next answer.
    person_left: Duration,
    /// Events since the last answer.
    events: u32,
    /// Notices that are about no request, since the last answer.
    notices: u32,
    /// By when the plugin has to end, after it stopped reading or stdin was closed.
    farewell: Option<Instant>,
    /// Whether nothing more will be sent.
    closing: bool,
}

impl<R, W> Driver<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    pub(super) fn new(
        reader: R,
        writer: W,
        incoming: mpsc::UnboundedReceiver<Message>,
        clocks: SessionClocks,
        heard: SessionListener,
    ) -> Self {
        Self {
            reader,
            writer: Some(writer),
            incoming,
            clocks,
            heard,
            splitter: LineSplitter::new(MAX_LINE),
            unsent: VecDeque::new(),
            pending: BTreeMap::new(),
            next_id: 1,
            prompting: None,
            person_left: clocks.person,
            events: 0,
            notices: 0,
            farewell: None,
            closing: false,
        }
    }

    /// Works until the session breaks or is closed, and says why before any waiting request learns
    /// that it won't be answered.
    pub(super) async fn run(mut self, broken: &OnceLock<Arc<SessionError>>) {
        let error = match self.work().await {
            Ok(()) => SessionError::Closed,
            Err(error) => error,
        };
        broken.get_or_init(|| Arc::new(error));
    }

    async fn work(&mut self) -> Result<(), SessionError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            let alarm = self.next_alarm();
            let deadline = alarm.map_or_else(Instant::now, |(deadline, _)| deadline);
            tokio::select! {
                count = self.reader.read(&mut chunk) => match count {
                    Ok(0) => return self.end_of_stream(),
                    Ok(count) => self.read(chunk.get(..count).unwrap_or_default())?,
                    Err(error) => return Err(SessionError::Pipe(error)),
                },
                message = self.incoming.recv(), if !self.closing => match message {
                    Some(Message::Request(outgoing)) => self.send(outgoing)?,
                    Some(Message::Close) | None => self.close(),
                },
                written = write_some(&mut self.writer, &self.unsent), if self.has_unsent() => {
                    self.wrote(written);
                }
                () = sleep_until(deadline), if alarm.is_some() => {
                    return alarm.map_or(Ok(()), |(_, alarm)| self.ring(alarm));
                }
            }
        }
    }

    /// Closes stdin; the plugin gets a while to end.
    fn close(&mut self) {
        self.closing = true;
        self.incoming.close();
        self.stop_writing();
    }

    fn stop_writing(&mut self) {
        self.writer = None;
        self.unsent.clear();
        self.farewell = Some(after(Instant::now(), self.clocks.farewell));
    }

    fn has_unsent(&self) -> bool {
        self.writer.is_some() && !self.unsent.is_empty()
    }

    /// Notes what was written. A plugin that no longer reads may still have answered, so reading
    /// goes on for a while.
    fn wrote(&mut self, written: std::io::Result<usize>) {
        match written {
            Ok(count @ 1..) => {
                self.unsent.drain(..count.min(self.unsent.len()));
            }
            Ok(0) | Err(_) => self.stop_writing(),
        }
    }

    fn end_of_stream(&self) -> Result<(), SessionError> {
        self.splitter.finish().map_err(SessionError::Frame)?;
        if self.closing {
            Ok(())
        } else {
            Err(SessionError::Ended)
        }
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<(), SessionError> {
        let Outgoing {
            command,
            request,
            clock,
            reply,
            permit,
        } = outgoing;
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let line = SessionRequest {
            id,
            command: command.into(),
            request,
        };
        let bytes =
            serde_json::to_vec(&line).map_err(|source| SessionError::Answer { command, source })?;
        self.unsent.extend(bytes);
        self.unsent.push_back(b'\n');
        messages::request(&self.heard.listener, command, &line.request);
        let sent = Instant::now();
        let allowed = clock.unwrap_or(self.clocks.request);
        let pending = Pending {
            command,
            sent,
            deadline: after(sent, allowed),
            allowed,
            notices: 0,
            reply,
            _permit: permit,
        };
        self.pending.insert(id, pending);
        Ok(())
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.splitter.feed(bytes);
        while let Some(line) = self.splitter.next_line().map_err(SessionError::Frame)? {
            let parsed = json::from_slice(&line).map_err(|source| SessionError::Line {
                line: escaped(&String::from_utf8_lossy(&line), SHOWN, Lines::Escape),
                source,
            })?;
            messages::response(&self.heard.listener, "session", &line);
            match parsed {
                SessionLine::Response { id, response } => self.answer(id, Ok(response))?,
                SessionLine::Error { id, error } => self.answer(id, Err(error))?,
                SessionLine::Event(event) => self.event(event)?,
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        id: u64,
        answer: Result<Value, ErrorResponse>,
    ) -> Result<(), SessionError> {
        let pending = self
            .pending
            .remove(&id)
            .ok_or(SessionError::UnknownId { id })?;
        self.events = 0;
        self.notices = 0;
        self.person_left = self.clocks.person;
        // Who asked may have stopped waiting; the answer is then of no use.
        let _unwanted = pending.reply.send(answer);
        Ok(())
    }

    fn event(&mut self, event: SessionEvent) -> Result<(), SessionError> {
        self.events = self.events.saturating_add(1);
        if self.events > MAX_EVENTS {
            return Err(SessionError::TooManyEvents { limit: MAX_EVENTS });
        }
        match event {
            SessionEvent::Notice {
                id,
                message,
                wait_seconds,
            } => self.notice(id, &message, wait_seconds),
            SessionEvent::Prompting => self.prompting(),
            SessionEvent::Prompted => self.prompted(),
            // An event of a newer version.
            _ => Ok(()),
        }
    }

    fn notice(
        &mut self,
        id: Option<u64>,
        message: &str,
        wait_seconds: Option<u32>,
    ) -> Result<(), SessionError> {
        let wait =
            wait_seconds.map(|seconds| Duration::from_secs(seconds.into()).min(self.clocks.person));
        let notices = match id {
            Some(id) => {
                let pending = self
                    .pending
                    .get_mut(&id)
                    .ok_or(SessionError::UnknownNotice { id })?;
                pending.notices = pending.notices.saturating_add(1);
                if pending.notices == 1 {
                    // The clock is put back once, to what the plugin will wait if that is longer.
                    pending.allowed = pending.allowed.max(wait.unwrap_or_default());
                    pending.sent = Instant::now();
                    pending.deadline = after(pending.sent, pending.allowed);
                }
                pending.notices
            }
            None => {
                self.notices = self.notices.saturating_add(1);
                self.notices
            }
        };
        if notices > MAX_NOTICES {
            return Err(SessionError::TooManyNotices { limit: MAX_NOTICES });
        }
        let SessionListener { plugin, listener } = &self.heard;
        listener.observe(&Event::PluginNotice {
            plugin,
            message: &escaped(&without_pin(message), NOTICE, Lines::Escape),
            wait,
        });
        Ok(())
    }

    fn prompting(&mut self) -> Result<(), SessionError> {
        if self.prompting.is_some() {
            return Err(SessionError::OutOfTurn { event: "prompting" });
        }
        self.prompting = Some(Instant::now());
        let SessionListener { plugin, listener } = &self.heard;
        listener.observe(&Event::PluginPrompting { plugin });
        Ok(())
    }

    /// Sets all clocks forward by the time that the person took.
    fn prompted(&mut self) -> Result<(), SessionError> {
        let began = self
            .prompting
            .take()
            .ok_or(SessionError::OutOfTurn { event: "prompted" })?;
        let now = Instant::now();
        self.person_left = self.person_left.saturating_sub(now.duration_since(began));
        for pending in self.pending.values_mut() {
            let paused = now.saturating_duration_since(began.max(pending.sent));
            pending.deadline = after(pending.deadline, paused);
        }
        let SessionListener { plugin, listener } = &self.heard;
        listener.observe(&Event::PluginPrompted { plugin });
        Ok(())
    }

    /// The clock that runs out next, and when.
    fn next_alarm(&self) -> Option<(Instant, Alarm)> {
        let clock = match self.prompting {
            Some(began) => Some((after(began, self.person_left), Alarm::Person)),
            None => self
                .pending
                .values()
                .min_by_key(|pending| pending.deadline)
                .map(|pending| {
                    let alarm = Alarm::Request {
                        command: pending.command,
                        allowed: pending.allowed,
                    };
                    (pending.deadline, alarm)
                }),
        };
        let farewell = self.farewell.map(|deadline| (deadline, Alarm::Farewell));
        clock
            .into_iter()
            .chain(farewell)
            .min_by_key(|(deadline, _)| *deadline)
    }

    fn ring(&self, alarm: Alarm) -> Result<(), SessionError> {
        match alarm {
            Alarm::Farewell if self.closing => Ok(()),
            Alarm::Farewell => Err(SessionError::StdinClosed),
            Alarm::Person => Err(SessionError::Person {
                after: self.clocks.person,
            }),
            Alarm::Request { command, allowed } => Err(SessionError::Clock {
                command,
                after: allowed,
            }),
        }
    }
}

/// Writes what the pipe takes. `None` never returns.
async fn write_some<W: AsyncWrite + Unpin>(
    writer: &mut Option<W>,
    unsent: &VecDeque<u8>,
) -> std::io::Result<usize> {
    let (front, _) = unsent.as_slices();
    match writer {
        Some(writer) => writer.write(front).await,
        None => std::future::pending().await,
    }
}

/// `instant` and a duration; one too far away is as good as a day.
fn after(instant: Instant, duration: Duration) -> Instant {
    instant
        .checked_add(duration)
        .or_else(|| instant.checked_add(Duration::from_secs(86_400)))
        .unwrap_or(instant)
}

/// Notices for one request.
const MAX_NOTICES: u32 = 10;

/// Events of all kinds between two answers: more than all notices of all requests.
const MAX_EVENTS: u32 = 4096;

/// Characters of a notice.
const NOTICE: usize = 200;

/// Characters shown of a line that is no message.
const SHOWN: usize = 120;

/// Bytes read at once.
const CHUNK: usize = 16 << 10;
