//! Failures of plugins: what the user can do.

use std::io;

use hardsign_core::plugin::{PluginError, PluginErrorKind, PluginName};

use super::meant_or;

/// What to do next, if that is known: what the plugin says itself, or the command that helps.
pub(crate) fn hint(error: &PluginError) -> Option<String> {
    error.hint().or_else(|| own(error))
}

fn own(error: &PluginError) -> Option<String> {
    use PluginErrorKind as Kind;
    let error = error.innermost();
    let plugin = error.name();
    Some(match &error.kind {
        Kind::NotInTheBox => reinstall(plugin),
        Kind::NotFound { source, .. } if was_left_out(error, source) => reinstall(plugin),
        Kind::NotFound { path, nearest, .. } => meant_or(
            nearest.as_deref(),
            &format!(
                "`hardsign plugin list --all` lists the plugins; `hardsign plugin install --file <file>` installs one at {}",
                path.display()
            ),
        ),
        Kind::Changed { .. } => format!(
            "if you changed it, accept it with `hardsign plugin trust {plugin}`; otherwise find out who did, and reinstall it with --force"
        ),
        Kind::Pins(_) => {
            "fix or remove the file; without it, plugins are not checked until `hardsign plugin trust <name>` pins them again".to_owned()
        }
        Kind::CannotSign | Kind::CannotSignBlobs | Kind::Lacks(_) => {
            "use another plugin; `hardsign plugin list --all` lists their capabilities".to_owned()
        }
        Kind::Refused { error, .. } => {
            let text = error.error_message.as_deref().unwrap_or_default();
            if !text.trim().is_empty() {
                return None;
            }
            "the plugin gave no reason; run the command again with -d to see what it was asked".to_owned()
        }
        Kind::Failed(end) if !end.stderr.is_empty() => return None,
        Kind::Pipe(_)
        | Kind::Failed(_)
        | Kind::EmptyRefusal
        | Kind::Session { .. }
        | Kind::Closed => format!(
            "run the command again with -d to see the messages between hardsign and plugin {plugin}"
        ),
        _ => return None,
    })
}

/// Whether a plugin that comes with hardsign is missing.
fn was_left_out(error: &PluginError, source: &io::Error) -> bool {
    let comes_with = error.plugin.as_ref().is_some_and(PluginName::is_in_the_box);
    comes_with && source.kind() == io::ErrorKind::NotFound
}

fn reinstall(plugin: &str) -> String {
    format!(
        "{plugin} comes with hardsign but was left out of this installation: add it with `scripts/install --plugins {plugin} PREFIX` in hardsign's source, where PREFIX is that of this installation"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hardsign_core::dirs::Dirs;
    use hardsign_core::plugin::Finder;

    use super::*;

    /// PLG-03: a plugin of the box is not had by `plugin install`, and another one not by installing
    /// hardsign again.
    #[test]
    fn plg_03_plugins_that_were_left_out() {
        let finder = Finder::with_box(&Dirs::below(Path::new("/none")), Vec::new());
        for name in [
            "awskms",
            "azurekms",
            "gcpkms",
            "yubikey",
            "pkcs11",
            "hashivault",
        ] {
            let said = hint(&finder.find(name).unwrap_err()).unwrap();
            assert!(
                said.contains(&format!("`scripts/install --plugins {name} PREFIX`")),
                "{said}"
            );
            assert!(!said.contains("hardsign plugin install"), "{said}");
        }
        let said = hint(&finder.local().unwrap_err()).unwrap();
        assert!(
            said.contains("`scripts/install --plugins local PREFIX`"),
            "{said}"
        );
        let said = hint(&finder.find("com.example.other").unwrap_err()).unwrap();
        assert!(
            said.contains("`hardsign plugin install --file <file>` installs one at "),
            "{said}"
        );
    }
}
