//! Help of a command, from the definitions.

use super::{Arg, ArgAction, Command};

/// The help of the command at `path`; that of the whole where there is none.
pub(crate) fn help(definition: &Command, path: &[impl AsRef<str>]) -> String {
    let mut command = presentable(definition.clone());
    command.build();
    let mut found = &command;
    for name in path {
        match found.find_subcommand(name.as_ref()) {
            Some(inner) => found = inner,
            None => break,
        }
    }
    found.clone().render_help().to_string()
}

/// The same commands as they are shown: switches without their optional value.
pub(crate) fn presentable(command: Command) -> Command {
    command.mut_args(shown).mut_subcommands(presentable)
}

fn shown(arg: Arg) -> Arg {
    if !arg.is_require_equals_set() {
        return arg;
    }
    arg.action(ArgAction::SetTrue)
        .num_args(0)
        .require_equals(false)
        .hide_possible_values(false)
        .hide_default_value(false)
}
