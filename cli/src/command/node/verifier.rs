//! The executable under the name `image-verifier`: what containerd runs before it takes an image.
//!
//! The contract is that of containerd's plugin `io.containerd.image-verifier.v1.bindir`
//! (`docs/image-verification.md` there): `-name <reference> -digest <digest> -stdin-media-type <type>`, the
//! descriptor on standard input. Exit code 0 allows; any other refuses, and what stands on standard output
//! is the reason, which the event of the pod shows. So there is one line there, always, and warnings go to
//! standard error, which containerd logs at its debug level.
//!
//! - Past `per_verifier_timeout` containerd kills the verifier and tells no reason, so there is a deadline
//!   before that, and a watchdog behind it for work that does not wait.
//! - The pull waits as long as anything holds the output open: nothing that was started is left running.
//! - There is no home directory, and the working directory is containerd's: the configuration is that of
//!   `NOTATION_CONFIG`, else in `/etc/notation`.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hardsign_core::artifact::reference::{Reference, RepositoryName, TagOrDigest};
use hardsign_core::artifact::{Descriptor, Digest, Quoted};
use hardsign_core::config::exceptions::When;
use hardsign_core::config::formats::json;
use hardsign_core::dirs::Dirs;
use hardsign_core::text::WithCauses;
use hardsign_core::verify::Verified;
use hardsign_plugin::text::io_text;

use super::settings::Settings;
use super::{Allowed, Checker};
use crate::command::{Context, Interrupts};
use crate::failure::{Exit, Failure};
use crate::output::{Abilities, Console, Level, one_line};

/// The name under which containerd runs this executable.
pub(in crate::command) const NAME: &str = "image-verifier";

/// Whether a program was started as the verifier.
pub(crate) fn is_called(argv0: Option<&OsString>) -> bool {
    let name = argv0.and_then(|path| std::path::Path::new(path).file_stem());
    name.is_some_and(|name| name == NAME)
}

/// Gives the verdict that the arguments ask for.
pub(crate) fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let abilities = Abilities {
        cursor: false,
        colours: false,
        columns: None,
    };
    let context = Context {
        console: Arc::new(Console::new(Level::Quiet, abilities)),
        program: "hardsign",
        interrupts: Arc::new(Interrupts::default()),
    };
    adopt_orphans();
    let told = Arc::new(AtomicBool::new(false));
    let verdict = verdict(arguments, &context, &told);
    if told.swap(true, Ordering::SeqCst) {
        // The watchdog was faster, and ends this process.
        loop {
            thread::park();
        }
    }
    let code = tell(&verdict, &context.console);
    end_children();
    code
}

/// The one line, and the exit code.
fn tell(verdict: &Result<String, Failure>, console: &Console) -> ExitCode {
    let (line, exit) = match verdict {
        Ok(line) => (line.clone(), Exit::Success),
        Err(failure) => (reason(failure), failure.exit),
    };
    let line: String = one_line(&line).chars().take(MAX_LINE).collect();
    match console.line(line) {
        Ok(()) => exit.into(),
        Err(_) => Exit::Failed.into(),
    }
}

/// What was wrong, in one line: the messages, and why each signature did not count, or where a file is wrong.
/// Hints that speak of commands and flags help nobody here.
fn reason(failure: &Failure) -> String {
    let text = failure.messages.join("; ");
    match failure.hint.as_deref() {
        Some(hint) if !hint.contains("--") && !hint.contains('`') => {
            let lines: Vec<_> = hint.lines().map(str::trim).collect();
            format!("{text} ({})", lines.join(" "))
        }
        _ => text,
    }
}

fn verdict(
    arguments: impl IntoIterator<Item = OsString>,
    context: &Context,
    told: &Arc<AtomicBool>,
) -> Result<String, Failure> {
    // Before anything is read: a disk can hang too.
    let watchdog = Watchdog::start(told, context);
    let question = Question::read(arguments)?;
    let dirs = Dirs::of_machine().map_err(Failure::error)?;
    let settings = Settings::load(&dirs)?;
    watchdog.allow(settings.deadline());
    let descriptor = question.descriptor()?;
    // Before the policy is read: it may be what is broken.
    let exception = Checker::excepted(&settings, &question.repository, &descriptor);
    if let Some(exception) = exception.filter(|e| e.when == When::Always) {
        return Ok(excepted(&exception.reason, None, &dirs));
    }
    let checker = Checker::new(settings, &dirs, context)?;
    let allowed = context.wait_for_one(checker.check(&question.repository, &descriptor))?;
    Ok(match allowed {
        Allowed::Verified(verified) => describe(&verified),
        Allowed::Skipped { statement } => format!(
            "allowed unverified: the trust policy statement {} skips signature verification",
            Quoted(&statement)
        ),
        Allowed::Excepted {
            reason,
            unreachable,
        } => excepted(&reason, unreachable.as_deref(), &dirs),
    })
}

fn excepted(reason: &str, unreachable: Option<&str>, dirs: &Dirs) -> String {
    let file = dirs.node_settings();
    let text = format!(
        "allowed unverified by an exception in {}: {reason}",
        file.display()
    );
    match unreachable {
        None => text,
        Some(why) => format!("{text}; {why}"),
    }
}

/// Who signed, under which statement, and what the policy only logs.
fn describe(verified: &Verified) -> String {
    let signers: Vec<String> = verified
        .signatures()
        .iter()
        .map(|a| a.signature.signature().chain().leaf().subject().to_string())
        .collect();
    let mut text = format!(
        "verified under statement {}, signed by {}",
        Quoted(verified.statement()),
        signers.join(" and ")
    );
    for accepted in verified.signatures() {
        for logged in accepted.signature.report().logged() {
            text = format!(
                "{text}; {} was set to \"log\" and failed: {}",
                logged.check,
                WithCauses(logged.error)
            );
        }
    }
    text
}

/// What containerd asks.
#[derive(Debug, Eq, PartialEq)]
struct Question {
    repository: RepositoryName,
    digest: Digest,
}

impl Question {
    /// Reads flags as Go does: one hyphen or two, the value after `=` or in the next argument.
    fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut arguments = arguments.into_iter().skip(1).map(|argument| {
            let text = argument.into_string();
            text.map_err(|_| usage("an argument is not UTF-8"))
        });
        let mut values: [Option<String>; 3] = [None, None, None];
        while let Some(argument) = arguments.next() {
            let argument = argument?;
            let flag = argument.strip_prefix("--").or(argument.strip_prefix('-'));
            let Some(flag) = flag else {
                return Err(usage(&format!("unexpected argument {}", Quoted(&argument))));
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let at = FLAGS.iter().position(|flag| *flag == name);
            let Some(place) = at.and_then(|at| values.get_mut(at)) else {
                return Err(usage(&format!("unknown flag {}", Quoted(&argument))));
            };
            let value = match value {
                Some(value) => value,
                None => match arguments.next() {
                    Some(value) => value?,
                    None => return Err(usage(&format!("-{name} needs a value"))),
                },
            };
            if place.replace(value).is_some() {
                return Err(usage(&format!("-{name} is given twice")));
            }
        }
        let [Some(name), Some(digest), Some(media_type)] = values else {
            return Err(usage("a flag is missing"));
        };
        if media_type != DESCRIPTOR {
            let found = Quoted(&media_type);
            return Err(usage(&format!("unknown -stdin-media-type {found}")));
        }
        let digest: Digest = digest
            .parse()
            .map_err(|error| usage(&format!("-digest {}: {error}", Quoted(&digest))))?;
        Ok(Self {
            repository: repository(&name, &digest)?,
            digest,
        })
    }

    /// The descriptor on standard input. Its digest must be the one that was asked about.
    fn descriptor(&self) -> Result<Descriptor, Failure> {
        let mut bytes = Vec::new();
        io::stdin()
            .lock()
            .take(MAX_DESCRIPTOR)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                Failure::failed(format!(
                    "failed to read standard input: {}",
                    io_text(&error)
                ))
            })?;
        self.read_descriptor(&bytes)
    }

    fn read_descriptor(&self, bytes: &[u8]) -> Result<Descriptor, Failure> {
        let read = json::from_slice(bytes);
        let mut descriptor: Descriptor = read.map_err(|error| {
            Failure::failed(format!(
                "standard input is not a descriptor: {}",
                WithCauses(&error)
            ))
        })?;
        if descriptor.digest != self.digest {
            return Err(Failure::failed(format!(
                "the descriptor on standard input is of {}, not of {}",
                descriptor.digest, self.digest
            )));
        }
        // What a registry says beside is not part of what was signed.
        descriptor.annotations.clear();
        Ok(descriptor)
    }
}

/// The repository of `repo:tag`, `repo@digest` or `repo:tag@digest`. A digest in it is the one that was
/// asked about.
fn repository(name: &str, digest: &Digest) -> Result<RepositoryName, Failure> {
    let reference: Reference = match name.parse() {
        Ok(reference) => reference,
        Err(error) => {
            return name.parse().map_err(|_| usage(&format!("-name: {error}")));
        }
    };
    match &reference.target {
        TagOrDigest::Digest(named) if named != digest => Err(Failure::failed(format!(
            "-name names {named}, and -digest is {digest}"
        ))),
        _ => Ok(reference.repository),
    }
}

fn usage(what: &str) -> Failure {
    Failure::usage(format!(
        "{what}; containerd runs this as: {NAME} -name <reference> -digest <digest> -stdin-media-type {DESCRIPTOR}"
    ))
}

/// Ends this process with a reason where the deadline passes and the work does not end by itself.
struct Watchdog(Arc<std::sync::Mutex<Duration>>);

impl Watchdog {
    fn start(told: &Arc<AtomicBool>, context: &Context) -> Self {
        let began = std::time::Instant::now();
        let time = Arc::new(std::sync::Mutex::new(Settings::default().deadline()));
        let (allowed, told) = (Arc::clone(&time), Arc::clone(told));
        let console = Arc::clone(&context.console);
        thread::spawn(move || {
            loop {
                let time = allowed.lock().map_or_else(|_| Duration::ZERO, |t| *t);
                let limit = Settings::latest_end(time);
                match limit.checked_sub(began.elapsed()) {
                    Some(left) if !left.is_zero() => thread::sleep(left.min(TICK)),
                    _ => break,
                }
            }
            if told.swap(true, Ordering::SeqCst) {
                return;
            }
            let why = Failure::failed(format!(
                "no verdict within {:.1} seconds, the deadline in node.hardsign.json",
                began.elapsed().as_secs_f64()
            ));
            let _refused = tell(&Err(why), &console);
            end_children();
            std::process::exit(1);
        });
        Self(time)
    }

    /// The deadline, once it is known.
    fn allow(&self, deadline: Duration) {
        if let Ok(mut time) = self.0.lock() {
            *time = deadline;
        }
    }
}

/// What a child leaves behind becomes a child of this process, and so is found.
fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    {
        // Without it only children of children that ended can be missed.
        let _refused = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }
}

/// Kills what is still running of all that was started here.
fn end_children() {
    #[cfg(target_os = "linux")]
    for _ in 0..MAX_GENERATIONS {
        let children = children();
        if children.is_empty() {
            return;
        }
        for child in children {
            let _ended = rustix::process::kill_process(child, rustix::process::Signal::KILL);
            let options = rustix::process::WaitOptions::empty();
            let _reaped = rustix::process::waitpid(Some(child), options);
        }
    }
}

/// The processes whose parent this is.
#[cfg(target_os = "linux")]
fn children() -> Vec<rustix::process::Pid> {
    let tasks = std::fs::read_dir("/proc/self/task");
    let tasks = tasks.into_iter().flatten().flatten();
    let mut found = Vec::new();
    for task in tasks {
        let listed = std::fs::read_to_string(task.path().join("children"));
        let listed = listed.unwrap_or_default();
        let pids = listed.split_whitespace().filter_map(|pid| pid.parse().ok());
        found.extend(pids.filter_map(rustix::process::Pid::from_raw));
    }
    found
}

/// Children of children of children: each round kills those that the last one left.
#[cfg(target_os = "linux")]
const MAX_GENERATIONS: usize = 16;
/// How often the watchdog looks whether it is to wait longer.
const TICK: Duration = Duration::from_millis(100);
/// The media type of the descriptor.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";
const FLAGS: [&str; 3] = ["name", "digest", "stdin-media-type"];
/// Largest descriptor, in bytes.
const MAX_DESCRIPTOR: u64 = 1 << 20;
/// Longest reason, in characters: an event has not much more room.
const MAX_LINE: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    fn read(arguments: &[&str]) -> Result<Question, String> {
        let all = std::iter::once("image-verifier").chain(arguments.iter().copied());
        let read = Question::read(all.map(OsString::from));
        read.map_err(|failure| failure.messages.join("; "))
    }

    fn ask(name: &str) -> Result<Question, String> {
        let digest = digest("0a");
        read(&[
            "-name",
            name,
            "-digest",
            &digest,
            "-stdin-media-type",
            DESCRIPTOR,
        ])
    }

    #[test]
    fn names_as_containerd_gives_them() {
        let (same, other) = (digest("0a"), digest("0b"));
        for name in [
            "registry.example:5000/team/app:v1".to_owned(),
            format!("registry.example:5000/team/app@{same}"),
            format!("registry.example:5000/team/app:v1@{same}"),
            "registry.example:5000/team/app".to_owned(),
        ] {
            let question = ask(&name).unwrap();
            assert_eq!(question.digest.to_string(), same);
            assert_eq!(
                question.repository.to_string(),
                "registry.example:5000/team/app"
            );
        }
        let wrong = ask(&format!("registry.example/app:v1@{other}")).unwrap_err();
        assert!(wrong.contains("and -digest is"), "{wrong}");
        assert!(ask("app").is_err());
    }

    #[test]
    fn flags_as_go_reads_them() {
        let digest = digest("0a");
        let given = format!("--digest={digest}");
        let media_type = format!("-stdin-media-type={DESCRIPTOR}");
        assert_eq!(
            read(&[&given, &media_type, "--name", "r.example/a:v1"]),
            ask("r.example/a:v1")
        );
        for (arguments, why) in [
            (vec![], "a flag is missing"),
            (vec!["-name"], "-name needs a value"),
            (vec!["-name", "r.example/a:v1", "-name", "x"], "given twice"),
            (vec!["-help"], "unknown flag"),
            (vec!["verify"], "unexpected argument"),
            (
                vec![
                    "-name",
                    "r.example/a:v1",
                    "-digest",
                    "sha256:0",
                    "-stdin-media-type",
                    DESCRIPTOR,
                ],
                "-digest \"sha256:0\"",
            ),
            (
                vec![
                    "-name",
                    "r.example/a:v1",
                    "-digest",
                    &digest,
                    "-stdin-media-type",
                    "text/plain",
                ],
                "unknown -stdin-media-type",
            ),
        ] {
            let told = read(&arguments).unwrap_err();
            assert!(told.contains(why), "{arguments:?}: {told}");
        }
    }

    /// The digest that is asked about is the one that is verified.
    #[test]
    fn the_descriptor_is_the_one_asked_about() {
        let question = ask("r.example/a:v1").unwrap();
        let descriptor = |digest: &str| {
            let json = format!(
                r#"{{"mediaType":"m","digest":"{digest}","size":7,"annotations":{{"a":"b"}},"urls":["x"]}}"#
            );
            question.read_descriptor(json.as_bytes())
        };
        let read = descriptor(&digest("0a")).unwrap();
        assert_eq!((read.size, read.annotations.len()), (7, 0));
        assert!(descriptor(&digest("0b")).is_err());
        for bytes in [&b""[..], b"{}", b"[]", br#"{"digest":"x"}"#] {
            assert!(question.read_descriptor(bytes).is_err());
        }
    }

    #[test]
    fn the_name_decides() {
        let called = |name: &str| is_called(Some(&OsString::from(name)));
        assert!(called("/opt/containerd/image-verifier/bin/image-verifier"));
        assert!(!called("/usr/bin/hardsign"));
        assert!(!called("image-verifier/hardsign"));
    }
}
