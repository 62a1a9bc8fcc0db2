//! `--from-file`: what a file or a pipe lists, a line at a time, and which part of it is done here.
//!
//! A line is a reference or a path, or a JSON object that says more about it. White space around it,
//! empty lines and lines that begin with `#` are left out. A line that can't be used is one failure of
//! the batch; it is told by its number.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::config::formats::json;
use hardsign_core::crypto;
use hardsign_core::text::WithCauses;
use serde::Deserialize;
use tokio::sync::mpsc;

use crate::args::batch::Shard;
use crate::failure::Failure;
use crate::output::one_line;

/// A line of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// From 1, in its file.
    pub(super) number: u64,
    /// The reference or path.
    pub(super) name: String,
    pub(super) more: More,
}

/// What a line says beside the name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct More {
    /// Added to the user metadata of all; where both name a key, this counts.
    pub(super) user_metadata: BTreeMap<String, String>,
    /// Media type of a file.
    pub(super) media_type: Option<String>,
    /// Signature files of a file.
    pub(super) signatures: Vec<String>,
}

/// A line that can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BadLine {
    pub(super) number: u64,
    pub(super) fault: String,
}

/// A line, or why the list can't be read further.
type ReadLine = io::Result<Result<Line, BadLine>>;

/// What the lines of a list name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Artifacts,
    /// Files to sign, each with a signature to write.
    FilesToSign,
    /// Files to verify, each with signatures to read.
    FilesToVerify,
}

impl Kind {
    /// What a line begins with.
    fn item(self) -> &'static str {
        match self {
            Self::Artifacts => "reference",
            Self::FilesToSign | Self::FilesToVerify => "file name",
        }
    }
}

/// A list that is being read.
pub(super) struct Lines {
    /// Its name in messages.
    pub(super) name: String,
    lines: mpsc::Receiver<Vec<ReadLine>>,
    /// Those that have come.
    ready: VecDeque<ReadLine>,
    pub(super) position: Arc<Position>,
}

/// How far a list was read.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Number of the last line that was read.
    read: AtomicU64,
    /// Number of the last line that was handed on.
    line: AtomicU64,
    /// Whether all was handed on.
    ended: AtomicBool,
    /// Lines that name something, of whatever part of the batch.
    named: AtomicU64,
}

impl Position {
    pub(super) fn line(&self) -> u64 {
        self.line.load(Ordering::Relaxed)
    }

    /// A line was handed on; what was only read ahead was not.
    pub(super) fn handed_on(&self, line: Option<u64>) {
        self.line.store(line.unwrap_or_default(), Ordering::Relaxed);
    }

    /// All was handed on.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn named(&self) -> u64 {
        self.named.load(Ordering::Relaxed)
    }
}

impl Shard {
    /// Whether a line, without the white space around it, belongs to this part: the first eight bytes
    /// of its SHA-256, as a number, most significant byte first, divided by the number of parts,
    /// leave the part's number.
    pub(super) fn has(self, line: &str) -> bool {
        let hash = crypto::hash(HashAlgorithm::Sha256, line.as_bytes());
        let first = hash
            .iter()
            .take(8)
            .fold(0, |n: u64, b| n << 8 | u64::from(*b));
        first % self.count == self.index
    }
}

/// Whether there is a shard and the line is not of it.
pub(super) fn is_of_another(shard: Option<Shard>, line: &str) -> bool {
    shard.is_some_and(|shard| !shard.has(line))
}

impl Lines {
    /// The next line, or why it can't be used.
    pub(super) async fn next(&mut self) -> Option<ReadLine> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            self.ready = self.lines.recv().await?.into();
        }
    }
}

/// Opens a list and begins to read it, not far ahead of who takes the lines.
///
/// # Errors
/// It can't be opened.
pub(super) fn open(path: &str, kind: Kind, shard: Option<Shard>) -> Result<Lines, Failure> {
    let (name, source): (String, Box<dyn Read + Send>) = match path {
        "-" => ("standard input".to_owned(), Box::new(io::stdin())),
        path => {
            let failed = |error: io::Error| {
                Failure::failed(format!("failed to read {path}: {}", WithCauses(&error))).hint(
                    format!(
                        "give a file with one {} per line, or - for standard input",
                        kind.item()
                    ),
                )
            };
            let file = File::open(Path::new(path)).map_err(failed)?;
            if file.metadata().map_err(failed)?.is_dir() {
                return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            (one_line(path), Box::new(file))
        }
    };
    let (sender, lines) = mpsc::channel(AHEAD / TOGETHER);
    let position = Arc::new(Position::default());
    let read = Arc::clone(&position);
    thread::Builder::new()
        .spawn(move || {
            // Several at a time where they are at hand: each handing over changes threads.
            let mut ready = Vec::new();
            let taken = |line| {
                let at_hand = Option::is_some(&line);
                ready.extend(line);
                if ready.is_empty() || at_hand && ready.len() < TOGETHER {
                    return true;
                }
                sender.blocking_send(std::mem::take(&mut ready)).is_ok()
            };
            each(BufReader::new(source), kind, shard, &read, taken);
        })
        .map_err(Failure::error)?;
    Ok(Lines {
        name,
        lines,
        ready: VecDeque::new(),
        position,
    })
}

/// How many lines of a file name something, for who watches the progress; nothing of a pipe is read.
pub(super) fn count(path: &str, shard: Option<Shard>) -> Option<u64> {
    // Before it is opened: a pipe whose writer is gone would never be.
    if !super::many::is_file(path) {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut count = 0;
    let taken = |line: Option<_>| {
        count += u64::from(line.is_some());
        true
    };
    let position = Position::default();
    // What a line names does not matter for its being one.
    each(
        BufReader::new(file),
        Kind::Artifacts,
        shard,
        &position,
        taken,
    );
    Some(count)
}

/// Hands out lines until there is none left or nobody takes them; and nothing, before what follows has to be
/// waited for.
fn each(
    mut source: BufReader<impl Read>,
    kind: Kind,
    shard: Option<Shard>,
    position: &Position,
    mut taken: impl FnMut(Option<ReadLine>) -> bool,
) {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if !source.buffer().contains(&b'\n') && !taken(None) {
            return;
        }
        let read = source
            .by_ref()
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut bytes);
        match read {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let _over = taken(Some(Err(error))) && taken(None);
                return;
            }
        }
        let number = position.read.fetch_add(1, Ordering::Relaxed) + 1;
        let too_long = bytes.len() > MAX_LINE as usize && bytes.last() != Some(&b'\n');
        if too_long && let Err(error) = skip_line(&mut source) {
            let _over = taken(Some(Err(error))) && taken(None);
            return;
        }
        let line = match too_long {
            true => Some(Err(format!("it is longer than {MAX_LINE} bytes"))),
            false => parse(&bytes, number, kind, shard, position),
        };
        let line = line.map(|line| line.map_err(|fault| BadLine { number, fault }));
        if let Some(line) = line
            && !taken(Some(Ok(line)))
        {
            return;
        }
    }
}

/// Reads to the end of a line that is too long, and keeps nothing of it.
fn skip_line(source: &mut impl BufRead) -> io::Result<()> {
    loop {
        let piece = source.fill_buf()?;
        let end = piece.iter().position(|b| *b == b'\n');
        let count = end.map_or(piece.len(), |at| at + 1);
        source.consume(count);
        if end.is_some() || count == 0 {
            return Ok(());
        }
    }
}

/// One line; nothing where it names nothing that is done here.
fn parse(
    bytes: &[u8],
    number: u64,
    kind: Kind,
    shard: Option<Shard>,
    position: &Position,
) -> Option<Result<Line, String>> {
    let bytes = match number {
        // Some editors begin a file with a byte order mark.
        1 => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
        _ => bytes,
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some(Err("it is not text in UTF-8".to_owned()));
    };
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    position.named.fetch_add(1, Ordering::Relaxed);
    if is_of_another(shard, text) {
        return None;
    }
    let line = |name: String, more| Line { number, name, more };
    if !text.starts_with('{') {
        return Some(match text.contains('\0') {
            true => Err("it has a zero byte".to_owned()),
            false => Ok(line(text.to_owned(), More::default())),
        });
    }
    Some(object(text, kind).map(|(name, more)| line(name, more)))
}

/// What a line in JSON says.
fn object(text: &str, kind: Kind) -> Result<(String, More), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Artifact {
        reference: String,
        #[serde(default)]
        user_metadata: BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct ToSign {
        blob: String,
        signature: Option<String>,
        media_type: Option<String>,
        #[serde(default)]
        user_metadata: BTreeMap<String, String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct ToVerify {
        blob: String,
        #[serde(default)]
        signatures: Vec<String>,
        media_type: Option<String>,
        #[serde(default)]
        user_metadata: BTreeMap<String, String>,
    }
    let bytes = text.as_bytes();
    let fault = |error: json::JsonError| {
        // The text is one line, whose number is told.
        let text = error.to_string();
        match text.split_once(" at line 1 column ") {
            Some((text, column)) => format!("{text}, before byte {column}"),
            None => text,
        }
    };
    let (name, more) = match kind {
        Kind::Artifacts => {
            let read: Artifact = json::from_slice(bytes).map_err(fault)?;
            let more = More {
                user_metadata: read.user_metadata,
                ..More::default()
            };
            (read.reference, more)
        }
        Kind::FilesToSign => {
            let read: ToSign = json::from_slice(bytes).map_err(fault)?;
            let more = More {
                user_metadata: read.user_metadata,
                media_type: read.media_type,
                signatures: read.signature.into_iter().collect(),
            };
            (read.blob, more)
        }
        Kind::FilesToVerify => {
            let read: ToVerify = json::from_slice(bytes).map_err(fault)?;
            let more = More {
                user_metadata: read.user_metadata,
                media_type: read.media_type,
                signatures: read.signatures,
            };
            (read.blob, more)
        }
    };
    let bad = |text: &String| text.is_empty() || text.contains('\0');
    if bad(&name) || more.signatures.iter().any(bad) {
        return Err("a name in it is empty or has a zero byte".to_owned());
    }
    let mut metadata = more.user_metadata.iter();
    if metadata.any(|(key, value)| key.is_empty() || value.is_empty()) {
        return Err("userMetadata has an empty key or value".to_owned());
    }
    if more.media_type.as_deref() == Some("") {
        return Err("mediaType is empty".to_owned());
    }
    Ok((name, more))
}

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// Lines read before they are needed.
const AHEAD: usize = 64;
/// Lines that are handed over together.
const TOGETHER: usize = 16;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn read(
        bytes: &[u8],
        kind: Kind,
        shard: Option<Shard>,
    ) -> (Vec<Result<Line, BadLine>>, Position) {
        let mut lines = Vec::new();
        let position = Position::default();
        // A buffer that ends within lines.
        let source = BufReader::with_capacity(7, bytes);
        each(source, kind, shard, &position, |line| {
            lines.extend(line.map(io::Result::unwrap));
            true
        });
        (lines, position)
    }

    fn names(lines: &[Result<Line, BadLine>]) -> Vec<(u64, &str)> {
        let line = |line: &'_ Result<Line, BadLine>| -> (u64, String) {
            match line {
                Ok(line) => (line.number, line.name.clone()),
                Err(bad) => (bad.number, bad.fault.clone()),
            }
        };
        let found: Vec<_> = lines.iter().map(line).collect();
        found
            .into_iter()
            .map(|(n, name)| (n, &*Box::leak(name.into_boxed_str())))
            .collect()
    }

    #[test]
    fn blank_lines_and_comments_are_left_out() {
        let text = b"\xef\xbb\xbf# list\r\n\r\n  a:1 \t\r\nb:2\n\n#c\n   # d\nlast";
        let (lines, position) = read(text, Kind::Artifacts, None);
        assert_eq!(names(&lines), [(3, "a:1"), (4, "b:2"), (8, "last")]);
        let last = position.read.load(Ordering::Relaxed);
        assert_eq!((last, position.named()), (8, 3));
        assert!(read(b"", Kind::Artifacts, None).0.is_empty());
        assert!(read(b"\n\n#\n", Kind::Artifacts, None).0.is_empty());
    }

    #[test]
    fn json_says_more() {
        let text = br#"{"reference":"a:1","userMetadata":{"build":"17"}}
 { "reference" : "b" }"#;
        let (lines, _) = read(text, Kind::Artifacts, None);
        let first = lines[0].as_ref().unwrap();
        assert_eq!(
            (
                first.name.as_str(),
                first.more.user_metadata["build"].as_str()
            ),
            ("a:1", "17")
        );
        assert_eq!(lines[1].as_ref().unwrap().more, More::default());
        let text = br#"{"blob":"f","signature":"f.sig","mediaType":"text/plain"}"#;
        let (lines, _) = read(text, Kind::FilesToSign, None);
        let more = &lines[0].as_ref().unwrap().more;
        assert_eq!(more.signatures, ["f.sig"]);
        assert_eq!(more.media_type.as_deref(), Some("text/plain"));
        let text = br#"{"blob":"f","signatures":["a","b"]}"#;
        let (lines, _) = read(text, Kind::FilesToVerify, None);
        assert_eq!(lines[0].as_ref().unwrap().more.signatures, ["a", "b"]);
    }

    /// A pipe that waits holds no line back that came before.
    #[test]
    fn lines_are_handed_over_before_the_next_is_waited_for() {
        struct Pipe<'a> {
            pieces: Vec<&'static [u8]>,
            handed_over: &'a Cell<usize>,
            wanted: Vec<usize>,
        }
        impl Read for Pipe<'_> {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                assert_eq!(self.handed_over.get(), self.wanted.remove(0));
                let piece = self.pieces.remove(0);
                to[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
        let handed_over = Cell::new(0);
        let pipe = Pipe {
            pieces: vec![b"a\nb\n\n#c\npa", b"rt\n", b"last", b"", b""],
            handed_over: &handed_over,
            wanted: vec![0, 2, 3, 3, 4],
        };
        let mut waiting = 0;
        let mut most = 0;
        let source = BufReader::new(pipe);
        each(
            source,
            Kind::Artifacts,
            None,
            &Position::default(),
            |line| {
                match line {
                    Some(_) => waiting += 1,
                    None => handed_over.set(handed_over.get() + std::mem::take(&mut waiting)),
                }
                most = most.max(waiting);
                true
            },
        );
        assert_eq!((handed_over.get(), most), (4, 2));
    }

    /// A bad line is told by its number, and the next one is read as usual.
    #[test]
    fn a_bad_line_is_one_failure() {
        for (bad, why) in [
            (&b"{"[..], "end of JSON"),
            (b"{}", "missing field `reference`"),
            (br#"{"reference":"a","reference":"b"}"#, "duplicate name"),
            (br#"{"reference":7}"#, "invalid type"),
            (br#"{"reference":""}"#, "is empty"),
            (
                br#"{"reference":"a","metadata":{}}"#,
                "unknown field `metadata`",
            ),
            (
                br#"{"reference":"a","userMetadata":{"k":7}}"#,
                "invalid type",
            ),
            (
                br#"{"reference":"a","userMetadata":{"k":""}}"#,
                "empty key or value",
            ),
            (
                br#"{"reference":"a","userMetadata":{"k":"1","k":"2"}}"#,
                "duplicate name",
            ),
            (br#"{"reference":"a"} {}"#, "trailing data"),
            (b"\xff", "UTF-8"),
            (b"a\0b", "zero byte"),
        ] {
            let text = [b"one\n", bad, b"\nthree\n"].concat();
            let (lines, _) = read(&text, Kind::Artifacts, None);
            let told = names(&lines);
            assert_eq!((told[0], told[2]), ((1, "one"), (3, "three")));
            assert!(told[1].0 == 2 && told[1].1.contains(why), "{told:?}");
            assert!(!told[1].1.contains("line 1"), "{told:?}");
        }
    }

    /// SEC-15: nothing of a line without end is kept.
    #[test]
    fn sec_15_lines_are_bounded() {
        let longest = "x".repeat(MAX_LINE as usize);
        let text = format!("{longest}\n{longest}x\n{longest}yy\nend");
        let (lines, _) = read(text.as_bytes(), Kind::Artifacts, None);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0].as_ref().unwrap().name, longest);
        for bad in &lines[1..3] {
            assert_eq!(
                bad.as_ref().unwrap_err().fault,
                "it is longer than 65536 bytes"
            );
        }
        assert_eq!(names(&lines[3..]), [(4, "end")]);
    }

    /// Each line is of one part, and of the one that anybody can work out.
    #[test]
    fn shards_are_the_whole_and_disjoint() {
        // printf a:1 | sha256sum: 2e8b..., and so on.
        for (line, first) in [
            ("a", 0xca97_8112_ca1b_bdca_u64),
            ("abc", 0xba78_16bf_8f01_cfea),
        ] {
            for count in [1, 2, 3, 7, 1000] {
                let shard = |index| Shard { index, count };
                let of: Vec<u64> = (0..count).filter(|index| shard(*index).has(line)).collect();
                assert_eq!(of, [first % count]);
            }
        }
        let list: String = (0..100).map(|n| format!(" line{n} \n")).collect();
        let mut all = 0;
        for index in 0..4 {
            let shard = Some(Shard { index, count: 4 });
            let (lines, position) = read(list.as_bytes(), Kind::Artifacts, shard);
            assert!(lines.len() > 10);
            assert_eq!(position.named(), 100);
            all += lines.len();
        }
        assert_eq!(all, 100);
    }
}
