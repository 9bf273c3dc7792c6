"""Payloads of devices' own on their way through messaging: live, repaired from the database, and on the bus."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils import timezone

from mana.messaging.extras import extra_json
from mana.messaging.frames import announcements_of, event_frames
from mana.messaging.models import Message
from mana.messaging.services import create_room, send
from mana.realtime.announcements import Announcement, device_key, pack, unpack
from mana.realtime.tick import Tick
from mana_e2ee import stores
from tests.e2ee_server.test_claims import person, with_devices


class Session:
    """As much of a session as a tick asks for."""

    arrays = False

    def __init__(self, user_id: str, device_id: str) -> None:
        self.id = f"{user_id}/{device_id}"
        self.user_id = user_id
        self.device_id = device_id


def encrypted(owner: Any, bodies: dict[str, bytes], shared: bytes | None = None) -> Message:
    """A message in a room of one's own, with ciphertext for their devices."""
    message = send(create_room(owner, name="A room").room, owner, "null", ack_id="one")
    message.payload_json, message.extra_json = "null", extra_json([], [], encrypted=True)
    message.save()
    pks = {row.device_id: row.pk for row in stores.devices(owner.pk)}
    kept = {pks[device_id]: body for device_id, body in bodies.items()}
    stores.keep(message.pk, owner.pk, kept, timezone.now(), stores.database(), shared=shared)
    return message


@pytest.mark.database
@pytest.mark.django_db
def test_a_node_that_repairs_itself_delivers_to_each_device_its_own() -> None:
    owner = with_devices("laptop", "phone", one_time=0)
    user_id = person(owner).user_id
    message = encrypted(owner, {"laptop": b"aaa", "phone": b"bbb"})
    (announcement,) = unpack(pack(announcements_of([message])))
    payloads = {
        device_id: json.loads(announcement.frame_for(user_id, device_id))["payload"]
        for device_id in ("laptop", "phone", "tablet")
    }
    assert payloads == {"laptop": "YWFh", "phone": "YmJi", "tablet": None}
    assert json.loads(announcement.frame_for(user_id, "phone"))["ack_id"] == "one"
    assert "ack_id" not in json.loads(announcement.frame_for("another", "phone"))
    assert announcement.size > len(announcement.frame)


@pytest.mark.database
@pytest.mark.django_db
def test_one_ciphertext_for_all_is_in_the_one_frame_and_for_readers_only_while_they_wait_for_it() -> None:
    owner = with_devices("laptop", "phone", one_time=0)
    message = encrypted(owner, {"laptop": b"", "phone": b""}, shared=b"ccc")
    (announcement,) = announcements_of([message])
    assert announcement.payloads == {}
    assert json.loads(announcement.frame)["payload"] == "Y2Nj"
    for device_id, expected in (("phone", "Y2Nj"), ("tablet", None), (None, None)):
        (frame,) = event_frames([message], reader_pk=owner.pk, device_id=device_id)
        assert json.loads(frame)["payload"] == expected
    assert "Y2Nj" not in message.payload_json


def test_a_tick_gives_each_session_the_payload_of_its_device_and_nobody_anothers() -> None:
    frame = '{"type":"message","username":"\\",\\"payload\\":null","payload":null,"encrypted":true}'
    sealed = Announcement(1, "room", frame, payloads={device_key("1", "phone"): '"own"'})
    tick = Tick([sealed, Announcement(2, "room", '{"type":"message","payload":"for all"}')])
    mine = [json.loads(text) for text in tick.texts(Session("1", "phone"))]  # type: ignore[arg-type]
    others = [json.loads(text) for text in tick.texts(Session("2", "phone"))]  # type: ignore[arg-type]
    assert [one["payload"] for one in mine] == ["own", "for all"]
    assert [one["payload"] for one in others] == [None, "for all"]
    assert mine[0]["username"] == others[0]["username"] == '","payload":null'
    assert tick.size >= len(frame) + len('"own"')
