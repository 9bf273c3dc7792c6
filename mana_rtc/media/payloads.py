"""What a forwarder must know of a payload: where keyframes start, and how to renumber pictures on a switch of layers.

VP8: RFC 7741. VP9: RFC 9628. H264: RFC 6184. Opus needs nothing. Nothing is decoded, and a payload that makes no sense
is forwarded as it is: the receiver's decoder is the judge of it.
"""

from __future__ import annotations

from collections.abc import Callable

PICTURE_ID_MASK = 0x7FFF


class Frame:
    """What a payload says about its frame.

    ``keyframe``: this packet is the first of a keyframe. ``picture_id`` and ``tl0`` (TL0PICIDX) are -1 where the
    payload has none; ``picture_at`` and ``tl0_at`` are their offsets, ``wide`` tells a picture id of 15 bits from one
    of 7.
    """

    __slots__ = ("keyframe", "picture_at", "picture_id", "tl0", "tl0_at", "wide")

    def __init__(self, *, keyframe: bool) -> None:
        self.keyframe = keyframe
        self.picture_id = -1
        self.picture_at = 0
        self.wide = False
        self.tl0 = -1
        self.tl0_at = 0


_PLAIN = Frame(keyframe=False)
_ALWAYS = Frame(keyframe=True)


def inspect_opus(payload: bytes) -> Frame:
    """Audio can be entered at every packet."""
    return _ALWAYS


def inspect_vp8(payload: bytes) -> Frame:
    """RFC 7741 section 4.2."""
    length = len(payload)
    if length < 2:
        return _PLAIN
    first = payload[0]
    starts = first & 0x17 == 0x10  # S set, partition 0
    offset = 1
    frame = Frame(keyframe=False)
    if first & 0x80:
        flags = payload[1]
        offset = 2
        if flags & 0x80:
            if offset >= length:
                return _PLAIN
            frame.picture_at = offset
            if payload[offset] & 0x80:
                if offset + 1 >= length:
                    return _PLAIN
                frame.wide = True
                frame.picture_id = (payload[offset] & 0x7F) << 8 | payload[offset + 1]
                offset += 2
            else:
                frame.picture_id = payload[offset]
                offset += 1
        if flags & 0x40:
            if offset >= length:
                return _PLAIN
            frame.tl0_at = offset
            frame.tl0 = payload[offset]
            offset += 1
        if flags & 0x30:
            offset += 1
    # Section 4.3: the first bit of the payload header tells an interframe.
    frame.keyframe = starts and offset < length and not payload[offset] & 1
    return frame


def inspect_vp9(payload: bytes) -> Frame:
    """RFC 9628 section 4.2."""
    length = len(payload)
    if length < 2:
        return _PLAIN
    first = payload[0]
    frame = Frame(keyframe=False)
    offset = 1
    if first & 0x80:
        frame.picture_at = 1
        if payload[1] & 0x80:
            if length < 3:
                return _PLAIN
            frame.wide = True
            frame.picture_id = (payload[1] & 0x7F) << 8 | payload[2]
            offset = 3
        else:
            frame.picture_id = payload[1]
            offset = 2
    spatial = 0
    if first & 0x20:
        if offset >= length:
            return _PLAIN
        spatial = payload[offset] >> 1 & 7
        offset += 1
        if not first & 0x10:  # not in flexible mode: TL0PICIDX follows
            if offset >= length:
                return _PLAIN
            frame.tl0_at = offset
            frame.tl0 = payload[offset]
    # Not predicted from other pictures, beginning of a frame, lowest spatial layer.
    frame.keyframe = not first & 0x40 and bool(first & 0x08) and spatial == 0
    return frame


def inspect_h264(payload: bytes) -> Frame:
    """RFC 6184 section 5: a keyframe starts with its SPS, or with an IDR slice where the SPS is known out of band."""
    return _ALWAYS if _starts_idr(payload) else _PLAIN


def _starts_idr(payload: bytes) -> bool:
    if not payload:
        return False
    kind = payload[0] & 0x1F
    if kind in (5, 7):
        return True
    if kind == 24:  # STAP-A
        offset = 1
        while offset + 2 < len(payload):
            if payload[offset + 2] & 0x1F in (5, 7):
                return True
            offset += 2 + (payload[offset] << 8 | payload[offset + 1])
        return False
    if kind in (28, 29) and len(payload) > 1:  # FU-A, FU-B
        return payload[1] >= 0x80 and payload[1] & 0x1F in (5, 7)
    return False


INSPECTORS: dict[str, Callable[[bytes], Frame]] = {
    "opus": inspect_opus,
    "VP8": inspect_vp8,
    "VP9": inspect_vp9,
    "H264": inspect_h264,
}


class PictureMunger:
    """Keeps picture ids and TL0PICIDX continuous over switches between layers that each count for themselves."""

    __slots__ = ("_last_picture", "_last_tl0", "_picture_delta", "_tl0_delta")

    def __init__(self) -> None:
        self._last_picture = -1
        self._last_tl0 = -1
        self._picture_delta = 0
        self._tl0_delta = 0

    def switch(self, frame: Frame) -> None:
        """From ``frame`` on, another layer is sent."""
        if frame.picture_id >= 0 and self._last_picture >= 0:
            self._picture_delta = (self._last_picture + 1 - frame.picture_id) & PICTURE_ID_MASK
        if frame.tl0 >= 0 and self._last_tl0 >= 0:
            self._tl0_delta = (self._last_tl0 + 1 - frame.tl0) & 0xFF

    def rewrite(self, payload: bytes, frame: Frame) -> bytes:
        """The payload with the numbers that the receiver expects."""
        if frame.picture_id < 0 and frame.tl0 < 0:
            return payload
        picture = tl0 = -1
        if frame.picture_id >= 0:
            picture = (frame.picture_id + self._picture_delta) & (PICTURE_ID_MASK if frame.wide else 0x7F)
            last = self._last_picture
            if last < 0 or (picture - last) & PICTURE_ID_MASK < 0x4000:
                self._last_picture = picture
        if frame.tl0 >= 0:
            tl0 = (frame.tl0 + self._tl0_delta) & 0xFF
            if self._last_tl0 < 0 or (tl0 - self._last_tl0) & 0xFF < 0x80:
                self._last_tl0 = tl0
        if not self._picture_delta and not self._tl0_delta:
            return payload
        end = max(frame.picture_at + 2 if frame.wide else frame.picture_at + 1, frame.tl0_at + 1)
        head = bytearray(payload[:end])
        if picture >= 0:
            if frame.wide:
                head[frame.picture_at] = 0x80 | picture >> 8
                head[frame.picture_at + 1] = picture & 0xFF
            else:
                head[frame.picture_at] = picture
        if tl0 >= 0:
            head[frame.tl0_at] = tl0
        return bytes(head) + payload[end:]
