"""Signed device lists: one after the other, never back, never two of one epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError

from mana.accounts.stores import Person
from mana.messaging.services.people import as_person
from mana.protocol import ErrorCode, ManaError
from mana.retries import retried
from mana.stores import async_twin
from mana.throttles import Throttle
from mana_e2ee import notices, stores
from mana_e2ee.core import DeviceList as SignedList
from mana_e2ee.counters import counters
from mana_e2ee.models import DeviceList
from mana_e2ee.services.visibility import visible
from mana_e2ee.uploads import device_list

_lists = Throttle("E2EE_DEVICE_LIST_RATE")
#: Lists of one answer: 64 devices each make 1 MiB of them at the most.
LISTS_AT_ONCE = 20


def publish(user: Any, payload: Any) -> int:
    """Stores a user's next device list; its epoch. The current one again changes nothing.

    ``payload`` is the shape of ``uploads.ListUpload``. Raises ``ManaError``: ``invalid`` for what the core refuses;
    ``stale_device_list`` for a rollback, a fork, a gap or another account key, with the ``epoch`` that counts in the
    details; ``conflict`` for a device that has not published just that record; ``rate_limited``.
    """
    person = as_person(user)
    made = device_list(payload, person)
    _lists.take(str(person.pk))
    if _store(person, made):
        counters.lists += 1
        notices.list_published(person, made.epoch)  # who that is takes time, and messages do not wait for it
    return made.epoch


@retried
def _store(person: Person, made: SignedList) -> bool:
    try:
        with stores.in_order() as using:
            current = stores.device_lists(person.pk).first()
            if current is not None and bytes(current.data) == made.to_bytes():
                return False
            _check_follows(SignedList.from_bytes(bytes(current.data)) if current is not None else None, made)
            published = {row.device_id: row for row in stores.devices(person.pk)}
            for record in made.devices:
                row = published.get(record.address.device)
                if row is None or bytes(row.record) != record.to_bytes():
                    raise ManaError(
                        ErrorCode.CONFLICT, f"The device {record.address.device!r} has not published this record."
                    )
            DeviceList.objects.using(using).create(user_id=person.pk, epoch=made.epoch, data=made.to_bytes())
            listed = [record.address.device for record in made.devices]
            stores.devices(person.pk).filter(device_id__in=listed).update(is_listed=True)
            stores.devices(person.pk).exclude(device_id__in=listed).update(is_listed=False)
    except IntegrityError:
        raise _stale("Another list of this epoch was published meanwhile", made.epoch) from None
    return True


def _check_follows(current: SignedList | None, made: SignedList) -> None:
    if current is None:
        if made.epoch != 1:
            raise _stale("The first list has epoch 1", None)
    elif made.account != current.account:
        raise _stale("Another account key signed the lists before", current.epoch)
    elif made.epoch != current.epoch + 1:
        raise _stale(f"After epoch {current.epoch} comes {current.epoch + 1}", current.epoch)
    elif made.previous != current.hash():
        raise _stale("It follows another list than the current one", current.epoch)


def _stale(why: str, epoch: int | None) -> ManaError:
    return ManaError(ErrorCode.STALE_DEVICE_LIST, f"{why}.", details={"epoch": epoch})


def lists_of(user: Any, other: Person, *, since: int = 0) -> Sequence[DeviceList]:
    """The lists of somebody with epochs above ``since``, the oldest first, some at a time; without ``since`` only the
    current one. Raises ``ManaError`` with ``not_found`` for who may not know of them."""
    visible(as_person(user), other)
    rows = stores.device_lists(other.pk)
    if not since:
        return list(rows[:1])
    return list(rows.filter(epoch__gt=since).order_by("epoch")[:LISTS_AT_ONCE])


def start_over(user: Any) -> None:
    """Drops a user's lists, keys and waiting ciphertext, for who has lost the account key.

    Others will be warned of the next list: it has another account key, or starts again at epoch 1.
    """
    person = as_person(user)
    with stores.in_order() as using:
        rows = list(stores.devices(person.pk))
        for row in rows:
            stores.forget(stores.queue(row.pk))
            row.delete(using=using)
        had_lists = stores.device_lists(person.pk).delete()[0]
    if rows or had_lists:
        notices.list_published(person, None, [row.device_id for row in rows])


apublish = async_twin(publish)
