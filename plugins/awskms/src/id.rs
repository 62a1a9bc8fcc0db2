//! From a key id and plugin config to a key, a region, an endpoint and a profile.

use hardsign_plugin::{Error, KeyRequest};
use hardsign_plugin_kms::{KeyUri, check_endpoint, merged};

/// Right key ids.
const EXAMPLE: &str = "alias/NAME, a key's ARN, or awskms:///alias/NAME";

/// Which key, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Config {
    /// As the service takes it: an alias, a key id or an ARN. Empty for the region as a whole.
    pub(crate) key: String,
    /// The region, if key id or config say it.
    pub(crate) region: Option<String>,
    pub(crate) profile: Option<String>,
    /// Where the service is, if it is not at AWS's own address.
    pub(crate) endpoint: Option<String>,
}

impl Config {
    /// Reads key id and config. An empty key means the region, not a key.
    pub(crate) fn read(request: &KeyRequest<'_>) -> Result<Self, Error> {
        let uri = KeyUri::read(request.key_id, &["awskms"], EXAMPLE)?;
        let mut of_uri = (None, None, None);
        let key = match &uri {
            None => request.key_id.to_owned(),
            Some(uri) => {
                uri.only(&["key-id", "region", "profile"])?;
                let host = Some(uri.host.as_str()).filter(|host| !host.is_empty());
                of_uri = (
                    uri.attribute("region"),
                    uri.attribute("profile"),
                    host.map(|host| format!("https://{host}")),
                );
                match (uri.path.as_str(), uri.attribute("key-id")) {
                    (path, None) => path.to_owned(),
                    ("", Some(id)) => id.to_owned(),
                    (_, Some(_)) => return Err(wrong("names two keys")),
                }
            }
        };
        check_key(&key)?;
        let endpoint = merged(request, "endpoint", of_uri.2.as_deref())?;
        if let Some(endpoint) = &endpoint {
            check_endpoint(endpoint, "https://kms.REGION.amazonaws.com")?;
        }
        let mut region = merged(request, "region", of_uri.0)?;
        if let Some(there) = arn_region(&key) {
            match &region {
                Some(said) if said != there => {
                    return Err(Error::validation(format!(
                        "the key's ARN is in {there}, and the region is set to {said}"
                    ))
                    .with_hint("leave the region out: the ARN says it"));
                }
                _ => region = Some(there.to_owned()),
            }
        }
        Ok(Self {
            region: match region {
                None => endpoint.as_deref().and_then(endpoint_region),
                Some(region) => Some(check_region(region)?),
            },
            profile: merged(request, "profile", of_uri.1)?,
            key,
            endpoint,
        })
    }

    /// # Errors
    /// The key id names no key.
    pub(crate) fn named(self) -> Result<Self, Error> {
        if self.key.is_empty() {
            return Err(wrong("names no key"));
        }
        Ok(self)
    }
}

fn wrong(what: &str) -> Error {
    Error::validation(format!("the key id {what}")).with_hint(format!("write it as {EXAMPLE}"))
}

/// `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`, also with `alias/NAME`.
fn arn(key: &str) -> Option<[&str; 6]> {
    let parts: Vec<&str> = key.splitn(6, ':').collect();
    <[&str; 6]>::try_from(parts)
        .ok()
        .filter(|parts| parts[0] == "arn")
}

fn arn_region(key: &str) -> Option<&str> {
    arn(key).map(|parts| parts[3])
}

/// Whether the service could take it; what there is only the service knows.
fn check_key(key: &str) -> Result<(), Error> {
    let named = |text: &str, more: &str| {
        let legal = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !text.is_empty() && text.len() <= 256 && text.chars().all(legal)
    };
    let resource = match arn(key) {
        None if key.is_empty() => return Ok(()),
        None if key.starts_with("arn:") => return Err(wrong("is not a complete ARN")),
        None => key,
        Some([_, partition, service, region, account, resource]) => {
            if service != "kms" || !named(partition, "-") || !named(region, "-") {
                return Err(wrong("is not the ARN of a key"));
            }
            if account.is_empty() || !account.chars().all(|c| c.is_ascii_digit()) {
                return Err(wrong("is an ARN without an account"));
            }
            match resource.strip_prefix("key/") {
                Some(id) => id,
                None if resource.starts_with("alias/") => resource,
                None => return Err(wrong("is not the ARN of a key")),
            }
        }
    };
    let fits = match resource.strip_prefix("alias/") {
        Some(alias) => named(alias, "/_-"),
        None => named(resource, "-"),
    };
    if !fits {
        return Err(wrong("is neither an alias nor the id of a key"));
    }
    Ok(())
}

fn check_region(region: String) -> Result<String, Error> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if region.len() > 64 || !region.chars().all(legal) {
        return Err(Error::validation(format!("{region:?} is not a region"))
            .with_hint("write it as eu-west-1"));
    }
    Ok(region)
}

/// The region in one of AWS's own addresses: `kms.REGION.amazonaws.com`.
fn endpoint_region(endpoint: &str) -> Option<String> {
    let host = endpoint.split("://").nth(1)?.split(['/', ':']).next()?;
    let rest = host
        .strip_prefix("kms.")
        .or_else(|| host.strip_prefix("kms-fips."))?;
    let (region, domain) = rest.split_once('.')?;
    domain
        .starts_with("amazonaws.com")
        .then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Purpose;
    use hardsign_plugin::proto::PluginConfig;

    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    fn read(id: &str, config: &[(&str, &str)]) -> Result<Config, Error> {
        let config: PluginConfig = config
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Config::read(&KeyRequest::new(id, &config, Purpose::Sign))
    }

    #[test]
    fn every_form_that_people_have() {
        let step = format!("awskms:key-id={ID};region=eu-west-1");
        let sigstore = format!("awskms:///{ARN}");
        let host = format!("awskms://kms.eu-west-1.amazonaws.com/{ID}");
        for (id, key, region) in [
            ("alias/Team/release_1", "alias/Team/release_1", None),
            ("awskms:///alias/release", "alias/release", None),
            ("awskms:alias/release", "alias/release", None),
            (ID, ID, None),
            (
                "mrk-1234abcd12ab34cd56ef1234567890ab",
                "mrk-1234abcd12ab34cd56ef1234567890ab",
                None,
            ),
            (ARN, ARN, Some("eu-west-1")),
            (sigstore.as_str(), ARN, Some("eu-west-1")),
            (step.as_str(), ID, Some("eu-west-1")),
            (host.as_str(), ID, Some("eu-west-1")),
            (
                "arn:aws-cn:kms:cn-north-1:111122223333:alias/r",
                "arn:aws-cn:kms:cn-north-1:111122223333:alias/r",
                Some("cn-north-1"),
            ),
        ] {
            let config = read(id, &[]).unwrap();
            assert_eq!(
                (config.key.as_str(), config.region.as_deref()),
                (key, region),
                "{id}"
            );
        }
        let local = read(
            "awskms://localhost:4566/alias/x",
            &[("region", "us-east-1")],
        )
        .unwrap();
        assert_eq!(local.endpoint.as_deref(), Some("https://localhost:4566"));
        let attributes = read(
            "awskms:key-id=alias/x;profile=ci",
            &[("region", "us-east-1")],
        )
        .unwrap();
        assert_eq!(attributes.profile.as_deref(), Some("ci"));
        assert!(read("", &[]).unwrap().named().is_err());
    }

    #[test]
    fn junk_is_refused() {
        for (id, config, what) in [
            ("gcpkms://projects/p", &[][..], "scheme \"gcpkms\""),
            ("alias/", &[], "neither an alias"),
            ("alias/a b", &[], "neither an alias"),
            ("my key", &[], "neither an alias"),
            ("arn:aws:kms:eu-west-1:1", &[], "not a complete ARN"),
            ("arn:aws:s3:eu-west-1:1:key/x", &[], "not the ARN of a key"),
            (
                "arn:aws:kms:eu-west-1:1:grant/x",
                &[],
                "not the ARN of a key",
            ),
            ("arn:aws:kms:eu-west-1::key/x", &[], "without an account"),
            ("awskms:alias/x?key-id=alias/y", &[], "two keys"),
            ("awskms:key-id=x;secret-key=s3cret", &[], "\"secret-key\""),
            (ARN, &[("region", "us-east-1")], "ARN is in eu-west-1"),
            ("alias/x", &[("region", "Ireland")], "not a region"),
            ("alias/x", &[("endpoint", "localhost")], "endpoint"),
            (
                "awskms://h/alias/x",
                &[("endpoint", "https://other")],
                "different values",
            ),
        ] {
            let error = read(id, config).unwrap_err();
            assert!(error.to_string().contains(what), "{id}: {error}");
            assert!(error.hint().is_some(), "{id}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }
}
