//! Reads manifests and indexes of each media type, and what they say of themselves.

#![no_main]

use hardsign_core::oci::manifest::{Manifest, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST, sniff_media_type};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut kinds = 0;
    for media_type in [OCI_MANIFEST, OCI_INDEX, OCI_ARTIFACT] {
        if let Ok(manifest) = Manifest::parse(media_type, bytes) {
            assert_eq!(manifest.media_type, media_type);
            drop((manifest.signature_form(), manifest.listed_artifact_type()));
            // An index has no layers, and nothing else lists manifests.
            if !manifest.manifests.is_empty() {
                assert!(manifest.layers.is_empty() && manifest.config.is_none());
            }
            kinds += usize::from(!manifest.manifests.is_empty() || !manifest.layers.is_empty());
        }
    }
    // Nobody can take one manifest for a tree and for a leaf.
    assert!(kinds <= 2);
    drop(sniff_media_type(bytes));
});
