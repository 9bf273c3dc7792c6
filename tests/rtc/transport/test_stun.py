"""STUN: understood by aioice and understanding it; strict with everything else."""

from __future__ import annotations

import aioice.stun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.transport import stun

PASSWORD = "a password of the right length"


def request(**attributes: object) -> bytes:
    """A check as aioice writes it."""
    message = aioice.stun.Message(
        message_method=aioice.stun.Method.BINDING, message_class=aioice.stun.Class.REQUEST, transaction_id=b"t" * 12
    )
    message.attributes["USERNAME"] = "ours:theirs"
    message.attributes["PRIORITY"] = 1
    for name, value in attributes.items():
        message.attributes[name.replace("_", "-")] = value
    message.add_message_integrity(PASSWORD.encode())
    return bytes(message)


def test_a_request_is_understood() -> None:
    message = stun.parse(request(USE_CANDIDATE=None, ICE_CONTROLLING=5))
    assert message.kind == stun.BINDING_REQUEST
    assert message.username == "ours:theirs"
    assert stun.USE_CANDIDATE in message.attributes
    assert message.verify(PASSWORD)
    assert not message.verify("another password of that length")


@pytest.mark.parametrize("address", [("127.0.0.1", 5000), ("2001:db8::7", 443)])
def test_the_answer_is_understood(address: tuple[str, int]) -> None:
    answer = aioice.stun.parse_message(stun.binding_response(b"t" * 12, address, PASSWORD))
    assert answer.message_class is aioice.stun.Class.RESPONSE
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == address
    assert answer.check_message_integrity(PASSWORD.encode())


def test_our_own_checks_and_errors_are_understood() -> None:
    data, transaction = stun.binding_request("theirs:ours", PASSWORD)
    check = aioice.stun.parse_message(data)
    assert check.transaction_id == transaction
    assert check.attributes["USERNAME"] == "theirs:ours"
    assert "ICE-CONTROLLED" in check.attributes
    assert check.check_message_integrity(PASSWORD.encode())
    error = aioice.stun.parse_message(stun.role_conflict(b"t" * 12, PASSWORD))
    assert error.error_code == 487


def test_what_follows_the_integrity_is_not_believed() -> None:
    data = request()[:-8]  # without the fingerprint
    data += b"\x00\x25\x00\x00"  # USE-CANDIDATE
    data = data[:2] + (len(data) - 20).to_bytes(2) + data[4:]
    message = stun.parse(data)
    assert message.verify(PASSWORD)
    assert stun.USE_CANDIDATE not in message.attributes


def test_a_message_without_integrity_is_not_authentic() -> None:
    assert not stun.parse(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)).verify("")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        request()[:-1],
        request() + b"\0\0\0\0",
        request()[:4] + bytes(4) + request()[8:],  # without the cookie
        request()[:-1] + b"\0",  # fingerprint
        b"\0\1\0\4\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0\xff",
        b"\0\1\0\4\x21\x12\xa4\x42" + bytes(12) + b"\0\x08\0\0",
        b"\0\1\5\0\x21\x12\xa4\x42" + bytes(12 + 1280),
        b"\0\1\1\0\x21\x12\xa4\x42" + bytes(12) + b"\x80\0\0\0" * 64,
    ],
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        stun.parse(data)


@given(st.binary(max_size=100), st.integers(0, 0xFFFF))
def test_nothing_but_value_errors(body: bytes, kind: int) -> None:
    try:
        message = stun.parse(kind.to_bytes(2) + len(body).to_bytes(2) + b"\x21\x12\xa4\x42" + bytes(12) + body)
    except ValueError:
        return
    assert not message.verify(PASSWORD)
