"""Whether what somebody does in a direct room may still reach the other one.

Messages are checked where they are stored; what is stored nowhere, such as typing and calls, asks here.
"""

from __future__ import annotations

from typing import Any

from mana.messaging import stores
from mana.messaging.frames import peer_of
from mana.messaging.policies import policy
from mana.messaging.services.asynchronous import reading
from mana.messaging.services.people import as_person


def peer_in(room_key: str, user: Any) -> str | None:
    """The wire id of the other one in a direct room; ``None`` in every other room, and where there is none."""
    room = stores.room_by_key(room_key)
    return peer_of(room, as_person(user)) if room is not None else None


def check_reaches(user: Any, other_user_id: str, *, calling: bool = False) -> None:
    """Raises ``ManaError`` with ``forbidden`` if the user may not write to the other one, or with ``calling`` may not
    call them: there is a block between them, or the other one hears contacts only."""
    person, rules = as_person(user), policy()
    if calling:
        rules.contacts.may_call(person, other_user_id)
    else:
        rules.may_message_directly(person, other_user_id)


apeer_in = reading(peer_in)
acheck_reaches = reading(check_reaches)
