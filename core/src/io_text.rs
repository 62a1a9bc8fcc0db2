//! Errors of the operating system as the Go reference spells them, where users and scripts see them.

use std::io;

/// An error of the operating system without its number: `no such file or directory`.
pub fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_number_and_in_lower_case() {
        assert_eq!(
            io_text(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
        assert_eq!(io_text(&io::Error::other("Odd")), "odd");
    }
}
