"""Claims from many processes and threads at once: no one-time prekey is handed out twice, on any database."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest

from tests.faults.processes import Scripts, all_at_once, scripts
from tests.support import databases

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PROCESSES = 4
THREADS = 4
TARGETS = 10
DEVICES = 50  # of all of them
KEYS = 200  # of each device: 10,000 in all
EXTRA = 10  # claims of each device for which nothing is left
Taken = tuple[str, int | None]


@pytest.fixture(params=databases.KINDS, scope="module")
def crowd(request: pytest.FixtureRequest) -> Iterator[Scripts]:
    """Four processes on a database of each kind, in which somebody has devices."""
    with databases.fresh(request.param) as url, scripts(url, PROCESSES) as processes:
        processes.run(prepare)
        yield processes


def test_ten_thousand_claims_hand_out_ten_thousand_keys_once_each(crowd: Scripts) -> None:
    claims = DEVICES * (KEYS + EXTRA) // PROCESSES
    futures = [crowd.start(claim_some, number, claims) for number in range(PROCESSES)]
    taken = [one for future in futures for one in future.result(timeout=300)]
    keys = [one for one in taken if one[1] is not None]
    assert len(taken) == DEVICES * (KEYS + EXTRA)
    assert len(keys) == len(set(keys)) == DEVICES * KEYS
    assert crowd.run(left) == 0


def test_the_same_claim_from_everywhere_at_once_takes_one_key(crowd: Scripts) -> None:
    crowd.run(publish_another)
    answers = [future.result(timeout=120) for future in [crowd.start(repeat_claims, 20) for _ in range(PROCESSES)]]
    assert all(answer == answers[0] for answer in answers)
    ids = [one for _, one in answers[0]]
    assert len(set(ids)) == 20
    assert None not in ids


# -- In the processes --------------------------------------------------------------------------------------------------


def without_limits() -> Any:
    """Settings that let one user claim as fast as they can."""
    from django.conf import settings
    from django.test.utils import override_settings

    free = {"E2EE_CLAIM_RATE": "", "E2EE_CLAIM_TARGET_RATE": "", "E2EE_UPLOAD_RATE": "", "E2EE_PREKEY_RESERVE": 0}
    return override_settings(MANA={**settings.MANA, **free})


def _publish(someone: Any, device_id: str, one_time: int) -> Any:
    from mana.accounts.stores import person
    from mana_e2ee.core import Address, Device, MemoryStore
    from mana_e2ee.services import directory
    from tests.e2ee_server.clients import keys_of

    found = person(someone.pk)
    assert found is not None
    device = Device.generate(MemoryStore(), Address(found.user_id, device_id))
    directory.publish(someone, device_id, keys_of(device.publish_bundle(one_time=one_time)))
    return device


def prepare() -> None:
    """Somebody with devices, and somebody who claims."""
    from django.contrib.auth import get_user_model

    from mana.accounts.stores import person
    from mana_e2ee.core import AccountKey, DeviceList
    from mana_e2ee.services import lists
    from tests.e2ee_server.clients import b64

    users = get_user_model().objects
    users.create_user("asker")
    for number in range(TARGETS):
        target = users.create_user(f"target-{number}")
        with without_limits():
            devices = [_publish(target, f"d{n:02}", KEYS) for n in range(number, DEVICES, TARGETS)]
            found = person(target.pk)
            assert found is not None
            made = DeviceList.create(AccountKey.generate(), found.user_id, [device.record for device in devices])
            lists.publish(target, {"device_list": b64(made.to_bytes())})


def publish_another() -> None:
    """A device of the one who claims, who gets bundles of their own devices unlisted."""
    from django.contrib.auth import get_user_model

    with without_limits():
        _publish(get_user_model().objects.get(username="asker"), "own", 100)


@cache
def _person(username: str) -> Any:
    from django.contrib.auth import get_user_model

    from mana.accounts.stores import person

    return person(get_user_model().objects.get(username=username).pk)


def _claim(target: str, device_id: str, claim_id: str | None) -> Taken:
    from mana_e2ee.core import PreKeyBundle
    from mana_e2ee.services import claims

    answer = claims.claim(_person("asker"), _person(target), device_id=device_id, claim_id=claim_id)
    bundle = PreKeyBundle.from_bytes(base64.b64decode(answer.bundles[0].bundle))
    return device_id, bundle.one_time.id if bundle.one_time is not None else None


def _in_threads(work: Callable[[int], list[Taken]]) -> list[Taken]:
    from django.db import connections

    def closing(number: int) -> list[Taken]:
        try:
            return work(number)
        finally:
            connections.close_all()

    with without_limits(), ThreadPoolExecutor(THREADS) as pool:
        return [one for some in pool.map(closing, range(THREADS)) for one in some]


def claim_some(process: int, count: int) -> list[Taken]:
    """Claims from several threads; every process goes through the devices in the same order, so that they meet."""
    all_at_once()

    def work(number: int) -> list[Taken]:
        devices = [position % DEVICES for position in range(number, count, THREADS)]
        return [_claim(f"target-{device % TARGETS}", f"d{device:02}", None) for device in devices]

    assert process < PROCESSES
    return _in_threads(work)


def repeat_claims(count: int) -> list[Taken]:
    """The same claims in each process, in one thread each."""
    all_at_once()
    with without_limits():
        return [_claim("asker", "own", f"again-{number}") for number in range(count)]


def left() -> int:
    """One-time prekeys that nobody has got."""
    from mana_e2ee.models import OneTimePreKey

    return OneTimePreKey.objects.filter(claimed_at=None, device__user__username__startswith="target").count()
