"""The channel layer that connects the nodes."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from mana.conf import settings
from mana.observability.doctor.report import Report, reason
from mana.observability.probes import LayerProbe
from mana.realtime.bus import SEND_TIMEOUT

ROUNDS = 10
#: Milliseconds of a round trip, beyond which typing and presence feel late.
SLOW = 50.0


def examine_layer(report: Report) -> bool:
    """Whether the layer carries messages."""
    return asyncio.run(_examine(report))


async def _examine(report: Report) -> bool:
    advice = f"Look at CHANNEL_LAYERS[{settings.CHANNEL_LAYER!r}] and whether its server runs."
    try:
        layer = get_channel_layer(settings.CHANNEL_LAYER)
    except Exception as error:
        report.fail("configuration", reason(error), advice)
        return False
    if layer is None:
        report.fail("configuration", f"CHANNEL_LAYERS has no {settings.CHANNEL_LAYER!r}", advice)
        return False
    if isinstance(layer, InMemoryChannelLayer):
        report.note("kind", "in memory: one process only", "Several nodes need Redis or NATS.")
        return True
    report.ok("kind", _describe(layer))
    try:
        await _latency(report, layer)
    except Exception as error:
        report.fail("round trip", reason(error), advice)
        return False
    finally:
        await _close(layer)
    return True


def _describe(layer: Any) -> str:
    parts = [f"{type(layer).__module__}.{type(layer).__name__}"]
    parts += [f"{name} {value}" for name in ("capacity", "expiry", "prefix") if (value := getattr(layer, name, None))]
    return ", ".join(parts)


async def _latency(report: Report, layer: Any) -> None:
    probe = LayerProbe()
    taken = []
    for _ in range(ROUNDS):
        began = perf_counter()
        try:
            await asyncio.wait_for(probe(), SEND_TIMEOUT)
        except TimeoutError:
            raise TimeoutError(f"no message came back within {SEND_TIMEOUT:g} s") from None
        taken.append((perf_counter() - began) * 1000)
    # The first one opens the connection.
    median = sorted(taken[1:])[len(taken) // 2]
    text = f"{median:.2f} ms, {max(taken[1:]):.2f} ms at the worst of {ROUNDS - 1}"
    if median > SLOW:
        report.warn("round trip", text, "Bring the nodes closer to it, or relieve it.")
    else:
        report.ok("round trip", text)


async def _close(layer: Any) -> None:
    try:
        if hasattr(layer, "close_pools"):
            await layer.close_pools()
    except Exception:  # noqa: S110  what could not be reached can't be left
        pass
