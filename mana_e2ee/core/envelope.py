"""The bytes of a message: the header of 58 bytes, the handshake block of a first message, padding.

header = version u8 || type u8 || session id 16 || ratchet key 32 || PN u32 || N u32
message = header || ciphertext             type 1
first   = header || block || ciphertext    type 2, sent until the other side has answered
"""

import struct
from dataclasses import dataclass
from typing import Self

from . import keys, primitives
from .encoding import Reader, check_bytes, u8, u32
from .errors import InvalidMessage
from .limits import BUCKET_STEP, MAX_COUNTER, MAX_PLAINTEXT, MIN_BUCKET
from .records import MAX_CLAIMS, SUITE_PQXDH, SUITES, Address, DeviceRecord, check_version

MESSAGE = 1
FIRST_MESSAGE = 2
GROUP_MESSAGE = 3
SENDER_KEY = 4
RETRY_REQUEST = 5
BACKUP = 6

HEADER = struct.Struct(">BB16s32sII")
HEADER_SIZE = HEADER.size  # 58
SESSION_ID_SIZE = 16

MAX_CIPHERTEXT = MAX_PLAINTEXT + 1 + primitives.TAG_SIZE
MIN_CIPHERTEXT = MIN_BUCKET + primitives.TAG_SIZE
MAX_BLOCK = 1 + MAX_CLAIMS + keys.TYPED_SIZE + 12 + primitives.KEM_CIPHERTEXT_SIZE
MAX_MESSAGE = HEADER_SIZE + MAX_BLOCK + MAX_CIPHERTEXT


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the ciphertext. `ratchet_key` is a raw X25519 key."""

    kind: int
    session_id: bytes
    ratchet_key: bytes
    previous: int
    number: int


@dataclass(frozen=True, slots=True)
class HandshakeBlock:
    """What the responder needs to agree on the same secret (X3DH 3.3, PQXDH 3.3). Ids of 0 mean none."""

    suite: int
    record: DeviceRecord
    ephemeral: bytes
    signed_prekey_id: int
    one_time_id: int
    kem_id: int
    kem_ciphertext: bytes

    def to_bytes(self) -> bytes:
        """suite u8 || record claims || ephemeral 33 || three ids u32 || KEM ciphertext (1,088 bytes in suite
        2).
        """
        return (
            u8(self.suite)
            + self.record.claims()
            + keys.encode(keys.X25519, self.ephemeral)
            + u32(self.signed_prekey_id)
            + u32(self.one_time_id)
            + u32(self.kem_id)
            + self.kem_ciphertext
        )

    @classmethod
    def read(cls, sender: Address, reader: Reader) -> Self:
        """Raises InvalidMessage or InvalidKey. The record's signature is not checked here."""
        suite = reader.u8()
        if suite not in SUITES:
            raise InvalidMessage(f"there is no suite {suite}")
        record = DeviceRecord.read_claims(sender, reader)
        ephemeral = keys.decode(keys.X25519, reader.take(keys.TYPED_SIZE))
        signed_prekey_id, one_time_id, kem_id = reader.u32(), reader.u32(), reader.u32()
        if signed_prekey_id == 0 or (kem_id == 0) == (suite == SUITE_PQXDH):
            raise InvalidMessage("the prekey ids do not fit the suite")
        ciphertext = reader.take(primitives.KEM_CIPHERTEXT_SIZE) if suite == SUITE_PQXDH else b""
        return cls(suite, record, ephemeral, signed_prekey_id, one_time_id, kem_id, ciphertext)


@dataclass(frozen=True, slots=True)
class Message:
    """A message taken apart. `prefix` is the header, with the block of a first message: authenticated."""

    header: Header
    block: HandshakeBlock | None
    prefix: bytes
    ciphertext: bytes


def parse(sender: Address, data: bytes) -> Message:
    """Takes a pairwise message apart, without any cryptography.

    Raises UnsupportedVersion, InvalidMessage (type, length) or InvalidKey (ratchet key, block).
    """
    if not check_bytes(data):
        raise InvalidMessage("the message is empty")
    check_version(data[0])
    if not HEADER_SIZE <= len(data) <= MAX_MESSAGE:
        raise InvalidMessage("the message is shorter than its header, or longer than any message")
    _, kind, session_id, ratchet_key, previous, number = HEADER.unpack_from(data)
    keys.check_x25519(ratchet_key)
    if previous > MAX_COUNTER or number > MAX_COUNTER:
        raise InvalidMessage("a counter is above 2^31 - 1")
    block: HandshakeBlock | None = None
    start = HEADER_SIZE
    if kind == FIRST_MESSAGE:
        reader = Reader(data[HEADER_SIZE:])
        block = HandshakeBlock.read(sender, reader)
        start = len(data) - len(reader.rest())
    elif kind != MESSAGE:
        raise InvalidMessage(f"type {kind} is not a pairwise message")
    if not MIN_CIPHERTEXT <= len(data) - start <= MAX_CIPHERTEXT:
        raise InvalidMessage("the ciphertext is too short or too long")
    return Message(Header(kind, session_id, ratchet_key, previous, number), block, data[:start], data[start:])


def bucket(length: int) -> int:
    """The padded length of a plaintext: a power of two from 32 to 1,024, then a multiple of 1,024."""
    needed = length + 1
    if needed <= MIN_BUCKET:
        return MIN_BUCKET
    if needed <= BUCKET_STEP:
        return 1 << (needed - 1).bit_length()
    return -(-needed // BUCKET_STEP) * BUCKET_STEP


def pad(plaintext: bytes) -> bytes:
    """The plaintext, 0x80, then zeros up to its bucket. Raises InvalidMessage above 65,535 bytes, or for what is
    not bytes.
    """
    length = len(check_bytes(plaintext))
    if length > MAX_PLAINTEXT:
        raise InvalidMessage(f"a plaintext has {length} bytes, allowed are {MAX_PLAINTEXT}")
    return (plaintext + b"\x80").ljust(bucket(length), b"\0")


def unpad(padded: bytes) -> bytes:
    """The inverse of `pad`. Raises InvalidMessage when the bytes were not padded by it."""
    plaintext, marker = padded.rstrip(b"\0"), b"\x80"
    if plaintext[-1:] != marker or len(padded) != bucket(len(plaintext) - 1):
        raise InvalidMessage("the padding is wrong")
    return plaintext[:-1]
