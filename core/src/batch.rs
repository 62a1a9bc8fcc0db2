//! Many artifacts through one signer or one verifier: several under way at once, results in the
//! order of the input, and no more work once one result says that the rest can't succeed.

use std::cell::Cell;
use std::future::Future;
use std::ops::ControlFlow;

use futures_util::stream::{self, StreamExt as _};

/// Does `work` for every item, at most `at_most` at a time, and hands the results to `done` in the
/// order of `items`.
///
/// When `done` breaks, nothing further is started. What is under way is finished and handed over all
/// the same, since a signature that is stored must not go unreported. Returns how many results were
/// handed over.
pub async fn in_order<I, T, Fut>(
    items: I,
    at_most: usize,
    work: impl FnMut(I::Item) -> Fut,
    mut done: impl FnMut(T) -> ControlFlow<()>,
) -> usize
where
    I: IntoIterator,
    Fut: Future<Output = T>,
{
    let stopped = Cell::new(false);
    let items = items.into_iter().take_while(|_| !stopped.get());
    let mut results = stream::iter(items).map(work).buffered(at_most.max(1));
    let mut handed_over = 0;
    while let Some(result) = results.next().await {
        handed_over += 1;
        if done(result).is_break() {
            stopped.set(true);
        }
    }
    handed_over
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    /// CLI-32: results come in input order though later items are done first, and no more than
    /// the limit are under way.
    #[tokio::test]
    async fn cli_32_results_keep_input_order_within_the_limit() {
        let under_way = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let mut results = Vec::new();
        let work = async |i: u64| {
            let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20 - 2 * i)).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            i
        };
        let count = in_order(0..10, 4, work, |i| {
            results.push(i);
            ControlFlow::Continue(())
        })
        .await;
        assert_eq!((count, results), (10, (0..10).collect()));
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    /// A result that ends the batch stops what has not begun; what is under way is still handed
    /// over, for it may have been done.
    #[tokio::test]
    async fn a_break_starts_nothing_more() {
        let started = AtomicUsize::new(0);
        let work = async |i: u64| {
            started.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            i
        };
        let mut results = Vec::new();
        let count = in_order(0..100, 3, work, |i| {
            results.push(i);
            if i == 1 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
        let started = started.load(Ordering::SeqCst);
        assert!((3..=5).contains(&started), "{started}");
        assert_eq!(count, started);
        assert_eq!(results.len(), started);
    }
}
