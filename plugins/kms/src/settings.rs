//! Settings that all these plugins know, and where they look beside them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hardsign_plugin::proto::Setting;
use hardsign_plugin::{Error, KeyRequest};

/// The settings that every key management plugin has: name and meaning.
pub const COMMON: [(&str, &str); 3] = [
    (
        "cert-chain",
        "a file with the signer's certificate and those above it, in PEM or DER",
    ),
    (
        "rate",
        "the most requests per second, for a quota that is shared",
    ),
    (
        "max-in-flight",
        "the most requests under way at once, from 1 to 256; 64 if it is not set",
    ),
];

/// The settings of [`COMMON`], for metadata.
pub fn common() -> impl Iterator<Item = Setting> {
    COMMON.into_iter().map(|(name, meaning)| match name {
        "cert-chain" => Setting::path(name, meaning),
        _ => Setting::new(name, meaning),
    })
}

/// The largest file that a setting may name.
const MAX_FILE: u64 = 1 << 20;

/// A setting that is a number from 1 to `most`.
///
/// # Errors
/// It is none.
pub fn number(request: &KeyRequest<'_>, name: &str, most: u32) -> Result<Option<u32>, Error> {
    let Some(text) = request.setting(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ => Err(Error::validation(format!(
            "setting {name} is {text:?}; it must be a number from 1 to {most}"
        ))),
    }
}

/// An environment variable; an empty one counts as absent, and so does one that is no UTF-8.
#[allow(
    clippy::disallowed_methods,
    reason = "the services' own variables are read here, and nowhere else in the plugins"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a file of at most 1 MiB.
///
/// # Errors
/// It can't be read, or it is larger. The message names it as `what`.
pub fn file(what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| {
        Error::validation(format!("{what} {} can't be read: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(Error::validation(format!(
            "{what} {} is larger than {MAX_FILE} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Purpose;
    use hardsign_plugin::proto::PluginConfig;

    use super::*;

    #[test]
    fn numbers_have_bounds() {
        let ask = |text: &str| {
            let config = PluginConfig::from([("rate".to_owned(), text.to_owned())]);
            number(&KeyRequest::new("k", &config, Purpose::Sign), "rate", 10)
        };
        assert_eq!(ask("10"), Ok(Some(10)));
        assert_eq!(ask(""), Ok(None));
        for bad in ["0", "11", "-1", "1.5", "ten"] {
            assert!(
                ask(bad).unwrap_err().to_string().contains("from 1 to 10"),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = file("certificate file", Path::new("/nowhere/c.pem")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("certificate file /nowhere/c.pem can't be read")
        );
    }
}
