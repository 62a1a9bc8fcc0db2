//! The plugin that misbehaves on demand; see `hardsign_plugin_testkit::rude`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hardsign_plugin_testkit::rude::main()
}
