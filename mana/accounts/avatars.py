"""Avatars: whatever arrives is opened as an image, and only what was decoded is written again.

The stored file is made here, pixel by pixel, so it holds no metadata, no script and no second format. SVG and
everything else that is not a bitmap is refused.
"""

from __future__ import annotations

import io
import secrets
import warnings
from typing import IO

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from PIL import Image, ImageOps, UnidentifiedImageError

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
FOLDER = "mana/avatars"
CONTENT_TYPE = "image/webp"


def storage() -> Storage:
    """Where avatars are kept."""
    return storages[settings.AVATAR_STORAGE]


def store(upload: IO[bytes]) -> str:
    """Stores an image as an avatar; its name in the storage. Raises ``ManaError`` with ``too_large`` or ``invalid``."""
    data = upload.read(settings.AVATAR_MAX_BYTES + 1)
    if len(data) > settings.AVATAR_MAX_BYTES:
        raise ManaError(ErrorCode.TOO_LARGE, f"An avatar may have {settings.AVATAR_MAX_BYTES} bytes.")
    name = f"{FOLDER}/{secrets.token_urlsafe(18)}.webp"
    return storage().save(name, ContentFile(_made_square(data)))


def remove(name: str) -> None:
    """Removes a stored avatar; an empty name is none."""
    if name:
        storage().delete(name)


def _made_square(data: bytes) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is the one that counts
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            # Known from the header, before anything is unpacked.
            if image.width * image.height > settings.AVATAR_MAX_PIXELS:
                raise _too_many_pixels()
            image.draft("RGB", (settings.AVATAR_SIZE * 2, settings.AVATAR_SIZE * 2))
            image.load()
        upright = ImageOps.exif_transpose(image)
        mode = "RGBA" if upright.has_transparency_data else "RGB"
        square = ImageOps.fit(upright.convert(mode), (settings.AVATAR_SIZE, settings.AVATAR_SIZE))
    except Image.DecompressionBombError:
        raise _too_many_pixels() from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, MemoryError):
        raise ManaError(ErrorCode.INVALID, "This is no image: JPEG, PNG, WebP and GIF are taken.") from None
    made = io.BytesIO()
    square.save(made, "WEBP", quality=85)
    return made.getvalue()


def _too_many_pixels() -> ManaError:
    return ManaError(ErrorCode.TOO_LARGE, f"An avatar may have {settings.AVATAR_MAX_PIXELS} pixels.")
