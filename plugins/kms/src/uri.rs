//! Key URIs as other signing tools write them, and what they say beside plugin config.
//!
//! ```text
//! awskms:///alias/release            scheme://HOST/PATH      as cosign and Sigstore have them
//! awskms:key-id=ID;region=eu-west-1  scheme:name=value;…     as step has them
//! azurekms:name=K;vault=V?version=X  …?name=value&…
//! cloudkms:projects/p/locations/l/…  scheme:PATH
//! ```
//!
//! Values may be percent-encoded (RFC 3986 §2.1). No message shows a value, since people put secrets
//! where they don't belong.

use hardsign_plugin::{Error, KeyRequest};

/// The longest URI.
const MAX_URI: usize = 2048;

/// A key id in the form of a URI.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyUri {
    /// In lower case, without the colon.
    pub scheme: String,
    /// What stands between `//` and the next slash, as it was written; empty if nothing does.
    pub host: String,
    /// The rest before the attributes, decoded, without the slash in front; empty if it is attributes.
    pub path: String,
    attributes: Vec<(String, String)>,
}

impl KeyUri {
    /// Reads a key id that has one of `schemes`; `None` is one without a scheme, in the service's own
    /// terms. `example` is a right one, for the hint.
    ///
    /// # Errors
    /// It is malformed, or the URI of another kind of key.
    pub fn read(text: &str, schemes: &[&str], example: &str) -> Result<Option<Self>, Error> {
        let wrong = |what: &str| {
            Error::validation(format!("the key id {what}"))
                .with_hint(format!("write it as {example}"))
        };
        if text.len() > MAX_URI {
            return Err(wrong(&format!("is longer than {MAX_URI} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(wrong("has control characters in it"));
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Ok(None);
        };
        let scheme = scheme.to_ascii_lowercase();
        if !schemes.contains(&scheme.as_str()) {
            if rest.starts_with("//") {
                return Err(wrong(&format!(
                    "has the scheme {scheme:?}, which is not one of this plugin"
                )));
            }
            return Ok(None);
        }
        if rest.contains('#') {
            return Err(wrong("has a fragment (#…)"));
        }
        let (main, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self {
            scheme,
            ..Self::default()
        };
        let decode = |part: &str| decoded(part).ok_or_else(|| wrong("is not encoded as a URI is"));
        match main.strip_prefix("//") {
            Some(hierarchical) => {
                let (host, path) = hierarchical.split_once('/').unwrap_or((hierarchical, ""));
                uri.host = host.to_owned();
                uri.path = decode(path)?;
            }
            None if main.contains('=') => uri.attributes(main, &[';', '&'], &wrong)?,
            None => uri.path = decode(main)?,
        }
        uri.attributes(query, &['&', ';'], &wrong)?;
        Ok(Some(uri))
    }

    /// Host and path with a slash between them: for services whose keys have no host.
    pub fn whole(&self) -> String {
        match (self.host.as_str(), self.path.as_str()) {
            ("", path) => path.to_owned(),
            (host, "") => host.to_owned(),
            (host, path) => format!("{host}/{path}"),
        }
    }

    /// An attribute's value; an empty one counts as absent.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// # Errors
    /// There is an attribute that is none of `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), Error> {
        let stranger = self
            .attributes
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()));
        match stranger {
            None => Ok(()),
            Some((name, _)) => Err(Error::validation(format!(
                "the key id has {name:?} in it, which this plugin does not know"
            ))
            .with_hint(match known {
                [] => "leave it out: this form has no attributes".to_owned(),
                known => format!("it knows {}", known.join(", ")),
            })),
        }
    }

    fn attributes(
        &mut self,
        text: &str,
        between: &[char],
        wrong: &impl Fn(&str) -> Error,
    ) -> Result<(), Error> {
        for part in text.split(between).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = name.to_ascii_lowercase();
            let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(legal) {
                return Err(wrong("has an attribute without a name"));
            }
            if self.attributes.iter().any(|(known, _)| *known == name) {
                return Err(wrong(&format!("has {name:?} twice")));
            }
            let value = decoded(value).ok_or_else(|| {
                wrong(&format!(
                    "has a value for {name:?} that is not encoded as a URI is"
                ))
            })?;
            self.attributes.push((name, value));
        }
        Ok(())
    }
}

/// A setting that the key id may say as well; neither is absent, both must agree.
///
/// # Errors
/// They differ.
pub fn merged(
    request: &KeyRequest<'_>,
    name: &str,
    of_id: Option<&str>,
) -> Result<Option<String>, Error> {
    hardsign_plugin::settings::either(request.config, name, of_id)
}

/// Percent-decoded text without control characters; `None` if it is no such.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Purpose;
    use hardsign_plugin::proto::PluginConfig;

    use super::*;

    const SCHEMES: [&str; 3] = ["awskms", "azurekms", "cloudkms"];

    fn read(text: &str) -> Result<Option<KeyUri>, Error> {
        KeyUri::read(text, &SCHEMES, "awskms:///alias/NAME")
    }

    #[test]
    fn every_form_that_people_have() {
        for (text, host, path, attributes) in [
            ("awskms:///alias/x", "", "alias/x", &[][..]),
            ("awskms://localhost:4566/id", "localhost:4566", "id", &[]),
            (
                "AWSKMS:key-id=alias%2Fx;region=eu-west-1",
                "",
                "",
                &[("key-id", "alias/x"), ("region", "eu-west-1")],
            ),
            (
                "azurekms:name=K;vault=V?version=X",
                "",
                "",
                &[("name", "K"), ("vault", "V"), ("version", "X")],
            ),
            (
                "azurekms://v.vault.azure.net/K/X",
                "v.vault.azure.net",
                "K/X",
                &[],
            ),
            ("cloudkms:projects/p/keys/k", "", "projects/p/keys/k", &[]),
            ("cloudkms://projects/p", "projects", "p", &[]),
            (
                "awskms:arn:aws:kms:r:1:key/x",
                "",
                "arn:aws:kms:r:1:key/x",
                &[],
            ),
            (
                "awskms:///k?region=r&profile=p",
                "",
                "k",
                &[("region", "r"), ("profile", "p")],
            ),
        ] {
            let uri = read(text).unwrap().unwrap();
            assert_eq!(
                (uri.host.as_str(), uri.path.as_str()),
                (host, path),
                "{text}"
            );
            for (name, value) in attributes {
                assert_eq!(uri.attribute(name), Some(*value), "{text}");
            }
            let known: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
            uri.only(&known).unwrap();
        }
        let uri = read("cloudkms://projects/p").unwrap().unwrap();
        assert_eq!(uri.whole(), "projects/p");
        for plain in ["", "alias/x", "arn:aws:kms:eu-west-1:1:key/x", "release"] {
            assert_eq!(read(plain), Ok(None), "{plain}");
        }
    }

    #[test]
    fn what_is_no_uri_of_ours_is_told_without_its_values() {
        for (text, what) in [
            ("pkcs11://x", "scheme \"pkcs11\""),
            ("awskms:///k#f", "fragment"),
            ("awskms:///%zz", "encoded"),
            ("awskms:///%0a", "encoded"),
            ("awskms:///\n", "control"),
            ("awskms:key-id=%f;region=s3cret", "\"key-id\""),
            ("awskms:key-id=s3cret;key-id=y", "twice"),
            ("awskms:=s3cret", "without a name"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(what), "{text}: {error}");
            assert!(
                !format!("{error:?}").contains("s3cret"),
                "{text}: {error:?}"
            );
            assert!(error.hint().unwrap().contains("awskms:///alias/NAME"));
        }
        assert!(read(&format!("awskms:///{}", "k".repeat(2048))).is_err());
        let uri = read("awskms:key-id=k;client-secret=s3cret")
            .unwrap()
            .unwrap();
        let error = uri.only(&["key-id", "region"]).unwrap_err();
        assert!(error.to_string().contains("\"client-secret\""), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"));
        assert_eq!(error.hint(), Some("it knows key-id, region"));
    }

    #[test]
    fn key_id_and_config_must_agree() {
        let merge = |setting: &str, id| {
            let config = PluginConfig::from([("region".to_owned(), setting.to_owned())]);
            merged(&KeyRequest::new("k", &config, Purpose::Sign), "region", id)
        };
        assert_eq!(merge("r", None), Ok(Some("r".to_owned())));
        assert_eq!(merge("", Some("r")), Ok(Some("r".to_owned())));
        assert_eq!(merge("r", Some("r")), Ok(Some("r".to_owned())));
        assert_eq!(merge("", Some("")), Ok(None));
        let error = merge("r", Some("s")).unwrap_err();
        assert!(error.to_string().contains("different values for region"));
    }
}
