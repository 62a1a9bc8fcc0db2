//! Settings that a key id may say as well, and settings that are paths.

use std::path::PathBuf;

use crate::Error;
use crate::proto::PluginConfig;

/// The value of a setting, from plugin config or from the key id; both may say the same. An empty
/// one counts as absent.
///
/// # Errors
/// The two differ. The values are not told, since one may name a secret.
pub fn either(
    config: &PluginConfig,
    name: &str,
    in_key_id: Option<&str>,
) -> Result<Option<String>, Error> {
    let full = |value: &&str| !value.is_empty();
    let given = config.get(name).map(String::as_str).filter(full);
    match (given, in_key_id.filter(full)) {
        (Some(given), Some(said)) if given != said => Err(Error::validation(format!(
            "the key id and the plugin config name different values for {name}"
        ))
        .with_hint(format!("leave {name} out of one of them"))),
        (given, said) => Ok(given.or(said).map(str::to_owned)),
    }
}

/// The path in a setting, which may be written `file:/path`.
///
/// # Errors
/// It is relative: a plugin can't know relative to what. (Hosts that know the setting as a path, see
/// [`Setting::path`](crate::proto::Setting::path), have made it absolute.)
pub fn absolute_path(name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(text.strip_prefix("file:").unwrap_or(text));
    if !path.is_absolute() {
        return Err(
            Error::validation(format!("{name} {path:?} is not an absolute path"))
                .with_hint(format!("write {name}=/path/to/the/file")),
        );
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_must_be_the_same() {
        let config = PluginConfig::from([
            ("serial".to_owned(), "1".to_owned()),
            ("slot".to_owned(), String::new()),
        ]);
        let value = |name, said| either(&config, name, said).map(|value| value.unwrap_or_default());
        assert_eq!(value("serial", None).as_deref(), Ok("1"));
        assert_eq!(value("serial", Some("1")).as_deref(), Ok("1"));
        assert_eq!(value("slot", Some("9c")).as_deref(), Ok("9c"));
        assert_eq!(value("slot", None).as_deref(), Ok(""));
        let error = value("serial", Some("2")).unwrap_err();
        assert!(error.to_string().ends_with("different values for serial"));
        assert_eq!(error.hint(), Some("leave serial out of one of them"));
    }

    #[test]
    fn paths_are_absolute() {
        for text in ["/c.pem", "file:/c.pem"] {
            assert_eq!(absolute_path("cert-chain", text), Ok("/c.pem".into()));
        }
        for text in ["", "c.pem", "./c.pem", "file:c.pem"] {
            let error = absolute_path("cert-chain", text).unwrap_err();
            assert!(error.to_string().contains("not an absolute path"), "{text}");
        }
    }
}
