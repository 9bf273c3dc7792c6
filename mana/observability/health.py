"""Whether this node can do its work, and how much there is in the cluster. Cheap, however often it is asked."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from mana import __version__
from mana.conf import settings
from mana.observability import probes, stores
from mana.observability.figures import Figures, figures
from mana.observability.probes import Finding, look

logger = logging.getLogger("mana.observability")

_started = time.monotonic()


@dataclass(frozen=True, slots=True)
class Report:
    """Readiness: what was looked at, and the counts."""

    checks: dict[str, Finding]
    here: Figures
    cluster: stores.Counts | None

    @property
    def is_ready(self) -> bool:
        """Whether a load balancer should send people here."""
        return all(finding.ok for finding in self.checks.values())

    @property
    def reasons(self) -> list[str]:
        """Why not."""
        return [f"{name}: {finding.detail}" for name, finding in self.checks.items() if not finding.ok]

    def as_json(self) -> dict[str, Any]:
        """The body of ``/health/ready``; docs/operations.md has its shape."""
        return {
            "status": "ready" if self.is_ready else "unavailable",
            "reasons": self.reasons,
            **about(self.here),
            "cluster": self.cluster.as_json() if self.cluster is not None else None,
            "checks": {
                name: {"ok": finding.ok, "detail": finding.detail, "seconds": round(finding.seconds, 4)}
                for name, finding in self.checks.items()
            },
        }


def about(here: Figures) -> dict[str, Any]:
    """This process, without asking anybody."""
    return {
        "node": here.node,
        "version": __version__,
        "uptime": round(time.monotonic() - _started, 1),
        "here": {"sessions": here.sessions, "users": here.users, "rooms": here.rooms},
    }


class Readiness:
    """The report of an event loop: made once for all who ask at the same time, and kept for ``HEALTH_CACHE``."""

    def __init__(self) -> None:
        self._report: Report | None = None
        self._made_at = 0.0
        self._making: asyncio.Task[Report] | None = None
        self._counts: stores.Counts | None = None
        self._counted_at = float("-inf")

    async def report(self) -> Report:
        """How things stand. Never raises."""
        if self._report is not None and time.monotonic() - self._made_at < settings.HEALTH_CACHE:
            return self._report
        if self._making is None or self._making.done():
            self._making = asyncio.get_running_loop().create_task(self._make(), name="mana-health")
        return await asyncio.shield(self._making)

    async def _make(self) -> Report:
        database, layer = await asyncio.gather(look(probes.database, "database"), look(probes.layer, "channel layer"))
        if database.ok and time.monotonic() - self._counted_at >= settings.HEALTH_COUNTS_INTERVAL:
            await look(self._count, "cluster")
        now = figures()
        checks = {
            "database": database,
            "layer": layer,
            "bus": probes.bus(now),
            "writer": probes.writer(now),
            "drain": probes.drain(now),
        }
        self._report = Report(checks, now, self._counts if database.ok else None)
        self._made_at = time.monotonic()
        return self._report

    async def _count(self) -> str:
        self._counts = await probes.database_thread.run(stores.counts)
        self._counted_at = time.monotonic()
        return ""


_readiness: WeakKeyDictionary[asyncio.AbstractEventLoop, Readiness] = WeakKeyDictionary()


async def readiness() -> Report:
    """The report of the running event loop."""
    return await _readiness.setdefault(asyncio.get_running_loop(), Readiness()).report()
