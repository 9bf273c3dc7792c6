"""The database that messages are written to."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from django.db import connections

from mana.messaging.models import Message
from mana.messaging.timeline import database as messages_database
from mana.observability.doctor.report import Report, reason
from mana.observability.probes import unapplied_migrations

#: Milliseconds of a query that asks for nothing. Each transaction of the writer makes about six round trips.
SLOW_QUERY = 20.0
#: Milliseconds that SQLite must be ready to wait for another process's transaction.
SQLITE_PATIENCE = 5000


def examine_database(report: Report, *, max_skew: float) -> bool:
    """Whether messages can be written there."""
    alias = messages_database()
    connection = connections[alias]
    try:
        began = time.perf_counter()
        connection.ensure_connection()
        took = time.perf_counter() - began
    except Exception as error:
        report.fail("connection", reason(error), f"Look at DATABASES[{alias!r}] and whether the server runs.")
        return False
    report.ok("connection", f"{connection.display_name} {_version(connection)}, opened in {took * 1000:.1f} ms")
    _latency(report, connection)
    _migrations(report, alias)
    if connection.vendor == "sqlite":
        _sqlite(report, connection)
    else:
        _isolation(report, connection)
        _clock(report, connection, max_skew)
    if connection.vendor == "mysql":
        _engine(report, connection)
    _connection_age(report, alias, connection)
    return not any(entry.section == report.section and entry.result == "failed" for entry in report.entries)


def _version(connection: Any) -> str:
    return ".".join(map(str, connection.get_database_version()))


def _latency(report: Report, connection: Any) -> None:
    taken = []
    for _ in range(10):
        began = time.perf_counter()
        _value(connection, "SELECT 1")
        taken.append((time.perf_counter() - began) * 1000)
    median = sorted(taken)[len(taken) // 2]
    if median > SLOW_QUERY:
        report.warn("latency", f"{median:.1f} ms for a query", "Bring the nodes closer to the database.")
    else:
        report.ok("latency", f"{median:.2f} ms for a query")


def _migrations(report: Report, alias: str) -> None:
    missing = unapplied_migrations(alias)
    if missing:
        report.fail("migrations", f"not applied: {', '.join(missing)}", f"manage.py migrate --database {alias}")
    else:
        report.ok("migrations", "all applied")


def _sqlite(report: Report, connection: Any) -> None:
    journal = str(_value(connection, "PRAGMA journal_mode"))
    if journal == "wal":
        report.ok("journal", "WAL: readers go on beside the writer")
    else:
        report.warn("journal", f"{journal}, not WAL", 'OPTIONS = {"init_command": "PRAGMA journal_mode=WAL;", ...}')
    patience = int(_value(connection, "PRAGMA busy_timeout"))
    if patience >= SQLITE_PATIENCE:
        report.ok("time-out", f"waits {patience / 1000:g} s for another process")
    else:
        report.warn("time-out", f"waits only {patience} ms for another process", 'OPTIONS = {"timeout": 20, ...}')
    synchronous = int(_value(connection, "PRAGMA synchronous"))
    if synchronous < 2:
        report.note("synchronous", "a power cut may take the newest commits", "PRAGMA synchronous=FULL keeps them.")


def _isolation(report: Report, connection: Any) -> None:
    if connection.vendor == "postgresql":
        level = str(_value(connection, "SHOW transaction_isolation"))
    elif connection.mysql_is_mariadb:
        level = str(_value(connection, "SELECT @@tx_isolation"))
    else:
        level = str(_value(connection, "SELECT @@transaction_isolation"))
    level = level.lower().replace("-", " ")
    if level == "read committed":
        report.ok("isolation", level)
    else:
        report.warn(
            "isolation", f"{level}: writers on several nodes abort each other", "Leave isolation_level out of OPTIONS."
        )


def _clock(report: Report, connection: Any, max_skew: float) -> None:
    if connection.vendor == "postgresql":
        question = "SELECT extract(epoch FROM clock_timestamp())"
    else:
        question = "SELECT UNIX_TIMESTAMP(NOW(6))"
    before = time.time()
    there = float(_value(connection, question))
    skew = there - (before + time.time()) / 2
    if abs(skew) > max_skew:
        report.fail(
            "clock",
            f"this machine is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the database's, "
            f"at {datetime.now(UTC):%H:%M:%S} UTC",
            "Run NTP on both (timedatectl): tokens expire and events are dated by these clocks.",
        )
    else:
        report.ok("clock", f"{abs(skew) * 1000:.0f} ms from the database's")


def _engine(report: Report, connection: Any) -> None:
    question = "SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"
    engine = _value(connection, question, Message._meta.db_table)
    if engine is None:
        return  # not migrated
    if str(engine).lower() == "innodb":
        report.ok("engine", "InnoDB")
    else:
        report.fail("engine", f"{engine} knows no transactions", "ALTER TABLE ... ENGINE=InnoDB, for all mana tables.")


def _connection_age(report: Report, alias: str, connection: Any) -> None:
    age = connection.settings_dict.get("CONN_MAX_AGE", 0)
    if age == 0:
        report.ok("CONN_MAX_AGE", "0")
    else:
        report.warn("CONN_MAX_AGE", f"{age}: under ASGI connections are left behind", f"DATABASES[{alias!r}]: 0")


def _value(connection: Any, question: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question, parameters)
        row = cursor.fetchone()
    return row[0] if row else None
