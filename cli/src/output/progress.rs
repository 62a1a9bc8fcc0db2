//! Progress of long work: one line at the foot of a terminal, drawn by `indicatif` (CLI-21).
//!
//! All that writes to the terminal goes through [`Progress::aside`], which takes the line off first.
//! Nothing is drawn while a plugin asks its user something, nor after the end.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{Console, one_line};

/// The bars on the terminal. Whatever draws takes the lock first, so that hiding them is final.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Screen>>);

struct Screen {
    bars: MultiProgress,
    work: Vec<Work>,
    next: u64,
    /// The number of the work that is on the screen.
    shown: Option<u64>,
    /// Somebody is asked something, or all is done.
    hidden: bool,
    /// Somebody may be asked something without notice, so that waiting is not told of.
    silent: bool,
    ended: bool,
}

struct Work {
    number: u64,
    bar: ProgressBar,
    /// Whether it tells how much is done.
    counts: bool,
}

/// How much work there is.
#[derive(Clone, Copy)]
enum Amount {
    Unknown,
    Items(u64),
    /// Items of which it is not known how many there are.
    Counted,
    Bytes(u64),
}

/// Work that is told of until this is dropped.
pub(crate) struct Busy {
    progress: Option<Progress>,
    number: u64,
}

impl Console {
    /// Tells of work on `total` items; on one alone only if it takes long.
    pub(crate) fn progress(&self, what: &str, total: usize) -> Busy {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        match total {
            0 | 1 => self.begin(what, Amount::Unknown),
            total => self.begin(what, Amount::Items(total)),
        }
    }

    /// Tells of work on as many items as a list turns out to have.
    pub(crate) fn progress_of_list(&self, what: &str, total: Option<u64>) -> Busy {
        self.begin(what, total.map_or(Amount::Counted, Amount::Items))
    }

    /// Whether anybody sees progress.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress.is_some()
    }

    /// Tells of work of unknown length, if it takes long.
    pub(crate) fn spinner(&self, what: &str) -> Busy {
        self.begin(what, Amount::Unknown)
    }

    /// The same file, with its reading told of where it is large.
    pub(crate) fn reading(
        &self,
        file: Box<dyn Read + Send>,
        name: &str,
        size: Option<u64>,
    ) -> (Busy, Box<dyn Read + Send>) {
        let what = format!("reading {}", short(name));
        let large = size.filter(|size| *size >= LARGE);
        let amount = large.map_or(Amount::Unknown, Amount::Bytes);
        let busy = self.begin(&what, amount);
        match (&self.progress, large) {
            (Some(progress), Some(_)) => {
                let progress = progress.clone();
                let number = busy.number;
                let counted = Counted {
                    file,
                    progress,
                    number,
                };
                (busy, Box::new(counted))
            }
            _ => (busy, file),
        }
    }

    /// Takes the bars off the screen while the user is asked something, and lets them come back.
    pub(crate) fn hold_progress(&self, hold: bool) {
        if let Some(progress) = &self.progress {
            progress.screen().hide(hold);
        }
    }

    /// From now on only amounts are told of: a plugin without sessions may ask its user on the
    /// terminal, and can't say so.
    pub(crate) fn spare_questions(&self) {
        if let Some(progress) = &self.progress {
            let mut screen = progress.screen();
            screen.silent = true;
            screen.choose();
        }
    }

    /// Takes the bars off the screen for good.
    pub(crate) fn end_progress(&self) {
        if let Some(progress) = &self.progress {
            let mut screen = progress.screen();
            screen.ended = true;
            screen.hide(true);
        }
    }

    fn begin(&self, what: &str, amount: Amount) -> Busy {
        let progress = self.progress.clone();
        let number = progress
            .as_ref()
            .map_or(0, |p| p.screen().begin(what, amount));
        Busy { progress, number }
    }
}

impl Progress {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Screen {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)),
            work: Vec::new(),
            next: 0,
            shown: None,
            hidden: false,
            silent: false,
            ended: false,
        })))
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `print` while the bars are off the screen.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        let screen = self.screen();
        screen.bars.suspend(print)
    }

    /// So much more is done.
    fn advance(&self, number: u64, count: u64) {
        let screen = self.screen();
        if let Some(work) = screen.work.iter().find(|work| work.number == number) {
            work.bar.inc(count);
        }
    }
}

impl Screen {
    fn begin(&mut self, what: &str, amount: Amount) -> u64 {
        self.next += 1;
        let length = match amount {
            Amount::Unknown | Amount::Counted => None,
            Amount::Items(total) | Amount::Bytes(total) => Some(total),
        };
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let bar = bar.with_message(what.to_owned());
        if let Some(style) = style(what, amount, width()) {
            bar.set_style(style);
        }
        let number = self.next;
        let counts = !matches!(amount, Amount::Unknown);
        self.work.push(Work {
            number,
            bar,
            counts,
        });
        self.choose();
        number
    }

    fn end(&mut self, number: u64) {
        let Some(at) = self.work.iter().position(|work| work.number == number) else {
            return;
        };
        if self.shown == Some(number) {
            self.take_down();
        }
        self.work.remove(at);
        self.choose();
    }

    fn hide(&mut self, hide: bool) {
        self.hidden = hide || self.ended;
        self.choose();
    }

    /// Shows one line: the first work whose amount is known, else the latest.
    fn choose(&mut self) {
        let known = |work: &&Work| work.counts;
        let latest = || self.work.last().filter(|_| !self.silent);
        let chosen = self.work.iter().find(known).or_else(latest);
        let chosen = chosen.filter(|_| !self.hidden);
        if self.shown == chosen.map(|work| work.number) {
            return;
        }
        let chosen = chosen.map(|work| (work.number, work.bar.clone()));
        self.take_down();
        if let Some((number, bar)) = chosen {
            let bar = self.bars.add(bar);
            bar.tick();
            bar.enable_steady_tick(TICK);
            self.shown = Some(number);
        }
    }

    fn take_down(&mut self) {
        let shown = self.shown.take();
        if let Some(work) = self.work.iter().find(|work| Some(work.number) == shown) {
            // The thread that draws has ended before the screen is cleared.
            work.bar.disable_steady_tick();
            self.bars.remove(&work.bar);
            // What can't be written to has nothing to be cleared.
            let _cleared = self.bars.clear();
        }
    }
}

/// How work is shown on a terminal of that many columns: a narrow one has no room for a bar, and
/// work of unknown length is told of once it takes long.
fn style(what: &str, amount: Amount, width: usize) -> Option<ProgressStyle> {
    let template = match amount {
        Amount::Unknown => "{waiting}",
        Amount::Items(_) if width < 70 => "{wide_msg} {pos}/{len}",
        Amount::Items(_) => "{msg} [{bar:30}] {pos}/{len} {rate} {eta}",
        Amount::Counted => "{wide_msg} {pos} {rate}",
        Amount::Bytes(_) if width < 100 => "{wide_msg} {percent}%",
        Amount::Bytes(_) => "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    };
    let what: String = what.chars().take(width.saturating_sub(6)).collect();
    let waiting = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let elapsed = state.elapsed();
        // Nothing but memory is written to.
        if elapsed >= LONG {
            let _written = write!(out, "{what} {}s", elapsed.as_secs());
        }
    };
    let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _written = write!(out, "{:.1}/s", state.per_sec());
    };
    // A template that is not well-formed would leave the library's own style.
    let style = ProgressStyle::with_template(template).ok()?;
    let style = style.with_key("waiting", waiting).with_key("rate", rate);
    Some(style.progress_chars("=> "))
}

/// The last part of a path, made harmless, at most twenty characters of it.
fn short(name: &str) -> String {
    let base = name.rsplit('/').find(|part| !part.is_empty());
    let safe = one_line(base.unwrap_or(name));
    match safe.char_indices().nth(20) {
        Some((at, _)) => format!("{}...", safe.get(..at).unwrap_or_default()),
        None => safe,
    }
}

fn width() -> usize {
    columns(&io::stderr()).unwrap_or(80)
}

/// How wide a terminal is; none where it is none, or does not say.
#[cfg(unix)]
pub(super) fn columns(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

#[cfg(not(unix))]
pub(super) fn columns<T>(_: &T) -> Option<usize> {
    None
}

impl Busy {
    /// Counts an item once it is done, which may be long before it is told of: results are told in order.
    pub(crate) async fn count<T>(&self, item: impl Future<Output = T>) -> T {
        let result = item.await;
        if let Some(progress) = &self.progress {
            progress.advance(self.number, 1);
        }
        result
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.screen().end(self.number);
        }
    }
}

/// A file whose bytes are counted.
struct Counted {
    file: Box<dyn Read + Send>,
    progress: Progress,
    number: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress
            .advance(self.number, u64::try_from(count).unwrap_or(0));
        Ok(count)
    }
}

/// Files of this many bytes take long enough to be watched.
const LARGE: u64 = 256 << 20;

/// Work of unknown length is told of after this time.
const LONG: Duration = Duration::from_secs(1);

/// Time between two drawings.
const TICK: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_has_a_style() {
        for width in [0, 1, 10, 69, 70, 99, 100, 1000] {
            for amount in [
                Amount::Unknown,
                Amount::Items(2),
                Amount::Counted,
                Amount::Bytes(LARGE),
            ] {
                assert!(style("signing", amount, width).is_some(), "{width}");
            }
        }
    }

    #[test]
    fn names_are_short_and_harmless() {
        assert_eq!(short("/tmp/a.bin"), "a.bin");
        assert_eq!(short("x\x1b[2Jy"), "x\\u{1b}[2Jy");
        assert_eq!(
            short("abcdefghijklmnopqrstuvwxyz"),
            "abcdefghijklmnopqrst..."
        );
    }
}
