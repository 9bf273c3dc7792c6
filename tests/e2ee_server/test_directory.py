"""Publishing keys and device lists: what the server takes, and what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from mana.accounts import stores as accounts
from mana.accounts.services import remove_device
from mana.conf import settings as mana
from mana.protocol import ErrorCode, ManaError
from mana_e2ee import stores
from mana_e2ee.core import AccountKey, Address, Device, DeviceList, InvalidMessage, MemoryStore, OneTimePreKey
from mana_e2ee.core import primitives as core_primitives
from mana_e2ee.core.records import u32 as _u32
from mana_e2ee.models import Device as DeviceRow
from mana_e2ee.models import OneTimePreKey as OneTimeRow
from mana_e2ee.services import directory, lists
from tests.e2ee_server.clients import b64, keys_of

pytestmark = [pytest.mark.database, pytest.mark.django_db]
_numbers = itertools.count(1)


def user() -> Any:
    """Somebody with an account."""
    return get_user_model().objects.create_user(f"person-{next(_numbers)}")


def wire_id(someone: Any) -> str:
    """Their id on the wire."""
    found = accounts.person(someone.pk)
    assert found is not None
    return found.user_id


def device_of(someone: Any, device_id: str = "phone") -> Device:
    """Keys for a device of theirs."""
    return Device.generate(MemoryStore(), Address(wire_id(someone), device_id))


def upload(someone: Any, device: Device, *, one_time: int = 3, **changes: Any) -> directory.Status:
    """Publishes a device's keys, some of them changed."""
    keys = {**keys_of(device.publish_bundle(one_time=one_time)), **changes}
    return directory.publish(someone, device.address.device, keys)


def refused(code: str, function: Any, *args: Any, **kwargs: Any) -> ManaError:
    """The refusal of a call."""
    with pytest.raises(ManaError) as caught:
        function(*args, **kwargs)
    assert caught.value.code == code
    return caught.value


def test_a_device_publishes_refills_and_rotates() -> None:
    someone = user()
    device = device_of(someone)
    status = upload(someone, device)
    assert (status.one_time_remaining, status.signed_prekey_id, status.is_listed) == (3, 1, False)
    keys = [b64(key.to_bytes()) for key in device.refill(3)]
    assert directory.refill(someone, "phone", {"one_time": keys}).one_time_remaining == 100
    rotated = device.rotate(force=True)
    assert rotated is not None
    status = directory.publish(someone, "phone", keys_of(rotated))
    assert (status.one_time_remaining, status.signed_prekey_id, status.kem_prekey_id) == (100, 2, 2)


def test_the_same_upload_again_changes_nothing() -> None:
    someone = user()
    device = device_of(someone)
    keys = keys_of(device.publish_bundle(one_time=3))
    first = directory.publish(someone, "phone", keys)
    assert directory.publish(someone, "phone", keys) == first
    row = stores.device(someone.pk, "phone")
    assert row is not None
    OneTimeRow.objects.filter(device=row, key_id=1).update(claimed_at=row.updated_at)
    assert directory.publish(someone, "phone", keys).one_time_remaining == 2


@pytest.mark.parametrize("field", ["private_key", "seed", "d", "one_time_private", "account_key"])
def test_a_field_that_is_not_known_is_refused_and_nothing_is_stored(field: str) -> None:
    someone = user()
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
    refusal = refused("invalid", upload, someone, device_of(someone), **{field: secret})
    assert secret not in str(refusal)
    assert not DeviceRow.objects.filter(user=someone).exists()
    refused("invalid", directory.refill, someone, "phone", {"one_time": ["AAAA"], field: secret})
    refused("invalid", lists.publish, someone, {"device_list": "AAAA", field: secret})


@pytest.mark.parametrize("name", ["record", "signed_prekey", "kem_prekey"])
@pytest.mark.parametrize("wrong", ["", "AAAA", "not base64!", "QQ", 7, None, ["AAAA"], "A" * 5000])
def test_what_is_no_public_key_is_refused(name: str, wrong: Any) -> None:
    someone = user()
    refused("invalid", upload, someone, device_of(someone), **{name: wrong})


def test_keys_of_private_form_are_refused() -> None:
    someone = user()
    device = device_of(someone)
    # A bare 32 bytes, a seed of 64, a key with the wrong type: none has the form of a public key with its id.
    for secret in (bytes(32), bytes(64), core_primitives.x25519_private(), core_primitives.kem_private()):
        refused("invalid", upload, someone, device, one_time=0, signed_prekey=b64(secret))
        refused("invalid", directory.publish, someone, "phone", {**_keys(device), "one_time": [b64(secret)]})


def _keys(device: Device) -> dict[str, Any]:
    return keys_of(device.publish_bundle(one_time=0))


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        b"\xff" * 32,
    ],
)
def test_keys_of_small_order_and_keys_that_are_not_canonical_are_refused(key: bytes) -> None:
    someone = user()
    wrong = b64(OneTimePreKey(9, key).to_bytes())
    refusal = refused(
        "invalid", directory.publish, someone, "phone", {**_keys(device_of(someone)), "one_time": [wrong]}
    )
    assert refusal.details == {"error": "invalid_key"}


def test_signatures_are_checked() -> None:
    someone = user()
    device, other = device_of(someone), device_of(someone)
    theirs = _keys(other)
    for name in ("signed_prekey", "kem_prekey"):
        refusal = refused("invalid", upload, someone, device, **{name: theirs[name]})
        assert refusal.details == {"error": "invalid_signature"}
    record = replace(device.record, created=device.record.created + 1)
    refused("invalid", upload, someone, device, record=b64(record.to_bytes()))


def test_a_record_of_another_device_or_user_is_refused() -> None:
    someone, other = user(), user()
    refused("invalid", directory.publish, someone, "laptop", _keys(device_of(someone, "phone")))
    refused("invalid", directory.publish, someone, "phone", _keys(device_of(other, "phone")))


def test_a_suite_with_a_kem_needs_its_key() -> None:
    someone = user()
    refusal = refused("invalid", upload, someone, device_of(someone), kem_prekey=None)
    assert refusal.details == {"error": "downgrade_refused"}


def test_other_identity_keys_need_the_device_to_be_removed_first() -> None:
    someone = user()
    upload(someone, device_of(someone))
    again = device_of(someone)
    refused("conflict", upload, someone, again)
    directory.remove(someone, "phone")
    assert upload(someone, again).one_time_remaining == 3


def test_ids_of_prekeys_grow_and_are_never_used_again() -> None:
    someone = user()
    device = device_of(someone)
    first = keys_of(device.publish_bundle(one_time=3))
    directory.publish(someone, "phone", first)
    rotated = device.rotate(force=True)
    assert rotated is not None
    directory.publish(someone, "phone", keys_of(rotated))
    refused("conflict", directory.publish, someone, "phone", first)
    forged = b64(_u32(2) + b"\x02" + core_primitives.x25519_public(core_primitives.x25519_private()))
    refused("conflict", directory.refill, someone, "phone", {"one_time": [forged]})
    OneTimeRow.objects.all().delete()
    refused("conflict", directory.refill, someone, "phone", {"one_time": first["one_time"]})


def test_two_keys_of_one_upload_are_different() -> None:
    someone = user()
    device = device_of(someone)
    key = device.publish_bundle(one_time=1).one_time[0]
    twice = [b64(key.to_bytes()), b64(OneTimePreKey(key.id + 1, key.public).to_bytes())]
    refused("invalid", directory.publish, someone, "phone", {**_keys(device), "one_time": twice})


def test_there_are_at_most_so_many_one_time_prekeys(settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_ONE_TIME_MAX": 100}
    someone = user()
    device = device_of(someone)
    upload(someone, device, one_time=100)
    refused("conflict", upload, someone, device, one_time=1)


def test_uploads_are_limited(settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_UPLOAD_RATE": "2/hour"}
    someone = user()
    device = device_of(someone)
    upload(someone, device)
    upload(someone, device)
    refused("rate_limited", upload, someone, device)
    assert mana.E2EE_UPLOAD_RATE == (2, 3600)


# -- Device lists ----------------------------------------------------------------------------------------------------


def _publish(someone: Any, made: DeviceList) -> int:
    return lists.publish(someone, {"device_list": b64(made.to_bytes())})


def _first(someone: Any, *devices: Device) -> tuple[AccountKey, DeviceList]:
    key = AccountKey.generate()
    made = DeviceList.create(key, wire_id(someone), [device.record for device in devices])
    _publish(someone, made)
    return key, made


def test_lists_follow_each_other_and_can_be_read_from_an_epoch_on() -> None:
    someone, reader = user(), user()
    phone, laptop = device_of(someone), device_of(someone, "laptop")
    upload(someone, phone)
    upload(someone, laptop)
    key, first = _first(someone, phone)
    assert [row.device_id for row in stores.devices(someone.pk).filter(is_listed=True)] == ["phone"]
    second = first.next(key, [phone.record, laptop.record])
    third = second.next(key, [laptop.record])
    assert [_publish(someone, made) for made in (second, third, third)] == [2, 3, 3]
    assert [row.device_id for row in stores.devices(someone.pk).filter(is_listed=True)] == ["laptop"]
    person = accounts.person(someone.pk)
    assert person is not None
    assert [row.epoch for row in lists.lists_of(reader, person)] == [3]
    followers = lists.lists_of(reader, person, since=1)
    assert [DeviceList.from_bytes(bytes(row.data)) for row in followers] == [second, third]


def test_rollback_fork_gap_and_another_account_key_are_refused() -> None:
    someone = user()
    phone, laptop = device_of(someone), device_of(someone, "laptop")
    upload(someone, phone)
    upload(someone, laptop)
    key, first = _first(someone, phone)
    second = first.next(key, [phone.record, laptop.record])
    _publish(someone, second)
    fork = first.next(key, [laptop.record])
    on_the_fork = fork.next(key, [phone.record])
    gap = second.next(key, [phone.record]).next(key, [laptop.record])
    stranger = AccountKey.generate()
    usurped = DeviceList.create(stranger, wire_id(someone), [phone.record])
    for wrong in (first, fork, on_the_fork, gap, usurped):
        refusal = refused("stale_device_list", _publish, someone, wrong)
        assert refusal.details == {"epoch": 2}
    assert [row.epoch for row in stores.device_lists(someone.pk)] == [2, 1]


def test_the_first_list_has_epoch_1() -> None:
    someone = user()
    phone = device_of(someone)
    upload(someone, phone)
    key = AccountKey.generate()
    made = DeviceList.create(key, wire_id(someone), [phone.record]).next(key, [phone.record])
    refused("stale_device_list", _publish, someone, made)


def test_a_list_vouches_only_for_records_that_were_published_and_is_of_its_user() -> None:
    someone, other = user(), user()
    phone = device_of(someone)
    key = AccountKey.generate()
    made = DeviceList.create(key, wire_id(someone), [phone.record])
    refused("conflict", _publish, someone, made)
    upload(someone, phone)
    refused("invalid", _publish, other, made)
    tampered = bytearray(made.to_bytes())
    tampered[-1] ^= 1
    refused("invalid", lists.publish, someone, {"device_list": b64(bytes(tampered))})
    assert _publish(someone, made) == 1


def test_who_lost_the_account_key_starts_over() -> None:
    someone = user()
    phone = device_of(someone)
    upload(someone, phone)
    _first(someone, phone)
    lists.start_over(someone)
    assert not stores.devices(someone.pk).exists()
    assert not stores.device_lists(someone.pk).exists()
    again = device_of(someone)
    upload(someone, again)
    _first(someone, again)


def test_lists_of_somebody_who_blocks_the_reader_are_not_found() -> None:
    from mana.contacts.services import block

    someone, reader = user(), user()
    block(someone, reader)
    person = accounts.person(someone.pk)
    assert person is not None
    refused("not_found", lists.lists_of, reader, person)


def test_a_revoked_device_loses_its_keys_with_it() -> None:
    someone = user()
    upload(someone, device_of(someone))
    remove_device(someone, "phone")
    assert not stores.devices(someone.pk).exists()
    assert not OneTimeRow.objects.exists()
    assert refused("not_found", directory.status, someone, "phone").code is ErrorCode.NOT_FOUND


@pytest.mark.parametrize("way", ["delete", "anonymise"])
def test_a_deleted_account_leaves_no_keys_and_lists(way: str, settings: Any) -> None:
    from mana.accounts.services import delete_account

    settings.MANA = {**settings.MANA, "ACCOUNT_DELETION": way}
    someone = user()
    phone = device_of(someone)
    upload(someone, phone)
    _first(someone, phone)
    pk = someone.pk
    delete_account(someone)
    assert not stores.devices(pk).exists()
    assert not stores.device_lists(pk).exists()


def test_the_projects_code_is_told_of_a_new_list_once_it_is_committed(django_capture_on_commit_callbacks: Any) -> None:
    from mana.signals import device_list_changed

    told: list[Any] = []

    def receiver(sender: Any, user_id: str, epoch: int | None, **_: Any) -> None:
        told.append((user_id, epoch))

    device_list_changed.connect(receiver)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            someone = user()
            phone = device_of(someone)
            upload(someone, phone)
            _, made = _first(someone, phone)
            _publish(someone, made)
            lists.start_over(someone)
            assert told == []
    finally:
        device_list_changed.disconnect(receiver)
    assert told == [(wire_id(someone), 1), (wire_id(someone), None)]


def test_a_user_has_at_most_64_devices_and_one_that_was_never_linked_makes_room() -> None:
    someone, now = user(), timezone.now()
    rows = [
        DeviceRow(
            user=someone,
            device_id=f"device-{number}",
            record=b"-",
            signed_prekey=b"-",
            signed_prekey_id=1,
            is_listed=number not in (7, 9),
            updated_at=now - timedelta(days=number),
        )
        for number in range(63)
    ]
    DeviceRow.objects.bulk_create(rows)
    upload(someone, device_of(someone, "the 64th"))
    upload(someone, device_of(someone, "the 65th"))
    left = set(stores.devices(someone.pk).values_list("device_id", flat=True))
    assert len(left) == 64
    assert "device-9" not in left  # the older of the two that are not in the list
    stores.devices(someone.pk).update(is_listed=True)
    refused(ErrorCode.CONFLICT, upload, someone, device_of(someone, "the 66th"))
    assert set(stores.devices(someone.pk).values_list("device_id", flat=True)) == left
    account = AccountKey.generate()
    records = [device_of(someone, f"device-{number}").record for number in range(65)]
    assert len(DeviceList.create(account, wire_id(someone), records[:64]).devices) == 64
    with pytest.raises(InvalidMessage):
        DeviceList.create(account, wire_id(someone), records)
