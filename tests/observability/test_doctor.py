"""``manage.py mana_doctor``: it says whether an installation works, and leaves it as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from mana.messaging.policies import MessagingPolicy
from mana.protocol import ErrorCode, ManaError
from tests.faults.processes import scripts
from tests.support import databases
from tests.support.client import Account
from tests.support.instances import instance
from tests.support.server import serving
from tests.support.services import URLS, require

pytestmark = pytest.mark.slow

#: ``manage.py`` on a machine whose clock is so many seconds ahead: the first argument.
AHEAD = """
import sys, time
right, ahead = time.time, float(sys.argv.pop(1))
time.time = lambda: right() + ahead
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


def examine(
    url: str, *options: str, program: Sequence[str] = ("manage.py",), **environment: str
) -> tuple[int, dict[str, Any]]:
    """The exit code, and the report."""
    done = run(url, "--json", *options, program=program, **environment)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def run(
    url: str, *options: str, program: Sequence[str] = ("manage.py",), **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *program, "mana_doctor", *options],
        cwd=databases.ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": url, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def failures(report: dict[str, Any]) -> list[str]:
    """What does not work, by section and name."""
    return [f"{entry['section']}: {entry['name']}" for entry in report["entries"] if entry["result"] == "failed"]


def found(report: dict[str, Any]) -> set[str]:
    """What is fine."""
    return {f"{entry['section']}: {entry['name']}" for entry in report["entries"] if entry["result"] == "ok"}


def rows() -> dict[str, int]:
    """In a script: how many rows each table has."""
    from django.apps import apps

    return {model._meta.db_table: model._base_manager.count() for model in apps.get_models()}


@pytest.mark.parametrize(("kind", "layer"), [("postgres", "nats"), ("mariadb", "redis")])
def test_a_good_installation_passes_and_nothing_is_left_behind(kind: str, layer: str) -> None:
    require(layer)
    with databases.fresh(kind) as url, scripts(url) as process:
        before = process.run(rows)
        code, report = examine(url, CHANNEL_LAYER_URL=URLS[layer])
        after = process.run(rows)
        clocks = {ahead: examine(url, "--no-message", program=("-c", AHEAD, ahead)) for ahead in ("30", "-30", "1")}
    assert failures(report) == []
    assert code == 0
    assert report["status"] == "ok"
    expected = {
        "database: connection",
        "database: migrations",
        "database: latency",
        "channel layer: round trip",
        "message: writing",
        "message: reading back",
        "message: cleaning up",
    }
    assert expected | {"database: isolation", "database: clock"} <= found(report)
    assert {**after, "mana_stream": 0} == {**before, "mana_stream": 0}
    for ahead, expected_code, words in (("1", 0, "ms from"), ("30", 1, "30.0 s ahead of"), ("-30", 1, "30.0 s behind")):
        code, report = clocks[ahead]
        (clock,) = [entry for entry in report["entries"] if entry["name"] == "clock"]
        assert (code, words in clock["detail"]) == (expected_code, True), clock


async def test_a_running_node_does_not_mind() -> None:
    with (
        databases.fresh("sqlite") as url,
        instance("redis") as own,  # what other tests' nodes tell is in no database of this one
        serving(url, CHANNEL_LAYER_URL=own.url, LOG_LEVEL="INFO") as server,
    ):
        alice, bob = Account(server), Account(server)
        room = alice.room(bob)
        async with alice.socket() as a, bob.socket() as b:
            await a.request("message", room_id=room, payload="before")
            # One that shares the layer, and one that does not and must read what was written from the database.
            for layer in (own.url, "memory://"):
                code, report = examine(url, CHANNEL_LAYER_URL=layer)
                assert code == 0, failures(report)
                assert {"database: journal", "database: time-out", "message: cleaning up"} <= found(report)
            await a.request("message", room_id=room, payload="after")
            await b.expect("message", payload="before")
            await b.expect("message", payload="after")
            heard = [frame["type"] for frame in b.received if frame["type"] in ("message", "room")]
        assert heard == ["message", "message"]
        assert "is not in the database" not in server.log


def test_each_failure_says_what_to_do(tmp_path: Any) -> None:
    code, report = examine(f"sqlite:///{tmp_path}/empty.sqlite3", CHANNEL_LAYER_URL="redis://127.0.0.1:1/0")
    assert code == 1
    assert report["status"] == "failed"
    assert {"database: migrations", "channel layer: round trip"} <= set(failures(report))
    for entry in report["entries"]:
        assert entry["advice"] or entry["result"] in ("ok", "note"), entry

    code, report = examine("postgres://nobody@127.0.0.1:1/nothing", MANA_TRACE_SAMPLE_RATIO="7")
    assert code == 1
    assert {"settings: mana.E023", "database: connection"} <= set(failures(report))


def test_a_policy_that_refuses_strangers_is_no_failure() -> None:
    with databases.fresh("sqlite") as url:
        code, report = examine(url, MANA_MESSAGING_POLICY=f"{__name__}.Closed")
    (refused,) = [entry for entry in report["entries"] if entry["name"] == "message"]
    assert (code, refused["result"]) == (0, "warning")
    assert "message: cleaning up" in found(report)


class Closed(MessagingPolicy):
    """Lets nobody make rooms."""

    def may_create_room(self, creator: Any, room_type: str) -> None:
        """Refuses."""
        raise ManaError(ErrorCode.FORBIDDEN, "Nobody makes rooms here.")


def test_a_person_can_read_it() -> None:
    with databases.fresh("sqlite") as url:
        done = run(url)
    assert done.returncode == 0, done.stderr
    assert "✓ writing" in done.stdout
    assert "\x1b[" not in done.stdout  # no terminal
    assert " fine, " in done.stdout
