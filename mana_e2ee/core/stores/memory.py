"""A store in memory, for tests, bots and short-lived clients."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_Tables = dict[str, dict[bytes, bytes]]


class _MemoryTransaction:
    def __init__(self, tables: _Tables) -> None:
        self._tables = tables
        self.writes: dict[str, dict[bytes, bytes | None]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        written = self.writes.get(table)
        if written is not None and key in written:
            return written[key]
        rows = self._tables.get(table)
        return None if rows is None else rows.get(key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.writes.setdefault(table, {})[key] = value

    def delete(self, table: str, key: bytes) -> None:
        self.writes.setdefault(table, {})[key] = None

    def scan(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        rows: dict[bytes, bytes | None] = {**self._tables.get(table, {}), **self.writes.get(table, {})}
        return sorted((key, value) for key, value in rows.items() if value is not None and key.startswith(prefix))


class MemoryStore:
    """Safe for threads: one transaction at a time."""

    def __init__(self) -> None:
        self._tables: _Tables = {}
        self._lock = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[_MemoryTransaction]:
        with self._lock:
            transaction = _MemoryTransaction(self._tables)
            yield transaction
            for table, writes in transaction.writes.items():
                rows = self._tables.setdefault(table, {})
                for key, value in writes.items():
                    if value is None:
                        rows.pop(key, None)
                    else:
                        rows[key] = value
