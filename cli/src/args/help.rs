//! Help of a command, from the definitions.

use super::{Arg, ArgAction, Command};

/// The help of the command at `path`; that of the whole where there is none.
pub(crate) fn help(definition: &Command, path: &[impl AsRef<str>]) -> String {
    let mut command = presentable(definition.clone());
    if path.is_empty() {
        command = grouped(command);
    }
    command.build();
    let mut found = &command;
    for name in path {
        match found.find_subcommand(name.as_ref()) {
            Some(inner) => found = inner,
            None => break,
        }
    }
    // Lines to be copied are not broken.
    let examples = found.get_after_help().map(ToString::to_string);
    let mut text = found.clone().after_help("").render_help().to_string();
    if let Some(examples) = examples {
        text = format!("{}\n\n{examples}\n", text.trim_end());
    }
    text
}

/// The same commands as they are shown: switches without their optional value, arguments as they must
/// be given.
pub(crate) fn presentable(command: Command) -> Command {
    command
        .max_term_width(WIDTH)
        .mut_args(shown)
        .mut_subcommands(presentable)
}

fn shown(arg: Arg) -> Arg {
    if arg.get_id() == "positional" && !arg.is_hide_set() {
        return shown_positional(arg);
    }
    if !arg.is_require_equals_set() {
        return arg;
    }
    arg.action(ArgAction::SetTrue)
        .num_args(0)
        .require_equals(false)
        .hide_possible_values(false)
        .hide_default_value(false)
}

fn shown_positional(arg: Arg) -> Arg {
    let name = arg.get_value_names().and_then(|names| names.first());
    let name = name.map(ToString::to_string).unwrap_or_default();
    match name.strip_suffix("...") {
        Some(name) => arg.num_args(1..).value_name(name.to_owned()),
        None => arg.action(ArgAction::Set).num_args(1),
    }
    .required(true)
}

/// The commands of the program under headings.
fn grouped(command: Command) -> Command {
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (heading, names) in GROUPS {
        if !names
            .iter()
            .any(|name| command.find_subcommand(name).is_some())
        {
            continue;
        }
        text.push_str(&format!("\n{heading}:\n"));
        for name in names {
            let Some(inner) = command.find_subcommand(name) else {
                continue;
            };
            let about = inner
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            let aliases: Vec<_> = inner.get_visible_aliases().collect();
            let aliases = match aliases.is_empty() {
                true => String::new(),
                false => format!(" [alias: {}]", aliases.join(", ")),
            };
            text.push_str(&format!("  {name:<13}{about}{aliases}\n"));
        }
    }
    text.push_str("\nOptions:\n{options}\n\n");
    text.push_str("`{name} <command> --help` shows the flags of a command, with examples.");
    let text = text.replace("{name}", command.get_name());
    command.help_template(text)
}

/// The commands of the program by what they are for.
const GROUPS: [(&str, &[&str]); 6] = [
    (
        "Sign and verify",
        &["sign", "verify", "attach", "list", "inspect", "blob"],
    ),
    ("Trust", &["policy", "certificate"]),
    ("Keys", &["key", "token", "plugin"]),
    (
        "Registries",
        &["copy", "promote", "delete", "login", "logout"],
    ),
    ("Clusters", &["admission", "node"]),
    ("Set-up", &["doctor", "completion", "version"]),
];

/// Columns of the help.
const WIDTH: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    /// All commands but hidden ones, by their names, groups first.
    fn paths(definition: &Command) -> Vec<Vec<String>> {
        let (mut found, mut open) = (Vec::new(), vec![(vec![], definition)]);
        while let Some((path, command)) = open.pop() {
            for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                open.push(([&path[..], &[inner.get_name().to_owned()]].concat(), inner));
            }
            found.push(path);
        }
        found
    }

    fn find<'c>(definition: &'c Command, path: &[String]) -> &'c Command {
        path.iter().fold(definition, |command, name| {
            command.find_subcommand(name).unwrap()
        })
    }

    /// The help of the program shows every command, and nothing is wider than a small terminal: lines to be
    /// copied are continued.
    #[test]
    fn every_command_is_shown_within_80_columns() {
        let definition = super::super::definition("hardsign");
        let whole = help(&definition, &[] as &[&str]);
        for command in definition.get_subcommands().filter(|c| !c.is_hide_set()) {
            let line = format!("\n  {:<13}", command.get_name());
            assert!(whole.contains(&line), "{}", command.get_name());
        }
        let mut wide = Vec::new();
        for path in paths(&definition) {
            let text = help(&definition, &path);
            let lines = text.lines().filter(|line| line.chars().count() > WIDTH);
            wide.extend(lines.map(|line| format!("{path:?}: {line}")));
        }
        assert!(wide.is_empty(), "{}", wide.join("\n"));
    }

    /// Each example of a command uses that command, and no two commands show the same block.
    #[test]
    fn examples_are_of_the_command_that_is_shown() {
        let definition = super::super::definition("hardsign");
        let mut seen = std::collections::BTreeMap::new();
        let mut examples = 0;
        for path in paths(&definition)
            .into_iter()
            .filter(|path| !path.is_empty())
        {
            let command = find(&definition, &path);
            let text = command.get_after_help().unwrap().to_string();
            let name = format!("hardsign {}", path.join(" "));
            let (_, blocks) = text.split_once("Examples:\n").unwrap();
            for block in blocks.split("\n\n").filter(|block| block.starts_with("  ")) {
                examples += 1;
                let uses = block.lines().any(|line| line.contains(&name));
                assert!(uses, "{name}: {block}");
            }
            // A group of one command has that command's.
            if command.get_subcommands().count() != 1
                && let Some(other) = seen.insert(text, name.clone())
            {
                panic!("{name} and {other} have the same examples");
            }
        }
        assert!(examples > 100, "only {examples} examples were found");
    }
}
