//! What the plugin itself reads in a card's statement on a key; checking it is the host's part.

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::ObjectIdentifier;

/// PIN and touch policy, two bare bytes.
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");

/// The PIN and touch policy of the key that a statement is about.
pub(crate) fn policies(statement: &[u8]) -> Option<(u8, u8)> {
    let certificate = Certificate::from_der(statement).ok()?;
    let extensions = certificate.tbs_certificate.extensions?;
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id == POLICIES)?;
    match found.extn_value.as_bytes() {
        [pin, touch] => Some((*pin, *touch)),
        _ => None,
    }
}
