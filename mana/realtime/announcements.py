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
    those of ``users`` in the room get the frame, of these only the ``sessions``, where any are named; users in
    ``hidden_from`` never do. Where ``users`` are named alone, sessions in one of ``but_rooms`` do not get it: they have
    been told there. With ``revoked`` there is no frame. ``trace`` is the W3C trace context of what caused it, where
    that is traced. ``payloads`` are for frames that each device gets with a payload of its own, under ``device_key``;
    ``frame`` then has a null one, for all other devices.
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
    sessions: list[str] = []
    payloads: dict[str, str] = {}

    def frame_for(self, user_id: str, device_id: str) -> str:
        """The frame as the sessions of one device of a user get it."""
        frame = self.own_frame() if self.ack_id and self.sender == user_id else self.frame
        own = self.payloads.get(device_key(user_id, device_id)) if self.payloads else None
        # A quote inside a string is escaped, so this can be nothing but the member.
        return frame if own is None else frame.replace(NO_PAYLOAD, f',"payload":{own}', 1)

    @property
    def size(self) -> int:
        """Characters that it takes on the bus, about."""
        return len(self.frame) + sum(map(len, self.payloads.values()))

    def own_frame(self) -> str:
        """The frame as the sender's other devices get it."""
        if not self.ack_id:
            return self.frame
        return f'{self.frame[:-1]},"ack_id":{_quote(self.ack_id)}}}'


#: What stands in a frame whose payload is each device's own.
NO_PAYLOAD = ',"payload":null'


def device_key(user_id: str, device_id: str) -> str:
    """One device of one user, as ``payloads`` names it. A device's id has no spaces in it."""
    return f"{user_id} {device_id}"


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
