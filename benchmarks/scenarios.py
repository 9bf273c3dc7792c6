"""What is measured: each function starts its servers, verifies them once, and yields rows as they are done.

Rounds of the project and of the baseline alternate, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks import servers
from benchmarks.databases import DATABASES, Unavailable, sqlite
from benchmarks.report import Row
from benchmarks.servers import MANA, TUTORIAL, Server

Rooms = list[dict[str, Any]]
#: People in the room of fan-out A, and the rooms of two of fan-out B and of the stored messages.
CROWD, HALL, PAIRS, STORED_PAIRS = 100, 500, 250, 50
#: Channel layers between nodes. The databases of Redis' are numbered; this one is the benchmark's.
LAYERS = {
    "Redis": "redis://127.0.0.1:6379/13",
    "NATS": "nats://127.0.0.1:4222",
    "channels_redis": "redis+core://127.0.0.1:6379/13",
}
#: What two nodes are to reach of one node's deliveries per processor second.
CLUSTER_GOALS = {"Redis": ">= 0.8x per CPU s", "NATS": ">= 0.8x per CPU s"}
#: Clients that are connected before memory is first read, clients that are then added, and people in a room.
WARM_CLIENTS, IDLE_CLIENTS, IDLE_ROOM = 100, 1000, 10
#: Clients of the storm, people in each of their rooms, and messages that each has missed.
STORM_CLIENTS, STORM_ROOM, BEHIND = 2000, 10, 20


@dataclass(frozen=True)
class Plan:
    """How much time a run takes."""

    rounds: int
    seconds: float
    say: Callable[[str], None]


def fanout(plan: Plan) -> Iterator[Row]:
    """Messages that are relayed and not stored: one room of 100 with one sender, and 250 rooms of two."""
    with ExitStack() as stack:
        rooms, daphne, uvicorn, tutorial = stack.enter_context(_relaying([CROWD] + [2] * PAIRS))
        crowd, pairs = rooms[:1], rooms[1:]
        everyone = (
            (tutorial, "tutorial, daphne", "tutorial-chat"),
            (daphne, "mana, daphne", "mana-typing"),
            (uvicorn, "mana, uvicorn", "mana-typing"),
        )
        for server, name, dialect in everyone:
            plan.say(f"verifying {name}: each client gets each message once and in order")
            servers.load(server, "verify_deliveries", dialect, crowd, options={"senders": 1})
            servers.load(server, "verify_deliveries", dialect, pairs[:10], options={"senders": 2})
        yield from _compare(
            plan, "A: 1 room of 100, 8 outstanding", "deliveries/s", everyone, "one_sender", crowd, 8, (">= 10x", "")
        )
        yield from _compare(
            plan, "A: 1 room of 100, 1 outstanding", "deliveries/s", everyone, "one_sender", crowd, 1, ("", "")
        )
        yield from _compare(
            plan, "B: 250 rooms of 2, all send", "deliveries/s", everyone, "everybody", pairs, 1, (">= 8x", ">= 18x")
        )


def stored(plan: Plan) -> Iterator[Row]:
    """Messages that are acked when they are stored: 100 clients in 50 rooms, on each database that is there."""
    for name, temporary in DATABASES.items():
        try:
            with ExitStack() as stack:
                mine, theirs = stack.enter_context(temporary()), stack.enter_context(temporary())
                rooms = _prepare(mine.url, theirs.url, [2] * STORED_PAIRS)
                project = stack.enter_context(servers.serve(MANA, "daphne", mine.url))
                baseline = stack.enter_context(servers.serve(TUTORIAL, "daphne", theirs.url))
                everyone = (
                    (baseline, "tutorial with acreate", "tutorial-storedchat"),
                    (baseline, "acreate and ack alone", "tutorial-stored"),
                    (project, "mana, daphne", "mana-message"),
                )
                for server, label, dialect in everyone:
                    plan.say(f"verifying {label} on {mine.version}: one ack for each message, no place twice")
                    servers.load(server, "verify_acks", dialect, rooms)
                for outstanding in (1, 8):
                    yield from _compare(
                        plan,
                        f"stored, {mine.version}, {outstanding} outstanding",
                        "messages/s",
                        everyone,
                        "stored",
                        rooms,
                        outstanding,
                        ("", ">= 6x"),
                    )
        except Unavailable as reason:
            plan.say(f"{name} is skipped: {reason}")


def cluster(plan: Plan) -> Iterator[Row]:
    """What a second node costs, over each layer that is there, against one node: a room of 100, half on each of two,
    one of whom sends, with little or much on its way; a room of 500, likewise; and rooms of two, one on each node, in
    which all send."""
    layers = {name: url for name, url in LAYERS.items() if _listens(url)}
    for name in LAYERS.keys() - layers.keys():
        plan.say(f"{name} is skipped: nothing listens on {LAYERS[name]}")
    with ExitStack() as stack:
        database = stack.enter_context(sqlite())
        servers.manage(MANA, database.url, "migrate", "--verbosity", "0")
        rooms = servers.populate(MANA, database.url, [CROWD, HALL] + [2] * PAIRS)
        crowd, hall, pairs = rooms[:1], rooms[1:2], rooms[2:]
        everyone = [
            (stack.enter_context(servers.serve(MANA, "daphne", database.url)), "one node", "mana-typing"),
            *(
                (
                    stack.enter_context(servers.serve(MANA, "daphne", database.url, nodes=2, layer=url)),
                    f"two nodes, {name}",
                    "mana-typing",
                )
                for name, url in layers.items()
            ),
        ]
        for server, name, dialect in everyone:
            plan.say(f"verifying {name}: each client gets each message once and in order")
            servers.load(server, "verify_deliveries", dialect, crowd, options={"senders": 1})
        for what, load, of, outstanding in (
            (f"1 room of {CROWD}, 8 outstanding", "one_sender", crowd, 8),
            (f"1 room of {CROWD}, 64 outstanding", "one_sender", crowd, 64),
            (f"1 room of {HALL:,}, 8 outstanding", "one_sender", hall, 8),
            (f"1 room of {HALL:,}, 64 outstanding", "one_sender", hall, 64),
            (f"{PAIRS} rooms of 2, all send", "everybody", pairs, 1),
        ):
            goals = tuple(CLUSTER_GOALS.get(name, "") if load == "one_sender" else "" for name in layers)
            yield from _compare(
                plan, f"clustering: {what}", "deliveries/s", tuple(everyone), load, of, outstanding, goals
            )


def memory(plan: Plan) -> Iterator[Row]:
    """Resident memory of a server per connection that is authenticated, in a room, and silent."""
    warm_rooms = WARM_CLIENTS // IDLE_ROOM
    rows = [
        Row("memory per idle connection", "tutorial, daphne", "KiB", key="kib", cpu_key=None),
        Row("memory per idle connection", "mana, daphne", "KiB", key="kib", cpu_key=None, goal="<= 40 KiB"),
    ]
    rows[1].baseline = rows[0]
    sizes = [IDLE_ROOM] * ((WARM_CLIENTS + IDLE_CLIENTS) // IDLE_ROOM)
    with ExitStack() as stack:
        mine, theirs = stack.enter_context(sqlite()), stack.enter_context(sqlite())
        rooms = _prepare(mine.url, theirs.url, sizes)
        for _ in range(plan.rounds):
            for row, project, url in ((rows[0], TUTORIAL, theirs.url), (rows[1], MANA, mine.url)):
                plan.say(f"{row.what}: {row.server}")
                with servers.serve(project, "daphne", url) as server, ExitStack() as clients:
                    clients.enter_context(servers.connected(server, _relayed(server), rooms[:warm_rooms]))
                    time.sleep(1)
                    before = server.rss_kib()
                    clients.enter_context(servers.connected(server, _relayed(server), rooms[warm_rooms:]))
                    time.sleep(2)  # presence is written in this time
                    row.rounds.append({"kib": (server.rss_kib() - before) / IDLE_CLIENTS})
    yield from rows


def latency(plan: Plan) -> Iterator[Row]:
    """How long a message takes to each of 100 members: 100 messages/s, for the tutorial 10, which is all it can do."""
    with _relaying([CROWD]) as (rooms, daphne, uvicorn, tutorial):
        cases = ((tutorial, "tutorial, daphne", 10), (daphne, "mana, daphne", 100), (uvicorn, "mana, uvicorn", 100))
        results: dict[str, list[dict[str, float]]] = {name: [] for _, name, _ in cases}
        for _ in range(plan.rounds):
            for server, name, rate in cases:
                plan.say(f"latency: {name}")
                results[name].append(
                    servers.load(
                        server, "latency", _relayed(server), rooms, seconds=plan.seconds, options={"rate": rate}
                    )
                )
        for _, name, rate in cases:
            for quantile in ("p50", "p99"):
                goal = {"p50": "<= 3 ms", "p99": "<= 15 ms"}[quantile] if "uvicorn" in name else ""
                yield Row(
                    f"latency {quantile}, room of 100, {rate} messages/s",
                    name,
                    "ms",
                    results[name],
                    key=quantile,
                    goal=goal,
                )


def storm(plan: Plan) -> Iterator[Row]:
    """Everybody comes back to a server that has just started, and each asks for the messages that they have missed."""
    what = f"storm of {STORM_CLIENTS:,}, each {BEHIND} messages behind"
    for name, temporary in DATABASES.items():
        try:
            with temporary() as database:
                servers.manage(MANA, database.url, "migrate", "--verbosity", "0")
                rooms = servers.populate(MANA, database.url, [STORM_ROOM] * (STORM_CLIENTS // STORM_ROOM), BEHIND)
                options = {"cursor": rooms[0]["cursor"], "behind": BEHIND}
                for software in ("daphne", "uvicorn"):
                    label = f"mana, {software}, {database.version}"
                    row = Row(what, label, "s", key="seconds", cpu_key=None, goal="<= 10 s")
                    for number in range(plan.rounds):
                        plan.say(f"{what}: {label}, round {number + 1} of {plan.rounds}")
                        with servers.serve(MANA, software, database.url) as server:
                            row.rounds.append(servers.load(server, "storm", "mana-typing", rooms, options=options))
                    yield row
        except Unavailable as reason:
            plan.say(f"{name} is skipped: {reason}")


SCENARIOS: dict[str, Callable[[Plan], Iterator[Row]]] = {
    "fanout": fanout,
    "stored": stored,
    "cluster": cluster,
    "memory": memory,
    "latency": latency,
    "storm": storm,
}


@contextmanager
def _relaying(sizes: list[int]) -> Iterator[tuple[Rooms, Server, Server, Server]]:
    """Rooms on SQLite, and the project on daphne and on uvicorn, and the tutorial."""
    with ExitStack() as stack:
        mine, theirs = stack.enter_context(sqlite()), stack.enter_context(sqlite())
        rooms = _prepare(mine.url, theirs.url, sizes)
        yield (
            rooms,
            stack.enter_context(servers.serve(MANA, "daphne", mine.url)),
            stack.enter_context(servers.serve(MANA, "uvicorn", mine.url)),
            stack.enter_context(servers.serve(TUTORIAL, "daphne", theirs.url)),
        )


def _prepare(mine: str, theirs: str, sizes: list[int]) -> Rooms:
    servers.manage(TUTORIAL, theirs, "migrate", "--run-syncdb", "--verbosity", "0")
    servers.manage(MANA, mine, "migrate", "--verbosity", "0")
    return servers.populate(MANA, mine, sizes)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def _relayed(server: Server) -> str:
    return "mana-typing" if server.project is MANA else "tutorial-chat"


def _compare(
    plan: Plan,
    what: str,
    unit: str,
    cases: tuple[tuple[Server, str, str], ...],
    load: str,
    rooms: Rooms,
    outstanding: int,
    goals: tuple[str, ...],
) -> list[Row]:
    """Rows of the same load on several (server, name, dialect); the first is what the others are compared with."""
    rows = [Row(what, name, unit) for _, name, _ in cases]
    for row, goal in zip(rows[1:], goals, strict=True):
        row.baseline, row.goal = rows[0], goal
    for number in range(plan.rounds):
        plan.say(f"{what}: round {number + 1} of {plan.rounds}")
        for row, (server, _, dialect) in zip(rows, cases, strict=True):
            row.rounds.append(
                servers.load(server, load, dialect, rooms, seconds=plan.seconds, options={"outstanding": outstanding})
            )
    return rows
