//! The `session` command: one key, many requests, answers in any order.
//!
//! A thread of its own reads requests, since a token call blocks. The key is opened by the first
//! request; then as many workers run as the key allows. The end of stdin ends the session: what
//! was read is answered, the key is dropped (which logs out), and the exit code is 0.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{cancel_questions, certificate_chain, check_version, guarded, malformed, open, sign};
use crate::Error;
use crate::context::{Channel, Context, Output};
use crate::error::ErrorCode;
use crate::frame::{FrameError, LineReader, MAX_LINE};
use crate::plugin::{Key, Plugin, Purpose};
use crate::proto::{
    OPEN, OpenRequest, OpenResponse, SIGN_DIGEST, SessionLine, SessionRequest, SessionSignRequest,
    SessionSignResponse,
};

/// Requests that are read ahead; a host that sends more has to wait.
const QUEUE: usize = 256;

/// The most workers, whatever a key says.
const MAX_WORKERS: u32 = 64;

/// Serves a session and returns the exit code.
pub(super) fn run(
    plugin: &impl Plugin,
    input: impl Read + Send + 'static,
    output: &mut (impl Write + Send),
) -> u8 {
    let (sender, receiver) = sync_channel(QUEUE);
    // Not joined: if the host stops reading answers but keeps stdin open, it may never end.
    std::thread::spawn(move || {
        read_requests(input, &sender);
        drop(sender);
        cancel_questions();
    });
    let channel = Channel::new(Some(Output::new(output)));
    let session = Session {
        channel: &channel,
        requests: Mutex::new(receiver),
        broken: AtomicBool::new(false),
    };
    session.serve(plugin);
    u8::from(session.is_broken())
}

/// What came from the host: a request, or the reason why nothing can follow.
type Incoming = Result<SessionRequest, FrameError>;

fn read_requests(input: impl Read, requests: &SyncSender<Incoming>) {
    let mut lines = LineReader::new(input, MAX_LINE);
    loop {
        let request = match lines.next_line() {
            Ok(None) => return,
            Ok(Some(line)) => serde_json::from_slice(&line).map_err(FrameError::NotJson),
            Err(error) => Err(error),
        };
        let last = request.is_err();
        if requests.send(request).is_err() || last {
            return;
        }
    }
}

struct Session<'a, 'w> {
    channel: &'a Channel<'w>,
    requests: Mutex<Receiver<Incoming>>,
    /// The stream can't be read or written any more.
    broken: AtomicBool,
}

impl Session<'_, '_> {
    fn serve<P: Plugin>(&self, plugin: &P) {
        let Some(key) = self.open_key(plugin) else {
            return;
        };
        let workers = key.max_in_flight().clamp(1, MAX_WORKERS);
        std::thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(|| self.work(&key));
            }
            self.work(&key);
        });
    }

    /// Answers requests until the key is open. The key store is touched once: a failure answers
    /// every later request too.
    fn open_key<P: Plugin>(&self, plugin: &P) -> Option<P::Key> {
        let mut failure: Option<Error> = None;
        while let Some(request) = self.next() {
            let opened = match &failure {
                Some(error) => Err(error.clone()),
                None if request.command == OPEN => {
                    let opened = self.open(plugin, &request);
                    failure = opened.as_ref().err().cloned();
                    opened
                }
                None => Err(Error::validation(format!(
                    "the session is not open: its first request must be {OPEN:?}"
                ))),
            };
            match opened {
                Ok((key, response)) => {
                    self.answer(request.id, Ok(response));
                    return Some(key);
                }
                Err(error) => self.answer::<OpenResponse>(request.id, Err(error)),
            }
        }
        None
    }

    fn open<P: Plugin>(
        &self,
        plugin: &P,
        request: &SessionRequest,
    ) -> Result<(P::Key, OpenResponse), Error> {
        let context = Context::new(self.channel, Some(request.id));
        guarded(|| {
            let version = request
                .request
                .get("contractVersion")
                .and_then(Value::as_str);
            check_version(version.unwrap_or_default())?;
            let request: OpenRequest = parse(&request.request)?;
            let config = &request.plugin_config;
            let key = open(plugin, &request.key_id, config, Purpose::Sign, &context)?;
            let chain = certificate_chain(&key)?;
            let response = OpenResponse {
                key_spec: key.key_spec(),
                certificate_chain: chain.into_iter().map(Into::into).collect(),
                max_in_flight: key.max_in_flight().clamp(1, MAX_WORKERS),
                interaction: key.interaction(),
                key_id: request.key_id,
            };
            Ok((key, response))
        })
    }

    /// Answers requests of an open session until there are no more.
    fn work(&self, key: &impl Key) {
        while let Some(request) = self.next() {
            let context = Context::new(self.channel, Some(request.id));
            let answer = guarded(|| match request.command.as_str() {
                SIGN_DIGEST => {
                    let SessionSignRequest {
                        digest,
                        hash_algorithm,
                    } = parse(&request.request)?;
                    let signature = sign(key, hash_algorithm, &digest.0, &context)?.into();
                    Ok(SessionSignResponse { signature })
                }
                OPEN => Err(Error::validation("the session is open already")),
                other => Err(Error::validation(format!(
                    "{other:?} is not a command of a session; there are {OPEN:?} and \
                     {SIGN_DIGEST:?}"
                ))),
            });
            self.answer(request.id, answer);
        }
    }

    /// The next request; `None` when the session is over.
    fn next(&self) -> Option<SessionRequest> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_broken() {
            return None;
        }
        match requests.recv() {
            Ok(Ok(request)) => Some(request),
            Ok(Err(error)) => {
                // No id to answer to: the host reads this from stderr.
                let error = malformed(&error);
                drop(super::write_error(&mut std::io::stderr(), error));
                self.broken.store(true, Ordering::SeqCst);
                None
            }
            Err(_) => None,
        }
    }

    fn answer<T: Serialize>(&self, id: u64, answer: Result<T, Error>) {
        let answer = answer.and_then(|answer| {
            serde_json::to_value(answer)
                .map_err(|error| Error::from_error(ErrorCode::Error, &error))
        });
        let line = match answer {
            Ok(response) => SessionLine::Response { id, response },
            Err(error) => SessionLine::Error {
                id,
                error: error.into(),
            },
        };
        if self.channel.write(&line).is_err() {
            self.broken.store(true, Ordering::SeqCst);
        }
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }
}

fn parse<T: DeserializeOwned>(request: &Value) -> Result<T, Error> {
    T::deserialize(request).map_err(|error| malformed(&error))
}
