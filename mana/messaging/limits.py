"""How many rooms a person makes and joins: what the doors count. A project's own calls of the services are not."""

from __future__ import annotations

from mana.throttles import Throttle

creations = Throttle("ROOM_CREATION_RATE")
joins = Throttle("JOIN_RATE")
