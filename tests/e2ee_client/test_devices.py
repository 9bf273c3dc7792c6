"""New devices: linked with a code, restored with the recovery key, removed; and what they can read."""

from __future__ import annotations

import pytest

from mana.client import Refused
from mana_e2ee.client import LinkCode, LinkRefused, ListRefused, NotLinked
from mana_e2ee.client.contents import b64, control, unb64
from mana_e2ee.core import Address, Backup, Device, InvalidKey, InvalidMessage, MemoryStore, RecoveryKey
from tests.e2ee_client.people import Person, World
from tests.e2ee_client.test_hostile_server import Lying, lists_instead

pytestmark = pytest.mark.slow


def texts(person: Person, room: str) -> list[str | None]:
    """What somebody sees in a room."""
    return [one.text for one in person.timeline(room)]


async def test_a_linked_device_reads_the_past_that_it_was_given_and_writes(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "before")
    await bob.hear("before")
    bob.directory.set_verified(ada.id)
    laptop = await world.person("laptop", of=bob)
    assert (await laptop.noticed("unlisted")).fields == {}
    with pytest.raises(NotLinked):
        await laptop.send(room, "too early")
    code = laptop.linking.show_code()
    assert LinkCode.from_text(code.qr) == LinkCode.from_text(code.text.upper().replace("-", " ")) == code
    assert await bob.linking.link(code.text) == "laptop"
    await laptop.noticed("history_imported")
    assert texts(laptop, room) == ["before"]
    change = await ada.noticed("devices_changed")
    assert change.fields == {"user_id": bob.id, "added": ["laptop"], "removed": []}
    await laptop.send(room, "from the laptop")
    await ada.hear("from the laptop")
    await bob.hear("from the laptop")
    await ada.send(room, "to both")
    await laptop.hear("to both")
    assert laptop.directory.is_verified(ada.id)
    # It holds the account key now, and can vouch for the next.
    tablet = await world.person("tablet", of=bob)
    await laptop.linking.link(tablet.linking.show_code().text, history=False)
    await tablet.noticed("linked")
    await ada.send(room, "to three")
    await tablet.hear("to three")
    shown = tablet.messages(room)
    assert [one.state for one in shown if one.content is None] == ["missing"] * (len(shown) - 1)


async def test_a_wrong_code_and_a_device_that_the_server_slips_in_are_refused(world: World) -> None:
    ada = await world.person()
    laptop = await world.person("laptop", of=ada)
    with pytest.raises(LinkRefused):
        await ada.linking.link("abcd-efgh")
    other = Device.generate(MemoryStore(), Address(ada.id, "laptop"))
    with pytest.raises(LinkRefused):
        await ada.linking.link(LinkCode.make(other.record).text)
    swapped = b64(other.publish_bundle(one_time=1).bundle(None).to_bytes())

    def lie(path: str, body: dict[str, object]) -> dict[str, object]:
        if "/bundles/" in path:
            body["bundles"] = [{"device_id": "laptop", "bundle": swapped}]
        return body

    true = ada.rest.http._transport
    Lying(ada, lie)
    with pytest.raises(LinkRefused):
        await ada.linking.link(laptop.linking.show_code().text)
    ada.rest.http._transport = true
    assert not laptop.directory.is_listed
    assert len((ada.directory.current(ada.id) or pytest.fail("no list")).devices) == 1


async def test_a_new_device_takes_an_account_only_from_who_has_seen_its_code(world: World) -> None:
    ada, eve = await world.person(), await world.person()
    laptop = await world.person("laptop", of=ada)
    posing = await world.person("phone-2", of=ada)  # what a server can add, but not vouch for
    code = laptop.linking.show_code()
    current, account = eve.directory.current(eve.id), eve.directory.account()
    assert current is not None
    assert account is not None
    for proof in (bytes(32), code.proof(account.public, eve.context.device.record, laptop.context.device.record)):
        said = control("account", seed=b64(account.seed), list=b64(current.to_bytes()), verified={}, accounts={})
        said["proof"] = b64(proof)
        await posing.controls.send(said, [laptop.context.address])
        await laptop.noticed("undecryptable")
        laptop.notices.clear()
        assert not laptop.directory.is_listed
        assert laptop.directory.account() is None
    await ada.linking.link(code.text)
    await laptop.noticed("linked")


async def test_a_removed_device_writes_and_reads_nothing_more(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    laptop = await world.person("laptop", of=bob)
    await bob.linking.link(laptop.linking.show_code().text)
    await laptop.noticed("linked")
    room = await ada.group(bob)
    for person in (ada, bob):
        person.sender.pairwise_devices = 0
    await ada.send(room, "with the laptop")
    await laptop.hear("with the laptop")
    await bob.linking.unlink("laptop")
    await ada.until(lambda: any(one.fields.get("removed") == ["laptop"] for one in ada.notices))
    await ada.send(room, "without it")
    await bob.hear("without it")
    assert laptop.find("without it") == []
    with pytest.raises(Exception, match=r"not_found|conflict|linked|revoked|closed|keys"):
        await laptop.send(room, "still here")


async def test_the_recovery_key_brings_a_lost_account_back(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.group(bob)
    await ada.send(room, "worth keeping")
    await bob.hear("worth keeping")
    key = await ada.backups.enable()
    await bob.send(room, "after the first backup")
    await ada.hear("after the first backup")
    await ada.backups.store()
    await ada.close()
    new = await world.person("new-phone", of=ada)
    assert not new.directory.is_listed
    with pytest.raises(InvalidKey):
        await new.backups.restore("not a key")
    with pytest.raises(InvalidMessage):
        await new.backups.restore(RecoveryKey.generate().text)
    assert await new.backups.restore(key.text) == 2
    assert texts(new, room) == ["worth keeping", "after the first backup"]
    await new.send(room, "back again")
    await bob.hear("back again")
    await bob.send(room, "good")
    await new.hear("good")
    await new.backups.disable()
    assert not new.backups.is_enabled


async def test_all_devices_back_up_under_the_key_that_the_user_was_shown_last(world: World) -> None:
    ada = await world.person()
    laptop = await world.person("laptop", of=ada)
    await ada.linking.link(laptop.linking.show_code().text)
    await laptop.noticed("linked")
    await ada.backups.enable()
    await laptop.until(lambda: laptop.backups.is_enabled)
    shown = await laptop.backups.enable()
    await ada.until(lambda: ada.context.journal.fact("recovery") == b64(shown.key))
    await ada.backups.store()
    stored = await ada.rest.get("e2ee/backup")
    assert Backup.open(shown, unb64(stored["backup"]))
    tablet = await world.person("tablet", of=ada)
    await ada.linking.link(tablet.linking.show_code().text, history=False)
    await tablet.until(lambda: tablet.backups.is_enabled)
    await tablet.backups.disable()
    for person in (ada, laptop):
        await person.until(lambda person=person: not person.backups.is_enabled)
        await person.backups.store()
    with pytest.raises(Refused) as refused:
        await ada.rest.get("e2ee/backup")
    assert refused.value.code == "not_found"


async def test_a_server_that_rolled_the_list_back_is_found_out_by_the_backup(world: World) -> None:
    ada = await world.person()
    first = ada.directory.current(ada.id)
    assert first is not None
    laptop = await world.person("laptop", of=ada)
    await ada.linking.link(laptop.linking.show_code().text)
    await laptop.noticed("linked")
    key = await ada.backups.enable()
    new = await world.person("new-phone", of=ada)

    account = ada.directory.account()
    assert account is not None
    fork = first.next(account, first.devices)  # the laptop's list has this epoch
    true = new.rest.http._transport
    for untrue in ([first], [fork], [fork, fork.next(account, fork.devices)]):
        Lying(new, lists_instead(ada.id, *untrue))
        with pytest.raises(ListRefused):
            await new.backups.restore(key.text)
        new.rest.http._transport = true
        assert not new.directory.is_listed
        assert new.directory.account() is None
    await new.backups.restore(key.text)
    assert new.directory.is_listed
