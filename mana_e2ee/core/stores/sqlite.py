"""A store in one SQLite file, safe for threads and for several processes on one machine."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class _SQLiteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, table: str, key: bytes) -> bytes | None:
        row = self._connection.execute("SELECT value FROM e2ee WHERE name = ? AND key = ?", (table, key)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._connection.execute(
            "INSERT INTO e2ee (name, key, value) VALUES (?, ?, ?) "
            "ON CONFLICT (name, key) DO UPDATE SET value = excluded.value",
            (table, key, value),
        )

    def delete(self, table: str, key: bytes) -> None:
        self._connection.execute("DELETE FROM e2ee WHERE name = ? AND key = ?", (table, key))

    def scan(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        values: list[str | bytes] = [table, prefix]
        query = "SELECT key, value FROM e2ee WHERE name = ? AND key >= ?"
        end = _after(prefix)
        if end is not None:
            query += " AND key < ?"
            values.append(end)
        rows = self._connection.execute(query + " ORDER BY key", values)
        return [(bytes(key), bytes(value)) for key, value in rows]


def _after(prefix: bytes) -> bytes | None:
    """The first key after all those that start with `prefix`, or None when there is no such key."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else None


class SQLiteStore:
    """`path` is made with mode 600 if it is not there. Its contents are not encrypted: the file is the
    secret.

    Every transaction takes SQLite's write lock when it begins (BEGIN IMMEDIATE), waiting `timeout` seconds
    for it, and is on disk when it ends (synchronous=FULL). Deleted keys are overwritten (secure_delete), as
    far as SQLite can.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        Path(path).touch(mode=0o600, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS e2ee "
            "(name TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name, key))"
        )

    @contextmanager
    def transaction(self) -> Iterator[_SQLiteTransaction]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield _SQLiteTransaction(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """The store is of no use afterwards."""
        self._connection.close()
