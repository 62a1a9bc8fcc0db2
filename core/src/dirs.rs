//! Where configuration, plugins and caches live: the only reader of environment variables and
//! platform paths in this crate.
//!
//! Implements the directory structure of the reference, with one
//! difference: when no directory can be determined, nothing falls back into the working directory,
//! whose owner could then supply the trust policy. It opens no file.

// Requirements: CFG-01 to CFG-07, CFG-29, CFG-05, SEC-28.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The three directories, each with the paths below it.
// CFG-06
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dirs {
    /// `config.json`, key list, trust policies, trust stores.
    // CFG-01
    pub config: PathBuf,
    /// The directory that holds `plugins`.
    // CFG-02
    pub libexec: PathBuf,
    /// Caches; `None` when no place for them can be determined, so that a machine without a home
    /// directory can still sign and verify.
    // CFG-03
    pub cache: Option<PathBuf>,
}

/// Why no directory could be determined.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DirsError {
    /// Neither the variable of our own nor one of the platform's names a directory.
    #[error(
        "no configuration directory: none of the environment variables {} is set",
        .variables.join(", ")
    )]
    NoConfigDirectory {
        /// The variables that were looked at, in order.
        variables: Vec<&'static str>,
    },
    /// A platform variable holds a relative path.
    // CFG-04
    #[error("no configuration directory: {variable} is not an absolute path: {}", .value.display())]
    NotAbsolute {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: PathBuf,
    },
}

/// The platform whose conventions decide where a user's files live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Platform {
    Unix,
    MacOs,
    Windows,
}

impl Platform {
    const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else if cfg!(target_os = "macos") {
        Self::MacOs
    } else {
        Self::Unix
    };
}

impl Dirs {
    /// The directories of the user who runs this process.
    ///
    /// # Errors
    /// If no configuration directory can be determined. A missing cache directory is no error.
    // CFG-01 to CFG-05
    pub fn from_environment() -> Result<Self, DirsError> {
        Self::resolve(&variable, Platform::HERE)
    }

    /// The directories of a service of the machine, such as the verifier that a container runtime
    /// starts: those that our own variables name, else `/etc/notation` and `/var/cache/notation`. No
    /// home directory is looked for: under systemd there is none.
    ///
    /// # Errors
    /// A variable of our own names a relative path: the working directory is somebody else's.
    pub fn of_machine() -> Result<Self, DirsError> {
        Self::of_machine_with(variable)
    }

    /// Those of a service of the machine that has these variables.
    ///
    /// # Errors
    /// As [`Self::of_machine`].
    pub fn of_machine_with(
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, DirsError> {
        let own = |name| match variable(name).map(PathBuf::from) {
            Some(value) if !value.is_absolute() => Err(DirsError::NotAbsolute {
                variable: name,
                value,
            }),
            found => Ok(found),
        };
        let config = own("NOTATION_CONFIG")?.unwrap_or_else(|| MACHINE_CONFIG.into());
        let cache = own("NOTATION_CACHE")?.unwrap_or_else(|| MACHINE_CACHE.into());
        Ok(Self {
            libexec: own("NOTATION_LIBEXEC")?.unwrap_or_else(|| config.clone()),
            config,
            cache: Some(cache),
        })
    }

    /// All three directories below `root`: a self-contained tree, for tests and tools.
    pub fn below(root: &Path) -> Self {
        Self {
            config: root.join("config"),
            libexec: root.join("libexec"),
            cache: Some(root.join("cache")),
        }
    }

    fn resolve(
        variable: &dyn Fn(&'static str) -> Option<OsString>,
        platform: Platform,
    ) -> Result<Self, DirsError> {
        let own = |name| variable(name).map(PathBuf::from);
        let config = match own("NOTATION_CONFIG") {
            Some(path) => path,
            None => user_dir(variable, platform, &config_places(platform))?.join(NOTATION),
        };
        let cache = own("NOTATION_CACHE").or_else(|| {
            let user = user_dir(variable, platform, &cache_places(platform)).ok()?;
            Some(user.join(NOTATION))
        });
        Ok(Self {
            libexec: own("NOTATION_LIBEXEC").unwrap_or_else(|| config.clone()),
            config,
            cache,
        })
    }

    /// Lock files of the referrers indexes that this user's processes write, if there is a place for them.
    pub fn index_locks(&self) -> Option<PathBuf> {
        let cache = self.cache.as_ref()?;
        Some(cache.join("hardsign").join("index-locks"))
    }

    /// `config.json`.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.json")
    }

    /// `signingkeys.json`.
    pub fn signing_keys(&self) -> PathBuf {
        self.config.join("signingkeys.json")
    }

    /// `trustpolicy.json`, read when there is no [`Self::oci_policy`].
    // TP-02
    pub fn old_policy(&self) -> PathBuf {
        self.config.join("trustpolicy.json")
    }

    /// `trustpolicy.oci.json`.
    pub fn oci_policy(&self) -> PathBuf {
        self.config.join("trustpolicy.oci.json")
    }

    /// `node.hardsign.json`, how a node's images are verified.
    pub fn node_settings(&self) -> PathBuf {
        self.config.join("node.hardsign.json")
    }

    /// `trustpolicy.blob.json`.
    pub fn blob_policy(&self) -> PathBuf {
        self.config.join("trustpolicy.blob.json")
    }

    /// `policy.hardsign.json`, the rules that the reference's policy files can't hold.
    pub fn hardsign_policy(&self) -> PathBuf {
        self.config.join("policy.hardsign.json")
    }

    /// `truststore/x509`, which holds `<type>/<name>/<file>`.
    // TST-01
    pub fn trust_stores(&self) -> PathBuf {
        self.config.join("truststore").join("x509")
    }

    /// `localkeys`, which holds test keys.
    // CFG-21
    pub fn local_keys(&self) -> PathBuf {
        self.config.join("localkeys")
    }

    /// `localkeys/<name>.key` and `localkeys/<name>.crt`. `name` must already be checked.
    // CFG-21
    pub fn local_key(&self, name: &str) -> (PathBuf, PathBuf) {
        let dir = self.local_keys();
        (
            dir.join(format!("{name}.key")),
            dir.join(format!("{name}.crt")),
        )
    }

    /// `hardsign/chains`: the certificates of keys whose device holds none.
    pub fn chains(&self) -> PathBuf {
        self.config.join("hardsign").join("chains")
    }

    /// The file there of the key `name` of the key list; `None` for a name that is no file's.
    pub fn chain(&self, name: &str) -> Option<PathBuf> {
        Some(self.chains().join(format!("{}.pem", file_name(name)?)))
    }

    /// What the CA with the key `name` remembers, and its revocation list.
    pub fn authority(&self, name: &str) -> Option<(PathBuf, PathBuf)> {
        let directory = self.config.join("hardsign").join("ca");
        let name = file_name(name)?;
        Some((
            directory.join(format!("{name}.json")),
            directory.join(format!("{name}.crl")),
        ))
    }

    /// `plugins`, whose sub-directories are the user's plugins.
    // PLI-01
    pub fn plugins(&self) -> PathBuf {
        self.libexec.join("plugins")
    }

    /// `plugins.hardsign.json` beside it, which has the SHA-256 of installed plugins.
    pub fn plugin_pins(&self) -> PathBuf {
        self.libexec.join("plugins.hardsign.json")
    }

    /// `crl` below the cache directory, if there is one.
    pub fn crl_cache(&self) -> Option<PathBuf> {
        self.cache.as_ref().map(|cache| cache.join("crl"))
    }
}

/// A key's name as part of a file name: what would lead elsewhere is written `%2F`.
fn file_name(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte);
    let mut text = String::new();
    for (at, byte) in name.bytes().enumerate() {
        if plain(byte) && !(at == 0 && byte == b'.') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    (!text.is_empty() && text.len() <= 200).then_some(text)
}

/// Docker's `config.json`: `$DOCKER_CONFIG`, else `~/.docker`.
// CFG-22
pub fn docker_config_file() -> Option<PathBuf> {
    let dir = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable(home_variable())?).join(".docker")))?;
    Some(dir.join("config.json"))
}

/// Podman's `auth.json` files, the first to be asked first: `$REGISTRY_AUTH_FILE`, else those below
/// `$XDG_RUNTIME_DIR` and the user's configuration directory (containers-auth.json(5)).
pub fn podman_auth_files() -> Vec<PathBuf> {
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let configuration = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable(home_variable())?).join(".config")));
    variable("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .into_iter()
        .chain(configuration)
        .map(|directory| directory.join("containers/auth.json"))
        .collect()
}

/// The directories of `PATH`, for finding credential helpers. Plugins are never looked for there.
pub fn search_path() -> Vec<PathBuf> {
    variable("PATH")
        .map(|path| {
            env::split_paths(&path)
                .filter(|dir| dir.is_absolute())
                .collect()
        })
        .unwrap_or_default()
}

/// Where plugins of the box may stand: beside the running executable, all links resolved, and in
/// `../libexec/hardsign` from there.
pub fn box_directories() -> Vec<PathBuf> {
    env::current_exe()
        .and_then(|path| path.canonicalize())
        .map(|executable| box_directories_of(&executable))
        .unwrap_or_default()
}

fn box_directories_of(executable: &Path) -> Vec<PathBuf> {
    let Some(beside) = executable.parent() else {
        return Vec::new();
    };
    let mut found = vec![beside.to_owned()];
    if let Some(prefix) = beside.parent() {
        found.push(prefix.join("libexec").join("hardsign"));
    }
    found
}

/// What the environment says of proxies (REG-10).
pub(crate) struct ProxyVariables {
    pub(crate) http: Option<ProxyVariable>,
    pub(crate) https: Option<ProxyVariable>,
    pub(crate) no_proxy: Option<OsString>,
    /// Whether this is a CGI program.
    pub(crate) cgi: bool,
}

/// A variable that is set, and how it is spelt.
pub(crate) struct ProxyVariable {
    pub(crate) name: &'static str,
    pub(crate) value: OsString,
}

/// The proxy variables, each in capitals or else in small letters.
pub(crate) fn proxy_variables() -> ProxyVariables {
    let first = |names: [&'static str; 2]| {
        let mut set = names.into_iter().filter_map(|name| {
            let value = variable(name)?;
            Some(ProxyVariable { name, value })
        });
        set.next()
    };
    ProxyVariables {
        http: first(["HTTP_PROXY", "http_proxy"]),
        https: first(["HTTPS_PROXY", "https_proxy"]),
        no_proxy: first(["NO_PROXY", "no_proxy"]).map(|variable| variable.value),
        cgi: variable("REQUEST_METHOD").is_some(),
    }
}

/// Where the environment has root certificates, in place of the system's.
pub(crate) struct CertificateVariables {
    pub(crate) file: Option<PathBuf>,
    pub(crate) directories: Vec<PathBuf>,
}

/// The files and directories of root certificates, those of a list parted as in `PATH`.
// CFG-30
pub(crate) fn certificate_variables() -> CertificateVariables {
    let directories = variable("SSL_CERT_DIR").unwrap_or_default();
    let directories = env::split_paths(&directories);
    CertificateVariables {
        file: variable("SSL_CERT_FILE").map(PathBuf::from),
        directories: directories
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
    }
}

/// The value of a variable; empty counts as unset (CFG-29).
#[expect(
    clippy::disallowed_methods,
    reason = "the one place in this crate that reads the environment"
)]
fn variable(name: &'static str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn home_variable() -> &'static str {
    if cfg!(windows) { "USERPROFILE" } else { "HOME" }
}

/// A variable and the directories below its value, first match wins.
type Places = Vec<(&'static str, &'static [&'static str])>;

fn config_places(platform: Platform) -> Places {
    match platform {
        Platform::Unix => vec![("XDG_CONFIG_HOME", &[]), ("HOME", &[".config"])],
        Platform::MacOs => vec![("HOME", &["Library", "Application Support"])],
        Platform::Windows => vec![("AppData", &[])],
    }
}

fn cache_places(platform: Platform) -> Places {
    match platform {
        Platform::Unix => vec![("XDG_CACHE_HOME", &[]), ("HOME", &[".cache"])],
        Platform::MacOs => vec![("HOME", &["Library", "Caches"])],
        Platform::Windows => vec![("LocalAppData", &[])],
    }
}

fn user_dir(
    variable: &dyn Fn(&'static str) -> Option<OsString>,
    platform: Platform,
    places: &Places,
) -> Result<PathBuf, DirsError> {
    for (name, below) in places {
        let Some(value) = variable(name) else {
            continue;
        };
        let mut path = PathBuf::from(value);
        if !is_absolute(&path, platform) {
            return Err(DirsError::NotAbsolute {
                variable: name,
                value: path,
            });
        }
        path.extend(*below);
        return Ok(path);
    }
    Err(DirsError::NoConfigDirectory {
        variables: std::iter::once("NOTATION_CONFIG")
            .chain(places.iter().map(|(name, _)| *name))
            .collect(),
    })
}

/// Whether `path` is absolute for the platform, which a test may not be running on.
fn is_absolute(path: &Path, platform: Platform) -> bool {
    match (platform, path.as_os_str().as_encoded_bytes()) {
        (Platform::Windows, [_, b':', b'/' | b'\\', ..] | [b'\\', b'\\', ..]) => true,
        (Platform::Windows, _) => false,
        (Platform::Unix | Platform::MacOs, bytes) => bytes.first() == Some(&b'/'),
    }
}

const NOTATION: &str = "notation";
/// Configuration of a machine.
const MACHINE_CONFIG: &str = "/etc/notation";
/// Caches of a machine.
const MACHINE_CACHE: &str = "/var/cache/notation";

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    fn resolve(set: &[(&'static str, &str)], platform: Platform) -> Result<Dirs, DirsError> {
        let set: Vec<_> = set.to_vec();
        Dirs::resolve(
            &move |name| {
                set.iter()
                    .find(|(n, value)| *n == name && !value.is_empty())
                    .map(|(_, value)| OsString::from(value))
            },
            platform,
        )
    }

    /// CFG-01, CFG-02, CFG-03, CFG-29: our own variables come first and libexec follows config.
    #[test]
    fn cfg_01_own_variables_come_first() {
        let dirs = resolve(
            &[
                ("NOTATION_CONFIG", "/c"),
                ("NOTATION_CACHE", "/k"),
                ("XDG_CONFIG_HOME", "/x"),
                ("HOME", "/home/u"),
            ],
            Platform::Unix,
        )
        .unwrap();
        assert_eq!(dirs.config, Path::new("/c"));
        assert_eq!(dirs.libexec, Path::new("/c"));
        assert_eq!(dirs.cache.as_deref(), Some(Path::new("/k")));
        let dirs = resolve(
            &[("NOTATION_CONFIG", "/c"), ("NOTATION_LIBEXEC", "/l")],
            Platform::Unix,
        )
        .unwrap();
        assert_eq!(dirs.libexec, Path::new("/l"));
        assert_eq!(dirs.cache, None);
    }

    /// CFG-01, CFG-03: the user directories of each platform.
    #[test]
    fn cfg_01_platform_directories() {
        let unix = resolve(&[("HOME", "/home/u")], Platform::Unix).unwrap();
        assert_eq!(unix.config, Path::new("/home/u/.config/notation"));
        assert_eq!(
            unix.crl_cache().unwrap(),
            Path::new("/home/u/.cache/notation/crl")
        );
        let xdg = resolve(
            &[
                ("HOME", "/home/u"),
                ("XDG_CONFIG_HOME", "/x"),
                ("XDG_CACHE_HOME", "/y"),
            ],
            Platform::Unix,
        )
        .unwrap();
        assert_eq!(xdg.config, Path::new("/x/notation"));
        assert_eq!(xdg.cache.as_deref(), Some(Path::new("/y/notation")));
        let mac = resolve(&[("HOME", "/Users/u")], Platform::MacOs).unwrap();
        assert_eq!(
            mac.config,
            Path::new("/Users/u/Library/Application Support/notation")
        );
        assert_eq!(
            mac.cache.as_deref(),
            Some(Path::new("/Users/u/Library/Caches/notation"))
        );
        let windows = resolve(
            &[("AppData", "C:/u/Roaming"), ("LocalAppData", "C:/u/Local")],
            Platform::Windows,
        )
        .unwrap();
        assert_eq!(windows.config, Path::new("C:/u/Roaming/notation"));
        assert_eq!(
            windows.cache.as_deref(),
            Some(Path::new("C:/u/Local/notation"))
        );
    }

    /// CFG-04, CFG-05, CFG-07, SEC-28: an error, never a system-wide directory nor one
    /// below the working directory.
    #[test]
    fn cfg_05_no_fallback_into_the_working_directory() {
        assert_eq!(
            resolve(&[], Platform::Unix).unwrap_err().told(),
            "no configuration directory: none of the environment variables \
             NOTATION_CONFIG, XDG_CONFIG_HOME, HOME is set"
        );
        assert!(matches!(
            resolve(
                &[("XDG_CONFIG_HOME", "x"), ("HOME", "/home/u")],
                Platform::Unix
            ),
            Err(DirsError::NotAbsolute {
                variable: "XDG_CONFIG_HOME",
                ..
            })
        ));
        // A relative cache is simply no cache.
        let dirs = resolve(
            &[
                ("NOTATION_CONFIG", "/c"),
                ("XDG_CACHE_HOME", "y"),
                ("HOME", "/home/u"),
            ],
            Platform::Unix,
        )
        .unwrap();
        assert_eq!(dirs.cache, None);
    }

    /// A service of the machine has no home directory, and asks for none.
    #[test]
    fn a_machine_has_fixed_directories() {
        let resolve = |set: &'static [(&'static str, &'static str)]| {
            Dirs::of_machine_with(move |name| {
                let found = set.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let dirs = resolve(&[("HOME", "/root"), ("XDG_CONFIG_HOME", "/x")]).unwrap();
        assert_eq!(dirs.config, Path::new("/etc/notation"));
        assert_eq!(dirs.plugins(), Path::new("/etc/notation/plugins"));
        assert_eq!(
            dirs.cache.as_deref(),
            Some(Path::new("/var/cache/notation"))
        );
        let own = resolve(&[("NOTATION_CONFIG", "/c"), ("NOTATION_CACHE", "/k")]).unwrap();
        assert_eq!(own.libexec, Path::new("/c"));
        assert_eq!(own.cache.as_deref(), Some(Path::new("/k")));
        let relative = resolve(&[("NOTATION_CONFIG", "config")]).unwrap_err();
        assert_eq!(
            relative.told(),
            "no configuration directory: NOTATION_CONFIG is not an absolute path: config"
        );
    }

    /// CFG-06, CFG-21: the tree.
    #[test]
    fn cfg_06_tree() {
        let dirs = Dirs::below(Path::new("/r"));
        let (key, certificate) = dirs.local_key("test");
        let tree: Vec<String> = [
            dirs.config_file(),
            dirs.signing_keys(),
            dirs.old_policy(),
            dirs.oci_policy(),
            dirs.blob_policy(),
            dirs.trust_stores(),
            key,
            certificate,
            dirs.plugins(),
            dirs.crl_cache().unwrap(),
        ]
        .iter()
        .map(|path| path.display().to_string())
        .collect();
        assert_eq!(
            tree,
            [
                "/r/config/config.json",
                "/r/config/signingkeys.json",
                "/r/config/trustpolicy.json",
                "/r/config/trustpolicy.oci.json",
                "/r/config/trustpolicy.blob.json",
                "/r/config/truststore/x509",
                "/r/config/localkeys/test.key",
                "/r/config/localkeys/test.crt",
                "/r/libexec/plugins",
                "/r/cache/crl",
            ]
        );
    }

    /// Plugins of the box stand beside the executable or in `../libexec/hardsign`.
    #[test]
    fn box_is_beside_the_executable() {
        assert_eq!(
            box_directories_of(Path::new("/opt/hs/bin/hardsign")),
            [
                Path::new("/opt/hs/bin"),
                Path::new("/opt/hs/libexec/hardsign")
            ]
        );
    }
}
