//! containerd's configuration of registries: `certs.d/<host>/hosts.toml`, which names mirrors, certificates
//! and headers, or certificates alone in the layout that Docker has for them.
//!
//! Whoever verifies what containerd pulls asks the same hosts in the same order: those of the file as they
//! stand in it, then its `server`, else the registry itself. A host is asked if it may serve pulls. As
//! with containerd, a file that can't be read as TOML counts for nothing; [`Hosts::fault`] tells of it.
//!
//! One difference: `skip_verify` is not followed. A certificate that is not trusted ends the connection,
//! since credentials may go over it; `ca` names the certificate to trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};
use zeroize::Zeroizing;

use super::registry::{ConnectorOptions, Endpoint};
use crate::artifact::Quoted;
use crate::artifact::reference::{RepositoryName, normal_registry};
use crate::config::{FileError, read_named};
use crate::json::go;
use crate::net::{HeaderMap, HeaderName, HeaderValue, TlsIdentity, Url};

/// Largest `hosts.toml`, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// Largest file of certificates or a key, in bytes.
const MAX_CERTIFICATES: u64 = 16 * 1024 * 1024;
/// Most hosts of one registry.
const MAX_HOSTS: usize = 32;

/// Where one registry is asked.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Hosts {
    /// The directory that says so, if there is one.
    pub directory: Option<PathBuf>,
    /// The hosts, the first to be asked first. None of them is an error of the configuration.
    pub hosts: Vec<RegistryHost>,
    /// Why its `hosts.toml` counts for nothing.
    pub fault: Option<String>,
}

/// A host that is asked for a registry.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RegistryHost {
    /// Its address; `None` for the registry itself, at the address that its name stands for.
    pub endpoint: Option<Endpoint>,
    /// Certificates that are trusted beside the system's.
    pub ca: Vec<PathBuf>,
    /// A certificate of this machine's own, and the key, where it is not in the same file.
    pub client: Option<(PathBuf, Option<PathBuf>)>,
    /// Whether containerd trusts any certificate there.
    pub skip_verify: bool,
    /// How long a connection may take.
    pub dial_timeout: Option<Duration>,
}

/// Why the configuration of a registry can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostsError {
    /// A file or directory can't be read.
    #[error("failed to read the configuration of the registry {registry}")]
    File {
        /// The registry.
        registry: String,
        /// What was read, and what the system said.
        #[source]
        source: FileError,
    },
    /// No host may serve pulls.
    #[error("{}: no host there has the capability \"pull\"", directory.display())]
    NoHost {
        /// The directory.
        directory: PathBuf,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HostTable {
    capabilities: Vec<String>,
    ca: Option<Value>,
    client: Option<Value>,
    skip_verify: bool,
    header: Table,
    override_path: bool,
    dial_timeout: Option<String>,
}

/// Finds the configuration of a registry in directories such as `/etc/containerd/certs.d`; the first that has
/// one counts.
///
/// # Errors
/// [`HostsError`]. No configuration is no error: the registry itself is asked.
pub fn find(roots: &[PathBuf], registry: &str) -> Result<Hosts, HostsError> {
    let places = roots.iter().flat_map(|root| directories(root, registry));
    let Some(directory) = places.into_iter().find(|place| place.exists()) else {
        return Ok(Hosts {
            hosts: vec![RegistryHost::default()],
            ..Hosts::default()
        });
    };
    let file = directory.join("hosts.toml");
    let failed = |source| HostsError::File {
        registry: registry.to_owned(),
        source,
    };
    let bytes = match read_named(&file, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let mut fault = None;
    let read = match bytes.is_empty() {
        true => None,
        false => parse(&bytes, &directory, registry)
            .map_err(|error| fault = Some(format!("{}: {error}", file.display())))
            .ok(),
    };
    let hosts = match read {
        Some(hosts) => hosts,
        None => vec![certificates(&directory).map_err(failed)?],
    };
    if hosts.is_empty() {
        return Err(HostsError::NoHost { directory });
    }
    Ok(Hosts {
        directory: Some(directory),
        hosts,
        fault,
    })
}

/// The directories for a registry below one root, in containerd's order.
fn directories(root: &Path, registry: &str) -> Vec<PathBuf> {
    let mut names = Vec::new();
    if let Some((host, port)) = registry.rsplit_once(':')
        && !port.contains(']')
    {
        names.push(format!("{host}_{port}_"));
    }
    names.extend([registry.to_owned(), "_default".to_owned()]);
    names.into_iter().map(|name| root.join(name)).collect()
}

fn parse(bytes: &[u8], directory: &Path, registry: &str) -> Result<Vec<RegistryHost>, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut file: Table = text
        .parse()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    let mut hosts = Vec::new();
    if let Some(tables) = file.remove("host") {
        let Value::Table(tables) = tables else {
            return Err("\"host\" is no table".to_owned());
        };
        if tables.len() > MAX_HOSTS {
            return Err(format!("more than {MAX_HOSTS} hosts"));
        }
        for (address, table) in tables {
            let host = RegistryHost::read(&address, table, directory, registry);
            hosts.push(host.map_err(|error| format!("host {}: {error}", Quoted(&address)))?);
        }
    }
    let server = match file.remove("server") {
        None => String::new(),
        Some(Value::String(server)) => server,
        Some(_) => return Err("\"server\" is no string".to_owned()),
    };
    // Where no server is named, it is the registry itself, which may serve everything.
    let (last, pulls) = RegistryHost::read(&server, Value::Table(file), directory, registry)?;
    hosts.push((last, pulls || server.is_empty()));
    let pulling = hosts.into_iter().filter(|(_, pulls)| *pulls);
    Ok(pulling.map(|(host, _)| host).collect())
}

/// What stands beside no `hosts.toml`: `*.crt` are trusted, `*.cert` with `*.key` are this machine's.
fn certificates(directory: &Path) -> Result<RegistryHost, FileError> {
    let mut host = RegistryHost::default();
    if !directory.is_dir() {
        return Ok(host);
    }
    let entries = fs::read_dir(directory).map_err(FileError::io("read", directory))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files.into_iter().filter(|file| !file.is_dir()) {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => host.ca.push(file),
            Some("cert") if host.client.is_none() => {
                let key = Some(file.with_extension("key")).filter(|key| key.exists());
                host.client = Some((file, key));
            }
            _ => {}
        }
    }
    Ok(host)
}

impl RegistryHost {
    /// A host of the file, and whether it may serve pulls.
    fn read(
        address: &str,
        table: Value,
        directory: &Path,
        registry: &str,
    ) -> Result<(Self, bool), String> {
        let table: HostTable = table
            .try_into()
            .map_err(|error: toml::de::Error| error.message().to_owned())?;
        let mut serves = table.capabilities.is_empty();
        for capability in &table.capabilities {
            match capability.to_ascii_lowercase().as_str() {
                "pull" | "referrers" => serves = true,
                "resolve" | "push" => {}
                _ => return Err(format!("unknown capability {}", Quoted(capability))),
            }
        }
        let mut endpoint = match address {
            "" => None,
            address => Some(endpoint(address, table.override_path, registry)?),
        };
        let (headers, authorization) = headers(&table.header)?;
        if let Some(endpoint) = &mut endpoint {
            endpoint.headers = headers;
            endpoint.authorization = authorization;
        }
        let dial_timeout = match &table.dial_timeout {
            None => None,
            Some(text) => match go::duration(text) {
                Some(time) => Some(time),
                None => return Err(format!("dial_timeout {} is no duration", Quoted(text))),
            },
        };
        let place = |path: &str| directory.join(path);
        let host = Self {
            endpoint,
            ca: match &table.ca {
                None => vec![],
                Some(ca) => strings(ca, "ca")?.into_iter().map(place).collect(),
            },
            client: match &table.client {
                None => None,
                Some(client) => pair(client, place)?,
            },
            skip_verify: table.skip_verify,
            dial_timeout,
        };
        Ok((host, serves))
    }

    /// The options of a run, for this host.
    ///
    /// # Errors
    /// A file with a certificate or a key can't be read.
    pub fn options(&self, run: &ConnectorOptions) -> Result<ConnectorOptions, FileError> {
        let mut options = run.clone();
        options.endpoint.clone_from(&self.endpoint);
        for path in &self.ca {
            let pem = read_named(path, MAX_CERTIFICATES)?;
            options.client.extra_roots.push(pem);
        }
        if let Some((certificate, key)) = &self.client {
            let mut pem = Zeroizing::new(read_named(certificate, MAX_CERTIFICATES)?);
            if let Some(key) = key {
                let key = Zeroizing::new(read_named(key, MAX_CERTIFICATES)?);
                let mut both = Zeroizing::new(Vec::with_capacity(pem.len() + key.len() + 1));
                both.extend_from_slice(&pem);
                both.push(b'\n');
                both.extend_from_slice(&key);
                pem = both;
            }
            options.client.identity = Some(TlsIdentity::new(pem));
        }
        if let Some(time) = self.dial_timeout {
            options.client.limits.connect = time;
        }
        Ok(options)
    }

    /// The repository as this host is asked for it: a name for messages and for nothing else.
    pub fn name(&self, repository: &RepositoryName) -> String {
        match self.endpoint.as_ref().and_then(Endpoint::registry) {
            Some(registry) => registry,
            None => repository.registry().to_owned(),
        }
    }
}

/// The address of a host: `/v2` is added to its path, unless that says otherwise.
fn endpoint(address: &str, override_path: bool, registry: &str) -> Result<Endpoint, String> {
    let wrong = || format!("{} is no address of a host", Quoted(address));
    let address = match address.starts_with("http") {
        true => address.to_owned(),
        false => format!("https://{address}"),
    };
    let mut url: Url = address.parse().map_err(|_| wrong())?;
    let path = url.path().trim_end_matches('/').to_owned();
    if !override_path && !path.ends_with("/v2") {
        url.set_path(&format!("{path}/v2"));
    }
    let mut endpoint = Endpoint::new(url).ok_or_else(wrong)?;
    let own = normal_registry(registry);
    endpoint.namespace = match endpoint.registry() == own {
        true => None,
        false => Some(registry.to_owned()),
    };
    Ok(endpoint)
}

/// Headers of a host; `Authorization` apart, since the registry may ask for another.
fn headers(table: &Table) -> Result<(HeaderMap, Option<HeaderValue>), String> {
    let mut headers = HeaderMap::new();
    let mut authorization = None;
    for (name, values) in table {
        let wrong = || format!("header {} can't be sent", Quoted(name));
        let header: HeaderName = name.parse().map_err(|_| wrong())?;
        for text in strings(values, name)? {
            let mut value: HeaderValue = text.parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            match header.as_str() {
                "authorization" => authorization = Some(value),
                _ => drop(headers.append(header.clone(), value)),
            }
        }
    }
    Ok((headers, authorization))
}

/// A string, or an array of them.
fn strings<'a>(value: &'a Value, name: &str) -> Result<Vec<&'a str>, String> {
    let wrong = || format!("{} is no string and no array of strings", Quoted(name));
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().ok_or_else(wrong));
            texts.collect()
        }
        _ => Err(wrong()),
    }
}

/// `client`: one file with both, files with both, or pairs of files. The first is used.
fn pair(
    value: &Value,
    place: impl Fn(&str) -> PathBuf,
) -> Result<Option<(PathBuf, Option<PathBuf>)>, String> {
    let first = match value {
        Value::Array(values) => match values.first() {
            None => return Ok(None),
            Some(first) => first,
        },
        one => one,
    };
    match strings(first, "client")?.as_slice() {
        [both] => Ok(Some((place(both), None))),
        [certificate, key] => Ok(Some((place(certificate), Some(place(key))))),
        _ => Err("\"client\" has no pairs of certificate and key".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<RegistryHost>, String> {
        parse(text.as_bytes(), Path::new("/certs.d/r"), "r.example")
    }

    fn bases(hosts: &[RegistryHost]) -> Vec<Option<&str>> {
        let endpoints = hosts.iter().map(|host| host.endpoint.as_ref());
        endpoints
            .map(|endpoint| endpoint.map(|e| e.base.as_str()))
            .collect()
    }

    /// containerd's order: as they stand in the file, then the server.
    #[test]
    fn hosts_stand_in_the_order_of_the_file() {
        let hosts = read(
            r#"server = "https://r.example"
            [host."https://z.mirror"]
            capabilities = ["pull", "resolve"]
            [host."https://z.mirror".header]
            X-Token = "secret"
            [host."http://a.mirror:5000/proxy"]
            ca = ["own.pem", "/etc/ca.pem"]
            client = [["c.pem", "k.pem"]]
            dial_timeout = "200ms"
            [host."push.mirror"]
            capabilities = ["push"]
            [host."https://o.mirror/api/"]
            override_path = true
            skip_verify = true"#,
        )
        .unwrap();
        assert_eq!(
            bases(&hosts),
            [
                Some("https://z.mirror/v2/"),
                Some("http://a.mirror:5000/proxy/v2/"),
                Some("https://o.mirror/api/"),
                Some("https://r.example/v2/"),
            ]
        );
        let [z, a, o, r] = hosts.as_slice() else {
            panic!("{hosts:?}");
        };
        let endpoint = |host: &RegistryHost| host.endpoint.clone().unwrap();
        assert_eq!(endpoint(z).headers.len(), 1);
        assert!(!format!("{z:?}").contains("secret"));
        assert_eq!(endpoint(z).namespace.as_deref(), Some("r.example"));
        assert_eq!(endpoint(r).namespace, None);
        assert_eq!(
            a.ca,
            [Path::new("/certs.d/r/own.pem"), Path::new("/etc/ca.pem")]
        );
        let key = Path::new("/certs.d/r/k.pem").to_owned();
        assert_eq!(a.client.as_ref().unwrap().1.as_ref(), Some(&key));
        assert_eq!(a.dial_timeout, Some(Duration::from_millis(200)));
        assert!(o.skip_verify && !z.skip_verify);
    }

    /// Where no server is named, the registry itself comes last.
    #[test]
    fn the_registry_itself_comes_last() {
        let hosts = read("[host.\"https://m.example\"]").unwrap();
        assert_eq!(bases(&hosts), [Some("https://m.example/v2/"), None]);
        let only = read("ca = \"own.pem\"").unwrap();
        assert_eq!(bases(&only), [None]);
        assert_eq!(only.first().unwrap().ca.len(), 1);
    }

    #[test]
    fn what_containerd_refuses_is_refused() {
        for (text, why) in [
            ("server = 5", "\"server\" is no string"),
            ("host = 5", "\"host\" is no table"),
            (
                "[host.\"https://m\"]\ncapabilities = [\"fly\"]",
                "unknown capability \"fly\"",
            ),
            ("[host.\"https://m\"]\nca = 5", "\"ca\" is no string"),
            (
                "[host.\"https://m\"]\ndial_timeout = \"soon\"",
                "is no duration",
            ),
            ("[host.\"https://u:p@m\"]", "is no address"),
            (
                "[host.\"https://m\".header]\n\"a b\" = \"c\"",
                "can't be sent",
            ),
            ("[host", "host"),
        ] {
            let error = read(text).err();
            assert!(
                error
                    .as_ref()
                    .is_some_and(|e| e.contains(why) || why == "host"),
                "{text}: {error:?}"
            );
        }
    }

    /// The directory of a registry, and what is in it without a file.
    #[test]
    fn directories_and_certificates() {
        let place = tempfile::tempdir().unwrap();
        let roots = [place.path().join("none"), place.path().to_owned()];
        let at = |registry: &str| find(&roots, registry).unwrap();
        assert_eq!(at("r.example:5000").directory, None);
        for name in ["_default", "r.example:5000", "r.example_5000_"] {
            let directory = place.path().join(name);
            fs::create_dir(&directory).unwrap();
            assert_eq!(at("r.example:5000").directory, Some(directory));
        }
        assert_eq!(
            at("s.example").directory,
            Some(place.path().join("_default"))
        );
        let directory = place.path().join("r.example_5000_");
        for file in ["a.crt", "c.cert", "c.key", "README"] {
            fs::write(directory.join(file), "").unwrap();
        }
        let found = at("r.example:5000");
        let host = found.hosts.first().unwrap();
        assert_eq!(host.ca, [directory.join("a.crt")]);
        assert_eq!(
            host.client,
            Some((directory.join("c.cert"), Some(directory.join("c.key"))))
        );
        assert_eq!(bases(&found.hosts), [None]);
        fs::write(directory.join("hosts.toml"), "server = [").unwrap();
        let broken = at("r.example:5000");
        assert!(broken.fault.is_some() && bases(&broken.hosts) == [None]);
        let pushing = "server = \"https://r.example:5000\"\ncapabilities = [\"push\"]";
        fs::write(directory.join("hosts.toml"), pushing).unwrap();
        let none = find(&roots, "r.example:5000").unwrap_err();
        assert!(matches!(none, HostsError::NoHost { .. }), "{none}");
    }
}
