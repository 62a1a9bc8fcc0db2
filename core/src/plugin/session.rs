//! Sessions: one plugin process for everything that a command asks of it (`HARDSIGN.SESSION`).
//!
//! Newline-delimited JSON in both directions: requests with ids, answers in any order, events in
//! between. Generic over reader and writer, so that it is tested without a process; nothing here
//! knows what a signature is, and nothing is retried.
//!
//! What must hold: at most `maxInFlight` requests are under way, each has a clock, and any breach of
//! the protocol ends the session with one error that every request under way then has. The caller
//! must end the process of a session that broke.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hardsign_plugin::algorithm::HashAlgorithm;
use hardsign_plugin::frame::FrameError;
use hardsign_plugin::proto::{
    Base64, ErrorResponse, OPEN, OpenRequest, OpenResponse, SIGN_DIGEST, SessionSignRequest,
    SessionSignResponse, SignatureScheme,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::interrupt::Interrupt;
use crate::event::Listener;
use crate::json::{JsonError, shortened};
use driver::{Driver, Message, Outgoing};

mod driver;

/// How a session broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The plugin closed its stdout or ended, with requests still to be answered.
    #[error("it ended its session before every request was answered")]
    Ended,
    /// A line that is too long, or half a line at the end.
    #[error("its session is unreadable")]
    Frame(#[source] FrameError),
    /// A line that is no message of the protocol.
    #[error("it wrote a line that is not a session message: {line:?}")]
    Line {
        /// The start of the line, escaped.
        line: String,
        /// What the parser said.
        #[source]
        source: JsonError,
    },
    /// An answer of the wrong shape.
    #[error("it answered {command} with something else than the protocol's answer")]
    Answer {
        /// The command.
        command: &'static str,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// An answer to a request that is not under way.
    #[error("it answered request {id}, which is not under way")]
    UnknownId {
        /// The id as answered.
        id: u64,
    },
    /// A notice about a request that is not under way.
    #[error("it sent a notice about request {id}, which is not under way")]
    UnknownNotice {
        /// The id as given.
        id: u64,
    },
    /// More notices than the protocol allows.
    #[error("it sent more than {limit} notices for one request")]
    TooManyNotices {
        /// The limit.
        limit: u32,
    },
    /// More events than anything sensible sends between two answers.
    #[error("it sent more than {limit} events between two answers")]
    TooManyEvents {
        /// The limit.
        limit: u32,
    },
    /// A prompt that begins or ends twice.
    #[error("it sent {event} out of turn")]
    OutOfTurn {
        /// The event.
        event: &'static str,
    },
    /// No requests allowed under way.
    #[error("it allows no request under way")]
    NoneInFlight,
    /// A request was not answered in time.
    // PLG-11
    #[error("it did not answer {command} within {} seconds", .after.as_secs_f32())]
    Clock {
        /// The command.
        command: &'static str,
        /// How long the request was given.
        after: Duration,
    },
    /// A person was waited for too long.
    #[error("it waited for a person for more than {} seconds", .after.as_secs_f32())]
    Person {
        /// How long was waited.
        after: Duration,
    },
    /// A pipe failed.
    #[error("its pipe failed")]
    Pipe(#[source] io::Error),
    /// It closed its stdin but kept its stdout open.
    #[error("it closed its stdin while requests were being sent")]
    StdinClosed,
    /// The user interrupted the work.
    #[error("interrupted")]
    Interrupted,
    /// The session was closed by us.
    #[error("the session is closed")]
    Closed,
}

impl SessionError {
    /// Whether the process went away, as against breaking the protocol or hanging. Such a session
    /// may be started again, once and only if it had signed.
    pub fn is_death(&self) -> bool {
        matches!(
            self,
            Self::Ended
                | Self::StdinClosed
                | Self::Pipe(_)
                | Self::Frame(FrameError::Unfinished { .. })
        )
    }
}

/// An answer: the transport's result outside, the plugin's inside.
pub type SessionAnswer<T> = Result<Result<T, ErrorResponse>, Arc<SessionError>>;

/// How long a session's requests may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionClocks {
    /// For each request, from being sent to its answer.
    pub request: Duration,
    /// For a person, wherever one is waited for.
    pub person: Duration,
    /// For the plugin to end after it stopped reading.
    pub farewell: Duration,
}

/// Who hears of a session's notices, prompts and messages, and of which plugin.
#[derive(Clone, Debug)]
pub struct SessionListener {
    /// The plugin's name.
    pub plugin: String,
    /// Who hears.
    pub listener: Listener,
}

/// An open session. Dropping it closes the plugin's stdin, which ends the session.
#[derive(Debug)]
pub struct Session {
    messages: mpsc::UnboundedSender<Message>,
    broken: Arc<OnceLock<Arc<SessionError>>>,
    permits: Arc<Semaphore>,
    /// How many permits there are, free or in use.
    allowed: Mutex<u32>,
    driver: JoinHandle<()>,
    interrupt: Interrupt,
}

impl Session {
    /// Takes over the two ends of a pipe. Nothing is asked yet.
    pub fn start<R, W>(
        reader: R,
        writer: W,
        clocks: SessionClocks,
        heard: SessionListener,
        interrupt: &Interrupt,
    ) -> Self
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let (messages, incoming) = mpsc::unbounded_channel();
        let broken = Arc::new(OnceLock::new());
        let driver = Driver::new(reader, writer, incoming, clocks, heard);
        let told = Arc::clone(&broken);
        Self {
            messages,
            broken,
            permits: Arc::new(Semaphore::new(1)),
            allowed: Mutex::new(1),
            driver: tokio::spawn(async move { driver.run(&told).await }),
            interrupt: interrupt.clone(),
        }
    }

    /// Opens the session for a key, or without a key id for the key store; from then on as many
    /// requests may be under way as the last answer to an `open` allows.
    ///
    /// # Errors
    /// Outside: the session broke. Inside: the plugin refused.
    pub async fn open(&self, request: &OpenRequest) -> SessionAnswer<OpenResponse> {
        let opened: OpenResponse = match self.request(OPEN, request, None).await? {
            Ok(opened) => opened,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if opened.max_in_flight == 0 {
            return Err(self.break_with(SessionError::NoneInFlight));
        }
        self.allow(opened.max_in_flight).await;
        Ok(Ok(opened))
    }

    /// Sets how many requests may be under way. Where there are more already, it waits for their answers.
    async fn allow(&self, max_in_flight: u32) {
        let most = max_in_flight.min(MAX_IN_FLIGHT);
        let mut allowed = self.allowed.lock().await;
        if most < *allowed {
            let surplus = allowed.saturating_sub(most);
            // The semaphore is never closed.
            if let Ok(permits) = self.permits.acquire_many(surplus).await {
                permits.forget();
            }
        } else {
            let more = usize::try_from(most.saturating_sub(*allowed));
            self.permits.add_permits(more.unwrap_or_default());
        }
        *allowed = most;
    }

    /// Asks for a signature over a digest, by the scheme that goes with the key if none is named;
    /// waits while as many requests as allowed are under way.
    ///
    /// # Errors
    /// Outside: the session broke, now or before. Inside: the plugin refused this request.
    pub async fn sign_digest(
        &self,
        digest: &[u8],
        hash: HashAlgorithm,
        scheme: Option<SignatureScheme>,
    ) -> SessionAnswer<Base64> {
        let request = SessionSignRequest {
            digest: Base64(digest.to_vec()),
            hash_algorithm: hash,
            signature_scheme: scheme,
        };
        let answer: Result<SessionSignResponse, _> =
            self.request(SIGN_DIGEST, &request, None).await?;
        Ok(answer.map(|response| response.signature))
    }

    /// Closes the plugin's stdin, which ends the session; requests that are under way fail.
    pub fn close(&self) {
        // A driver that is gone has closed it already.
        let _gone = self.messages.send(Message::Close);
    }

    /// Asks anything else. `clock` is how long the answer may take, if not as long as usual.
    ///
    /// # Errors
    /// Outside: the session broke, now or before. Inside: the plugin refused this request.
    pub(super) async fn request<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: &'static str,
        request: &Q,
        clock: Option<Duration>,
    ) -> SessionAnswer<A> {
        if self.interrupt.is_raised() {
            return Err(Arc::new(SessionError::Interrupted));
        }
        let answer = tokio::select! {
            // What was answered when the interrupt came is not lost.
            biased;
            answer = self.exchange(command, request, clock) => answer?,
            () = self.interrupt.raised() => return Err(Arc::new(SessionError::Interrupted)),
        };
        match answer {
            Ok(response) => match A::deserialize(response) {
                Ok(answer) => Ok(Ok(answer)),
                Err(source) => {
                    let source = shortened(source);
                    Err(self.break_with(SessionError::Answer { command, source }))
                }
            },
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn exchange<Q: Serialize>(
        &self,
        command: &'static str,
        request: &Q,
        clock: Option<Duration>,
    ) -> SessionAnswer<Value> {
        let closed = || {
            self.error()
                .unwrap_or_else(|| Arc::new(SessionError::Closed))
        };
        let permit: OwnedSemaphorePermit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| closed())?;
        let request = serde_json::to_value(request)
            .map_err(|source| self.break_with(SessionError::Answer { command, source }))?;
        let (reply, answer) = oneshot::channel();
        let outgoing = Outgoing {
            command,
            request,
            clock,
            reply,
            // Kept until the answer is there, also when the caller lost its patience in between:
            // the plugin is still at work on the request.
            permit,
        };
        self.messages
            .send(Message::Request(outgoing))
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }

    /// How the session broke, if it did.
    pub fn error(&self) -> Option<Arc<SessionError>> {
        self.broken.get().cloned()
    }

    /// Ends the session for a reason that the driver can't see.
    fn break_with(&self, error: SessionError) -> Arc<SessionError> {
        let error = Arc::clone(self.broken.get_or_init(|| Arc::new(error)));
        self.driver.abort();
        error
    }
}

/// Requests under way at most, whatever the plugin allows.
const MAX_IN_FLIGHT: u32 = 256;

/// A session that is open for the key of the request.
#[cfg(test)]
async fn opened<R, W>(
    reader: R,
    writer: W,
    request: &OpenRequest,
    clocks: SessionClocks,
    heard: SessionListener,
    interrupt: &Interrupt,
) -> SessionAnswer<(Session, OpenResponse)>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let session = Session::start(reader, writer, clocks, heard, interrupt);
    let opened = session.open(request).await?;
    Ok(opened.map(|opened| (session, opened)))
}

#[cfg(test)]
fn nobody() -> SessionListener {
    SessionListener {
        plugin: "p".to_owned(),
        listener: Listener::NOBODY,
    }
}

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
