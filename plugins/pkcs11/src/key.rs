//! A key of a token, opened: found, logged in, with its certificate chain.

use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::proto::{Interaction, Token as TokenDescription};
use hardsign_plugin::{Context, Error, Key, KeyRequest, Purpose};

use crate::certificates::{self, Sources};
use crate::config::Config;
use crate::connection::{Connection, Found, failed, find_key, log_out};
use crate::error::{Call, Pkcs11Error};
use crate::login::login;
use crate::module::{Module, Token};
use crate::objects::{self, Certificates, KeyObject};

/// An open key.
pub(crate) struct TokenKey {
    key_spec: KeySpec,
    public: PublicKey,
    whereabouts: TokenDescription,
    /// Absent if the key was opened only to be described.
    ready: Option<Ready>,
}

/// A key that is ready to sign.
struct Ready {
    chain: Vec<Vec<u8>>,
    connection: Connection,
}

impl TokenKey {
    pub(crate) fn open(request: &KeyRequest<'_>, context: &Context<'_>) -> Result<Self, Error> {
        let config = Config::read(request.key_id, request.config)?;
        let module = Module::load(&config)?;
        let token = module.token(&config.uri)?;
        let session = module
            .open_session(token.slot)
            .map_err(|source| failed("opening a session with", &token, source))?;
        if request.purpose == Purpose::Describe
            && let Some((key_spec, public)) = describe_without_login(&session, &config)
        {
            return Ok(Self {
                key_spec,
                public,
                whereabouts: token.describe(),
                ready: None,
            });
        }
        let source = config.pin_source.as_ref();
        let proof = login(&module, &token, &session, source, context)?;
        let opening = Opening {
            config: &config,
            token: &token,
            session: &session,
            logged_in: proof.is_some(),
        };
        if request.purpose == Purpose::Describe {
            let described = opening.describe();
            log_out(&session, proof.is_some());
            let (key_spec, public) = described?;
            return Ok(Self {
                key_spec,
                public,
                whereabouts: token.describe(),
                ready: None,
            });
        }
        let Prepared {
            key,
            key_spec,
            public,
            chain,
            login_each_time,
        } = match opening.prepare() {
            Ok(prepared) => prepared,
            Err(error) => {
                log_out(&session, proof.is_some());
                return Err(error);
            }
        };
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
            ready: Some(Ready {
                chain,
                connection: Connection::new(found, context)?,
            }),
        })
    }
}

/// Key spec and public key, if the token shows enough without login.
fn describe_without_login(session: &Session, config: &Config) -> Option<(KeySpec, PublicKey)> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        if let Ok([key]) = objects::keys(session, class, &config.uri).as_deref()
            && let Ok(Some(public)) = objects::public_key(session, key)
        {
            return Some((public.key_spec()?, public));
        }
    }
    None
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
    login_each_time: bool,
}

impl Opening<'_> {
    fn describe(&self) -> Result<(KeySpec, PublicKey), Error> {
        let key = self.find()?;
        let (public, _) = self.public_key(&key)?;
        Ok((self.key_spec(&public)?, public))
    }

    fn prepare(&self) -> Result<Prepared, Error> {
        let key = self.find()?;
        let (public, certificates) = self.public_key(&key)?;
        let key_spec = self.key_spec(&public)?;
        let sources = self.sources(&certificates)?;
        let chain = sources.chain(&public, &key, &self.config.key_name(), &self.token.name())?;
        let login_each_time = objects::always_authenticate(self.session, &key);
        Ok(Prepared {
            key,
            key_spec,
            public,
            chain,
            login_each_time,
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
            Some(path) => Some((path, certificates::read_file(path)?)),
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

    /// None where the key was opened to be described: certificates were not looked for.
    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self
            .ready
            .as_ref()
            .map(|ready| ready.chain.clone())
            .unwrap_or_default())
    }

    fn token(&self) -> Option<TokenDescription> {
        Some(self.whereabouts.clone())
    }

    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.ready()?.connection.sign(digest, context)
    }

    fn max_in_flight(&self) -> u32 {
        let connection = self.ready.as_ref().map(|ready| &ready.connection);
        connection.map_or(1, Connection::max_in_flight)
    }

    fn interaction(&self) -> Interaction {
        match &self.ready {
            Some(ready) if ready.connection.asks_each_time() => Interaction::Pin,
            _ => Interaction::None,
        }
    }
}

impl TokenKey {
    fn ready(&self) -> Result<&Ready, Error> {
        let closed = || Error::other("the key was opened to be described only");
        self.ready.as_ref().ok_or_else(closed)
    }
}
