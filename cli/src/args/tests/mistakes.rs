//! Typing mistakes: each command and each long flag with a letter left out or two exchanged is refused, and
//! the right one is named. That nothing is done then, and what a terminal shows, is for `cli/tests/mistakes.rs`.

use std::ffi::OsString;

use super::super::*;
use crate::failure::{Exit, Failure};

/// The columns of a small terminal.
const WIDTH: usize = 80;

/// A word with a letter left out, at each place after the first, and with two neighbours exchanged.
fn mistyped(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut found = Vec::new();
    for at in 1..letters.len() {
        let mut dropped = letters.clone();
        dropped.remove(at);
        let mut swapped = letters.clone();
        swapped.swap(at - 1, at);
        found.extend([dropped, swapped]);
    }
    found
        .into_iter()
        .map(|letters| letters.into_iter().collect())
        .filter(|typed: &String| typed != word && !typed.starts_with('-'))
        .collect()
}

/// Whether a mistake may as well be one in another name: `uinstall` lacks a letter of `uninstall`, and has one more
/// than `install`.
fn is_near(typed: &str, name: &str) -> bool {
    let with_one_less = |word: &str, other: &str| {
        word.char_indices()
            .any(|(at, c)| format!("{}{}", &word[..at], &word[at + c.len_utf8()..]) == other)
    };
    with_one_less(typed, name) || with_one_less(name, typed)
}

/// What a line comes to: the exit code, and what is shown.
fn told(definition: &Command, words: &[&str]) -> (Exit, Vec<String>) {
    let line = std::iter::once("hardsign").chain(words.iter().copied());
    let arguments: Vec<OsString> = line.map(Into::into).collect();
    match parse(definition, "hardsign", arguments) {
        Parsed::Fault(usage, meant) => {
            let failure = Failure::from(usage);
            let mut lines: Vec<_> = failure.messages[0].lines().map(str::to_owned).collect();
            lines[0] = format!("Error: {}", lines[0]);
            lines.extend(meant.map(|meant| format!("Hint: {meant}")));
            (failure.exit, lines)
        }
        _ => (Exit::Success, vec![]),
    }
}

/// Calls `visit` for each command but hidden ones, with the names above it.
fn walk(command: &Command, path: &[&str], visit: &mut dyn FnMut(&Command, &[&str])) {
    visit(command, path);
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let path = [path, &[inner.get_name()]].concat();
        walk(inner, &path, visit);
    }
}

#[test]
fn mistyped_commands_are_named() {
    let definition = definition("hardsign");
    let (mut tried, mut faults) = (0, Vec::new());
    walk(&definition, &[], &mut |group, path| {
        let known: Vec<_> = group
            .get_subcommands()
            .flat_map(Command::get_name_and_visible_aliases)
            .collect();
        for command in group.get_subcommands().filter(|c| !c.is_hide_set()) {
            let right = [&["hardsign"], path, &[command.get_name()]]
                .concat()
                .join(" ");
            for typed in mistyped(command.get_name()) {
                if known.contains(&&*typed) {
                    continue;
                }
                tried += 1;
                let (exit, lines) = told(&definition, &[path, &[&typed]].concat());
                let hint = format!("Hint: did you mean `{right}`?");
                let other = lines
                    .last()
                    .and_then(|hint| hint.split([' ', '`']).rev().nth(1));
                if other.is_some_and(|other| known.contains(&other) && is_near(&typed, other)) {
                    continue;
                }
                let fits = lines.iter().all(|line| line.chars().count() <= WIDTH);
                if exit != Exit::Usage || lines.last() != Some(&hint) || !fits {
                    faults.push(format!("{typed}: {right}: {lines:?}"));
                }
            }
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(tried > 600, "only {tried} mistakes were tried");
}

#[test]
fn mistyped_flags_are_named() {
    let definition = definition("hardsign");
    let shared: Vec<_> = definition
        .get_arguments()
        .filter_map(Arg::get_long)
        .collect();
    let (mut tried, mut faults) = (0, Vec::new());
    walk(&definition, &[], &mut |command, path| {
        let own = command.get_arguments().filter_map(Arg::get_long);
        let flags: Vec<_> = own.chain(shared.iter().copied()).chain(["help"]).collect();
        // Two or three letters are too few to guess by.
        for flag in flags.iter().filter(|flag| flag.len() > 3) {
            for typed in mistyped(flag) {
                if flags.contains(&&*typed) {
                    continue;
                }
                tried += 1;
                let (exit, lines) = told(&definition, &[path, &[&format!("--{typed}")]].concat());
                let right = match *flag {
                    // Kept for scripts; the other name says what it does.
                    "plain-http" => "insecure-registry",
                    flag => flag,
                };
                let hint = format!("Hint: did you mean --{right}?");
                let other = lines.last().and_then(|hint| hint.split("--").last());
                let other = other.map(|other| other.trim_end_matches('?'));
                if other.is_some_and(|other| flags.contains(&other) && is_near(&typed, other)) {
                    continue;
                }
                let fits = lines.iter().all(|line| line.chars().count() <= WIDTH);
                if exit != Exit::Usage || lines.last() != Some(&hint) || !fits {
                    faults.push(format!("{path:?} --{typed}: --{right}: {lines:?}"));
                }
            }
        }
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(tried > 8000, "only {tried} mistakes were tried");
}
