//! How all that waits for plugins hears that the user wants to stop.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells everything that waits for a plugin that the user wants to stop.
///
/// Cloned handles share one state. Once raised it stays raised.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<watch::Sender<bool>>);

impl Interrupt {
    /// A handle that nobody has raised.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Stops all that waits: sessions have their stdin closed and two seconds to end.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is raised.
    pub async fn raised(&self) {
        // The sender lives in `self`, so waiting ends by the value only.
        if self.0.subscribe().wait_for(|raised| *raised).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}
