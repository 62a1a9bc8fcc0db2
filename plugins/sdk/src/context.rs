//! What a plugin may do beside answering: tell the user something, ask for a PIN.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Error;
use crate::frame::{FrameError, write_line};
use crate::os::Cancellation;
use crate::proto::{SessionEvent, SessionLine};
use crate::secret::{self, Exposure, PinError, PinSource, Secret, SecretError};
use crate::text::escaped;

/// Longest notice in characters; the host shows no more.
const MAX_NOTICE: usize = 200;

/// How long a question waits after the host was told of it. Nothing says that the host has heard, and when it has, it
/// wipes the line that its progress was on, which must not have the question by then.
const HEARD: Duration = Duration::from_millis(50);

/// The way from a plugin to its user while it serves a request.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    outlet: &'a dyn Outlet,
    request: Option<u64>,
    /// When the request came.
    since: Instant,
}

/// Where notices and questions of a process go.
trait Outlet: Sync {
    /// Whether the host hears of events.
    fn is_session(&self) -> bool;

    /// Tells the host, if it is a session.
    fn event(&self, event: SessionEvent);

    /// Held while a person is asked, so that questions don't overlap.
    fn asking(&self) -> &Mutex<()>;
}

/// The streams of this process.
pub(crate) struct Channel<'w> {
    /// The session's output; `None` for a one-shot command.
    output: Option<Output<'w>>,
    asking: Mutex<()>,
}

/// The session's output, one line at a time.
pub(crate) struct Output<'w>(Mutex<&'w mut (dyn Write + Send)>);

impl<'w> Output<'w> {
    pub(crate) fn new(writer: &'w mut (dyn Write + Send)) -> Self {
        Self(Mutex::new(writer))
    }
}

impl<'w> Channel<'w> {
    pub(crate) fn new(output: Option<Output<'w>>) -> Self {
        Self {
            output,
            asking: Mutex::new(()),
        }
    }

    /// Writes a line to the host; nothing in a one-shot command.
    pub(crate) fn write<T: Serialize>(&self, line: &T) -> Result<(), FrameError> {
        let Some(Output(writer)) = &self.output else {
            return Ok(());
        };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        write_line(&mut **writer, line)
    }
}

impl Outlet for Channel<'_> {
    fn is_session(&self) -> bool {
        self.output.is_some()
    }

    fn event(&self, event: SessionEvent) {
        // If the host has gone, the answer will find out.
        drop(self.write(&SessionLine::Event(event)));
    }

    fn asking(&self) -> &Mutex<()> {
        &self.asking
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(channel: &'a Channel<'_>, request: Option<u64>) -> Self {
        Self {
            outlet: channel,
            request,
            since: Instant::now(),
        }
    }

    /// The same for a request that came at another time.
    pub(crate) fn since(self, since: Instant) -> Self {
        Self { since, ..self }
    }
}

impl Context<'_> {
    /// Runs `test` with a context for tests of a plugin: notices go nowhere and nobody is asked.
    pub fn for_tests<T>(test: impl FnOnce(&Context<'_>) -> T) -> T {
        let mut nowhere = std::io::sink();
        let channel = Channel::new(Some(Output::new(&mut nowhere)));
        test(&Context::new(&channel, None))
    }

    /// Whether this is a session, in contrast to a one-shot command.
    pub fn is_session(&self) -> bool {
        self.outlet.is_session()
    }

    /// How long ago the request came, its wait for those before it included. A host waits 60 seconds for an
    /// answer; the time in which a person was asked does not count for it.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Tells the user something in one line of at most 200 characters; `wait` says how long the
    /// plugin will wait for the user to act.
    ///
    /// In a session the host shows it. A one-shot command has no way through the host, so the
    /// line goes to the terminal, if there is one.
    pub fn notice(&self, message: &str, wait: Option<Duration>) {
        let message: String = escaped(message).chars().take(MAX_NOTICE).collect();
        if !self.is_session() {
            secret::tell_terminal(&message);
            return;
        }
        self.outlet.event(SessionEvent::Notice {
            id: self.request,
            message,
            wait_seconds: wait.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)),
        });
    }

    /// Runs something that asks the user outside the host, for instance at a PIN pad: one
    /// question at a time, with the host's clocks stopped.
    pub fn while_asking<T>(&self, ask: impl FnOnce() -> T) -> T {
        let _turn = self
            .outlet
            .asking()
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.outlet.event(SessionEvent::Prompting);
        let _prompted = Prompted(self.outlet);
        if self.is_session() {
            thread::sleep(HEARD);
        }
        ask()
    }

    /// Gets a PIN from its source. `question` names what the PIN is for, for instance
    /// `PIN of token "T"`; it is shown where a person is asked.
    ///
    /// # Errors
    /// The source gave no PIN.
    pub fn pin(&self, source: &PinSource, question: &str) -> Result<Secret, PinError> {
        match source {
            PinSource::Pinentry => self.ask(question, secret::ask_pinentry),
            PinSource::Prompt => self.ask(question, secret::ask_terminal),
            source => self.read(source, "PIN", secret::MAX_PIN),
        }
    }

    /// Gets a secret that is no PIN, for instance a token for a login, of at most
    /// [`MAX_SECRET`](secret::MAX_SECRET) bytes. `what` names it in messages, for instance `JWT`.
    ///
    /// # Errors
    /// The source gave none, or it is one that asks a person.
    pub fn secret(&self, source: &PinSource, what: &str) -> Result<Secret, Error> {
        self.read(source, what, secret::MAX_SECRET).map_err(|why| {
            SecretError {
                what: what.to_owned(),
                why,
            }
            .into()
        })
    }

    /// Reads a source that asks nobody.
    fn read(&self, source: &PinSource, what: &str, most: usize) -> Result<Secret, PinError> {
        match source {
            PinSource::Environment(name) => secret::read_environment(name, most),
            PinSource::File(path) => {
                let (read, exposure) = secret::read_file(path, most)?;
                if exposure == Exposure::WorldReadable {
                    let path = path.display();
                    self.notice(
                        &format!("{what} file {path} can be read by every user"),
                        None,
                    );
                }
                Ok(read)
            }
            PinSource::Descriptor(number) if self.is_session() => {
                secret::read_descriptor(*number, most)
            }
            PinSource::Descriptor(number) => {
                Err(PinError::DescriptorOutsideSession { number: *number })
            }
            PinSource::Pinentry | PinSource::Prompt => Err(PinError::Unknown {
                text: source.to_string(),
            }),
        }
    }

    /// Gets a new PIN from its source; where a person is asked, twice.
    ///
    /// # Errors
    /// The source gave no PIN, or the person did not type the same both times.
    pub fn new_pin(&self, source: &PinSource, question: &str) -> Result<Secret, PinError> {
        let pin = self.pin(source, question)?;
        if source.asks_a_person() {
            let again = self.pin(source, &format!("{question}, again"))?;
            if pin.expose() != again.expose() {
                return Err(PinError::Differ);
            }
        }
        Ok(pin)
    }

    /// Whether there is a terminal to show something at.
    pub fn has_terminal(&self) -> bool {
        secret::has_terminal()
    }

    /// Shows a secret that was made here, once: on the terminal, past the host and its logs. Waits until
    /// the user has pressed Enter.
    ///
    /// # Errors
    /// There is no terminal, or the user did not press Enter.
    pub fn show_secret(&self, what: &str, shown: &Secret) -> Result<(), PinError> {
        let cancellation =
            Cancellation::of_process().map_err(|source| PinError::Terminal { source })?;
        self.while_asking(|| secret::show_terminal(what, shown, cancellation))
    }

    fn ask(
        &self,
        question: &str,
        ask: impl FnOnce(&str, &Cancellation) -> Result<Secret, PinError>,
    ) -> Result<Secret, PinError> {
        let cancellation =
            Cancellation::of_process().map_err(|source| PinError::Terminal { source })?;
        self.while_asking(|| ask(question, cancellation))
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("session", &self.is_session())
            .field("request", &self.request)
            .finish()
    }
}

/// Says that the question is over, also after a panic.
struct Prompted<'a>(&'a dyn Outlet);

impl Drop for Prompted<'_> {
    fn drop(&mut self) {
        self.0.event(SessionEvent::Prompted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(act: impl FnOnce(&Context<'_>)) -> String {
        let mut written = Vec::new();
        {
            let channel = Channel::new(Some(Output::new(&mut written)));
            act(&Context::new(&channel, Some(7)));
        }
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_notice_is_one_bounded_line_with_its_request() {
        let written = events(|context| {
            context.notice("Touch\nthe \u{1b}key", Some(Duration::from_secs(15)));
        });
        assert_eq!(
            written,
            "{\"event\":\"notice\",\"id\":7,\"message\":\"Touch\\\\nthe \\\\u{1b}key\",\"waitSeconds\":15}\n"
        );
        let long = events(|context| context.notice(&"é".repeat(500), None));
        assert_eq!(long.matches('é').count(), MAX_NOTICE);
    }

    #[test]
    fn a_question_stands_between_its_events() {
        let written = events(|context| context.while_asking(|| ()));
        assert_eq!(
            written,
            "{\"event\":\"prompting\"}\n{\"event\":\"prompted\"}\n"
        );
    }

    /// What waited for others has less time left.
    #[test]
    fn a_request_is_as_old_as_its_line() {
        let channel = Channel::new(None);
        let hour = Duration::from_secs(3600);
        let context = Context::new(&channel, None);
        assert!(context.elapsed() < hour);
        let Some(long_ago) = Instant::now().checked_sub(hour) else {
            return;
        };
        assert!(context.since(long_ago).elapsed() >= hour);
    }

    #[test]
    fn a_descriptor_is_for_sessions() {
        let channel = Channel::new(None);
        let error = Context::new(&channel, None).pin(&PinSource::Descriptor(9), "PIN");
        assert!(matches!(
            error,
            Err(PinError::DescriptorOutsideSession { number: 9 })
        ));
    }
}
