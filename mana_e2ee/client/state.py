"""The place in the order of events, in the store of the keys."""

from __future__ import annotations

from typing import Any

from mana_e2ee.client.journal import Journal


class StoreState:
    """The ``mana.client.State`` of a store.

    Frames with ciphertext are not kept: their contents are, and are encrypted anew, with the same ``ack_id``.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.cursor: int | None = journal.fact("cursor")
        self.unsent: dict[str, dict[str, Any]] = journal.fact("unsent", {})
        self._kept = (self.cursor, dict(self.unsent))

    def save(self) -> None:
        """Writes what has changed."""
        open_frames = {ack_id: one for ack_id, one in self.unsent.items() if one["type"] != "encrypted_fanout"}
        if (self.cursor, open_frames) == self._kept:
            return
        with self._journal.transaction() as entries:
            entries.keep("cursor", self.cursor)
            entries.keep("unsent", open_frames)
        self._kept = (self.cursor, open_frames)
