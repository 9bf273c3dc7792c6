"""Keys of end-to-end encrypted media: relayed to the devices in a call, sealed for each. The server can't read them."""

from __future__ import annotations

from mana.messaging.handlers import person_of
from mana.protocol import encode
from mana.protocol.client import CallKey
from mana.protocol.server import CallKeyEvent
from mana.realtime.announcements import Announcement
from mana.realtime.dispatch import handles
from mana.realtime.session import Session
from mana_rtc.handlers.relay import check_size, stamp
from mana_rtc.services.entering import key_targets

#: Bytes of what one user gets: a ciphertext for each of their devices.
SEALED_BYTES = 32_768


@handles(CallKey)
async def call_key(session: Session, frame: CallKey) -> None:
    """Relays to each what is theirs; who is not in the call any more gets nothing, which is no error."""
    for sealed in frame.payloads.values():
        check_size(sealed, SEALED_BYTES, "key for a user")
    targets = await session.hub.database.run(key_targets, frame.room_id, frame.call_id, person_of(session), session.id)
    told = {"call_id": frame.call_id, "room_id": frame.room_id, **stamp(session)}
    hints = [
        Announcement(
            0,
            frame.room_id,
            encode(CallKeyEvent(**told, to=user_id, payload=frame.payloads[user_id])).decode(),
            origin=session.id,
            users=[user_id],
            sessions=[session_id],
        )
        for user_id, session_id in targets.items()
        if user_id in frame.payloads
    ]
    if hints:
        session.hub.announce(hints)
