//! What a caller must name is named by this crate: no program needs the crates that it is made with.

use hardsign_core::envelope::{JsonError, JsonValue, Version};
use hardsign_core::http::{
    Bytes, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Url, Zeroizing,
};
use hardsign_core::oci::registry::Endpoint;
use hardsign_core::plugin::proto::Capability;
use hardsign_core::plugin::{Metadata, PluginConfig};
use hardsign_core::verify::Options;
use hardsign_core::x509::{DerError, ObjectIdentifier};
use hardsign_core::{DateTime, Timestamp};

#[test]
fn types_of_others_have_names_here() {
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    assert_eq!(Options::new(now).now, now);
    let url: Url = "https://registry.example.com/".parse().unwrap();
    let mut endpoint = Endpoint::new(url).unwrap();
    let (name, value) = (
        HeaderName::from_static("x-a"),
        HeaderValue::from_static("b"),
    );
    endpoint.headers = HeaderMap::from_iter([(name, value)]);
    let config = PluginConfig::new();
    assert!(config.is_empty());
    let firmware = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.3");
    assert_eq!(firmware.to_string(), "1.3.6.1.4.1.41482.3.3");
    let _: fn(DateTime, Version, JsonValue, JsonError, DerError) = |_, _, _, _, _| {};
    let _: fn(Method, StatusCode, Bytes, Zeroizing<Vec<u8>>) = |_, _, _, _| {};
    let _: fn(Metadata, Capability) = |_, _| {};
}
