"""Safety numbers: Signal's numeric fingerprint, version 1 for the QR code (libsignal, `fingerprint`).

Two users compare 60 digits, or scan each other's code. The keys are the account keys with their type byte,
which vouch for all devices through the device lists.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Self

from . import keys
from .encoding import check_bytes, name
from .errors import InvalidMessage

ITERATIONS = 5_200
_HASH_VERSION = b"\0\0"
_QR_PREFIX = b"\x08\x01"
_QR_SIZE = 74


@dataclass(frozen=True, slots=True)
class SafetyNumber:
    """`local` and `remote` are 32 bytes each: the start of either side's iterated hash."""

    local: bytes
    remote: bytes

    @classmethod
    def of_keys(cls, local_id: str, local_key: bytes, remote_id: str, remote_key: bytes) -> Self:
        """From encoded keys (type byte first). About 10 ms: 2 x 5,200 rounds of SHA-512."""
        return cls(_fingerprint(local_id, local_key), _fingerprint(remote_id, remote_key))

    @classmethod
    def of_accounts(cls, local_user: str, local_account: bytes, remote_user: str, remote_account: bytes) -> Self:
        """From the raw account keys of two users."""
        return cls.of_keys(
            local_user,
            keys.encode(keys.ED25519, local_account),
            remote_user,
            keys.encode(keys.ED25519, remote_account),
        )

    @property
    def digits(self) -> str:
        """60 digits, the same on both sides."""
        return "".join(sorted((_digits(self.local), _digits(self.remote))))

    @property
    def display(self) -> str:
        """The digits in twelve groups of five."""
        digits = self.digits
        return " ".join(digits[start : start + 5] for start in range(0, 60, 5))

    @property
    def qr(self) -> bytes:
        """The payload of the QR code, 74 bytes: a protobuf of version, local and remote fingerprint."""
        return _QR_PREFIX + b"\x12\x22\x0a\x20" + self.local + b"\x1a\x22\x0a\x20" + self.remote

    def matches_qr(self, scanned: bytes) -> bool:
        """Whether the other side's code mirrors ours. Raises InvalidMessage when it is no such code."""
        frame = check_bytes(scanned)[2:6] + scanned[38:42]
        if len(scanned) != _QR_SIZE or scanned[:2] != _QR_PREFIX or frame != b"\x12\x22\x0a\x20\x1a\x22\x0a\x20":
            raise InvalidMessage("not a safety number's code of version 1")
        return hmac.compare_digest(scanned[6:38] + scanned[42:], self.remote + self.local)


def _fingerprint(identifier: str, key: bytes) -> bytes:
    digest = _HASH_VERSION + key + name(identifier)
    for _ in range(ITERATIONS):
        digest = hashlib.sha512(digest + key).digest()
    return digest[:32]


def _digits(fingerprint: bytes) -> str:
    chunks = (fingerprint[start : start + 5] for start in range(0, 30, 5))
    return "".join(f"{int.from_bytes(chunk, 'big') % 100_000:05}" for chunk in chunks)
