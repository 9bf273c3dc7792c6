"""An opt-in backup under a recovery key that only the user has. Losing the key loses the backup.

    backup = version u8 || type 06 || salt 32 || sealed chunks
    key    = HKDF-SHA256(salt, recovery key, "Mana-E2EE v1 backup", 32)

Put history and the account key in it, never a session or a prekey: a ratchet restored from the past would use
message keys twice (Double Ratchet, 8.1 on recovery from compromise; the receiver refuses what it has seen).
"""

import base64
from dataclasses import dataclass
from typing import Self

from . import primitives
from .chunks import open_chunks, seal_chunks
from .encoding import Reader, u8
from .envelope import BACKUP
from .errors import InvalidKey, InvalidMessage
from .limits import VERSION
from .records import check_version

BACKUP_LABEL = b"Mana-E2EE v1 backup"
RECOVERY_LABEL = b"Mana-E2EE v1 recovery key"
_CHECK_SIZE = 3


@dataclass(frozen=True, slots=True)
class RecoveryKey:
    """32 random bytes, shown as 14 groups of four base32 letters with a checksum."""

    key: bytes

    @classmethod
    def generate(cls) -> Self:
        return cls(primitives.random_bytes(32))

    @property
    def text(self) -> str:
        """base32(key || first 3 bytes of SHA-256(label || key)), lower case, in groups of four: 69
        characters.
        """
        letters = base64.b32encode(self.key + _check(self.key)).decode().lower()
        return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Case, spaces and dashes do not matter. Raises InvalidKey on anything mistyped."""
        # ASCII only: upper() and lower() turn some other letters into ASCII ones, not the same in every language.
        if not isinstance(text, str) or not text.isascii():
            raise InvalidKey("the recovery key is mistyped")
        letters = "".join(text.split()).replace("-", "").upper()
        try:
            data = base64.b32decode(letters)
        except ValueError as error:
            raise InvalidKey("the recovery key is mistyped") from error
        if len(data) != 32 + _CHECK_SIZE or data[32:] != _check(data[:32]):
            raise InvalidKey("the recovery key is mistyped")
        return cls(data[:32])

    def __repr__(self) -> str:
        return "RecoveryKey(...)"


def _check(key: bytes) -> bytes:
    return primitives.sha256(RECOVERY_LABEL + key)[:_CHECK_SIZE]


class Backup:
    """Seals and opens a backup."""

    @staticmethod
    def seal(recovery: RecoveryKey, plaintext: bytes) -> bytes:
        """The backup: 34 bytes more than the plaintext, and 16 for every 64 KiB."""
        salt = primitives.random_bytes(32)
        sealed = seal_chunks(_derive(recovery, salt), [plaintext], BACKUP_LABEL)
        return u8(VERSION) + u8(BACKUP) + salt + b"".join(sealed)

    @staticmethod
    def open(recovery: RecoveryKey, backup: bytes) -> bytes:
        """The plaintext. Raises InvalidMessage on another key, or any changed byte; UnsupportedVersion."""
        reader = Reader(backup)
        check_version(reader.u8())
        if reader.u8() != BACKUP:
            raise InvalidMessage("not a backup")
        key = _derive(recovery, reader.take(32))
        return b"".join(open_chunks(key, [reader.rest()], BACKUP_LABEL))


def _derive(recovery: RecoveryKey, salt: bytes) -> bytes:
    return primitives.hkdf(recovery.key, salt=salt, info=BACKUP_LABEL, length=32)
