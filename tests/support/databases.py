"""Databases for servers that run in processes of their own: fresh, migrated, dropped afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

from tests.support.services import URLS, require

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = ("sqlite", "postgres", "mariadb")


def manage(*arguments: str, database_url: str, **environment: str) -> str:
    """Runs ``manage.py`` with the tests' settings on a database; its output."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": database_url,
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def fresh(kind: str, server_url: str | None = None) -> Iterator[str]:
    """The URL of an empty, migrated database of a kind, on ``server_url`` if it is not to be on the usual server."""
    if kind == "sqlite":
        folder = Path(mkdtemp(prefix="mana-test-"))
        try:
            shutil.copy(_migrated_sqlite(), folder / "db.sqlite3")
            yield f"sqlite:///{folder}/db.sqlite3"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    require(kind)
    name = f"mana_test_{os.getpid()}_{secrets.token_hex(4)}"
    server_url = server_url or URLS[kind]
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    _execute(kind, server_url, f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if kind == "mariadb" else ""))
    try:
        manage("migrate", "-v0", database_url=url)
        yield url
    finally:
        _execute(kind, server_url, f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgres" else ""))


@cache
def _migrated_sqlite() -> Path:
    """A migrated SQLite file to copy; migrating takes seconds."""
    import atexit

    folder = Path(mkdtemp(prefix="mana-test-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    manage("migrate", "-v0", database_url=f"sqlite:///{folder}/db.sqlite3")
    return folder / "db.sqlite3"


def _execute(kind: str, server_url: str, statement: str) -> None:
    url = urlsplit(server_url)
    connection: Any
    if kind == "postgres":
        import psycopg

        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(statement)
        return
    import MySQLdb

    connection = MySQLdb.connect(host=url.hostname, port=url.port, user=url.username, password=url.password or "")
    with contextlib.closing(connection):
        connection.cursor().execute(statement)
