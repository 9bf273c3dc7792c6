"""Everything, again and again, and a table of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from tests.faults import measures
from tests.faults.community import Community, Report, Site, community, site
from tests.faults.injections import (
    Fault,
    cut_the_link,
    empty_redis,
    freeze_a_node,
    freeze_database,
    freeze_layer,
    kill_a_node,
    kill_connections,
    restart_database,
    restart_layer,
    restart_one_after_the_other,
    stop_reading,
)
from tests.faults.storm import Storm, allow_descriptors, storm

#: (database, layer, server)
SITES = (("postgres", "redis", "daphne"), ("mariadb", "nats", "uvicorn"))
NODES = 3
#: Seconds of talk before a fault and after it.
CALM = 5.0
REPAIRED = 5.0
FAULTS: dict[str, Fault] = {
    "kill -9 of a node": kill_a_node,
    "SIGSTOP of a node, longer than its lease": freeze_a_node,
    "rolling restart of all nodes": restart_one_after_the_other,
    "restart of the layer": restart_layer,
    "SIGSTOP of the layer": freeze_layer,
    "cut link between nodes and layer": cut_the_link,
    "FLUSHALL of the layer": empty_redis,
    "restart of the database": restart_database,
    "killed database connections": kill_connections,
    "SIGSTOP of the database": freeze_database,
    "a client that stops reading": stop_reading,
}
#: While a node or the database stands still, so does what goes through it.
STANDS_STILL = (freeze_a_node, freeze_database, restart_database)
#: Bytes that may wait for a session, and that a message has while somebody does not read.
BUDGET, PADDING = 400_000, 20_000
MIB = measures.MIB


@dataclass
class Row:
    """What became of one kind of fault on one site."""

    times: int = 0
    sent: int = 0
    acked: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    #: Of each time, in seconds: the longest that a connected client waited for an event, and how long it took after the
    #: fault until every client had been acked again.
    waits: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    #: MiB of the nodes together, before and after.
    memory: list[tuple[float, float]] = field(default_factory=list)

    def add(self, report: Report | Storm, *, waited: float | None, returned: float, seconds: float) -> None:
        """Counts one time."""
        self.times += 1
        self.sent += report.sent
        self.acked += report.acked
        self.delivered += report.delivered
        self.lost += report.lost
        self.doubled += report.doubled
        self.seconds += seconds
        if waited is not None:
            self.waits.append(waited)
        self.returns.append(returned)
        if report.memory:
            self.memory.append((sum(a for a, _ in report.memory) / MIB, sum(b for _, b in report.memory) / MIB))


async def long_round(
    seconds: float, faults: dict[str, Fault], clients: int, pause: float, storm_size: int
) -> list[str]:
    """Goes on for so many seconds and prints a table; what was wrong. A storm of 0 is none."""
    wrong: list[str] = []
    rows: dict[tuple[str, str], Row] = {}
    if storm_size:
        allow_descriptors(2 * storm_size)
    for kind, layer, server in SITES:
        ends = time.monotonic() + seconds / len(SITES)
        on = f"{kind}, {layer}, {server}"
        budget = {"MANA_SESSION_BUFFER_BYTES": str(BUDGET)}
        with site(kind, layer=layer, nodes=NODES, server=server, own_database=True, linked=True, **budget) as running:
            first = True
            while first or time.monotonic() < ends:
                for name, fault in faults.items():
                    if (fault is empty_redis and layer != "redis") or (not first and time.monotonic() >= ends):
                        continue
                    row = rows.setdefault((on, name), Row())
                    wrong += await _one(running, row, f"{name} ({on})", fault, clients, pause)
                if storm_size and (first or time.monotonic() < ends):
                    row = rows.setdefault((on, f"reconnect storm of {storm_size}"), Row())
                    wrong += await _storm(running, row, on, storm_size)
                first = False
            wrong += [f"a traceback in the log of a node ({on})" for node in running.nodes if "Traceback" in node.log]
    print(table(rows, clients, pause))
    return wrong


async def _one(running: Site, row: Row, name: str, fault: Fault, clients: int, pause: float) -> list[str]:
    padding = PADDING if fault is stop_reading else 0
    began = time.monotonic()
    try:
        async with community(running, clients=clients, pause=pause, padding=padding) as (people, report):
            await people.go_on(1)
            await asyncio.sleep(CALM)
            people.begin_to_measure()
            await fault(people)
            returned = await _until_back(people)
            await asyncio.sleep(CALM)
    except AssertionError as error:
        return [f"{name}: {error}"]
    row.add(report, waited=report.slowest, returned=returned, seconds=report.seconds)
    wrong = [f"{name}: {text}" for text in report.problems]
    if report.slowest > REPAIRED and fault not in STANDS_STILL:
        wrong.append(f"{name}: a connected client waited {report.slowest:.1f} s for an event")
    for before, after in report.memory:
        if after > before + measures.TOLERANCE:
            wrong.append(f"{name}: a node had {before / MIB:.0f} MiB and has {after / MIB:.0f} MiB")
    _say(name, report, report.slowest, returned, time.monotonic() - began, wrong)
    return wrong


async def _until_back(people: Community) -> float:
    begun = time.monotonic()
    await people.go_on(1)
    return time.monotonic() - begun


async def _storm(running: Site, row: Row, on: str, size: int) -> list[str]:
    name, began = f"reconnect storm of {size} ({on})", time.monotonic()
    try:
        report = await storm(running, size)
    except AssertionError as error:
        return [f"{name}: {error}"]
    took = time.monotonic() - began
    row.add(report, waited=None, returned=report.seconds, seconds=took)
    wrong = [f"{name}: {text}" for text in report.problems]
    _say(name, report, 0.0, report.seconds, took, wrong)
    return wrong


def _say(name: str, report: Report | Storm, waited: float, back: float, took: float, wrong: list[str]) -> None:
    print(
        f"{name}: {report.acked} acked, {report.lost} lost, {report.doubled} doubled, longest wait {waited:.2f} s,"
        f" back after {back:.2f} s, {took:.0f} s in all{', WRONG' if wrong else ''}",
        flush=True,
    )


def table(rows: dict[tuple[str, str], Row], clients: int, pause: float) -> str:
    """The outcome in Markdown."""
    lines = []
    for on in dict.fromkeys(on for on, _ in rows):
        of_site = {name: row for (where, name), row in rows.items() if where == on}
        talk = [row for name, row in of_site.items() if not name.startswith("reconnect")]
        seconds = sum(row.seconds for row in talk) or math.inf  # nobody talks where a storm is all that was asked for
        lines += [
            "",
            f"**{on}**, {NODES} nodes, {clients} clients, a message of each every {pause} s: "
            f"{sum(row.acked for row in talk) / seconds:.0f} messages acked and "
            f"{sum(row.delivered for row in talk) / seconds:.0f} delivered per second, faults included.",
            "",
            "| fault | times | sent | acked | lost | doubled | longest wait for an event, s: p50, max |"
            " all are served again after, s: p50, max | memory of the nodes before and after, MiB |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for name, row in of_site.items():
            lines.append(
                f"| {name} | {row.times} | {row.sent} | {row.acked} | {row.lost} | {row.doubled} | {_two(row.waits)} |"
                f" {_two(row.returns)} | {_memory(row.memory)} |"
            )
        total = list(of_site.values())
        lines.append(
            f"| together | {sum(row.times for row in total)} | {sum(row.sent for row in total)} |"
            f" {sum(row.acked for row in total)} | {sum(row.lost for row in total)} |"
            f" {sum(row.doubled for row in total)} | {_two([w for row in total for w in row.waits])} |"
            f" {_two([w for row in talk for w in row.returns])} | |"
        )
    return "\n".join(lines)


def _two(values: Iterable[float]) -> str:
    found = list(values)
    return f"{median(found):.2f}, {max(found):.2f}" if found else "-"


def _memory(pairs: list[tuple[float, float]]) -> str:
    return f"{pairs[0][0]:.0f}, {pairs[-1][1]:.0f}" if pairs else "new processes"
