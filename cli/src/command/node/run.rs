//! Programs of the node that are asked something: bounded in time and output.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hardsign_plugin::text::io_text;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Largest answer, in bytes.
const MAX_ANSWER: u64 = 32 << 20;
/// How long a program may take.
const MAX_TIME: Duration = Duration::from_secs(30);

/// What a program prints, or why it did not.
pub(super) async fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let shown = program.display();
    #[expect(
        clippy::disallowed_methods,
        reason = "containerd and crictl are asked about the node; neither is a plugin"
    )]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| format!("failed to run {shown}: {}", io_text(&error)))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let answers = async {
            match out {
                Some(out) => out.take(MAX_ANSWER).read_to_end(&mut answer).await,
                None => Ok(0),
            }
        };
        let complaints = async {
            match err {
                Some(err) => err.take(MAX_COMPLAINT).read_to_end(&mut complaint).await,
                None => Ok(0),
            }
        };
        let (read, _) = tokio::join!(answers, complaints);
        read?;
        Ok::<_, std::io::Error>((child.wait().await?, answer, complaint))
    };
    let ended = tokio::time::timeout(MAX_TIME, work).await;
    let (status, answer, complaint) = match ended {
        Err(_) => {
            return Err(format!(
                "{shown} did not end within {} seconds",
                MAX_TIME.as_secs()
            ));
        }
        Ok(ended) => {
            ended.map_err(|error| format!("failed to read from {shown}: {}", io_text(&error)))?
        }
    };
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let last = complaint.lines().rev().find(|line| !line.trim().is_empty());
        return Err(format!(
            "{shown} failed: {}",
            last.unwrap_or("it printed no error message")
        ));
    }
    String::from_utf8(answer).map_err(|_| format!("the output of {shown} is not UTF-8"))
}

/// Most of its standard error that is kept, in bytes.
const MAX_COMPLAINT: u64 = 64 * 1024;
