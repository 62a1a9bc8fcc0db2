//! A login that is tried once.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::Error;

/// Something that is tried once: the first caller does it, the others wait and share the outcome.
///
/// This is how a hundred signatures with a wrong PIN become one login attempt.
///
/// ```
/// use hardsign_plugin::{Error, Once};
///
/// let login = Once::new();
/// let mut attempts = 0;
/// for _ in 0..100 {
///     let result = login.get(|| -> Result<(), Error> {
///         attempts += 1;
///         Err(Error::access_denied("wrong PIN"))
///     });
///     assert_eq!(result.unwrap_err().to_string(), "wrong PIN");
/// }
/// assert_eq!(attempts, 1);
/// ```
#[derive(Debug)]
pub struct Once<T> {
    outcome: OnceLock<Result<T, Error>>,
    turn: Mutex<()>,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Once<T> {
    /// Nothing was tried yet.
    pub const fn new() -> Self {
        Self {
            outcome: OnceLock::new(),
            turn: Mutex::new(()),
        }
    }

    /// Tries, or gives the outcome of the first try.
    ///
    /// # Errors
    /// The error of the first try, to every caller.
    pub fn get(&self, attempt: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
        if self.outcome.get().is_none() {
            // The lock guards no data, so a poisoned one is as good.
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if self.outcome.get().is_none() {
                // An attempt that panics is an attempt: the error is latched before it is made.
                let mut guard = Latch {
                    outcome: &self.outcome,
                    result: Some(Err(Error::other("an earlier attempt did not come back"))),
                };
                guard.result = Some(attempt());
            }
        }
        match self.outcome.get() {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::other("nothing was tried")),
        }
    }

    /// The outcome, if there is one.
    pub fn peek(&self) -> Option<&Result<T, Error>> {
        self.outcome.get()
    }
}

/// Stores the result when dropped, also by a panic.
struct Latch<'a, T> {
    outcome: &'a OnceLock<Result<T, Error>>,
    result: Option<Result<T, Error>>,
}

impl<T> Drop for Latch<'_, T> {
    fn drop(&mut self) {
        if let Some(result) = self.result.take() {
            // Whoever holds the turn is the only one who stores.
            drop(self.outcome.set(result));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn eight_threads_try_once() {
        let once = Once::<()>::new();
        let attempts = AtomicU32::new(0);
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let result = once.get(|| {
                        attempts.fetch_add(1, Ordering::SeqCst);
                        Err(Error::access_denied("no"))
                    });
                    assert_eq!(result.unwrap_err(), Error::access_denied("no"));
                });
            }
        });
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_counts_as_the_attempt() {
        let once = Once::<()>::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            once.get(|| panic!("in the middle of a login"))
                .copied()
                .ok()
        }));
        assert!(panicked.is_err());
        let later = once.get(|| Ok(())).unwrap_err();
        assert!(later.to_string().contains("did not come back"));
    }
}
