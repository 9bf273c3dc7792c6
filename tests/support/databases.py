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
    ours = server_url is None
    server_url = server_url or URLS[kind]
    with _created(kind, server_url, f"mana_test_{os.getpid()}_{secrets.token_hex(4)}") as name:
        url = _url(server_url, name)
        if ours:
            _copy(kind, server_url, _template(kind), name)
        else:
            manage("migrate", "-v0", database_url=url)
        yield url


@contextlib.contextmanager
def _created(kind: str, server_url: str, name: str) -> Iterator[str]:
    """An empty database, dropped afterwards."""
    _execute(kind, server_url, f"CREATE DATABASE {name}" + (" CHARACTER SET utf8mb4" if kind == "mariadb" else ""))
    try:
        yield name
    finally:
        _execute(kind, server_url, f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgres" else ""))


def _url(server_url: str, name: str) -> str:
    return urlsplit(server_url)._replace(path=f"/{name}").geturl()


@cache
def _template(kind: str) -> str:
    """The name of a migrated database to copy; migrating takes many seconds."""
    import atexit

    lifetime = contextlib.ExitStack()
    atexit.register(lifetime.close)
    name = lifetime.enter_context(_created(kind, URLS[kind], f"mana_test_{os.getpid()}_template"))
    manage("migrate", "-v0", database_url=_url(URLS[kind], name))
    return name


def _copy(kind: str, server_url: str, template: str, name: str) -> None:
    """Fills an empty database with what another one has."""
    if kind == "postgres":
        _execute(kind, server_url, f"DROP DATABASE {name}")
        _execute(kind, server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
        return
    with _cursor(_url(server_url, template)) as cursor:
        cursor.execute("SHOW TABLES")
        tables = [row[0] for row in cursor.fetchall()]
        definitions = []
        for table in tables:
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            definitions.append(cursor.fetchone()[1])
        cursor.execute(f"USE {name}")
        cursor.execute("SET foreign_key_checks = 0, sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
        for table, definition in zip(tables, definitions, strict=True):
            cursor.execute(definition)
            cursor.execute(f"INSERT INTO `{table}` SELECT * FROM {template}.`{table}`")
        cursor.connection.commit()


@cache
def _migrated_sqlite() -> Path:
    """A migrated SQLite file to copy; migrating takes seconds."""
    import atexit

    folder = Path(mkdtemp(prefix="mana-test-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    manage("migrate", "-v0", database_url=f"sqlite:///{folder}/db.sqlite3")
    return folder / "db.sqlite3"


def _execute(kind: str, server_url: str, statement: str) -> None:
    if kind == "postgres":
        import psycopg

        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(statement)
        return
    with _cursor(server_url) as cursor:
        cursor.execute(statement)


@contextlib.contextmanager
def _cursor(url: str) -> Iterator[Any]:
    """A cursor on MariaDB."""
    import MySQLdb

    where = urlsplit(url)
    connection = MySQLdb.connect(
        host=where.hostname,
        port=where.port,
        user=where.username,
        password=where.password or "",
        database=where.path.lstrip("/"),
        charset="utf8mb4",
    )
    with contextlib.closing(connection):
        yield connection.cursor()
