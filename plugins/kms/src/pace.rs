//! How often a service is asked, and how long it may take.
//!
//! The clients of the services repeat nothing themselves: this is the one layer that does, within
//! the time that the host gives a request, and it says so once.

use std::future::Future;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hardsign_plugin::{Context, Error};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// All that the service may take for a request, repetitions included.
const REQUEST: Duration = Duration::from_secs(50);

/// All that a request may take from when it came, its wait for a turn included; the host allows 60 seconds.
const ANSWER: Duration = Duration::from_secs(57);

/// For how many seconds a request may wait for its turn, by the setting `rate`. As long again it may have
/// waited for those before it.
const QUEUE: u32 = 3;

/// All that one try may take.
const TRY: Duration = Duration::from_secs(20);

/// The longest search for a service that has never answered: its address is probably wrong.
const SEARCH: Duration = Duration::from_secs(10);

/// The first pause; each one after it is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause that is not the service's own wish.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often a failure is repeated that the next try mends or none.
const MOST_BRIEF: u32 = 2;

/// A request that failed, and whether it is worth repeating.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    again: bool,
    /// Whether more than two repetitions would be the same again.
    briefly: bool,
    missing: bool,
    /// Whether the service said nothing at all.
    unreached: bool,
    /// Whether nothing was done, so that asking again can do nothing twice.
    undone: bool,
    /// The service's own wish (`Retry-After`).
    after: Option<Duration>,
}

impl Failure {
    /// A failure that would be the same again.
    pub fn lasting(error: Error) -> Self {
        Self {
            error,
            again: false,
            briefly: false,
            missing: false,
            unreached: false,
            undone: false,
            after: None,
        }
    }

    /// A lasting failure: there is no such thing.
    pub fn missing(error: Error) -> Self {
        Self {
            missing: true,
            ..Self::lasting(error)
        }
    }

    /// Whether it is that there is no such thing.
    pub fn is_missing(&self) -> bool {
        self.missing
    }

    /// What was found, where it is an answer too that there is no such thing.
    ///
    /// # Errors
    /// Any other failure.
    pub fn or_none<T>(outcome: Result<T, Self>) -> Result<Option<T>, Self> {
        match outcome {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A failure that may be over in a moment: throttling, an error of the service, a connection
    /// that broke. Asking for a signature twice does no harm.
    pub fn passing(error: Error) -> Self {
        Self {
            again: true,
            ..Self::lasting(error)
        }
    }

    /// A failure that the next try has mended, or none does: it is repeated twice at most.
    pub fn once_more(error: Error) -> Self {
        Self {
            briefly: true,
            ..Self::passing(error)
        }
    }

    /// A service that can't be reached: passing, but from one that has never answered no answer is
    /// waited for longer than ten seconds.
    pub fn unreached(error: Error) -> Self {
        Self {
            unreached: true,
            ..Self::passing(error)
        }
    }

    /// The same, of a request that was surely not done: it was turned away, or never arrived.
    #[must_use]
    pub fn undone(self) -> Self {
        Self {
            undone: true,
            ..self
        }
    }

    /// The error, where nothing is repeated.
    pub fn into_error(self) -> Error {
        self.error
    }

    /// The same, with the pause that the service asks for.
    #[must_use]
    pub fn after(mut self, pause: Option<Duration>) -> Self {
        self.after = pause;
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::lasting(error)
    }
}

/// The pace at which one key's service is asked.
#[derive(Debug)]
pub struct Pace {
    /// The service as messages name it, for instance `AWS KMS`.
    service: &'static str,
    /// The most requests per second, by the setting `rate`.
    rate: Option<u32>,
    /// When the next request may start.
    next: Mutex<Option<Instant>>,
    told: AtomicBool,
    /// Whether the service has ever said anything.
    reached: AtomicBool,
}

/// What may be repeated of a request.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Again {
    /// Whatever fails in passing.
    Any,
    /// What was surely not done.
    Undone,
}

impl Pace {
    /// A pace without limit, or with at most `rate` requests per second.
    pub fn new(service: &'static str, rate: Option<u32>) -> Self {
        Self {
            service,
            rate: rate.filter(|rate| *rate > 0),
            next: Mutex::new(None),
            told: AtomicBool::new(false),
            reached: AtomicBool::new(false),
        }
    }

    /// How many requests may be under way where `wanted` are wished: no more than have their turn soon
    /// enough to be answered in time.
    pub fn in_flight(&self, wanted: u32) -> u32 {
        match self.rate {
            Some(rate) => wanted.min(rate.saturating_mul(QUEUE)),
            None => wanted,
        }
    }

    /// Does a request: waits for its turn, repeats it while it fails in passing, and gives up
    /// after 50 seconds, or ten if the service was never reached; sooner only if the host would lose patience. The user
    /// is told once for the life of this value that there is a wait.
    ///
    /// # Errors
    /// The last failure, or `TIMEOUT` if the service did not answer.
    pub async fn ask<T, F>(
        &self,
        context: &Context<'_>,
        request: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let notice = |line: &str| context.notice(line, None);
        self.repeat(Again::Any, context.elapsed(), notice, request)
            .await
    }

    /// Does a request that must not be done twice: it is repeated only where [it was not
    /// done](Failure::undone).
    ///
    /// # Errors
    /// As of [`ask`](Self::ask).
    pub async fn ask_carefully<T, F>(
        &self,
        context: &Context<'_>,
        request: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let notice = |line: &str| context.notice(line, None);
        self.repeat(Again::Undone, context.elapsed(), notice, request)
            .await
    }

    /// Does a request that must not be repeated, such as making a key: waits for its turn, and gives
    /// up after 50 seconds.
    ///
    /// # Errors
    /// `TIMEOUT` if the service did not answer.
    pub async fn ask_once<T>(
        &self,
        context: &Context<'_>,
        request: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let limit = Instant::now() + ANSWER.saturating_sub(context.elapsed());
        self.turn(limit).await?;
        let end = limit.min(Instant::now() + REQUEST);
        timeout_at(end, request).await.map_err(|_| self.silent())
    }

    /// `waited` is how long ago the request came.
    async fn repeat<T, F>(
        &self,
        again: Again,
        waited: Duration,
        notice: impl Fn(&str),
        mut request: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let limit = Instant::now() + ANSWER.saturating_sub(waited);
        self.turn(limit).await?;
        let start = Instant::now();
        let end = limit.min(start + REQUEST);
        let mut pause = FIRST_PAUSE;
        let mut brief = 0;
        let mut last = None;
        loop {
            let patience = match again {
                Again::Any => end.min(Instant::now() + TRY),
                Again::Undone => end,
            };
            let failure = match timeout_at(patience, request()).await {
                Ok(Ok(answer)) => {
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(failure)) => failure,
                // What the service said before says more than a try that was cut short.
                Err(_) if patience == end => return Err(last.unwrap_or_else(|| self.silent())),
                Err(_) => Failure::unreached(self.silent()),
            };
            if !failure.unreached {
                self.reached.store(true, Ordering::Relaxed);
            }
            brief += u32::from(failure.briefly);
            let repeatable = failure.again && (again == Again::Any || failure.undone);
            if !repeatable || brief > MOST_BRIEF {
                return Err(failure.error);
            }
            let wait = failure.after.unwrap_or_else(|| jittered(pause));
            pause = (pause * 2).min(LONGEST_PAUSE);
            let end = match self.reached.load(Ordering::Relaxed) {
                true => end,
                false => end.min(start + SEARCH),
            };
            if Instant::now() + wait >= end {
                return Err(failure.error);
            }
            if !self.told.swap(true, Ordering::Relaxed) {
                notice(&format!(
                    "{} asks for fewer requests or has a problem; trying again",
                    self.service
                ));
            }
            sleep(wait).await;
            if self.turn(end).await.is_err() {
                return Err(failure.error);
            }
            if !failure.unreached {
                last = Some(failure.error);
            }
        }
    }

    fn silent(&self) -> Error {
        Error::timeout(format!("{} did not answer", self.service)).with_hint(
            "check the network, the endpoint and the proxy settings, then run the command again",
        )
    }

    /// Waits until a request may start.
    ///
    /// # Errors
    /// That would not be before `limit`.
    async fn turn(&self, limit: Instant) -> Result<(), Error> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let start = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let start = next.map_or(now, |next| next.max(now));
            if start >= limit {
                return Err(Error::timeout(format!(
                    "with the plugin config rate={rate}, {} can't be asked in time",
                    self.service
                ))
                .with_hint("set a higher rate, or leave it out"));
            }
            *next = Some(start + Duration::from_secs(1) / rate);
            start
        };
        sleep_until(start).await;
        Ok(())
    }
}

/// Between half of a pause and the whole of it, so that many clients don't come back as one.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_throttled_request_is_repeated_and_told_once() {
        let pace = Pace::new("the service", None);
        let (tries, told) = (Cell::new(0), RefCell::new(Vec::new()));
        for _ in 0..2 {
            tries.set(0);
            let answer = pace
                .repeat(
                    Again::Any,
                    Duration::ZERO,
                    |line| told.borrow_mut().push(line.to_owned()),
                    || async {
                        tries.set(tries.get() + 1);
                        if tries.get() < 4 {
                            return Err(Failure::passing(Error::throttled("slow down")));
                        }
                        Ok(tries.get())
                    },
                )
                .await;
            assert_eq!(answer, Ok(4));
        }
        assert_eq!(told.borrow().len(), 1, "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_is_not_repeated() {
        let pace = Pace::new("the service", None);
        let tries = Cell::new(0);
        let failed = pace
            .repeat(
                Again::Any,
                Duration::ZERO,
                |_| panic!("nothing to tell"),
                || async {
                    tries.set(tries.get() + 1);
                    Err::<(), _>(Failure::lasting(Error::access_denied("no")))
                },
            )
            .await;
        assert_eq!(failed, Err(Error::access_denied("no")));
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_next_try_mends_or_none_is_repeated_twice() {
        let pace = Pace::new("the service", None);
        for mended in [1, 2, 3, 9] {
            let tries = Cell::new(0);
            let answer = pace.repeat(
                Again::Any,
                Duration::ZERO,
                |_| (),
                || async {
                    tries.set(tries.get() + 1);
                    match tries.get() <= mended {
                        true => Err(Failure::once_more(Error::access_denied("clock"))),
                        false => Ok(()),
                    }
                },
            );
            assert_eq!(answer.await.is_ok(), mended <= 2, "{mended}");
            assert_eq!(tries.get(), mended.min(2) + 1);
        }
    }

    /// The host gives a request 60 seconds; the plugin's own error comes before that.
    #[tokio::test(start_paused = true)]
    async fn repetitions_and_silence_end_before_the_host_loses_patience() {
        let pace = Pace::new("the service", None);
        let start = Instant::now();
        let failed = pace
            .repeat(
                Again::Any,
                Duration::ZERO,
                |_| (),
                || async { Err::<(), _>(Failure::passing(Error::throttled("slow down"))) },
            )
            .await;
        assert_eq!(failed, Err(Error::throttled("slow down")));
        assert!(start.elapsed() > Duration::from_secs(30) && start.elapsed() <= REQUEST);
        let start = Instant::now();
        let silent = pace.repeat(
            Again::Any,
            Duration::ZERO,
            |_| (),
            std::future::pending::<Result<(), Failure>>,
        );
        let error = silent.await.unwrap_err();
        assert_eq!(error.to_string(), "the service did not answer");
        assert!(start.elapsed() <= REQUEST);
    }

    /// A wrong address is told soon; an outage of a service that has answered before is waited out.
    #[tokio::test(start_paused = true)]
    async fn a_service_that_was_never_reached_is_given_up_soon() {
        let pace = Pace::new("the service", None);
        let unreached = || async { Err::<(), _>(Failure::unreached(Error::timeout("refused"))) };
        let start = Instant::now();
        let failed = pace
            .repeat(Again::Any, Duration::ZERO, |_| (), unreached)
            .await;
        assert_eq!(failed, Err(Error::timeout("refused")));
        assert!(start.elapsed() <= SEARCH);
        pace.repeat(
            Again::Any,
            Duration::ZERO,
            |_| (),
            || async { Ok::<_, Failure>(()) },
        )
        .await
        .unwrap();
        let start = Instant::now();
        pace.repeat(Again::Any, Duration::ZERO, |_| (), unreached)
            .await
            .unwrap_err();
        assert!(start.elapsed() > Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_may_say_when_to_come_back() {
        let pace = Pace::new("the service", None);
        let (start, tries) = (Instant::now(), Cell::new(0));
        let answer = pace.repeat(
            Again::Any,
            Duration::ZERO,
            |_| (),
            || async {
                tries.set(tries.get() + 1);
                match tries.get() {
                    1 => Err(Failure::passing(Error::throttled("later"))
                        .after(Some(Duration::from_secs(7)))),
                    _ => Ok(()),
                }
            },
        );
        assert_eq!(answer.await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_spaces_requests_evenly() {
        let pace = Pace::new("the service", Some(10));
        let start = Instant::now();
        for _ in 0..11 {
            pace.repeat(
                Again::Any,
                Duration::ZERO,
                |_| (),
                || async { Ok::<_, Failure>(()) },
            )
            .await
            .unwrap();
        }
        assert_eq!(start.elapsed().as_millis(), 1000);
    }

    #[test]
    fn pauses_vary_within_half_their_length() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_millis(100)).as_millis();
            assert!((50..=100).contains(&pause), "{pause}");
        }
    }

    /// Where `rate` makes requests wait, as many are under way as can be answered in time: none fails for its wait,
    /// though the service takes most of its own time, and none is answered after the host has lost patience.
    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_is_no_silence_of_the_service() {
        for rate in [1, 2, 7, 100] {
            let pace = Pace::new("the service", Some(rate));
            let most = pace.in_flight(64);
            assert!((1..=64).contains(&most), "{rate}: {most}");
            let begun = Instant::now();
            // As many again wait behind those under way, as the SDK lets them.
            let all = (0..most * 2).map(|_| {
                pace.repeat(
                    Again::Any,
                    Duration::ZERO,
                    |_| (),
                    || async {
                        sleep(TRY - Duration::from_secs(1)).await;
                        Ok::<_, Failure>(begun.elapsed())
                    },
                )
            });
            for answered in futures_util::future::join_all(all).await {
                assert!(answered.unwrap() < ANSWER, "{rate}");
            }
        }
        assert_eq!(Pace::new("the service", Some(1)).in_flight(64), 3);
        assert_eq!(Pace::new("the service", Some(100)).in_flight(64), 64);
        assert_eq!(Pace::new("the service", Some(100)).in_flight(2), 2);
        assert_eq!(Pace::new("the service", None).in_flight(64), 64);
    }

    /// The service has its 50 seconds from a request's turn on; the host has 60 for all of it.
    #[tokio::test(start_paused = true)]
    async fn the_clock_of_the_service_begins_with_the_turn() {
        let pace = Pace::new("the service", Some(1));
        let failing = || async { Err::<(), _>(Failure::passing(Error::throttled("slow down"))) };
        let start = Instant::now();
        let asked = (0..3).map(|_| pace.repeat(Again::Any, Duration::ZERO, |_| (), failing));
        for failed in futures_util::future::join_all(asked).await {
            assert_eq!(failed, Err(Error::throttled("slow down")));
        }
        assert!(
            start.elapsed() > REQUEST - LONGEST_PAUSE * 2,
            "{:?}",
            start.elapsed()
        );
        assert!(start.elapsed() < ANSWER, "{:?}", start.elapsed());
        // One that has waited behind others for long has less time, and is told the service's own words.
        let start = Instant::now();
        let waited = Duration::from_secs(50);
        let failed = pace.repeat(Again::Any, waited, |_| (), failing).await;
        assert_eq!(failed, Err(Error::throttled("slow down")));
        assert!(start.elapsed() <= ANSWER - waited, "{:?}", start.elapsed());
    }

    /// What is asked for one after the other at a rate that does not allow it is not the service's fault.
    #[tokio::test(start_paused = true)]
    async fn a_rate_that_is_too_low_is_told() {
        let pace = Pace::new("the service", Some(1));
        let mut asked = 0;
        let begun = Instant::now();
        let failed = loop {
            let answer = pace.repeat(
                Again::Any,
                begun.elapsed(),
                |_| (),
                || async { Ok::<_, Failure>(()) },
            );
            match answer.await {
                Ok(()) => asked += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(asked, 57);
        assert_eq!(
            failed.to_string(),
            "with the plugin config rate=1, the service can't be asked in time"
        );
        assert!(failed.hint().unwrap().contains("higher rate"));
    }

    /// A try that the end cuts short does not hide what the service said before.
    #[tokio::test(start_paused = true)]
    async fn the_last_word_of_the_service_is_told() {
        let pace = Pace::new("the service", None);
        let tries = Cell::new(0);
        let failed = pace.repeat(
            Again::Any,
            Duration::ZERO,
            |_| (),
            || async {
                tries.set(tries.get() + 1);
                match tries.get() {
                    1 => Err::<(), _>(
                        Failure::passing(Error::throttled("slow down"))
                            .after(Some(Duration::from_secs(35))),
                    ),
                    _ => std::future::pending().await,
                }
            },
        );
        assert_eq!(failed.await, Err(Error::throttled("slow down")));
        assert_eq!(tries.get(), 2);
    }

    /// What must not be done twice is repeated only where it was not done at all.
    #[tokio::test(start_paused = true)]
    async fn what_was_done_perhaps_is_not_repeated() {
        let pace = Pace::new("the service", None);
        for (undone, most) in [(true, 3), (false, 1)] {
            let tries = Cell::new(0);
            let answer = pace.repeat(
                Again::Undone,
                Duration::ZERO,
                |_| (),
                || async {
                    tries.set(tries.get() + 1);
                    let failure = Failure::passing(Error::throttled("slow down"));
                    match (tries.get(), undone) {
                        (3, _) => Ok(()),
                        (_, true) => Err(failure.undone()),
                        (_, false) => Err(failure),
                    }
                },
            );
            assert_eq!(answer.await.is_ok(), undone);
            assert_eq!(tries.get(), most);
        }
        let tries = Cell::new(0);
        let silent = pace.repeat(
            Again::Undone,
            Duration::ZERO,
            |_| (),
            || async {
                tries.set(tries.get() + 1);
                std::future::pending::<Result<(), Failure>>().await
            },
        );
        silent.await.unwrap_err();
        assert_eq!(tries.get(), 1);
    }
}
