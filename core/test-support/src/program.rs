//! Programs that a test writes and starts.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes an executable script.
///
/// A child of this process writes it. What a process has open for writing can't be run, and a child that another test's
/// thread starts at this moment has open whatever this process has, until it has become another program.
///
/// # Panics
/// It can't be written.
#[allow(
    clippy::disallowed_methods,
    reason = "a test's own helper starts a program"
)]
pub fn write(path: &Path, script: &str) {
    let mut child = Command::new("sh")
        .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{}", path.display());
}
