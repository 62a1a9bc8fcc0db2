//! Hints are good for something: each command that a text of hardsign names is run as the text says, in the
//! state that the mistake left, and does what it says. `hints.txt` has a row for each of them, or the reason
//! why there is none.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "a failure of the harness is a failed test"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use support::Machine;

/// What `hints.txt` says of one command.
#[derive(Default)]
struct Row {
    /// The file with the text, below `src`, and the command as it stands there.
    hint: (String, String),
    before: String,
    mistake: String,
    then: String,
    /// Placeholders, and what stands for them.
    with: Vec<(String, String)>,
    answer: String,
    prints: String,
    code: i32,
    because: String,
}

/// The rows of `hints.txt`.
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(manifest().join("tests/hints.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text: Vec<_> = lines.collect();
    let mut rows = Vec::new();
    for paragraph in text.split(|line| line.is_empty()).filter(|p| !p.is_empty()) {
        let mut row = Row::default();
        for line in paragraph {
            let (member, value) = line.split_once(": ").unwrap();
            let value = value.to_owned();
            match member {
                "hint" => {
                    let (file, command) = value.split_once(": ").unwrap();
                    row.hint = (file.to_owned(), command.to_owned());
                }
                "before" => row.before = value,
                "mistake" => row.mistake = value,
                "then" => row.then = value,
                "with" => {
                    let (placeholder, value) = value.split_once(" = ").unwrap();
                    row.with.push((placeholder.to_owned(), value.to_owned()));
                }
                "answer" => row.answer = value,
                "prints" => row.prints = value,
                "code" => row.code = value.parse().unwrap(),
                "because" => row.because = value,
                other => panic!("{other}: unknown in hints.txt"),
            }
        }
        let runs = !row.mistake.is_empty() && !row.prints.is_empty();
        assert!(runs == row.because.is_empty(), "{:?}", row.hint);
        rows.push(row);
    }
    rows
}

fn manifest() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Shorthands of `hints.txt`: what is in the layouts, a key on disk without and with a certificate, and a
/// containerd that verifies.
const PRELUDE: &str = r#"
APP=layout@sha256:87e72933805e382b4b445fb6ad3427ee306510d9476ed27c9736450e36709058
SBOM=multi@sha256:33facdcae23b962ab0233deb182933f55f9409a71390a8e94db7737c8c561f18
NONE=sha256:0000000000000000000000000000000000000000000000000000000000000000
made() {
    hardsign key create $1 --plugin local --id $1.key --plugin-config cert-chain=$1.crt --type EC-256
}
certified() {
    made $1 && hardsign key certify $1 --subject C=US,ST=WA,O=Example,CN=$1 --days $2 $3 $4
}
containerd() {
    printf '%s\n' "[plugins.\"io.containerd.image-verifier.v1.bindir\"]" "bin_dir = \"$PWD/verifiers\"" > config.toml
    printf '%s\n' '#!/bin/sh' "case \$* in *dump*) cat '$PWD/config.toml';; *) echo containerd v2.4.2;; esac" > containerd
    chmod 755 containerd
}
"#;

#[test]
fn the_command_of_a_hint_works() {
    let rows = rows();
    let rows: Vec<_> = rows.iter().filter(|row| row.because.is_empty()).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let faults: Vec<String> = std::thread::scope(|scope| {
        let parts = rows.chunks(rows.len().div_ceil(threads));
        let running: Vec<_> = parts
            .map(|part| scope.spawn(move || part.iter().filter_map(|row| fault(row)).collect()))
            .collect();
        let found = running
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|_| vec!["panicked".to_owned()]));
        let found: Vec<String> = found.collect();
        found
    });
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// What is wrong with the command of a row.
fn fault(row: &Row) -> Option<String> {
    let all = format!("{} {} {:?}", row.before, row.mistake, row.with);
    let machine = match all.contains("$REGISTRY") || all.contains("$PRIVATE") {
        true => Machine::with_registries(),
        false => Machine::new(),
    }
    .with_platforms();
    let (file, template) = &row.hint;
    let shell = |line: &str| {
        let ran = machine.shell(&format!("{PRELUDE}{line}"));
        (
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            ran.status.code(),
        )
    };
    let (prepared, _) = shell(&row.before);
    let (said, _) = shell(&row.mistake);
    let mut spans = said.split('`').skip(1).step_by(2);
    let Some(named) = spans.find(|span| is_made_of(span, template)) else {
        let mistake = &row.mistake;
        return Some(format!(
            "{file}: {mistake}: nothing names `{template}`:\n{prepared}{said}"
        ));
    };
    let mut line = named.to_owned();
    for (placeholder, value) in &row.with {
        line = line.replace(placeholder, value);
    }
    let (between, _) = shell(&row.then);
    let (text, code) = shell(&format!("echo '{}' | {line}", row.answer));
    let (prints, _) = shell(&format!("printf %s \"{}\"", row.prints));
    let good = code == Some(row.code) && text.contains(&prints);
    (!good).then(|| {
        format!(
            "{file}: {}: `{line}`: {code:?}\n{between}{text}",
            row.mistake
        )
    })
}

/// Whether a text comes of a source's: anything may stand for `{…}`.
fn is_made_of(text: &str, template: &str) -> bool {
    let mut parts = template.split('{').map(|part| match part.split_once('}') {
        Some((_, after)) => after,
        None => part,
    });
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let end = match last {
            true => rest.ends_with(part).then_some(rest.len()),
            false => rest.find(part).map(|start| start + part.len()),
        };
        let Some(end) = end else { return false };
        rest = &rest[end..];
    }
    rest.is_empty()
}

#[test]
fn texts_are_known_by_their_sources() {
    for (text, template, is) in [
        ("hardsign key list", "hardsign key list", true),
        ("hardsign key list --all", "hardsign key list", false),
        ("hardsign sign --oci-layout a:b", "hardsign sign{} {}", true),
        ("hardsign key add x", "{program} key add {name}", true),
        ("hardsign key add x", "{program} key delete {name}", false),
    ] {
        assert_eq!(is_made_of(text, template), is, "{text} {template}");
    }
}

/// Each command that a text of the sources names has a row, and each row is of one that there is.
#[test]
fn every_hint_that_names_a_command_has_a_row() {
    let rows = rows();
    let listed: BTreeSet<_> = rows.iter().map(|row| row.hint.clone()).collect();
    assert_eq!(listed.len(), rows.len(), "a command is listed twice");
    let mut found = BTreeSet::new();
    let sources = manifest().join("src");
    for file in sources_below(&sources) {
        let name = file.strip_prefix(&sources).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let commands = named(&text).into_iter();
        found.extend(commands.map(|command| (name.clone(), command)));
    }
    assert!(found.len() > 90, "only {} commands were found", found.len());
    let missing: Vec<_> = found.difference(&listed).collect();
    // These have no text of their own in a source.
    let together = |(file, _): &&(String, String)| file == "args/typed.rs";
    let gone = listed.difference(&found).filter(|hint| !together(hint));
    let gone: Vec<_> = gone.collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "without a row in hints.txt: {missing:#?}\nnowhere in the sources: {gone:#?}"
    );
}

/// Sources with texts for users; the scripts of `completion` call hardsign for themselves.
fn sources_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if matches!(&*name, "tests" | "completion") => {}
            true => found.extend(sources_below(&path)),
            false if name.ends_with(".rs") && name != "tests.rs" => found.push(path),
            false => {}
        }
    }
    found
}

/// The commands in the texts of a source: what stands in backquotes and begins with hardsign, one of its
/// commands or a placeholder, and texts that are nothing but a command.
fn named(source: &str) -> BTreeSet<String> {
    // Tests name commands that there are not; comments are for developers.
    let source = source.split("#[cfg(test)]").next().unwrap();
    let lines = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let lines: Vec<_> = lines.collect();
    let joined = lines.join("\n");
    // A text that goes on in the next line.
    let joined: Vec<_> = joined.split("\\\n").map(str::trim_start).collect();
    let joined = joined.concat();
    let quoted = joined
        .split('`')
        .filter(|span| !span.contains(['"', '\n']) && joined.contains(&format!("`{span}`")));
    let whole = joined.split("\"hardsign ").skip(1);
    let whole = whole.filter_map(|rest| rest.split_once('"'));
    let whole = whole.filter(|(rest, _)| !rest.ends_with('\\'));
    let whole = whole.map(|(rest, _)| format!("hardsign {rest}"));
    quoted
        .filter(|span| is_command(span))
        .map(str::to_owned)
        .chain(whole)
        .collect()
}

fn is_command(text: &str) -> bool {
    let first = text.split(' ').next().unwrap_or_default();
    first == "hardsign" || text.starts_with('{') || COMMANDS.contains(&first)
}

/// The commands of the program, and their other names.
const COMMANDS: &[&str] = &[
    "admission",
    "attach",
    "blob",
    "cert",
    "certificate",
    "completion",
    "copy",
    "delete",
    "doctor",
    "inspect",
    "key",
    "list",
    "login",
    "logout",
    "ls",
    "node",
    "plugin",
    "policy",
    "promote",
    "sign",
    "token",
    "verify",
    "version",
];

#[test]
fn commands_of_sources_are_found() {
    let source = "a(\"`hardsign key list` or \\\n  `{} copy`, `other thing`\") \n\
        // `hardsign y`\nb(\"hardsign inspect {}\")\n#[cfg(test)]\n\"`hardsign z`\"";
    let found: Vec<_> = named(source).into_iter().collect();
    assert_eq!(found[..2], ["hardsign inspect {}", "hardsign key list"]);
    assert!(found.contains(&"{} copy".to_owned()), "{found:?}");
    assert!(
        !found.iter().any(|command| command.contains('z')),
        "{found:?}"
    );
}
