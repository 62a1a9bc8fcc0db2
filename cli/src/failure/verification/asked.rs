//! What was to be verified, and the commands that are about the same thing.

use hardsign_core::verify::Compared;

/// How an artifact or file was named.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked<'a> {
    /// An artifact, and the flags by which it is reached.
    Artifact {
        /// In a layout.
        layout: bool,
        /// In a registry without TLS.
        insecure: bool,
    },
    /// A file.
    Blob {
        /// As it was typed.
        name: &'a str,
        /// Its signature files.
        files: &'a [String],
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

    fn flags(&self) -> &'static str {
        match self {
            Self::Artifact { layout: true, .. } => " --oci-layout",
            Self::Artifact { insecure: true, .. } => " --insecure-registry",
            _ => "",
        }
    }

    /// Shows the signatures.
    pub(super) fn inspect(&self, reference: &str, file: Option<&str>) -> String {
        match self {
            Self::Artifact { .. } => {
                format!("hardsign inspect{} {}", self.flags(), quoted(reference))
            }
            Self::Blob { .. } => format!(
                "hardsign blob inspect {}",
                quoted(file.unwrap_or("FILE.sig"))
            ),
        }
    }

    /// Signs it.
    pub(super) fn sign(&self, reference: &str, file: Option<&str>) -> String {
        match (self, file) {
            (Self::Artifact { .. }, _) => {
                format!("hardsign sign{} {}", self.flags(), quoted(reference))
            }
            (Self::Blob { .. }, Some(_)) => {
                format!("hardsign blob sign --force {}", quoted(reference))
            }
            (Self::Blob { .. }, None) => format!("hardsign blob sign {}", quoted(reference)),
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
        let statement = quoted(&compared.statement);
        let name = name_for(&compared.signer.subject);
        match self {
            Self::Artifact { .. } => {
                let which = match several {
                    true => format!(" --fingerprint {}", compared.signer.sha256),
                    false => String::new(),
                };
                format!(
                    "hardsign policy add-signer {name} --statement {statement}{} --from {}{which}",
                    self.flags(),
                    quoted(reference)
                )
            }
            Self::Blob { .. } => format!(
                "hardsign blob policy add-signer {name} --statement {statement} --from {}",
                quoted(file.unwrap_or("FILE.sig"))
            ),
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

/// A word for the shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_typed() {
        assert_eq!(quoted("a.example/b@sha256:0"), "a.example/b@sha256:0");
        assert_eq!(quoted("my file"), "'my file'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(name_for("CN=signer rsa4096,O=x"), "signer-rsa4096");
        assert_eq!(name_for("O=x"), "signer");
        assert_eq!(name_for("CN=../..,O=x"), "signer");
    }
}
