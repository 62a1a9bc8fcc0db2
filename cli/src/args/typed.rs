//! Commands as they can be typed, for hints.

use super::Registry;
use super::sign::{KeyChoice, Signing};

/// A command out of its words, for a shell: each word is quoted where it has to be.
pub(crate) fn command<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    let words: Vec<_> = words
        .into_iter()
        .map(|word| quoted(word.as_ref()))
        .collect();
    words.join(" ")
}

/// A word for the shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Registry {
    /// The flags by which the same registry or layout is reached again. User name and password are left out: no
    /// password is printed, and a login is found without them.
    pub(crate) fn words(&self) -> Vec<String> {
        if self.oci_layout {
            return vec!["--oci-layout".to_owned()];
        }
        let mut words = Vec::new();
        if self.insecure {
            words.push("--insecure-registry".to_owned());
        }
        let file = self.ca_file.iter().map(|file| ("--ca-file", file));
        let services = self.token_services.iter();
        for (flag, value) in file.chain(services.map(|host| ("--token-service", host))) {
            words.extend([flag.to_owned(), value.clone()]);
        }
        words
    }
}

impl Signing {
    /// The flags by which the same signature is made again.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut flag = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
        match &self.key {
            KeyChoice::Named(name) => flag("--key", name),
            KeyChoice::Direct { plugin, id } => {
                flag("--plugin", plugin);
                flag("--id", id);
            }
            KeyChoice::Default => {}
        }
        if let Some(format) = self.format {
            flag("--signature-format", format.name());
        }
        if let Some(expiry) = self.expiry {
            flag("--expiry", &format!("{}s", expiry.as_secs()));
        }
        for (name, value) in &self.plugin_config {
            flag("--plugin-config", &format!("{name}={value}"));
        }
        for (name, value) in &self.user_metadata {
            flag("--user-metadata", &format!("{name}={value}"));
        }
        if let Some(timestamp) = &self.timestamp {
            flag("--timestamp-url", &timestamp.url);
            flag("--timestamp-root-cert", &timestamp.root_certificate);
        }
        if let Some(root) = self.attest.as_ref().and_then(|attest| attest.root.as_ref()) {
            flag("--attest-root", root);
        }
        if self.attest.is_some() {
            words.push("--attest".to_owned());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::sign::SignArgs;
    use super::*;

    #[test]
    fn commands_can_be_typed() {
        for (words, typed) in [
            (vec!["a.example/b@sha256:0"], "a.example/b@sha256:0"),
            (vec!["sign", "my file"], "sign 'my file'"),
            (vec!["it's", ""], r"'it'\''s' ''"),
            (
                vec!["pkcs11:token=a;id=%01", "$(x)"],
                "'pkcs11:token=a;id=%01' '$(x)'",
            ),
        ] {
            assert_eq!(command(words), typed);
        }
    }

    fn read(words: &[String]) -> SignArgs {
        let root = super::super::definition("hardsign");
        let sign = root.find_subcommand("sign").unwrap().clone();
        let matches = sign.no_binary_name(true).try_get_matches_from(words);
        SignArgs::read(&matches.unwrap(), "hardsign").unwrap()
    }

    /// The flags lead to the same registry and to the same signature, and no password is among them.
    #[test]
    fn flags_are_typed_again() {
        let typed = [
            "--insecure-registry",
            "--ca-file",
            "my ca.pem",
            "--token-service",
            "a.example",
            "--token-service",
            "b.example",
            "--plugin",
            "acme",
            "--id",
            "it's",
            "--signature-format",
            "cose",
            "--expiry",
            "90s",
            "--plugin-config",
            "a=b=c",
            "--user-metadata",
            "x=y z",
            "--timestamp-url",
            "http://tsa.example",
            "--timestamp-root-cert",
            "tsa.pem",
            "--attest-root",
            "maker.pem",
            "--attest",
        ]
        .map(str::to_owned);
        let secret = ["--username", "u", "--password", "p", "x@sha256:0"].map(str::to_owned);
        let args = read(&[&typed[..], &secret[..]].concat());
        let words = [args.registry.words(), args.signing.words()].concat();
        assert_eq!(words, typed);
        let layout = read(&["--oci-layout", "--key", "k", "x:v1"].map(str::to_owned));
        assert_eq!(layout.registry.words(), ["--oci-layout"]);
        assert_eq!(layout.signing.words(), ["--key", "k"]);
    }
}
