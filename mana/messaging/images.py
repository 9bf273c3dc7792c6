"""Images that strangers send: looked at with care, and made small."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import IO, Any

from django.core.files.base import File
from PIL import Image, ImageOps, UnidentifiedImageError

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError

#: The formats that are decoded, by content type; Pillow is told to try no other.
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}
_BROKEN = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class Picture:
    """An image's size as it is seen, and a small copy without any metadata, as WebP."""

    width: int
    height: int
    thumbnail: bytes


def examine(file: IO[bytes] | File[Any], content_type: str, *, longest: int) -> Picture:
    """Decodes an image. Raises ``ManaError``: ``invalid`` for one that is broken, ``too_large`` for too many pixels.

    The pixels are counted before any is decoded: a few kilobytes may claim gigabytes.
    """
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # counted below, by our own limit
            with Image.open(file, formats=[FORMATS[content_type]]) as image:
                if image.width * image.height > settings.ATTACHMENT_MAX_PIXELS:
                    raise ManaError(
                        ErrorCode.TOO_LARGE,
                        f"The image has {image.width}x{image.height} pixels; "
                        f"{settings.ATTACHMENT_MAX_PIXELS} are allowed.",
                    )
                width, height = _seen_size(image)
                image.draft("RGB", (longest * 2, longest * 2))  # JPEG is decoded smaller at once
                small = ImageOps.exif_transpose(image)
                small.thumbnail((longest, longest))
                return Picture(width, height, _webp(small))
    except Image.DecompressionBombError:
        raise ManaError(ErrorCode.TOO_LARGE, "The image has too many pixels.") from None
    except _BROKEN:
        raise ManaError(ErrorCode.INVALID, "The image is damaged.") from None
    finally:
        file.seek(0)


def _seen_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    # EXIF orientations 5 to 8 lie on their side (CIPA DC-008 section 4.6.4).
    return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)


def avatar(file: IO[bytes] | File[Any], content_type: str) -> bytes:
    """A square picture of ``AVATAR_SIZE``, as WebP. Raises ``ManaError``."""
    picture = examine(file, content_type, longest=settings.AVATAR_SIZE * 2)
    with Image.open(io.BytesIO(picture.thumbnail), formats=["WEBP"]) as image:
        return _webp(ImageOps.fit(image, (settings.AVATAR_SIZE, settings.AVATAR_SIZE)))


def _webp(image: Image.Image) -> bytes:
    has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    converted = image.convert("RGBA" if has_alpha else "RGB")
    converted.info.clear()  # EXIF, colour profiles, comments
    out = io.BytesIO()
    converted.save(out, "WEBP", quality=80)
    return out.getvalue()
