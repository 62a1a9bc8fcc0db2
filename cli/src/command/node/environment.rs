//! The environment of containerd, which every verifier that it starts inherits: that of the process that answers
//! at its socket, else that of its unit, else one with nothing but `PATH`.
//!
//! What is judged in another environment may be judged otherwise: `NOTATION_CONFIG` names the policy, `HOME` and
//! `DOCKER_CONFIG` lead to credentials, proxies decide what is reached. So `doctor node` goes on as a process of
//! this environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

use hardsign_core::config::read_named;
use hardsign_plugin::text::io_text;

use super::containerd::find;
use super::run;
use crate::args::node::JudgedIn;

/// Variables by name.
type Variables = BTreeMap<OsString, OsString>;

/// The environment in which a verifier runs.
#[derive(Debug)]
pub(in crate::command) struct Environment {
    variables: Variables,
    /// Where it is from, as the end of a sentence.
    source: String,
    /// Whether it is containerd's, and not only assumed.
    is_known: bool,
}

impl Environment {
    /// Finds the environment of the containerd that answers at `endpoint`; if variables are named, it is these.
    pub(in crate::command) async fn find(endpoint: &str, named: &[(String, String)]) -> Self {
        if !named.is_empty() {
            let named = named
                .iter()
                .map(|(name, value)| (name.into(), value.into()));
            return Self {
                variables: with_path(named.collect()),
                source: "the environment that --env describes".to_owned(),
                is_known: true,
            };
        }
        if let Some(of_process) = Self::of_process(endpoint).await {
            return of_process;
        }
        match of_unit().await {
            Some(variables) => Self {
                variables: with_path(variables),
                source: format!("the environment of the unit {UNIT}"),
                is_known: true,
            },
            None => Self {
                variables: with_path(Variables::new()),
                source: "an environment with nothing but PATH".to_owned(),
                is_known: false,
            },
        }
    }

    /// The environment of the process that answers at `endpoint`, if that is a containerd's and can be read.
    pub(in crate::command) async fn of_process(endpoint: &str) -> Option<Self> {
        let process = process(endpoint).await?;
        let directory = Path::new("/proc").join(process.to_string());
        let name = read_named(&directory.join("comm"), MAX_FILE).ok()?;
        if !name.starts_with(b"containerd") {
            return None;
        }
        let block = read_named(&directory.join("environ"), MAX_FILE).ok()?;
        Some(Self {
            variables: of_block(&block),
            source: format!("the environment of containerd, process {process}"),
            is_known: true,
        })
    }

    /// A variable; empty counts as unset.
    pub(in crate::command) fn variable(&self, name: &str) -> Option<&OsStr> {
        set(&self.variables, name)
    }

    /// What is to be told of it by a process that was started with the variables `here`.
    fn told(&self, here: &Variables) -> JudgedIn {
        let differs = |name: &&str| set(here, name) != self.variable(name);
        let differences = DECISIVE.into_iter().filter(differs).map(|name| {
            match (set(here, name), self.variable(name)) {
                (_, None) => format!("{name} is set here but not there, so it was not used"),
                (None, _) => format!("{name} is set there but not here, and was used"),
                _ => format!("{name} is not the same there as here: the value there was used"),
            }
        });
        let dropped = OF_A_LOGIN
            .into_iter()
            .filter(|name| set(here, name).is_some());
        let dropped = dropped.filter(|name| self.variable(name).is_none());
        JudgedIn {
            source: self.source.clone(),
            is_known: self.is_known,
            differences: differences.collect(),
            dropped: dropped.map(str::to_owned).collect(),
        }
    }

    /// Goes on as this executable with the same arguments and one more, in this environment. Returns only where that
    /// fails.
    ///
    /// # Errors
    /// Why it could not be started, as a message.
    pub(in crate::command) fn enter(&self, flag: &str) -> String {
        let here: Variables = std::env::vars_os().collect();
        let told = match serde_json::to_string(&self.told(&here)) {
            Ok(told) => told,
            Err(error) => return error.to_string(),
        };
        let executable = match std::env::current_exe() {
            Ok(executable) => executable,
            Err(error) => return io_text(&error),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this executable goes on in another environment; it is no plugin"
        )]
        let mut command = Command::new(executable);
        let of_terminal = here.iter().filter(|(name, _)| {
            let name = name.to_str().unwrap_or_default();
            OF_A_TERMINAL.contains(&name)
        });
        command
            .args(std::env::args_os().skip(1))
            .arg(format!("--{flag}={told}"))
            .env_clear()
            .envs(of_terminal)
            .envs(&self.variables);
        io_text(&replace(&mut command))
    }
}

/// Goes on as another program. Returns only where that fails.
#[cfg(unix)]
fn replace(command: &mut Command) -> io::Error {
    use std::os::unix::process::CommandExt as _;

    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.exec()
}

#[cfg(not(unix))]
fn replace(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

fn set<'v>(variables: &'v Variables, name: &str) -> Option<&'v OsStr> {
    let value = variables.get(OsStr::new(name))?;
    Some(value.as_os_str()).filter(|value| !value.is_empty())
}

/// The process that listens at a socket of this machine; none where it can't be seen from here.
#[cfg(target_os = "linux")]
async fn process(endpoint: &str) -> Option<u32> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    let connected = tokio::net::UnixStream::connect(path);
    let connected = tokio::time::timeout(MAX_TIME, connected).await.ok()?.ok()?;
    let process = connected.peer_cred().ok()?.pid()?;
    u32::try_from(process).ok().filter(|process| *process > 0)
}

#[cfg(not(target_os = "linux"))]
async fn process(_endpoint: &str) -> Option<u32> {
    None
}

/// The variables in `/proc/<process>/environ`.
fn of_block(block: &[u8]) -> Variables {
    let entries = block.split(|byte| *byte == 0);
    entries
        .filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = entry.split_at_checked(at)?;
            Some((os_string(name)?, os_string(value.get(1..)?)?))
        })
        .collect()
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> Option<OsString> {
    use std::os::unix::ffi::OsStrExt as _;
    Some(OsStr::from_bytes(bytes).to_owned())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> Option<OsString> {
    std::str::from_utf8(bytes).ok().map(OsString::from)
}

/// The variables that systemd gives containerd, if there is such a unit.
async fn of_unit() -> Option<Variables> {
    let systemctl = find("systemctl")?;
    let properties = "--property=LoadState,Environment,EnvironmentFiles";
    let shown = run::output(&systemctl, &["show", UNIT, properties]).await;
    let shown = shown.ok()?;
    let lines = || shown.lines().filter_map(|line| line.split_once('='));
    lines().find(|line| *line == ("LoadState", "loaded"))?;
    let mut variables = Variables::new();
    for (property, value) in lines() {
        match property {
            "Environment" => {
                variables.extend(words(value).iter().filter_map(|word| variable(word)))
            }
            "EnvironmentFiles" => {
                // <path> (ignore_errors=yes)
                let path = value.rsplit_once(" (").map_or(value, |(path, _)| path);
                let bytes = read_named(Path::new(path), MAX_FILE).unwrap_or_default();
                variables.extend(of_file(&String::from_utf8_lossy(&bytes)));
            }
            _ => {}
        }
    }
    Some(variables)
}

fn variable(word: &str) -> Option<(OsString, OsString)> {
    let (name, value) = word.split_once('=')?;
    (!name.is_empty()).then(|| (name.into(), value.into()))
}

/// The variables of an `EnvironmentFile=` of systemd.
fn of_file(text: &str) -> Variables {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| {
            let (name, value) = line.split_once('=')?;
            let value = words(value.trim()).join(" ");
            Some((name.trim().into(), value.into()))
        })
        .collect()
}

/// Words as systemd writes them: quotes of either kind keep spaces, a backslash keeps what follows it.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => word.get_or_insert_default().extend(letters.next()),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (_, Some(open)) if open == letter => quote = None,
            (' ' | '\t', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// With the `PATH` that systemd gives to services, unless another is set.
fn with_path(mut variables: Variables) -> Variables {
    let path = variables.entry("PATH".into());
    path.or_insert_with(|| PATH.into());
    variables
}

/// The unit of containerd.
const UNIT: &str = "containerd.service";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables that decide about verdicts.
const DECISIVE: [&str; 13] = [
    "NOTATION_CONFIG",
    "NOTATION_CACHE",
    "NOTATION_LIBEXEC",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// Variables that every login has, and hardly a service.
const OF_A_LOGIN: [&str; 3] = ["HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"];
/// Variables that concern nothing but the terminal.
const OF_A_TERMINAL: [&str; 3] = ["TERM", "NO_COLOR", "COLUMNS"];
/// How long containerd may take to accept a connection.
#[cfg(target_os = "linux")]
const MAX_TIME: std::time::Duration = std::time::Duration::from_secs(10);
/// Largest environment, in bytes.
const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(of: &[(&str, &str)]) -> Variables {
        let of = of.iter().map(|(name, value)| (name.into(), value.into()));
        of.collect()
    }

    #[test]
    fn an_environment_as_the_kernel_and_systemd_write_it() {
        assert_eq!(
            of_block(b"A=1\0B=a=b\0C=\0broken\0\0"),
            variables(&[("A", "1"), ("B", "a=b"), ("C", "")])
        );
        assert_eq!(
            words(r#"A=1 "B=two words" 'C=it' D="x y" E=\"q "" "#),
            ["A=1", "B=two words", "C=it", "D=x y", "E=\"q", ""]
        );
        let file = "# comment\nHTTPS_PROXY=\"http://proxy.test:3128\"\n; other\n\nNO_PROXY = a,b \nbroken\n";
        assert_eq!(
            of_file(file),
            variables(&[
                ("HTTPS_PROXY", "http://proxy.test:3128"),
                ("NO_PROXY", "a,b")
            ])
        );
    }

    /// What decides about verdicts and differs is told by name; values may be secret.
    #[test]
    fn differences_are_told() {
        let environment = Environment {
            variables: variables(&[
                ("NOTATION_CONFIG", "/b"),
                ("NO_PROXY", "x"),
                ("HTTP_PROXY", ""),
            ]),
            source: "a test".to_owned(),
            is_known: true,
        };
        let here = variables(&[
            ("NOTATION_CONFIG", "/a"),
            ("HTTPS_PROXY", "http://u:secret@proxy.test"),
            ("HOME", "/root"),
            ("EDITOR", "vi"),
        ]);
        let told = environment.told(&here);
        assert_eq!(
            told.differences,
            [
                "NOTATION_CONFIG is not the same there as here: the value there was used",
                "HTTPS_PROXY is set here but not there, so it was not used",
                "NO_PROXY is set there but not here, and was used",
            ]
        );
        assert_eq!(told.dropped, ["HOME"]);
        let text = serde_json::to_string(&told).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(serde_json::from_str::<JudgedIn>(&text).unwrap(), told);
    }
}
