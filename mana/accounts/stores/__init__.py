"""The stores of accounts, profiles and devices, and what other apps ask them.

``accounts()``, ``profiles()`` and ``devices()`` give the configured stores; services use nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from mana.accounts.persons import Person
from mana.accounts.stores.accounts import AccountStore, Taken, address_of, must_be_verified
from mana.accounts.stores.devices import LAST_SEEN_GRAIN, DeviceStore
from mana.accounts.stores.profiles import ProfileStore
from mana.conf import settings

__all__ = [
    "LAST_SEEN_GRAIN",
    "AccountStore",
    "DeviceStore",
    "Person",
    "ProfileStore",
    "Taken",
    "accounts",
    "address_of",
    "cursor_of",
    "devices",
    "move_cursor",
    "must_be_verified",
    "people",
    "person",
    "profiles",
    "resolve",
    "touch_device",
]


def accounts() -> AccountStore:
    """The configured store of accounts."""
    made: AccountStore = settings.ACCOUNT_STORE()
    return made


def profiles() -> ProfileStore:
    """The configured store of profiles."""
    made: ProfileStore = settings.PROFILE_STORE()
    return made


def devices() -> DeviceStore:
    """The configured store of devices."""
    made: DeviceStore = settings.DEVICE_STORE()
    return made


def people(pks: Collection[Any]) -> dict[Any, Person]:
    """Those of the users that exist, by primary key."""
    return accounts().people(pks)


def person(pk: Any) -> Person | None:
    """One user."""
    return people([pk]).get(pk)


def resolve(user_ids: Iterable[str], *, active_only: bool = True) -> dict[str, Person]:
    """The users that wire ids name. Ids that name nobody are missing from the result."""
    return accounts().resolve(user_ids, active_only=active_only)


def touch_device(user_pk: Any, device_id: str) -> None:
    """Notes that a device was seen, and remembers it if it is new."""
    devices().touch(user_pk, device_id)


def cursor_of(user_pk: Any, device_id: str) -> int:
    """How far a device has come; 0 for one that never said."""
    return devices().cursor(user_pk, device_id)


def move_cursor(user_pk: Any, device_id: str, cursor: int) -> None:
    """Stores how far a device has come. A cursor never moves back."""
    devices().move_cursor(user_pk, device_id, cursor)
