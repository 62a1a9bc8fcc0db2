//! One thing has one name in all that is printed as JSON, and `docs/json.md` has that name.

#![allow(
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A command as a transcript or `docs/json.md` shows it, and the names of members below it.
struct Printed {
    place: String,
    command: String,
    names: Vec<String>,
}

impl Printed {
    /// The two commands that print what the reference tool prints.
    fn is_of_the_reference(&self) -> bool {
        self.command.contains("inspect ") && !self.command.contains("plugin inspect")
    }

    fn is_about_files(&self) -> bool {
        ["blob sign", "blob verify"]
            .iter()
            .any(|verb| self.command.contains(verb))
    }
}

#[test]
fn one_thing_has_one_documented_name() {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(cli.join("../docs/json.md")).unwrap();
    let mut printed = documented(&document);
    for file in transcripts(&cli.join("tests/cmd")) {
        let place = file.strip_prefix(cli).unwrap().display().to_string();
        printed.extend(played(&fs::read_to_string(&file).unwrap(), &place));
    }
    let with_names = printed.iter().filter(|printed| !printed.names.is_empty());
    assert!(with_names.count() > 80, "JSON was not found");
    let mut faults = Vec::new();
    for printed in &printed {
        for name in &printed.names {
            if let Some(fault) = fault(name, printed, &document) {
                faults.push(format!("{}: {}: {fault}", printed.place, printed.command));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is wrong with a name.
fn fault(name: &str, printed: &Printed, document: &str) -> Option<String> {
    let is_known = document.contains(&format!("`{name}`"))
        || document.contains(&format!("\"{name}\""))
        || USER_METADATA.contains(&name);
    if !is_known {
        return Some(format!("{name} is not in docs/json.md"));
    }
    if printed.is_of_the_reference() {
        return None;
    }
    if printed.is_about_files() && name == "reference" {
        return Some("a file is a blob, not a reference".to_owned());
    }
    let is_camel = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_camel {
        return Some(format!("{name} is not in lower camel case"));
    }
    let (_, right) = OTHER_NAMES.iter().find(|(wrong, _)| *wrong == name)?;
    Some(format!("{name} is called {right}"))
}

/// What transcripts sign with, which has any names.
const USER_METADATA: [&str; 2] = ["build", "commit"];

/// Names of things that are called otherwise here.
const OTHER_NAMES: [(&str, &str); 24] = [
    ("SHA256Fingerprint", "sha256Fingerprint"),
    ("sha256Thumbprint", "sha256Fingerprint"),
    ("thumbprint", "sha256Fingerprint"),
    ("fingerprint", "sha256Fingerprint"),
    ("mend", "fix"),
    ("hint", "detail or fix"),
    ("details", "detail"),
    ("reason", "error"),
    ("verdict", "outcome"),
    ("result", "outcome"),
    ("validFrom", "notBefore"),
    ("validTo", "notAfter"),
    ("expires", "expiry or notAfter"),
    ("issuedTo", "subject"),
    ("issuedBy", "issuer"),
    ("id", "keyId"),
    ("plugin", "pluginName"),
    ("serial", "serialNumber"),
    ("store", "trustStore"),
    ("files", "paths"),
    ("ref", "reference"),
    ("image", "reference"),
    ("metadata", "userMetadata"),
    ("certPath", "certificatePath"),
];

/// The documents in `docs/json.md`, each under the command that its section is about.
fn documented(document: &str) -> Vec<Printed> {
    let mut all: Vec<Printed> = Vec::new();
    let (mut section, mut in_json) = (String::new(), false);
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("## `") {
            section = format!("hardsign {}", heading.replace('`', " "));
        } else if line.starts_with("```") {
            in_json = line == "```json";
            all.push(Printed {
                place: "docs/json.md".to_owned(),
                command: section.clone(),
                names: Vec::new(),
            });
        } else if in_json {
            all.last_mut().unwrap().names.extend(names(line));
        }
    }
    all
}

/// The commands of a transcript that print JSON.
fn played(transcript: &str, place: &str) -> Vec<Printed> {
    let mut all: Vec<Printed> = Vec::new();
    let mut in_block = false;
    for line in transcript.lines() {
        if line.starts_with("```") {
            in_block = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| in_block) {
            all.push(Printed {
                place: place.to_owned(),
                command: command.to_owned(),
                names: Vec::new(),
            });
        } else if in_block
            && let Some(printed) = all.last_mut()
            && asks_for_json(&printed.command)
        {
            printed.names.extend(names(line));
        }
    }
    all
}

fn asks_for_json(command: &str) -> bool {
    let words: Vec<_> = command.split([' ', '=', ';']).collect();
    words
        .windows(2)
        .any(|pair| ["-o", "--output"].contains(&pair[0]) && pair[1].starts_with("json"))
        || words.iter().any(|word| word.starts_with("-ojson"))
}

/// The names of members in a line of JSON; quotes inside of strings are escaped, and so no names.
fn names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(end) = rest.find("\":") {
        let before = &rest[..end];
        let start = before.rfind('"').map_or(0, |at| at + 1);
        let (name, in_front) = (&before[start..], &before[..start.saturating_sub(1)]);
        let in_front = in_front.trim_end();
        if (in_front.is_empty() || in_front.ends_with(['{', ','])) && !name.ends_with('\\') {
            names.push(name.to_owned());
        }
        rest = &rest[end + 2..];
    }
    names
}

fn transcripts(directory: &Path) -> Vec<PathBuf> {
    let verbs = fs::read_dir(directory).unwrap();
    let cases = verbs.flat_map(|verb| fs::read_dir(verb.unwrap().path()).unwrap());
    let mut files: Vec<_> = cases.map(|case| case.unwrap().path()).collect();
    files.sort();
    files
}
