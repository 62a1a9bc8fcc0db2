//! `hardsign man`: man pages from the definitions, one for each command.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

use super::Context;
use crate::args::{Usage, presentable};
use crate::failure::Failure;

/// Writes the pages into the directory that is named.
pub(super) fn run(
    directories: &[String],
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    let [directory] = directories else {
        return Err(
            Usage("man takes one directory, to write the man pages into".to_owned()).into(),
        );
    };
    let directory = Path::new(directory);
    let failed = |error| Failure::failed(format!("failed to write man pages: {error}"));
    fs::create_dir_all(directory).map_err(failed)?;
    let mut root = presentable(definition.clone());
    root.build();
    write(&root, context.program, directory).map_err(failed)
}

fn write(command: &Command, name: &str, directory: &Path) -> std::io::Result<()> {
    fs::write(directory.join(format!("{name}.1")), page(command, name)?)?;
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            let name = format!("{name}-{}", inner.get_name());
            write(inner, &name, directory)?;
        }
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> std::io::Result<Vec<u8>> {
    let version = env!("CARGO_PKG_VERSION");
    // `build` gave each command the name of its page.
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("hardsign {version}"))
        .manual("Hardsign manual");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        man.render_subcommands_section(&mut out)?;
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.trim_start_matches("Examples:\n");
        out.extend(format!(".SH EXAMPLES\n.nf\n{}.fi\n", literal(examples)).bytes());
    }
    out.extend(EXIT_STATUS.bytes());
    Ok(out)
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

/// The short form of `docs/exit-codes.md`.
const EXIT_STATUS: &str = "\
.SH EXIT STATUS
0: done, or verified. 1: not done, or not verified. 2: the command line is wrong.
3: a registry, a plugin or a token could not be reached or used.
";
