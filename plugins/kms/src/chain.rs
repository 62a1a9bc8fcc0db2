//! Certificates of a key: from a file, or from beside the key.

use std::path::Path;
use std::time::SystemTime;

use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::{Error, KeyRequest};

/// The certificate chain of a key, leaf to root, from `at_hand` (certificates that the service
/// keeps with the key, in DER) and the file that the setting `cert-chain` names. Empty if there is
/// neither: then the host may know the chain.
///
/// # Errors
/// The file can't be read, no certificate is the key's, or the chain has a gap.
pub fn certificates(
    request: &KeyRequest<'_>,
    public: &PublicKey,
    at_hand: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>, Error> {
    let mut all = at_hand.to_vec();
    if let Some(path) = request.setting("cert-chain") {
        all.extend(chain::load(Path::new(path))?);
    }
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
