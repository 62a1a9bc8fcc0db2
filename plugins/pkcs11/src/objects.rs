//! Reading objects of a token: keys and certificates, by label and id.
//!
//! Of a private key only public attributes are ever asked for, whether it is extractable or not.

use cryptoki::object::{
    Attribute, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session;
use hardsign_plugin::chain::PublicKey;

use crate::config::hex;
use crate::error::Call;
use crate::uri::Uri;

/// Objects that one search looks at.
const MAX_OBJECTS: usize = 500;

/// Bytes of a certificate that is looked at.
const MAX_CERTIFICATE: usize = 64 * 1024;

/// A private or public key object.
#[derive(Clone, Debug)]
pub(crate) struct KeyObject {
    pub(crate) handle: ObjectHandle,
    pub(crate) label: String,
    pub(crate) id: Vec<u8>,
    pub(crate) key_type: Option<KeyType>,
    /// CKA_SIGN; true if the token does not say.
    pub(crate) may_sign: bool,
}

impl KeyObject {
    /// Label and id, for lists in messages.
    pub(crate) fn listed(&self) -> String {
        match self.id.is_empty() {
            true => format!("{:?}", self.label),
            false => format!("{:?} (id {})", self.label, hex(&self.id)),
        }
    }
}

/// A certificate object.
#[derive(Clone, Debug)]
pub(crate) struct CertificateObject {
    pub(crate) id: Vec<u8>,
    pub(crate) der: Vec<u8>,
}

/// The keys of a class that the URI's object attributes match.
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
    let mut keys = Vec::new();
    for handle in find(session, &template)? {
        keys.push(key(session, handle)?);
    }
    Ok(keys)
}

fn find(session: &Session, template: &[Attribute]) -> Result<Vec<ObjectHandle>, Call> {
    let mut handles = Vec::new();
    for handle in session.iter_objects(template)?.take(MAX_OBJECTS) {
        handles.push(handle?);
    }
    Ok(handles)
}

fn key(session: &Session, handle: ObjectHandle) -> Result<KeyObject, Call> {
    let mut key = KeyObject {
        handle,
        label: String::new(),
        id: Vec::new(),
        key_type: None,
        may_sign: true,
    };
    let asked = [
        AttributeType::KeyType,
        AttributeType::Label,
        AttributeType::Id,
    ];
    for attribute in session.get_attributes(handle, &asked)? {
        match attribute {
            Attribute::KeyType(key_type) => key.key_type = Some(key_type),
            Attribute::Label(label) => key.label = String::from_utf8_lossy(&label).into_owned(),
            Attribute::Id(id) => key.id = id,
            _ => {}
        }
    }
    key.may_sign = !matches!(
        one(session, handle, AttributeType::Sign)?,
        Some(Attribute::Sign(false))
    );
    Ok(key)
}

/// One attribute; `None` if the object does not have it.
fn one(
    session: &Session,
    handle: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Attribute>, Call> {
    Ok(session.get_attributes(handle, &[attribute])?.pop())
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
        true => Attribute::Label(key.label.clone().into_bytes()),
        false => Attribute::Id(key.id.clone()),
    });
    for handle in find(session, &template)? {
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
    for attribute in session.get_attributes(handle, &asked)? {
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
    if point.is_empty() {
        return Ok(None);
    }
    // PKCS#11 wraps the point into an OCTET STRING; some modules don't.
    let wrapped = octet_string(&point)
        .and_then(|inner| PublicKey::ec(&parameters, inner).ok())
        .filter(|key| key.key_spec().is_some());
    Ok(wrapped.or_else(|| PublicKey::ec(&parameters, &point).ok()))
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

/// The X.509 certificates of a token.
pub(crate) fn certificates(session: &Session) -> Result<Vec<CertificateObject>, Call> {
    let template = [
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
    ];
    let mut certificates = Vec::new();
    for handle in find(session, &template)? {
        let (mut id, mut der) = (Vec::new(), Vec::new());
        let asked = [AttributeType::Id, AttributeType::Value];
        for attribute in session.get_attributes(handle, &asked)? {
            match attribute {
                Attribute::Id(value) => id = value,
                Attribute::Value(value) => der = value,
                _ => {}
            }
        }
        if !der.is_empty() && der.len() <= MAX_CERTIFICATE {
            certificates.push(CertificateObject { id, der });
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
}
