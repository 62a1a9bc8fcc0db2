"""Google's own client against a server: each key's public key and a signature, which `cryptography`
verifies; the list of versions; a key that is not there. The argument is JSON; so is the answer."""

import hashlib
import json
import sys

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.cloud import kms

HASHES = {
    "SHA-256": ("sha256", hashes.SHA256()),
    "SHA-384": ("sha384", hashes.SHA384()),
    "SHA-512": ("sha512", hashes.SHA512()),
}

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF

def main():
    question = json.loads(sys.argv[1])
    client = kms.KeyManagementServiceClient(
        transport="rest", client_options=ClientOptions(api_endpoint=question["endpoint"])
    )
    answer = {"verified": 0, "versions": 0}
    for name, algorithm, hash_name in question["keys"]:
        version = name + "/cryptoKeyVersions/1"
        for listed in client.list_crypto_key_versions(parent=name):
            assert listed.name == version, listed
            assert listed.state.name == "ENABLED", listed
            answer["versions"] += 1
        public = client.get_public_key(name=version)
        assert public.name == version, public
        assert public.algorithm.name == algorithm, public
        assert public.pem_crc32c == crc32c(public.pem.encode()), public
        member, hash_ = HASHES[hash_name]
        digest = hashlib.new(member, b"message").digest()
        signed = client.asymmetric_sign(
            request={
                "name": version,
                "digest": {member: digest},
                "digest_crc32c": crc32c(digest),
            }
        )
        assert signed.name == version, signed
        assert signed.verified_digest_crc32c, signed
        assert signed.signature_crc32c == crc32c(signed.signature), signed
        key = serialization.load_pem_public_key(public.pem.encode())
        prehashed = utils.Prehashed(hash_)
        if isinstance(key, rsa.RSAPublicKey):
            salt = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
            key.verify(signed.signature, digest, salt, prehashed)
        else:
            key.verify(signed.signature, digest, ec.ECDSA(prehashed))
        answer["verified"] += 1
    try:
        client.get_public_key(name=question["keys"][0][0] + "x/cryptoKeyVersions/1")
    except exceptions.NotFound as error:
        answer["refused"] = error.response.json()["error"]["status"]
    print(json.dumps(answer))

main()
