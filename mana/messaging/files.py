"""Where attachments and avatars lie, and what they really are.

What a client says of a file is its name; the content type comes from the content. Names in the storage are random, so
that no path of a client's ever reaches a file system.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage, storages

from mana.conf import settings

logger = logging.getLogger("mana.files")

FOLDER = "mana-files"
HEAD_BYTES = 4096
UNKNOWN = "application/octet-stream"
TEXT = "text/plain"

#: Content types by how a file begins (https://mimesniff.spec.whatwg.org/#matching-a-mime-type-pattern): offset, bytes.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"OggS\x00", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/wav"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
)
#: What a browser may show by itself. Everything else is only downloaded: HTML or SVG would run as this site's own.
SHOWN = frozenset(
    (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "audio/ogg",
        "audio/mpeg",
        "audio/flac",
        "audio/wav",
        "audio/mp4",
        "video/mp4",
        "video/webm",
    )
)


def storage() -> Storage:
    """The storage of ``MANA["ATTACHMENT_STORAGE"]``."""
    return storages[settings.ATTACHMENT_STORAGE]


def content_type_of(file: IO[bytes] | File[Any]) -> str:
    """What a file is, by its content."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for offset, signature, content_type in _SIGNATURES:
        if head.startswith(signature, offset) and (offset != 8 or head.startswith(b"RIFF")):
            return content_type
    if _is_text(head):
        return TEXT
    return UNKNOWN


def _is_text(head: bytes) -> bool:
    # The head may end within a character of up to four bytes.
    for cut in range(4):
        try:
            text = head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return bool(text) and not any(ord(char) < 32 and char not in "\t\n\r\f" for char in text)
    return False


def is_allowed(content_type: str) -> bool:
    """Whether ``MANA["ATTACHMENT_TYPES"]`` allows a content type."""
    kind = content_type.split("/", 1)[0]
    return any(allowed in ("*", content_type, f"{kind}/*") for allowed in settings.ATTACHMENT_TYPES)


def clean_name(name: str) -> str:
    """A file name for people: the last part of what was sent, printable, at most 255 characters."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in name if char.isprintable()).strip().strip(".")
    if len(name) > 200:
        stem, dot, ending = name.rpartition(".")
        name = f"{stem[: 199 - len(ending)]}{dot}{ending}" if dot and len(ending) <= 16 else name[:200]
    return name or "file"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the storage."""

    name: str
    size: int
    sha256: str


def save(file: IO[bytes] | File[Any]) -> Stored:
    """Puts a file into the storage, under a name of our own."""
    digest = hashlib.sha256()
    size = 0
    file.seek(0)
    while chunk := file.read(256 * 1024):
        digest.update(chunk)
        size += len(chunk)
    file.seek(0)
    key = secrets.token_hex(20)
    name = storage().save(f"{FOLDER}/{key[:2]}/{key[2:]}", file if isinstance(file, File) else File(file))
    return Stored(name, size, digest.hexdigest())


def save_bytes(data: bytes) -> Stored:
    """Puts bytes into the storage."""
    return save(ContentFile(data))


def discard(names: Iterable[str]) -> None:
    """Removes files. One that can't be removed is logged; ``mana_prune`` does not know of it any more."""
    for name in names:
        try:
            storage().delete(name)
        except Exception:
            logger.exception("A stored file could not be removed.")
