"""X3DH (suite 1) and PQXDH with ML-KEM-768 (suite 2): both sides derive SK and a session id from one
transcript.

Sections 3.3 and 3.4 of both specifications. What differs from them: the whole exchange is hashed into TH,
which enters the KDF's info and every message's associated data (X3DH 4.3 and 4.9 ask for such binding; PQXDH
4.8 for the KEM key in particular), and identity keys for signing and for Diffie-Hellman are separate keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from . import keys, primitives
from .encoding import fields, name, u8, u32
from .envelope import SESSION_ID_SIZE, HandshakeBlock
from .errors import DowngradeRefused, UnsupportedVersion
from .records import SUITE_PQXDH, DeviceRecord, PreKeyBundle

HANDSHAKE_LABEL = b"Mana-E2EE v1 handshake"
TRANSCRIPT_LABEL = b"Mana-E2EE v1 transcript"
SESSION_LABEL = b"sid"
NONE = b"none"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a handshake gives: SK (32 bytes), TH (32), the session id (16), the block of the first message."""

    secret: bytes
    transcript: bytes
    session_id: bytes
    block: HandshakeBlock

    def __repr__(self) -> str:
        return f"Agreement({self.session_id.hex()})"


def choose_suite(ours: Iterable[int], theirs: Iterable[int]) -> int:
    """The highest suite that both signed records list. Raises UnsupportedVersion when there is none."""
    common = set(ours) & set(theirs)
    if not common:
        raise UnsupportedVersion("there is no suite that both devices speak")
    return max(common)


def transcript(
    block: HandshakeBlock,
    responder: DeviceRecord,
    *,
    signed_prekey: bytes,
    one_time: bytes | None,
    kem_public: bytes | None,
) -> bytes:
    """TH, 32 bytes: everything that was agreed on, each part with its length. Keys are raw public keys."""
    initiator = block.record
    return primitives.sha256(
        fields(
            TRANSCRIPT_LABEL,
            u8(block.suite),
            name(initiator.address.user),
            name(initiator.address.device),
            name(responder.address.user),
            name(responder.address.device),
            keys.encode(keys.ED25519, initiator.signing_key),
            keys.encode(keys.X25519, initiator.dh_key),
            keys.encode(keys.ED25519, responder.signing_key),
            keys.encode(keys.X25519, responder.dh_key),
            u32(block.signed_prekey_id) + keys.encode(keys.X25519, signed_prekey),
            NONE if one_time is None else u32(block.one_time_id) + keys.encode(keys.X25519, one_time),
            NONE
            if kem_public is None
            else u32(block.kem_id) + keys.encode(keys.MLKEM768, kem_public) + block.kem_ciphertext,
            keys.encode(keys.X25519, block.ephemeral),
        )
    )


def derive(suite: int, transcript_hash: bytes, shared: Iterable[bytes]) -> tuple[bytes, bytes]:
    """(SK, session id) from TH and DH1, DH2, DH3 [, DH4] [, SS] (X3DH 2.2: F and zero salt)."""
    secret = primitives.hkdf(
        b"\xff" * 32 + b"".join(shared),
        salt=bytes(32),
        info=HANDSHAKE_LABEL + u8(suite) + transcript_hash,
        length=32,
    )
    return secret, primitives.sha256(SESSION_LABEL + transcript_hash)[:SESSION_ID_SIZE]


def initiate(record: DeviceRecord, dh_private: bytes, bundle: PreKeyBundle) -> Agreement:
    """The initiator's side (3.3). `record` is ours. The caller has decided that it trusts the bundle's
    record.

    Raises InvalidSignature, UnsupportedVersion, InvalidKey, or DowngradeRefused when both records list suite
    2 and the bundle has no KEM key.
    """
    bundle.verify()
    suite = choose_suite(record.suites, bundle.record.suites)
    kem = bundle.kem_prekey if suite == SUITE_PQXDH else None
    if suite == SUITE_PQXDH and kem is None:
        raise DowngradeRefused("the bundle lacks the KEM key that its device record promises")
    own = primitives.x25519_load(dh_private)
    ephemeral = primitives.x25519_load(primitives.x25519_private())
    shared = [
        primitives.x25519(own, bundle.signed_prekey.public),
        primitives.x25519(ephemeral, bundle.record.dh_key),
        primitives.x25519(ephemeral, bundle.signed_prekey.public),
    ]
    if bundle.one_time is not None:
        shared.append(primitives.x25519(ephemeral, bundle.one_time.public))
    ciphertext = b""
    if kem is not None:
        kem_secret, ciphertext = primitives.encapsulate(kem.public)
        shared.append(kem_secret)
    block = HandshakeBlock(
        suite=suite,
        record=record,
        ephemeral=ephemeral.public_key().public_bytes_raw(),
        signed_prekey_id=bundle.signed_prekey.id,
        one_time_id=bundle.one_time.id if bundle.one_time else 0,
        kem_id=kem.id if kem else 0,
        kem_ciphertext=ciphertext,
    )
    transcript_hash = transcript(
        block,
        bundle.record,
        signed_prekey=bundle.signed_prekey.public,
        one_time=bundle.one_time.public if bundle.one_time else None,
        kem_public=kem.public if kem else None,
    )
    secret, session_id = derive(suite, transcript_hash, shared)
    return Agreement(secret, transcript_hash, session_id, block)


@dataclass(frozen=True, slots=True)
class ResponderKeys:
    """The private parts that a first message names: X25519 keys of 32 bytes, the KEM seed of 64."""

    dh_private: bytes
    signed_prekey: bytes
    one_time: bytes | None
    kem_seed: bytes | None

    def __repr__(self) -> str:
        return "ResponderKeys(...)"


def respond(record: DeviceRecord, own_keys: ResponderKeys, block: HandshakeBlock) -> Agreement:
    """The responder's side (3.4). `record` is ours. The caller has decided that it trusts the block's record.

    Raises InvalidSignature, UnsupportedVersion, InvalidKey, or DowngradeRefused when the block uses another
    suite than the records agree on.
    """
    block.record.verify()
    if choose_suite(record.suites, block.record.suites) != block.suite:
        raise DowngradeRefused("the first message uses a weaker suite than both device records list")
    signed_prekey = primitives.x25519_load(own_keys.signed_prekey)
    shared = [
        primitives.x25519(signed_prekey, block.record.dh_key),
        primitives.x25519(primitives.x25519_load(own_keys.dh_private), block.ephemeral),
        primitives.x25519(signed_prekey, block.ephemeral),
    ]
    one_time_public: bytes | None = None
    if own_keys.one_time is not None:
        one_time = primitives.x25519_load(own_keys.one_time)
        one_time_public = one_time.public_key().public_bytes_raw()
        shared.append(primitives.x25519(one_time, block.ephemeral))
    kem_public: bytes | None = None
    if own_keys.kem_seed is not None:
        kem_public = primitives.kem_public(own_keys.kem_seed)
        shared.append(primitives.decapsulate(own_keys.kem_seed, block.kem_ciphertext))
    transcript_hash = transcript(
        block,
        record,
        signed_prekey=signed_prekey.public_key().public_bytes_raw(),
        one_time=one_time_public,
        kem_public=kem_public,
    )
    secret, session_id = derive(block.suite, transcript_hash, shared)
    return Agreement(secret, transcript_hash, session_id, block)
