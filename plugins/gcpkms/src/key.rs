//! A key version, opened: one token, one look, then one request a signature.

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{Property, Token};
use hardsign_plugin::{AsyncKey, Context, Error, KeyRequest};
use hardsign_plugin_kms::{certificates, number};

use crate::SERVICE;
use crate::id::{KeyName, Place};
use crate::service::{Service, Version};

/// Requests under way at once, unless the user says otherwise.
const IN_FLIGHT: u32 = 64;

/// An open key.
pub(crate) struct CloudKey {
    service: Service,
    name: KeyName,
    version: Version,
    chain: Vec<Vec<u8>>,
    in_flight: u32,
}

impl CloudKey {
    pub(crate) async fn open(
        request: &KeyRequest<'_>,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let in_flight = number(request, "max-in-flight", 256)?.unwrap_or(IN_FLIGHT);
        let name = Place::read(request)?.named()?;
        let service = Service::open(request).await?;
        let version = service.version(&name, context).await?;
        let chain = certificates(request, &version.public, &[])?;
        let in_flight = service.pace.in_flight(in_flight);
        Ok(Self {
            service,
            name,
            version,
            chain,
            in_flight,
        })
    }
}

/// The key ring, as the place where a key lives.
pub(crate) fn place(ring: &str, protection: &str) -> Token {
    Token {
        label: Some(ring.to_owned()),
        manufacturer: Some(SERVICE.to_owned()),
        model: Some(protection.to_owned()),
        ..Token::default()
    }
}

impl AsyncKey for CloudKey {
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
        vec![
            Property::new("version", self.version.name.as_str()),
            Property::new("algorithm", self.version.algorithm.as_str()),
            Property::new("protection level", self.version.protection.as_str()),
        ]
    }

    fn token(&self) -> Option<Token> {
        Some(place(&self.name.ring, &self.version.protection))
    }

    fn max_in_flight(&self) -> u32 {
        self.in_flight
    }

    async fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.service.sign(&self.version, digest, context).await
    }
}
