//! A key version, opened: one token, one look at the key and its certificate, then one request a signature.

use azure_security_keyvault_keys::models::SignatureAlgorithm;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::proto::{Property, Token};
use hardsign_plugin::{AsyncKey, Context, Error, KeyRequest};
use hardsign_plugin_kms::{certificates, number};

use crate::id::Place;
use crate::vault::{Vault, Version, place};

/// Requests under way at once, unless the user says otherwise.
const IN_FLIGHT: u32 = 64;

/// An open key.
pub(crate) struct VaultKey {
    vault: Vault,
    version: Version,
    chain: Vec<Vec<u8>>,
    in_flight: u32,
}

impl VaultKey {
    pub(crate) async fn open(
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let in_flight = number(request, "max-in-flight", 256)?.unwrap_or(IN_FLIGHT);
        let place = Place::read(request)?;
        let name = place.clone().named()?;
        let vault = Vault::open(request, place).await?;
        let version = vault.version(&name, context).await?;
        let at_hand = match version.of_certificate {
            true => vault.certificate(&version, context).await?,
            false => None,
        };
        let at_hand: Vec<Vec<u8>> = at_hand.into_iter().collect();
        let chain = certificates(request, &version.public, &at_hand)?;
        let in_flight = vault.pace.in_flight(in_flight);
        Ok(Self {
            vault,
            version,
            chain,
            in_flight,
        })
    }
}

impl AsyncKey for VaultKey {
    fn key_spec(&self) -> KeySpec {
        self.version.spec
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.version.public.to_spki_der()?)
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn properties(&self) -> Vec<Property> {
        self.version.properties.clone()
    }

    fn token(&self) -> Option<Token> {
        Some(place(&self.version.name.host, &self.version.kind))
    }

    fn max_in_flight(&self) -> u32 {
        self.in_flight
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.version.spec.is_rsa()
    }

    async fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        let algorithm = match self.version.spec {
            KeySpec::Rsa2048 => SignatureAlgorithm::Ps256,
            KeySpec::Rsa3072 => SignatureAlgorithm::Ps384,
            KeySpec::Rsa4096 => SignatureAlgorithm::Ps512,
            KeySpec::Ec256 => SignatureAlgorithm::Es256,
            KeySpec::Ec384 => SignatureAlgorithm::Es384,
            KeySpec::Ec521 => SignatureAlgorithm::Es512,
        };
        self.vault
            .sign(&self.version, &algorithm, digest, context)
            .await
    }

    async fn sign_digest_pkcs1v15(
        &self,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let algorithm = match self.version.spec.hash() {
            HashAlgorithm::Sha256 => SignatureAlgorithm::Rs256,
            HashAlgorithm::Sha384 => SignatureAlgorithm::Rs384,
            HashAlgorithm::Sha512 => SignatureAlgorithm::Rs512,
        };
        self.vault
            .sign(&self.version, &algorithm, digest, context)
            .await
    }
}
