//! Certificates of a key: from a file, or from beside the key.

use std::path::Path;
use std::time::SystemTime;

use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::{Error, KeyRequest, Purpose};

/// The certificate chain of a key, leaf to root, from `at_hand` (certificates that the service
/// keeps with the key, in DER) and the file that the setting `cert-chain` names. Empty if there is
/// neither: then the host may know the chain.
///
/// Of a key that is not to sign artifacts, that of a CA for instance, it is what the file or the service
/// has, if it begins with the key's certificate.
///
/// # Errors
/// The file can't be read, no certificate is the key's, or the chain has a gap.
pub fn certificates(
    request: &KeyRequest<'_>,
    public: &PublicKey,
    at_hand: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, Error> {
    let file = match request.setting("cert-chain") {
        Some(path) => chain::load(Path::new(path)),
        None => Ok(Vec::new()),
    };
    if request.purpose != Purpose::Sign {
        let file = match request.purpose {
            // The file may be one that is to be written.
            Purpose::Certify => file.unwrap_or_default(),
            _ => file?,
        };
        let own = |chain: &[Vec<u8>]| {
            let leaf = chain.first();
            leaf.is_some_and(|leaf| chain::matches(public, leaf))
        };
        return Ok(if own(&file) {
            file
        } else if own(at_hand) {
            at_hand.to_vec()
        } else {
            Vec::new()
        });
    }
    let mut all = at_hand.to_vec();
    all.extend(file?);
    if all.is_empty() {
        return Ok(all);
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "only a certificate that is valid now signs"
    )]
    let now = SystemTime::now();
    Ok(chain::choose(public, &all, now)?.chain)
}
