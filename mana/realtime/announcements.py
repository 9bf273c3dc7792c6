"""What the hub delivers and the bus carries: a frame, already encoded, and whom it is for."""

from __future__ import annotations

import msgspec


class Revoked(msgspec.Struct, array_like=True):
    """A hint to look at whether ``users`` may still be there; with ``session_id`` that session is to be closed."""

    session_id: str = ""


class Announcement(msgspec.Struct, array_like=True):
    """One frame on its way to sessions.

    ``sequence`` is 0 for what is not stored (typing, presence, receipts); everything else is delivered in its order.
    ``frame`` is the encoded JSON object. It goes to the sessions in ``room``, or of ``users`` where no room is named,
    but not to the session ``origin``. The sessions of ``sender`` get it with ``ack_id`` added. Users in ``joined`` are
    in the room from this event on, users in ``left`` until this event. Where ``room`` and ``users`` are named, only
    those of ``users`` in the room get the frame; users in ``hidden_from`` never do. Where ``users`` are named alone,
    sessions in one of ``but_rooms`` do not get it: they have been told there. With ``revoked`` there is no frame.
    ``trace`` is the W3C trace context of what caused it, where that is traced.
    """

    sequence: int
    room: str
    frame: str
    origin: str = ""
    sender: str = ""
    ack_id: str = ""
    joined: list[str] = []
    left: list[str] = []
    users: list[str] = []
    revoked: Revoked | None = None
    trace: str = ""
    hidden_from: list[str] = []
    but_rooms: list[str] = []

    def own_frame(self) -> str:
        """The frame as the sender's other devices get it."""
        if not self.ack_id:
            return self.frame
        return f'{self.frame[:-1]},"ack_id":{_quote(self.ack_id)}}}'


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Announcement])


def pack(announcements: list[Announcement]) -> bytes:
    """Announcements as bytes for the channel layer (MessagePack)."""
    return _encoder.encode(announcements)


def unpack(data: bytes) -> list[Announcement]:
    """The announcements in ``data``. Raises ``msgspec.DecodeError`` for anything else."""
    return _decoder.decode(data)
