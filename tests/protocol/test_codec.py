"""Text to frames: limits, codes, payloads untouched."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana.protocol import CLIENT_FRAMES, SERVER_FRAMES, ErrorCode, ManaError, SendMessage, decode, frame_type
from mana.protocol.codec import ack_id_of, depth, is_empty
from mana.protocol.errors import TEXTS

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _decode(text: str | bytes) -> object:
    return decode(text, max_size=65536, max_depth=32)


@given(JSON)
def test_a_payload_keeps_its_bytes(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    frame = _decode(b'{"type":"message","room_id":"r","payload":' + text + b"}")
    assert isinstance(frame, SendMessage)
    assert bytes(frame.payload) == text


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_anything_is_a_frame_or_a_refusal(data: str | bytes) -> None:
    try:
        _decode(data)
    except ManaError as error:
        code = error.code
    else:
        return
    assert code in TEXTS


@given(
    st.sampled_from(CLIENT_FRAMES),
    st.dictionaries(
        st.sampled_from(["room_id", "to", "payload", "sequence", "ack_id", "cursor", "limit", "status", "sdp"]), JSON
    ),
)
def test_any_fields_make_a_frame_or_a_refusal(frame_class: type[msgspec.Struct], fields: dict[str, object]) -> None:
    try:
        frame = _decode(json.dumps({"type": frame_type(frame_class), **fields}))
    except ManaError as error:
        outcome: object = error.code
    else:
        outcome = type(frame)
    assert outcome in (frame_class, ErrorCode.INVALID, ErrorCode.INVALID_JSON, ErrorCode.TOO_DEEP)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"[]", 1), (b'{"a":[{}]}', 3), (b'"[[["', 0), (b'"\\"[["', 0), (b"[[[", 3), (b"]][", 1), (b"1", 0)],
)
def test_depth_is_counted_outside_of_strings(text: bytes, expected: int) -> None:
    deepest = depth(text)
    assert deepest == expected if text != b"]][" else deepest <= expected


def test_brackets_in_strings_are_not_nesting() -> None:
    frame = _decode(json.dumps({"type": "message", "room_id": "r", "payload": "[" * 5000}))
    assert isinstance(frame, SendMessage)


def test_the_limit_of_size_is_in_bytes() -> None:
    text = json.dumps({"type": "ping", "x": "é" * 100}, ensure_ascii=False)
    assert decode(text, max_size=len(text.encode()), max_depth=32)
    with pytest.raises(ManaError) as refused:
        decode(text, max_size=len(text.encode()) - 1, max_depth=32)
    assert refused.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("payload", [b"", b" null ", b'""', b"{}", b"{ \n}", b"[ ]"])
def test_what_carries_nothing_is_empty(payload: bytes) -> None:
    assert is_empty(payload)


@pytest.mark.parametrize("payload", [b"0", b"false", b'" "', b'"' + b" " * 100 + b'x"', b"[0]", b'{"":null}', b"[[]]"])
def test_everything_else_is_not(payload: bytes) -> None:
    assert not is_empty(payload)


@pytest.mark.parametrize(
    ("text", "ack_id"),
    [
        ('{"ack_id":"a"}', "a"),
        ('{"ack_id":7}', None),
        ("nonsense", None),
        ("[]", None),
        ('{"ack_id":"' + "x" * 65 + '"}', None),
    ],
)
def test_an_ack_id_is_read_where_it_can_be(text: str, ack_id: str | None) -> None:
    assert ack_id_of(text) == ack_id


def test_no_two_frames_share_a_type() -> None:
    for frames in (CLIENT_FRAMES, SERVER_FRAMES):
        types = [frame_type(frame) for frame in frames]
        assert len(types) == len(set(types))


#: The signal types of the Go framework's documentation (FEATURES.md), which all have a frame here.
SEED_TYPES = """
offer answer candidate sfu_offer sfu_answer sfu_candidate subscribe leave ready key_exchange get_prekey_bundle
prekey_refill encrypted_fanout join typing message mute camera_toggle screen_share_start screen_share_stop pin
call_start call_end message_sync sync_request ice_restart network_change active_speaker track_added error
"""


def test_every_type_of_the_seed_has_a_frame() -> None:
    known = {frame_type(frame) for frame in (*CLIENT_FRAMES, *SERVER_FRAMES)}
    assert set(SEED_TYPES.split()) <= known


def test_every_code_has_a_text() -> None:
    assert set(TEXTS) == set(ErrorCode)
