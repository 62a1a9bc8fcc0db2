//! A session: requests are read ahead on a thread of their own, since a token call blocks; what
//! answers them, and how many at once, is the engine's.
//!
//! What must hold: the key store is asked for a key once. A failure to open it, and a denial of
//! whatever came before, answers every later request too.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::handler::{Handler, Opened, json};
use super::{cancel_questions, commands, guarded, malformed};
use crate::Error;
use crate::asynchronous::AsyncPlugin;
use crate::context::{Channel, Context};
use crate::error::{ErrorCode, ErrorResponse};
use crate::frame::{FrameError, LineReader, MAX_LINE};
use crate::proto::{Command, OPEN, SIGN_DIGEST};

/// Requests that are read ahead; a host that sends more has to wait.
pub(super) const QUEUE: usize = 256;

/// A request of the host's, whose own members are read by the command that it is for.
#[derive(Deserialize)]
pub(super) struct Request {
    id: u64,
    command: String,
    #[serde(default)]
    request: Option<Box<RawValue>>,
    /// When it was read: the host's clock runs from then on.
    #[serde(skip, default = "Instant::now")]
    arrived: Instant,
}

impl Request {
    fn bytes(&self) -> &[u8] {
        self.request
            .as_ref()
            .map_or("{}", |raw| raw.get())
            .as_bytes()
    }
}

/// What came from the host: a request, or the reason why nothing can follow.
pub(super) type Incoming = Result<Request, FrameError>;

/// Reads requests on a thread until the host closes the session or `hand_on` says no.
pub(super) fn read_requests(
    input: impl Read + Send + 'static,
    hand_on: impl Fn(Incoming) -> bool + Send + 'static,
) {
    // Not joined: if the host stops reading answers but keeps stdin open, it may never end.
    std::thread::spawn(move || {
        let mut lines = LineReader::new(input, MAX_LINE);
        loop {
            let request = match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => serde_json::from_slice(&line).map_err(FrameError::NotJson),
                Err(error) => Err(error),
            };
            let last = request.is_err();
            if !hand_on(request) || last {
                break;
            }
        }
        drop(hand_on);
        cancel_questions();
    });
}

/// A session's state, whoever drives it.
pub(super) struct Session<'a, 'w, P> {
    handler: Handler<'a, P>,
    channel: &'a Channel<'w>,
    /// The most requests under way that the engine can do.
    most: u32,
    /// Whether a session of the key store is open.
    store: AtomicBool,
    /// Why nothing is asked of the key store any more.
    failure: OnceLock<Error>,
    /// The stream can't be read or written any more.
    broken: AtomicBool,
}

impl<'a, 'w, P: AsyncPlugin> Session<'a, 'w, P> {
    pub(super) fn new(plugin: &'a P, channel: &'a Channel<'w>, most: u32) -> Self {
        Self {
            handler: Handler::new(plugin),
            channel,
            most,
            store: AtomicBool::new(false),
            failure: OnceLock::new(),
            broken: AtomicBool::new(false),
        }
    }

    /// Takes what came from the host; `None` when the session is over.
    pub(super) fn accept(&self, incoming: Option<Incoming>) -> Option<Request> {
        if self.is_broken() {
            return None;
        }
        match incoming? {
            Ok(request) => Some(request),
            Err(error) => {
                // No id to answer to: the host reads this from stderr.
                let error = malformed(&error);
                drop(super::write_error(&mut std::io::stderr(), error));
                self.broken.store(true, Ordering::SeqCst);
                None
            }
        }
    }

    /// Answers a request while no key is open; the key, if it was a request for one.
    pub(super) async fn before_key(&self, request: &Request) -> Option<Opened<P::Key>> {
        if request.command != OPEN {
            let store = self.store.load(Ordering::SeqCst);
            let answer = match Command::from(request.command.as_str()) {
                Command::GetPluginMetadata => self.command(request, None).await,
                _ if self.failure.get().is_some() || store => self.command(request, None).await,
                _ => Err(Error::validation(format!(
                    "the session is not open: its first request must be {OPEN:?}"
                ))),
            };
            self.answer(request.id, answer);
            return None;
        }
        match self.open(request).await {
            Ok((opened, response)) => {
                self.store.store(true, Ordering::SeqCst);
                self.answer(request.id, json(&response));
                opened
            }
            Err(error) => {
                let error = self.failure.get_or_init(|| error).clone();
                self.answer(request.id, Err(error));
                None
            }
        }
    }

    async fn open(
        &self,
        request: &Request,
    ) -> Result<(Option<Opened<P::Key>>, crate::proto::OpenResponse), Error> {
        self.check_usable()?;
        let context = self.context(request);
        let opening = self
            .handler
            .open_session(request.bytes(), self.most, &context);
        guarded(opening).await
    }

    /// Answers a request while a key is open.
    pub(super) async fn with_key(&self, key: &Opened<P::Key>, request: &Request) {
        let answer = match request.command.as_str() {
            SIGN_DIGEST => {
                let context = self.context(request);
                let signing = self.handler.sign_in_session(key, request.bytes(), &context);
                guarded(signing).await
            }
            OPEN => Err(Error::validation("the session is open already")),
            _ => self.command(request, Some(key)).await,
        };
        self.answer(request.id, answer);
    }

    /// Answers a command that a plugin can also be started with.
    async fn command(
        &self,
        request: &Request,
        open: Option<&Opened<P::Key>>,
    ) -> Result<Box<RawValue>, Error> {
        let command = Command::from(request.command.as_str());
        if command != Command::GetPluginMetadata {
            self.check_usable()?;
            self.check_served(&command)?;
        }
        let context = self.context(request);
        let answering = self
            .handler
            .answer(&command, request.bytes(), open, &context);
        let answer = guarded(answering).await;
        let denied = |error: &&Error| *error.code() == ErrorCode::AccessDenied;
        if let Some(error) = answer.as_ref().err().filter(denied) {
            self.failure.get_or_init(|| error.clone());
        }
        answer
    }

    fn context(&self, request: &Request) -> Context<'a> {
        Context::new(self.channel, Some(request.id)).since(request.arrived)
    }

    fn check_usable(&self) -> Result<(), Error> {
        self.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// Signing and envelopes have ways of their own; all else that the plugin can do is served.
    fn check_served(&self, command: &Command) -> Result<(), Error> {
        let served = match command {
            Command::DescribeKey
            | Command::ListKeys
            | Command::CreateKey
            | Command::ImportCertificates
            | Command::AttestKey
            | Command::GenerateTestKey
            | Command::SetUpToken => commands(&self.handler.metadata).contains(command),
            _ => false,
        };
        if served {
            return Ok(());
        }
        Err(Error::validation(format!(
            "{:?} is not a command of this session",
            command.name()
        )))
    }

    fn answer(&self, id: u64, answer: Result<Box<RawValue>, Error>) {
        #[derive(Serialize)]
        #[serde(rename_all = "lowercase")]
        enum Outcome {
            Response(Box<RawValue>),
            Error(ErrorResponse),
        }
        #[derive(Serialize)]
        struct Line {
            id: u64,
            #[serde(flatten)]
            outcome: Outcome,
        }
        let outcome = match answer {
            Ok(response) => Outcome::Response(response),
            Err(error) => Outcome::Error(error.into()),
        };
        if self.channel.write(&Line { id, outcome }).is_err() {
            self.broken.store(true, Ordering::SeqCst);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}
