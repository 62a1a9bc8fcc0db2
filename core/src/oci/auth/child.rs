//! One run of a program that knows credentials: a question on its standard input, an answer on its
//! standard output, both secret.
//!
//! The answer is bounded and read into one buffer of its full size, since one that grows leaves its old
//! copy behind. The program is killed when the run is given up, and no pipe that something it started
//! keeps open is waited for.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hardsign_plugin::host::withhold_variables;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::artifact::Quoted;

/// Registry credentials, which no child process sees (CFG-27).
const CREDENTIALS: [&str; 2] = ["NOTATION_USERNAME", "NOTATION_PASSWORD"];

/// Largest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 1024 * 1024;
/// Most of its standard error that is kept, in bytes.
const MAX_COMPLAINT: usize = 16 * 1024;
/// Most of what it said that is told, in bytes.
const MAX_TOLD: usize = 300;
/// How long a pipe is read after the program ended; something that it started may hold it open.
const GRACE: Duration = Duration::from_secs(1);

/// What to run.
pub(super) struct Child<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    /// Set beside the variables of this process.
    pub(super) environment: &'a [(String, String)],
    /// Its standard error is read, and is not that of this process.
    pub(super) detached: bool,
}

/// What a program left.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) output: Zeroizing<Vec<u8>>,
    /// Its standard error, where it is detached.
    pub(super) complaint: Zeroizing<Vec<u8>>,
}

/// Why a program that knows credentials did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The program could not be run.
    #[error("failed to run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The program took too long.
    #[error("{} did not end within {} seconds", program.display(), after.as_secs())]
    Timeout {
        /// The program.
        program: PathBuf,
        /// The limit.
        after: Duration,
    },
    /// The program failed.
    #[error("{} failed: {}", program.display(), Quoted(message))]
    Failed {
        /// The program.
        program: PathBuf,
        /// The beginning of what it said.
        message: String,
    },
}

impl Ended {
    /// The beginning of what it said about its failure; where it said nothing, how it ended.
    pub(super) fn message(&self, said: &[u8]) -> String {
        let beginning = said.get(..said.len().min(MAX_TOLD)).unwrap_or_default();
        match String::from_utf8_lossy(beginning).trim() {
            "" => self.status.to_string(),
            message => message.to_owned(),
        }
    }
}

impl Child<'_> {
    /// Runs it, for no longer than `limit`. Dropping the future kills it.
    pub(super) async fn run(&self, input: &[u8], limit: Duration) -> Result<Ended, ProgramError> {
        let program = || self.program.to_owned();
        match tokio::time::timeout(limit, self.exchange(input)).await {
            Ok(ended) => ended.map_err(|source| ProgramError::Run {
                program: program(),
                source,
            }),
            Err(_) => Err(ProgramError::Timeout {
                program: program(),
                after: limit,
            }),
        }
    }

    async fn exchange(&self, input: &[u8]) -> io::Result<Ended> {
        #[expect(
            clippy::disallowed_methods,
            reason = "programs that know credentials are the one kind of process started outside plugin::spawn"
        )]
        let mut command = Command::new(self.program);
        command
            .args(self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(match self.detached {
                true => Stdio::piped(),
                false => Stdio::inherit(),
            })
            .kill_on_drop(true);
        withhold_variables(command.as_std_mut(), &CREDENTIALS);
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading says why on its output.
            let sent = stdin.write_all(input).await;
            if sent.is_ok() {
                drop(stdin.shutdown().await);
            }
        }
        // Beyond the limit a little room is left, in which the end of the pipe is looked for.
        let mut output = Zeroizing::new(Vec::with_capacity(MAX_ANSWER.saturating_add(64)));
        let mut complaint = Zeroizing::new(Vec::with_capacity(MAX_COMPLAINT.saturating_add(64)));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let status = {
            let answers = read(stdout, MAX_ANSWER, &mut output);
            let complaints = read(stderr, MAX_COMPLAINT, &mut complaint);
            let mut both = std::pin::pin!(async { tokio::join!(answers, complaints) });
            tokio::select! {
                (answered, _) = &mut both => { answered?; None }
                status = child.wait() => {
                    drop(tokio::time::timeout(GRACE, both).await);
                    Some(status?)
                }
            }
        };
        let status = match status {
            Some(status) => status,
            None => child.wait().await?,
        };
        Ok(Ended {
            status,
            output,
            complaint,
        })
    }
}

async fn read(
    pipe: Option<impl AsyncRead + Unpin>,
    limit: usize,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    pipe.take(limit as u64).read_to_end(into).await?;
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use hardsign_test_support::program;

    use super::*;

    async fn run(script: &str) -> Ended {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("program");
        program::write(&program, &format!("#!/bin/sh\n{script}\n"));
        let child = Child {
            program: &program,
            arguments: &["get".to_owned()],
            environment: &[("GREETING".to_owned(), "hello".to_owned())],
            detached: true,
        };
        child.run(b"question", GRACE * 60).await.unwrap()
    }

    /// CFG-23: an answer of any length stays in a buffer that does not grow.
    #[tokio::test]
    async fn cfg_23_no_buffer_grows() {
        for length in [1, MAX_ANSWER - 1, MAX_ANSWER, MAX_ANSWER + 5] {
            let output = run(&format!("head -c {length} /dev/zero")).await.output;
            assert_eq!(output.len(), length.min(MAX_ANSWER));
            assert!(
                output.capacity() < MAX_ANSWER + 4096,
                "{}",
                output.capacity()
            );
        }
    }

    /// Arguments, variables and the question arrive; what it complains about is kept apart; a child of
    /// its own that keeps the pipes is not waited for.
    #[tokio::test]
    async fn a_run_ends_with_its_program() {
        let began = std::time::Instant::now();
        let ended = run("sleep 30 & echo \"$1 $GREETING $(cat)\"; echo no >&2; exit 3").await;
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!(ended.message(&ended.output), "get hello question");
        assert_eq!(ended.message(&ended.complaint), "no");
    }
}
