"""A third implementation of a first message, from docs/e2ee-protocol.md alone, without the core.

It takes the recorded draws of a conversation and arrives at the recorded bytes.
"""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
NOW = 1_800_000_000


def lp(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def fields(*values: bytes) -> bytes:
    return b"".join(lp(value) for value in values)


def label(name: str) -> bytes:
    return b"Mana-E2EE v1 " + name.encode()


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, other: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(other))


class Maker:
    """A device, from its draws: signing seed, identity key, signed prekey, and in suite 2 the KEM seed."""

    def __init__(self, user: str, suites: list[int], draws: list[bytes]) -> None:
        self.user, self.device, self.suites = user.encode(), b"phone", bytes(suites)
        self.seed, self.identity, self.signed_prekey = draws[:3]
        self.kem_seed = draws[3] if 2 in suites else b""
        self.signing = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.signing_key = b"\x01" + self.signing.public_key().public_bytes_raw()
        self.identity_key = b"\x02" + public(self.identity)

    def claims(self) -> bytes:
        created = NOW.to_bytes(8, "big")
        signed = fields(
            label("device record"),
            self.user,
            self.device,
            self.signing_key,
            self.identity_key,
            self.suites,
            created,
        )
        head = created + bytes((len(self.suites),)) + self.suites
        return head + self.signing_key + self.identity_key + self.signing.sign(signed)

    def prekey(self, name: str, typed: bytes) -> bytes:
        signed = fields(label(name), self.user, self.device, u32(1), typed)
        return u32(1) + typed + self.signing.sign(signed)


@pytest.mark.parametrize("vector", VECTORS["conversations"])
def test_a_first_message_from_the_page(vector):
    suites, suite = vector["suites"], max(vector["suites"])
    setup = [bytes.fromhex(draw) for draw in vector["draws"]["setup"]]
    after = [bytes.fromhex(draw) for draw in vector["draws"]["after"]]
    per_device = 4 if suite == 2 else 3
    alice = Maker("alice", suites, setup[:per_device])
    bob = Maker("bob", suites, setup[per_device : 2 * per_device])
    one_time = setup[2 * per_device]
    spk = public(bob.signed_prekey)
    kem = MLKEM768PrivateKey.from_seed_bytes(bob.kem_seed) if suite == 2 else None
    kem_key = b"\x03" + kem.public_key().public_bytes_raw() if kem else b""

    def bundle(with_one_time: bool) -> bytes:
        address = lp(bob.user) + lp(bob.device)
        return (
            b"\x01"
            + lp(b"\x01" + address + bob.claims())
            + lp(bob.prekey("signed prekey", b"\x02" + spk))
            + lp(bob.prekey("KEM prekey", kem_key) if kem else b"")
            + lp(u32(1) + b"\x02" + public(one_time) if with_one_time else b"")
        )

    used_one_time = vector["bundle"] == bundle(True).hex()
    assert bundle(used_one_time).hex() == vector["bundle"]

    ephemeral, ratchet = after[0], after[1]
    shared = dh(alice.identity, spk) + dh(ephemeral, public(bob.identity)) + dh(ephemeral, spk)
    if used_one_time:
        shared += dh(ephemeral, public(one_time))
    ciphertext = bytes.fromhex(vector["encapsulated"][0]["ciphertext"]) if kem else b""
    if kem:
        shared += kem.decapsulate(ciphertext)
    transcript = hashlib.sha256(
        fields(
            label("transcript"),
            bytes((suite,)),
            *(alice.user, alice.device, bob.user, bob.device),
            *(alice.signing_key, alice.identity_key, bob.signing_key, bob.identity_key),
            u32(1) + b"\x02" + spk,
            u32(1) + b"\x02" + public(one_time) if used_one_time else b"none",
            u32(1) + kem_key + ciphertext if kem else b"none",
            b"\x02" + public(ephemeral),
        )
    ).digest()
    assert transcript.hex() == vector["transcript"]
    info = label("handshake") + bytes((suite,)) + transcript
    secret = hkdf(bytes(32), b"\xff" * 32 + shared, info, 32)
    session_id = hashlib.sha256(b"sid" + transcript).digest()[:16]
    assert session_id.hex() == vector["session_id"]

    keys = hkdf(secret, dh(ratchet, spk), label("root"), 64)
    assert keys.hex() == vector["root"] + vector["sending"]
    block = (
        bytes((suite,))
        + alice.claims()
        + b"\x02"
        + public(ephemeral)
        + u32(1)
        + u32(1 if used_one_time else 0)
        + u32(1 if kem else 0)
        + ciphertext
    )
    chain = keys[32:]
    for number, step in enumerate(vector["steps"][:3]):
        message_key = hmac.digest(chain, b"\x01", "sha256")
        chain = hmac.digest(chain, b"\x02", "sha256")
        prefix = b"\x01\x02" + session_id + public(ratchet) + u32(0) + u32(number) + block
        derived = hkdf(bytes(32), message_key, label("message"), 44)
        padded = (bytes.fromhex(step["plaintext"]) + b"\x80").ljust(32, b"\0")
        sealed = AESGCM(derived[:32]).encrypt(derived[32:], padded, fields(label("message"), transcript, prefix))
        assert (prefix + sealed).hex() == step["message"]
