"""Frames that no client should send: the protocol's own, with anything in their fields, and worse."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from mana.protocol.client import CLIENT_FRAMES

_TEXTS = [
    "", " ", "a", "0", "-1", "1", "null", "\u0000", "\ud7ff", "\uffff", "\U0010ffff", "é" * 300, "x" * 5000,
    "../../etc/passwd",
    "' OR 1=1 --", "%00", "\u202e", "<script>alert(1)</script>", "{}", "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff", "9" * 40, "1e308", "@all",
]  # fmt: skip
_NUMBERS = [0, 1, -1, 2, 2**31, -(2**31), 2**53, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, 5e-324]

#: Each type of frame: its tag, and its fields with what msgspec knows of them.
TYPES: list[tuple[str, dict[str, msgspec.inspect.Field]]] = [
    (str(info.tag), {field.encode_name: field for field in info.fields})
    for info in map(msgspec.inspect.type_info, CLIENT_FRAMES)
    if isinstance(info, msgspec.inspect.StructType)
]


class Source(Protocol):
    """Something that makes frames without end."""

    def one(self) -> str | bytes:
        """A frame, as text, or as bytes where it is no text."""


class Frames:
    """An endless source of frames as text, always the same for a seed."""

    def __init__(self, seed: int, known: list[str]) -> None:
        self._random = random.Random(seed)
        #: Ids that exist: of rooms, users, messages. Half of the frames are about something real.
        self._known = known

    def one(self) -> str:
        """A frame."""
        roll = self._random.random()
        if roll < 0.05:
            return self._broken()
        tag, fields = self._random.choice(TYPES)
        frame = {name: self._value() for name in fields if self._random.random() < 0.7}
        if self._random.random() < 0.2:
            frame[self._text()[:50]] = self._value()
        frame["type"] = tag if roll < 0.97 else self._value()
        return json.dumps(frame, ensure_ascii=self._random.random() < 0.5)

    def _value(self, depth: int = 0) -> Any:
        if depth < 4 and self._random.random() < 0.3:
            values = [self._value(depth + 1) for _ in range(self._random.randrange(4))]
            return values if self._random.random() < 0.5 else {self._text()[:40]: value for value in values}
        kinds = [[None, True, False], _NUMBERS, [self._text()], self._known]
        return self._random.choice(self._random.choice(kinds))

    def _text(self) -> str:
        if self._random.random() < 0.7:
            return self._random.choice(_TEXTS)
        return "".join(chr(self._random.choice([*range(32, 127), 0x301, 0x4E2D])) for _ in range(8))

    def _broken(self) -> str:
        whole = json.dumps({"type": "message", "room_id": self._random.choice(self._known), "payload": self._text()})
        place = self._random.randrange(len(whole))
        match self._random.randrange(4):
            case 0:
                return whole[:place]
            case 1:
                return whole[:place] + self._random.choice('{}[]",:\\x00') + whole[place + 1 :]
            case 2:
                return "[" * self._random.randrange(100)
            case _:
                return whole + whole


class Mutations:
    """Right frames that were damaged a little: the same for a seed, and the nearer to right the harder to refuse."""

    def __init__(self, seed: int, right: Sequence[dict[str, Any]]) -> None:
        self._random = random.Random(seed)
        self._right = right

    def one(self) -> str | bytes:
        """A frame."""
        frame = dict(self._random.choice(self._right))
        for _ in range(self._random.randrange(3)):
            self._change_field(frame)
        text = json.dumps(frame, ensure_ascii=self._random.random() < 0.5)
        for _ in range(self._random.choice((0, 0, 1, 1, 2, 8))):
            text = self._change_text(text)
        if self._random.random() < 0.05:
            data = bytearray(text.encode("utf-8", "surrogatepass"))
            data[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
            return bytes(data)
        return text

    def _change_field(self, frame: dict[str, Any]) -> None:
        other = self._random.choice(self._right)
        name = self._random.choice(list(frame))
        match self._random.randrange(5):
            case 0:
                del frame[name]
                frame.setdefault("type", self._random.choice(TYPES)[0])
            case 1:
                frame[name] = self._random.choice(_TEXTS)
            case 2:
                frame[name] = self._random.choice(_NUMBERS)
            case 3:
                frame[name] = [frame[name]] * self._random.choice((1, 2, 200))
            case _:
                frame.update(other)

    def _change_text(self, text: str) -> str:
        start, end = sorted(self._random.randrange(len(text) + 1) for _ in range(2))
        match self._random.randrange(4):
            case 0:
                return text[:start] + text[min(end, start + 4) :] or " "
            case 1:
                return text[:start] + self._random.choice('{}[]",:\\0é-eE.') + text[start:]
            case 2:
                return text[:end] + text[start:end] * 2 + text[end:]
            case _:
                return text[:start] + self._random.choice(_TEXTS)[:20] + text[end:]


# -- What Hypothesis makes of the protocol -------------------------------------------------------------------------

_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


def frames(known: list[str]) -> SearchStrategy[str]:
    """Frames whose fields mostly are of the right type, about things that exist."""
    return st.one_of([_frame(tag, fields, known) for tag, fields in TYPES]).map(_json)


def _frame(tag: str, fields: dict[str, msgspec.inspect.Field], known: list[str]) -> SearchStrategy[dict[str, Any]]:
    values = {name: _value(field.type, known) | _anything for name, field in fields.items()}
    required = {name: value for name, value in values.items() if fields[name].required}
    optional = {name: value for name, value in values.items() if name not in required}
    return st.fixed_dictionaries({"type": st.just(tag), **required}, optional=optional)


def _value(kind: msgspec.inspect.Type, known: list[str]) -> SearchStrategy[Any]:
    found: SearchStrategy[Any] = _anything
    match kind:
        case msgspec.inspect.StrType():
            found = st.sampled_from(known) | st.text(min_size=kind.min_length or 0, max_size=kind.max_length or 100)
        case msgspec.inspect.IntType():
            found = st.integers(min_value=kind.ge, max_value=kind.le) | st.integers(min_value=0, max_value=9)
        case msgspec.inspect.LiteralType():
            found = st.sampled_from(kind.values)
        case msgspec.inspect.BoolType():
            found = st.booleans()
        case msgspec.inspect.ListType():
            found = st.lists(_value(kind.item_type, known), max_size=5)
        case msgspec.inspect.DictType():
            found = st.dictionaries(st.sampled_from(known), _value(kind.value_type, known), max_size=5)
        case msgspec.inspect.UnionType():
            found = st.one_of([_value(one, known) for one in kind.types])
        case msgspec.inspect.NoneType():
            found = st.none()
    return found


def _json(frame: dict[str, Any]) -> str:
    return json.dumps(frame)
