//! From a key id and plugin config to a key ring, a key and a version.

use std::fmt;

use hardsign_plugin::{Error, KeyRequest};
use hardsign_plugin_kms::{KeyUri, environment, merged};

/// A right key id, for hints.
const EXAMPLE: &str = "gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K";

/// The key ids of this plugin.
const SCHEMES: [&str; 2] = ["gcpkms", "cloudkms"];

/// What a full resource name begins with.
const FULL_NAME: &str = "//cloudkms.googleapis.com/";

/// As much as a key id and the settings name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) project: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) ring: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) version: Option<String>,
}

/// A key by its resource name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeyName {
    /// `projects/P/locations/L/keyRings/R`
    pub(crate) ring: String,
    /// The last part of its name.
    pub(crate) key: String,
    pub(crate) version: Option<String>,
}

impl Place {
    /// Reads key id, config and environment.
    pub(crate) fn read(request: &KeyRequest<'_>) -> Result<Self, Error> {
        let text = match KeyUri::read(request.key_id, &SCHEMES, EXAMPLE)? {
            Some(uri) => {
                uri.only(&[])?;
                uri.whole()
            }
            None => request.key_id.to_owned(),
        };
        let text = text.strip_prefix(FULL_NAME).unwrap_or(&text);
        let named = if text.starts_with("projects/") {
            Self::of_path(text)?
        } else {
            Self {
                key: (!text.is_empty()).then(|| text.to_owned()),
                ..Self::default()
            }
        };
        let project = merged(request, "project", named.project.as_deref())?;
        let project = project
            .or_else(|| environment("GOOGLE_CLOUD_PROJECT"))
            .or_else(|| environment("CLOUDSDK_CORE_PROJECT"));
        let place = Self {
            project,
            location: merged(request, "location", named.location.as_deref())?,
            ring: merged(request, "key-ring", named.ring.as_deref())?,
            key: named.key,
            version: merged(request, "version", named.version.as_deref())?,
        };
        place.check()?;
        Ok(place)
    }

    /// `projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V`, or the beginning of it.
    fn of_path(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::validation(format!(
                "{text:?} is not a resource name of {}",
                crate::SERVICE
            ))
            .with_hint(format!("write it as {EXAMPLE}"))
        };
        let mut place = Self::default();
        let mut parts = text.split('/');
        let mut fields = [
            (&["projects"][..], &mut place.project),
            (&["locations"], &mut place.location),
            (&["keyRings"], &mut place.ring),
            (&["cryptoKeys"], &mut place.key),
            (&["cryptoKeyVersions", "versions"], &mut place.version),
        ]
        .into_iter();
        while let Some(kind) = parts.next() {
            let (kinds, field) = fields.next().ok_or_else(wrong)?;
            if !kinds.contains(&kind) {
                return Err(wrong());
            }
            *field = Some(parts.next().ok_or_else(wrong)?.to_owned());
        }
        drop(fields);
        Ok(place)
    }

    fn check(&self) -> Result<(), Error> {
        let name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let project = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        fits("project", self.project.as_deref(), 100, project)?;
        fits("location", self.location.as_deref(), 63, name)?;
        fits("key ring", self.ring.as_deref(), 63, name)?;
        fits("key", self.key.as_deref(), 63, name)?;
        fits("version", self.version.as_deref(), 19, |c| {
            c.is_ascii_digit()
        })
    }

    /// The project and the location, for lists.
    pub(crate) fn location(&self) -> Result<String, Error> {
        Ok(format!(
            "projects/{}/locations/{}",
            wanted("project", &self.project)?,
            wanted("location", &self.location)?
        ))
    }

    /// The key ring's resource name.
    pub(crate) fn ring(&self) -> Result<String, Error> {
        let location = self.location()?;
        Ok(format!(
            "{location}/keyRings/{}",
            wanted("key-ring", &self.ring)?
        ))
    }

    /// # Errors
    /// Key id and settings together name no key.
    pub(crate) fn named(self) -> Result<KeyName, Error> {
        let Some(key) = self.key.clone() else {
            return Err(Error::validation("the key id names no key")
                .with_hint(format!("write it as {EXAMPLE}")));
        };
        Ok(KeyName {
            ring: self.ring()?,
            key,
            version: self.version,
        })
    }
}

/// Whether a value can be a part of a resource name.
fn fits(
    what: &str,
    value: Option<&str>,
    most: usize,
    legal: impl Fn(char) -> bool,
) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    let dots = value.chars().all(|c| c == '.');
    if dots || value.len() > most || !value.chars().all(legal) {
        return Err(Error::validation(format!("{value:?} can't be the {what}"))
            .with_hint(format!("write the key id as {EXAMPLE}")));
    }
    Ok(())
}

/// What neither key id nor settings say.
fn wanted<'a>(name: &str, value: &'a Option<String>) -> Result<&'a str, Error> {
    value.as_deref().ok_or_else(|| {
        let variable = match name {
            "project" => ", nor does GOOGLE_CLOUD_PROJECT",
            _ => "",
        };
        Error::validation(format!(
            "neither the key id nor the setting {name} says the {}{variable}",
            name.replace('-', " ")
        ))
        .with_hint(format!("write the key id as {EXAMPLE}"))
    })
}

impl KeyName {
    /// The resource name of a version.
    pub(crate) fn of_version(&self, version: &str) -> String {
        format!("{self}/cryptoKeyVersions/{version}")
    }
}

/// The key's resource name, without the version.
impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/cryptoKeys/{}", self.ring, self.key)
    }
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Purpose;
    use hardsign_plugin::proto::PluginConfig;

    use super::*;

    const KEY: &str = "projects/acme/locations/europe-west3/keyRings/ci/cryptoKeys/release";

    fn read(id: &str, config: &[(&str, &str)]) -> Result<KeyName, Error> {
        let config: PluginConfig = config
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Place::read(&KeyRequest::new(id, &config, Purpose::Sign))?.named()
    }

    #[test]
    fn every_form_that_people_have() {
        for (id, version) in [
            (KEY.to_owned(), None),
            (format!("gcpkms://{KEY}"), None),
            (format!("GCPKMS://{KEY}"), None),
            (format!("gcpkms:{KEY}"), None),
            (format!("cloudkms:{KEY}/cryptoKeyVersions/3"), Some("3")),
            (format!("gcpkms://{KEY}/cryptoKeyVersions/3"), Some("3")),
            (format!("gcpkms://{KEY}/versions/12"), Some("12")),
            (format!("{KEY}/cryptoKeyVersions/3"), Some("3")),
            (format!("//cloudkms.googleapis.com/{KEY}"), None),
        ] {
            let key = read(&id, &[]).unwrap();
            assert_eq!(
                (key.to_string().as_str(), key.version.as_deref()),
                (KEY, version),
                "{id}"
            );
        }
        let settings = [
            ("project", "acme"),
            ("location", "europe-west3"),
            ("key-ring", "ci"),
            ("version", "2"),
        ];
        for id in ["release", "gcpkms://release", "cloudkms:release"] {
            let key = read(id, &settings).unwrap();
            assert_eq!(
                key.of_version(key.version.as_deref().unwrap()),
                format!("{KEY}/cryptoKeyVersions/2")
            );
        }
        let domain = "projects/example.com:acme/locations/global/keyRings/r/cryptoKeys/k";
        assert_eq!(read(domain, &[]).unwrap().to_string(), domain);
    }

    #[test]
    fn junk_is_refused() {
        let other = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
        for (id, config, what) in [
            ("awskms:///k", &[][..], "scheme \"awskms\""),
            ("", &[], "names no key"),
            ("projects/p/locations/l/keyRings/r", &[], "names no key"),
            ("projects/p/locations", &[], "not a resource name"),
            ("projects/p/rings/r", &[], "not a resource name"),
            (
                "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1/x/y",
                &[],
                "not a resource name",
            ),
            (
                "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/latest",
                &[],
                "the version",
            ),
            (
                "projects/../locations/l/keyRings/r/cryptoKeys/k",
                &[],
                "the project",
            ),
            (
                "projects/p/locations/l/keyRings//cryptoKeys/k",
                &[],
                "the key ring",
            ),
            (
                "a/b",
                &[("project", "p"), ("location", "l"), ("key-ring", "r")],
                "the key",
            ),
            (
                "k",
                &[("location", "l"), ("key-ring", "r"), ("project", "")],
                "project",
            ),
            (
                other,
                &[("location", "elsewhere")],
                "different values for location",
            ),
            ("gcpkms://projects/p?endpoint=x", &[], "\"endpoint\""),
        ] {
            let error = read(id, config).unwrap_err();
            assert!(error.to_string().contains(what), "{id}: {error}");
            assert!(error.hint().is_some(), "{id}");
        }
    }
}
