//! What the README and the pages in `docs` say of settings, files, variables and messages, compared with the code;
//! and that their links and scripts are there. Their commands are run by `pages.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use softhsm_tests::pages::{pages, root, text};
use softhsm_tests::{binaries, run};

/// Each script that a page tells to run is there.
#[test]
fn scripts_of_the_pages_are_there() {
    for page in pages() {
        for word in text(&page).split([' ', '`', '\n', '(', ')', ',', ';']) {
            let Some(script) = word.trim_start_matches("./").strip_prefix("scripts/") else {
                continue;
            };
            let script = script.trim_end_matches(['.', ':']);
            assert!(
                root().join("scripts").join(script).exists(),
                "{page}: {word}"
            );
        }
    }
}

/// Links to other files of the repository lead somewhere, and the index of the pages names each of them.
#[test]
fn links_lead_to_pages() {
    for page in pages() {
        let directory = root().join(Path::new(&page).parent().unwrap());
        // Without blocks of code, whose brackets are none of links.
        let text: String = text(&page).split("\n```").step_by(2).collect();
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") && !target.contains(' ') {
                assert!(directory.join(target).exists(), "{page}: {target}");
            }
        }
    }
    let index = text("docs/README.md");
    for page in pages() {
        let name = page.trim_start_matches("docs/");
        assert!(
            index.contains(&format!("{name})")),
            "docs/README.md does not list {name}"
        );
    }
    assert!(root().join(".github/SECURITY.md").exists());
}

/// The recording shows the commands of the README, and what they print.
#[test]
fn recording_is_of_the_readme() {
    let script = root().join("scripts/recording");
    run(Command::new(script)
        .arg("--check")
        .arg(binaries().join("hardsign")));
}

/// The settings that a plugin declares, by name.
fn declared(plugin: &str) -> BTreeSet<String> {
    let program = binaries().join(format!("notation-{plugin}"));
    let output = run(Command::new(program)
        .arg("get-plugin-metadata")
        .stdin(Stdio::null()));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = metadata["settings"].as_array().unwrap();
    let names = settings
        .iter()
        .map(|s| s["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// Names in the first column of the tables whose head begins with `head`.
fn rows(page: &str, head: &str) -> BTreeSet<String> {
    let (mut names, mut inside) = (BTreeSet::new(), false);
    for line in text(page).lines() {
        inside = line.starts_with(&format!("| {head} |")) || inside && line.starts_with('|');
        if let Some(cell) = line.strip_prefix("| `").filter(|_| inside) {
            let cell = cell.split(" |").next().unwrap();
            names.extend(
                cell.split(['`', ','])
                    .map(str::trim)
                    .filter(|n| !n.is_empty())
                    .map(str::to_owned),
            );
        }
    }
    names
}

/// The plugins of the box, each with its page, which is what its manifest names as its documentation.
fn plugins_of_the_box() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("plugins")).unwrap().flatten() {
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        let plugin = entry.file_name().into_string().unwrap();
        if manifest.contains(&format!("\nname = \"notation-{plugin}\"\n")) {
            let mut lines = manifest.lines();
            let page = lines
                .find_map(|line| line.strip_prefix("documentation = "))
                .unwrap();
            let page = page.trim_matches('"').rsplit_once("/main/").unwrap().1;
            found.insert(plugin, page.to_owned());
        }
    }
    found
}

/// The page of each plugin has the settings that the plugin declares, and no others.
#[test]
fn settings_are_those_of_the_plugins() {
    let plugins = plugins_of_the_box();
    assert!(plugins.len() >= 7, "{plugins:?}");
    for (plugin, page) in plugins {
        assert_eq!(rows(&page, "setting"), declared(&plugin), "{page}");
    }
    // What command lines of the pages set is declared too.
    for page in pages() {
        for line in text(&page).replace("\\\n", " ").lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let value = |flag: &str| {
                let at = words.iter().position(|word| *word == flag)?;
                words.get(at + 1).copied()
            };
            let Some(plugin) =
                value("--plugin").filter(|p| binaries().join(format!("notation-{p}")).exists())
            else {
                continue;
            };
            for pair in words.windows(2).filter(|pair| pair[0] == "--plugin-config") {
                let name = pair[1].split('=').next().unwrap();
                assert!(declared(plugin).contains(name), "{page}: {line}");
            }
        }
    }
}

/// The sources of what users run, each without the tests at its foot.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![
        root().join("core/src"),
        root().join("cli/src"),
        root().join("plugins"),
    ];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            if path.is_dir() {
                open.extend(
                    Some(path).filter(|_| !name.contains("testkit") && !name.contains("/tests")),
                );
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                let code = code.collect::<Vec<_>>().join("\n");
                found.insert(name, code);
            }
        }
    }
    found
}

/// Text literals of a source, as far as they hold no quotes.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    source.split('"').skip(1).step_by(2)
}

/// Literals in capitals, in sources that read variables, that name none: codes of registries and of Azure,
/// and what stands for a password.
const NO_VARIABLES: &[&str] = &[
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "DENIED",
    "REDACTED",
    "AADSTS700024",
    "AADSTS7000222",
];

/// The names in backquotes of the requirement on variables.
fn required() -> Vec<String> {
    let requirements = text("docs/requirements.tsv");
    let row = requirements
        .lines()
        .find(|line| line.starts_with("CFG-30\t"));
    let row = row.unwrap().split('`').skip(1).step_by(2);
    row.filter(|name| !name.contains('*'))
        .map(str::to_owned)
        .collect()
}

/// CFG-30: files.md has each variable that is honoured, those that only libraries read included; and the man pages
/// have each of its first table, but for those of Windows, Kubernetes and the search path.
#[test]
fn cfg_30_variables_are_documented() {
    let page = text("docs/files.md");
    let (_, tables) = page.split_once("## Environment variables").unwrap();
    let names = required();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(tables.contains(&format!("`{name}`")), "{name}");
    }
    let (general, _) = tables.split_once("Plugins see the environment").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let hardsign = binaries().join("hardsign");
    run(Command::new(hardsign).arg("man").arg(directory.path()));
    let manual = fs::read_to_string(directory.path().join("hardsign.1")).unwrap();
    let elsewhere = [
        "AppData",
        "LocalAppData",
        "USERPROFILE",
        "KUBERNETES_SERVICE_HOST",
        "KUBERNETES_SERVICE_PORT",
        "PATH",
        "HOME",
    ];
    let mut seen = 0;
    for row in general.lines().filter(|line| line.starts_with("| `")) {
        let names = row
            .split(" |")
            .next()
            .unwrap()
            .split('`')
            .skip(1)
            .step_by(2);
        for name in names.filter(|name| !elsewhere.contains(name)) {
            assert!(manual.contains(name), "hardsign.1 does not have {name}");
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} variables were found");
}

/// files.md has each environment variable that the code reads, and each one that it has is read.
#[test]
fn variables_are_those_that_are_read() {
    let page = text("docs/files.md");
    let (_, tables) = page.split_once("## Environment variables").unwrap();
    let sources = sources();
    let upper = |name: &str| {
        name.len() > 3
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let mut missing = Vec::new();
    for (name, source) in &sources {
        if !["env::var", "environment(", "variable("]
            .iter()
            .any(|reads| source.contains(reads))
        {
            continue;
        }
        for literal in literals(source) {
            let service = ["RSA_", "EC_", "GOOGLE_SYMMETRIC"];
            let known = [
                "HOME",
                "PATH",
                "TERM",
                "AppData",
                "LocalAppData",
                "USERPROFILE",
                "APPDATA",
            ];
            // One word counts where it is all that a function is given.
            let alone = || source.contains(&format!("(\"{literal}\")"));
            let variable = upper(literal)
                && (literal.contains('_') || alone())
                && !service.iter().any(|start| literal.starts_with(start));
            if (variable || known.contains(&literal))
                && !literal.starts_with("CARGO_")
                && !NO_VARIABLES.contains(&literal)
                && !tables.contains(&format!("`{literal}`"))
                && !tables.contains(&format!("`VAULT_{literal}`"))
            {
                missing.push(format!("{name}: {literal}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not in docs/files.md:\n{}",
        missing.join("\n")
    );
    // These are read by libraries that are linked, or made of two parts.
    let elsewhere = ["PCSCLITE_CSOCK_NAME", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    let all: String = sources.values().cloned().collect();
    for name in tables
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| upper(name))
    {
        let part = name
            .strip_prefix("VAULT_")
            .or_else(|| name.strip_prefix("BAO_"));
        let read =
            all.contains(name) || part.is_some_and(|part| all.contains(&format!("\"{part}\"")));
        assert!(
            read || name.ends_with('_') || elsewhere.contains(&name),
            "nothing reads {name}"
        );
    }
}

/// files.md has each file and directory that `dirs` names.
#[test]
fn files_are_those_of_the_code() {
    let page = text("docs/files.md");
    let dirs = &sources()["core/src/dirs.rs"];
    let joined = dirs
        .split(".join(\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let made = literals(dirs).filter_map(|text| text.strip_prefix("{name}"));
    let mut seen = 0;
    for name in joined.chain(made) {
        assert!(page.contains(name), "docs/files.md does not have {name}");
        seen += 1;
    }
    assert!(seen > 15, "only {seen} files were found in dirs.rs");
}

/// Messages in the first column of the tables about messages.
fn messages(page: &str) -> Vec<String> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in text(page).lines() {
        inside = line.starts_with("| message |") || inside && line.starts_with('|');
        if let Some(rest) = line.strip_prefix("| `").filter(|_| inside) {
            found.push(rest.split('`').next().unwrap().to_owned());
        }
    }
    found
}

/// Each message of troubleshooting.md is one that a program can print: its parts stand in the source, or in a
/// transcript.
#[test]
fn messages_are_printed_by_something() {
    let joined = |text: &str| {
        let lines = text.split("\\\n").map(str::trim_start);
        lines.collect::<String>().replace("\\\"", "\"")
    };
    let mut said: String = sources().values().map(|source| joined(source)).collect();
    for verb in fs::read_dir(root().join("cli/tests/cmd")).unwrap() {
        for case in fs::read_dir(verb.unwrap().path()).unwrap() {
            said.push_str(&fs::read_to_string(case.unwrap().path()).unwrap());
        }
    }
    let (mut seen, mut faults) = (0, Vec::new());
    for page in ["docs/troubleshooting.md", "docs/yubikey.md"] {
        for message in messages(page) {
            seen += 1;
            // The system's loader and the TLS library print these.
            let foreign = ["libpcsclite", "invalid peer certificate"];
            if foreign.iter().any(|start| message.starts_with(start)) {
                continue;
            }
            for part in message
                .split('…')
                .map(str::trim)
                .filter(|part| part.len() > 3)
            {
                if !said.contains(part) {
                    faults.push(format!("{page}: {message}: {part:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "nothing prints:\n{}", faults.join("\n"));
    assert!(seen > 60, "only {seen} messages were found");
}
