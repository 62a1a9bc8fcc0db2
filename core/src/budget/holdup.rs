//! Work that one does for several: whoever waits for it waits for the party that it waits for.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard, watch};

use super::{Party, waiting};

tokio::task_local! {
    /// What this task does for others as well.
    static LED: Vec<Holdup>;
}

/// Whom shared work waits for, or waited for last; clones are about the same work.
#[derive(Clone, Debug)]
pub(crate) struct Holdup(Arc<watch::Sender<Option<Party>>>);

/// A lock under which one does what all want; the others wait, each on its own account.
#[derive(Debug, Default)]
pub(crate) struct Lock<T> {
    value: Mutex<T>,
    holdup: Holdup,
}

impl Default for Holdup {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Holdup {
    /// Does the work: whom it waits for is known to those behind it. It is boxed, since what leads is often inside what leads.
    pub(crate) fn lead<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        let mut all = leading();
        all.push(self.clone());
        led(all, work)
    }

    /// Waits for work that another does: for as long as that waits for a party, so does this.
    pub(crate) async fn behind<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        // Whatever is ready has waited for nobody.
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = std::future::ready(()) => {}
        }
        let mut party = self.0.subscribe();
        loop {
            let now = party.borrow_and_update().clone();
            let _waiting = now.map(|party| waiting(|| party.clone()));
            tokio::select! {
                biased;
                done = &mut work => return done,
                Ok(()) = party.changed() => {}
            }
        }
    }
}

impl<T> Lock<T> {
    /// Waits for the lock.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, T> {
        self.holdup.behind(self.value.lock()).await
    }

    /// Does what others wait for; the caller holds the lock.
    pub(crate) fn lead<R>(&self, work: impl Future<Output = R>) -> impl Future<Output = R> {
        self.holdup.lead(work)
    }
}

/// What the task does for others as well.
pub(super) fn leading() -> Vec<Holdup> {
    LED.try_with(Clone::clone).unwrap_or_default()
}

/// The same work for a task of its own, which does it for the same others.
pub(super) fn led<T>(led: Vec<Holdup>, work: impl Future<Output = T>) -> impl Future<Output = T> {
    LED.scope(led, Box::pin(work))
}

/// Tells those behind this task whom it waits for.
pub(super) fn tell(party: impl FnOnce() -> Party) {
    let tell = |led: &Vec<Holdup>| {
        if led.is_empty() {
            return;
        }
        let party = Some(party());
        for Holdup(told) in led {
            told.send_if_modified(|known| {
                let changed = *known != party;
                known.clone_from(&party);
                changed
            });
        }
    };
    // Work for nobody else tells nobody.
    LED.try_with(tell).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::super::{Budget, Overspent, Phase, during};
    use super::*;

    async fn wait(server: &str, seconds: u64) {
        let _waiting = waiting(|| Party::Server(server.to_owned()));
        sleep(Duration::from_secs(seconds)).await;
    }

    async fn told(
        budget: Budget,
        phase: Phase,
        work: impl Future<Output = ()>,
    ) -> Result<(), Overspent> {
        let work = async {
            work.await;
            Ok(())
        };
        budget.run(phase, work).await
    }

    /// Those behind work that another does, in its own run or in none, name whom that waits for at the time, in
    /// the phase that is theirs; so do those behind them.
    #[tokio::test(start_paused = true)]
    async fn those_behind_name_the_same_party() {
        let (first, second) = (Lock::<()>::default(), Lock::<()>::default());
        let began = Instant::now();
        let leader = async {
            let _turn = first.lock().await;
            let work = async {
                wait("quick.test", 1).await;
                wait("slow.test", 60).await;
            };
            first.lead(work).await;
        };
        let next = async {
            sleep(Duration::from_millis(10)).await;
            let _turn = second.lock().await;
            let work = async {
                let _turn = first.lock().await;
            };
            let budget = Budget::within(Duration::from_secs(40));
            told(budget, Phase::Resolving, second.lead(work)).await
        };
        let last = async {
            sleep(Duration::from_millis(20)).await;
            let work = during(Phase::Listing, async {
                let _turn = second.lock().await;
            });
            let budget = Budget::within(Duration::from_secs(10));
            told(budget, Phase::Verifying, work).await
        };
        let ((), next, last) = tokio::join!(leader, next, last);
        assert_eq!(
            next.unwrap_err().to_string(),
            "the deadline of 40 seconds passed while resolving the reference: waited 39 seconds for slow.test"
        );
        assert_eq!(
            last.unwrap_err().to_string(),
            "the deadline of 10 seconds passed while listing the signatures: waited 9 seconds for slow.test"
        );
        assert_eq!(began.elapsed().as_secs(), 61);
    }

    /// Work on a task of its own tells those who wait for it.
    #[tokio::test(start_paused = true)]
    async fn a_task_of_its_own_tells() {
        let holdup = Holdup::default();
        let leader = holdup.clone();
        let task = async move { leader.lead(wait("slow.test", 60)).await };
        let task = tokio::spawn(super::super::carried(task));
        let work = holdup.behind(async { task.await.unwrap() });
        let budget = Budget::within(Duration::from_secs(5));
        let stopped = told(budget, Phase::Listing, work).await.unwrap_err();
        assert_eq!(
            stopped.to_string(),
            "the deadline of 5 seconds passed while listing the signatures: waited 5 seconds for slow.test"
        );
    }
}
