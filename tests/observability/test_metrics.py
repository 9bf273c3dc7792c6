"""``/metrics``: what was done is what is counted."""

from __future__ import annotations

import asyncio
import re
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from django.test import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from mana.observability.metrics import ManaCollector, page
from mana.realtime.announcements import Announcement
from mana.realtime.counters import Counters, Histogram
from tests.observability.support import until
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

ROOT = Path(__file__).resolve().parent.parent.parent


class Scrape(dict[str, float]):
    """The samples of one scrape, by name and labels as they are written."""

    def __missing__(self, key: str) -> float:
        return 0.0


def scrape(server: Server) -> Scrape:
    """What Prometheus would see."""
    answer = httpx.get(f"{server.http}/metrics")
    assert answer.status_code == 200
    found = Scrape()
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_what_was_done_is_what_is_counted(kind: str) -> None:
    environment = {"MANA_RATE_LIMIT_PER_SECOND": "20", "MANA_RATE_LIMIT_BURST": "12", "MANA_PRESENCE_MAX_ROOM": "0"}
    with databases.fresh("sqlite") as url, serving(url, kind=kind, **environment) as server:
        alice, bob, carol = Account(server), Account(server), Account(server)
        room = alice.room(bob, carol)
        async with alice.socket() as a, bob.socket(arrays=True) as b, carol.socket() as c:
            before = await asyncio.to_thread(scrape, server)
            for number in range(5):
                await a.request("message", room_id=room, payload={"text": "ü" * number + "x"})
            for one in (b, c):
                for _ in range(5):
                    await one.expect("message")
            await b.request("typing", room_id=room, payload=True)
            await a.expect("typing")
            await c.expect("typing")
            assert (await a.refusal("message", room_id="nowhere", payload=1))["code"] == "not_found"
            for number in range(40):
                await c.send("ping", ack_id=str(number))
            answers = [await c.expect(ack_id=str(number)) for number in range(40)]
            limited = sum(answer["type"] == "error" for answer in answers)
            after = await asyncio.to_thread(scrape, server)
            received = sum(len(frame) for one in (a, b, c) for frame in one.received)
        closed = await asyncio.to_thread(
            until, lambda: scrape(server) if scrape(server)["mana_connections_open"] == 0 else None
        )
        refused = await refused_connection(server)
    assert limited > 0
    assert received

    def grown(name: str) -> float:
        return after[name] - before[name]

    assert before["mana_connections_open"] == after["mana_connections_open"] == 3
    assert after["mana_users_online"] == 3
    assert after["mana_rooms_live"] == 1
    assert grown('mana_frames_in_total{type="message"}') == 6
    assert grown('mana_frames_in_total{type="typing"}') == 1
    assert grown('mana_frames_in_total{type="ping"}') == 40 - limited
    assert grown('mana_frames_out_total{type="message"}') == 10
    assert grown('mana_frames_out_total{type="typing"}') == 2
    assert grown('mana_frames_out_total{type="ack"}') == 6
    assert grown('mana_frames_out_total{type="pong"}') == 40 - limited
    assert grown('mana_frames_out_total{type="error"}') == limited + 1
    assert grown("mana_rate_limited_total") == grown('mana_errors_total{code="rate_limited"}') == limited
    assert grown('mana_errors_total{code="not_found"}') == 1
    assert grown("mana_messages_stored_total") == 5
    assert grown("mana_ack_seconds_count") == 6
    assert 0 < grown("mana_ack_seconds_sum") < 60
    assert grown("mana_commit_batch_size_sum") == 6
    assert grown("mana_hub_flushes_total") > 0
    assert grown("mana_bytes_in_total") > 40 * len('{"type": "ping", "ack_id": "1"}')
    assert grown("mana_bytes_out_total") > 10 * 200
    assert after["mana_writer_queue_length"] == after["mana_queue_bytes"] == after["mana_gaps_total"] == 0
    assert closed["mana_connections_opened_total"] == 3
    assert closed['mana_connections_closed_total{code="1000"}'] == 3
    assert refused["mana_connections_refused_total"] == 1
    assert refused['mana_errors_total{code="unauthenticated"}'] == 1
    forbidden = (room, alice.id, alice.username, "room_id", "user_id", "session")
    labels = {label for name in after for label in re.findall(r'(\w+)="', name) if name.startswith("mana_")}
    assert labels == {"code", "type", "le", "node", "version", "reason"}
    assert not any(word in name for name in after if name.startswith("mana_") for word in forbidden if len(word) > 4)


async def refused_connection(server: Server) -> Scrape:
    """What is counted after somebody came with a wrong token."""
    from tests.support.client import Socket

    stranger = Socket(server, headers={"Authorization": "Bearer wrong"})
    await stranger.connect()
    assert await stranger.closed() == 4001
    return await asyncio.to_thread(scrape, server)


def test_frames_for_many_are_counted_by_type_and_receiver() -> None:
    counters = Counters()
    text = '{"type":"message","payload":"ü"}'
    counters.fanned_out([Announcement(1, "r", text), Announcement(0, "r", '{"type":"typing"}', origin="s")], 3, {"s"})
    assert dict(counters.frames_fanned_out) == {"message": 3, "typing": 2}
    assert counters.bytes_out == 3 * len(text.encode()) + 2 * len('{"type":"typing"}')


def test_a_close_code_that_a_client_makes_up_makes_no_series() -> None:
    counters = Counters()
    for code in (1000, 4008, 3999, 4777, None):
        counters.closed_with(code)
    assert dict(counters.closed) == {1000: 1, 4008: 1, 0: 3}


def test_a_histogram_counts_what_is_up_to_a_bound() -> None:
    histogram = Histogram(1, 10)
    for value in (0.5, 1, 2, 10, 11):
        histogram.observe(value)
    assert histogram.counts == [2, 2, 1]
    assert histogram.total == 24.5


async def test_django_s_own_figures_are_on_the_page_where_they_are_installed() -> None:
    await AsyncClient().get("/health/live")
    is_installed = find_spec("django_prometheus") is not None  # the extra [metrics], which excludes Django 6.1
    assert (b"django_http_requests_total_by_method_total" in page()) == is_installed


def test_with_files_for_several_processes_mana_s_figures_are_those_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    text = page().decode()
    assert text.count("\nmana_connections_open ") == 1
    assert "python_info" not in text


def test_every_metric_is_in_the_table_of_the_docs() -> None:
    table = (ROOT / "docs/operations.md").read_text()
    for metric in ManaCollector().collect():
        assert f"`{metric.name}" in table, metric.name
