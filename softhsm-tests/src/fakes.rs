//! Stand-ins for services that can't run here, as servers of this process: [`google::FakeCloudKms`] and
//! [`azure::FakeKeyVault`]. They check credentials, sign with real keys, count what they are asked, and
//! can be told to go wrong ([`Fault`]). The vendors' own Python clients are run against them as well, so
//! that a fake and a plugin can't share a mistake.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};

pub mod azure;
pub mod google;
mod http;
mod signer;

use self::http::{Reply, Request};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Status 429 for so long.
    Throttled(Duration),
    /// Half of an answer, then the end of the connection; so many times.
    CutOff(u32),
    /// Status 500; so many times.
    Broken(u32),
    /// No answer ever.
    Silent,
    /// The caller may not do this.
    Denied,
    /// The token is no longer good.
    Expired,
    /// An answer that is no JSON.
    Junk,
    /// A checksum that is not that of the bytes.
    WrongChecksum,
    /// The service did not get the digest that was sent.
    DigestLost,
    /// RSASSA-PSS without a salt.
    WrongSalt,
    /// A signature by another key of the same kind.
    AnotherKey,
    /// An answer that names another version.
    AnotherVersion,
    /// A signature that is too short.
    Short,
}

/// The faults that a fake is told to have, by what stands in the path of a request.
#[derive(Debug, Default)]
struct Faults(Mutex<Vec<(String, Fault, Instant)>>);

impl Faults {
    fn set(&self, path: &str, fault: Fault) {
        let mut all = lock(&self.0);
        all.push((path.to_owned(), fault, Instant::now()));
    }

    fn clear(&self) {
        let mut all = lock(&self.0);
        all.clear();
    }

    /// The fault that this request meets; what happens so many times is counted.
    fn meet(&self, request: &Request) -> Option<Fault> {
        let mut all = lock(&self.0);
        let entry = all
            .iter_mut()
            .find(|(path, ..)| request.path.contains(path.as_str()))?;
        match &mut entry.1 {
            Fault::CutOff(0) | Fault::Broken(0) => None,
            Fault::CutOff(times) => {
                *times -= 1;
                Some(Fault::CutOff(1))
            }
            Fault::Broken(times) => {
                *times -= 1;
                Some(Fault::Broken(1))
            }
            Fault::Throttled(long) if entry.2.elapsed() > *long => None,
            fault => Some(*fault),
        }
    }
}

/// The clock of a service, which may differ from this machine's.
#[derive(Debug, Default)]
struct Clock(AtomicI64);

impl Clock {
    /// From now on it is this many minutes ahead of this machine's, or behind it if negative.
    fn set(&self, minutes: i64) {
        self.0.store(minutes * 60, Ordering::Relaxed);
    }

    fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_secs(self.0.load(Ordering::Relaxed));
        Timestamp::now() + ahead
    }

    /// As an answer's header `Date` has it.
    fn date(&self) -> String {
        let printer = DateTimePrinter::new();
        printer.timestamp_to_rfc9110_string(&self.now()).unwrap()
    }
}

/// What every fake knows of itself.
#[derive(Debug, Default)]
pub struct Manner {
    asked: Mutex<Vec<String>>,
    faults: Faults,
    clock: Clock,
    pause: Mutex<Duration>,
}

impl Manner {
    /// A request has come: it is noted, and takes the time that requests take.
    fn take(&self, line: String) {
        lock(&self.asked).push(line);
        let pause = *lock(&self.pause);
        sleep(pause);
    }
}

/// A fake, and what it is told to do.
pub trait Fake {
    fn manner(&self) -> &Manner;

    /// Requests with this text in their path meet a fault.
    fn distort(&self, path: &str, fault: Fault) {
        self.manner().faults.set(path, fault);
    }

    /// All is well again.
    fn mend(&self) {
        self.manner().faults.clear();
    }

    /// Every request takes so long.
    fn slow_down(&self, pause: Duration) {
        *lock(&self.manner().pause) = pause;
    }

    /// The service's clock is this many minutes ahead of this machine's, or behind it if negative.
    fn set_clock(&self, minutes: i64) {
        self.manner().clock.set(minutes);
    }

    /// What was asked since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.manner().asked))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer that the transport spoils.
fn spoiled(fault: Option<Fault>, reply: Reply) -> Reply {
    match fault {
        Some(Fault::CutOff(_)) => reply.cut(),
        Some(Fault::Silent) => Reply::never(),
        Some(Fault::Junk) => Reply::junk(),
        _ => reply,
    }
}
