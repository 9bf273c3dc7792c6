"""A message can be followed from the socket it came by to the sockets it went to, on every node."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from mana.observability.tracing.identifiers import hashed
from tests.observability.support import Collector, staff, until
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.instances import instance
from tests.support.server import Server, serving

pytest.importorskip("opentelemetry.sdk")

ROOT = Path(__file__).resolve().parent.parent.parent
CANARY = "payload-canary-31337"


@pytest.mark.slow
async def test_a_message_is_traced_from_its_frame_over_the_commit_to_every_node(tmp_path: Path) -> None:
    collector = Collector()
    environment = {
        "MANA_ENABLE_TRACING": "true",
        "MANA_TRACE_SAMPLE_RATIO": "1",
        "MANA_TRACE_EXPORT": collector.url,
        "MANA_SERVICE_NAME": "the-shop",
        "MANA_SERVICE_VERSION": "7.1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with (
        databases.fresh("sqlite") as url,
        instance("redis") as layer,  # of its own: other tests' nodes would deliver here, too
        serving(url, MANA_NODE_ID="one", CHANNEL_LAYER_URL=layer.url, **environment) as one,
        serving(url, MANA_NODE_ID="two", kind="uvicorn", CHANNEL_LAYER_URL=layer.url, **environment) as two,
    ):
        alice, bob = Account(one), Account(one)
        room = alice.room(bob)
        there = Socket(two, headers={"Authorization": f"Bearer {bob.access}"})
        async with alice.socket() as a, alice.socket() as other, there as b:
            ack = await a.request("message", room_id=room, payload={"text": CANARY})
            await other.expect("message")
            await b.expect("message")
            assert (await a.refusal("message", room_id="no such room", payload=CANARY))["code"] == "not_found"
            await a.request("ping")
            await asyncio.to_thread(until, lambda: len(collector.named("mana.deliver")) >= 2)
            await asyncio.to_thread(until, lambda: len(collector.named("mana.frame")) >= 3)
            await asyncio.to_thread(until, lambda: len(collector.named("mana.commit")) >= 2)
        with staff(one) as operator:
            page = operator.get("/debug/traces")
            inspected = operator.get("/debug/traces?format=json").json()
        (stranger,) = (httpx.get(f"{one.http}/debug/traces"),)
    collector.close()

    # The frame begins a trace of its own, which is linked to its connection and to its commit.
    frame = next(span for span in collector.named("mana.frame") if attribute(span, "mana.sequence") == ack["sequence"])
    connections = {span.trace_id for span in collector.named("mana.connection")}
    commits = {span.trace_id: span for span in collector.named("mana.commit")}
    linked = {link.trace_id for link in frame.links}
    assert not frame.parent_span_id
    assert frame.trace_id not in connections
    assert len(linked & connections) == 1
    (commit,) = (commits[trace_id] for trace_id in linked & commits.keys())
    assert frame.trace_id in {link.trace_id for link in commit.links}
    assert attribute(commit, "mana.batch.size") == 1
    # Each node's delivery belongs to the frame's trace.
    deliveries = [span for span in collector.named("mana.deliver") if span.trace_id == frame.trace_id]
    assert sorted((attribute(span, "mana.node"), attribute(span, "mana.receivers")) for span in deliveries) == [
        ("one", 2),
        ("two", 1),
    ]
    assert {span.parent_span_id for span in deliveries} == {frame.span_id}
    # What failed says so.
    assert [attribute(span, "mana.error") for span in collector.named("mana.frame") if span.status.code == 2] == [
        "not_found"
    ]
    # The service is who it says it is, and nothing says more than it should.
    assert {(one["service.name"], one["service.version"]) for one in collector.resources} == {("the-shop", "7.1")}
    assert attribute(frame, "mana.user")
    told = b"".join(collector.bodies) + page.content
    for secret in (CANARY, alice.username, bob.username, alice.access, alice.password, room, a.welcome["session_id"]):
        assert secret.encode() not in told, secret
    # And it can be looked at, by staff.
    assert stranger.status_code == 403
    assert page.status_code == 200
    assert "frame message" in page.text
    assert frame.trace_id.hex() in page.text
    traces = {trace["trace_id"]: trace for trace in inspected["traces"]}
    names = [span["name"] for span in traces[frame.trace_id.hex()]["spans"]]
    assert names == ["mana.frame", "mana.deliver"]


def attribute(span: Any, name: str) -> Any:
    """The value of an attribute of an exported span."""
    for one in span.attributes:
        if one.key == name:
            value = one.value
            return getattr(value, value.WhichOneof("value"))
    return None


def test_while_it_is_off_nothing_of_it_is_imported(server: Server) -> None:
    code = (
        "import django, sys; django.setup()\n"
        "import mana.routing, mana.urls\n"
        "from mana.realtime import tracing\n"
        "assert tracing.tracer is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_memory_is_bounded() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    from mana.observability.tracing.memory import SPANS, TraceMemory

    memory = TraceMemory(3)
    provider = TracerProvider()
    provider.add_span_processor(memory)
    tracer = provider.get_tracer("test")
    for number in range(5):
        with tracer.start_as_current_span(f"root {number}"):
            for _ in range(SPANS + 20):
                tracer.start_span("child").end()
    traces = memory.latest()
    assert [trace.spans[0].name for trace in traces] == ["child", "child", "child"]
    assert all(len(trace.spans) == SPANS for trace in traces)
    assert all(trace.dropped == 21 for trace in traces)


def test_ids_are_hashed_with_the_site_s_key(settings: Any) -> None:
    assert hashed("42") == hashed("42")
    assert hashed("42") != hashed("43")
    assert "42" not in hashed("42")[:2] or len(hashed("42")) == 16


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (1.0, 40)])
def test_what_is_sampled_is_a_setting(ratio: float, expected: int) -> None:
    from django.test import override_settings

    from mana.observability.tracing.memory import TraceMemory
    from mana.observability.tracing.tracer import SpanTracer

    memory = TraceMemory(100)
    with override_settings(MANA={"TRACE_SAMPLE_RATIO": ratio, "TRACE_IDS": False}):
        tracer = SpanTracer(memory)
        for _ in range(40):
            tracer.connecting().refused("unauthenticated")
        tracer.close()
    traces = memory.latest()
    assert len(traces) == expected
    assert all(trace.failed and trace.name == "connection" for trace in traces)
    assert all(set(trace.spans[0].attributes) == {"mana.error"} for trace in traces)
