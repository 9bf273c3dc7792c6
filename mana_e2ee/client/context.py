"""What the parts of a client share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from mana.client import ManaClient
from mana_e2ee.client.journal import Journal
from mana_e2ee.core import Address, Device, Store

logger = logging.getLogger("mana_e2ee.client")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the application should know. ``kind`` is one of:

    ``devices_changed`` (``user_id``, ``added``, ``removed``), ``account_changed`` and ``list_refused`` (``user_id``),
    ``linked``, ``unlisted`` and ``history_imported`` (this device), ``unknown_member`` (``room_id``, ``users``),
    ``group_changed`` (``room_id``), ``not_sent`` (``room_id``, ``content``, ``reason``: left over from an earlier
    process, and refused), ``undecryptable`` (``message_id``, ``room_id``, ``reason``), ``app`` (``from``,
    ``device_id``, ``name``, ``data``).
    """

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


class Context:
    """One device of one user: its connection, its keys, its journal."""

    def __init__(self, mana: ManaClient, store: Store, device: Device, tell: Callable[[Notice], None]) -> None:
        self.mana = mana
        self.store = store
        self.device = device
        self.journal = Journal(store)
        self.tell = tell
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        """This device's."""
        return self.device.address

    def notify(self, kind: str, **fields: Any) -> None:
        """Tells the application."""
        self.tell(Notice(kind, fields))

    def background(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        """Does something that nobody waits for; a failure is logged without what it was about."""
        task = asyncio.create_task(self._guarded(work, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, Any], what: str) -> None:
        try:
            await work
        except Exception as error:
            logger.warning("%s failed: %s", what, error)

    async def settled(self) -> None:
        """Waits until nothing is going on in the background."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        """Ends what is going on in the background."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
