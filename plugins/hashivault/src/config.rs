//! From a key id, plugin config and environment to a server, a mount and a key.

use std::path::PathBuf;

use hardsign_plugin::secret::PinSource;
use hardsign_plugin::{Error, KeyRequest};
use hardsign_plugin_kms::{KeyUri, environment, number};
use reqwest::Url;

/// Right key ids.
const EXAMPLE: &str = "NAME, hashivault://NAME or openbao://NAME";

/// Where a service account's token is mounted in a pod.
const SERVICE_ACCOUNT: &str = "file:/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Requests under way at once, unless the user says otherwise.
const IN_FLIGHT: u32 = 64;

/// Which server, how to log in, and which key.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) address: Url,
    pub(crate) namespace: Option<String>,
    pub(crate) ca_cert: Option<PathBuf>,
    pub(crate) mount: String,
    pub(crate) key: String,
    pub(crate) version: Option<u32>,
    pub(crate) login: Login,
    /// Whether the variables of OpenBao come before those of Vault.
    pub(crate) openbao: bool,
    /// The most requests a second, if the user says so.
    pub(crate) rate: Option<u32>,
    /// The most requests under way at once.
    pub(crate) in_flight: u32,
}

/// How to log in.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    /// A token that is there already.
    Token,
    /// AppRole.
    AppRole {
        mount: String,
        role_id: String,
        /// Absent for roles that need none.
        secret_id: Option<PinSource>,
    },
    /// JWT, also of a Kubernetes service account.
    Jwt {
        mount: String,
        role: String,
        jwt: PinSource,
    },
}

impl Login {
    /// Whether what is shown may be good for one login only.
    pub(crate) fn may_be_for_one_use(&self) -> bool {
        match self {
            Self::AppRole { secret_id, .. } => secret_id.is_some(),
            Self::Token | Self::Jwt { .. } => false,
        }
    }
}

impl Config {
    /// Reads key id, config and environment. An empty key means the engine, not a key.
    pub(crate) fn read(request: &KeyRequest<'_>) -> Result<Self, Error> {
        let uri = KeyUri::read(request.key_id, &["hashivault", "openbao"], EXAMPLE)?;
        if let Some(uri) = &uri {
            uri.only(&[])?;
        }
        let openbao = uri.as_ref().is_some_and(|uri| uri.scheme == "openbao");
        let key = uri.map_or_else(|| request.key_id.to_owned(), |uri| uri.whole());
        let mount = request.setting("mount").map(str::to_owned);
        let mount = mount.or_else(|| environment("TRANSIT_SECRET_ENGINE_PATH"));
        let mount = mount.unwrap_or_else(|| "transit".to_owned());
        Ok(Self {
            address: address(request, openbao)?,
            namespace: named(request, "namespace", "NAMESPACE", openbao),
            ca_cert: named(request, "ca-cert", "CACERT", openbao).map(PathBuf::from),
            mount: path("mount", mount.trim_matches('/'))?,
            key: if key.is_empty() {
                key
            } else {
                segment("key", &key)?
            },
            version: number(request, "version", u32::MAX)?,
            login: login(request)?,
            openbao,
            rate: number(request, "rate", 10_000)?,
            in_flight: number(request, "max-in-flight", 256)?.unwrap_or(IN_FLIGHT),
        })
    }

    /// # Errors
    /// The key id names no key.
    pub(crate) fn named(self) -> Result<Self, Error> {
        if self.key.is_empty() {
            return Err(Error::validation("the key id names no key")
                .with_hint(format!("write it as {EXAMPLE}")));
        }
        Ok(self)
    }

    /// The key as messages name it.
    pub(crate) fn display(&self) -> String {
        format!("key {:?} of {}", self.key, self.place())
    }

    /// The engine as messages name it.
    pub(crate) fn place(&self) -> String {
        let host = self.address.host_str().unwrap_or_default();
        format!("{}/ on {host}", self.mount)
    }
}

/// The environment variables of the servers' own tools for this, in the order in which they are looked at.
pub(crate) fn names(name: &str, openbao: bool) -> [String; 2] {
    let prefixes = match openbao {
        true => ["BAO", "VAULT"],
        false => ["VAULT", "BAO"],
    };
    prefixes.map(|prefix| format!("{prefix}_{name}"))
}

/// An environment variable of the server's own tools.
pub(crate) fn variable(name: &str, openbao: bool) -> Option<String> {
    names(name, openbao)
        .iter()
        .find_map(|name| environment(name))
}

fn named(request: &KeyRequest<'_>, setting: &str, name: &str, openbao: bool) -> Option<String> {
    let given = request.setting(setting).map(str::to_owned);
    given.or_else(|| variable(name, openbao))
}

fn address(request: &KeyRequest<'_>, openbao: bool) -> Result<Url, Error> {
    let text = named(request, "address", "ADDR", openbao).ok_or_else(|| {
        let [first, second] = names("ADDR", openbao);
        Error::validation(format!(
            "no address of the server is known; looked in the setting address, {first} and {second}"
        ))
        .with_hint(format!(
            "set {first}, or add --plugin-config address=https://HOST:8200"
        ))
    })?;
    let wrong = |why: &str| {
        Error::validation(format!("the server's address {text:?} is {why}"))
            .with_hint("write https://HOST:8200")
    };
    let url: Url = text.parse().map_err(|_| wrong("no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::validation("the server's address has a login in it")
            .with_hint("leave it out: logins are for the setting login"));
    }
    match url.scheme() {
        "https" | "http" if url.host_str().is_some() => Ok(url),
        _ => Err(wrong("not an http or https address")),
    }
}

fn login(request: &KeyRequest<'_>) -> Result<Login, Error> {
    let method = request.setting("login").unwrap_or("token");
    let wanted = |name: &str| {
        let given = request.setting(name).map(str::to_owned);
        given.ok_or_else(|| Error::validation(format!("login {method} needs the setting {name}")))
    };
    let source = |name: &str| {
        let text = request.setting(name);
        text.map(|text| secret_source(name, text)).transpose()
    };
    let mount = request.setting("login-mount").unwrap_or(method);
    let mount = path("login-mount", mount.trim_matches('/'))?;
    match method {
        "token" => Ok(Login::Token),
        "approle" => Ok(Login::AppRole {
            mount,
            role_id: wanted("role-id")?,
            secret_id: source("secret-id")?,
        }),
        "jwt" => Ok(Login::Jwt {
            mount,
            role: wanted("role")?,
            jwt: secret_source("jwt", &wanted("jwt")?)?,
        }),
        "kubernetes" => Ok(Login::Jwt {
            mount,
            role: wanted("role")?,
            jwt: match source("jwt")? {
                Some(jwt) => jwt,
                None => secret_source("jwt", SERVICE_ACCOUNT)?,
            },
        }),
        other => Err(Error::validation(format!("unknown login method {other:?}"))
            .with_hint("the methods are token, approle, jwt and kubernetes")),
    }
}

/// A secret is named by where it is, never given itself.
fn secret_source(name: &str, text: &str) -> Result<PinSource, Error> {
    match text.parse() {
        Ok(
            source @ (PinSource::Environment(_) | PinSource::File(_) | PinSource::Descriptor(_)),
        ) => Ok(source),
        _ => Err(
            Error::validation(format!("setting {name} does not say where the secret is"))
                .with_hint(format!("write {name}=env:NAME or {name}=file:/path")),
        ),
    }
}

/// A mount path: segments with slashes between them.
fn path(what: &str, text: &str) -> Result<String, Error> {
    for part in text.split('/') {
        segment(what, part)?;
    }
    Ok(text.to_owned())
}

/// One segment of a path of the server.
fn segment(what: &str, text: &str) -> Result<String, Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 200 || !text.chars().all(legal) || text.starts_with('.') {
        return Err(Error::validation(format!("{text:?} can't be the {what}"))
            .with_hint("names have letters, digits, hyphens, underscores and dots"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Purpose;
    use hardsign_plugin::proto::PluginConfig;

    use super::*;

    fn read(id: &str, config: &[(&str, &str)]) -> Result<Config, Error> {
        let mut config: PluginConfig = config
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        config
            .entry("address".to_owned())
            .or_insert_with(|| "https://vault.example.com:8200".to_owned());
        Config::read(&KeyRequest::new(id, &config, Purpose::Sign))
    }

    #[test]
    fn every_form_that_people_have() {
        for id in ["release", "hashivault://release", "openbao://release"] {
            let config = read(id, &[("mount", "/team/transit/"), ("version", "3")]).unwrap();
            assert_eq!(
                (config.key.as_str(), config.mount.as_str()),
                ("release", "team/transit")
            );
            assert_eq!(config.version, Some(3));
        }
        assert!(read("openbao://release", &[]).unwrap().openbao);
    }

    #[test]
    fn secrets_are_named_and_not_given() {
        let login = [
            ("login", "approle"),
            ("role-id", "r"),
            ("secret-id", "s3cret"),
        ];
        let error = read("k", &login).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
        assert!(error.hint().unwrap_or_default().contains("env:NAME"));
    }

    #[test]
    fn junk_is_refused() {
        for (id, config, what) in [
            ("awskms://k", &[][..], "scheme \"awskms\""),
            ("hashivault://k?version=1", &[], "\"version\""),
            ("a/b", &[], "the key"),
            ("..", &[], "the key"),
            ("k", &[("mount", "a//b")], "the mount"),
            ("k", &[("mount", "../sys")], "the mount"),
            ("k", &[("address", "vault.example.com")], "address"),
            (
                "k",
                &[("address", "https://u:p@vault.example.com")],
                "login in it",
            ),
            ("k", &[("login", "ldap")], "login method"),
            ("k", &[("login", "jwt")], "needs the setting role"),
            ("k", &[("version", "latest")], "version"),
            ("k", &[("rate", "0")], "setting rate"),
            ("k", &[("max-in-flight", "257")], "setting max-in-flight"),
        ] {
            let error = read(id, config).unwrap_err();
            assert!(error.to_string().contains(what), "{id}: {error}");
        }
        assert!(read("", &[]).unwrap().named().is_err());
    }
}
