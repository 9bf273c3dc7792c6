"""Databases for the length of a benchmark: a SQLite file, or one of its own on PostgreSQL or MariaDB."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

POSTGRES_URLS = ("postgres://root@127.0.0.1:5432/postgres", "postgres://postgres@127.0.0.1:5432/postgres")
MARIADB_URLS = ("mysql://root@127.0.0.1:3306/mysql",)


class Unavailable(Exception):
    """A database server that can't be used here; says why."""


@dataclass(frozen=True)
class Database:
    """A database to be used: its ``DATABASE_URL`` and the server's name and version."""

    url: str
    version: str


@contextmanager
def sqlite() -> Iterator[Database]:
    """A file in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mana-bench-") as folder:
        yield Database(f"sqlite:///{Path(folder) / 'bench.sqlite3'}", f"SQLite {sqlite3.sqlite_version}")


@contextmanager
def postgres() -> Iterator[Database]:
    """A database on the server of ``BENCH_POSTGRES_URL`` or the loopback one."""
    try:
        import psycopg
    except ImportError:
        raise Unavailable("psycopg is not installed") from None

    def connect(url: str) -> Any:
        return psycopg.connect(url.replace("postgres://", "postgresql://"), autocommit=True, connect_timeout=3)

    url, server = _first(os.environ.get("BENCH_POSTGRES_URL"), POSTGRES_URLS, connect)
    name = f"mana_bench_{uuid4().hex[:12]}"
    with server:
        version = server.execute("SHOW server_version").fetchone()[0]
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield Database(_with_name(url, name), f"PostgreSQL {version.split()[0]}")
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def mariadb() -> Iterator[Database]:
    """A database on the server of ``BENCH_MARIADB_URL`` or the loopback one."""
    try:
        import MySQLdb
    except ImportError:
        raise Unavailable("mysqlclient is not installed") from None

    def connect(url: str) -> Any:
        parts = urlsplit(url)
        return MySQLdb.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            passwd=unquote(parts.password or ""),
            connect_timeout=3,
        )

    url, server = _first(os.environ.get("BENCH_MARIADB_URL"), MARIADB_URLS, connect)
    name = f"mana_bench_{uuid4().hex[:12]}"
    try:
        cursor = server.cursor()
        cursor.execute("SELECT version()")
        version = cursor.fetchone()[0]
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield Database(_with_name(url, name), f"MariaDB {version.split('-')[0]}")
        finally:
            server.ping(True)  # it may have idled too long
            server.cursor().execute(f"DROP DATABASE {name}")
    finally:
        server.close()


DATABASES: dict[str, Callable[[], AbstractContextManager[Database]]] = {
    "SQLite": sqlite,
    "PostgreSQL": postgres,
    "MariaDB": mariadb,
}


def _first(given: str | None, usual: tuple[str, ...], connect: Callable[[str], Any]) -> tuple[str, Any]:
    reasons = []
    for url in (given,) if given else usual:
        try:
            return url, connect(url)
        except Exception as error:
            reasons.append(f"{urlsplit(url).hostname}: {error}".strip())
    raise Unavailable(reasons[0])


def _with_name(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
