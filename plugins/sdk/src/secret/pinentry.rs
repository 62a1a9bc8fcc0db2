//! Asking through the program `pinentry`, in the Assuan protocol that it speaks.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use zeroize::Zeroizing;

use super::{MAX_PIN, PinError, Secret, finish};
use crate::os::{Cancellation, Source, Wait};
use crate::text::escaped;

/// Longest line of Assuan, newline not counted; escapes included.
const MAX_ASSUAN_LINE: usize = 4096;

/// Error code for "cancelled" (libgpg-error), without its source.
const CANCELLED: u32 = 99;
/// Error code for "timeout".
const TIMEOUT: u32 = 62;

/// The program, ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Asks for a PIN; `question` comes without colon.
pub(crate) fn ask(question: &str, cancellation: &Cancellation) -> Result<Secret, PinError> {
    let failed = |source| PinError::Pinentry { source };
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the PIN source that starts a program"
    )]
    let mut command = Command::new("pinentry");
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut running = Running(child);
    let (Some(input), Some(output)) = (running.0.stdin.take(), running.0.stdout.take()) else {
        return Err(failed(io::ErrorKind::BrokenPipe.into()));
    };
    converse(input, output, question, cancellation)
}

fn converse(
    mut input: ChildStdin,
    output: ChildStdout,
    question: &str,
    cancellation: &Cancellation,
) -> Result<Secret, PinError> {
    let mut output = Cancellable {
        stream: output,
        cancellation,
    };
    talk(&mut output, &mut input, question)
}

/// A stream whose reads end when cancelled.
struct Cancellable<'a, S> {
    stream: S,
    cancellation: &'a Cancellation,
}

impl<S: Source + Read> Read for Cancellable<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.cancellation.wait(&self.stream)? {
            Wait::Ready => self.stream.read(buffer),
            Wait::Cancelled => Err(io::ErrorKind::ConnectionAborted.into()),
            Wait::TimedOut => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// One answer of Assuan.
enum Answer {
    Ok,
    Data(Zeroizing<Vec<u8>>),
    Error(u32),
}

/// The conversation: greeting, settings, `GETPIN`.
fn talk(
    reader: &mut impl Read,
    writer: &mut impl Write,
    question: &str,
) -> Result<Secret, PinError> {
    expect_ok(reader)?;
    let question = escape(&escaped(question));
    // Settings that this pinentry does not know don't matter.
    for setting in [
        "OPTION ttyname=/dev/tty".to_owned(),
        "SETTIMEOUT 300".to_owned(),
        "SETTITLE hardsign".to_owned(),
        format!("SETDESC {question}"),
        "SETPROMPT PIN:".to_owned(),
    ] {
        send(writer, &setting)?;
        answer(reader)?;
    }
    send(writer, "GETPIN")?;
    match answer(reader)? {
        Answer::Data(pin) => {
            expect_ok(reader)?;
            finish(&pin, MAX_PIN)
        }
        Answer::Ok => Err(PinError::Empty),
        Answer::Error(code) => Err(refused(code)),
    }
}

fn refused(code: u32) -> PinError {
    match code & 0xffff {
        CANCELLED => PinError::Cancelled,
        TIMEOUT => PinError::TimedOut,
        code => protocol(format!("error {code}")),
    }
}

fn protocol(what: String) -> PinError {
    PinError::Pinentry {
        source: io::Error::new(io::ErrorKind::InvalidData, what),
    }
}

fn expect_ok(reader: &mut impl Read) -> Result<(), PinError> {
    match answer(reader)? {
        Answer::Ok => Ok(()),
        Answer::Error(code) => Err(refused(code)),
        Answer::Data(_) => Err(protocol("data out of turn".to_owned())),
    }
}

fn send(writer: &mut impl Write, line: &str) -> Result<(), PinError> {
    writer
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| writer.flush())
        .map_err(|source| PinError::Pinentry { source })
}

/// Reads the next answer; comments and status lines are skipped, of which there may be a few.
fn answer(reader: &mut impl Read) -> Result<Answer, PinError> {
    for _ in 0..100 {
        let line = read_line(reader)?;
        if line.as_slice() == b"OK" || line.starts_with(b"OK ") {
            return Ok(Answer::Ok);
        }
        if let Some(data) = line.strip_prefix(b"D ") {
            return Ok(Answer::Data(unescape(data)));
        }
        if let Some(error) = line.strip_prefix(b"ERR ") {
            let code: String = String::from_utf8_lossy(error)
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            return Ok(Answer::Error(code.parse().unwrap_or(0)));
        }
        if !line.starts_with(b"#") && !line.starts_with(b"S ") {
            return Err(protocol("unknown answer".to_owned()));
        }
    }
    Err(protocol("too many status lines".to_owned()))
}

/// Reads a line into one buffer that is zeroed and never moved.
fn read_line(reader: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, PinError> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_ASSUAN_LINE));
    let mut byte = Zeroizing::new([0_u8]);
    loop {
        match reader.read(&mut *byte) {
            Ok(0) => return Err(PinError::Cancelled),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                return Err(PinError::Cancelled);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(PinError::TimedOut);
            }
            Err(source) => return Err(PinError::Pinentry { source }),
        }
        match byte[0] {
            b'\n' => return Ok(line),
            _ if line.len() >= MAX_ASSUAN_LINE => {
                return Err(protocol("line too long".to_owned()));
            }
            other => line.push(other),
        }
    }
}

/// Escapes as Assuan wants it.
fn escape(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Undoes the escapes of a data line; a `%` without two hex digits stays as it is.
fn unescape(data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(data.len()));
    let mut rest = data;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|hex| (hex, after)),
            _ => None,
        };
        if let Some(((high, low), after)) = escaped {
            plain.push((high << 4) | low);
            rest = after;
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk_to(script: &str) -> (Result<Secret, PinError>, String) {
        let mut sent = Vec::new();
        let result = talk(
            &mut script.as_bytes(),
            &mut sent,
            "PIN of token \"50%\"\u{1b}",
        );
        (result, String::from_utf8(sent).unwrap())
    }

    const SETTINGS: &str =
        "OK hello\nOK\nERR 83886254 unknown option <x>\nOK\n# note\nS x\nOK\nOK\n";

    #[test]
    fn a_pin_comes_unescaped() {
        let (pin, sent) = talk_to(&format!("{SETTINGS}D 12%2534\nOK\n"));
        assert_eq!(pin.unwrap().expose(), b"12%34");
        assert_eq!(
            sent,
            "OPTION ttyname=/dev/tty\nSETTIMEOUT 300\nSETTITLE hardsign\n\
             SETDESC PIN of token \"50%25\"\\u{1b}\nSETPROMPT PIN:\nGETPIN\n"
        );
    }

    #[test]
    fn no_pin() {
        let error = |answer: &str| talk_to(&format!("{SETTINGS}{answer}")).0.unwrap_err();
        assert!(matches!(error("ERR 83886179 x\n"), PinError::Cancelled));
        assert!(matches!(error("ERR 83886142 x\n"), PinError::TimedOut));
        assert!(matches!(
            error("ERR 83886081 x\n"),
            PinError::Pinentry { .. }
        ));
        assert!(matches!(error("OK\n"), PinError::Empty));
        assert!(matches!(error(""), PinError::Cancelled));
        assert!(matches!(error("HTTP/1.1\n"), PinError::Pinentry { .. }));
        let long = format!("D {}\nOK\n", "1".repeat(5000));
        assert!(matches!(error(&long), PinError::Pinentry { .. }));
    }
}
