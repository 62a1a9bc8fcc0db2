//! Reading objects of a token: keys and certificates, by label and id.
//!
//! Of a private key only public attributes are ever asked for, whether it is extractable or not.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{
    Attribute, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::pkcs11_uri::Uri;

use crate::config::hex;
use crate::error::Call;
use crate::module::text;

/// Objects that one search looks at.
const MAX_OBJECTS: usize = 500;

/// Objects that are looked at one by one where a search by label finds nothing.
const MAX_LOOKED_AT: usize = 5_000;

/// Keys that an error lists.
const MAX_LISTED: usize = 20;

/// Bytes of a certificate that is looked at.
const MAX_CERTIFICATE: usize = 64 * 1024;

/// A private or public key object.
#[derive(Clone, Debug)]
pub(crate) struct KeyObject {
    pub(crate) handle: ObjectHandle,
    /// Without padding.
    pub(crate) label: String,
    /// As the token has it.
    raw_label: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) key_type: Option<KeyType>,
    /// CKA_SIGN; true if the token does not say.
    pub(crate) may_sign: bool,
}

impl KeyObject {
    /// A key that was just made.
    pub(crate) fn new(handle: ObjectHandle, label: &str, id: &[u8]) -> Self {
        Self {
            handle,
            label: label.to_owned(),
            raw_label: label.as_bytes().to_vec(),
            id: id.to_vec(),
            key_type: None,
            may_sign: true,
        }
    }

    /// Whether both halves of a pair are named alike.
    pub(crate) fn is_named_like(&self, other: &Self) -> bool {
        (&self.label, &self.id) == (&other.label, &other.id)
    }

    /// Label and id, for lists in messages.
    pub(crate) fn listed(&self) -> String {
        match self.id.is_empty() {
            true => format!("{:?}", self.label),
            false => format!("{:?} (id {})", self.label, hex(&self.id)),
        }
    }
}

/// Keys for a message, the first few.
pub(crate) fn listed(keys: &[KeyObject]) -> Vec<String> {
    keys.iter()
        .take(MAX_LISTED)
        .map(KeyObject::listed)
        .collect()
}

/// What tells these keys apart that the URI does not name yet.
pub(crate) fn tell_apart(uri: &Uri, keys: &[KeyObject]) -> String {
    let first = keys.first();
    let ids_differ = keys.iter().any(|key| first.is_some_and(|f| f.id != key.id));
    let labels_differ = keys
        .iter()
        .any(|key| first.is_some_and(|f| f.label != key.label));
    if uri.id.is_none() && ids_differ {
        return "add id= to the URI".to_owned();
    }
    if uri.object.is_none() && labels_differ {
        return "add object= to the URI".to_owned();
    }
    "nothing tells these keys apart: give one of them another id in the token's own tool, for \
     instance pkcs11-tool --set-id, or delete the one that is not used"
        .to_owned()
}

/// A certificate object.
#[derive(Clone, Debug)]
pub(crate) struct CertificateObject {
    pub(crate) label: String,
    pub(crate) id: Vec<u8>,
    pub(crate) der: Vec<u8>,
}

/// The certificates of a token, as far as they could be read.
pub(crate) struct Certificates {
    pub(crate) found: Vec<CertificateObject>,
    /// Why there may be more. Some modules know no certificates at all.
    pub(crate) failure: Option<Call>,
}

/// The keys of a class that the URI's object attributes match.
///
/// A label is compared without padding: where the module finds no equal one, the keys are looked
/// at one by one.
pub(crate) fn keys(
    session: &Session,
    class: ObjectClass,
    uri: &Uri,
) -> Result<Vec<KeyObject>, Call> {
    let mut template = vec![Attribute::Class(class)];
    template.extend(
        uri.object
            .as_ref()
            .map(|l| Attribute::Label(l.clone().into_bytes())),
    );
    template.extend(uri.id.clone().map(Attribute::Id));
    let by_template = find(session, &template, MAX_OBJECTS);
    let handles = match by_template {
        Ok(handles) if !handles.is_empty() || uri.object.is_none() => handles,
        Err(call) if call.is_lost() || template.len() == 1 => return Err(call),
        _ => find(session, &[Attribute::Class(class)], MAX_LOOKED_AT)?,
    };
    let wanted = uri.object.as_deref().map(text);
    let mut keys = Vec::new();
    for handle in handles {
        let key = read_key(session, handle)?;
        if wanted.is_none_or(|label| label == key.label)
            && uri.id.as_ref().is_none_or(|id| *id == key.id)
        {
            keys.push(key);
        }
    }
    keys.truncate(MAX_OBJECTS);
    Ok(keys)
}

fn find(session: &Session, template: &[Attribute], most: usize) -> Result<Vec<ObjectHandle>, Call> {
    let mut handles = Vec::new();
    for handle in session.iter_objects(template)?.take(most) {
        handles.push(handle?);
    }
    Ok(handles)
}

/// Reads what identifies a key.
pub(crate) fn read_key(session: &Session, handle: ObjectHandle) -> Result<KeyObject, Call> {
    let mut key = KeyObject {
        handle,
        label: String::new(),
        raw_label: Vec::new(),
        id: Vec::new(),
        key_type: None,
        may_sign: true,
    };
    let asked = [
        AttributeType::KeyType,
        AttributeType::Label,
        AttributeType::Id,
        AttributeType::Sign,
    ];
    for attribute in several(session, handle, &asked)? {
        match attribute {
            Attribute::KeyType(key_type) => key.key_type = Some(key_type),
            Attribute::Label(label) => {
                key.label = text(&String::from_utf8_lossy(&label)).to_owned();
                key.raw_label = label;
            }
            Attribute::Id(id) => key.id = id,
            Attribute::Sign(may_sign) => key.may_sign = may_sign,
            _ => {}
        }
    }
    Ok(key)
}

/// The attributes that the object shows. Where some are missing each is asked for alone: modules
/// exist that refuse all for one, or stop at the first that they don't know.
fn several(
    session: &Session,
    handle: ObjectHandle,
    asked: &[AttributeType],
) -> Result<Vec<Attribute>, Call> {
    match session.get_attributes(handle, asked).map_err(Call) {
        Ok(found) if found.len() == asked.len() => Ok(found),
        Err(call) if call.is_lost() => Err(call),
        _ => {
            let mut found = Vec::new();
            for attribute in asked {
                found.extend(one(session, handle, *attribute)?);
            }
            Ok(found)
        }
    }
}

/// One attribute; `None` if the object does not have it or does not show it.
fn one(
    session: &Session,
    handle: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Attribute>, Call> {
    match session.get_attributes(handle, &[attribute]).map_err(Call) {
        Ok(mut found) => Ok(found.pop()),
        Err(call) if call.is_lost() => Err(call),
        Err(_) => Ok(None),
    }
}

/// The flags that say where a private key may go, as far as the token tells.
pub(crate) fn flags(session: &Session, handle: ObjectHandle) -> Result<Vec<Attribute>, Call> {
    let asked = [AttributeType::Extractable, AttributeType::Sensitive];
    several(session, handle, &asked)
}

/// What the token says of a private key: name and yes or no.
pub(crate) fn told(
    session: &Session,
    handle: ObjectHandle,
    asked: &[(AttributeType, &'static str)],
) -> Vec<(&'static str, bool)> {
    let flag = |(attribute, name): &(AttributeType, &'static str)| {
        let value = match one(session, handle, *attribute).ok()?? {
            Attribute::Extractable(flag)
            | Attribute::NeverExtractable(flag)
            | Attribute::Sensitive(flag)
            | Attribute::AlwaysSensitive(flag)
            | Attribute::Local(flag)
            | Attribute::AlwaysAuthenticate(flag)
            | Attribute::Private(flag) => flag,
            _ => return None,
        };
        Some((*name, value))
    };
    asked.iter().filter_map(flag).collect()
}

/// CKA_KEY_GEN_MECHANISM of a key; `None` if the token does not tell, as for keys that it did not make.
pub(crate) fn made_with(
    session: &Session,
    handle: ObjectHandle,
) -> Result<Option<MechanismType>, Call> {
    match one(session, handle, AttributeType::KeyGenMechanism)? {
        Some(Attribute::KeyGenMechanism(mechanism)) => Ok(Some(mechanism)),
        _ => Ok(None),
    }
}

/// The certificate objects with the key's id, or with its label where it has none.
pub(crate) fn certificate_handles(
    session: &Session,
    key: &KeyObject,
) -> Result<Vec<ObjectHandle>, Call> {
    let template = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        match key.id.is_empty() {
            true => Attribute::Label(key.raw_label.clone()),
            false => Attribute::Id(key.id.clone()),
        },
    ];
    match find(session, &template, MAX_OBJECTS) {
        Err(call) if call.is_lost() => Err(call),
        found => Ok(found.unwrap_or_default()),
    }
}

/// The value of a certificate object.
pub(crate) fn value(session: &Session, handle: ObjectHandle) -> Result<Option<Vec<u8>>, Call> {
    match one(session, handle, AttributeType::Value)? {
        Some(Attribute::Value(value)) => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// Whether the key wants a login at each use.
pub(crate) fn always_authenticate(session: &Session, key: &KeyObject) -> bool {
    matches!(
        one(session, key.handle, AttributeType::AlwaysAuthenticate),
        Ok(Some(Attribute::AlwaysAuthenticate(true)))
    )
}

/// The public half of a key, as far as the token tells: from the private key object, or from the
/// public key object of the same id (or label, if it has no id).
pub(crate) fn public_key(session: &Session, key: &KeyObject) -> Result<Option<PublicKey>, Call> {
    match key.key_type {
        Some(KeyType::RSA) => {
            if let Some(found) = rsa(session, key.handle)? {
                return Ok(Some(found));
            }
        }
        Some(KeyType::EC) => {
            if let Some(found) = ec(session, key.handle)? {
                return Ok(Some(found));
            }
        }
        _ => return Ok(None),
    }
    if let Some(Attribute::PublicKeyInfo(spki)) =
        one(session, key.handle, AttributeType::PublicKeyInfo)?
        && let Ok(found) = PublicKey::from_spki_der(&spki)
    {
        return Ok(Some(found));
    }
    let mut template = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    template.push(match key.id.is_empty() {
        true => Attribute::Label(key.raw_label.clone()),
        false => Attribute::Id(key.id.clone()),
    });
    let handles = match find(session, &template, MAX_OBJECTS) {
        Err(call) if call.is_lost() => return Err(call),
        found => found.unwrap_or_default(),
    };
    for handle in handles {
        let found = match key.key_type {
            Some(KeyType::RSA) => rsa(session, handle)?,
            _ => ec(session, handle)?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn rsa(session: &Session, handle: ObjectHandle) -> Result<Option<PublicKey>, Call> {
    let asked = [AttributeType::Modulus, AttributeType::PublicExponent];
    let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
    for attribute in several(session, handle, &asked)? {
        match attribute {
            Attribute::Modulus(number) => modulus = number,
            Attribute::PublicExponent(number) => exponent = number,
            _ => {}
        }
    }
    let whole = !modulus.is_empty() && !exponent.is_empty();
    Ok(whole.then(|| PublicKey::rsa(&modulus, &exponent)))
}

fn ec(session: &Session, handle: ObjectHandle) -> Result<Option<PublicKey>, Call> {
    let Some(Attribute::EcPoint(point)) = one(session, handle, AttributeType::EcPoint)? else {
        return Ok(None);
    };
    let Some(Attribute::EcParams(parameters)) = one(session, handle, AttributeType::EcParams)?
    else {
        return Ok(None);
    };
    Ok(ec_key(&parameters, &point))
}

/// An EC key from CKA_EC_PARAMS and CKA_EC_POINT. PKCS#11 wraps the point into an OCTET STRING;
/// some modules don't, and some use a BIT STRING. What is no point of a curve that is known here is
/// unreadable.
fn ec_key(parameters: &[u8], point: &[u8]) -> Option<PublicKey> {
    let unwrapped = [octet_string(point), bit_string(point), Some(point)];
    let mut keys = unwrapped
        .into_iter()
        .flatten()
        .filter_map(|point| PublicKey::ec(parameters, point).ok());
    let found = keys.clone().find(|key| key.key_spec().is_some());
    found.or_else(|| keys.find(|key| !key.is_on_known_curve()))
}

/// The content of a DER OCTET STRING of less than 256 bytes that is all of `der`.
fn octet_string(der: &[u8]) -> Option<&[u8]> {
    let (length, content) = match der {
        [4, 0x81, length, content @ ..] => (length, content),
        [4, length, content @ ..] => (length, content),
        _ => return None,
    };
    (usize::from(*length) == content.len()).then_some(content)
}

/// The content of a DER BIT STRING of whole bytes, less than 256 of them, that is all of `der`.
fn bit_string(der: &[u8]) -> Option<&[u8]> {
    let (length, content) = match der {
        [3, 0x81, length, 0, content @ ..] => (length, content),
        [3, length, 0, content @ ..] => (length, content),
        _ => return None,
    };
    (usize::from(*length) == content.len().saturating_add(1)).then_some(content)
}

/// The X.509 certificates of a token.
pub(crate) fn certificates(session: &Session) -> Result<Certificates, Call> {
    let of_type = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
    ];
    // Some modules don't search by the type; what is no certificate is passed over later.
    let handles = match find(session, &of_type, MAX_OBJECTS) {
        Err(call) if call.is_lost() => return Err(call),
        Err(_) => find(
            session,
            &[Attribute::Class(ObjectClass::CERTIFICATE)],
            MAX_OBJECTS,
        ),
        found => found,
    };
    let mut certificates = Certificates {
        found: Vec::new(),
        failure: None,
    };
    let handles = match handles {
        Err(call) if call.is_lost() => return Err(call),
        Err(call) => {
            certificates.failure = Some(call);
            return Ok(certificates);
        }
        Ok(handles) => handles,
    };
    for handle in handles {
        let (mut label, mut id, mut der) = (String::new(), Vec::new(), Vec::new());
        let asked = [
            AttributeType::Label,
            AttributeType::Id,
            AttributeType::Value,
        ];
        for attribute in several(session, handle, &asked)? {
            match attribute {
                Attribute::Label(value) => {
                    text(&String::from_utf8_lossy(&value)).clone_into(&mut label);
                }
                Attribute::Id(value) => id = value,
                Attribute::Value(value) => der = value,
                _ => {}
            }
        }
        if !der.is_empty() && der.len() <= MAX_CERTIFICATE {
            certificates
                .found
                .push(CertificateObject { label, id, der });
        }
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octet_strings() {
        assert_eq!(octet_string(&[4, 2, 4, 9]), Some(&[4, 9][..]));
        let long = [&[4, 0x81, 133][..], &[4; 133]].concat();
        assert_eq!(octet_string(&long), Some(&[4; 133][..]));
        assert_eq!(octet_string(&[4, 3, 4, 9]), None);
        assert_eq!(octet_string(&[3, 1, 0]), None);
        assert_eq!(octet_string(&[]), None);
    }

    #[test]
    fn bit_strings() {
        assert_eq!(bit_string(&[3, 3, 0, 4, 9]), Some(&[4, 9][..]));
        let long = [&[3, 0x81, 134, 0][..], &[4; 133]].concat();
        assert_eq!(bit_string(&long), Some(&[4; 133][..]));
        assert_eq!(bit_string(&[3, 2, 1, 4]), None);
        assert_eq!(bit_string(&[4, 2, 0, 9]), None);
        assert_eq!(bit_string(&[]), None);
    }

    /// A point is found under each wrapping of each curve; what is no point is no key, and another
    /// curve is named.
    #[test]
    fn points_in_every_wrapping() {
        let p256 = [6, 8, 42, 134, 72, 206, 61, 3, 1, 7];
        let p384 = [6, 5, 43, 129, 4, 0, 34];
        let p521 = [6, 5, 43, 129, 4, 0, 35];
        for (curve, length) in [(&p256[..], 65), (&p384, 97), (&p521, 133)] {
            let mut point = vec![7_u8; length];
            point[0] = 4;
            let header = |tag: u8, length: usize| match length {
                ..128 => vec![tag, length as u8],
                _ => vec![tag, 0x81, length as u8],
            };
            for wrapped in [
                point.clone(),
                [header(4, length), point.clone()].concat(),
                [header(3, length + 1), vec![0], point.clone()].concat(),
            ] {
                let key = ec_key(curve, &wrapped).unwrap();
                assert!(key.key_spec().is_some(), "{wrapped:?}");
            }
            for unreadable in [
                &[][..],
                &[0x80],
                &point[..length - 1],
                &[2; 33],
                &[4, 2, 4, 9],
            ] {
                assert!(ec_key(curve, unreadable).is_none(), "{unreadable:?}");
            }
            assert!(ec_key(&[0x13, 5, 80, 45, 50, 53, 54], &point).is_none());
        }
        let secp256k1 = [6, 5, 43, 129, 4, 0, 10];
        let key = ec_key(&secp256k1, &[&[4, 65, 4][..], &[7; 64]].concat()).unwrap();
        assert_eq!(key.describe(), "EC on curve secp256k1");
    }
}
