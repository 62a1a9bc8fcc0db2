//! Settings that all these plugins know, and where they look beside them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hardsign_plugin::proto::{CreateKeyRequest, Setting};
use hardsign_plugin::text::names_after;
use hardsign_plugin::{Context, Error, KeyRequest};

/// The settings of a plugin for a key management service, for its metadata: its own, by name and meaning, and
/// those that all of them have.
pub fn settings(own: &[(&str, &str)]) -> Vec<Setting> {
    let own = own
        .iter()
        .map(|(name, meaning)| Setting::new(name, meaning));
    own.chain([
        Setting::path(
            "cert-chain",
            "a file with the signer's certificate and those above it, in PEM or DER",
        ),
        Setting::new(
            "rate",
            "the most requests per second, for a quota that is shared",
        ),
        Setting::new(
            "max-in-flight",
            "the most requests under way at once, from 1 to 256; 64 if it is not set, and no more than three times rate",
        ),
    ])
    .collect()
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

/// A key of a service asks nobody for a PIN or a touch.
///
/// # Errors
/// The request wants a policy for them.
pub fn no_policies(service: &str, request: &CreateKeyRequest) -> Result<(), Error> {
    if request.pin_policy.is_none() && request.touch_policy.is_none() {
        return Ok(());
    }
    Err(Error::validation(format!(
        "keys in {service} ask for neither a PIN nor a touch"
    ))
    .with_hint("leave the policy out; who may sign is a matter of the service's permissions"))
}

/// The names for a new key beside another, in the order in which they are tried: NAME-2, NAME-3 and so on;
/// after NAME-2, the numbers that follow.
pub fn names_beside(name: &str) -> impl Iterator<Item = String> + use<> {
    names_after(name).take(MAX_BESIDE)
}

/// The most names that are tried.
const MAX_BESIDE: usize = 50;

/// The error where each of the [`names_beside`] a key is one of a key that is there.
pub fn none_beside(name: &str) -> Error {
    Error::validation(format!(
        "no name for a new key beside {name} is free: {MAX_BESIDE} were tried"
    ))
    .with_hint("choose one with --id")
}

/// An environment variable; an empty one counts as absent, and so does one that is no UTF-8.
#[allow(
    clippy::disallowed_methods,
    reason = "the services' own variables are read here, and nowhere else in the plugins"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Checks that a setting is the address of a service: `https://HOST`, or `http://HOST` for what is
/// nearby.
///
/// # Errors
/// It is none, or there is a login in it. `example` is a right one, for the hint.
pub fn check_endpoint(endpoint: &str, example: &str) -> Result<(), Error> {
    let wrong = |what: &str| {
        Err(Error::validation(format!("the endpoint {what}"))
            .with_hint(format!("write it as {example}")))
    };
    let Some(rest) = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"))
    else {
        return wrong("does not start with https:// or http://");
    };
    if rest.contains('@') {
        return wrong("has a login in it");
    }
    let junk = |c: char| c.is_whitespace() || c.is_control() || "?#\\".contains(c);
    if rest.is_empty() || rest.starts_with(['/', ':']) || rest.contains(junk) {
        return wrong("is not a valid address");
    }
    Ok(())
}

/// Tells the user if credentials or signatures go over a network without TLS.
pub fn warn_without_tls(endpoint: &str, context: &Context<'_>) {
    let Some(rest) = endpoint.strip_prefix("http://") else {
        return;
    };
    let host = rest.split('/').next().unwrap_or_default();
    if !is_loopback(host) {
        context.notice(&format!("requests go to {host} without TLS"), None);
    }
}

/// Whether a host, with its port or without, is this machine.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Reads a file of at most 1 MiB.
///
/// # Errors
/// It can't be read, or it is larger. The message names it as `what`.
pub fn file(what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| {
        Error::validation(format!("{what} {} can't be read: {error}", path.display()))
            .with_hint("check the path, and that this user may read what is there")
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
    fn a_new_key_has_the_next_name() {
        let first = |name: &str| names_beside(name).next().unwrap();
        for (name, next) in [
            ("release", "release-2"),
            ("release-2", "release-3"),
            ("release-v2", "release-v2-2"),
            ("-2", "-2-2"),
            ("alias/team/release", "alias/team/release-2"),
        ] {
            assert_eq!(first(name), next);
        }
        assert_eq!(names_beside("k").nth(1).unwrap(), "k-3");
        assert!(first(&format!("k-{}", u32::MAX)).starts_with("k-"));
        assert!(names_beside("k").count() < 100);
    }

    #[test]
    fn an_endpoint_is_an_address_without_a_login() {
        for good in ["https://kms.example.com", "http://127.0.0.1:4566/x"] {
            check_endpoint(good, "https://HOST").unwrap();
        }
        for bad in [
            "",
            "kms.example.com",
            "ftp://h",
            "https://",
            "https:///x",
            "https://u:s3cret@h",
            "https://h?x",
            "https://h x",
        ] {
            let error = check_endpoint(bad, "https://HOST").unwrap_err();
            assert!(!format!("{error:?}").contains("s3cret"), "{bad}");
        }
        for (host, loopback) in [
            ("localhost", true),
            ("LOCALHOST:4566", true),
            ("127.0.0.2:1", true),
            ("[::1]:8200", true),
            ("::1.example.com", false),
            ("localhost.example.com", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), loopback, "{host}");
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
