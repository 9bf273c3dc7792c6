"""A server that lies: what it may not do to a client that follows docs/e2ee-clients.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mana_e2ee.client import AccountChanged, ListRefused, NoDevices
from mana_e2ee.client.contents import b64, unb64
from mana_e2ee.core import (
    AccountKey,
    Address,
    Device,
    DeviceList,
    MemoryStore,
    PreKeyBundle,
    UntrustedIdentity,
)
from tests.e2ee_client.people import Person, World

pytestmark = pytest.mark.slow

Lie = Callable[[str, Any], Any]


class Lying(httpx.AsyncBaseTransport):
    """Between a client and the server: changes what the server answers. ``lie`` gets the path and the body."""

    def __init__(self, person: Person, lie: Lie) -> None:
        self._true = person.rest.http._transport
        self._lie = lie
        person.rest.http._transport = self

    async def aclose(self) -> None:
        await self._true.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._true.handle_async_request(request)
        data = await answer.aread()
        if answer.status_code < 300 and data.startswith(b"{"):
            data = json.dumps(self._lie(request.url.path, json.loads(data))).encode()
        return httpx.Response(answer.status_code, content=data, headers={"Content-Type": "application/json"})


def list_of(person: Person) -> DeviceList:
    """The device list that somebody knows of themselves."""
    found = person.directory.current(person.id)
    assert found is not None
    return found


def lists_instead(user_id: str, *lists: DeviceList) -> Lie:
    """Other device lists of a user than they have published, and their epoch wherever one is named."""

    def lie(path: str, body: Any) -> Any:
        rows = [{"epoch": one.epoch, "device_list": b64(one.to_bytes())} for one in lists]
        if path.endswith(f"/users/{user_id}/device-lists"):
            return {"results": rows}
        if path.endswith("/devices") and "results" in body:
            mine = [{**row, "epoch": lists[-1].epoch} for row in body["results"] if row["user_id"] == user_id]
            return {"results": [*[row for row in body["results"] if row["user_id"] != user_id], *mine]}
        return body

    return lie


async def test_a_rollback_and_a_fork_of_a_device_list_are_refused(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    first = list_of(bob)
    laptop = await world.person("laptop", of=bob)
    await bob.linking.link(laptop.linking.show_code().text)
    await ada.send(room, "to both")
    await laptop.hear("to both")
    account = bob.directory.account()
    assert account is not None
    # Somebody who got at Bob's account key signs a list beside the one that Ada knows.
    fork = first.next(account, [Device.generate(MemoryStore(), Address(bob.id, "rogue")).record])
    for untrue in ([first], [fork], [fork.next(account, fork.devices)]):
        ada.directory.forget_rooms()
        true = ada.rest.http._transport
        Lying(ada, lists_instead(bob.id, *untrue))
        with pytest.raises(ListRefused):
            await ada.directory.refresh(bob.id)
        if untrue[-1].epoch != list_of(bob).epoch:
            with pytest.raises(ListRefused):
                await ada.send(room, "for nobody")
        ada.rest.http._transport = true
        assert ada.directory.current(bob.id) == list_of(bob)
    assert any(one.kind == "list_refused" for one in ada.notices)
    ada.directory.forget_rooms()
    await ada.send(room, "to both again")
    await laptop.hear("to both again")
    assert "for nobody" not in str(bob.heard)


async def test_another_account_key_is_refused_until_the_user_consents(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "hello")
    await bob.hear("hello")
    ada.directory.set_verified(bob.id)
    assert ada.directory.is_verified(bob.id)
    assert (await ada.directory.safety_number(bob.id)).digits == (await bob.directory.safety_number(ada.id)).digits
    ada.directory.forget_rooms()
    true = ada.rest.http._transport
    Lying(ada, lists_instead(bob.id, _with_epoch(list_of(bob), 2)))
    with pytest.raises(AccountChanged):
        await ada.send(room, "not to whoever that is")
    assert (await ada.noticed("account_changed")).fields["user_id"] == bob.id
    ada.rest.http._transport = true
    with pytest.raises(AccountChanged):  # it is remembered
        await ada.send(room, "not to whoever that is")
    ada.directory.trust_account(bob.id)
    assert not ada.directory.is_verified(bob.id)


def _with_epoch(devices: DeviceList, epoch: int) -> DeviceList:
    """A list of a later epoch under a key of the server's own."""
    key = AccountKey.generate()
    made = DeviceList.create(key, devices.user, devices.devices)
    while made.epoch < epoch:
        made = made.next(key, devices.devices)
    return made


async def test_a_swapped_bundle_is_refused(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room = await ada.direct(bob.id)
    eves = (await ada.rest.post(f"e2ee/bundles/{eve.id}"))["bundles"][0]["bundle"]
    posing = Device.generate(MemoryStore(), Address(bob.id, "phone")).publish_bundle(one_time=1)
    swapped = b64(posing.bundle(posing.one_time[0]).to_bytes())

    def lie(bundle: str) -> Lie:
        def changed(path: str, body: Any) -> Any:
            if path.endswith(f"/bundles/{bob.id}"):
                body["bundles"] = [{"device_id": "phone", "bundle": bundle}]
            return body

        return changed

    true = ada.rest.http._transport
    for bundle in (eves, swapped):
        Lying(ada, lie(bundle))
        with pytest.raises(UntrustedIdentity):
            await ada.send(room, "for Bob alone")
        ada.rest.http._transport = true
    genuine = PreKeyBundle.from_bytes(unb64((await ada.rest.post(f"e2ee/bundles/{bob.id}"))["bundles"][0]["bundle"]))
    assert genuine.record == bob.context.device.record
    await ada.send(room, "now")
    await bob.hear("now")


async def test_a_device_that_the_server_slips_in_gets_nothing(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)

    def lie(path: str, body: Any) -> Any:
        if path.endswith(f"/rooms/{room}/devices"):
            for row in body["results"]:
                if row["user_id"] == bob.id:
                    row["device_ids"].append("tap")
        if path.endswith(f"/bundles/{bob.id}"):
            posing = Device.generate(MemoryStore(), Address(bob.id, "tap")).publish_bundle(one_time=1)
            body["bundles"].append({"device_id": "tap", "bundle": b64(posing.bundle(None).to_bytes())})
        return body

    Lying(ada, lie)
    with pytest.raises(ListRefused):
        await ada.send(room, "for Bob alone")
    assert bob.heard == []


async def test_a_spoofed_sender_a_moved_room_and_a_replay_tell_nobody_anything(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room, other = await ada.group(bob, eve), await ada.group(bob, eve)
    for one in (room, other):
        await ada.send(one, f"first in {one}")
        await bob.hear(f"first in {one}")
    frames: list[dict[str, Any]] = []
    # The server keeps Bob's frame to itself, and gives him others made of it.
    bob.receiver.handle = _kept(frames)  # type: ignore[method-assign]
    await ada.send(room, "meet me at nine")
    await bob.until(lambda: frames)
    frame = frames[0]
    handle = type(bob.receiver).handle
    untrue = [
        {**frame, "id": "spoofed-user", "from": eve.id},
        {**frame, "id": "spoofed-device", "device_id": "laptop"},
        {**frame, "id": "damaged", "payload": frame["payload"][:-8] + "AAAAAAA="},
    ]
    for one in untrue:
        await handle(bob.receiver, one)
        assert bob.find("meet me at nine") == []
    await handle(bob.receiver, {**frame, "id": "moved", "room_id": other})
    assert bob.find("meet me at nine") == []
    moved = bob.context.journal.message("moved")
    assert moved is not None
    assert (moved.state, moved.content) == ("unreadable", None)
    await handle(bob.receiver, {**frame, "id": "replayed", "index": 99})
    await handle(bob.receiver, frame)
    assert bob.find("meet me at nine") == []  # opened once, in the wrong room: it is not told again elsewhere
    assert all(one.room_id in (room, other) for one in bob.heard)


async def test_a_replay_is_told_once(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    frames: list[dict[str, Any]] = []
    bob.mana.on("message", frames.append)
    await ada.send(room, "once")
    await bob.hear("once")
    for again in (frames[0], {**frames[0], "id": "another", "index": 99}):
        await bob.receiver.handle(again)
    assert len(bob.find("once")) == 1


def _kept(frames: list[dict[str, Any]]) -> Callable[[dict[str, Any]], Any]:
    async def keep(frame: dict[str, Any]) -> None:
        frames.append(frame)

    return keep


async def test_keys_without_a_device_list_are_neither_written_to_nor_believed(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)

    def lie(path: str, body: Any) -> Any:
        if path.endswith(f"/users/{bob.id}/device-lists"):
            return {"results": []}
        if path.endswith(f"/rooms/{room}/devices"):
            return {"results": [{**row, "epoch": None} for row in body["results"] if row["user_id"] == bob.id]}
        if path.endswith(f"/bundles/{bob.id}"):
            return {**body, "epoch": None, "device_list": None}
        return body

    true = ada.rest.http._transport
    Lying(ada, lie)
    with pytest.raises(ListRefused):
        await ada.send(room, "for whoever that is")
    with pytest.raises(ListRefused):
        await ada.directory.claim(bob.id)
    await bob.send(room, "it is me")
    assert (await ada.noticed("undecryptable")).fields["reason"] == UntrustedIdentity.code
    assert ada.find("it is me") == []
    sealed = (await bob.seal([ada.id], "key", purpose="call", context="c"))[ada.id]["phone"]
    with pytest.raises(UntrustedIdentity):
        await ada.open(bob.id, "phone", sealed, purpose="call", context="c")
    ada.rest.http._transport = true
    await ada.repair.remind()
    await ada.hear("it is me")
    assert bob.heard == []


async def test_a_server_that_names_nobody_gets_no_message_for_nobody(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    Lying(ada, lambda path, body: {"results": []} if path.endswith(f"/rooms/{room}/devices") else body)
    with pytest.raises(NoDevices):
        await ada.send(room, "is anybody there?")
    assert ada.messages(room) == []


async def test_a_linked_device_forgets_whom_the_server_has_slipped_in_before(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "hello")
    await bob.hear("hello")
    laptop = await world.person("laptop", of=ada)
    true = laptop.rest.http._transport
    Lying(laptop, lists_instead(bob.id, _with_epoch(list_of(bob), 1)))
    await laptop.directory.refresh(bob.id)
    assert laptop.directory.current(bob.id) != list_of(bob)
    await ada.linking.link(laptop.linking.show_code().text, history=False)
    await laptop.noticed("linked")
    with pytest.raises(AccountChanged):  # Ada's phone has said whom to expect
        await laptop.send(room, "to whom?")
    laptop.rest.http._transport = true
    await bob.send(room, "to both")
    await ada.hear("to both")
    tablet = await world.person("tablet", of=ada)
    Lying(tablet, lists_instead(bob.id, _with_epoch(list_of(bob), 1)))
    await tablet.directory.refresh(bob.id)
    tablet.rest.http._transport = tablet.rest.http._transport._true
    await ada.linking.link(tablet.linking.show_code().text, history=False)
    await tablet.noticed("linked")
    assert tablet.directory.current(bob.id) is None
    await tablet.send(room, "to the true one")
    await bob.hear("to the true one")


async def test_a_fork_of_the_same_epoch_is_refused_when_a_list_is_named(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    laptop = await world.person("laptop", of=bob)
    room = await ada.direct(bob.id)
    await ada.send(room, "hello")
    await bob.hear("hello")
    account, first = bob.directory.account(), list_of(bob)
    assert account is not None
    await bob.linking.link(laptop.linking.show_code().text)
    await ada.noticed("devices_changed")
    known = list_of(bob)
    fork = first.next(account, [Device.generate(MemoryStore(), Address(bob.id, "rogue")).record])
    assert fork.epoch == known.epoch
    Lying(ada, lists_instead(bob.id, fork))
    await ada._device_list({"user_id": bob.id, "epoch": fork.epoch})
    assert (await ada.noticed("list_refused")).fields["user_id"] == bob.id
    assert ada.directory.current(bob.id) == known


async def test_lists_without_end_are_not_read_for_ever(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    await ada.directory.refresh(bob.id)
    Lying(ada, lists_instead(bob.id, *[list_of(bob)] * 20))
    with pytest.raises(ListRefused):
        await ada.directory.follow(bob.id, 99)
