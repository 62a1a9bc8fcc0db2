//! Progress of long work: one line at the foot of a terminal, never wider than that (CLI-21).
//!
//! All that writes to the terminal goes through [`Progress::aside`], which takes the line off first.
//! The line is drawn again at the next tick. Nothing is drawn while a plugin asks its user
//! something, nor after the end.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Console, one_line};

/// The line, and the work that it tells of.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    work: Vec<Work>,
    next: u64,
    /// Somebody is asked something.
    held: bool,
    /// Somebody may be asked something without notice, so that waiting is not told of.
    silent: bool,
    /// The line is on the screen.
    drawn: bool,
    ended: bool,
    ticking: bool,
}

/// Work under way.
struct Work {
    number: u64,
    what: String,
    amount: Amount,
    since: Instant,
}

/// How much of it there is.
enum Amount {
    Unknown,
    Items { done: u64, total: u64 },
    Bytes { done: Arc<AtomicU64>, total: u64 },
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
        self.begin(
            what,
            match total {
                0 | 1 => Amount::Unknown,
                total => Amount::Items { done: 0, total },
            },
        )
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
        let large = size.filter(|size| *size >= LARGE);
        let Some(total) = large.filter(|_| self.progress.is_some()) else {
            let what = format!("reading {}", short(name));
            return (self.begin(&what, Amount::Unknown), file);
        };
        let done = Arc::new(AtomicU64::new(0));
        let amount = Amount::Bytes {
            done: Arc::clone(&done),
            total,
        };
        let busy = self.begin(&format!("reading {}", short(name)), amount);
        (busy, Box::new(Counted { file, done }))
    }

    /// Takes the line off the screen while the user is asked something, and lets it come back.
    pub(crate) fn hold_progress(&self, hold: bool) {
        if let Some(progress) = &self.progress {
            let mut state = progress.state();
            state.clear(&mut io::stderr());
            state.held = hold;
        }
    }

    /// From now on only amounts are told of: a plugin without sessions may ask its user on the
    /// terminal, and can't say so.
    pub(crate) fn spare_questions(&self) {
        if let Some(progress) = &self.progress {
            progress.state().silent = true;
        }
    }

    /// Takes the line off the screen for good.
    pub(crate) fn end_progress(&self) {
        if let Some(progress) = &self.progress {
            let mut state = progress.state();
            state.clear(&mut io::stderr());
            state.ended = true;
        }
    }

    fn begin(&self, what: &str, amount: Amount) -> Busy {
        let progress = self.progress.clone();
        let number = progress.as_ref().map_or(0, |p| p.begin(what, amount));
        Busy { progress, number }
    }
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `print` while the line is off the screen.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.clear(&mut io::stderr());
        print()
    }

    fn begin(&self, what: &str, amount: Amount) -> u64 {
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.work.push(Work {
            number,
            what: what.to_owned(),
            amount,
            since: Instant::now(),
        });
        state.draw(&mut io::stderr(), Instant::now(), width());
        if !state.ticking {
            state.ticking = true;
            let progress = self.clone();
            thread::spawn(move || progress.tick());
        }
        number
    }

    /// Draws the line from time to time, as long as there is work.
    fn tick(&self) {
        let mut state = self.state();
        while !state.work.is_empty() {
            state = match self.0.changed.wait_timeout(state, TICK) {
                Ok((state, _)) => state,
                Err(error) => error.into_inner().0,
            };
            state.draw(&mut io::stderr(), Instant::now(), width());
        }
        state.ticking = false;
    }
}

impl State {
    fn clear(&mut self, screen: &mut impl Write) {
        if self.drawn {
            show(screen, "\r\x1b[K");
            self.drawn = false;
        }
    }

    fn draw(&mut self, screen: &mut impl Write, now: Instant, width: usize) {
        if self.held || self.ended {
            return;
        }
        let silent = self.silent;
        let told = |work: &&Work| !(silent && matches!(work.amount, Amount::Unknown));
        match line(self.work.iter().filter(told), now, width) {
            Some(line) => {
                show(screen, &format!("\r{line}\x1b[K"));
                self.drawn = true;
            }
            None => self.clear(screen),
        }
    }
}

/// Nothing can be told to anyone where standard error fails, so its errors are dropped.
fn show(screen: &mut impl Write, text: &str) {
    drop(
        screen
            .write_all(text.as_bytes())
            .and_then(|()| screen.flush()),
    );
}

/// What stands on the line: the first work whose amount is known, else the last that has taken
/// long; one column less than the terminal has, so that the cursor stays on it.
fn line<'a>(
    work: impl DoubleEndedIterator<Item = &'a Work> + Clone,
    now: Instant,
    width: usize,
) -> Option<String> {
    let known = work
        .clone()
        .find(|work| !matches!(work.amount, Amount::Unknown));
    let long = |work: &&Work| now.saturating_duration_since(work.since) >= LONG;
    let chosen = known.or_else(|| work.rev().find(long))?;
    let elapsed = now.saturating_duration_since(chosen.since);
    let (fraction, told) = match &chosen.amount {
        Amount::Unknown => {
            let turn = usize::try_from(elapsed.as_millis() / 250).unwrap_or(0) % 4;
            let told = format!(
                "{} {} {}",
                ["|", "/", "-", "\\"][turn],
                chosen.what,
                seconds(elapsed)
            );
            return Some(fitting(&told, width));
        }
        Amount::Items { done, total } => (share(*done, *total), format!("{done}/{total}")),
        Amount::Bytes { done, total } => {
            let done = done.load(Ordering::Relaxed).min(*total);
            let speed = u64::try_from(elapsed.as_millis())
                .ok()
                .and_then(|ms| done.saturating_mul(1000).checked_div(ms))
                .unwrap_or(0);
            let told = format!("{}/{} {}/s", bytes(done), bytes(*total), bytes(speed));
            (share(done, *total), told)
        }
    };
    // An estimate beyond all bounds is none.
    let left = Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 / fraction - 1.0));
    let left = left.map_or_else(|_| "-".to_owned(), seconds);
    let plain = format!("{} {told} {left}", chosen.what);
    let room = width.saturating_sub(columns(&plain) + 4).min(BAR);
    if room < BAR / 3 {
        return Some(fitting(&format!("{} {told}", chosen.what), width));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a bar of at most thirty columns"
    )]
    let filled = (fraction * room as f64) as usize;
    let (full, empty) = ("=".repeat(filled), " ".repeat(room.saturating_sub(filled)));
    Some(format!("{} [{full}{empty}] {told} {left}", chosen.what))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for a bar and an estimate, both rough"
)]
fn share(done: u64, total: u64) -> f64 {
    done as f64 / total.max(1) as f64
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

fn bytes(count: u64) -> String {
    let (mut whole, mut unit) = (count, 0);
    let mut tenths = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{whole} {}", UNITS[0]),
        _ => format!("{whole}.{tenths} {}", UNITS[unit]),
    }
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

/// As much of a text as fits beside the cursor.
fn fitting(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += column(c);
        if used > width {
            break;
        }
        out.push(c);
    }
    out
}

fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

/// Characters beyond ASCII may take two columns.
fn column(c: char) -> usize {
    if c.is_ascii() { 1 } else { 2 }
}

#[cfg(unix)]
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    match size.map_or(0, |size| size.ws_col) {
        0 => 80,
        columns => columns.into(),
    }
}

#[cfg(not(unix))]
fn width() -> usize {
    80
}

impl Busy {
    /// One item is done.
    pub(crate) fn step(&self) {
        let Some(progress) = &self.progress else {
            return;
        };
        let mut state = progress.state();
        let work = state.work.iter_mut().find(|w| w.number == self.number);
        if let Some(Amount::Items { done, .. }) = work.map(|work| &mut work.amount) {
            *done += 1;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            let mut state = progress.state();
            state.clear(&mut io::stderr());
            state.work.retain(|work| work.number != self.number);
            progress.0.changed.notify_all();
        }
    }
}

/// A file whose bytes are counted.
struct Counted {
    file: Box<dyn Read + Send>,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let add = u64::try_from(count).unwrap_or(0);
        self.done.fetch_add(add, Ordering::Relaxed);
        Ok(count)
    }
}

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// Files of this many bytes take long enough to be watched.
const LARGE: u64 = 256 << 20;

/// Work of unknown length is told of after this time.
const LONG: Duration = Duration::from_secs(1);

/// Time between two drawings.
const TICK: Duration = Duration::from_millis(125);

/// The widest bar, in columns.
const BAR: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn work(what: &str, amount: Amount, since: Instant) -> Work {
        Work {
            number: 1,
            what: what.to_owned(),
            amount,
            since,
        }
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_bar_tells_how_far_and_how_long() {
        let start = Instant::now();
        let items = work("signing", Amount::Items { done: 1, total: 4 }, start);
        assert_eq!(
            line([items].iter(), at(start, 10), 80).unwrap(),
            "signing [=======                       ] 1/4 30s"
        );
        let done = Arc::new(AtomicU64::new(5 << 30));
        let amount = Amount::Bytes {
            done,
            total: 10 << 30,
        };
        assert_eq!(
            line(
                [work("reading big.iso", amount, start)].iter(),
                at(start, 5),
                80
            )
            .unwrap(),
            "reading big.iso [===============               ] 5.0 GiB/10.0 GiB 1.0 GiB/s 5s"
        );
    }

    #[test]
    fn no_width_is_too_narrow() {
        let start = Instant::now();
        for width in 0..100 {
            for amount in [
                Amount::Unknown,
                Amount::Items {
                    done: 7,
                    total: 1000,
                },
                Amount::Bytes {
                    done: Arc::new(AtomicU64::new(1)),
                    total: u64::MAX,
                },
            ] {
                let shown = line(
                    [work("reading ключ.bin", amount, start)].iter(),
                    at(start, 9),
                    width,
                );
                let shown = shown.unwrap();
                assert!(columns(&shown) < width.max(1), "{width}: {shown:?}");
            }
        }
    }

    #[test]
    fn short_work_of_unknown_length_is_not_told_of() {
        let start = Instant::now();
        let unknown = || work("signing", Amount::Unknown, start);
        assert_eq!(line([unknown()].iter(), start, 80), None);
        assert_eq!(
            line([unknown()].iter(), at(start, 2), 80).unwrap(),
            "| signing 2s"
        );
        let items = work("signing", Amount::Items { done: 0, total: 2 }, start);
        let shown = line([unknown(), items].iter(), at(start, 2), 80).unwrap();
        assert!(shown.contains("0/2"), "{shown}");
    }

    /// While a plugin asks, and after the end, nothing is drawn.
    #[test]
    fn nothing_is_drawn_while_held_or_ended() {
        let start = Instant::now();
        let mut state = State {
            work: vec![work("signing", Amount::Items { done: 0, total: 2 }, start)],
            ..State::default()
        };
        let mut screen = Vec::new();
        state.held = true;
        state.draw(&mut screen, at(start, 1), 80);
        state.held = false;
        state.silent = true;
        state.work.push(work("waiting", Amount::Unknown, start));
        state.work.swap(0, 1);
        state.work.truncate(1);
        state.draw(&mut screen, at(start, 9), 80);
        state.work = vec![work("signing", Amount::Items { done: 0, total: 2 }, start)];
        state.ended = true;
        state.draw(&mut screen, at(start, 1), 80);
        assert!(screen.is_empty());
        state.ended = false;
        state.draw(&mut screen, at(start, 1), 80);
        state.clear(&mut screen);
        state.clear(&mut screen);
        let screen = String::from_utf8(screen).unwrap();
        assert!(screen.starts_with("\rsigning ["), "{screen:?}");
        assert!(screen.ends_with("\x1b[K\r\x1b[K"), "{screen:?}");
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
