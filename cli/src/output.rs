//! Speaking to the user. The rules, all kept here:
//!
//! - Results go to standard output, one line each; nothing else does. With `--output json` standard
//!   output is exactly one JSON document.
//! - `Warning: …`, `Error: …`, then `Hint: …`, debug lines and progress go to standard error.
//!   A message starts with a small letter unless a name stands first, and has no full stop.
//! - Text that came from a registry, a plugin, a certificate or a file is made harmless here: what a
//!   terminal obeys, what hides text and every line end is shown escaped (SEC-29). Lines of our own
//!   are printed one by one; the errors that have several are put together in `failure`, which
//!   lets no other line end through ([`own_lines`]).
//! - Progress appears only where standard error is a terminal, and colours only where what they are
//!   printed to is one; neither on a terminal that calls itself dumb. `NO_COLOR` is respected.
//! - Nothing is printed with `print!`: a closed pipe is an error that ends the program, not a panic.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use hardsign_core::text::{escaped, escaped_but, is_dangerous};
use serde::Serialize;

pub(crate) mod device;
mod events;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod signature;
pub(crate) mod signer;
pub(crate) mod table;
pub(crate) mod tree;

/// Where everything that the program prints goes through.
pub(crate) struct Console {
    terminal: bool,
    colours: bool,
    out_colours: bool,
    /// How wide the terminal is that standard output is.
    columns: Option<usize>,
    /// Standard output is for one JSON document.
    json: bool,
    level: Level,
    /// Where somebody watches.
    progress: Option<progress::Progress>,
    /// Columns of standard output and of standard error, where they are known.
    out_width: Option<usize>,
    err_width: Option<usize>,
}

/// What the terminal is capable of, if there is one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Abilities {
    /// It can move its cursor.
    pub(crate) cursor: bool,
    /// It can show colours, and the user wants them.
    pub(crate) colours: bool,
    /// `COLUMNS`: how wide the user wants it.
    pub(crate) columns: Option<usize>,
}

/// How a word is to be seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mark {
    Good,
    Doubtful,
    Bad,
    Advice,
}

impl Mark {
    const fn colour(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Doubtful => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Advice => "\x1b[36m",
        }
    }
}

/// How much of what is being done is told on standard error.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// Warnings and errors of the command itself.
    Quiet,
    /// `-v`: what is being done.
    Info,
    /// `-d`: everything (LOG-01).
    Debug,
}

/// How many columns the terminal has that standard output is, if it is one and says so.
#[cfg(unix)]
fn columns() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(out).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

#[cfg(not(unix))]
fn columns() -> Option<usize> {
    None
}

impl Console {
    pub(crate) fn new(level: Level, abilities: Abilities) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            terminal,
            colours: terminal && abilities.colours,
            out_colours: io::stdout().is_terminal() && abilities.colours,
            columns: columns(),
            json: false,
            level,
            progress: (terminal && abilities.cursor).then(progress::Progress::new),
            out_width: abilities
                .columns
                .or_else(|| progress::columns(&io::stdout())),
            err_width: abilities
                .columns
                .or_else(|| progress::columns(&io::stderr())),
        }
    }

    /// The same as [`Self::line`], with `word` in front, coloured where standard output is a
    /// terminal.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn verdict(&self, mark: Mark, word: &str, text: impl Display) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let word = marked(self.out_colours, mark, word);
        self.bytes(format!("{word}{}\n", one_line(&text.to_string())).as_bytes())
    }

    /// A table. On a terminal it is made to fit, and no digest or id is cut; in a pipe its columns are
    /// padded to their widest cell, as scripts know it (CLI-15).
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: &[[String; N]],
    ) -> io::Result<()> {
        let text = match self.columns {
            None => table::padded(header, rows),
            Some(columns) => table::fitted(header, rows, columns),
        };
        self.bytes(text.as_bytes())
    }

    /// An item of a list, with a coloured word before it. On a terminal its lines stand below each other.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn item(&self, mark: Mark, word: &str, text: &str) -> io::Result<()> {
        let indent = word.chars().count() + 2;
        let mut lines = self.wrapped(text, indent).into_iter();
        let first = lines.next().unwrap_or_default();
        self.verdict(mark, word, format_args!("  {first}"))?;
        lines.try_for_each(|line| self.line(format_args!("{:indent$}{line}", "")))
    }

    /// What stands below the text of such an item.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn below(&self, word: &str, text: &str) -> io::Result<()> {
        let indent = word.chars().count() + 2;
        let lines = self.wrapped(text, indent);
        lines
            .iter()
            .try_for_each(|line| self.line(format_args!("{:indent$}{line}", "")))
    }

    fn wrapped(&self, text: &str, indent: usize) -> Vec<String> {
        match self.columns {
            None => vec![text.to_owned()],
            Some(columns) => table::wrapped(text, columns.saturating_sub(indent)),
        }
    }

    /// Help text: on a terminal its headings stand out.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn help(&self, text: &str) -> io::Result<()> {
        if !self.out_colours {
            return self.bytes(text.as_bytes());
        }
        self.bytes(with_bold_headings(text).as_bytes())
    }

    /// The same for `--output json`: lines of result are not printed.
    pub(crate) fn printing_json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    /// Whether standard output is for one JSON document.
    pub(crate) fn prints_json(&self) -> bool {
        self.json
    }

    /// Whether a person watches standard error.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Columns of standard error, where they are known.
    pub(crate) fn err_width(&self) -> Option<usize> {
        self.err_width
    }

    /// Names and values below a line of result.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn fields(&self, pairs: &[(&str, String)]) -> io::Result<()> {
        for line in fields::fields(pairs, 2, self.out_width) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Whether more than usual is told: `-v` or `-d`.
    pub(crate) fn is_verbose(&self) -> bool {
        self.level > Level::Quiet
    }

    /// Whether debug records are shown.
    pub(crate) fn shows_debug(&self) -> bool {
        self.level == Level::Debug
    }

    /// One line of result on standard output, unless that is for JSON. What is foreign in it is made
    /// harmless.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn line(&self, text: impl Display) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        self.bytes(format!("{}\n", one_line(&text.to_string())).as_bytes())
    }

    /// Bytes of result on standard output, as they are.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        self.suspended(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        })
    }

    /// The one JSON document of `--output json`: two spaces of indent, a final newline. What a
    /// terminal would obey is written as `\uXXXX`, which means the same.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn json(&self, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(document).map_err(io::Error::other)?;
        self.json_text(&text)
    }

    /// One document of several, on a line of its own, for `--output jsonl`.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn json_line(&self, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(document).map_err(io::Error::other)?;
        self.json_text(&text)
    }

    /// The text of a document, made harmless, and a line feed.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn json_text(&self, text: &str) -> io::Result<()> {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            // Outside of strings there are line feeds alone; inside, they are escaped already.
            if c != '\n' && is_dangerous(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                out.push(c);
            }
        }
        out.push('\n');
        self.bytes(out.as_bytes())
    }

    /// The document, if it is asked for; what was told in lines is not printed then.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub(crate) fn document(&self, document: &impl Serialize) -> io::Result<()> {
        if self.json {
            self.json(document)?;
        }
        Ok(())
    }

    /// A question, without a newline: on standard output (CLI-13), unless that is for JSON.
    ///
    /// # Errors
    /// It can't be written to.
    pub(crate) fn question(&self, text: &str) -> io::Result<()> {
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (text, ""),
        };
        let text = format!("{}{end}", one_line(text));
        if self.json {
            self.to_stderr(&text);
            return Ok(());
        }
        self.bytes(text.as_bytes())
    }

    /// `Warning: …` on standard error (CLI-14).
    pub(crate) fn warning(&self, text: impl Display) {
        self.stderr("Warning:", Mark::Doubtful, &one_line(&text.to_string()));
    }

    /// `Error: …` on standard error (CLI-02). `text` is a message of a failure, whose lines are ours.
    pub(crate) fn error(&self, text: &str) {
        self.stderr("Error:", Mark::Bad, &harmless(text));
    }

    /// `Hint: …` on standard error, below an error (CLI-02). `text` is that of a failure, whose lines
    /// are ours.
    pub(crate) fn hint(&self, text: &str) {
        self.stderr("Hint:", Mark::Advice, &harmless(text));
    }

    /// A line on standard error without a label, where the reference tool has none.
    pub(crate) fn plain(&self, text: impl Display) {
        self.to_stderr(&format!("{}\n", one_line(&text.to_string())));
    }

    /// What a plugin wants its user to know, for instance to touch the key now.
    pub(crate) fn notice(&self, text: impl Display) {
        self.to_stderr(&format!("{}\n", one_line(&text.to_string())));
    }

    /// A record of the debug log (LOG-01): shown with `-d`, and from level info on with `-v`.
    pub(crate) fn log(&self, level: &str, text: impl Display) {
        self.record(level, || one_line(&text.to_string()));
    }

    /// A debug record of several lines, in which what is foreign stands in quotes (LOG-03).
    pub(crate) fn log_lines(&self, text: impl Display) {
        self.record("debug", || harmless(&text.to_string()));
    }

    fn record(&self, level: &str, text: impl FnOnce() -> String) {
        let shown = match self.level {
            Level::Quiet => false,
            Level::Info => level != "debug",
            Level::Debug => true,
        };
        if shown {
            #[expect(
                clippy::disallowed_methods,
                reason = "log records carry the time of printing"
            )]
            let now = jiff::Timestamp::now();
            let time = now.strftime("%Y-%m-%d %H:%M:%S.%9f");
            let text = text();
            self.to_stderr(&format!("time={time}Z level={level} msg={text}\n"));
        }
    }

    fn stderr(&self, label: &str, mark: Mark, text: &str) {
        let width = self.err_width.filter(|_| self.terminal);
        let text = match width {
            Some(width) => fields::wrapped(text, label.chars().count() + 1, width),
            None => text.to_owned(),
        };
        let label = marked(self.colours, mark, label);
        self.to_stderr(&format!("{label} {text}\n"));
    }

    /// Nothing can be told to anyone where standard error fails, so its errors are dropped.
    fn to_stderr(&self, text: &str) {
        self.suspended(|| drop(io::stderr().lock().write_all(text.as_bytes())));
    }

    /// Runs `print` while the progress line, if there is one, is off the screen.
    fn suspended<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.progress {
            Some(progress) => progress.aside(print),
            None => print(),
        }
    }
}

fn marked(colours: bool, mark: Mark, word: &str) -> String {
    if colours {
        format!("{}{word}\x1b[0m", mark.colour())
    } else {
        word.to_owned()
    }
}

/// The same text with what a terminal obeys or does not show escaped, so that nothing foreign can move the
/// cursor, reorder a line or hide in it (SEC-29). Newlines stay.
pub(crate) fn harmless(text: &str) -> String {
    escaped_but(text, "\n")
}

/// A time in UTC as RFC 3339 writes it: `2026-01-31T12:00:00Z`.
pub(crate) fn rfc3339(time: jiff::civil::DateTime) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Like [`harmless`], for what must stay on one line: newlines are escaped too.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text)
}

/// Like [`one_line`], for the error texts of the reference tool that have several lines: a line end
/// stays where such a text goes on after it.
pub(crate) fn own_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        let ours = SECOND_LINES.iter().any(|start| line.starts_with(start));
        match (number, ours) {
            (0, _) => {}
            (_, true) => out.push('\n'),
            (_, false) => out.push_str("\\n"),
        }
        out.push_str(&harmless(line));
    }
    out
}

/// How the second lines of those texts begin.
const SECOND_LINES: [&str; 10] = [
    "It is not recommended to install an older version. To force",
    "Please ensure that the current user has permission to access the plugin directory: ",
    "Please ensure that the plugin executable file is ",
    "Please specify a trust policy ",
    "Run 'hardsign ",
    "Run 'notation ",
    "Supported signature envelope formats are ",
    "To view a list of installed plugins, use `",
    "Usage: ",
    "You can import one using `",
];

/// Help text whose headings are bold: lines that end in a colon, below an empty one, and the word before the usage.
/// Other text may have a colon too.
fn with_bold_headings(text: &str) -> String {
    let (mut bold, mut below_nothing) = (String::new(), false);
    for line in text.split_inclusive('\n') {
        let begins = line.starts_with(|c: char| c.is_ascii_uppercase());
        let heading = match line.trim_end() {
            whole if begins && below_nothing && whole.ends_with(':') => whole,
            _ if line.starts_with(USAGE) => USAGE,
            _ => "",
        };
        if heading.is_empty() {
            bold.push_str(line);
        } else {
            bold.push_str(&format!(
                "\x1b[1m{heading}\x1b[0m{}",
                &line[heading.len()..]
            ));
        }
        below_nothing = line.trim().is_empty();
    }
    bold
}

/// What stands before the usage of a command.
const USAGE: &str = "Usage:";

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-29: escape sequences, carriage returns and bidirectional overrides lose their power.
    #[test]
    fn sec_29_foreign_text_is_harmless() {
        assert_eq!(
            harmless("a\x1b[2Jb\rc\u{202e}d\u{9b}1m"),
            "a\\u{1b}[2Jb\\rc\\u{202e}d\\u{9b}1m"
        );
        assert_eq!(harmless("zwei\nZeilen, ünï"), "zwei\nZeilen, ünï");
        assert_eq!(one_line("a\nb"), "a\\nb");
        for hidden in [
            '\u{200b}',
            '\u{2060}',
            '\u{feff}',
            '\u{ad}',
            '\u{fe0f}',
            '\u{e0041}',
            '\u{3164}',
        ] {
            assert!(
                !one_line(&format!("a{hidden}b")).contains(hidden),
                "{hidden:?}"
            );
        }
    }

    /// SEC-29: a line end stays only where a text of ours goes on.
    #[test]
    fn sec_29_no_line_of_somebody_else() {
        for (text, shown) in [
            ("a\nSuccessfully verified x", "a\\nSuccessfully verified x"),
            ("a\nError: b", "a\\nError: b"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            (
                "no\nRun 'hardsign --help' for usage.",
                "no\nRun 'hardsign --help' for usage.",
            ),
            (
                "no\nRun 'hardsign --help'\nHint: x",
                "no\nRun 'hardsign --help'\\nHint: x",
            ),
        ] {
            assert_eq!(own_lines(text), shown);
        }
    }
}
