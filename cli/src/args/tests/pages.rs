//! The command lines of the README and of every page in `docs` are ones that the definitions accept:
//! each command and each flag exists. That they do what a page says is for `softhsm-tests/tests/pages.rs`.

use std::path::PathBuf;

use super::*;

/// What a page may say that is no command line: the placeholder stands for every command.
const PLACEHOLDERS: [&str; 1] = ["<command>"];

#[test]
fn command_lines_of_the_pages_are_understood() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        for line in command_lines(&text) {
            for words in commands(&line) {
                seen += 1;
                if let Some(fault) = fault(words) {
                    faults.push(format!("{name}: {line}\n    {fault}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 150, "only {seen} command lines were found");
}

/// What is wrong with a command line; a command alone, without its arguments, is no fault.
fn fault(words: Vec<String>) -> Option<String> {
    let program = match words.first().map(String::as_str) {
        Some("hardsign") => "hardsign",
        _ => "notation",
    };
    let definition = definition(program);
    match parse(
        &definition,
        program,
        words.into_iter().map(Into::into).collect(),
    ) {
        Parsed::Run(_) | Parsed::Print(_) => None,
        Parsed::Fault(fault, _) => Some(fault.to_string()),
    }
}

/// The README and `docs/*.md`.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

/// The lines that start `hardsign` or `notation`: in blocks of commands, with continued lines joined, and in
/// code within a sentence. Placeholders in angle brackets become words.
fn command_lines(page: &str) -> Vec<String> {
    let (mut lines, mut block, mut continued) = (Vec::new(), None, String::new());
    for line in page.lines() {
        let trimmed = line.trim_start();
        if let Some(language) = trimmed.strip_prefix("```") {
            block = match block {
                None => Some(language.to_owned()),
                Some(_) => None,
            };
            continue;
        }
        match block.as_deref() {
            None => lines.extend(spans(line)),
            Some("console") if continued.is_empty() && !trimmed.starts_with("$ ") => {}
            Some("console" | "sh" | "yaml" | "groovy" | "dockerfile") => {
                continued.push_str(trimmed.strip_prefix("$ ").unwrap_or(trimmed));
                if continued.ends_with('\\') {
                    continued.pop();
                } else {
                    lines.push(std::mem::take(&mut continued));
                }
            }
            Some(_) => {}
        }
    }
    lines
        .into_iter()
        .filter(|line| !PLACEHOLDERS.iter().any(|text| line.contains(text)))
        .map(|line| bare(&line))
        .collect()
}

/// The code within a line of text that begins with the name of the program.
fn spans(line: &str) -> Vec<String> {
    let code = line.split('`').skip(1).step_by(2);
    code.filter(|code| code.starts_with("hardsign ") || code.starts_with("notation "))
        .map(str::to_owned)
        .collect()
}

/// Without comments, and with `<name>` as `name`: to a shell these would be redirections.
fn bare(line: &str) -> String {
    let line = match line.find(" # ") {
        Some(at) => &line[..at],
        None => line.strip_prefix("# ").map_or(line, |_| ""),
    };
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        match after.split_once('>') {
            Some((name, after)) if !name.contains(' ') => {
                out.push_str(name);
                rest = after;
            }
            _ => {
                out.push('<');
                rest = after;
            }
        }
    }
    out + rest
}
