"""The primitives, each a thin call into `cryptography` or the standard library. Nothing is invented here.

The three `*_source` names are seams: the vector script replaces them with fixed values, nothing else may.
"""

import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature as _BadSignature
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import InvalidKey, InvalidMessage, InvalidSignature

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
SIGNATURE_SIZE = 64
KEM_PUBLIC_SIZE = 1_184
KEM_CIPHERTEXT_SIZE = 1_088
KEM_SEED_SIZE = 64

random_source: Callable[[int], bytes] = os.urandom


def random_bytes(length: int) -> bytes:
    """`length` bytes from the operating system."""
    return random_source(length)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256 (RFC 2104), 32 bytes."""
    return hmac.digest(key, data, "sha256")


def hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256, extract and expand (RFC 5869)."""
    return HKDF(SHA256(), length, salt, info).derive(secret)


def seal(key_and_nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM under the 44 bytes key || nonce. The caller derives them fresh and uses them once."""
    return AESGCM(key_and_nonce[:32]).encrypt(key_and_nonce[32:], plaintext, associated)


def unseal(key_and_nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """The inverse of `seal`. Raises InvalidMessage when the tag is wrong."""
    try:
        return AESGCM(key_and_nonce[:32]).decrypt(key_and_nonce[32:], ciphertext, associated)
    except InvalidTag as error:
        raise InvalidMessage("the message does not authenticate") from error


def x25519_private() -> bytes:
    """A fresh X25519 private key, 32 bytes."""
    return random_bytes(KEY_SIZE)


def x25519_public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def x25519_load(private: bytes) -> X25519PrivateKey:
    """The key object. Making one costs a scalar multiplication, so callers that use it twice keep it."""
    return X25519PrivateKey.from_private_bytes(private)


def x25519(private: X25519PrivateKey, public: bytes) -> bytes:
    """X25519 (RFC 7748, 5), 32 bytes. Raises InvalidKey when the result is all zero (6.1)."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise InvalidKey("the X25519 key is of low order") from error


def ed25519_private() -> bytes:
    """A fresh Ed25519 seed, 32 bytes."""
    return random_bytes(KEY_SIZE)


def ed25519_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, data: bytes) -> bytes:
    """Ed25519 (RFC 8032, 5.1.6), 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(data)


def verify(public: bytes, signature: bytes, data: bytes) -> None:
    """Raises InvalidSignature. `public` must have passed `keys.check_ed25519`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (_BadSignature, ValueError) as error:
        raise InvalidSignature("the signature does not verify") from error


def kem_private() -> bytes:
    """A fresh ML-KEM-768 seed d || z, 64 bytes (FIPS 203, 7.1)."""
    return random_bytes(KEM_SEED_SIZE)


def kem_public(seed: bytes) -> bytes:
    return MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def kem_load_public(public: bytes) -> MLKEM768PublicKey:
    """Raises InvalidKey when the bytes fail the modulus check (FIPS 203, 7.2)."""
    try:
        return MLKEM768PublicKey.from_public_bytes(public)
    except ValueError as error:
        raise InvalidKey("not an ML-KEM-768 key") from error


def _encapsulate(public: bytes) -> tuple[bytes, bytes]:
    return kem_load_public(public).encapsulate()


encapsulate_source: Callable[[bytes], tuple[bytes, bytes]] = _encapsulate


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """(shared secret of 32 bytes, ciphertext of 1,088), FIPS 203, 7.2."""
    return encapsulate_source(public)


def decapsulate(seed: bytes, ciphertext: bytes) -> bytes:
    """The shared secret. A wrong ciphertext gives a wrong secret, not an error (implicit rejection)."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)
