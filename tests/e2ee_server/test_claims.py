"""Claims: who gets which bundles, and how many one-time prekeys."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from mana.accounts import stores as accounts
from mana.contacts import services as contacts
from mana_e2ee import stores
from mana_e2ee.core import AccountKey, DeviceList, PreKeyBundle
from mana_e2ee.models import Claim, OneTimePreKey
from mana_e2ee.services import claims, lists
from tests.e2ee_server.clients import b64
from tests.e2ee_server.test_directory import device_of, refused, upload, user, wire_id

pytestmark = [pytest.mark.database, pytest.mark.django_db]


def person(someone: Any) -> Any:
    """A user as the services know them."""
    return accounts.person(someone.pk)


def with_devices(*device_ids: str, one_time: int = 20) -> Any:
    """Somebody with listed devices."""
    someone = user()
    devices = [device_of(someone, device_id) for device_id in device_ids]
    for device in devices:
        upload(someone, device, one_time=one_time)
    made = DeviceList.create(AccountKey.generate(), wire_id(someone), [device.record for device in devices])
    lists.publish(someone, {"device_list": b64(made.to_bytes())})
    return someone


def bundles(answer: claims.Answer) -> list[PreKeyBundle]:
    """The bundles of an answer, checked as a client checks them."""
    found = [PreKeyBundle.from_bytes(base64.b64decode(one.bundle)) for one in answer.bundles]
    for bundle in found:
        bundle.verify()
    return found


def one_time_ids(answer: claims.Answer) -> list[int | None]:
    """The ids of the one-time prekeys of an answer."""
    return [bundle.one_time.id if bundle.one_time else None for bundle in bundles(answer)]


def test_a_claim_gives_one_bundle_per_listed_device_and_the_list() -> None:
    target, asker = with_devices("laptop", "phone"), user()
    upload(target, device_of(target, "unlisted"))
    answer = claims.claim(asker, person(target))
    assert [bundle.record.address.device for bundle in bundles(answer)] == ["laptop", "phone"]
    assert one_time_ids(answer) == [1, 1]
    assert answer.epoch == 1
    assert answer.device_list is not None
    DeviceList.from_bytes(base64.b64decode(answer.device_list)).verify()
    assert one_time_ids(claims.claim(asker, person(target), device_id="phone")) == [2]
    assert claims.claim(asker, person(target), device_id="unlisted").bundles == []


def test_the_user_gets_bundles_of_their_own_other_devices_listed_or_not() -> None:
    target = with_devices("phone")
    upload(target, device_of(target, "new"))
    answer = claims.claim(target, person(target), own_device_id="phone")
    assert [one.device_id for one in answer.bundles] == ["new"]


def test_the_same_claim_again_gives_the_same_answer_for_a_minute() -> None:
    target, asker = with_devices("phone"), user()
    first = claims.claim(asker, person(target), claim_id="one")
    assert claims.claim(asker, person(target), claim_id="one") == first
    assert one_time_ids(claims.claim(asker, person(target), claim_id="two")) == [2]
    refused("conflict", claims.claim, asker, person(asker), claim_id="one")
    # Another's claim of the same name is another claim.
    assert one_time_ids(claims.claim(user(), person(target), claim_id="one")) == [3]
    Claim.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    assert one_time_ids(claims.claim(asker, person(target), claim_id="one")) == [4]


def test_a_claim_that_is_rolled_back_gives_its_keys_back() -> None:
    target, asker = with_devices("phone"), user()
    with transaction.atomic():
        claims.claim(asker, person(target), claim_id="one")
        transaction.set_rollback(True)
    assert one_time_ids(claims.claim(asker, person(target), claim_id="one")) == [1]


def test_without_one_time_prekeys_there_is_still_a_bundle() -> None:
    target, asker = with_devices("phone", one_time=0), user()
    assert one_time_ids(claims.claim(asker, person(target))) == [None]


def test_strangers_get_none_of_the_reserve_and_contacts_do(settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_PREKEY_RESERVE": 2}
    target, stranger, friend = with_devices("phone", one_time=3), user(), user()
    contacts.request(friend, target)
    contacts.accept(target, friend)
    assert one_time_ids(claims.claim(stranger, person(target))) == [1]
    assert one_time_ids(claims.claim(stranger, person(target))) == [None]
    assert one_time_ids(claims.claim(friend, person(target))) == [2]
    assert one_time_ids(claims.claim(friend, person(target))) == [3]
    assert one_time_ids(claims.claim(friend, person(target))) == [None]


def test_claims_are_limited_per_requester(settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_CLAIM_RATE": "1/hour"}
    target, asker = with_devices("phone"), user()
    first = claims.claim(asker, person(target), claim_id="one")
    refused("rate_limited", claims.claim, asker, person(target))
    assert claims.claim(asker, person(target), claim_id="one") == first
    assert one_time_ids(claims.claim(user(), person(target))) == [2]


def test_nobody_can_use_up_the_keys_of_one_target(settings: Any) -> None:
    settings.MANA = {**settings.MANA, "E2EE_CLAIM_TARGET_RATE": "2/hour"}
    target = with_devices("phone")
    found = [one_time_ids(claims.claim(user(), person(target))) for _ in range(3)]
    assert found == [[1], [2], [None]]


def test_who_is_blocked_finds_nobody() -> None:
    target, asker = with_devices("phone"), user()
    contacts.block(target, asker)
    refused("not_found", claims.claim, asker, person(target))
    contacts.unblock(target, asker)
    contacts.block(asker, target)
    refused("forbidden", claims.claim, asker, person(target))


def test_a_key_that_was_handed_out_stays_known_until_it_is_pruned() -> None:
    from mana.pruning import tasks

    target, asker = with_devices("phone", one_time=2), user()
    contacts.request(asker, target)
    contacts.accept(target, asker)
    claims.claim(asker, person(target), claim_id="one")
    OneTimePreKey.objects.filter(claimed_at__isnull=False).update(claimed_at=timezone.now() - timedelta(days=91))
    Claim.objects.update(created_at=timezone.now() - timedelta(seconds=61))
    named = {task.name: task for task in tasks()}
    for name in ("one-time prekeys that were handed out", "answered claims of prekey bundles"):
        assert named[name].prune(True) == 1
        assert named[name].prune(False) == 1
        assert named[name].prune(False) == 0
    (row,) = stores.devices(target.pk)
    assert stores.remaining([row.pk]) == {row.pk: 1}
