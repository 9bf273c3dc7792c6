"""What a server's SQLite database holds: whether a request changed it, and setting it back."""

from __future__ import annotations

import sqlite3
from types import TracebackType

from mana.notifications.models import Notification
from mana.realtime.models import Node, Session
from mana_rtc.models import CallParticipant

#: What the server writes by itself: nodes that renew their lease, who is connected, and, some time after the answer,
#: who was notified.
NOTIFICATIONS = Notification._meta.db_table
ITS_OWN = {Node._meta.db_table, Session._meta.db_table, NOTIFICATIONS}
#: And columns that it renews every other second, for who is in a call.
RENEWED = {CallParticipant._meta.db_table: {"seen_at"}}


class Watched:
    """A database that a server has open, seen from outside."""

    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=20)
        names = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        self._tables = [name for (name,) in names if name not in ITS_OWN and not name.startswith("sqlite_")]
        self._saved: sqlite3.Connection | None = None
        self._version = -1
        self._seen: dict[str, int] = {}

    def __enter__(self) -> Watched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        if self._saved is not None:
            self._saved.close()

    def content(self) -> dict[str, int]:
        """A hash of the rows of each table."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._seen = {name: self._hash(name) for name in self._tables}
        return self._seen

    def notifications(self) -> str:
        """All notifications, as text."""
        return repr(self._connection.execute(f'SELECT * FROM "{NOTIFICATIONS}"').fetchall())

    def save(self) -> None:
        """Remembers all of it."""
        self._saved = sqlite3.connect(":memory:")
        self._connection.backup(self._saved)

    def restore(self) -> None:
        """Sets it back to what was saved, below the server."""
        assert self._saved is not None
        self._saved.backup(self._connection)
        self._version = -1

    def _hash(self, table: str) -> int:
        names = [row[1] for row in self._connection.execute(f'PRAGMA table_info("{table}")')]
        columns = ", ".join(f'"{name}"' for name in names if name not in RENEWED.get(table, ()))
        return hash(tuple(self._connection.execute(f'SELECT {columns} FROM "{table}"').fetchall()))
