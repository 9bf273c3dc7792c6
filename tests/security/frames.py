"""Frames that no client should send: the protocol's own, with anything in their fields, and worse."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec

from mana.protocol.client import CLIENT_FRAMES

#: Frames that say who the session is; guessing at them is for the tests of authentication.
NOT_FUZZED = {"auth"}

_TEXTS = [
    "", " ", "a", "0", "-1", "1", "null", "\u0000", "\ud7ff", "\uffff", "\U0010ffff", "é" * 300, "x" * 5000,
    "../../etc/passwd",
    "' OR 1=1 --", "%00", "\u202e", "<script>alert(1)</script>", "{}", "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff", "9" * 40, "1e308", "@all",
]  # fmt: skip
_NUMBERS = [0, 1, -1, 2, 2**31, -(2**31), 2**53, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e308, 5e-324]


class Frames:
    """An endless source of frames as text, always the same for a seed."""

    def __init__(self, seed: int, known: list[str]) -> None:
        self._random = random.Random(seed)
        #: Ids that exist: of rooms, users, messages. Half of the frames are about something real.
        self._known = known
        self._types = [
            (info.tag, [field.encode_name for field in info.fields])
            for info in map(msgspec.inspect.type_info, CLIENT_FRAMES)
            if isinstance(info, msgspec.inspect.StructType) and info.tag not in NOT_FUZZED
        ]

    def one(self) -> str:
        """A frame."""
        roll = self._random.random()
        if roll < 0.05:
            return self._broken()
        tag, names = self._random.choice(self._types)
        frame = {name: self._value() for name in names if self._random.random() < 0.7}
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
