//! Turns for what is asked of registries: so many at a time, of one registry fewer than that. No set of slow registries holds up
//! the others: those that answered lately come first, then those that have the fewest turns; and where all turns are taken,
//! a slow registry loses one to somebody who has fewer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The turns. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<State>>);

/// A turn; it ends with the value.
#[derive(Debug)]
pub(crate) struct Turn {
    number: u64,
    turns: Turns,
    told: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    lines: HashMap<Arc<str>, Line>,
    held: BTreeMap<u64, Held>,
    /// By their numbers, the first to come first.
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// When it was last looked for somebody slow.
    looked: Option<Instant>,
}

/// Those who want something of one registry.
#[derive(Debug, Default)]
struct Line {
    held: usize,
    waiting: usize,
    /// When it last answered in good time; none where it was slow since.
    answered: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    registry: Arc<str>,
    since: Instant,
    /// Told when the turn is lost.
    told: Arc<Notify>,
}

#[derive(Debug)]
struct Waiting {
    registry: Arc<str>,
    /// Told when it is its turn.
    told: Arc<Notify>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Waits for a turn at a registry.
    ///
    /// # Errors
    /// Too many wait, or it took too long, in words.
    pub(crate) async fn take(&self, registry: &str) -> Result<Turn, String> {
        let crowded =
            || format!("too many verifications wait for the registry {registry}; try again");
        let turn = self.queue(registry).ok_or_else(crowded)?;
        let given = async {
            while !self.lock().held.contains_key(&turn.number) {
                if timeout(AGAIN, turn.told.notified()).await.is_err() {
                    self.lock().make_room();
                }
            }
        };
        timeout(PATIENCE, given).await.map_err(|_| crowded())?;
        Ok(turn)
    }

    /// A place in the line, or a turn at once; none where the line is too long.
    fn queue(&self, registry: &str) -> Option<Turn> {
        let mut state = self.lock();
        state.forget_idle();
        let registry: Arc<str> = registry.into();
        let line = state.lines.entry(Arc::clone(&registry)).or_default();
        if line.waiting >= WAITING {
            return None;
        }
        line.waiting += 1;
        let number = state.next;
        state.next = state.next.wrapping_add(1);
        let told = Arc::new(Notify::new());
        let waiting = Waiting {
            registry,
            told: Arc::clone(&told),
        };
        state.waiting.insert(number, waiting);
        state.give();
        Some(Turn {
            number,
            turns: self.clone(),
            told,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Ready when the turn is somebody else's.
    pub(crate) async fn lost(&self) {
        while self.turns.lock().held.contains_key(&self.number) {
            self.told.notified().await;
        }
    }

    /// The registry has answered.
    pub(crate) fn answered(&self) {
        let mut state = self.turns.lock();
        let now = Instant::now();
        let Some(held) = state.held.get(&self.number) else {
            return;
        };
        let in_time = now.duration_since(held.since) < SLOW;
        let registry = Arc::clone(&held.registry);
        if let Some(line) = state.lines.get_mut(&registry) {
            line.answered = in_time.then_some(now);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if let Some(waiting) = state.waiting.remove(&self.number)
            && let Some(line) = state.lines.get_mut(&waiting.registry)
        {
            line.waiting = line.waiting.saturating_sub(1);
        }
        state.release(self.number);
        state.give();
    }
}

impl State {
    /// Gives free turns to those who wait.
    fn give(&mut self) {
        let now = Instant::now();
        while self.held.len() < AT_ONCE
            && let Some(number) = self.first(now)
        {
            self.hand(number, now);
        }
    }

    /// Gives a turn to one who waits.
    fn hand(&mut self, number: u64, now: Instant) {
        let Some(Waiting { registry, told }) = self.waiting.remove(&number) else {
            return;
        };
        if let Some(line) = self.lines.get_mut(&registry) {
            line.held += 1;
            line.waiting = line.waiting.saturating_sub(1);
        }
        told.notify_one();
        let held = Held {
            registry,
            since: now,
            told,
        };
        self.held.insert(number, held);
    }

    /// Ends a turn.
    fn release(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        if let Some(line) = self.lines.get_mut(&held.registry) {
            line.held = line.held.saturating_sub(1);
            if held.since.elapsed() >= SLOW {
                line.answered = None;
            }
        }
        Some(held)
    }

    /// Takes turns away from slow registries as long as others have fewer.
    fn make_room(&mut self) {
        let now = Instant::now();
        if self
            .looked
            .is_some_and(|looked| now.duration_since(looked) < AGAIN / 2)
        {
            return;
        }
        self.looked = Some(now);
        // Nobody is known for what it answered before it became slow.
        for held in self.held.values() {
            if now.duration_since(held.since) >= SLOW
                && let Some(line) = self.lines.get_mut(&held.registry)
            {
                line.answered = None;
            }
        }
        while let Some(first) = self.first(now)
            && let Some(slow) = self.slow(first, now)
            && let Some(held) = self.release(slow)
        {
            held.told.notify_one();
            self.hand(first, now);
        }
    }

    /// Of those who wait and may have a turn, whose it is.
    fn first(&self, now: Instant) -> Option<u64> {
        let ranked = self.waiting.iter().filter_map(|(number, waiting)| {
            let line = self.lines.get(&waiting.registry)?;
            let may = line.held < AT_ONE_REGISTRY;
            may.then(|| (!line.is_known(now), line.held, *number))
        });
        ranked.min().map(|(_, _, number)| number)
    }

    /// The turn that somebody who waits may have in place of its holder: one that takes long, of a registry that has more, or
    /// that did not answer lately where the other did.
    fn slow(&self, first: u64, now: Instant) -> Option<u64> {
        let wants = self.lines.get(&self.waiting.get(&first)?.registry)?;
        let ranked = self.held.iter().filter_map(|(number, held)| {
            let line = self.lines.get(&held.registry)?;
            let preferred = wants.is_known(now) && !line.is_known(now);
            let has_more = line.held > wants.held + usize::from(wants.held > 0);
            let is_slow = now.duration_since(held.since) >= SLOW;
            (is_slow && (has_more || preferred))
                .then(|| (!line.is_known(now), line.held, Reverse(*number)))
        });
        ranked.max().map(|(_, _, Reverse(number))| number)
    }

    /// Forgets lines in which nobody stands, those first that answered longest ago.
    fn forget_idle(&mut self) {
        if self.lines.len() < REGISTRIES {
            return;
        }
        let idle = |line: &Line| line.held + line.waiting == 0;
        let mut answered: Vec<_> = self
            .lines
            .values()
            .filter(|line| idle(line))
            .map(|line| line.answered)
            .collect();
        answered.sort_unstable();
        let least = answered.get(answered.len() / 2).copied().flatten();
        self.lines
            .retain(|_, line| !idle(line) || line.answered > least);
    }
}

impl Line {
    /// Whether it answered lately.
    fn is_known(&self, now: Instant) -> bool {
        self.answered
            .is_some_and(|answered| now.duration_since(answered) < LATELY)
    }
}

/// Most at a time.
const AT_ONCE: usize = 512;
/// Most at a time of one registry.
const AT_ONE_REGISTRY: usize = 64;
/// Most that wait for one registry.
const WAITING: usize = 2000;
/// How long is waited for a turn.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so long a turn may be lost to others.
const SLOW: Duration = Duration::from_secs(5);
/// How soon it is looked for a slow one, while there is no turn.
const AGAIN: Duration = Duration::from_secs(1);
/// How long it counts that a registry has answered.
const LATELY: Duration = Duration::from_secs(600);
/// From so many on, lines in which nobody stands are forgotten.
const REGISTRIES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_registry_does_not_hold_up_another() {
        let turns = Turns::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONE_REGISTRY {
            held.push(turns.take("drips.example").await.unwrap());
        }
        let told = turns.take("drips.example").await.unwrap_err();
        assert!(told.contains("drips.example"), "{told}");
        let other = turns.take("other.example").await.unwrap();
        held.clear();
        assert!(turns.take("drips.example").await.is_ok());
        drop(other);
        for at in 0..REGISTRIES * 2 {
            let turn = turns.take(&at.to_string()).await.unwrap();
            if at % 2 == 0 {
                turn.answered();
            }
        }
        assert!(turns.lock().lines.len() <= REGISTRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_has_an_end() {
        let turns = Turns::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONE_REGISTRY {
            held.push(turns.take("a").await.unwrap());
        }
        let begun = Instant::now();
        let all = (0..=WAITING).map(|_| turns.take("a"));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(begun.elapsed(), PATIENCE);
        // All have left the line.
        held.clear();
        assert!(turns.take("a").await.is_ok());
        assert_eq!(turns.lock().waiting.len(), 0);
    }

    /// Turns of so many registries, each of which drips; and as many more that wait.
    async fn dripping(turns: &Turns, registries: usize, more: usize) -> Vec<Turn> {
        let mut held = Vec::new();
        for at in 0..AT_ONCE {
            let registry = format!("drips{}.example", at % registries);
            held.push(turns.take(&registry).await.unwrap());
        }
        for at in 0..more {
            let registry = format!("drips{}.example", at % registries);
            held.push(turns.queue(&registry).unwrap());
        }
        held
    }

    /// As many slow registries as there are turns, each of which wants more: a stranger to all gets its turn too.
    #[tokio::test(start_paused = true)]
    async fn strangers_are_equal() {
        let turns = Turns::new();
        let held = dripping(&turns, AT_ONCE, 600).await;
        let begun = Instant::now();
        let good = turns.take("good.example").await.unwrap();
        assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
        drop((held, good));
    }

    /// Slow registries that answered before they were slow, as an attacker's would: they are known no longer than that.
    #[tokio::test(start_paused = true)]
    async fn who_turns_slow_is_unknown() {
        let turns = Turns::new();
        for at in 0..AT_ONCE / 4 {
            let turn = turns.take(&format!("drips{at}.example")).await.unwrap();
            turn.answered();
        }
        let held = dripping(&turns, AT_ONCE / 4, 600).await;
        let begun = Instant::now();
        let good = turns.take("good.example").await.unwrap();
        assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
        drop((held, good));
    }

    /// Eight slow registries have all turns, and more wait for them: others get theirs soon, as many as they want in the end.
    #[tokio::test(start_paused = true)]
    async fn slow_registries_give_way() {
        let turns = Turns::new();
        let held = dripping(&turns, AT_ONCE / AT_ONE_REGISTRY, 600).await;
        let begun = Instant::now();
        let all = (0..40).map(|_| turns.take("good.example"));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_ok), "{:?}", begun.elapsed());
        assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
        let lost = held.iter().filter(|turn| {
            let state = turns.lock();
            !state.held.contains_key(&turn.number) && !state.waiting.contains_key(&turn.number)
        });
        assert_eq!(lost.count(), 40);
        assert_eq!(turns.lock().held.len(), AT_ONCE);
        drop((held, all));
        let state = turns.lock();
        assert!(state.held.is_empty() && state.waiting.is_empty());
        assert!(
            state
                .lines
                .values()
                .all(|line| line.held + line.waiting == 0)
        );
    }

    /// As many slow registries as there are turns: who answered lately need not wait behind all that are unknown.
    #[tokio::test(start_paused = true)]
    async fn who_answered_lately_comes_first() {
        let turns = Turns::new();
        let turn = turns.take("known.example").await.unwrap();
        turn.answered();
        drop(turn);
        let held = dripping(&turns, AT_ONCE, 600).await;
        let begun = Instant::now();
        let all = (0..40).map(|_| turns.take("known.example"));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_ok));
        assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
        // One that turns slow is as unknown as they are.
        tokio::time::sleep(SLOW).await;
        drop(all);
        assert!(!turns.lock().lines["known.example"].is_known(Instant::now()));
        drop(held);
    }
}
