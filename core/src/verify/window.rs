//! A few futures under way at once, finished in the order in which they were begun.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Futures that run together; [`Window::next`] hands out their results in order.
pub(super) struct Window<'a, T> {
    slots: VecDeque<Slot<'a, T>>,
}

enum Slot<'a, T> {
    Running(Pin<Box<dyn Future<Output = T> + Send + 'a>>),
    Done(T),
}

impl<'a, T: Unpin> Window<'a, T> {
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a future. It makes progress only while somebody waits in [`Window::next`].
    pub(super) fn push(&mut self, future: impl Future<Output = T> + Send + 'a) {
        self.slots.push_back(Slot::Running(Box::pin(future)));
    }

    /// The result of the oldest future, or nothing where there is none.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            for slot in &mut self.slots {
                if let Slot::Running(future) = slot
                    && let Poll::Ready(value) = future.as_mut().poll(context)
                {
                    *slot = Slot::Done(value);
                }
            }
            match self.slots.pop_front() {
                None => Poll::Ready(None),
                Some(Slot::Done(value)) => Poll::Ready(Some(value)),
                Some(running) => {
                    self.slots.push_front(running);
                    Poll::Pending
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::oneshot;

    use super::*;

    /// Results come in order, whichever future is ready first, and all of them are polled.
    #[tokio::test]
    async fn results_come_in_order() {
        let (first, wait) = oneshot::channel::<()>();
        let first = Mutex::new(Some(first));
        let mut window = Window::new();
        window.push(async {
            wait.await.unwrap();
            1
        });
        window.push(async {
            first.lock().unwrap().take().unwrap().send(()).unwrap();
            2
        });
        assert_eq!(window.len(), 2);
        assert_eq!(window.next().await, Some(1));
        assert_eq!(window.next().await, Some(2));
        assert_eq!(window.next().await, None);
    }
}
