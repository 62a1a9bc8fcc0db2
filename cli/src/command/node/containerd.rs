//! What containerd is set to: as `containerd config dump` tells it, defaults and imported files included, else
//! what its configuration file says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hardsign_core::config::formats::json::go;
use hardsign_core::config::read_named;
use hardsign_core::dirs::search_path;
use hardsign_core::text::WithCauses;
use hardsign_plugin::text::io_text;
use toml::{Table, Value};

use super::run;
use crate::args::node::Places;

/// A configuration of containerd's.
pub(in crate::command) struct Configuration {
    table: Table,
    /// Where it is from, for messages.
    pub(in crate::command) source: String,
    /// Whether defaults and imported files are in it.
    pub(in crate::command) is_whole: bool,
    /// Whether there is any: without containerd and without its file, there are only its defaults.
    pub(in crate::command) is_there: bool,
}

/// How containerd runs verifiers.
pub(in crate::command) struct Verifiers {
    pub(in crate::command) bin_dir: PathBuf,
    /// Negative: as many as there are.
    pub(in crate::command) most: i64,
    pub(in crate::command) timeout: Duration,
}

impl Configuration {
    /// Reads it: from the file that is named, which must be there, else from containerd's usual one.
    ///
    /// # Errors
    /// Why it can't be read, as a message.
    pub(in crate::command) async fn read(places: &Places) -> Result<Self, String> {
        let named = places.containerd_config.as_deref();
        let file = named.unwrap_or(Path::new(CONFIG));
        let shown = file.display();
        let is_file_there = match fs::metadata(file) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => false,
            Err(error) => return Err(format!("{shown}: {}", io_text(&error))),
        };
        let table = |text: &str| {
            let read = text.parse::<Table>();
            read.map_err(|error| format!("{shown}: {}", error.message()))
        };
        if let Some(program) = program(places) {
            let config = shown.to_string();
            let mut arguments = vec!["config", "dump"];
            if is_file_there {
                arguments = vec!["--config", &config, "config", "dump"];
            }
            let text = run::output(&program, &arguments).await?;
            return Ok(Self {
                table: table(&text)?,
                source: format!("{} config dump", program.display()),
                is_whole: true,
                is_there: true,
            });
        }
        let bytes = match is_file_there {
            true => read_named(file, MAX_FILE).map_err(|error| WithCauses(&error).to_string())?,
            false => Vec::new(),
        };
        let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
        Ok(Self {
            table: table(&text)?,
            source: shown.to_string(),
            is_whole: false,
            is_there: is_file_there,
        })
    }

    fn plugin(&self, name: &str) -> Option<&Table> {
        self.table.get("plugins")?.as_table()?.get(name)?.as_table()
    }

    /// The settings of images in the CRI, under their name of today or of version 2.
    fn images(&self, path: &[&str]) -> Option<&Value> {
        let tables = [IMAGES, OLD_CRI].into_iter();
        let mut tables = tables.filter_map(|name| self.plugin(name));
        tables.find_map(|table| {
            let (last, path) = path.split_last()?;
            let mut table = table;
            for part in path {
                table = table.get(*part)?.as_table()?;
            }
            table.get(*last)
        })
    }

    /// The verifiers' settings, or containerd's defaults.
    pub(in crate::command) fn verifiers(&self) -> Verifiers {
        let table = self.plugin(BINDIR);
        let of = |name: &str| table.and_then(|table| table.get(name));
        let timeout = of("per_verifier_timeout").and_then(Value::as_str);
        Verifiers {
            bin_dir: of("bin_dir")
                .and_then(Value::as_str)
                .map_or_else(|| BIN_DIR.into(), PathBuf::from),
            most: of("max_verifiers")
                .and_then(Value::as_integer)
                .unwrap_or(10),
            timeout: timeout.and_then(go::duration).unwrap_or(TIMEOUT),
        }
    }

    /// Plugins without which nothing is verified, as far as they are switched off.
    pub(in crate::command) fn disabled(&self) -> Vec<&str> {
        let listed = self.table.get("disabled_plugins").and_then(Value::as_array);
        let listed = listed.into_iter().flatten().filter_map(Value::as_str);
        listed
            .filter(|name| [BINDIR, TRANSFER].contains(name) || name.ends_with("image-verifier.v1"))
            .collect()
    }

    /// Settings with which the CRI pulls by itself, past the transfer service and so past every verifier, each as
    /// it stands in the configuration: all of containerd's `CheckLocalImagePullConfigs`.
    pub(in crate::command) fn bypasses(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut switch = |path: &[&str], harmless: bool| {
            let value = self.images(path).and_then(Value::as_bool);
            if value.is_some_and(|value| value != harmless) {
                found.push(format!("{} = {}", path.join("."), !harmless));
            }
        };
        switch(&["use_local_image_pull"], false);
        switch(&["disable_snapshot_annotations"], true);
        switch(&["containerd", "disable_snapshot_annotations"], true);
        switch(&["discard_unpacked_layers"], false);
        switch(&["containerd", "discard_unpacked_layers"], false);
        switch(&["image_pull_with_sync_fs"], false);
        let downloads = self.images(&["max_concurrent_downloads"]);
        if let Some(number) = downloads.and_then(Value::as_integer)
            && number != 3
        {
            found.push(format!("max_concurrent_downloads = {number}"));
        }
        for name in ["mirrors", "configs", "auths"] {
            let table = self.images(&["registry", name]).and_then(Value::as_table);
            if table.is_some_and(|table| !table.is_empty()) {
                found.push(format!("registry.{name}"));
            }
        }
        found
    }

    /// The image of pod sandboxes.
    pub(in crate::command) fn sandbox(&self) -> Option<&str> {
        let image = self
            .images(&["pinned_images", "sandbox"])
            .or_else(|| self.images(&["sandbox_image"]));
        image
            .and_then(Value::as_str)
            .filter(|image| !image.is_empty())
    }

    /// Directories with the configuration of registries.
    pub(in crate::command) fn registry_hosts(&self) -> Vec<PathBuf> {
        let path = self.images(&["registry", "config_path"]);
        let path = path.and_then(Value::as_str).unwrap_or_default();
        let parts = path.split(':').filter(|part| !part.is_empty());
        parts.map(PathBuf::from).collect()
    }
}

/// The version of containerd, `2.4.2`.
pub(in crate::command) async fn version(places: &Places) -> Result<String, String> {
    let program = program(places).ok_or("containerd is not in PATH")?;
    let text = run::output(&program, &["--version"]).await?;
    // containerd github.com/containerd/containerd/v2 v2.4.2 <revision>
    let version = text.split_whitespace().find(|word| is_version(word));
    version
        .map(|version| version.trim_start_matches('v').to_owned())
        .ok_or_else(|| format!("{} prints no version", program.display()))
}

/// Whether a version is at least 2.1, from which on the CRI pulls through the transfer service.
pub(in crate::command) fn asks_verifiers(version: &str) -> bool {
    let mut parts = version
        .split(['.', '-', '+'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (2, 1)
}

fn is_version(word: &str) -> bool {
    let bare = word.trim_start_matches('v');
    bare.starts_with(|c: char| c.is_ascii_digit()) && bare.contains('.')
}

fn program(places: &Places) -> Option<PathBuf> {
    let named = places.containerd.clone();
    named.or_else(|| find("containerd"))
}

/// A program of the system.
pub(in crate::command) fn find(name: &str) -> Option<PathBuf> {
    let own = ["/usr/local/bin", "/usr/bin", "/opt/bin"].map(PathBuf::from);
    let mut places = search_path().into_iter().chain(own);
    places.find_map(|place| Some(place.join(name)).filter(|path| path.is_file()))
}

/// What is to stand in the configuration.
pub(in crate::command) fn snippet(bin_dir: &Path, timeout: Duration) -> String {
    let timeout = match timeout.subsec_millis() {
        0 => format!("{}s", timeout.as_secs()),
        _ => format!("{}ms", timeout.as_millis()),
    };
    format!(
        "[plugins.\"{BINDIR}\"]\n  bin_dir = {:?}\n  max_verifiers = 10\n  per_verifier_timeout = \"{timeout}\"\n",
        bin_dir.display().to_string(),
    )
}

const BINDIR: &str = "io.containerd.image-verifier.v1.bindir";
const TRANSFER: &str = "io.containerd.transfer.v1.local";
const IMAGES: &str = "io.containerd.cri.v1.images";
const OLD_CRI: &str = "io.containerd.grpc.v1.cri";
/// Where containerd looks for its configuration.
const CONFIG: &str = "/etc/containerd/config.toml";
/// Where containerd looks for verifiers.
pub(in crate::command) const BIN_DIR: &str = "/opt/containerd/image-verifier/bin";
/// How long containerd waits for one.
pub(in crate::command) const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest configuration, in bytes.
const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A configuration that is this text.
    pub(in crate::command::node) fn configuration(text: &str) -> Configuration {
        Configuration {
            table: text.parse().unwrap(),
            source: String::new(),
            is_whole: false,
            is_there: true,
        }
    }

    /// Each of containerd's reasons to pull past the verifiers, in today's tables and in those of version 2.
    #[test]
    fn every_bypass_is_found() {
        for table in [IMAGES, OLD_CRI] {
            for (setting, found) in [
                (
                    "max_concurrent_downloads = 5",
                    "max_concurrent_downloads = 5",
                ),
                ("max_concurrent_downloads = 3", ""),
                ("use_local_image_pull = true", "use_local_image_pull = true"),
                (
                    "disable_snapshot_annotations = false",
                    "disable_snapshot_annotations = false",
                ),
                ("disable_snapshot_annotations = true", ""),
                (
                    "discard_unpacked_layers = true",
                    "discard_unpacked_layers = true",
                ),
                (
                    "image_pull_with_sync_fs = true",
                    "image_pull_with_sync_fs = true",
                ),
                (
                    "registry.mirrors.\"docker.io\".endpoint = [\"x\"]",
                    "registry.mirrors",
                ),
                (
                    "registry.configs.\"r\".auth.username = \"x\"",
                    "registry.configs",
                ),
                ("registry.auths.\"r\".username = \"x\"", "registry.auths"),
                ("registry.mirrors = {}", ""),
                ("registry.config_path = \"/etc/containerd/certs.d\"", ""),
            ] {
                let text = format!("[plugins.\"{table}\"]\n{setting}");
                assert_eq!(configuration(&text).bypasses().join(", "), found, "{text}");
            }
        }
        let old =
            "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndiscard_unpacked_layers = true";
        assert_eq!(
            configuration(old).bypasses(),
            ["containerd.discard_unpacked_layers = true"]
        );
        let off = configuration("disabled_plugins = [\"io.containerd.transfer.v1.local\", \"x\"]");
        assert_eq!(off.disabled(), [TRANSFER]);
    }

    #[test]
    fn defaults_are_containerds() {
        let verifiers = configuration("").verifiers();
        assert_eq!(verifiers.bin_dir, Path::new(BIN_DIR));
        assert_eq!((verifiers.most, verifiers.timeout), (10, TIMEOUT));
        let text = snippet(Path::new("/a/b"), Duration::from_millis(2500));
        let set = configuration(&text).verifiers();
        assert_eq!(set.bin_dir, Path::new("/a/b"));
        assert_eq!(set.timeout, Duration::from_millis(2500));
    }

    #[test]
    fn verifiers_are_asked_from_2_1_on() {
        for (version, asks) in [
            ("2.4.2", true),
            ("2.1.0-rc.1", true),
            ("3.0", true),
            ("2.0.5", false),
            ("1.7.27", false),
            ("1.6.20~ds1", false),
        ] {
            assert_eq!(asks_verifiers(version), asks, "{version}");
        }
    }
}
