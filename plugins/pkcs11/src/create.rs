//! `create-key`: a key pair made by the token, of which the private half never leaves it.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::pkcs11_uri::{Uri, encode_query};
use hardsign_plugin::proto::{CreateKeyRequest, CreateKeyResponse};
use hardsign_plugin::text::names_after;
use hardsign_plugin::{Context, Error};

use crate::config::Config;
use crate::connection::{failed, find_key};
use crate::error::{Call, Pkcs11Error};
use crate::list;
use crate::module::Token;
use crate::objects::{self, KeyObject};
use crate::shared::Shared;
use crate::sign::{Padding, Signing, Site};

/// Bytes of the id that a key gets where the user names none.
const ID_LEN: usize = 8;

/// 65537.
const PUBLIC_EXPONENT: [u8; 3] = [1, 0, 1];

/// Makes the key that the key id names. One that is there already is replaced only if the request
/// says so, and only after the new one was made.
pub(crate) fn create_key(
    request: &CreateKeyRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    if config.uri.object.is_none() && !request.beside {
        return Err(Pkcs11Error::NoLabel.into());
    }
    if request.pin_policy.is_some() || request.touch_policy.is_some() {
        return Err(Error::validation(
            "PKCS#11 knows no PIN policy and no touch policy of a key",
        ));
    }
    let module = shared.module(&config)?;
    let token = module.token(&config.uri)?;
    if token.info.write_protected() {
        return Err(Pkcs11Error::ReadOnly {
            token: token.name(),
        }
        .into());
    }
    let session = module
        .open_rw_session(token.slot)
        .map_err(|source| writing("opening a session with", &token, source))?;
    let source = config.pin_source.as_ref();
    let proof = shared.login(&module, &token, &session, source, context)?;
    let uri = match request.beside {
        true => beside(&session, &token, &config)?,
        false => config.uri.clone(),
    };
    let label = uri.object.clone().ok_or(Pkcs11Error::NoLabel)?;
    let old = Old::find(&session, &token, &uri)?;
    if !old.is_empty() && !request.overwrite {
        return Err(Pkcs11Error::KeyExists {
            token: token.name(),
            keys: objects::listed(&old.keys),
        }
        .into());
    }
    let id = match uri.id.clone() {
        Some(id) => id,
        None => random_id().map_err(|error| Error::other(format!("no random id: {error}")))?,
    };
    let making = Making {
        session: &session,
        token: &token,
        label: &label,
        id: &id,
        key_spec: request.key_spec,
    };
    let (private, made) = making.checked()?;
    let site = Site {
        module: &module,
        token: &token,
        proof: proof.as_deref(),
        context,
    };
    if request.key_spec.is_rsa() && !making.signs(private.0, &made, site) {
        destroy(&session, [private.0, private.1]);
        return Err(Error::validation(format!(
            "{} can't sign with an {} key that is for signing alone: the key was deleted again",
            token.name(),
            request.key_spec
        ))
        .with_hint("ask for an EC key, for instance --type EC-256"));
    }
    let replaced = old.delete(&session, &token)?;
    let key = KeyObject::new(private.0, &label, &id);
    Ok(CreateKeyResponse {
        key_id: with_query(list::uri(&module, &token, &key), &config),
        key_spec: request.key_spec,
        public_key: made.to_spki_der()?.into(),
        token: Some(token.describe()),
        replaced,
    })
}

/// The URI with where the PIN comes from, if the user's own had that.
fn with_query(uri: String, config: &Config) -> String {
    match &config.in_uri.pin_source {
        Some(source) => format!("{uri}&pin-source={}", encode_query(source)),
        None => uri,
    }
}

/// What a write that failed means.
pub(crate) fn writing(doing: &'static str, token: &Token, source: Call) -> Error {
    use cryptoki::error::RvError;
    let name = token.name();
    match source.value() {
        Some(RvError::TokenWriteProtected | RvError::SessionReadOnly) => {
            Pkcs11Error::ReadOnly { token: name }.into()
        }
        Some(RvError::DeviceMemory) => Pkcs11Error::Full {
            token: name,
            source,
        }
        .into(),
        Some(RvError::GeneralError | RvError::FunctionFailed | RvError::DeviceError) => {
            Pkcs11Error::Write {
                doing,
                token: name,
                source,
            }
            .into()
        }
        _ => failed(doing, token, source).into(),
    }
}

fn random_id() -> Result<Vec<u8>, getrandom::Error> {
    let mut id = vec![0; ID_LEN];
    getrandom::fill(&mut id)?;
    Ok(id)
}

fn destroy(session: &Session, objects: impl IntoIterator<Item = ObjectHandle>) {
    for object in objects {
        // What can't be removed is told of by the error that led here.
        session.destroy_object(object).unwrap_or(());
    }
}

/// A name beside that of a key that is there: its label with the first number that is free, and an id of
/// its own.
fn beside(session: &Session, token: &Token, config: &Config) -> Result<Uri, Error> {
    let there = find_key(session, token, config, true)?;
    if there.label.is_empty() {
        return Err(Pkcs11Error::NoLabel.into());
    }
    for name in names_after(&there.label).take(MAX_BESIDE) {
        let uri = Uri {
            object: Some(name),
            id: None,
            ..config.uri.clone()
        };
        if Old::find(session, token, &uri)?.is_empty() {
            return Ok(uri);
        }
    }
    Err(Pkcs11Error::NoLabel.into())
}

/// Names that are tried for a key beside another.
const MAX_BESIDE: usize = 100;

/// What stands under the new key's name already.
struct Old {
    keys: Vec<KeyObject>,
    /// Everything that belongs to these keys, certificates included.
    objects: Vec<ObjectHandle>,
}

impl Old {
    fn find(session: &Session, token: &Token, uri: &Uri) -> Result<Self, Error> {
        let read = |result: Result<Vec<KeyObject>, Call>| {
            result.map_err(|source| failed("reading", token, source))
        };
        // Another key with this label or with this id would be mistaken for the new one.
        let by_label = Uri {
            id: None,
            ..uri.clone()
        };
        let by_id = Uri {
            object: None,
            ..uri.clone()
        };
        let mut keys: Vec<KeyObject> = Vec::new();
        let mut objects = Vec::new();
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            let mut found = read(objects::keys(session, class, &by_label))?;
            if uri.id.is_some() {
                found.extend(read(objects::keys(session, class, &by_id))?);
            }
            for key in found {
                if objects.contains(&key.handle) {
                    continue;
                }
                objects.push(key.handle);
                if !keys.iter().any(|known| known.is_named_like(&key)) {
                    keys.push(key);
                }
            }
        }
        for key in &keys {
            let certificates = objects::certificate_handles(session, key);
            objects.extend(certificates.map_err(|source| failed("reading", token, source))?);
        }
        Ok(Self { keys, objects })
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Deletes it all; says what it was.
    fn delete(&self, session: &Session, token: &Token) -> Result<Option<String>, Error> {
        if self.is_empty() {
            return Ok(None);
        }
        for object in &self.objects {
            session.destroy_object(*object).map_err(|error| {
                let error = writing("deleting the old key in", token, error.into());
                let hint = "the new key was made as well; delete one of the two in the token's own \
                            tool before you go on";
                error.with_hint(hint)
            })?;
        }
        Ok(Some(format!(
            "{} in {}, with its certificates",
            objects::listed(&self.keys).join(", "),
            token.name()
        )))
    }
}

/// A key on its way.
struct Making<'a> {
    session: &'a Session,
    token: &'a Token,
    label: &'a str,
    id: &'a [u8],
    key_spec: KeySpec,
}

impl Making<'_> {
    /// Makes the pair and looks at it: both handles, private first, and the public key. A pair that is not
    /// as it should be is deleted again.
    fn checked(&self) -> Result<((ObjectHandle, ObjectHandle), PublicKey), Error> {
        let (private, public) = self.make()?;
        match self.check(private, public) {
            Ok(made) => Ok(((private, public), made)),
            Err(error) => {
                destroy(self.session, [private, public]);
                Err(error)
            }
        }
    }

    /// Whether the new key makes a signature, of a digest that means nothing.
    fn signs(&self, private: ObjectHandle, public: &PublicKey, site: Site<'_>) -> bool {
        let (public, spec) = (public.clone(), self.key_spec);
        let signing = Signing::new(site.module, site.token, private, public, spec, false);
        let digest = vec![0; spec.hash().output_len()];
        signing.is_ok_and(|signing| {
            let signed = signing.sign(self.session, &digest, Padding::Pss, site);
            signed.is_ok()
        })
    }

    /// Makes the pair: private and public handle.
    fn make(&self) -> Result<(ObjectHandle, ObjectHandle), Error> {
        use cryptoki::error::RvError;
        let mechanism = match self.key_spec.is_rsa() {
            true => Mechanism::RsaPkcsKeyPairGen,
            false => Mechanism::EccKeyPairGen,
        };
        let mut refused = None;
        for strict in [true, false] {
            let (public, private) = (self.public(strict), self.private(strict));
            let made = self
                .session
                .generate_key_pair(&mechanism, &public, &private);
            let call = match made {
                Ok((public, private)) => return Ok((private, public)),
                Err(error) => Call(error),
            };
            // Not every token takes every attribute; those that matter are looked at afterwards.
            let template = matches!(
                call.value(),
                Some(
                    RvError::AttributeTypeInvalid
                        | RvError::AttributeValueInvalid
                        | RvError::AttributeReadOnly
                        | RvError::GeneralError
                        | RvError::TemplateInconsistent
                        | RvError::TemplateIncomplete
                )
            );
            refused = Some(call);
            if !template {
                break;
            }
        }
        let source = refused.unwrap_or(Call(cryptoki::error::Error::NullFunctionPointer));
        Err(match source.value() {
            Some(
                RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::KeySizeRange
                | RvError::CurveNotSupported
                | RvError::DomainParamsInvalid
                | RvError::AttributeValueInvalid
                | RvError::FunctionNotSupported,
            ) => Pkcs11Error::CannotMake {
                token: self.token.name(),
                key_spec: self.key_spec,
                source,
            }
            .into(),
            _ => writing("making a key in", self.token, source),
        })
    }

    fn named(&self) -> Vec<Attribute> {
        vec![
            Attribute::Token(true),
            Attribute::Label(self.label.as_bytes().to_vec()),
            Attribute::Id(self.id.to_vec()),
        ]
    }

    fn public(&self, strict: bool) -> Vec<Attribute> {
        // What the public half may do is left to the token: it gives nothing away, and some refuse what they
        // would set themselves (a TPM has one bit for signing and encrypting).
        let mut template = self.named();
        match curve(self.key_spec) {
            Some(curve) => template.push(Attribute::EcParams(curve.to_vec())),
            None => {
                let bits = match self.key_spec {
                    KeySpec::Rsa2048 => 2048,
                    KeySpec::Rsa3072 => 3072,
                    _ => 4096,
                };
                template.push(Attribute::ModulusBits(Ulong::from(bits)));
                template.push(Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()));
            }
        }
        if strict {
            template.push(Attribute::Private(false));
        }
        template
    }

    fn private(&self, strict: bool) -> Vec<Attribute> {
        let mut template = self.named();
        template.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ]);
        if strict {
            template.extend([
                Attribute::Decrypt(false),
                Attribute::Unwrap(false),
                Attribute::Derive(false),
                Attribute::SignRecover(false),
            ]);
        }
        template
    }

    /// The public key, once the token has said that the private one can't be read out.
    fn check(&self, private: ObjectHandle, public: ObjectHandle) -> Result<PublicKey, Error> {
        let read = |source: Call| failed("reading the new key in", self.token, source);
        let can_leave = objects::flags(self.session, private).map_err(read)?;
        let leaves = can_leave.iter().any(|attribute| {
            matches!(
                attribute,
                Attribute::Extractable(true) | Attribute::Sensitive(false)
            )
        });
        if leaves {
            return Err(Pkcs11Error::Exportable {
                token: self.token.name(),
            }
            .into());
        }
        let key = objects::read_key(self.session, public).map_err(read)?;
        let found = objects::public_key(self.session, &key).map_err(read)?;
        match found {
            Some(found) if found.key_spec() == Some(self.key_spec) => Ok(found),
            _ => Err(Error::other(format!(
                "{} made a key that is no {} key, or does not tell its public half",
                self.token.name(),
                self.key_spec
            ))),
        }
    }
}

/// The curve's object identifier in DER: CKA_EC_PARAMS.
fn curve(key_spec: KeySpec) -> Option<&'static [u8]> {
    match key_spec {
        KeySpec::Ec256 => Some(&[6, 8, 42, 134, 72, 206, 61, 3, 1, 7]),
        KeySpec::Ec384 => Some(&[6, 5, 43, 129, 4, 0, 34]),
        KeySpec::Ec521 => Some(&[6, 5, 43, 129, 4, 0, 35]),
        KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096 => None,
    }
}

/// What a key of this token is good for, in words: for `describe-key`.
pub(crate) const TOLD: [(AttributeType, &str); 7] = [
    (AttributeType::Extractable, "extractable"),
    (AttributeType::NeverExtractable, "never extractable"),
    (AttributeType::Sensitive, "sensitive"),
    (AttributeType::AlwaysSensitive, "always sensitive"),
    (AttributeType::Local, "made on the token"),
    (AttributeType::AlwaysAuthenticate, "login for each use"),
    (AttributeType::Private, "seen after login only"),
];
