"""What a node costs: the memory and descriptors of its process, and what waits in it for others."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server

MIB = 1024 * 1024
#: What a node may keep of its memory after a fault. Threads, buffers and caches that the first load fills are in it.
TOLERANCE = 32 * MIB
#: Gauges of what a node holds for others; nobody waits for anything when they are 0.
WAITING = ("mana_queue_bytes", "mana_writer_queue_length", "mana_bus_backlog")

#: Seconds that what waits has to go.
PATIENCE = 10.0


def memory(node: Server) -> int:
    """Bytes of the process that are in memory (VmRSS)."""
    return _from_status(node, "VmRSS:")


def most_memory(node: Server) -> int:
    """The same at the most since ``forget_most``, as the kernel saw it (VmHWM)."""
    return _from_status(node, "VmHWM:")


def forget_most(node: Server) -> None:
    """Begins to measure ``most_memory`` anew."""
    assert node.process is not None
    Path(f"/proc/{node.process.pid}/clear_refs").write_text("5")


def descriptors(node: Server) -> int:
    """Open files and sockets of the process."""
    assert node.process is not None
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def figures(node: Server) -> dict[str, float]:
    """The figures of ``/metrics`` by name; of those with labels, by name and the labels' values."""
    answer = httpx.get(f"{node.http}/metrics", timeout=30)
    assert answer.status_code == 200, answer.text
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def what_stays(node: Server) -> dict[str, float]:
    """What waits in a node, though nobody waits for it any more: nothing, as soon as nothing does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        now = await asyncio.to_thread(figures, node)
        held = {name: now[name] for name in WAITING if now[name]}
        if not held or time.monotonic() > deadline:
            return held
        await asyncio.sleep(0.1)


def _from_status(node: Server, name: str) -> int:
    assert node.process is not None
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name}")
