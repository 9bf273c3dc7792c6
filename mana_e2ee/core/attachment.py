"""Files: encrypted under a random key of their own; the pointer with that key travels inside a message.

pointer = version u8 || key 32 || plaintext size u64 || SHA-256 of the ciphertext 32      73 bytes
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from . import primitives
from .chunks import open_chunks, seal_chunks
from .encoding import Reader, check_bytes, u8, u64
from .errors import InvalidMessage
from .limits import VERSION
from .records import check_version

ATTACHMENT_LABEL = b"Mana-E2EE v1 attachment"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The pointer: all that is needed to read the file. As secret as the file."""

    key: bytes
    size: int
    digest: bytes

    @classmethod
    def encrypt(cls, plaintext: bytes) -> tuple[Self, bytes]:
        """(pointer, ciphertext) of a file in memory."""
        sealer = AttachmentSealer([plaintext])
        ciphertext = b"".join(sealer)
        return cls(sealer.key, sealer.size, sealer.digest), ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """The file. Raises InvalidMessage when a byte is changed, missing or added."""
        return b"".join(self.open([ciphertext]))

    def open(self, ciphertext: Iterable[bytes]) -> Iterator[bytes]:
        """The file, piece by piece; nothing of it counts until the iterator ends without InvalidMessage."""
        digest, size = hashlib.sha256(), 0

        def read() -> Iterator[bytes]:
            for part in ciphertext:
                digest.update(check_bytes(part))
                yield part

        for piece in open_chunks(self.key, read(), ATTACHMENT_LABEL):
            size += len(piece)
            if size > self.size:  # a sender's pointer bounds what a reader must hold
                break
            yield piece
        if size != self.size or digest.digest() != self.digest:
            raise InvalidMessage("the file is not the one that the pointer describes")

    def to_bytes(self) -> bytes:
        return u8(VERSION) + self.key + u64(self.size) + self.digest

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        check_version(reader.u8())
        pointer = cls(reader.take(32), reader.u64(), reader.take(32))
        reader.end()
        return pointer

    def __repr__(self) -> str:
        return f"Attachment({self.size} bytes)"


class AttachmentSealer:
    """Iterate once to get the sealed chunks of a file of any length; then `pointer` describes it."""

    def __init__(self, plaintext: Iterable[bytes]) -> None:
        self.key = primitives.random_bytes(32)
        self.size = 0
        self._plaintext = plaintext
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in seal_chunks(self.key, self._counted(), ATTACHMENT_LABEL):
            self._hash.update(chunk)
            yield chunk

    def _counted(self) -> Iterator[bytes]:
        for part in self._plaintext:
            self.size += len(check_bytes(part))
            yield part

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    @property
    def pointer(self) -> Attachment:
        return Attachment(self.key, self.size, self.digest)
