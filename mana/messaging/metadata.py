"""Images without what they tell of their makers: places, times, cameras, names, comments.

The picture itself stays as it is, bit by bit: parts of the file are left out, nothing is encoded anew. What says how it
is to be shown stays: colours, transparency, animation, and which side is up. Everything behind its end goes as well,
where phones put films and sounds.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import IO, Any

from django.core.files.base import File
from PIL import Image

from mana.protocol import ErrorCode, ManaError

ORIENTATION = 0x0112  # EXIF: CIPA DC-008 section 4.6.4
UPRIGHT = 1

#: After compressed data: a marker that is neither a stuffed byte nor a restart (ITU-T T.81 section B.1.1).
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP2, _APP14, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: https://www.w3.org/TR/png-3/#11Chunks, but for texts, times and EXIF.
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT".split()
)

#: RFC 9649 section 2.7, but for EXIF and XMP.
_WEBP_KEPT = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"))
_WEBP_EXIF, _WEBP_XMP = 0x08, 0x04

#: Extensions that say how often an animation runs.
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def stripped(file: IO[bytes] | File[Any], content_type: str) -> bytes:
    """The image without its metadata. Raises ``ManaError`` with ``invalid`` for a file that is not what it claims."""
    file.seek(0)
    data = file.read()
    file.seek(0)
    try:
        orientation = _orientation(data)
        return b"".join(_PARTS[content_type](data, orientation))
    except (ValueError, IndexError, OSError, SyntaxError):
        raise ManaError(ErrorCode.INVALID, "The image is damaged.") from None


def _orientation(data: bytes) -> bytes:
    """EXIF that says which side is up and nothing else; empty for an image that is upright."""
    with Image.open(io.BytesIO(data)) as image:
        found = image.getexif().get(ORIENTATION, UPRIGHT)
    if not isinstance(found, int) or not UPRIGHT < found <= 8:
        return b""
    exif = Image.Exif()
    exif[ORIENTATION] = found
    return exif.tobytes().removeprefix(b"Exif\x00\x00")


def _jpeg(data: bytes, orientation: bytes) -> Iterator[bytes]:
    yield b"\xff\xd8"
    if orientation:
        content = b"Exif\x00\x00" + orientation
        yield b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content
    position = 2
    while True:
        found = _JPEG_MARKER.search(data, position)
        if found is None or found[1][0] == _EOI:
            yield b"\xff\xd9"
            return
        marker, position = found[1][0], found.end()
        length = int.from_bytes(_exactly(data, position, 2), "big")
        if marker == _SOI or length < 2:
            raise ValueError("a segment has no length")
        content = _exactly(data, position, length)
        position += length
        if not _tells(marker, content[2:]):
            yield bytes((0xFF, marker)) + content
        if marker == _SOS:
            following = _JPEG_MARKER.search(data, position)
            end = following.start() if following is not None else len(data)
            yield data[position:end]
            position = end


def _tells(marker: int, content: bytes) -> bool:
    """Whether a segment of a JPEG says more than how the picture is to be shown."""
    if marker == _APP0:
        return not content.startswith(b"JFIF\x00")
    if marker == _APP2:
        return not content.startswith(b"ICC_PROFILE\x00")
    return marker == _COM or (_APP0 <= marker <= _APP15 and marker != _APP14)


def _png(data: bytes, orientation: bytes) -> Iterator[bytes]:
    import zlib

    yield _PNG_SIGNATURE
    position = len(_PNG_SIGNATURE)
    while True:
        length, kind = int.from_bytes(_exactly(data, position, 4), "big"), _exactly(data, position + 4, 4)
        chunk = _exactly(data, position, length + 12)
        position += len(chunk)
        if kind in _PNG_KEPT:
            yield chunk
        if kind == b"IHDR" and orientation:
            content = b"eXIf" + orientation
            yield len(orientation).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
        if kind == b"IEND":
            return


def _webp(data: bytes, orientation: bytes) -> Iterator[bytes]:
    end = 8 + int.from_bytes(_exactly(data, 4, 4), "little")
    chunks: list[bytes] = []
    position = 12
    while position + 8 <= min(end, len(data)):
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        content = _exactly(data, position + 8, length)
        position += 8 + length + length % 2
        if kind == b"VP8X":
            flags = content[0] & ~(_WEBP_EXIF | _WEBP_XMP) | (_WEBP_EXIF if orientation else 0)
            content = bytes((flags,)) + content[1:]
        if kind in _WEBP_KEPT:
            chunks.append(_riff(kind, content))
    if orientation:  # such a file has VP8X already: only with that it may hold EXIF
        chunks.append(_riff(b"EXIF", orientation))
    body = b"WEBP" + b"".join(chunks)
    yield b"RIFF" + len(body).to_bytes(4, "little") + body


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + b"\x00" * (len(content) % 2)


def _gif(data: bytes, orientation: bytes) -> Iterator[bytes]:
    position = 13 + _colours(_exactly(data, 0, 13)[10])
    yield _exactly(data, 0, position)
    while True:
        begin, kind = position, data[position]
        if kind == 0x3B or kind not in (0x21, 0x2C):
            yield b"\x3b"
            return
        if kind == 0x2C:
            # Place and size, own colours, the size of the first code.
            position += 11 + _colours(_exactly(data, position, 10)[9])
            kept = True
        else:
            label, name = data[position + 1], data[position + 3 : position + 14]
            position += 2
            kept = label == 0xF9 or (label == 0xFF and name in _GIF_LOOPS)
        while size := data[position]:
            position += size + 1
        position += 1
        if kept:
            yield _exactly(data, begin, position - begin)


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _exactly(data: bytes, start: int, size: int) -> bytes:
    part = data[start : start + size]
    if len(part) != size:
        raise ValueError("the file ends too early")
    return part


_PARTS: dict[str, Callable[[bytes, bytes], Iterator[bytes]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "image/gif": _gif,
}
