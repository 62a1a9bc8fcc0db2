//! Text made fit for people: errors with their causes, and what comes from elsewhere without what a
//! terminal would act on.

use std::error::Error;
use std::fmt;
use std::io;

/// An error and its causes in one text, the outermost first. Each error of this project tells its own
/// layer and exposes its cause as [`source`](Error::source), so that nothing is told twice.
///
/// ```
/// use hardsign_plugin::text::WithCauses;
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("failed to open the token")]
/// struct Failed(#[source] std::io::Error);
///
/// let error = Failed(std::io::Error::from_raw_os_error(2));
/// assert_eq!(WithCauses(&error).to_string(), "failed to open the token: no such file or directory");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WithCauses<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = own_layer(self.0);
        let mut next = self.0.source();
        loop {
            f.write_str(&text)?;
            let Some(cause) = next else { return Ok(()) };
            let told = own_layer(cause);
            next = cause.source();
            // Some texts of the reference lead to their cause with marks of their own, and some
            // causes have nothing to say.
            match (told.is_empty(), text.ends_with([',', ':'])) {
                (true, _) => {}
                (false, true) => f.write_str(" ")?,
                (false, false) => f.write_str(": ")?,
            }
            text = told;
        }
    }
}

fn own_layer(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<io::Error>() {
        Some(error) => io_text(error),
        None => error.to_string(),
    }
}

/// Names for another thing like one that is there, in the order in which they are tried: NAME-2, NAME-3 and so on; after
/// NAME-2, those with the numbers that follow.
///
/// ```
/// let mut names = hardsign_plugin::text::names_after("release-7");
/// assert_eq!(names.next().as_deref(), Some("release-8"));
/// ```
pub fn names_after(name: &str) -> impl Iterator<Item = String> + use<> {
    let (base, first) = match name.rsplit_once('-') {
        Some((base, number)) if !base.is_empty() => match number.parse::<u32>() {
            Ok(number) => (base, number.saturating_add(1)),
            Err(_) => (name, 2),
        },
        _ => (name, 2),
    };
    let base = base.to_owned();
    (first..=u32::MAX).map(move |number| format!("{base}-{number}"))
}

/// An error of the operating system without its number, as users and scripts know it from the
/// reference: `no such file or directory`.
pub fn io_text(error: &io::Error) -> String {
    let text = match (error.kind(), error.raw_os_error(), error.get_ref()) {
        (io::ErrorKind::NotFound, None, None) => "no such file or directory".to_owned(),
        (io::ErrorKind::AlreadyExists, None, None) => "file exists".to_owned(),
        _ => error.to_string(),
    };
    let text = match text.rfind(" (os error ") {
        Some(at) => text.get(..at).unwrap_or(&text),
        None => &text,
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Whether a character, written to a terminal as part of a foreign text, could do more than be seen:
/// controls (escape sequences, carriage returns, C1), line separators, marks that turn the direction
/// of writing, and what is not seen at all.
///
/// This is the one list of the project. Line feeds and tabs are in it: who prints text of several
/// lines lets them through.
///
/// ```
/// use hardsign_plugin::text::is_dangerous;
///
/// assert!(is_dangerous('\x1b') && is_dangerous('\u{9b}') && is_dangerous('\u{202e}'));
/// assert!(!is_dangerous('ü') && !is_dangerous(' ') && !is_dangerous('🔑'));
/// ```
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, grapheme joiner, Arabic letter mark, fillers and vowels without width.
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            // Mongolian selectors; zero-width characters and direction marks; separators, embeddings, overrides.
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates, and what they replaced; fillers, variation selectors, byte order mark.
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            // Interlinear annotations; shorthand and musical controls; tags.
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text on one line, with every [dangerous](is_dangerous) character as a Rust escape.
///
/// ```
/// assert_eq!(hardsign_plugin::text::escaped("a\x1b[2J\nü"), r"a\u{1b}[2J\nü");
/// ```
pub fn escaped(text: &str) -> String {
    escaped_but(text, "")
}

/// [`escaped`], in which the characters of `kept` stay as they are.
pub fn escaped_but(text: &str, kept: &str) -> String {
    // Nearly all text is such.
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) && !kept.contains(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A name without the differences that don't count.
pub(crate) fn spelt(name: &str) -> String {
    name.to_lowercase().replace(['_', '.', ' '], "-")
}

/// Of the known names the one that a person who wrote `name` probably meant; at most a third of the
/// letters differ.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = spelt(name);
    let distance = |known: &str| strsim::osa_distance(&name, &spelt(known));
    let (distance, best) = known.iter().map(|known| (distance(known), *known)).min()?;
    // `cert` is not `token`.
    (distance.saturating_mul(3) <= name.chars().count().max(best.chars().count())).then_some(best)
}

/// A number of things, whose noun gets an `s` if there is not one.
///
/// ```
/// use hardsign_plugin::text::plural;
/// assert_eq!((plural(1, "byte"), plural(2, "byte")), ("1 byte".into(), "2 bytes".into()));
/// ```
pub fn plural(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        many => format!("{many} {noun}s"),
    }
}

/// The question to somebody who wrote a name that there is not, where one of the known names is near.
///
/// ```
/// use hardsign_plugin::text::did_you_mean;
/// assert_eq!(did_you_mean("pkcs1", ["local", "pkcs11"]).as_deref(), Some("did you mean pkcs11?"));
/// assert_eq!(did_you_mean("other", ["local", "pkcs11"]), None);
/// ```
pub fn did_you_mean<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    nearest(name, &known).map(meant)
}

/// The same where the name that was probably meant is known.
pub fn meant(nearest: &str) -> String {
    format!("did you mean {}?", escaped(nearest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        enum Layer {
            #[error("chain is invalid,")]
            Led(#[source] Box<Layer>),
            #[error("outer")]
            Outer(#[source] Box<Layer>),
            #[error(transparent)]
            Through(Box<Layer>),
            #[error("inner")]
            Inner(#[source] io::Error),
        }
        let told = |error: Layer| WithCauses(&error).to_string();
        let inner = || Box::new(Layer::Inner(io::Error::from_raw_os_error(13)));
        assert_eq!(told(*inner()), "inner: permission denied");
        assert_eq!(
            told(Layer::Led(inner())),
            "chain is invalid, inner: permission denied"
        );
        let through = Layer::Through(Box::new(Layer::Outer(inner())));
        assert_eq!(told(through), "outer: inner: permission denied");
    }

    #[test]
    fn errors_of_the_operating_system() {
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        assert_eq!(io_text(&exists), "file exists");
        let none = io::Error::from_raw_os_error(2);
        assert_eq!(io_text(&none), "no such file or directory");
        assert_eq!(io_text(&io::Error::other("Odd")), "odd");
    }

    /// SEC-29: every control, and each mark of the Unicode standard's annex 9 that turns direction.
    #[test]
    fn sec_29_the_list() {
        let controls = (0..0x20).chain(0x7f..0xa0);
        let directions = [0x61c, 0x200e, 0x200f]
            .into_iter()
            .chain(0x202a..=0x202e)
            .chain(0x2066..=0x2069);
        for code in controls.chain(directions).chain([0x2028, 0x2029, 0xfeff]) {
            let c = char::from_u32(code).unwrap();
            assert!(is_dangerous(c), "{code:x}");
            assert!(escaped(&format!("a{c}b")).is_ascii(), "{code:x}");
        }
        assert_eq!(escaped("a\x1b[2Jb\nc\u{9b}é"), "a\\u{1b}[2Jb\\nc\\u{9b}é");
        let plain = "Zwei Wörter, 漢字, العربية, \u{301}\u{20ac}~";
        assert_eq!(escaped(plain), plain);
        assert_eq!(escaped_but("a\nb\tc\r", "\n\t"), "a\nb\tc\\r");
    }
}
