//! `hardsign completion`: scripts that ask `hardsign __complete` what may stand at the cursor, so
//! that every shell completes the same commands, flags and names, from the definitions and the
//! user's own files. Nothing is asked over the network and no plugin is started.

use std::collections::BTreeMap;

use clap::{Arg, Command};
use hardsign_core::artifact::Kind;
use hardsign_core::config::{SigningKeys, read_policy};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::Finder;
use hardsign_core::trust::edit;
use serde_json::Value;

use super::Context;
use crate::args::{SHELLS, Shell, Usage};
use crate::failure::Failure;

mod bash;

/// Prints the script for a shell.
pub(super) fn script(shell: Shell, context: &Context) -> Result<(), Failure> {
    let script = match shell {
        Shell::Bash => include_str!("completion/bash.sh"),
        Shell::Zsh => include_str!("completion/zsh.zsh"),
        Shell::Fish => include_str!("completion/fish.fish"),
        Shell::Power => include_str!("completion/powershell.ps1"),
    };
    let script = script.replace("@PROGRAM@", context.program);
    Ok(context.console.bytes(script.as_bytes())?)
}

/// Prints what may stand in place of the last word: a line each, with a tab before what it is; the
/// last line says whether files may stand there too.
pub(super) fn candidates(
    words: &[String],
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    let mut out = String::new();
    let directive = match find(words, definition, context) {
        Candidates::Files => ":files",
        Candidates::Directories => ":directories",
        Candidates::Words(words) => {
            for (word, about) in words {
                let tab = if about.is_empty() { "" } else { "\t" };
                out.push_str(&format!("{word}{tab}{about}\n"));
            }
            ":none"
        }
    };
    out.push_str(directive);
    out.push('\n');
    Ok(context.console.bytes(out.as_bytes())?)
}

/// The same for bash, whose line and current word are given: a line for each text to insert, or
/// one that asks for files, with the path that is typed.
pub(super) fn for_bash(
    typed: &[String],
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    let [line, part] = typed else {
        return Err(Usage::new("accepts 2 arg(s): the line and its last word".to_owned()).into());
    };
    let line = bash::Line::read(line, part);
    let out = match find(&line.words, definition, context) {
        Candidates::Files => format!(":files {}\n", line.path()),
        Candidates::Directories => format!(":directories {}\n", line.path()),
        Candidates::Words(words) => words
            .iter()
            .filter_map(|(word, _)| Some(format!("{}\n", line.insert(word)?)))
            .collect(),
    };
    Ok(context.console.bytes(out.as_bytes())?)
}

fn find(words: &[String], definition: &Command, context: &Context) -> Candidates {
    let mut definition = definition.clone();
    definition.build();
    let dirs = context.dirs().ok();
    Typed::read(words, &definition).candidates(dirs.as_ref())
}

/// What may stand somewhere.
enum Candidates {
    /// These words, each with what it is.
    Words(Vec<(String, String)>),
    Files,
    Directories,
}

/// The command line up to the cursor.
struct Typed<'a> {
    command: &'a Command,
    /// The names of the command and its groups.
    path: Vec<&'a str>,
    /// Flags with values so far.
    flags: BTreeMap<String, String>,
    /// The flag whose value is typed.
    flag: Option<&'a Arg>,
    /// Whether `--` stands before the cursor.
    words_only: bool,
    /// Whether the value stands in `--flag=value`, so that the flag is part of the word.
    equals: bool,
    current: &'a str,
}

impl<'a> Typed<'a> {
    fn read(words: &'a [String], definition: &'a Command) -> Self {
        let (current, before) = words.split_last().map_or(("", &[][..]), |(c, b)| (c, b));
        let mut typed = Self {
            command: definition,
            path: vec![],
            flags: BTreeMap::new(),
            flag: None,
            words_only: false,
            equals: false,
            current,
        };
        for word in before {
            typed.pass(word);
        }
        if let (None, Some((flag, value))) = (typed.flag, current.split_once('='))
            && let Some(long) = flag.strip_prefix("--")
            && let Some(arg) = typed.find(|arg| arg.get_long() == Some(long))
        {
            typed.flag = Some(arg);
            typed.equals = true;
            typed.current = value;
        }
        typed
    }

    /// Takes in one word before the cursor.
    fn pass(&mut self, word: &'a str) {
        if let Some(flag) = self.flag.take() {
            self.flags
                .insert(flag.get_id().to_string(), word.to_owned());
        } else if self.words_only {
        } else if word == "--" {
            self.words_only = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').unzip();
            let name = name.unwrap_or(long);
            match (self.find(|arg| arg.get_long() == Some(name)), value) {
                (Some(arg), Some(value)) => {
                    self.flags
                        .insert(arg.get_id().to_string(), value.to_owned());
                }
                (Some(arg), None) if has_value(arg) => self.flag = Some(arg),
                (Some(arg), None) => {
                    self.flags.insert(arg.get_id().to_string(), String::new());
                }
                (None, _) => {}
            }
        } else if word.starts_with('-') && word.chars().count() == 2 {
            let short = word.chars().nth(1);
            self.flag = self
                .find(|arg| arg.get_short() == short)
                .filter(|a| has_value(a));
        } else if let Some(inner) = self.command.find_subcommand(word) {
            self.path.push(inner.get_name());
            self.command = inner;
        }
    }

    fn find(&self, wanted: impl Fn(&Arg) -> bool) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| wanted(arg))
    }

    fn candidates(&self, dirs: Option<&Dirs>) -> Candidates {
        let found = match self.flag {
            Some(flag) => self.values(flag.get_id().as_str(), dirs),
            None if self.current.starts_with('-') && !self.words_only => {
                Candidates::Words(self.flag_names())
            }
            None if self.command.has_subcommands() => Candidates::Words(self.commands()),
            None => self.values(POSITIONAL, dirs),
        };
        match found {
            Candidates::Words(words) => Candidates::Words(self.fitting(words)),
            files => files,
        }
    }

    /// Those that begin with what is typed; in `--flag=value` they are given whole.
    fn fitting(&self, words: Vec<(String, String)>) -> Vec<(String, String)> {
        let whole = |word: String| match self.flag.and_then(Arg::get_long) {
            Some(long) if self.equals => format!("--{long}={word}"),
            _ => word,
        };
        words
            .into_iter()
            .filter(|(word, _)| word.starts_with(self.current))
            .filter(|(word, _)| !word.contains(char::is_control))
            .map(|(word, about)| (whole(word), about))
            .collect()
    }

    fn flag_names(&self) -> Vec<(String, String)> {
        self.command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(|arg| Some((format!("--{}", arg.get_long()?), about(arg.get_help()))))
            .collect()
    }

    fn commands(&self) -> Vec<(String, String)> {
        self.command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set())
            .map(|inner| (inner.get_name().to_owned(), about(inner.get_about())))
            .collect()
    }

    /// What may be the value of a flag, or the argument, of the command at hand.
    fn values(&self, what: &str, dirs: Option<&Dirs>) -> Candidates {
        let path = self.path.join(" ");
        let words = match (path.as_str(), what) {
            (_, "key") | ("key update" | "key delete" | "certificate cleanup-test", POSITIONAL) => {
                dirs.map(keys)
            }
            (_, "plugin") | ("plugin inspect", POSITIONAL) => dirs.map(plugins),
            ("plugin uninstall" | "plugin trust", POSITIONAL) => dirs.map(installed_plugins),
            (_, "type") => Some(plain(&["ca", "signingAuthority", "tsa"])),
            (_, "store") => dirs.map(|dirs| stores(dirs, self.flags.get("type"))),
            (_, "trust-store") => dirs.map(typed_stores),
            ("certificate show" | "certificate delete", POSITIONAL) => {
                dirs.map(|dirs| self.certificates(dirs))
            }
            (_, "policy-name") => {
                dirs.map(|dirs| statements(dirs, Kind::Blob, |s| vec![s["name"].clone()]))
            }
            (_, "scope") | ("policy explain", POSITIONAL) => dirs.map(scopes),
            ("inspect" | "blob inspect", "output") => Some(plain(&["tree", "json"])),
            ("sign" | "verify" | "blob sign" | "blob verify", "output") => {
                Some(plain(&["text", "json", "jsonl"]))
            }
            (_, "output") => Some(plain(&["text", "json"])),
            (_, "signature-format") => Some(plain(&["jws", "cose"])),
            ("completion", POSITIONAL) => Some(plain(&SHELLS)),
            ("man", POSITIONAL) | (_, "signature-directory") => return Candidates::Directories,
            ("sign" | "verify" | "list" | "inspect", POSITIONAL)
                if self.flags.contains_key("oci-layout") =>
            {
                return Candidates::Files;
            }
            _ if takes_file(&path, what) => return Candidates::Files,
            _ => None,
        };
        Candidates::Words(words.unwrap_or_default())
    }

    fn certificates(&self, dirs: &Dirs) -> Vec<(String, String)> {
        let wanted = |flag: &str, value: &str| self.flags.get(flag).is_none_or(|w| w == value);
        edit::list(dirs, None, None)
            .unwrap_or_default()
            .into_iter()
            .filter(|file| wanted("type", &file.store_type.to_string()))
            .filter(|file| wanted("store", &file.store))
            .map(|file| (file.file, format!("in {}:{}", file.store_type, file.store)))
            .collect()
    }
}

fn takes_file(path: &str, what: &str) -> bool {
    const FLAGS: [&str; 6] = [
        "attest-root",
        "policy",
        "ca-file",
        "signature",
        "file",
        "timestamp-root-cert",
    ];
    const COMMANDS: [&str; 7] = [
        "blob sign",
        "blob verify",
        "blob inspect",
        "blob policy import",
        "certificate add",
        "plugin install",
        "policy import",
    ];
    FLAGS.contains(&what) || what == POSITIONAL && COMMANDS.contains(&path)
}

/// A switch takes its value after an equals sign only.
fn has_value(arg: &Arg) -> bool {
    !arg.is_require_equals_set()
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn plain(words: &[&str]) -> Vec<(String, String)> {
    words
        .iter()
        .map(|word| ((*word).to_owned(), String::new()))
        .collect()
}

fn keys(dirs: &Dirs) -> Vec<(String, String)> {
    let keys = SigningKeys::load(dirs).unwrap_or_default();
    let about = |name: &str| {
        if keys.default_name() == Some(name) {
            "the default signing key"
        } else {
            "signing key"
        }
    };
    keys.entries()
        .iter()
        .map(|key| (key.name.clone(), about(&key.name).to_owned()))
        .collect()
}

fn plugins(dirs: &Dirs) -> Vec<(String, String)> {
    let mut plugins: BTreeMap<_, _> = Finder::new(dirs)
        .list_box()
        .into_iter()
        .map(|file| {
            (
                file.name.as_str().to_owned(),
                "came with hardsign".to_owned(),
            )
        })
        .collect();
    plugins.extend(installed_plugins(dirs));
    plugins.into_iter().collect()
}

/// Those in the plugin directory alone.
fn installed_plugins(dirs: &Dirs) -> Vec<(String, String)> {
    let listed = Finder::new(dirs).list().unwrap_or_default();
    let about = |name: &str| (name.to_owned(), "installed".to_owned());
    listed
        .iter()
        .map(|plugin| about(plugin.name.as_str()))
        .collect()
}

fn stores(dirs: &Dirs, of_type: Option<&String>) -> Vec<(String, String)> {
    let stores: BTreeMap<_, _> = edit::list(dirs, None, None)
        .unwrap_or_default()
        .into_iter()
        .filter(|file| of_type.is_none_or(|wanted| *wanted == file.store_type.to_string()))
        .map(|file| (file.store, format!("of type {}", file.store_type)))
        .collect();
    stores.into_iter().collect()
}

fn typed_stores(dirs: &Dirs) -> Vec<(String, String)> {
    let stores: BTreeMap<_, _> = edit::list(dirs, None, None)
        .unwrap_or_default()
        .into_iter()
        .map(|file| (format!("{}:{}", file.store_type, file.store), String::new()))
        .collect();
    stores.into_iter().collect()
}

fn scopes(dirs: &Dirs) -> Vec<(String, String)> {
    let scopes = |statement: &Value| -> Vec<Value> {
        statement["registryScopes"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let mut found = statements(dirs, Kind::Oci, scopes);
    found.retain(|(scope, _)| scope != "*");
    found
}

/// Texts out of the statements of a trust policy, whether or not it is valid.
fn statements(
    dirs: &Dirs,
    kind: Kind,
    texts: impl Fn(&Value) -> Vec<Value>,
) -> Vec<(String, String)> {
    let Ok(file) = read_policy(dirs, kind) else {
        return vec![];
    };
    let Ok(policy) = serde_json::from_slice::<Value>(&file.bytes) else {
        return vec![];
    };
    let statements = policy["trustPolicies"].as_array().into_iter().flatten();
    let mut found = Vec::new();
    for statement in statements {
        for text in texts(statement) {
            if let Some(text) = text.as_str() {
                let name = statement["name"].as_str().unwrap_or_default();
                let name = crate::output::one_line(name);
                found.push((text.to_owned(), format!("statement {name}")));
            }
        }
    }
    found
}

/// The id of every command's argument.
const POSITIONAL: &str = "positional";
