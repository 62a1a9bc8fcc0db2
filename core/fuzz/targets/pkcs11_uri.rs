//! Reads PKCS#11 URIs, and takes PINs out of them.

#![no_main]

use hardsign_plugin::pkcs11_uri::{self, Uri, UriError};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let sources: Vec<_> = pkcs11_uri::pin_sources(text).collect();
    let without = pkcs11_uri::without_pin(text);
    let redacted = pkcs11_uri::redacted(text, "");
    assert!(redacted.len() <= text.len());
    assert_eq!(pkcs11_uri::redacted(&redacted, ""), redacted);
    match Uri::parse(text) {
        Some(Ok(uri)) => {
            // The two readers agree, and no PIN is in a URI that is taken.
            assert_eq!(uri.pin_source.as_ref(), sources.first());
            let query = text.split_once('?').map_or("", |(_, query)| query);
            assert!(!query.split('&').any(|attribute| attribute.starts_with("pin-value=")));
            let rest = Uri::parse(&without).unwrap().unwrap();
            assert_eq!((rest.pin_source, rest.object, rest.id), (None, uri.object.clone(), uri.id));
            if let Some(object) = uri.object {
                let again = format!("pkcs11:object={}", pkcs11_uri::encode(object.as_bytes()));
                assert_eq!(Uri::parse(&again).unwrap().unwrap().object, Some(object));
            }
        }
        Some(Err(error @ UriError::PinValue)) => assert!(error.hint().is_some()),
        _ => {}
    }
});
