"""The example of docs/stores.md."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction

from mana.preferences.stores import PreferenceStore


class CachedPreferenceStore(PreferenceStore):
    """Preferences that a process has read once are read from its memory."""

    values: ClassVar[dict[tuple[Any, str], str | None]] = {}

    def get(self, user_pk: Any, key: str) -> str | None:
        """From memory, or from the database."""
        if transaction.get_connection().in_atomic_block:
            return super().get(user_pk, key)
        if (user_pk, key) not in self.values:
            self.values[(user_pk, key)] = super().get(user_pk, key)
        return self.values[(user_pk, key)]

    def set(self, user_pk: Any, key: str, value_json: str) -> None:
        """In the database."""
        super().set(user_pk, key, value_json)
        self.forget(user_pk, key)

    def remove(self, user_pk: Any, key: str) -> bool:
        """From both."""
        removed = super().remove(user_pk, key)
        self.forget(user_pk, key)
        return removed

    def forget(self, user_pk: Any, key: str) -> None:
        """What memory holds is read anew, once the change counts."""
        transaction.on_commit(lambda: self.values.pop((user_pk, key), None))
