"""Who acts: a Django user, or the person that stands for one."""

from __future__ import annotations

from typing import Any

from mana.accounts.stores import Person, person, resolve
from mana.protocol import ErrorCode, ManaError


def as_person(user: Any) -> Person:
    """The person that a user is. Raises ``ManaError`` for one who is not stored."""
    if isinstance(user, Person):
        return user
    found = person(user.pk) if user.pk is not None else None
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")
    return found


def people_named(user_ids: list[str]) -> list[Person]:
    """The active users with these wire ids, in this order. Raises ``ManaError`` if one does not exist."""
    found = resolve(user_ids)
    missing = [user_id for user_id in user_ids if user_id not in found]
    if missing:
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no user {missing[0][:64]!r}.")
    return [found[user_id] for user_id in dict.fromkeys(user_ids)]
