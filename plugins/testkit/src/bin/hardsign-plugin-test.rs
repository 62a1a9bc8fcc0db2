//! Runs the plugin contract against an executable and prints a report.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use hardsign_plugin_testkit::kit::{self, Subject};

const USAGE: &str = "\
Usage: hardsign-plugin-test PATH [--id KEY] [--create KEY] [--config NAME=VALUE]...
                            [--trusted-identity IDENTITY]... [--patience SECONDS]

Runs the plugin contract against the executable at PATH, which must be named notation-<name>,
and prints which rules it meets. With --id it also signs with that key. With --create it has a
plugin that makes keys make one there, EC-256, and give it a certificate; the key stays. With --trusted-identity
a plugin that verifies is asked to trust that identity instead of any (*).

Exit code 0 if no rule is broken, 1 if one is, 2 if the arguments make no sense.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        return print(USAGE, ExitCode::SUCCESS);
    }
    match subject(&arguments) {
        Ok(subject) => {
            let report = kit::run(&subject);
            let code = if report.passed() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            };
            print(&format!("{report}\n"), code)
        }
        Err(why) => print(&format!("{why}\n\n{USAGE}"), ExitCode::from(2)),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "an executable reads the clock for the library"
)]
fn subject(arguments: &[String]) -> Result<Subject, String> {
    let mut subject = Subject::new("", SystemTime::now());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next().cloned();
            value.ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--id" => subject.key_id = Some(value()?),
            "--create" => subject.create = Some(value()?),
            "--config" => {
                let setting = value()?;
                let (name, value) = setting.split_once('=').ok_or("--config needs NAME=VALUE")?;
                subject.config.insert(name.into(), value.into());
            }
            "--trusted-identity" => subject.trusted_identities.push(value()?),
            "--patience" => {
                let seconds = value()?.parse().map_err(|_| "--patience needs seconds")?;
                subject.patience = Duration::from_secs(seconds);
            }
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
            path if subject.path.as_os_str().is_empty() => subject.path = path.into(),
            _ => return Err("only one plugin at a time".into()),
        }
    }
    if subject.path.as_os_str().is_empty() {
        return Err("which plugin?".into());
    }
    Ok(subject)
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
