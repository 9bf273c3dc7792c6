"""Stored images tell nothing of who made them, and look as they did."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings
from PIL import Image, ImageChops, ImageOps, PngImagePlugin

from mana import accounts
from mana.messaging import files, metadata, services
from mana.messaging.services.attachments import Upload
from mana.protocol import ErrorCode, ManaError
from tests.support.client import Account

SECRET = b"52.5200N 13.4050E"
ICC = b"\x00" * 128 + b"profile"
MAKER, ORIENTATION, GPS = 0x010F, 0x0112, 0x8825


def _exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[MAKER], exif[ORIENTATION] = SECRET.decode(), orientation
    exif[GPS] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    return exif


def _picture(mode: str = "RGB") -> Image.Image:
    picture = Image.linear_gradient("L").resize((64, 40)).convert(mode)
    picture.paste(picture.getpixel((0, 0)), (0, 0, 20, 20))
    return picture


def _jpeg(orientation: int = 1, **options: Any) -> bytes:
    out = io.BytesIO()
    xmp = b"<x:xmpmeta>" + SECRET + b"</x:xmpmeta>"
    _picture().save(out, "JPEG", exif=_exif(orientation), comment=SECRET, icc_profile=ICC, xmp=xmp, **options)
    return out.getvalue() + b"\xff\xd8 a film with " + SECRET


def _png(orientation: int = 1) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode(), zip=True)
    out = io.BytesIO()
    _picture("RGBA").save(out, "PNG", exif=_exif(orientation), pnginfo=text, icc_profile=ICC)
    return out.getvalue() + SECRET


def _webp(orientation: int = 1) -> bytes:
    out = io.BytesIO()
    _picture().save(out, "WEBP", lossless=True, exif=_exif(orientation), xmp=SECRET, icc_profile=ICC)
    return out.getvalue() + SECRET


def _gif(orientation: int = 1) -> bytes:
    out = io.BytesIO()
    frames = [_picture("P"), ImageOps.mirror(_picture("P")), ImageOps.flip(_picture("P"))]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], comment=SECRET, loop=3, duration=[70, 90, 50])
    return out.getvalue() + SECRET


IMAGES = {"image/jpeg": _jpeg, "image/png": _png, "image/webp": _webp, "image/gif": _gif}


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("content_type", IMAGES)
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_picture_stays_and_what_it_told_goes(content_type: str, orientation: int) -> None:
    before = IMAGES[content_type](orientation)
    assert SECRET in before
    after = metadata.stripped(io.BytesIO(before), content_type)
    assert SECRET not in after
    exif = _open(after).getexif()
    rotates = orientation != 1 and content_type != "image/gif"
    assert dict(exif) == ({ORIENTATION: orientation} if rotates else {})
    assert not exif.get_ifd(GPS)
    assert _open(after).info.keys() & {"comment", "xmp", "Author", "XML:com.adobe.xmp"} == set()
    shown = [ImageOps.exif_transpose(_open(data)).convert("RGBA") for data in (before, after)]
    assert shown[0].size == shown[1].size
    assert ImageChops.difference(*shown).getbbox(alpha_only=False) is None
    assert metadata.stripped(io.BytesIO(after), content_type) == after, "stripping again changes nothing"


def test_colour_profiles_and_animations_stay() -> None:
    for content_type in ("image/jpeg", "image/png", "image/webp"):
        assert _open(metadata.stripped(io.BytesIO(IMAGES[content_type]()), content_type)).info["icc_profile"] == ICC
    animated = _open(metadata.stripped(io.BytesIO(_gif()), "image/gif"))
    assert (animated.n_frames, animated.info["loop"], animated.info["duration"]) == (3, 3, 70)  # type: ignore[attr-defined]
    animated.seek(2)
    assert animated.info["duration"] == 50


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_rows": 1}, {"quality": 100}])
def test_every_way_to_write_a_jpeg_is_understood(options: dict[str, Any]) -> None:
    before = _jpeg(**options)
    after = metadata.stripped(io.BytesIO(before), "image/jpeg")
    assert SECRET not in after
    assert ImageChops.difference(_open(before).convert("RGB"), _open(after).convert("RGB")).getbbox() is None


@pytest.mark.parametrize("content_type", IMAGES)
def test_a_file_that_ends_anywhere_is_refused_or_stripped(content_type: str) -> None:
    whole = IMAGES[content_type]()
    for length in range(0, len(whole), 7):
        after, refusal = b"", ErrorCode.INVALID
        try:
            after = metadata.stripped(io.BytesIO(whole[:length]), content_type)
        except ManaError as error:
            refusal = error.code
        assert SECRET not in after
        assert refusal is ErrorCode.INVALID


def test_what_is_uploaded_is_stored_without_a_place(alice: Account) -> None:
    file = alice.http.post("/api/attachments", files={"file": ("photo.jpg", _jpeg(6), "image/jpeg")}).json()
    assert (file["width"], file["height"]) == (40, 64)
    stored = alice.http.get(file["url"]).content
    assert SECRET not in stored
    assert file["size"] == len(stored)
    assert dict(_open(stored).getexif()) == {ORIENTATION: 6}


@pytest.mark.django_db(transaction=True)
def test_a_project_may_keep_originals() -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    original = _jpeg()
    with override_settings(MANA={"STRIP_IMAGE_METADATA": False}):
        kept = services.upload(ann, Upload(ContentFile(original), "photo.jpg", len(original)))
    with files.storage().open(kept.file) as stored:
        assert stored.read() == original
