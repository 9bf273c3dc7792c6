"""What operators see of media servers: checks, the doctor, the admin, metrics."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from prometheus_client import CollectorRegistry, generate_latest

from mana.observability.doctor.report import Report, Result
from mana_rtc.checks import check_media_server
from mana_rtc.doctor import examine_calls
from mana_rtc.media_metrics import WorkerCollector
from mana_rtc.sfu.meter import Load, Meter
from mana_rtc.workers import stores
from tests.rtc.bots import PacketTrack, house, until

REDIS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
WORKERS = "mana_rtc.backends.workers"


@pytest.mark.parametrize(
    ("backend", "layers", "ids"),
    [
        ("mana_rtc.backends.embedded", None, []),
        ("mana_rtc.backends.nonsense", None, ["mana.E063"]),
        (WORKERS, None, ["mana.E064"]),
        (WORKERS, REDIS, []),
        ("mana_rtc.backends.janus", None, []),
    ],
)
def test_the_checks_know_the_media_server(settings: Any, backend: str, layers: Any, ids: list[str]) -> None:
    settings.MANA = {**settings.MANA, "RTC_BACKEND": backend}
    settings.CHANNEL_LAYERS = layers or {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert [message.id for message in check_media_server()] == ids


def test_a_worker_needs_a_layer_that_reaches_it() -> None:
    with pytest.raises(CommandError, match="channel layer"):
        call_command("mana_sfu")
    with pytest.raises(CommandError, match="HOST:PORT"):
        call_command("mana_sfu", metrics="nonsense")


def looked(backend: str, **mana: Any) -> tuple[Result, str]:
    """What the doctor says of the media server."""
    report = Report()
    with override_settings(MANA={"RTC_BACKEND": backend, **mana}):
        examine_calls(report)
    entry = next(one for one in report.entries if one.name == "media server")
    return entry.result, entry.detail


@pytest.mark.django_db
def test_the_doctor_looks_for_media_servers() -> None:
    assert looked(WORKERS) == (Result.FAILED, "no worker runs")
    stores.beat("one", "to-one", Load(rooms=2, participants=5), name="", max_rooms=10)
    assert looked(WORKERS) == (Result.OK, "1 workers, 2 rooms, 5 people")
    stores.beat("one", "to-one", Load(busy=0.97), name="", max_rooms=10)
    assert looked(WORKERS)[0] == Result.WARNING
    assert looked("mana_rtc.backends.janus", JANUS_URL="ws://127.0.0.1:1")[0] == Result.FAILED


@pytest.mark.django_db
def test_the_admin_shows_workers_and_their_rooms(client: Client) -> None:
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    stores.beat("one", "to-one", Load(participants=5, busy=0.5), name="in the cellar", max_rooms=10)
    stores.place("a-room")
    page = client.get("/admin/mana_rtc/mediaworker/").content.decode()
    assert "in the cellar" in page
    assert "50%" in page
    assert "a-room" in client.get("/admin/mana_rtc/mediaworker/one/change/").content.decode()
    assert client.post("/admin/mana_rtc/mediaworker/one/delete/").status_code == 403


async def test_the_metrics_of_an_engine_name_nobody() -> None:
    async with house() as home:
        meter = Meter(home.engine)
        one, other = await home.bot("the-room"), await home.bot("the-room")
        await one.publish({"microphone": PacketTrack("audio", per_second=50)})
        await until(lambda: other.tracks, "the track comes")
        await next(iter(other.tracks.values())).recv()
        registry = CollectorRegistry()
        registry.register(WorkerCollector(meter))
        page = generate_latest(registry).decode()
        values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        assert (values["mana_media_rooms"], values["mana_media_participants"]) == ("1.0", "2.0")
        assert values["mana_media_tracks"] == "1.0"
        assert float(values['mana_media_packets_per_second{direction="out"}']) > 0
        assert values['mana_media_room_participants_bucket{le="1.0"}'] == "0.0"
        assert values['mana_media_room_participants_bucket{le="2.0"}'] == "1.0"
        assert "the-room" not in page
