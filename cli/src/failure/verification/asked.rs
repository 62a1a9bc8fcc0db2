//! What was to be verified, and the commands that are about the same thing.

use hardsign_core::verify::Compared;

use crate::args::command;

/// How an artifact or file was named.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    /// An artifact.
    Artifact {
        /// The flags by which it is reached.
        flags: &'a [String],
        /// The policy for this run alone, in place of the user's.
        policy: Option<&'a str>,
    },
    /// A file.
    Blob {
        /// As it was typed.
        name: &'a str,
        /// Its signature files.
        files: &'a [String],
        /// The policy for this run alone, in place of the user's.
        policy: Option<&'a str>,
    },
}

impl Asked<'_> {
    /// The signature files, of a file.
    pub(super) fn files(&self) -> &[String] {
        match self {
            Self::Artifact { .. } => &[],
            Self::Blob { files, .. } => files,
        }
    }

    /// The policy for this run alone.
    pub(super) fn policy(&self) -> Option<&str> {
        match self {
            Self::Artifact { policy, .. } | Self::Blob { policy, .. } => *policy,
        }
    }

    /// A command about an artifact: what goes before its flags, and what comes after them.
    fn about(&self, before: &[&str], after: &[&str]) -> String {
        let flags: &[String] = match self {
            Self::Artifact { flags, .. } => flags,
            Self::Blob { .. } => &[],
        };
        let flags = flags.iter().map(String::as_str);
        let words = before.iter().copied().chain(flags);
        command(words.chain(after.iter().copied()))
    }

    /// Shows the signatures.
    pub(super) fn inspect(&self, reference: &str, file: Option<&str>) -> String {
        match self {
            Self::Artifact { .. } => self.about(&["hardsign", "inspect"], &[reference]),
            Self::Blob { .. } => {
                command(["hardsign", "blob", "inspect", file.unwrap_or("FILE.sig")])
            }
        }
    }

    /// Signs it.
    pub(super) fn sign(&self, reference: &str, file: Option<&str>) -> String {
        match (self, file) {
            (Self::Artifact { .. }, _) => self.about(&["hardsign", "sign"], &[reference]),
            (Self::Blob { .. }, Some(_)) => {
                command(["hardsign", "blob", "sign", "--force", reference])
            }
            (Self::Blob { .. }, None) => command(["hardsign", "blob", "sign", reference]),
        }
    }

    /// Trusts its signer, under the statement that was applied.
    pub(super) fn add_signer(
        &self,
        compared: &Compared,
        reference: &str,
        file: Option<&str>,
        several: bool,
    ) -> String {
        let name = name_for(&compared.signer.subject);
        let to = ["add-signer", &name, "--statement", &compared.statement];
        match self {
            Self::Artifact { .. } => {
                let mut after = vec!["--from", reference];
                if several {
                    after.extend(["--fingerprint", &compared.signer.sha256]);
                }
                self.about(&[&["hardsign", "policy"][..], &to[..]].concat(), &after)
            }
            Self::Blob { .. } => {
                let from = ["--from", file.unwrap_or("FILE.sig")];
                command([&["hardsign", "blob", "policy"][..], &to[..], &from[..]].concat())
            }
        }
    }
}

/// A name for a signer, out of its common name.
fn name_for(subject: &str) -> String {
    let common = subject
        .split(',')
        .find_map(|part| part.trim().strip_prefix("CN="));
    let name: String = common
        .unwrap_or_default()
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
            _ => '-',
        })
        .take(40)
        .collect();
    match name.trim_matches(['-', '.']) {
        "" => "signer".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_common_names() {
        assert_eq!(name_for("CN=signer rsa4096,O=x"), "signer-rsa4096");
        assert_eq!(name_for("O=x"), "signer");
        assert_eq!(name_for("CN=../..,O=x"), "signer");
    }
}
