//! The words of a bash command line, and what readline is to put in place of the last one.
//!
//! bash hands over the line as it was typed, quotes and backslashes included. What it replaces
//! is not always the whole last word: it starts behind an open quote, or else behind the last `=`
//! or `:` (`COMP_WORDBREAKS`). Variables and substitutions are not expanded.

/// How the end of the line is quoted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quote {
    None,
    Single,
    Double,
}

/// A command line up to the cursor.
#[derive(Debug)]
pub(super) struct Line {
    /// The words after the program, quotes taken off; the last is the one under the cursor.
    pub(super) words: Vec<String>,
    /// The part of the last word that stays.
    kept: String,
    quote: Quote,
}

impl Line {
    /// `part` is what bash calls the current word (`COMP_WORDS[COMP_CWORD]`).
    pub(super) fn read(line: &str, part: &str) -> Self {
        let mut words = Vec::new();
        let mut rest = line.trim_start();
        loop {
            let token = Token::read(rest);
            words.push(token.text.clone());
            let Some(after) = token.after else {
                words.remove(0);
                return Self {
                    kept: token.kept(rest, part),
                    words,
                    quote: token.quote,
                };
            };
            rest = after.trim_start();
        }
    }

    /// What to insert so that the word becomes `candidate`; `None` where the open quote can't
    /// hold it.
    pub(super) fn insert(&self, candidate: &str) -> Option<String> {
        let new = candidate.strip_prefix(self.kept.as_str())?;
        match self.quote {
            Quote::None => Some(escape(new, |c| {
                c.is_ascii() && !c.is_ascii_alphanumeric() && !"%+,-./:=@_^".contains(c)
            })),
            Quote::Single => (!new.contains('\'')).then(|| new.to_owned()),
            Quote::Double => {
                // History expansion can't be escaped there.
                let quotable = !new.contains('!');
                quotable.then(|| escape(new, |c| "$`\"\\".contains(c)))
            }
        }
    }

    /// The path that is typed: the last word, without `--flag=`.
    pub(super) fn path(&self) -> &str {
        let word = self.words.last().map_or("", String::as_str);
        match word.split_once('=') {
            Some((flag, path)) if flag.starts_with("--") => path,
            _ => word,
        }
    }
}

fn escape(text: &str, special: impl Fn(char) -> bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if special(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The first word of a text.
struct Token<'a> {
    text: String,
    /// What stands behind the blank that ends the word; `None` where the text ends first.
    after: Option<&'a str>,
    /// The quote that is still open.
    quote: Quote,
    /// How much of `text` stands in front of it.
    before_quote: usize,
}

impl<'a> Token<'a> {
    fn read(source: &'a str) -> Self {
        let mut token = Self {
            text: String::new(),
            after: None,
            quote: Quote::None,
            before_quote: 0,
        };
        let mut chars = source.char_indices();
        while let Some((at, c)) = chars.next() {
            match (token.quote, c) {
                (Quote::None, ' ' | '\t' | '\n') => {
                    token.after = source.get(at..);
                    return token;
                }
                (Quote::None, '\'') => token.open(Quote::Single),
                (Quote::None, '"') => token.open(Quote::Double),
                (Quote::Single, '\'') | (Quote::Double, '"') => token.quote = Quote::None,
                (Quote::None, '\\') => token.text.extend(chars.next().map(|(_, c)| c)),
                (Quote::Double, '\\') => match chars.next() {
                    Some((_, c @ ('$' | '`' | '"' | '\\'))) => token.text.push(c),
                    other => {
                        token.text.push('\\');
                        token.text.extend(other.map(|(_, c)| c));
                    }
                },
                (_, c) => token.text.push(c),
            }
        }
        token
    }

    fn open(&mut self, quote: Quote) {
        self.quote = quote;
        self.before_quote = self.text.len();
    }

    /// The part of the word that readline leaves alone.
    fn kept(&self, source: &str, part: &str) -> String {
        if self.quote != Quote::None {
            return self.text.get(..self.before_quote).unwrap_or("").to_owned();
        }
        match part {
            "=" | ":" => self.text.clone(),
            part => {
                let before = source.strip_suffix(part).unwrap_or("");
                Token::read(before).text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(line: &str, part: &str, candidate: &str) -> Option<String> {
        Line::read(line, part).insert(candidate)
    }

    #[test]
    fn words_are_split_as_bash_does() {
        for (line, words) in [
            ("hardsign ", vec![""]),
            ("hardsign sign  --key my\\ k", vec!["sign", "--key", "my k"]),
            ("hardsign 'a \\b'\"c $d\\\"\" e", vec!["a \\bc $d\"", "e"]),
            ("hardsign \"my k", vec!["my k"]),
            ("hardsign 'my k", vec!["my k"]),
            ("hardsign x\\", vec!["x"]),
            ("hardsign", vec![]),
        ] {
            let part = line.rsplit(' ').next().unwrap();
            assert_eq!(Line::read(line, part).words, words, "{line}");
        }
    }

    /// Whatever is inserted reads as the candidate again.
    #[test]
    fn what_is_inserted_is_the_candidate() {
        for candidate in ["my key", "my $(key)`x`", "my \"k\"", "my é*?[a]{b}~#&;|<>"] {
            for (typed, part) in [
                ("my", "my"),
                ("my\\ ", "my\\ "),
                ("\"my ", "\"my "),
                ("", ""),
            ] {
                let line = format!("hardsign key delete {typed}");
                let Some(new) = inserted(&line, part, candidate) else {
                    panic!("{candidate} after {typed}");
                };
                let quoted = typed.starts_with('"');
                let whole = if quoted { format!("\"{new}\"") } else { new };
                let read = Line::read(&format!("hardsign {whole}"), "").words;
                assert_eq!(read, [candidate], "{typed}");
            }
        }
        assert_eq!(inserted("hardsign 'it", "'it", "it's"), None);
        assert_eq!(inserted("hardsign \"he", "\"he", "hey!"), None);
        assert_eq!(
            inserted("hardsign he", "he", "hey!").as_deref(),
            Some("hey\\!")
        );
    }

    #[test]
    fn what_stands_before_a_word_break_is_kept() {
        for (line, part, candidate, new) in [
            ("hardsign sign --key=re", "re", "--key=release", "release"),
            ("hardsign sign --key=", "=", "--key=release", "release"),
            ("hardsign x ca:ve", "ve", "ca:vectors", "vectors"),
            ("hardsign sign --key=\"m", "\"m", "--key=my key", "my key"),
            (
                "hardsign sign --key=my\\ ",
                "my\\ ",
                "--key=my key",
                "my\\ key",
            ),
        ] {
            assert_eq!(
                inserted(line, part, candidate).as_deref(),
                Some(new),
                "{line}"
            );
        }
        assert_eq!(
            Line::read("hardsign verify --policy=a/b", "a/b").path(),
            "a/b"
        );
    }
}
