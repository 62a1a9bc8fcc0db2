"""Azure's own client against a vault: the list of keys, each key and a signature, which `cryptography`
verifies; a key that is not there. The argument is JSON; so is the answer."""

import hashlib
import json
import sys

from azure.core.exceptions import ResourceNotFoundError
from azure.identity import EnvironmentCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

ALGORITHMS = {
    "RSA-2048": (SignatureAlgorithm.ps256, "sha256", hashes.SHA256()),
    "RSA-3072": (SignatureAlgorithm.ps384, "sha384", hashes.SHA384()),
    "RSA-4096": (SignatureAlgorithm.ps512, "sha512", hashes.SHA512()),
    "EC-256": (SignatureAlgorithm.es256, "sha256", hashes.SHA256()),
    "EC-384": (SignatureAlgorithm.es384, "sha384", hashes.SHA384()),
    "EC-521": (SignatureAlgorithm.es512, "sha512", hashes.SHA512()),
}
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def public_key(key):
    if key.kty == "RSA":
        numbers = rsa.RSAPublicNumbers(
            int.from_bytes(key.e, "big"), int.from_bytes(key.n, "big")
        )
    else:
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(key.x, "big"), int.from_bytes(key.y, "big"), CURVES[key.crv]
        )
    return numbers.public_key()


def main():
    question = json.loads(sys.argv[1])
    credential = EnvironmentCredential()
    client = KeyClient(vault_url=question["vault"], credential=credential)
    listed = [properties.name for properties in client.list_properties_of_keys()]
    answer = {"verified": 0, "listed": len(listed)}
    for name in question["keys"]:
        assert name in listed, listed
        key = client.get_key(name)
        assert key.properties.enabled and "sign" in key.key_operations, key
        algorithm, hash_name, hash_ = ALGORITHMS[name]
        digest = hashlib.new(hash_name, b"message").digest()
        signed = CryptographyClient(key.id, credential).sign(algorithm, digest)
        assert signed.key_id == key.id, signed.key_id
        prehashed = utils.Prehashed(hash_)
        public = public_key(key.key)
        if key.key.kty == "RSA":
            salt = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
            public.verify(signed.signature, digest, salt, prehashed)
        else:
            half = len(signed.signature) // 2
            r = int.from_bytes(signed.signature[:half], "big")
            s = int.from_bytes(signed.signature[half:], "big")
            der = utils.encode_dss_signature(r, s)
            public.verify(der, digest, ec.ECDSA(prehashed))
        answer["verified"] += 1
    try:
        client.get_key("absent")
    except ResourceNotFoundError as error:
        answer["refused"] = error.error.code
    print(json.dumps(answer))


main()
