//! Progress of long work, on a terminal only (CLI-21).

use std::io::Read;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Console;

/// A bar that is taken off the screen when dropped.
pub(crate) struct Progress<'a> {
    console: &'a Console,
    bar: Option<ProgressBar>,
}

impl Console {
    /// Starts a bar over `total` items; none where nobody watches or there is nothing to wait for.
    pub(crate) fn progress(&self, what: &'static str, total: usize) -> Progress<'_> {
        let bar = (self.is_terminal() && total > 1).then(|| {
            let bar = ProgressBar::with_draw_target(
                u64::try_from(total).ok(),
                ProgressDrawTarget::stderr_with_hz(10),
            );
            if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} {eta}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        if let Ok(mut current) = self.progress.lock() {
            current.clone_from(&bar);
        }
        Progress { console: self, bar }
    }

    /// Shows that work of unknown length goes on, and for how long; nothing where nobody watches.
    pub(crate) fn spinner(&self, what: &'static str) -> Progress<'_> {
        let bar = self.is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        if let Ok(mut current) = self.progress.lock() {
            current.clone_from(&bar);
        }
        Progress { console: self, bar }
    }

    /// The same file with a bar over its bytes, where somebody watches and it is large.
    pub(crate) fn reading(
        &self,
        file: Box<dyn Read + Send>,
        size: Option<u64>,
    ) -> (Progress<'_>, Box<dyn Read + Send>) {
        let Some(size) = size.filter(|size| self.is_terminal() && *size >= LARGE) else {
            let bar = None;
            return (Progress { console: self, bar }, file);
        };
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr_with_hz(10));
        let template = "reading [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        if let Ok(mut current) = self.progress.lock() {
            *current = Some(bar.clone());
        }
        let file = Box::new(bar.wrap_read(file));
        let bar = Some(bar);
        (Progress { console: self, bar }, file)
    }

    /// Takes the bar off the screen while a plugin asks its user something, and puts it back.
    pub(crate) fn hold_progress(&self, hold: bool) {
        let Some(bar) = self.progress.lock().ok().and_then(|bar| bar.clone()) else {
            return;
        };
        if hold {
            bar.disable_steady_tick();
            bar.set_draw_target(ProgressDrawTarget::hidden());
        } else {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            bar.enable_steady_tick(Duration::from_millis(250));
        }
    }
}

impl Progress<'_> {
    /// One item is done.
    pub(crate) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Ok(mut current) = self.console.progress.lock() {
            *current = None;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Files of this many bytes take long enough to be watched.
const LARGE: u64 = 256 << 20;
