"""Bytes to frames and back, with limits on size and depth.

Sizes are counted in UTF-8 bytes. Payloads are never re-encoded: they stay the bytes that arrived.
"""

from __future__ import annotations

import re
from typing import Any, Union

import msgspec

from mana.protocol.client import CLIENT_FRAMES, ClientFrame
from mana.protocol.errors import ErrorCode, ManaError
from mana.protocol.server import ServerFrame

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")

_decoder = msgspec.json.Decoder(Union[CLIENT_FRAMES])  # noqa: UP007  made from a tuple
_encoder = msgspec.json.Encoder()


class _Envelope(msgspec.Struct):
    """What can still be read of a frame that is wrong elsewhere."""

    ack_id: Any = None
    type: Any = None


_envelope_decoder = msgspec.json.Decoder(_Envelope)


def decode(text: str | bytes, *, max_size: int, max_depth: int) -> ClientFrame:
    """The frame that ``text`` holds.

    Raises ``ManaError`` with ``too_large`` (over ``max_size`` bytes), ``too_deep`` (nested over ``max_depth``),
    ``invalid_json``, ``unknown_type`` or ``invalid``, and the frame's ``ack_id`` where it can be read.
    """
    data = text if isinstance(text, bytes) else _to_bytes(text)
    if len(data) > max_size:
        raise ManaError(ErrorCode.TOO_LARGE, f"The frame has {len(data)} bytes; {max_size} are allowed.")
    if isinstance(text, bytes):
        _check_utf8(text)
    # Counting brackets is one pass in C; only a frame with that many of them is looked at more closely.
    if data.count(b"[") + data.count(b"{") > max_depth and depth(data) > max_depth:
        raise ManaError(ErrorCode.TOO_DEEP, f"The JSON nests deeper than {max_depth}.")
    try:
        return _decoder.decode(data)  # type: ignore[no-any-return]
    except msgspec.ValidationError as error:
        raise _refusal(data, error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManaError(ErrorCode.INVALID_JSON, f"The frame is not valid JSON: {error}.") from None


def encode(frame: ServerFrame) -> bytes:
    """The frame as UTF-8 JSON."""
    return _encoder.encode(frame)


def depth(data: bytes) -> int:
    """How deep the arrays and objects of ``data`` nest; of invalid JSON, at least as deep as a parser would go."""
    deepest = current = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", data)):
        if bracket in b"[{":
            current += 1
            deepest = max(deepest, current)
        else:
            current -= 1
    return deepest


def is_empty(payload: bytes) -> bool:
    """Whether a payload carries nothing: null, "", {} or []."""
    payload = payload.strip()
    if payload[:1] in (b"[", b"{"):
        return not payload[1:-1].strip()
    return payload in (b"", b"null", b'""')


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ManaError(ErrorCode.INVALID_JSON, "The frame is not valid UTF-8.") from None


def _check_utf8(data: bytes) -> None:
    """The decoder does not look at what it skips: payloads, and fields that it does not know."""
    try:
        data.decode()
    except UnicodeDecodeError:
        raise ManaError(ErrorCode.INVALID_JSON, "The frame is not valid UTF-8.") from None


def _refusal(data: bytes, error: msgspec.ValidationError) -> ManaError:
    try:
        envelope = _envelope_decoder.decode(data)
    except msgspec.DecodeError:
        return ManaError(ErrorCode.INVALID, "A frame is one JSON object.")
    ack_id = _usable_ack_id(envelope.ack_id)
    if not isinstance(envelope.type, str):
        return ManaError(ErrorCode.INVALID, "The frame needs a `type` of type string.", ack_id=ack_id)
    if envelope.type not in KNOWN_TYPES:
        return ManaError(ErrorCode.UNKNOWN_TYPE, f"There is no frame of type {envelope.type[:64]!r}.", ack_id=ack_id)
    return ManaError(ErrorCode.INVALID, f"{error}.", ack_id=ack_id)


def frame_type(frame: type[msgspec.Struct] | msgspec.Struct) -> str:
    """The ``type`` of a frame on the wire."""
    tag = frame.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


KNOWN_TYPES = frozenset(frame_type(frame) for frame in CLIENT_FRAMES)


def ack_id_of(data: str | bytes) -> str | None:
    """The ``ack_id`` of a frame that is not looked at any further, where it can be read."""
    try:
        ack_id = _envelope_decoder.decode(data).ack_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return _usable_ack_id(ack_id)


def _usable_ack_id(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= 64 else None
