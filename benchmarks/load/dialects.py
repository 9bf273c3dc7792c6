"""What the servers under test want to hear: the project's protocol and that of the baseline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

#: Begins every text, so that counting messages is counting this byte. It occurs in no other field of a frame.
MARK = b"@"
#: Instead of ``MARK`` in the texts of a room's second sender.
SECOND_MARK = b"^"
#: Begins every ack id, so that counting acks is counting this byte.
ACK_MARK = b"~"


@dataclass(frozen=True)
class Seat:
    """A client to be: the room it is in and the token that proves who it is (empty where nobody asks)."""

    room: str
    token: str = ""


class Dialect(Protocol):
    """How to connect, how to say something, and what to expect."""

    #: Whether the server greets with a frame when the client may begin.
    greets: bool
    #: Whether a sender gets its own messages too.
    echoes: bool

    def request(self, seat: Seat, port: int) -> tuple[str, dict[str, str]]:
        """Path and headers of the handshake."""

    def say(self, seat: Seat, text: str, ack: str) -> bytes:
        """The payload of a frame with ``text``; with an ack asked for where ``ack`` is not empty."""

    def texts(self, content: Any) -> Iterator[str]:
        """The texts in a decoded frame."""

    def acks(self, content: Any) -> Iterator[tuple[str, int]]:
        """The acks in a decoded frame, each with its sequence (or the row's key)."""


class Mana:
    """``mana.v1``: ``typing`` is relayed and ``message`` is stored. Both have ``payload``."""

    greets = True
    echoes = False

    def __init__(self, frame_type: str) -> None:
        self._type = frame_type

    def request(self, seat: Seat, port: int) -> tuple[str, dict[str, str]]:
        """Authenticates with a bearer token."""
        return "/ws", {"Sec-WebSocket-Protocol": "mana.v1", "Authorization": f"Bearer {seat.token}"}

    def say(self, seat: Seat, text: str, ack: str) -> bytes:
        """A frame for a room."""
        frame = {"type": self._type, "room_id": seat.room, "payload": text}
        if ack:
            frame["ack_id"] = ack
        return json.dumps(frame, separators=(",", ":")).encode()

    def texts(self, content: Any) -> Iterator[str]:
        """From one object or an array of them."""
        for frame in content if isinstance(content, list) else [content]:
            if frame["type"] == self._type:
                yield frame["payload"]

    def acks(self, content: Any) -> Iterator[tuple[str, int]]:
        """From one object or an array of them. Raises ``ValueError`` for an error frame."""
        for frame in content if isinstance(content, list) else [content]:
            if frame["type"] == "error":
                raise ValueError(f"The server refuses: {frame}")
            if frame["type"] == "ack":
                yield frame["ack_id"], frame["sequence"]


class Tutorial:
    """The Channels tutorial; ``stored`` and ``storedchat`` for the variants that store and ack."""

    greets = False
    echoes = True

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def request(self, seat: Seat, port: int) -> tuple[str, dict[str, str]]:
        """The tutorial checks the origin."""
        return f"/ws/{self._kind}/{seat.room}/", {"Origin": f"http://127.0.0.1:{port}"}

    def say(self, seat: Seat, text: str, ack: str) -> bytes:
        """A frame for the room of the socket."""
        frame = {"message": text}
        if ack:
            frame["ack"] = ack
        return json.dumps(frame).encode()

    def texts(self, content: Any) -> Iterator[str]:
        """At most one."""
        if "message" in content:
            yield content["message"]

    def acks(self, content: Any) -> Iterator[tuple[str, int]]:
        """At most one."""
        if "ack" in content:
            yield content["ack"], content["id"]


DIALECTS: dict[str, Dialect] = {
    "mana-typing": Mana("typing"),
    "mana-message": Mana("message"),
    "tutorial-chat": Tutorial("chat"),
    "tutorial-stored": Tutorial("stored"),
    "tutorial-storedchat": Tutorial("storedchat"),
}
