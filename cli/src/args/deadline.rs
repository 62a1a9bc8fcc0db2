//! `--deadline`: the time that a command may spend; and what one artifact may spend whatever is said.

use std::time::Duration;

use hardsign_core::budget::Budget;

/// What one artifact or file may spend: the time where no deadline is given, the rest always.
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

/// Bytes a second at which a file is read at least.
const SLOWEST: u64 = 1 << 20;

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
        let whole = self.whole.clone();
        self.counted(whole.unwrap_or_else(|| Budget::within(self.each.time)))
    }

    /// What a file of this size and its signatures may spend: the same, and the time to read it. How long a
    /// pipe takes is not known.
    pub(crate) fn file(&self, size: Option<u64>) -> Budget {
        let time = |size: u64| {
            let reading = Duration::from_secs(size / SLOWEST);
            Budget::within(self.each.time.saturating_add(reading))
        };
        let whole = self.whole.clone().or_else(|| size.map(time));
        self.counted(whole.unwrap_or_default())
    }

    /// The same time, and what else one artifact may spend, on an account of its own.
    fn counted(&self, time: Budget) -> Budget {
        time.bytes(self.each.bytes).requests(self.each.requests)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A deadline takes no other limit away: each artifact of a batch has its own count of bytes and requests.
    #[test]
    fn limits_hold_beside_a_deadline() {
        let hour = Duration::from_secs(3600);
        for given in [None, Some(hour)] {
            let deadline = Deadline::new(given, READING);
            for budget in [
                deadline.budget(),
                deadline.file(None),
                deadline.file(Some(1 << 40)),
            ] {
                let shown = format!("{budget:?}");
                for limit in ["bytes: Some(1073741824)", "requests: Some(20000)"] {
                    assert!(shown.contains(limit), "{shown}");
                }
                if given.is_some() {
                    assert!(budget.time_left() <= given, "{shown}");
                }
            }
        }
        let deadline = Deadline::new(None, READING);
        assert!(deadline.budget().time_left() <= Some(READING.time));
        // A tebibyte takes its time, a pipe as long as it likes.
        assert!(deadline.file(Some(1 << 40)).time_left() > Some(hour * 24));
        assert_eq!(deadline.file(None).time_left(), None);
    }
}
