"""STUN messages (RFC 8489) as ICE uses them (RFC 8445): binding requests and their answers, strictly bounded."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import zlib
from dataclasses import dataclass, field

COOKIE = 0x2112A442
HEADER_LENGTH = 20
MAX_LENGTH = 1280
MAX_ATTRIBUTES = 32
BINDING_REQUEST, BINDING_RESPONSE, BINDING_ERROR = 0x0001, 0x0101, 0x0111
USERNAME, MESSAGE_INTEGRITY, ERROR_CODE, XOR_MAPPED_ADDRESS = 0x0006, 0x0008, 0x0009, 0x0020
PRIORITY, USE_CANDIDATE, FINGERPRINT, ICE_CONTROLLED, ICE_CONTROLLING = 0x0024, 0x0025, 0x8028, 0x8029, 0x802A
_FINGERPRINT_XOR = 0x5354554E


@dataclass(slots=True)
class Message:
    """A message: its kind, transaction and attributes in order; only what its integrity covers is kept."""

    kind: int
    transaction: bytes
    attributes: dict[int, bytes] = field(default_factory=dict)
    signed: bytes = b""

    @property
    def username(self) -> str:
        """USERNAME, empty where there is none."""
        return self.attributes.get(USERNAME, b"").decode("ascii", "replace")

    def verify(self, password: str) -> bool:
        """Whether MESSAGE-INTEGRITY is there and was made with this password."""
        given = self.attributes.get(MESSAGE_INTEGRITY)
        if given is None or not self.signed:
            return False
        return hmac.compare_digest(given, hmac.digest(password.encode(), self.signed, hashlib.sha1))


def looks_like(data: bytes) -> bool:
    """Whether a datagram that begins with 0 to 3 has STUN's cookie."""
    return len(data) >= HEADER_LENGTH and data[4:8] == b"\x21\x12\xa4\x42"


def parse(data: bytes) -> Message:
    """Reads a message. Raises ``ValueError`` for one that is malformed or has a wrong fingerprint."""
    length = len(data)
    if not HEADER_LENGTH <= length <= MAX_LENGTH:
        raise ValueError("STUN message of a wrong size")
    if data[0] & 0xC0 or not looks_like(data) or int.from_bytes(data[2:4]) != length - HEADER_LENGTH or length % 4:
        raise ValueError("no STUN message")
    message = Message(int.from_bytes(data[:2]), data[8:20])
    offset = HEADER_LENGTH
    for _ in range(MAX_ATTRIBUTES):
        if offset == length:
            return message
        kind, size = int.from_bytes(data[offset : offset + 2]), int.from_bytes(data[offset + 2 : offset + 4])
        end = offset + 4 + size
        if end > length:
            raise ValueError("STUN attribute is cut off")
        value = data[offset + 4 : end]
        if kind == FINGERPRINT:
            if size != 4 or int.from_bytes(value) != _fingerprint(data[:offset]):
                raise ValueError("STUN fingerprint is wrong")
        elif not message.signed and kind not in message.attributes:
            # RFC 8489 section 14.5: what follows the integrity is not covered and so not believed.
            message.attributes[kind] = value
            if kind == MESSAGE_INTEGRITY:
                if size != 20:
                    raise ValueError("STUN integrity of a wrong size")
                message.signed = _with_length(data[:offset], offset - HEADER_LENGTH + 24)
        offset = end + -size % 4
        if offset > length:
            raise ValueError("STUN attribute is cut off")
    if offset != length:
        raise ValueError("STUN message has too many attributes")
    return message


def build(kind: int, transaction: bytes, attributes: dict[int, bytes], password: str) -> bytes:
    """A message with integrity and fingerprint."""
    body = b"".join(
        code.to_bytes(2) + len(value).to_bytes(2) + value + bytes(-len(value) % 4) for code, value in attributes.items()
    )
    data = kind.to_bytes(2) + len(body).to_bytes(2) + COOKIE.to_bytes(4) + transaction + body
    digest = hmac.digest(password.encode(), _with_length(data, len(body) + 24), hashlib.sha1)
    data += MESSAGE_INTEGRITY.to_bytes(2) + b"\x00\x14" + digest
    data = _with_length(data, len(data) - HEADER_LENGTH + 8)
    return data + FINGERPRINT.to_bytes(2) + b"\x00\x04" + _fingerprint(data, final=True).to_bytes(4)


def binding_response(transaction: bytes, address: tuple[str, int], password: str) -> bytes:
    """The answer to a request that came from this address."""
    return build(BINDING_RESPONSE, transaction, {XOR_MAPPED_ADDRESS: _xor_address(address, transaction)}, password)


def role_conflict(transaction: bytes, password: str) -> bytes:
    """Tells a peer that it must be the controlling one (RFC 8445 section 7.3.1.1)."""
    return build(BINDING_ERROR, transaction, {ERROR_CODE: b"\x00\x00\x04\x57Role Conflict"}, password)


def binding_request(username: str, password: str) -> tuple[bytes, bytes]:
    """A check of our own, and its transaction."""
    transaction = secrets.token_bytes(12)
    attributes = {
        USERNAME: username.encode(),
        ICE_CONTROLLED: secrets.token_bytes(8),
        PRIORITY: (1 << 24).to_bytes(4),
    }
    return build(BINDING_REQUEST, transaction, attributes, password), transaction


def _xor_address(address: tuple[str, int], transaction: bytes) -> bytes:
    packed = ipaddress.ip_address(address[0].partition("%")[0]).packed
    key = COOKIE.to_bytes(4) + transaction
    port = address[1] ^ COOKIE >> 16
    xored = bytes(one ^ other for one, other in zip(packed, key, strict=False))
    return bytes((0, 1 if len(packed) == 4 else 2)) + port.to_bytes(2) + xored


def _with_length(data: bytes, length: int) -> bytes:
    return data[:2] + length.to_bytes(2) + data[4:]


def _fingerprint(before: bytes, *, final: bool = False) -> int:
    covered = before if final else _with_length(before, len(before) - HEADER_LENGTH + 8)
    return zlib.crc32(covered) ^ _FINGERPRINT_XOR
