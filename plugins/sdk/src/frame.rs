//! Framing: one JSON text a line, of bounded length.
//!
//! A session is newline-delimited JSON in both directions. [`LineSplitter`] does no I/O, so that
//! blocking and asynchronous readers share it; [`LineReader`] puts it over any [`Read`]. Nothing
//! here knows what a line means.

use std::io::{self, Read, Write};

use serde::Serialize;

/// Longest line of a session, in bytes without its newline.
pub const MAX_LINE: usize = 1 << 20;

/// Largest request or answer of a one-shot command, in bytes: it must be less than 64 MiB.
pub const MAX_MESSAGE: usize = (64 << 20) - 1;

/// A stream that is not newline-delimited JSON within the bounds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A line, or a whole message, is longer than allowed.
    #[error("more than {limit} bytes in one message")]
    TooLong {
        /// The most bytes that are allowed.
        limit: usize,
    },
    /// The stream ended in the middle of a line.
    #[error("stream ended after {bytes} bytes of an unfinished line")]
    Unfinished {
        /// How many bytes of the line had come.
        bytes: usize,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A value has no JSON form.
    #[error("message can't be written as JSON")]
    Json(#[source] serde_json::Error),
    /// A line is not the JSON text that was expected.
    #[error("line is not a message")]
    NotJson(#[source] serde_json::Error),
}

/// Cuts a stream of bytes into lines, holding at most one unfinished line and one chunk.
#[derive(Debug)]
pub struct LineSplitter {
    buffer: Vec<u8>,
    /// Bytes at the front of `buffer` that hold no newline.
    scanned: usize,
    limit: usize,
}

impl LineSplitter {
    /// A splitter for lines of at most `limit` bytes, newline not counted.
    pub const fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            scanned: 0,
            limit,
        }
    }

    /// Adds bytes as they came from the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole line, without its newline; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when the line at the front is longer than the limit, finished or
    /// not. The stream is then of no further use.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
        let newline = unscanned.iter().position(|byte| *byte == b'\n');
        let length = newline.map_or(self.buffer.len(), |at| self.scanned.saturating_add(at));
        if length > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        if newline.is_none() {
            self.scanned = length;
            return Ok(None);
        }
        let rest = self.buffer.split_off(length.saturating_add(1));
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.truncate(length);
        self.scanned = 0;
        Ok(Some(line))
    }

    /// Tells whether the stream may end here.
    ///
    /// # Errors
    /// [`FrameError::Unfinished`] when part of a line is left.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.buffer.len() {
            0 => Ok(()),
            bytes => Err(FrameError::Unfinished { bytes }),
        }
    }
}

/// Reads lines of bounded length.
#[derive(Debug)]
pub struct LineReader<R> {
    reader: R,
    splitter: LineSplitter,
}

impl<R: Read> LineReader<R> {
    /// A reader of lines of at most `limit` bytes; use [`MAX_LINE`] for a session.
    pub const fn new(reader: R, limit: usize) -> Self {
        Self {
            reader,
            splitter: LineSplitter::new(limit),
        }
    }

    /// The next line without its newline; `None` at the end of the stream.
    ///
    /// # Errors
    /// A line that is too long or unfinished, or a failure of the stream.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let mut chunk = [0; 8192];
        loop {
            if let Some(line) = self.splitter.next_line()? {
                return Ok(Some(line));
            }
            match self.reader.read(&mut chunk) {
                Ok(0) => return self.splitter.finish().map(|()| None),
                Ok(count) => self.splitter.feed(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Writes a value as one line of JSON and flushes.
///
/// # Errors
/// When the value has no JSON form or the stream fails; nothing is written in the first case.
pub fn write_line<W: Write + ?Sized, T: Serialize>(
    writer: &mut W,
    value: &T,
) -> Result<(), FrameError> {
    let mut line = serde_json::to_vec(value).map_err(FrameError::Json)?;
    line.push(b'\n');
    writer.write_all(&line)?;
    writer.flush()?;
    Ok(())
}

/// Reads a whole message to the end of the stream.
///
/// # Errors
/// [`FrameError::TooLong`] after `limit` bytes, or a failure of the stream.
pub fn read_message<R: Read>(reader: R, limit: usize) -> Result<Vec<u8>, FrameError> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut message = Vec::new();
    reader.take(most).read_to_end(&mut message)?;
    if message.len() > limit {
        return Err(FrameError::TooLong { limit });
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn lines<R: Read>(reader: R, limit: usize) -> Vec<Result<Vec<u8>, String>> {
        let mut reader = LineReader::new(reader, limit);
        let mut lines = Vec::new();
        loop {
            match reader.next_line() {
                Ok(None) => return lines,
                Ok(Some(line)) => lines.push(Ok(line)),
                Err(error) => {
                    lines.push(Err(error.to_string()));
                    return lines;
                }
            }
        }
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let text = b"{\"id\":1}\n\n{\"id\":2}\n";
        let expected = vec![
            Ok(b"{\"id\":1}".to_vec()),
            Ok(Vec::new()),
            Ok(b"{\"id\":2}".to_vec()),
        ];
        assert_eq!(lines(&text[..], 8), expected);
        assert_eq!(lines(Trickle(text), 8), expected);
    }

    #[test]
    fn half_a_line_is_an_error() {
        assert_eq!(
            lines(&b"one\ntw"[..], 8),
            [
                Ok(b"one".to_vec()),
                Err("stream ended after 2 bytes of an unfinished line".into())
            ]
        );
    }

    #[test]
    fn long_lines_stop_without_being_read_to_their_end() {
        let mut endless = LineReader::new(io::repeat(b'a'), MAX_LINE);
        let error = endless.next_line().unwrap_err();
        assert!(matches!(error, FrameError::TooLong { limit: MAX_LINE }));
        assert!(endless.splitter.buffer.len() <= MAX_LINE + 8192);
        assert_eq!(
            lines(&b"12345678\n"[..], 7),
            [Err("more than 7 bytes in one message".into())]
        );
    }

    #[test]
    fn a_line_is_written_at_once_with_its_newline() {
        let mut out = Vec::new();
        write_line(&mut out, &serde_json::json!({"text": "a\nb"})).unwrap();
        assert_eq!(out, b"{\"text\":\"a\\nb\"}\n");
    }

    #[test]
    fn messages_are_bounded() {
        assert_eq!(read_message(&b"abc"[..], 3).unwrap(), b"abc");
        assert!(matches!(
            read_message(io::repeat(0), 3).unwrap_err(),
            FrameError::TooLong { limit: 3 }
        ));
    }
}
