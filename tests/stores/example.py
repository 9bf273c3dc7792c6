"""The example of docs/stores.md."""

from __future__ import annotations

from typing import Any, ClassVar

from mana.preferences.stores import PreferenceStore


class CachedPreferenceStore(PreferenceStore):
    """Preferences that a process has read once are read from its memory."""

    values: ClassVar[dict[tuple[Any, str], str | None]] = {}

    def get(self, user_pk: Any, key: str) -> str | None:
        """From memory, or from the database."""
        if (user_pk, key) not in self.values:
            self.values[(user_pk, key)] = super().get(user_pk, key)
        return self.values[(user_pk, key)]

    def set(self, user_pk: Any, key: str, value_json: str) -> None:
        """In both."""
        super().set(user_pk, key, value_json)
        self.values[(user_pk, key)] = value_json

    def remove(self, user_pk: Any, key: str) -> bool:
        """From both."""
        self.values.pop((user_pk, key), None)
        return super().remove(user_pk, key)
