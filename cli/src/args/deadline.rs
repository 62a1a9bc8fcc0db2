//! `--deadline`: what a command may spend, and what one artifact may spend where nothing is said.

use std::time::Duration;

use hardsign_core::budget::Budget;

/// What one artifact or file may spend where no deadline is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spending {
    time: Duration,
    bytes: u64,
    requests: u64,
}

/// Reading: an artifact, its signatures, and all that their verification asks for.
pub(super) const READING: Spending = Spending {
    time: Duration::from_secs(5 * 60),
    bytes: 1 << 30,
    requests: 20_000,
};

/// Signing, which may wait for a person more than once.
pub(super) const SIGNING: Spending = Spending {
    time: Duration::from_secs(15 * 60),
    ..READING
};

/// The time for the whole of a command, if it was given.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    whole: Option<Budget>,
    each: Spending,
}

impl Deadline {
    /// One that begins now.
    pub(super) fn new(given: Option<Duration>, each: Spending) -> Self {
        Self {
            whole: given.map(Budget::within),
            each,
        }
    }

    /// What the next artifact, or the next step, may spend.
    pub(crate) fn budget(&self) -> Budget {
        match &self.whole {
            Some(whole) => whole.clone(),
            None => {
                let budget = Budget::within(self.each.time);
                budget.bytes(self.each.bytes).requests(self.each.requests)
            }
        }
    }

    /// What may be spent on something as large as it likes to be, a file or a copy: what was given,
    /// or anything.
    pub(crate) fn given(&self) -> Budget {
        self.whole.clone().unwrap_or_default()
    }

    /// How long to wait for something that is over: as long as usual, but for the time that was
    /// given.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.whole.as_ref()?.time_left()
    }
}
