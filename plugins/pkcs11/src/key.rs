//! A key of a token, opened: found, logged in, with its certificate chain.

use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::{self, Choice, PublicKey};
use hardsign_plugin::proto::{Interaction, Property, Token as TokenDescription};
use hardsign_plugin::{Context, Error, Key, KeyRequest, Purpose};

use crate::certificates::{self, Sources};
use crate::config::Config;
use crate::connection::{Connection, Found, failed, find_key};
use crate::error::{Call, Pkcs11Error};
use crate::module::Token;
use crate::objects::{self, Certificates, KeyObject};
use crate::shared::Shared;
use crate::sign::Padding;

/// An open key.
pub(crate) struct TokenKey {
    key_spec: KeySpec,
    public: PublicKey,
    whereabouts: TokenDescription,
    /// Empty if there is none and the key was not opened to sign.
    chain: Vec<Vec<u8>>,
    properties: Vec<Property>,
    /// Absent if the key was opened only to be described.
    connection: Option<Connection>,
}

impl TokenKey {
    pub(crate) fn open(
        request: &KeyRequest<'_>,
        shared: &Shared,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let config = Config::read(request.key_id, request.config)?;
        let module = shared.module(&config)?;
        let token = module.token(&config.uri)?;
        let session = module
            .open_session(token.slot)
            .map_err(|source| failed("opening a session with", &token, source))?;
        if request.purpose == Purpose::Describe
            && let Some(described) = Opening::new(&config, &token, &session, false).seen()
        {
            return Ok(described);
        }
        let source = config.pin_source.as_ref();
        let proof = shared.login(&module, &token, &session, source, context)?;
        let opening = Opening::new(&config, &token, &session, proof.is_some());
        if request.purpose == Purpose::Describe {
            return opening.describe(context);
        }
        let Prepared {
            key,
            key_spec,
            public,
            chain,
            properties,
            login_each_time,
        } = opening.prepare(request.purpose, context)?;
        let whereabouts = token.describe();
        let found = Found {
            config,
            module,
            token,
            session,
            proof,
            key,
            key_spec,
            public: public.clone(),
            login_each_time,
        };
        Ok(Self {
            key_spec,
            public,
            whereabouts,
            chain,
            properties,
            connection: Some(Connection::new(found, context)?),
        })
    }
}

/// A key on its way to being open.
struct Opening<'a> {
    config: &'a Config,
    token: &'a Token,
    session: &'a Session,
    logged_in: bool,
}

/// All that was found out about a key.
struct Prepared {
    key: KeyObject,
    key_spec: KeySpec,
    public: PublicKey,
    chain: Vec<Vec<u8>>,
    properties: Vec<Property>,
    login_each_time: bool,
}

impl<'a> Opening<'a> {
    fn new(config: &'a Config, token: &'a Token, session: &'a Session, logged_in: bool) -> Self {
        Self {
            config,
            token,
            session,
            logged_in,
        }
    }

    /// The key as far as the token shows it without login, if that is enough to describe it.
    fn seen(&self) -> Option<TokenKey> {
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            if let Ok([key]) = objects::keys(self.session, class, &self.config.uri).as_deref()
                && let Ok(Some(public)) = objects::public_key(self.session, key)
            {
                let certificates = objects::certificates(self.session).ok()?;
                return Some(TokenKey {
                    key_spec: public.key_spec()?,
                    whereabouts: self.token.describe(),
                    chain: self
                        .choose(key, &public, &certificates, Purpose::Describe)
                        .map(|choice| choice.chain)
                        .unwrap_or_default(),
                    public,
                    properties: Vec::new(),
                    connection: None,
                });
            }
        }
        None
    }

    fn choose(
        &self,
        key: &KeyObject,
        public: &PublicKey,
        certificates: &Certificates,
        purpose: Purpose,
    ) -> Result<Choice, Error> {
        let (key_name, token) = (self.config.key_name(), self.token.name());
        let sources = self.sources(certificates)?;
        sources.choose(public, key, purpose, &key_name, &token)
    }

    fn describe(&self, context: &Context<'_>) -> Result<TokenKey, Error> {
        let Prepared {
            key_spec,
            public,
            chain,
            properties,
            ..
        } = self.prepare(Purpose::Describe, context)?;
        Ok(TokenKey {
            key_spec,
            public,
            whereabouts: self.token.describe(),
            chain,
            properties,
            connection: None,
        })
    }

    fn prepare(&self, purpose: Purpose, context: &Context<'_>) -> Result<Prepared, Error> {
        let key = self.find()?;
        let (public, certificates) = self.public_key(&key)?;
        let key_spec = self.key_spec(&public)?;
        let choice = self.choose(&key, &public, &certificates, purpose);
        let chain = match (choice, purpose) {
            (Ok(choice), Purpose::Sign) => {
                certificates::tell_choice(&choice, &self.config.key_name(), context);
                choice.chain
            }
            (Ok(choice), _) => choice.chain,
            (Err(error), Purpose::Sign) => return Err(error),
            // Whoever looks at a key, or has it certified, needs none.
            (Err(_), _) => Vec::new(),
        };
        let told = objects::told(self.session, key.handle, &crate::create::TOLD);
        let yes_or_no = |told| if told { "yes" } else { "no" };
        Ok(Prepared {
            login_each_time: objects::always_authenticate(self.session, &key),
            properties: told
                .into_iter()
                .map(|(name, value)| Property::new(name, yes_or_no(value)))
                .collect(),
            key,
            key_spec,
            public,
            chain,
        })
    }

    fn find(&self) -> Result<KeyObject, Pkcs11Error> {
        find_key(self.session, self.token, self.config, self.logged_in)
    }

    fn read<T>(&self, result: Result<T, Call>) -> Result<T, Pkcs11Error> {
        result.map_err(|source| failed("reading", self.token, source))
    }

    /// The public half, with the certificates that were read on the way.
    fn public_key(&self, key: &KeyObject) -> Result<(PublicKey, Certificates), Pkcs11Error> {
        let certificates = self.read(objects::certificates(self.session))?;
        if let Some(public) = self.read(objects::public_key(self.session, key))? {
            return Ok((public, certificates));
        }
        let public = self.sources(&certificates)?.public_key(key);
        let public = public.ok_or_else(|| Pkcs11Error::NoPublicKey {
            token: self.token.name(),
            key: self.config.key_name(),
            file: self.config.cert_chain.clone(),
        })?;
        Ok((public, certificates))
    }

    fn sources<'c>(&'c self, token: &'c Certificates) -> Result<Sources<'c>, Pkcs11Error> {
        let file = match self.config.cert_chain.as_deref() {
            Some(path) => Some((path, chain::load(path).map_err(Pkcs11Error::from)?)),
            None => None,
        };
        Ok(Sources {
            token: &token.found,
            search_failed: token.failure.as_ref(),
            file,
        })
    }

    fn key_spec(&self, public: &PublicKey) -> Result<KeySpec, Pkcs11Error> {
        public.key_spec().ok_or_else(|| Pkcs11Error::UnusableKey {
            token: self.token.name(),
            key: self.config.key_name(),
            what: public.describe(),
        })
    }
}

impl Key for TokenKey {
    fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.public.to_spki_der()?)
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn properties(&self) -> Vec<Property> {
        self.properties.clone()
    }

    fn token(&self) -> Option<TokenDescription> {
        Some(self.whereabouts.clone())
    }

    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.connection()?.sign(digest, Padding::Pss, context)
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(Connection::signs_pkcs1)
    }

    fn sign_digest_pkcs1v15(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.connection()?.sign(digest, Padding::Pkcs1, context)
    }

    fn max_in_flight(&self) -> u32 {
        let connection = self.connection.as_ref();
        connection.map_or(1, Connection::max_in_flight)
    }

    fn interaction(&self) -> Interaction {
        match &self.connection {
            Some(connection) if connection.asks_each_time() => Interaction::Pin,
            _ => Interaction::None,
        }
    }
}

impl TokenKey {
    fn connection(&self) -> Result<&Connection, Error> {
        let closed = || Error::other("the key was opened to be described only");
        self.connection.as_ref().ok_or_else(closed)
    }
}
