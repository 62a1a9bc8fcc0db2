//! What one piece of work may spend: time, bytes received and requests sent, for the whole of it.
//!
//! Each exchange has limits of its own ([`crate::net::Limits`]); a server that uses each of them up could
//! still hold its caller for hours. A [`Budget`] is the caller's. It is given in the options of
//! `sign` and `verify`, holds for everything that is done below, and ends the work where it stands.
//!
//! It goes down with the task, not as an argument: [`Budget::run`] sets it, and whoever waits for
//! a server or a plugin, or receives bytes, does so on the account of the run that it belongs to. So the
//! error, [`Overspent`], can name what took the time, however deep that was.
//!
//! What must hold: work that a run stopped is dropped, never left to go on by itself, and a signature that was
//! being stored at that moment is named.

mod holdup;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::artifact::Digest;
pub(crate) use holdup::{Holdup, Lock};

tokio::task_local! {
    static SCOPE: Scope;
}

/// What a piece of work may spend. Clones share one account, which opens when the budget is made.
///
/// ```
/// # use std::time::Duration;
/// # use hardsign_core::budget::Budget;
/// // What an admission webhook has, less the time for its own answer.
/// let budget = Budget::within(Duration::from_secs(9)).bytes(64 << 20).requests(500);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Budget(Option<Arc<Account>>);

/// A budget without any limit.
pub static UNLIMITED: Budget = Budget(None);

#[derive(Debug)]
struct Account {
    opened: Instant,
    time: Option<Duration>,
    bytes: Option<u64>,
    requests: Option<u64>,
    received: AtomicU64,
    sent: AtomicU64,
    /// Told when bytes or requests are used up.
    used_up: Notify,
}

/// What was used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Spending {
    /// The time.
    Time(Duration),
    /// The bytes that may be received.
    Bytes(u64),
    /// The requests that may be sent.
    Requests(u64),
}

/// What was being done.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Phase {
    /// A reference is resolved, an index walked.
    Resolving,
    /// A plugin is started and a key opened.
    OpeningKey,
    /// A file is read.
    Reading,
    /// A signature is made.
    Signing,
    /// A timestamp is asked for.
    Timestamping,
    /// A signature is stored.
    Storing,
    /// The signatures of an artifact are listed.
    Listing,
    /// What is attached to an artifact is listed.
    ListingAttached,
    /// A signature is fetched.
    Fetching,
    /// A signature is verified.
    Verifying,
    /// Revocation is checked.
    Revocation,
    /// A verification plugin is asked.
    VerificationPlugin,
    /// An artifact is copied.
    Copying,
    /// A file is attached to an artifact.
    Attaching,
    /// A signature is deleted.
    Deleting,
    /// A registry is logged in to.
    LoggingIn,
}

/// Who was waited for.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Party {
    /// A server: host, and port if it is named.
    Server(String),
    /// A plugin.
    Plugin(String),
    /// A program that keeps credentials.
    CredentialHelper(String),
    /// A directory on a disk, or whoever holds its lock.
    Directory(String),
    /// A file, or whoever writes to it.
    File(String),
    /// Nobody else: this machine was at work.
    Ourselves,
}

/// Something that was not certain yet when the work was stopped.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unsettled {
    /// A signature's manifest was being stored and listed.
    Storing(Digest),
    /// A signature's manifest was being deleted.
    Deleting(Digest),
}

/// Work that was stopped because its budget was used up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", self.told())]
#[non_exhaustive]
pub struct Overspent {
    /// What was used up.
    pub spending: Spending,
    /// What took most of the time, or was being done; none if the work had not begun.
    pub phase: Option<Phase>,
    /// Who was waited for longest, in that phase, and how long.
    pub waited: Option<(Party, Duration)>,
    /// What may have been done or not.
    pub unsettled: Option<Box<Unsettled>>,
    pending: Box<Pending>,
}

/// Who had not answered yet, and what for. Boxed, since an error is moved about.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Pending(Vec<(Phase, Party)>);

/// One run on the account of a budget.
#[derive(Debug)]
struct Run {
    begun: Instant,
    waits: Mutex<BTreeMap<(Phase, Party), Wait>>,
    unsettled: Mutex<Option<Unsettled>>,
}

/// Time that went by while somebody was waited for, in one or several places at once.
#[derive(Clone, Copy, Debug)]
struct Wait {
    under_way: usize,
    since: Instant,
    total: Duration,
}

/// What a task works on.
#[derive(Clone, Debug)]
struct Scope {
    account: Arc<Account>,
    run: Arc<Run>,
    phase: Phase,
}

/// As long as this lives, somebody is waited for.
#[derive(Debug)]
pub(crate) struct Waiting(Option<(Arc<Run>, (Phase, Party))>);

impl Budget {
    /// At most this much time, from now on.
    pub fn within(time: Duration) -> Self {
        Self(Some(Arc::new(Account {
            opened: Instant::now(),
            time: Some(time),
            bytes: None,
            requests: None,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            used_up: Notify::new(),
        })))
    }

    /// The same with a limit on the bytes received from servers; its account is a new one.
    #[must_use]
    pub fn bytes(self, limit: u64) -> Self {
        self.with(|account| account.bytes = Some(limit))
    }

    /// The same with a limit on the requests to servers, repetitions and redirects included; its
    /// account is a new one.
    #[must_use]
    pub fn requests(self, limit: u64) -> Self {
        self.with(|account| account.requests = Some(limit))
    }

    fn with(self, change: impl FnOnce(&mut Account)) -> Self {
        let old = self.0.as_deref();
        let mut account = Account {
            opened: old.map_or_else(Instant::now, |old| old.opened),
            time: old.and_then(|old| old.time),
            bytes: old.and_then(|old| old.bytes),
            requests: old.and_then(|old| old.requests),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            used_up: Notify::new(),
        };
        change(&mut account);
        Self(Some(Arc::new(account)))
    }

    /// What is left of the time; none where time is no matter.
    pub fn time_left(&self) -> Option<Duration> {
        self.0.as_ref()?.time_left()
    }

    /// Does `work` on the account of this budget, and stops it once that is used up.
    ///
    /// Without a limit the budget of an outer run, if there is one, stays in force.
    ///
    /// # Errors
    /// Those of the work, and [`Overspent`].
    pub async fn run<T, E: From<Overspent>>(
        &self,
        phase: Phase,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(account) = &self.0 else {
            return during(phase, work).await;
        };
        if let Some(spending) = account.used_up() {
            return Err(Overspent::before(spending).into());
        }
        let scope = Scope {
            account: Arc::clone(account),
            run: Arc::new(Run {
                begun: Instant::now(),
                waits: Mutex::default(),
                unsettled: Mutex::default(),
            }),
            phase,
        };
        let mut work = pin!(SCOPE.scope(scope.clone(), work));
        let mut end = pin!(account.end());
        let spending = tokio::select! {
            biased;
            result = &mut work => match (result, account.counted()) {
                // The failure comes of the limit.
                (Err(_), Some(spending)) => spending,
                (result, _) => return result,
            },
            spending = &mut end => spending,
        };
        Err(scope.overspent(spending).into())
    }

    /// Waits for work that keeps to this budget by itself, but may be held up in a call of the operating system: a moment
    /// after the time is over it is given up.
    pub(crate) async fn overdue<T>(
        &self,
        phase: Phase,
        party: Party,
        work: impl Future<Output = T>,
    ) -> Result<T, Overspent> {
        let Some(account) = &self.0 else {
            return Ok(work.await);
        };
        let begun = Instant::now();
        let over = async {
            match account.deadline() {
                Some(deadline) => sleep_until(deadline + MOMENT).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = work => Ok(result),
            () = over => Err(Overspent {
                spending: Spending::Time(account.time.unwrap_or_default()),
                phase: Some(phase),
                waited: Some((party.clone(), begun.elapsed())),
                pending: Box::new(Pending(vec![(phase, party)])),
                unsettled: None,
            }),
        }
    }
}

impl Account {
    fn deadline(&self) -> Option<Instant> {
        self.time.and_then(|time| self.opened.checked_add(time))
    }

    fn time_left(&self) -> Option<Duration> {
        Some(self.time?.saturating_sub(self.opened.elapsed()))
    }

    /// Which of the counted limits was passed.
    fn counted(&self) -> Option<Spending> {
        let beyond = |spent: &AtomicU64, limit: Option<u64>| {
            limit.filter(|limit| spent.load(Ordering::Relaxed) > *limit)
        };
        let bytes = beyond(&self.received, self.bytes).map(Spending::Bytes);
        bytes.or_else(|| beyond(&self.sent, self.requests).map(Spending::Requests))
    }

    /// Which limit was passed.
    fn used_up(&self) -> Option<Spending> {
        let late = self.time_left().is_some_and(|left| left.is_zero());
        let time = self.time.filter(|_| late).map(Spending::Time);
        time.or_else(|| self.counted())
    }

    /// Returns when a limit is passed.
    async fn end(&self) -> Spending {
        let mut used_up = pin!(self.used_up.notified());
        used_up.as_mut().enable();
        // It may have been passed before anybody listened.
        if let Some(spending) = self.counted() {
            return spending;
        }
        let deadline = self.deadline();
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = late => Spending::Time(self.time.unwrap_or_default()),
            () = used_up => self.counted().unwrap_or(Spending::Requests(0)),
        }
    }

    fn spend(&self, spent: &AtomicU64, count: u64) -> Result<(), Spending> {
        spent.fetch_add(count, Ordering::Relaxed);
        match self.counted() {
            None => Ok(()),
            Some(spending) => {
                self.used_up.notify_waiters();
                Err(spending)
            }
        }
    }
}

/// Does `work` as another phase of the run that it belongs to.
pub async fn during<T>(phase: Phase, work: impl Future<Output = T>) -> T {
    match SCOPE.try_with(Scope::clone) {
        Ok(scope) => SCOPE.scope(Scope { phase, ..scope }, work).await,
        Err(_) => work.await,
    }
}

/// Does work that keeps the processor or a disk busy for a while on a thread of its own, off the tasks
/// that wait.
pub(crate) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The same work for a task of its own, on the account of whoever starts it.
pub(crate) fn carried<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let scope = SCOPE.try_with(Scope::clone).ok();
    let work = holdup::led(holdup::leading(), work);
    async move {
        match scope {
            Some(scope) => SCOPE.scope(scope, work).await,
            None => work.await,
        }
    }
}

/// Stops work that never waits, between two of its steps.
///
/// # Errors
/// [`Overspent`], if the budget that it is done on is used up.
pub fn check() -> Result<(), Overspent> {
    let over = |scope: &Scope| {
        let spending = scope.account.used_up()?;
        Some(scope.overspent(spending))
    };
    match SCOPE.try_with(over) {
        Ok(Some(overspent)) => Err(overspent),
        _ => Ok(()),
    }
}

/// Notes that somebody is waited for, until the answer is dropped.
pub(crate) fn waiting(party: impl Fn() -> Party) -> Waiting {
    holdup::tell(&party);
    let begin = |scope: &Scope| {
        let key = (scope.phase, party());
        scope.run.begin(&key).then(|| (Arc::clone(&scope.run), key))
    };
    Waiting(SCOPE.try_with(begin).ok().flatten())
}

/// Puts bytes that were received on the account.
pub(crate) fn receive(bytes: usize) -> Result<(), Spending> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    SCOPE
        .try_with(|scope| scope.account.spend(&scope.account.received, bytes))
        .unwrap_or(Ok(()))
}

/// Puts a request on the account.
pub(crate) fn request() -> Result<(), Spending> {
    SCOPE
        .try_with(|scope| scope.account.spend(&scope.account.sent, 1))
        .unwrap_or(Ok(()))
}

/// Says that what follows can't be taken back, so that it is named if it is stopped. It is not begun in the last
/// moments, a tenth of the time and two seconds at most: it takes more than one request.
///
/// # Errors
/// [`Overspent`]; nothing has been done then.
pub(crate) fn begin_unsettled(what: Unsettled) -> Result<(), Overspent> {
    let begin = |scope: &Scope| {
        let reserve = scope.account.time.unwrap_or_default() / 10;
        let reserve = reserve.min(RESERVE);
        let left = scope.account.time_left();
        let spending = match (left, scope.account.time) {
            (Some(left), Some(time)) if left < reserve => Some(Spending::Time(time)),
            _ => scope.account.counted(),
        };
        match spending {
            Some(spending) => Err(scope.overspent(spending)),
            None => {
                *guard(&scope.run.unsettled) = Some(what);
                Ok(())
            }
        }
    };
    SCOPE.try_with(begin).unwrap_or(Ok(()))
}

/// Says that it is done, one way or the other.
pub(crate) fn settled() {
    let settle = |scope: &Scope| *guard(&scope.run.unsettled) = None;
    // Outside of any run there is nothing to say.
    SCOPE.try_with(settle).unwrap_or_default();
}

impl Scope {
    fn overspent(&self, spending: Spending) -> Overspent {
        let longest = self.run.longest();
        let elapsed = self.run.begun.elapsed();
        // Where nobody else took more than half of it, we did.
        let (phase, waited) = match longest {
            Some((phase, party, time)) if time >= elapsed / 2 => (phase, (party, time)),
            Some((_, _, time)) => (self.phase, (Party::Ourselves, elapsed.saturating_sub(time))),
            None => (self.phase, (Party::Ourselves, elapsed)),
        };
        Overspent {
            spending,
            phase: Some(phase),
            waited: Some(waited),
            pending: Box::new(Pending(self.run.pending())),
            unsettled: guard(&self.run.unsettled).clone().map(Box::new),
        }
    }
}

impl Run {
    /// Whether the wait is on the list, whose length is bounded.
    fn begin(&self, key: &(Phase, Party)) -> bool {
        let mut waits = guard(&self.waits);
        let room = waits.len() < MAX_PARTIES;
        let now = Instant::now();
        match waits.entry(key.clone()) {
            Entry::Occupied(mut entry) => {
                let wait = entry.get_mut();
                if wait.under_way == 0 {
                    wait.since = now;
                }
                wait.under_way = wait.under_way.saturating_add(1);
                true
            }
            Entry::Vacant(entry) if room => {
                entry.insert(Wait {
                    under_way: 1,
                    since: now,
                    total: Duration::ZERO,
                });
                true
            }
            Entry::Vacant(_) => false,
        }
    }

    fn end(&self, key: &(Phase, Party)) {
        if let Some(wait) = guard(&self.waits).get_mut(key) {
            wait.under_way = wait.under_way.saturating_sub(1);
            if wait.under_way == 0 {
                wait.total = wait.total.saturating_add(wait.since.elapsed());
            }
        }
    }

    /// Who was waited for longest.
    fn longest(&self) -> Option<(Phase, Party, Duration)> {
        let waits = guard(&self.waits);
        let time = |wait: &Wait| match wait.under_way {
            0 => wait.total,
            _ => wait.total.saturating_add(wait.since.elapsed()),
        };
        waits
            .iter()
            .map(|((phase, party), wait)| (*phase, party, time(wait)))
            .max_by_key(|(_, _, time)| *time)
            .map(|(phase, party, time)| (phase, party.clone(), time))
    }

    /// Who is being waited for.
    fn pending(&self) -> Vec<(Phase, Party)> {
        let waits = guard(&self.waits);
        let pending = waits.iter().filter(|(_, wait)| wait.under_way > 0);
        pending.map(|(key, _)| key.clone()).collect()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((run, key)) = &self.0 {
            run.end(key);
        }
    }
}

impl Overspent {
    /// Who had not answered yet, and what for. Somebody who was waited for longest may have answered.
    pub fn pending(&self) -> &[(Phase, Party)] {
        &self.pending.0
    }

    fn before(spending: Spending) -> Self {
        Self {
            spending,
            phase: None,
            waited: None,
            pending: Box::default(),
            unsettled: None,
        }
    }

    /// Whether somebody else was waited for.
    pub fn is_of_others(&self) -> bool {
        matches!(&self.waited, Some((party, _)) if *party != Party::Ourselves)
    }

    fn told(&self) -> String {
        let passed = match self.spending {
            Spending::Time(time) => format!("the deadline of {} passed", Seconds(time)),
            Spending::Bytes(limit) => format!("more than {limit} bytes were received"),
            Spending::Requests(limit) => format!("more than {limit} requests were needed"),
        };
        let Some(phase) = self.phase else {
            return format!("{passed} before its turn came");
        };
        let mut told = format!("{passed} while {phase}");
        match &self.waited {
            Some((Party::Ourselves, time)) => {
                told = format!("{told}: {} of work here", Seconds(*time));
            }
            Some((party, time)) => {
                told = format!("{told}: waited {} for {party}", Seconds(*time));
            }
            None => {}
        }
        match self.unsettled.as_deref() {
            Some(Unsettled::Storing(digest)) => format!(
                "{told}. The signature {digest} was being stored: it may be there, and may not be listed"
            ),
            Some(Unsettled::Deleting(digest)) => {
                format!("{told}. The signature {digest} was being deleted: it may be gone or not")
            }
            None => told,
        }
    }
}

impl fmt::Display for Spending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "the deadline of {} passed", Seconds(*time)),
            Self::Bytes(limit) => write!(f, "more than {limit} bytes in all"),
            Self::Requests(limit) => write!(f, "more than {limit} requests in all"),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "resolving the reference",
            Self::OpeningKey => "opening the key",
            Self::Reading => "reading the file",
            Self::Signing => "making the signature",
            Self::Timestamping => "getting the timestamp",
            Self::Storing => "storing the signature",
            Self::Listing => "listing the signatures",
            Self::ListingAttached => "listing what is attached",
            Self::Fetching => "fetching the signatures",
            Self::Verifying => "checking the signatures",
            Self::Revocation => "checking revocation",
            Self::VerificationPlugin => "asking the verification plugin",
            Self::Copying => "copying",
            Self::Attaching => "attaching the file",
            Self::Deleting => "deleting the signature",
            Self::LoggingIn => "logging in",
        })
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(host) => f.write_str(host),
            Self::Plugin(name) => write!(f, "the plugin {name}"),
            Self::CredentialHelper(name) => write!(f, "the credential helper {name}"),
            Self::Directory(path) => write!(f, "the directory {path}"),
            Self::File(path) => write!(f, "the file {path}"),
            Self::Ourselves => f.write_str("nobody"),
        }
    }
}

/// A time as people say it: whole seconds where they are whole, else one digit more.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.as_millis().saturating_add(50) / 100;
        match (tenths / 10, tenths % 10) {
            (1, 0) => f.write_str("1 second"),
            (seconds, 0) => write!(f, "{seconds} seconds"),
            (seconds, tenth) => write!(f, "{seconds}.{tenth} seconds"),
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in between can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time that is kept for storing what can't be taken back.
const RESERVE: Duration = Duration::from_secs(2);

/// Time in which work tells by itself that its time is over.
const MOMENT: Duration = Duration::from_millis(500);

/// Whom one run keeps apart in its account of the time; hostile certificates can name thousands.
const MAX_PARTIES: usize = 256;

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Failure {
        Own,
        Spent(String),
    }

    impl From<Overspent> for Failure {
        fn from(overspent: Overspent) -> Self {
            Self::Spent(overspent.to_string())
        }
    }

    async fn wait(phase: Phase, server: &str, seconds: u64) {
        during(phase, async {
            let _waiting = waiting(|| Party::Server(server.to_owned()));
            sleep(Duration::from_secs(seconds)).await;
        })
        .await;
    }

    /// The deadline ends work at any depth, and what took longest is named, not what came last.
    #[tokio::test(start_paused = true)]
    async fn the_longest_wait_is_named() {
        let budget = Budget::within(Duration::from_secs(10));
        let began = Instant::now();
        let result: Result<(), Failure> = budget
            .run(Phase::Verifying, async {
                wait(Phase::Listing, "slow.test", 7).await;
                wait(Phase::Fetching, "quick.test", 1).await;
                wait(Phase::Revocation, "dead.test", 100).await;
                Ok(())
            })
            .await;
        let text = "the deadline of 10 seconds passed while listing the signatures: waited 7 seconds for slow.test";
        assert_eq!(result, Err(Failure::Spent(text.to_owned())));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        // What comes after does not begin.
        let result: Result<(), Failure> = budget.run(Phase::Verifying, async { Ok(()) }).await;
        let text = "the deadline of 10 seconds passed before its turn came";
        assert_eq!(result, Err(Failure::Spent(text.to_owned())));
    }

    /// Who was waited for longest may have answered since; who has not is told apart from that.
    #[tokio::test(start_paused = true)]
    async fn who_has_not_answered_is_told() {
        #[derive(Debug)]
        struct Spent(Overspent);
        impl From<Overspent> for Spent {
            fn from(overspent: Overspent) -> Self {
                Self(overspent)
            }
        }
        let budget = Budget::within(Duration::from_secs(10));
        let work = async {
            wait(Phase::Listing, "slow.test", 7).await;
            tokio::join!(
                wait(Phase::Fetching, "slow.test", 1),
                wait(Phase::Revocation, "dead.test", 100),
            );
            Ok(())
        };
        let Err(Spent(spent)) = budget.run(Phase::Verifying, work).await else {
            panic!("it took longer");
        };
        let slow = Party::Server("slow.test".to_owned());
        assert_eq!(spent.waited, Some((slow, Duration::from_secs(7))));
        let dead = Party::Server("dead.test".to_owned());
        assert_eq!(spent.pending(), [(Phase::Revocation, dead)]);
    }

    /// Waiting in several places at once for the same server is no longer than the clock says.
    #[tokio::test(start_paused = true)]
    async fn waits_at_once_count_once() {
        let budget = Budget::within(Duration::from_millis(2500));
        let result: Result<(), Failure> = budget
            .run(Phase::Verifying, async {
                tokio::join!(
                    wait(Phase::Fetching, "a.test", 9),
                    wait(Phase::Fetching, "a.test", 9)
                );
                Ok(())
            })
            .await;
        let text = "the deadline of 2.5 seconds passed while fetching the signatures: waited 2.5 seconds for a.test";
        assert_eq!(result, Err(Failure::Spent(text.to_owned())));
    }

    /// Work that ends in time keeps its own result, failures included.
    #[tokio::test(start_paused = true)]
    async fn results_in_time_stand() {
        let budget = Budget::within(Duration::from_secs(1));
        let good: Result<u8, Failure> = budget.run(Phase::Signing, async { Ok(7) }).await;
        assert_eq!(good, Ok(7));
        let bad: Result<u8, Failure> = budget
            .run(Phase::Signing, async { Err(Failure::Own) })
            .await;
        assert_eq!(bad, Err(Failure::Own));
        let free: Result<u8, Failure> = UNLIMITED
            .run(Phase::Signing, async {
                check()?;
                sleep(Duration::from_secs(1_000_000)).await;
                Ok(7)
            })
            .await;
        assert_eq!(free, Ok(7));
    }

    /// Bytes and requests are counted over all that a run does, tasks of its own included.
    #[tokio::test]
    async fn bytes_and_requests_are_counted() {
        let budget = Budget::within(Duration::from_secs(60)).bytes(10);
        let result: Result<(), Failure> = budget
            .run(Phase::Fetching, async {
                assert_eq!(receive(6), Ok(()));
                let task = tokio::spawn(carried(async { receive(6) }));
                assert_eq!(task.await.unwrap(), Err(Spending::Bytes(10)));
                Err(Failure::Own)
            })
            .await;
        let Err(Failure::Spent(text)) = result else {
            panic!("{result:?}");
        };
        let expected = "more than 10 bytes were received while fetching the signatures: ";
        assert!(text.starts_with(expected), "{text}");

        let budget = Budget::within(Duration::from_secs(60)).requests(1);
        let result: Result<(), Failure> = budget
            .run(Phase::Listing, async {
                assert_eq!(request(), Ok(()));
                assert_eq!(request(), Err(Spending::Requests(1)));
                // The run ends even where the failure is swallowed.
                std::future::pending().await
            })
            .await;
        assert!(matches!(result, Err(Failure::Spent(_))), "{result:?}");
    }

    /// Work that never waits stops at the next look at its budget, and says that it was at work.
    #[tokio::test]
    async fn work_without_waiting_stops() {
        let budget = Budget::within(Duration::from_millis(30));
        let result: Result<(), Failure> = budget
            .run(Phase::Verifying, async {
                loop {
                    std::thread::sleep(Duration::from_millis(10));
                    check()?;
                }
            })
            .await;
        let Err(Failure::Spent(text)) = result else {
            panic!("{result:?}");
        };
        assert!(text.ends_with(" of work here"), "{text}");
    }

    /// What can't be taken back is not begun in the last moments, and named where it is stopped.
    #[tokio::test(start_paused = true)]
    async fn what_is_unsettled_is_named() {
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        let storing = || Unsettled::Storing(digest.clone());
        let budget = Budget::within(Duration::from_secs(10));
        let result: Result<(), Failure> = budget
            .run(Phase::Storing, async {
                sleep(Duration::from_millis(9500)).await;
                begin_unsettled(storing())?;
                unreachable!("there is no time for it")
            })
            .await;
        let Err(Failure::Spent(text)) = result else {
            panic!("{result:?}");
        };
        assert!(!text.contains("being stored"), "{text}");
        let budget = Budget::within(Duration::from_secs(10));
        let result: Result<(), Failure> = budget
            .run(Phase::Storing, async {
                begin_unsettled(storing())?;
                wait(Phase::Storing, "a.test", 60).await;
                Ok(())
            })
            .await;
        let text = format!(
            "the deadline of 10 seconds passed while storing the signature: waited 10 seconds for a.test. The signature {digest} was being stored: it may be there, and may not be listed"
        );
        assert_eq!(result, Err(Failure::Spent(text)));
    }
}
