//! Failures of plugins: what the user can do.

use hardsign_core::plugin::PluginError;

/// What to do next, if that is known: what the plugin says itself, or the command that helps.
pub(crate) fn hint(error: &PluginError) -> Option<String> {
    error.hint().or_else(|| own(error))
}

fn own(error: &PluginError) -> Option<String> {
    Some(match error {
        PluginError::Signing { source, .. } | PluginError::Envelope(source) => return own(source),
        PluginError::NotFound { path, .. } => format!(
            "`hardsign plugin install` puts it at {}; `hardsign plugin list --all` shows the plugins there are",
            path.display()
        ),
        PluginError::Changed { plugin, .. } => format!(
            "if it was you who changed it, `hardsign plugin trust {plugin}` accepts it as it is now; if not, find out who did, and install it again with --force"
        ),
        PluginError::Pins(_) => {
            "mend the file; without it, installed plugins run unpinned until `hardsign plugin trust` pins them anew".to_owned()
        }
        PluginError::CannotSign { .. }
        | PluginError::CannotSignBlobs { .. }
        | PluginError::Lacks { .. } => {
            "choose a plugin that can; `hardsign plugin list --all` shows what each one does".to_owned()
        }
        PluginError::Refused { error, .. } => {
            let text = error.error_message.as_deref().unwrap_or_default();
            if !text.trim().is_empty() {
                return None;
            }
            "the plugin says no more; run it again with -d to see what was asked".to_owned()
        }
        PluginError::Failed { end, .. } if !end.stderr.is_empty() => return None,
        PluginError::Pipe { plugin, .. }
        | PluginError::Failed { plugin, .. }
        | PluginError::EmptyRefusal { plugin, .. }
        | PluginError::Session { plugin, .. }
        | PluginError::Closed { plugin } => format!(
            "run it again with -d to see what hardsign and plugin {plugin} said to each other"
        ),
        _ => return None,
    })
}
