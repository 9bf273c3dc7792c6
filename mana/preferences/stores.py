"""Queries and writes for preferences."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mana.conf import settings
from mana.preferences.models import Preference
from mana.stores import Store


class PreferenceStore(Store):
    """Choices of users as JSON texts. Replace it with ``MANA["PREFERENCE_STORE"]``."""

    def get(self, user_pk: Any, key: str) -> str | None:
        """The JSON of a user's choice, ``None`` for none."""
        return Preference.objects.filter(user_id=user_pk, key=key).values_list("value_json", flat=True).first()

    def all(self, user_pk: Any) -> dict[str, str]:
        """All choices of a user."""
        return dict(Preference.objects.filter(user_id=user_pk).values_list("key", "value_json"))

    def of_many(self, user_pks: Collection[Any], keys: Collection[str]) -> dict[tuple[Any, str], str]:
        """Some choices of several users, by user and key."""
        rows = Preference.objects.filter(user_id__in=list(user_pks), key__in=list(keys))
        return {(pk, key): value for pk, key, value in rows.values_list("user_id", "key", "value_json")}

    def set(self, user_pk: Any, key: str, value_json: str) -> None:
        """Stores a choice."""
        Preference.objects.update_or_create(user_id=user_pk, key=key, defaults={"value_json": value_json})

    def remove(self, user_pk: Any, key: str) -> bool:
        """Forgets a choice; whether there was one."""
        return bool(Preference.objects.filter(user_id=user_pk, key=key).delete()[0])

    def count(self, user_pk: Any) -> int:
        """How many choices a user has made."""
        return Preference.objects.filter(user_id=user_pk).count()


def store() -> PreferenceStore:
    """The configured store."""
    made: PreferenceStore = settings.PREFERENCE_STORE()
    return made
