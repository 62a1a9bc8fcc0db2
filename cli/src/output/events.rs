//! What is printed of what happens: notices, warnings, the log, and when progress has to wait.

use hardsign_core::event::{Event, Observer, Severity};

use super::Console;

impl Observer for Console {
    fn observe(&self, event: &Event<'_>) {
        let level = match event.severity() {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warning",
            Severity::Error => "error",
        };
        match event {
            Event::PluginNotice { message, .. } => self.notice(message),
            Event::PluginPrompting { .. } => {
                self.hold_progress(true);
                self.log(level, event);
            }
            Event::PluginPrompted { .. } => self.hold_progress(false),
            Event::PluginRoute { route, .. } => {
                if *route != "session" {
                    self.spare_questions();
                }
                self.log(level, event);
            }
            // A standard output that can't be written to is found out by the result.
            Event::Downloading { .. } | Event::Downloaded => drop(self.line(event)),
            Event::HttpRequest { .. }
            | Event::HttpResponse { .. }
            | Event::HttpUnanswered { .. }
            | Event::CredentialHelper { .. } => self.log_lines(event),
            // These are the user's own files, and a warning is enough.
            Event::TrustStore { .. } | Event::MadeExecutable { .. } => {}
            _ => self.log(level, event),
        }
        if let Some(warning) = event.warning() {
            self.warning(warning);
        }
    }

    fn wants_messages(&self) -> bool {
        self.shows_debug()
    }
}
