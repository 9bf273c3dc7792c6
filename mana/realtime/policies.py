"""Who sees whom come and go. ``MANA["PRESENCE_POLICY"]`` names the class that decides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Audience:
    """Those who are told of somebody's presence, by ids on the wire.

    ``only`` is ``None`` for everybody in a common room, and everybody who follows; ``hidden_from`` are told nothing in
    any case. With ``anywhere`` those in ``only`` are told also where they share no room and do not follow.
    """

    only: list[str] | None = None
    hidden_from: list[str] = field(default_factory=list)
    anywhere: bool = False


EVERYBODY = Audience()


class PresencePolicy:
    """Everybody in a common room sees it. Methods are synchronous and called in database threads."""

    def audiences(self, user_pks: Collection[Any]) -> dict[Any, Audience]:
        """Who is told of each user's presence. Users that are missing from the answer are seen by everybody."""
        return {}

    def followers(self, user_pks: Collection[Any]) -> dict[Any, list[str]]:
        """Who follows each user: they are told, as far as ``audiences`` lets them, also where they share no room."""
        return {}

    def visible(self, viewer_pk: Any, user_pks: Collection[Any]) -> set[Any]:
        """Those of the users whose presence ``viewer_pk`` may see."""
        return set(user_pks)


def presence_policy() -> PresencePolicy:
    """The project's policy."""
    from mana.conf import settings

    made: PresencePolicy = settings.PRESENCE_POLICY()
    return made
