//! `hardsign man`: man pages from the definitions, one for each command.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use hardsign_core::text::WithCauses;

use super::Context;
use crate::args::{Usage, presentable};
use crate::failure::Failure;

mod sections;

/// Writes the pages into the directory that is named.
pub(super) fn run(
    directories: &[String],
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    let [directory] = directories else {
        return Err(
            Usage::new("man takes one directory, to write the man pages into".to_owned()).into(),
        );
    };
    let directory = Path::new(directory);
    let failed =
        |error| Failure::failed(format!("failed to write man pages: {}", WithCauses(&error)));
    fs::create_dir_all(directory).map_err(failed)?;
    let mut root = presentable(definition.clone());
    root.build();
    write(&root, context.program, directory).map_err(failed)
}

fn write(command: &Command, name: &str, directory: &Path) -> std::io::Result<()> {
    write_below(None, command, name, &[], directory)
}

/// `above` is the page of the group, and `siblings` are those of its commands.
fn write_below(
    above: Option<&str>,
    command: &Command,
    name: &str,
    siblings: &[String],
    directory: &Path,
) -> std::io::Result<()> {
    let inner = || {
        let shown = command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set());
        shown.filter(|inner| inner.get_name() != "help")
    };
    let page_of = |inner: &Command| format!("{name}-{}", inner.get_name());
    let below: Vec<String> = inner().map(page_of).collect();
    let page = page(
        command,
        name,
        &Around {
            above,
            siblings,
            below: &below,
        },
    )?;
    fs::write(directory.join(format!("{name}.1")), page)?;
    for inner in inner() {
        write_below(Some(name), inner, &page_of(inner), &below, directory)?;
    }
    Ok(())
}

/// The pages around one.
struct Around<'a> {
    above: Option<&'a str>,
    siblings: &'a [String],
    below: &'a [String],
}

fn page(command: &Command, name: &str, around: &Around<'_>) -> std::io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    let title = literal(&name.to_uppercase());
    // `build` gave each command the name of its page.
    let man = Man::new(command.clone());
    let mut out = Vec::new();
    out.extend(
        format!(
            ".TH \"{}\" 1 \"{DATE}\" \"hardsign {version}\" \"Hardsign manual\"\n",
            title.trim_end()
        )
        .bytes(),
    );
    man.render_name_section(&mut out)?;
    out.extend(format!(".SH SYNOPSIS\n{}", synopsis(command)).bytes());
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if !around.below.is_empty() {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n");
        out.extend(format!(".SH EXAMPLES\n.nf\n{}.fi\n", literal(examples)).bytes());
    }
    out.extend(sections::of(command, name, around).bytes());
    Ok(wrapped(&String::from_utf8_lossy(&out)).into_bytes())
}

/// Breaks long lines of text where roff fills them anyway.
fn wrapped(page: &str) -> String {
    let (mut out, mut filled) = (String::new(), true);
    for line in page.lines() {
        filled = match line {
            ".nf" => false,
            ".fi" => true,
            _ => filled,
        };
        let mut rest = line;
        while filled && !line.starts_with(['.', '\'']) && rest.len() > WIDTH {
            let room = rest.char_indices().take_while(|(at, _)| *at < WIDTH);
            // What begins with a dot or a quote would be a request.
            let harmless = |at: usize| !rest[at + 1..].starts_with(['.', '\'', ' ']);
            let spaces = room.filter(|(at, c)| *c == ' ' && *at > 0 && harmless(*at));
            let Some((at, _)) = spaces.last() else {
                break;
            };
            out.push_str(&rest[..at]);
            out.push('\n');
            rest = &rest[at + 1..];
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// How the command is used, as its help says it.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    literal(usage.trim_start_matches("Usage: ").trim())
}

/// Text that roff prints as it is.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        out.push_str(
            &line
                .replace('\\', "\\e")
                .replace('-', "\\-")
                .replace('\'', "\\(aq"),
        );
        out.push('\n');
    }
    out
}

/// The longest line of a page's source, in bytes.
const WIDTH: usize = 80;

/// When this version's pages were written; it goes with the version.
const DATE: &str = "2026-11-28";
