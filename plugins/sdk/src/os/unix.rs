//! The same for Unix. This is the only module with `unsafe` code.
#![allow(
    unsafe_code,
    reason = "descriptors by number, signal handlers and locked memory have no safe interface"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, FdFlags};
use zeroize::Zeroize as _;

use super::{Stray, Streams, Wait};

/// What can be waited for.
pub(crate) use std::os::fd::AsFd as Source;

/// Moves the standard streams to descriptors that neither plugin code nor a C library knows, so
/// that a stray print can't corrupt an answer and a stray read can't swallow a request.
pub(crate) fn take_streams(stray: Stray) -> io::Result<Streams> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let streams = Streams {
        input: duplicate(rustix::stdio::stdin())?,
        output: duplicate(rustix::stdio::stdout())?,
        errors: duplicate(rustix::stdio::stderr())?,
    };
    rustix::stdio::dup2_stdin(&null)?;
    match stray {
        Stray::ToStderr => rustix::stdio::dup2_stdout(&streams.errors)?,
        Stray::Dropped => {
            rustix::stdio::dup2_stdout(&null)?;
            rustix::stdio::dup2_stderr(&null)?;
        }
    }
    Ok(streams)
}

/// A copy of the descriptor above the standard ones, closed for children.
fn duplicate(stream: BorrowedFd<'_>) -> io::Result<File> {
    Ok(rustix::io::fcntl_dupfd_cloexec(stream, 3)?.into())
}

/// Keeps PINs out of core dumps. The limit alone doesn't: the kernel passes it by where cores are
/// piped to a program (core(5)), as systemd has it; a process that is not dumpable has none anywhere,
/// and no other process of the user may read its memory (prctl(2), `PR_SET_DUMPABLE`).
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    let undumpable = forbid_reading();
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(rustix::process::Resource::Core, none)?;
    undumpable
}

#[cfg(target_os = "linux")]
fn forbid_reading() -> io::Result<()> {
    let never = rustix::process::DumpableBehavior::NotDumpable;
    Ok(rustix::process::set_dumpable_behavior(never)?)
}

/// There is nothing of the kind.
#[cfg(not(target_os = "linux"))]
fn forbid_reading() -> io::Result<()> {
    Ok(())
}

/// Bytes in pages of their own, locked into memory where the user's limit allows, left out of core
/// dumps, and zeroed when dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    start: NonNull<u8>,
    length: usize,
    is_locked: bool,
}

// SAFETY: the pages belong to the value alone; they are written before it is one, and when it is dropped.
unsafe impl Send for Locked {}
// SAFETY: what is shared is only read.
unsafe impl Sync for Locked {}

impl Locked {
    /// Copies the bytes.
    pub(crate) fn new(bytes: &[u8]) -> io::Result<Self> {
        let room = bytes.len().max(1);
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: new anonymous pages at an address of the kernel's choice touch nothing that is there.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), room, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(mapped.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the pages are this value's; locking and advice change nothing of their content.
        let is_locked = unsafe {
            #[cfg(target_os = "linux")]
            libc::madvise(mapped, room, libc::MADV_DONTDUMP);
            libc::mlock(mapped, room) == 0
        };
        // SAFETY: `room` bytes at least are mapped and writable, and nothing else points to them.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
        Ok(Self {
            start,
            length: bytes.len(),
            is_locked,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: that many bytes were written, and stay mapped and unchanged as long as the value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(crate) const fn is_locked(&self) -> bool {
        self.is_locked
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: the bytes are mapped and writable, and nobody reads them any more.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) };
        bytes.zeroize();
        // SAFETY: the pages were mapped by `new` and are used by nobody any more; that unlocks them too.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length.max(1)) };
    }
}

/// Takes a descriptor that this process inherited, once; from then on children don't get it.
///
/// Inherited descriptors are told apart by what they lack: all that this process opened itself
/// is marked close-on-exec.
pub(crate) fn take_inherited(number: RawFd) -> io::Result<File> {
    withhold(number)?;
    // SAFETY: the number is open, it is no standard stream, and nothing in this process owns it:
    // what Rust opens is close-on-exec, and the mark just set keeps a second call from here.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(owned.into())
}

/// Marks a descriptor that this process inherited, once, so that no child gets it.
pub(crate) fn withhold(number: RawFd) -> io::Result<()> {
    if number < 3 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: the descriptor is only asked for its flags and marked while borrowed; a number that
    // is not open gives EBADF.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(borrowed)?;
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(Errno::BADF.into());
    }
    rustix::io::fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC)?;
    Ok(())
}

/// Takes the mark of [`withhold`] off in the child of `command`, and only there: other children
/// may be started at the same time.
pub(crate) fn give(command: &mut Command, number: RawFd) {
    let take_mark_off = move || {
        // SAFETY: borrowed for one call; a number that is not open gives EBADF.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        Ok(rustix::io::fcntl_setfd(borrowed, FdFlags::empty())?)
    };
    // SAFETY: between fork and exec the closure makes one fcntl, which is async-signal-safe
    // (signal-safety(7)); it neither allocates nor locks.
    unsafe {
        command.pre_exec(take_mark_off);
    }
}

/// Marks every descriptor but the standard streams in the child of `command`, so that the program
/// that it becomes has none of them.
pub(crate) fn give_nothing(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes system calls only, close_range or fcntl,
    // which are async-signal-safe; it neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            if !mark_all() {
                for number in 3..MOST_DESCRIPTORS {
                    // A number that is not open gives EBADF, which is as good.
                    libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
                }
            }
            Ok(())
        });
    }
}

/// Takes variables out of the environment of the child of `command`, in the child: a changed environment
/// would be copied here first, and what is secret in it would stay in freed memory.
///
/// Where there are none of them nothing is changed: a child that is prepared after the fork is started by
/// execvp(3), which gives a file that is no program to the shell.
pub(crate) fn withhold_variables(command: &mut Command, names: &'static [&'static str]) {
    // SAFETY: no code of this process changes its environment.
    if !unsafe { has_any(names) } {
        return;
    }
    let withhold = move || {
        // SAFETY: this is the child, with one thread and memory of its own. The list ends with a null
        // pointer, and is only made shorter; no entry is written to.
        unsafe {
            let mut from = environment();
            let mut to = from;
            while !from.is_null() && !(*from).is_null() {
                if !names.iter().any(|name| is_variable(*from, name.as_bytes())) {
                    *to = *from;
                    to = to.add(1);
                }
                from = from.add(1);
            }
            if !to.is_null() {
                *to = std::ptr::null_mut();
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure reads and writes memory of its own; it neither
    // allocates nor locks.
    unsafe {
        command.pre_exec(withhold);
    }
}

/// Whether this process has any of these variables; none is copied to see that.
///
/// # Safety
/// Nobody may change the environment meanwhile.
unsafe fn has_any(names: &[&str]) -> bool {
    // SAFETY: the caller's; the list ends with a null pointer, and each entry with a zero.
    unsafe {
        let mut entry = environment();
        while !entry.is_null() && !(*entry).is_null() {
            if names
                .iter()
                .any(|name| is_variable(*entry, name.as_bytes()))
            {
                return true;
            }
            entry = entry.add(1);
        }
    }
    false
}

/// Whether an entry of the environment is that of a variable.
///
/// # Safety
/// `entry` must point to a text that ends with a zero.
unsafe fn is_variable(entry: *const libc::c_char, name: &[u8]) -> bool {
    let byte = |at: usize| {
        // SAFETY: read up to the first difference, so not beyond the zero.
        let [byte] = unsafe { *entry.add(at) }.to_ne_bytes();
        byte
    };
    let mut expected = name.iter().chain(b"=").enumerate();
    expected.all(|(at, expected)| byte(at) == *expected)
}

/// The list of this process's variables.
///
/// # Safety
/// Nobody may change it meanwhile.
#[cfg(not(target_vendor = "apple"))]
unsafe fn environment() -> *mut *mut libc::c_char {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: only the pointer is read.
    unsafe { environ }
}

/// The list of this process's variables.
///
/// # Safety
/// Nobody may change it meanwhile.
#[cfg(target_vendor = "apple")]
unsafe fn environment() -> *mut *mut libc::c_char {
    // SAFETY: the function gives a pointer to the pointer.
    unsafe { *libc::_NSGetEnviron() }
}

/// Marks all descriptors above the standard ones at once, where the system can (Linux 5.11).
#[cfg(target_os = "linux")]
fn mark_all() -> bool {
    let (first, last, flags) = (3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: with this flag close_range changes marks and closes nothing.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn mark_all() -> bool {
    false
}

/// How far descriptors are looked for where they can't be marked at once.
const MOST_DESCRIPTORS: RawFd = 4096;

/// Tells everyone who waits for a person that nobody will come: the user interrupted, or the
/// host closed stdin. Once raised it stays.
#[derive(Debug)]
pub(crate) struct Cancellation {
    raised: AtomicBool,
    reader: UnixStream,
    /// Open as long as the process, so that the signal handler can write to it.
    writer: UnixStream,
}

/// The longest wait for a person (five minutes).
pub(crate) const PATIENCE: Timespec = Timespec {
    tv_sec: 300,
    tv_nsec: 0,
};

/// Descriptor that the signal handler writes to; -1 for none.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// The host's process id; 0 when the interrupt is not held back.
static HOST: AtomicI32 = AtomicI32::new(0);
/// Last signal that ended a prompt, to be raised again afterwards; 0 for none.
static PENDING: AtomicI32 = AtomicI32::new(0);

impl Cancellation {
    /// The cancellation of this process.
    pub(crate) fn of_process() -> io::Result<&'static Self> {
        static ONLY: OnceLock<Cancellation> = OnceLock::new();
        if let Some(cancellation) = ONLY.get() {
            return Ok(cancellation);
        }
        let (reader, writer) = UnixStream::pair()?;
        // A signal handler must never block.
        writer.set_nonblocking(true)?;
        let cancellation = ONLY.get_or_init(|| Self {
            raised: AtomicBool::new(false),
            reader,
            writer,
        });
        WAKE.store(cancellation.writer.as_raw_fd(), Ordering::SeqCst);
        Ok(cancellation)
    }

    /// Ends every wait, now and later.
    pub(crate) fn raise(&self) {
        if !self.raised.swap(true, Ordering::SeqCst) {
            use io::Write as _;
            // One byte always fits; waiters also look at the flag.
            drop((&self.writer).write(&[0]));
        }
    }

    /// Waits until `source` can be read, until cancelled, or until [`PATIENCE`] is over.
    ///
    /// Where the system can't poll the source (a terminal on macOS), it counts as ready at once
    /// and the read that follows can't be cancelled.
    pub(crate) fn wait(&self, source: &impl Source) -> io::Result<Wait> {
        let source = source.as_fd();
        loop {
            if self.raised.load(Ordering::SeqCst) {
                return Ok(Wait::Cancelled);
            }
            let mut fds = [
                PollFd::from_borrowed_fd(self.reader.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(source, PollFlags::IN),
            ];
            match rustix::event::poll(&mut fds, Some(&PATIENCE)) {
                Ok(0) => return Ok(Wait::TimedOut),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [cancelled, source] = fds;
            if !cancelled.revents().is_empty() {
                return Ok(Wait::Cancelled);
            }
            if !source.revents().is_empty() {
                return Ok(Wait::Ready);
            }
        }
    }
}

/// Holds the interrupt back while the host lives: the host decides what an interrupt means, and
/// closes stdin. If the host is gone, the interrupt does what it always does.
///
/// A handler is used and not "ignore", because children would inherit the latter.
pub(crate) fn hold_back_interrupt() {
    HOST.store(parent(), Ordering::SeqCst);
    install(libc::SIGINT, on_signal);
}

/// While this lives, signals that end the process first end the wait for the terminal, so that
/// its settings can be put back; dropping it raises again what came.
#[derive(Debug)]
pub(crate) struct SignalsEndWait(());

const ENDING: [libc::c_int; 3] = [libc::SIGHUP, libc::SIGQUIT, libc::SIGTERM];

impl SignalsEndWait {
    pub(crate) fn new() -> Self {
        for signal in ENDING {
            install(signal, on_signal);
        }
        if HOST.load(Ordering::SeqCst) == 0 {
            install(libc::SIGINT, on_signal);
        }
        Self(())
    }
}

impl Drop for SignalsEndWait {
    fn drop(&mut self) {
        for signal in ENDING {
            restore_default(signal);
        }
        if HOST.load(Ordering::SeqCst) == 0 {
            restore_default(libc::SIGINT);
        }
        let pending = PENDING.swap(0, Ordering::SeqCst);
        let held_back = pending == libc::SIGINT && HOST.load(Ordering::SeqCst) != 0;
        if pending != 0 && !held_back {
            // SAFETY: raise has no precondition; the signal's disposition is the default.
            unsafe {
                libc::raise(pending);
            }
        }
    }
}

/// The handler: wakes whoever waits for a person.
extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: everything called here is async-signal-safe (signal-safety(7)): getppid, signal,
    // raise, write and atomics; errno is put back.
    unsafe {
        let host = HOST.load(Ordering::SeqCst);
        if signal == libc::SIGINT && host != 0 && libc::getppid() != host {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::raise(libc::SIGINT);
            return;
        }
        PENDING.store(signal, Ordering::SeqCst);
        let wake = WAKE.load(Ordering::SeqCst);
        if wake >= 0 {
            let errno = Errno::from_io_error(&io::Error::last_os_error());
            let byte = 0_u8;
            libc::write(wake, std::ptr::from_ref(&byte).cast(), 1);
            if let Some(errno) = errno {
                set_errno(errno);
            }
        }
    }
}

/// Puts errno back.
fn set_errno(errno: Errno) {
    #[cfg(any(target_os = "linux", target_os = "emscripten"))]
    // SAFETY: the location of errno is valid for the calling thread.
    unsafe {
        *libc::__errno_location() = errno.raw_os_error();
    }
    #[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
    // SAFETY: the location of errno is valid for the calling thread.
    unsafe {
        *libc::__error() = errno.raw_os_error();
    }
    #[cfg(not(any(
        target_os = "linux",
        target_os = "emscripten",
        target_os = "macos",
        target_os = "ios",
        target_os = "freebsd"
    )))]
    let _ = errno;
}

fn parent() -> libc::pid_t {
    // SAFETY: getppid has no precondition and can't fail.
    unsafe { libc::getppid() }
}

fn install(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: an all-zero sigaction is a valid value; the handler is a function of the type that
    // the flags call for, does only what is async-signal-safe, and lives as long as the process.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, std::ptr::null_mut());
    }
}

fn restore_default(signal: libc::c_int) {
    // SAFETY: the default disposition has no precondition.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Own descriptors are close-on-exec and so are never taken for inherited ones.
    #[test]
    fn only_inherited_descriptors_can_be_taken() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"1234").unwrap();
        drop(writer);
        assert!(take_inherited(reader.as_raw_fd()).is_err());
        let inherited = rustix::io::fcntl_dupfd_cloexec(&reader, 100).unwrap();
        rustix::io::fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(inherited);
        let mut taken = take_inherited(number).unwrap();
        assert!(take_inherited(number).is_err(), "taken twice");
        let mut text = String::new();
        taken.read_to_string(&mut text).unwrap();
        assert_eq!(text, "1234");
        drop(taken);
        assert!(take_inherited(number).is_err(), "closed");
        for standard in 0..3 {
            assert!(take_inherited(standard).is_err());
        }
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    /// No core is written, by the kernel or through a pipe, and no debugger of the same user attaches.
    #[cfg(target_os = "linux")]
    #[test]
    fn no_core_is_dumped() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        forbid_core_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }

    /// A withheld descriptor reaches the child that it is given to, under its number, and no other;
    /// a child that is given nothing has the standard streams alone.
    #[cfg(target_os = "linux")]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "children are what this is about")]
    fn a_descriptor_reaches_one_child_alone() {
        let (reader, _writer) = io::pipe().unwrap();
        let inherited = rustix::io::fcntl_dupfd_cloexec(&reader, 200).unwrap();
        rustix::io::fcntl_setfd(&inherited, FdFlags::empty()).unwrap();
        let number = inherited.as_raw_fd();
        let seen = |prepare: &dyn Fn(&mut Command)| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo /proc/$$/fd/*"]);
            prepare(&mut command);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let has = |listing: &str| listing.contains(&format!("/fd/{number}"));
        assert!(has(&seen(&|_| ())));
        let closed = seen(&give_nothing);
        assert!(!has(&closed) && closed.contains("/fd/2"), "{closed}");
        withhold(number).unwrap();
        assert!(!has(&seen(&|_| ())));
        assert!(has(&seen(&|command| give(command, number))));
        assert!(!has(&seen(&|_| ())));
        assert!(withhold(number).is_err(), "this process's own by now");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "children are what this is about")]
    fn a_variable_is_withheld_from_one_child_alone() {
        let seen = |names: &'static [&'static str]| {
            let mut command = Command::new("env");
            withhold_variables(&mut command, names);
            let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let lines = output.lines().filter(|line| line.starts_with("CARGO_PKG_"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let all = seen(&[]);
        let without = seen(&[
            "CARGO_PKG_NAME",
            "CARGO_PKG_VERSION",
            "CARGO_PKG",
            "",
            "ABSENT",
        ]);
        let taken = |line: &&String| {
            line.starts_with("CARGO_PKG_NAME=") || line.starts_with("CARGO_PKG_VERSION=")
        };
        assert_eq!(all.iter().filter(taken).count(), 2, "{all:?}");
        let rest: Vec<_> = all.iter().filter(|line| !taken(line)).collect();
        assert_eq!(without.iter().collect::<Vec<_>>(), rest);
        assert_eq!(seen(&[]), all);
    }

    #[test]
    fn a_wait_ends_when_cancelled() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let (source, mut sink) = io::pipe().unwrap();
        let cancellation = Cancellation {
            raised: AtomicBool::new(false),
            reader,
            writer,
        };
        sink.write_all(b"x").unwrap();
        assert_eq!(cancellation.wait(&source).unwrap(), Wait::Ready);
        cancellation.raise();
        assert_eq!(cancellation.wait(&source).unwrap(), Wait::Cancelled);
        assert_eq!(cancellation.wait(&source).unwrap(), Wait::Cancelled);
    }
}
