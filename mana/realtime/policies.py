"""Who sees whom come and go. ``MANA["PRESENCE_POLICY"]`` names the class that decides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Audience:
    """Those in a room who are told of somebody's presence, by ids on the wire.

    ``only`` is ``None`` for everybody in the room; ``hidden_from`` are told nothing in any case.
    """

    only: list[str] | None = None
    hidden_from: list[str] = field(default_factory=list)


EVERYBODY = Audience()


class PresencePolicy:
    """Everybody in a common room sees it. Methods are synchronous and called in database threads."""

    def audiences(self, user_pks: Collection[Any]) -> dict[Any, Audience]:
        """Who is told of each user's presence. Users that are missing from the answer are seen by everybody."""
        return {}

    def visible(self, viewer_pk: Any, user_pks: Collection[Any]) -> set[Any]:
        """Those of the users whose presence ``viewer_pk`` may see."""
        return set(user_pks)


def presence_policy() -> PresencePolicy:
    """The project's policy."""
    from mana.conf import settings

    made: PresencePolicy = settings.PRESENCE_POLICY()
    return made
