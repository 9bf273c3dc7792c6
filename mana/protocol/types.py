"""The field types that the frames share, with their bounds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

MAX_INT = 2**63 - 1  # what the databases' bigint holds

AckId = Annotated[str, Meta(min_length=1, max_length=64, description="Chosen by the client, unique per user.")]
RoomId = Annotated[str, Meta(min_length=1, max_length=128, description="Name of a room.")]
UserId = Annotated[str, Meta(min_length=1, max_length=128, description="A user's id, always a string.")]
MessageId = Annotated[str, Meta(min_length=1, max_length=64, description="A message's id (UUID version 7).")]
DeviceId = Annotated[str, Meta(min_length=1, max_length=64, description="Name of one of the user's devices.")]
Ciphertext = Annotated[str, Meta(min_length=4, max_length=90_000, description="Base64, with padding.")]
CallId = Annotated[str, Meta(min_length=1, max_length=64)]
Sequence = Annotated[int, Meta(ge=0, le=MAX_INT, description="Position in the gap-free order of all events.")]
Index = Annotated[int, Meta(ge=0, le=MAX_INT, description="Position in the room: 1, 2, 3 ... without gaps.")]
Limit = Annotated[int, Meta(ge=1, le=MAX_INT, description="How many at the most; the server may give fewer.")]
Timestamp = Annotated[str, Meta(description="ISO 8601, UTC, ending in Z.")]
Name = Annotated[str, Meta(max_length=255)]
Token = Annotated[str, Meta(min_length=1, max_length=8192)]
Sdp = Annotated[str, Meta(min_length=1, max_length=65536)]
Emoji = Annotated[str, Meta(min_length=1, max_length=64)]
