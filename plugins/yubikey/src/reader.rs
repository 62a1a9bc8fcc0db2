//! Finding a YubiKey among the readers, and the thread that talks to it.
//!
//! From SELECT on, one PC/SC transaction holds the card, so that no other program comes between a
//! PIN and the signatures that it allows. The transaction lives on a thread of its own, which does
//! one [`Job`] after the other: whoever waits for one can stop waiting, and tell the user to touch the
//! key meanwhile. When the thread ends, the card is reset and has forgotten the PIN.

use std::ffi::{CStr, CString};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hardsign_plugin::Context;
use hardsign_plugin::proto::Token;
use pcsc::{Card, Disposition, Protocols, Scope, ShareMode, Transaction};

use crate::error::YubiKeyError;
use crate::piv::{Identity, Piv, Wire};

/// How long another program may have the card.
const PATIENCE: Duration = Duration::from_secs(5);

/// When the user is told that another program has it.
const SOON: Duration = Duration::from_secs(1);

/// How often a card that another program has for itself is tried.
const PAUSE: Duration = Duration::from_millis(100);

/// Something to do with the card.
type Job = Box<dyn FnOnce(&mut Piv<'_>) + Send>;

/// A card that this process holds, and its reader.
pub(crate) type Held = (CString, Identity);

/// A card that is held.
pub(crate) struct Connection {
    reader: CString,
    identity: Identity,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// The outcome of a job, which may not be there yet.
pub(crate) struct Pending<T>(Receiver<T>);

impl<T> Pending<T> {
    /// Waits; `None` if the thread has gone.
    pub(crate) fn wait(self) -> Option<T> {
        self.0.recv().ok()
    }

    /// Waits for that long. `Err`: it isn't there yet.
    pub(crate) fn wait_for(&self, time: Duration) -> Result<Option<T>, ()> {
        match self.0.recv_timeout(time) {
            Ok(outcome) => Ok(Some(outcome)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(()),
        }
    }
}

impl Connection {
    /// Takes the card with that serial number, or the only one. `held` are those that are not to be
    /// asked, since they are taken already.
    pub(crate) fn open(
        serial: Option<u32>,
        held: Vec<Held>,
        context: &Context<'_>,
    ) -> Result<Self, YubiKeyError> {
        let (opened, outcome) = mpsc::channel();
        let (jobs, work) = mpsc::channel();
        let thread = std::thread::spawn(move || hold(serial, &held, &opened, &work));
        let mut told = false;
        let start = Instant::now();
        let (reader, identity) = loop {
            let wait = if told {
                PATIENCE.saturating_sub(SOON)
            } else {
                SOON
            };
            match outcome.recv_timeout(wait) {
                Ok(result) => break result?,
                Err(RecvTimeoutError::Disconnected) => return Err(YubiKeyError::Gone),
                Err(RecvTimeoutError::Timeout) if start.elapsed() >= PATIENCE => {
                    // The thread waits on for a lock that nobody can take back; it ends with us.
                    return Err(YubiKeyError::Busy);
                }
                Err(RecvTimeoutError::Timeout) => {
                    context.notice("Waiting for another program to let go of the YubiKey", None);
                    told = true;
                }
            }
        };
        Ok(Self {
            reader,
            identity,
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Who the card is.
    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// The reader, with who the card is.
    pub(crate) fn held(&self) -> Held {
        (self.reader.clone(), self.identity)
    }

    /// The card's name in messages.
    pub(crate) fn name(&self) -> String {
        name(self.identity)
    }

    /// Starts something with the card.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Piv<'_>) -> T + Send + 'static,
    ) -> Pending<T> {
        let (done, outcome) = mpsc::channel();
        let job: Job = Box::new(move |piv| {
            // Whoever asked may have gone.
            drop(done.send(act(piv)));
        });
        if let Some(jobs) = &self.jobs {
            // A thread that has gone is seen by the outcome.
            drop(jobs.send(job));
        }
        Pending(outcome)
    }

    /// Does something with the card.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Piv<'_>) -> T + Send + 'static,
    ) -> Result<T, YubiKeyError> {
        self.start(act).wait().ok_or(YubiKeyError::Gone)
    }
}

impl Drop for Connection {
    /// Waits until the card has been reset.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// `YubiKey 12345678`.
pub(crate) fn name(identity: Identity) -> String {
    match identity.serial {
        Some(serial) => format!("YubiKey {serial}"),
        None => "the YubiKey".to_owned(),
    }
}

/// The card as the protocol describes it.
pub(crate) fn token(identity: Identity) -> Token {
    Token {
        serial: identity.serial.map(|serial| serial.to_string()),
        manufacturer: Some("Yubico".to_owned()),
        model: Some("YubiKey".to_owned()),
        ..Token::default()
    }
}

/// The thread: takes the card, says so, and works until nobody can ask any more.
fn hold(
    serial: Option<u32>,
    held: &[Held],
    opened: &Sender<Result<Held, YubiKeyError>>,
    jobs: &Receiver<Job>,
) {
    if let Err(error) = try_hold(serial, held, opened, jobs) {
        drop(opened.send(Err(error)));
    }
}

fn try_hold(
    serial: Option<u32>,
    held: &[Held],
    opened: &Sender<Result<Held, YubiKeyError>>,
    jobs: &Receiver<Job>,
) -> Result<(), YubiKeyError> {
    let context = pcsc::Context::establish(Scope::User).map_err(no_service)?;
    let reader = choose(&context, serial, held)?;
    let mut card = connect(&context, &reader)?;
    let mut transaction = card.transaction().map_err(YubiKeyError::Reader)?;
    let selected = Piv::select(&mut transaction).map_err(YubiKeyError::Opening)?;
    let (mut piv, identity) = selected.ok_or(YubiKeyError::Gone)?;
    if opened.send(Ok((reader, identity))).is_ok() {
        while let Ok(job) = jobs.recv() {
            job(&mut piv);
        }
    }
    // The transaction ends first; a card that was pulled out can't be reset.
    drop(transaction);
    drop(card.disconnect(Disposition::ResetCard));
    Ok(())
}

/// All YubiKeys, in the order of their readers. What can't be asked is left out; what is `held` is known.
pub(crate) fn all(held: &[Held]) -> Result<Vec<Identity>, YubiKeyError> {
    let context = pcsc::Context::establish(Scope::User).map_err(no_service)?;
    let found = identify(&context, &candidates(&context)?, held)?;
    Ok(found.into_iter().map(|(_, identity)| identity).collect())
}

/// The reader with the card that is meant.
fn choose(
    context: &pcsc::Context,
    serial: Option<u32>,
    held: &[Held],
) -> Result<CString, YubiKeyError> {
    let readers = candidates(context)?;
    if let (None, [only]) = (serial, &readers[..]) {
        return Ok(only.clone());
    }
    let mut found = identify(context, &readers, held)?;
    let seen: Vec<String> = found.iter().map(|(_, identity)| name(*identity)).collect();
    if let Some(serial) = serial {
        found.retain(|(_, identity)| identity.serial == Some(serial));
    }
    match (found.pop(), found.is_empty(), serial) {
        (Some((reader, _)), true, _) => Ok(reader),
        (Some(_), false, _) => Err(YubiKeyError::Many { seen }),
        (None, _, Some(serial)) => Err(YubiKeyError::NotThisOne { serial, seen }),
        (None, _, None) => Err(YubiKeyError::None),
    }
}

/// Readers that may hold a YubiKey: those that say so, or else all (a YubiKey may lie on a
/// contactless reader).
fn candidates(context: &pcsc::Context) -> Result<Vec<CString>, YubiKeyError> {
    let readers = match context.list_readers_owned() {
        Err(pcsc::Error::NoReadersAvailable) => Vec::new(),
        other => other.map_err(no_service)?,
    };
    let is_yubikey = |reader: &&CString| reader.to_string_lossy().to_lowercase().contains("yubi");
    let named: Vec<CString> = readers.iter().filter(is_yubikey).cloned().collect();
    match (named.is_empty(), readers.is_empty()) {
        (false, _) => Ok(named),
        (true, false) => Ok(readers),
        (true, true) => Err(YubiKeyError::None),
    }
}

/// Asks each card who it is.
fn identify(
    context: &pcsc::Context,
    readers: &[CString],
    held: &[Held],
) -> Result<Vec<Held>, YubiKeyError> {
    let mut found = Vec::new();
    let mut failure = None;
    for reader in readers {
        if let Some(known) = held.iter().find(|(held, _)| held == reader) {
            found.push(known.clone());
            continue;
        }
        match identify_one(context, reader) {
            Ok(Some(identity)) => found.push((reader.clone(), identity)),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn identify_one(context: &pcsc::Context, reader: &CStr) -> Result<Option<Identity>, YubiKeyError> {
    let mut card = match connect(context, reader) {
        Err(YubiKeyError::None) => return Ok(None),
        other => other?,
    };
    let identity = {
        let mut transaction = card.transaction().map_err(YubiKeyError::Reader)?;
        let selected = Piv::select(&mut transaction).map_err(YubiKeyError::Opening)?;
        selected.map(|(_, identity)| identity)
    };
    drop(card.disconnect(Disposition::LeaveCard));
    Ok(identity)
}

/// Connects; waits a while for a card that another program has for itself.
fn connect(context: &pcsc::Context, reader: &CStr) -> Result<Card, YubiKeyError> {
    let start = Instant::now();
    loop {
        match context.connect(reader, ShareMode::Shared, Protocols::ANY) {
            Err(pcsc::Error::SharingViolation) if start.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            Err(pcsc::Error::SharingViolation) => return Err(YubiKeyError::Busy),
            Err(pcsc::Error::NoSmartcard | pcsc::Error::RemovedCard) => {
                return Err(YubiKeyError::None);
            }
            other => return other.map_err(YubiKeyError::Reader),
        }
    }
}

fn no_service(error: pcsc::Error) -> YubiKeyError {
    match error {
        pcsc::Error::NoService | pcsc::Error::ServiceStopped => YubiKeyError::NoService(error),
        other => YubiKeyError::Reader(other),
    }
}

impl Wire for Transaction<'_> {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, pcsc::Error> {
        let mut answer = [0; pcsc::MAX_BUFFER_SIZE];
        let card: &Card = self;
        card.transmit(command, &mut answer).map(<[u8]>::to_vec)
    }
}
