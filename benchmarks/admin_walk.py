"""Walks through the admin of a large database and prints the server time of each page.

``python -m benchmarks.admin_walk`` fills an SQLite file with 10,000 rooms and 100,000 messages (``--rooms``,
``--messages``), asks for every list, its searches, filters, orders and last pages, detail pages and the dashboard
through Django's test client (no network, all of the server's work), and prints a table.
``WALK_DATABASE_URL`` names another database, empty or filled by an earlier walk, whose server is on this machine.
``--keep FILE`` leaves the SQLite file for a look
with a browser: ``root`` / ``root``. ``--write`` puts the table into ``RESULTS.md``. The exit code is 1 if a page took
more than 300 ms.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.admin_fill import fill
from benchmarks.results import write_section

HEADING = "## The admin"
LIMIT_MS = 300
NOTES = """\
Milliseconds of the server's processor time, the database's included, so that a busy machine does not count; of pages
that come near the limit the best of three; of searches, filters and orders the slowest of the list's, and the most
queries of any of its pages. None may take more than 300 ms."""
#: How a database tells which process or thread of this machine serves a connection.
SERVED_BY = {
    "postgresql": "SELECT pg_backend_pid()",
    "mysql": "SELECT tid FROM information_schema.processlist WHERE id = connection_id()",
}


def main() -> None:
    """Fills and walks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--keep", metavar="FILE", help="where the database is left")
    parser.add_argument("--only", default="", metavar="TEXT", help="lists whose name matches this expression")
    parser.add_argument("--write", action="store_true", help="write the section of RESULTS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.keep or f"{folder}/walk.sqlite3").resolve()
        os.environ["DATABASE_URL"] = os.environ.get("WALK_DATABASE_URL") or f"sqlite:///{path}"
        os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
        os.environ["DEBUG"] = "false"
        os.environ.setdefault("SECRET_KEY", "a-key-of-more-than-thirty-two-bytes-for-a-walk")
        os.environ["ALLOWED_HOSTS"] = "*"
        os.environ["HTTPS"] = "false"
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        started = time.perf_counter()
        fill(options.rooms, options.messages)
        print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
        text, slow = walk(options.only)
        print(text)
        if options.write:
            head = (
                f"- Machine: {machine.machine()}; {machine.busy()} at the end\n- Versions: {machine.versions()}\n"
                f"- Database: {_database()}, {options.rooms:,} rooms, {options.messages:,} messages\n"
                f"- Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
                f"- Command: `{' '.join(['python -m benchmarks.admin_walk', *sys.argv[1:]])}`"
            )
            write_section(HEADING, f"{HEADING}\n\n{head}\n\n{text}\n\n{NOTES}\n")
        sys.exit(1 if slow else 0)


def walk(only: str = "") -> tuple[str, int]:
    """Asks for each page; the table, and how many pages were too slow."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get(username="root"))
    rows: dict[str, dict[str, tuple[float, str]]] = {}
    queries: dict[str, int] = {}
    slow = []
    for page, kind, url in pages(only):
        milliseconds, count = _timed(client, url)
        if milliseconds > LIMIT_MS:
            slow.append(f"{url}: {milliseconds:.0f} ms, {count} queries")
        before = rows.setdefault(page, {}).get(kind, (0.0, ""))
        rows[page][kind] = max(before, (milliseconds, url))
        print(f"{milliseconds:6.0f} ms {count:3} queries {kind} {url}", file=sys.stderr, flush=True)
        queries[page] = max(queries.get(page, 0), count)
    kinds = ("list", "search", "filter", "order", "far page", "one")
    lines = [f"| page | {' | '.join(kinds)} | queries |", "|---|" + "---:|" * (len(kinds) + 1)]
    for page, found in rows.items():
        cells = " | ".join(f"{found[kind][0]:.0f}" if kind in found else "" for kind in kinds)
        lines.append(f"| {page} | {cells} | {queries[page]} |")
    return "\n".join([*lines, *([f"\n{len(slow)} pages took more than {LIMIT_MS} ms:", *slow] if slow else [])]), len(
        slow
    )


def _timed(client: Any, url: str) -> tuple[float, int]:
    """Milliseconds of processor time, of pages near the limit the best of three; and how many queries a page takes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    best, count = float("inf"), 0
    for _ in range(3):
        with CaptureQueriesContext(connection) as captured:
            started = _processor_time()
            response = client.get(url)
            best = min(best, (_processor_time() - started) * 1000)
        assert response.status_code == 200, url
        count = max(count, len(captured))
        if best < LIMIT_MS / 2:
            break
    return best, count


def _processor_time() -> float:
    """Seconds that this process has used, and the database for its connection. SQLite runs in this process."""
    return time.process_time() + (_database_time() if _served_by() else 0.0)


def _database_time() -> float:
    # Nanoseconds on a processor, see proc_pid_schedstat(5).
    return int(Path(f"/proc/{_served_by()}/schedstat").read_text().split()[0]) / 1e9


@cache
def _served_by() -> int | None:
    """The process or thread that serves the one connection of the walk."""
    from django.db import connection

    if connection.vendor == "sqlite":
        return None
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # its parallel workers would not be counted
            cursor.execute("SET max_parallel_workers_per_gather = 0")
        cursor.execute(SERVED_BY[connection.vendor])
        return int(cursor.fetchone()[0])


def pages(only: str = "") -> Iterator[tuple[str, str, str]]:
    """Every page of mana's in the admin: the list that it belongs to, its kind, and its address."""
    from django.apps import apps
    from django.contrib import admin
    from django.contrib.auth import get_user_model
    from django.test import RequestFactory
    from django.urls import reverse

    from mana.messaging.models import Message, Room

    root = get_user_model().objects.get(username="root")
    yield "index", "list", reverse("admin:index")
    yield "dashboard", "list", reverse("admin:mana_moderation_dashboard_changelist")
    for model in apps.get_models():
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        if not name.startswith("mana") or model not in admin.site._registry or name.endswith("_dashboard"):
            continue
        url = reverse(f"admin:{name}_changelist")
        label = f"{model._meta.app_config.verbose_name.removeprefix('Mana ')}: {model._meta.verbose_name_plural}"
        if not re.search(only, label):
            continue
        request = RequestFactory().get(url)
        request.user = root
        shown = admin.site._registry[model].get_changelist_instance(request)
        yield label, "list", url
        for words in ("person-77", "nobody-at-all", "99999"):
            yield label, "search", f"{url}?q={words.replace(' ', '+')}"
        for spec in shown.filter_specs:
            *_, choice = spec.choices(shown)
            yield label, "filter", f"{url}{choice['query_string']}"
        for column in range(1, len(shown.list_display)):
            yield label, "order", f"{url}?o=-{column}"
        if shown.paginator.num_pages > 2:
            yield label, "far page", f"{url}?p={shown.paginator.num_pages}"
        for row in model._default_manager.order_by("-pk")[:1]:
            yield label, "one", reverse(f"admin:{name}_change", args=[row.pk])
    busiest = Room.objects.order_by("-message_count").first()
    assert busiest is not None
    messages = f"messaging: {Message._meta.verbose_name_plural}"
    if re.search(only, messages):
        yield messages, "search", f"{reverse('admin:mana_messaging_message_changelist')}?q={busiest.key}"


def _database() -> str:
    from django.db import connection

    return f"{connection.vendor} {'.'.join(map(str, connection.get_database_version()))}"


if __name__ == "__main__":
    main()
