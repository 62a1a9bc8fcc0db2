//! Stand-ins for services that can't run here, as servers of this process: [`google::FakeCloudKms`] and
//! [`azure::FakeKeyVault`]. They check credentials, sign with real keys, count what they are asked, and
//! can be told to go wrong ([`Fault`]). The vendors' own Python clients are run against them as well, so
//! that a fake and a plugin can't share a mistake.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((path.to_owned(), fault, Instant::now()));
    }

    fn clear(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
    }

    /// The fault that this request meets; what happens so many times is counted.
    fn meet(&self, request: &Request) -> Option<Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

/// An answer that the transport spoils.
fn spoiled(fault: Option<Fault>, reply: Reply) -> Reply {
    match fault {
        Some(Fault::CutOff(_)) => reply.cut(),
        Some(Fault::Silent) => Reply::never(),
        Some(Fault::Junk) => Reply::junk(),
        _ => reply,
    }
}
