"""Telling people of calls that they missed."""

from __future__ import annotations

import logging
from typing import Any

from mana import notifications
from mana.accounts.stores import accounts, person
from mana.messaging.models import Room
from mana_rtc.models import Call

logger = logging.getLogger("mana.rtc")

KIND = "call_missed"


def notify_missed(call: Call, user_pks: list[Any]) -> None:
    """Stores a notification for each, as they want them. After the commit: it never raises."""
    try:
        caller = person(call.started_by_id) if call.started_by_id is not None else None
        name = (caller.display_name or caller.username) if caller is not None else "somebody"
        direct = call.room.room_type == Room.Type.DIRECT
        title = f"Missed call from {name}" + (f" in {call.room.name}" if call.room.name else "")
        data = {
            "call_id": call.key,
            "room_id": call.room.key,
            "user_id": caller.user_id if caller is not None else None,
            "video": call.is_video,
        }
        for pk in user_pks:
            user = accounts().by_pk(pk)
            if user is not None:
                # A call between two concerns them alone; of a group's, what they chose for the room counts.
                notifications.send(user, title, data=data, kind=KIND, room=None if direct else call.room.key)
    except Exception:
        logger.exception("People could not be notified of a call that they missed.")
