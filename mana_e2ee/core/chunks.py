"""A long plaintext as AES-256-GCM chunks (the STREAM construction): order, truncation and extension are
noticed.

Chunk i of a file is sealed under the nonce 0^7 || i u32 || last u8, where last is 1 for the final chunk only.
A key is used for one file. Every chunk but the last holds 65,536 bytes; the last may be shorter, and is empty
for an empty file.
"""

from collections.abc import Iterable, Iterator

from . import primitives
from .encoding import check_bytes
from .errors import InvalidMessage
from .limits import ATTACHMENT_CHUNK, MAX_CHUNKS

SEALED_CHUNK = ATTACHMENT_CHUNK + primitives.TAG_SIZE


def _nonce(index: int, last: bool) -> bytes:
    return bytes(7) + index.to_bytes(4, "big") + bytes((last,))


def _pieces(parts: Iterable[bytes], size: int) -> Iterator[tuple[int, bytes, bool]]:
    """(index, piece, last): `parts` of any length, cut anew into pieces of `size` bytes; the last may be
    shorter.
    """
    held, index = b"", 0
    for part in parts:
        data, start = held + check_bytes(part), 0
        while len(data) - start > size:
            yield index, data[start : start + size], False
            start, index = start + size, index + 1
        held = data[start:]
    yield index, held, True


def seal_chunks(key: bytes, plaintext: Iterable[bytes], label: bytes) -> Iterator[bytes]:
    """Sealed chunks of 65,552 bytes, the last of 16 to 65,552. InvalidMessage above 2^32 - 1 chunks."""
    for index, piece, last in _pieces(plaintext, ATTACHMENT_CHUNK):
        if index >= MAX_CHUNKS:
            raise InvalidMessage("the plaintext has too many chunks")
        yield primitives.seal(key + _nonce(index, last), piece, label)


def open_chunks(key: bytes, ciphertext: Iterable[bytes], label: bytes) -> Iterator[bytes]:
    """The plaintext, chunk by chunk. Only when the iterator ends without InvalidMessage is it whole: keep it
    until then.
    """
    for index, piece, last in _pieces(ciphertext, SEALED_CHUNK):
        if index >= MAX_CHUNKS:
            raise InvalidMessage("the ciphertext has too many chunks")
        yield primitives.unseal(key + _nonce(index, last), piece, label)
