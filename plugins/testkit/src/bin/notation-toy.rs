//! The plugin of a key store that is far away; see `hardsign_plugin_testkit::toy`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hardsign_plugin::serve_async(hardsign_plugin_testkit::toy::Toy)
}
