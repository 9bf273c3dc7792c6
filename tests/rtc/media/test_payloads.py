"""Where keyframes start, and picture ids over switches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media.payloads import INSPECTORS, PictureMunger, inspect_h264, inspect_vp8, inspect_vp9


def vp8(picture: int, tl0: int = 0, *, key: bool = False, start: bool = True, wide: bool = True) -> bytes:
    """A VP8 payload with an extended descriptor."""
    number = bytes((0x80 | picture >> 8, picture & 0xFF)) if wide else bytes((picture & 0x7F,))
    return bytes((0x80 | (0x10 if start else 0), 0xE0)) + number + bytes((tl0, 0x20, 0 if key else 1)) + b"frame"


def test_vp8_descriptors() -> None:
    frame = inspect_vp8(vp8(0x1234, 77, key=True))
    assert (frame.keyframe, frame.picture_id, frame.tl0) == (True, 0x1234, 77)
    assert not inspect_vp8(vp8(1)).keyframe
    assert not inspect_vp8(vp8(1, key=True, start=False)).keyframe
    assert inspect_vp8(vp8(5, wide=False)).picture_id == 5
    assert inspect_vp8(b"\x10\x00frame").keyframe
    assert not inspect_vp8(b"\x11\x00frame").keyframe  # another partition


def test_a_switch_continues_the_numbers() -> None:
    munger = PictureMunger()
    first, second = vp8(0x7FFF, 255), vp8(100, 30, key=True)
    assert munger.rewrite(first, inspect_vp8(first)) == first
    munger.switch(inspect_vp8(second))
    moved = munger.rewrite(second, inspect_vp8(second))
    assert moved == vp8(0, 0, key=True)
    third = vp8(101, 31)
    assert munger.rewrite(third, inspect_vp8(third)) == vp8(1, 1)


def test_narrow_picture_ids_stay_narrow() -> None:
    munger = PictureMunger()
    first, second = vp8(120, wide=False), vp8(3, wide=False, key=True)
    munger.rewrite(first, inspect_vp8(first))
    munger.switch(inspect_vp8(second))
    assert munger.rewrite(second, inspect_vp8(second)) == vp8(121, 1, wide=False, key=True)


@pytest.mark.parametrize(
    ("payload", "keyframe"),
    [
        (b"\x67sps", True),
        (b"\x65idr", True),
        (b"\x41slice", False),
        (b"\x78\x00\x03\x67ab\x00\x02\x68a", True),
        (b"\x78\x00\x02\x06a\x00\x02\x41a", False),
        (b"\x7c\x85start of an idr", True),
        (b"\x7c\x05middle of an idr", False),
        (b"", False),
        (b"\x78", False),
    ],
)
def test_h264_keyframes(payload: bytes, keyframe: bool) -> None:
    assert inspect_h264(payload).keyframe is keyframe


@pytest.mark.parametrize(
    ("payload", "keyframe"),
    [
        (b"\x88\x81\x02frame", True),  # I and B, no P
        (b"\xc8\x81\x02frame", False),  # predicted
        (b"\x80\x81\x02frame", False),  # not the beginning
        (b"\xa8\x81\x02\x00\x07frame", True),  # lowest spatial layer, TL0PICIDX 7
        (b"\xa8\x81\x02\x02\x07frame", False),  # a higher one
    ],
)
def test_vp9_keyframes(payload: bytes, keyframe: bool) -> None:
    frame = inspect_vp9(payload)
    assert frame.keyframe is keyframe
    assert frame.picture_id == 0x102


@given(st.sampled_from(sorted(INSPECTORS)), st.lists(st.binary(max_size=12), min_size=1, max_size=4))
def test_any_payload_passes(codec: str, payloads: list[bytes]) -> None:
    """Nonsense is forwarded as it is long: the decoder is the judge of it."""
    munger = PictureMunger()
    for payload in payloads:
        frame = INSPECTORS[codec](payload)
        munger.switch(frame)
        assert len(munger.rewrite(payload, frame)) == len(payload)
