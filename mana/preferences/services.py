"""Reading and changing preferences. Each function has an async twin with an ``a`` before its name.

``register`` is how an app adds its own::

    from mana import preferences

    preferences.register("shop.newsletter", bool, False)
    preferences.get(user, "shop.newsletter")
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from typing import Any

from mana import signals
from mana.accounts.live import send_signal, tell
from mana.accounts.stores import person
from mana.conf import settings
from mana.preferences.models import Preference
from mana.preferences.registry import kind_of, kinds, register, unregister
from mana.preferences.stores import store
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import PreferenceEvent
from mana.stores import async_twin


def get(user: Any, key: str) -> Any:
    """What a user chose, or the default. Raises ``ManaError`` with ``not_found`` for a key that nobody registered."""
    kind = kind_of(key)
    chosen = store().get(user.pk, key)
    return copy.deepcopy(kind.default) if chosen is None else json.loads(chosen)


def get_all(user: Any) -> dict[str, Any]:
    """Every preference, chosen or default; of those that stand for many, the chosen ones."""
    chosen = store().all(user.pk)
    values = {kind.key: copy.deepcopy(kind.default) for kind in kinds() if not kind.key.endswith(".*")}
    for key, value in chosen.items():
        if is_registered(key):
            values[key] = json.loads(value)
    return dict(sorted(values.items()))


def get_many(user_pks: Collection[Any], keys: Collection[str]) -> dict[Any, dict[str, Any]]:
    """Some preferences of several users, with one query."""
    chosen = store().of_many(user_pks, keys)
    return {
        pk: {
            key: json.loads(chosen[(pk, key)]) if (pk, key) in chosen else copy.deepcopy(kind_of(key).default)
            for key in keys
        }
        for pk in user_pks
    }


def set(user: Any, key: str, value: Any) -> None:  # noqa: A001  as in preferences.set(...)
    """Chooses. Raises ``ManaError``: ``not_found``, ``invalid``, ``too_large``."""
    kind = kind_of(key)
    kind.check(value)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > settings.MAX_PREFERENCE_BYTES:
        raise ManaError(ErrorCode.TOO_LARGE, f"A preference may have {settings.MAX_PREFERENCE_BYTES} bytes.")
    chosen = store()
    if chosen.get(user.pk, key) is None and chosen.count(user.pk) >= settings.MAX_PREFERENCES:
        raise ManaError(ErrorCode.CONFLICT, f"A user may have {settings.MAX_PREFERENCES} preferences.")
    chosen.set(user.pk, key, text)
    _tell(user, key, value, is_default=False)


def reset(user: Any, key: str) -> Any:
    """Goes back to the default, which it gives."""
    kind = kind_of(key)
    if store().remove(user.pk, key):
        _tell(user, key, kind.default, is_default=True)
    return copy.deepcopy(kind.default)


def _tell(user: Any, key: str, value: Any, *, is_default: bool) -> None:
    who = person(user.pk)
    if who is not None:
        tell([who.user_id], PreferenceEvent(key=key, value=value, is_default=is_default))
    send_signal(signals.preference_changed, Preference, user=user, key=key, value=value)


def is_registered(key: str) -> bool:
    """Whether an app has registered a preference of this key."""
    try:
        kind_of(key)
    except ManaError:
        return False
    return True


aget = async_twin(get)
aget_all = async_twin(get_all)
aset = async_twin(set)
areset = async_twin(reset)

__all__ = [
    "aget",
    "aget_all",
    "areset",
    "aset",
    "get",
    "get_all",
    "get_many",
    "is_registered",
    "register",
    "reset",
    "set",
    "unregister",
]
