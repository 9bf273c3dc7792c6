"""What nobody else does: ends what rang for too long, whose people vanished, and who may not be there any more.

Every node does it all the time. Each finding is looked at again under the lock of its call, so that of several nodes
one acts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from mana.retries import retried
from mana_rtc import stores
from mana_rtc.models import Call, CallParticipant
from mana_rtc.services.calls import depart, put_out
from mana_rtc.services.transitions import changing

logger = logging.getLogger("mana.rtc")
State, Reason = CallParticipant.State, Call.Reason


def sweep(*, vanished: bool = True) -> bool:
    """Looks once at all calls that go on; whether there are any. Without ``vanished``, nobody is taken for gone."""
    if not stores.anything_live():
        return False
    looks = [(stores.unanswered, _missed), (stores.strangers, _may_not)]
    if vanished:
        looks.append((stores.unrenewed, _vanished))
    for found, act in looks:
        for call_pk in set(found().values_list("call_id", flat=True)):
            _again(act, call_pk)
    for call_pk in stores.across_blocks():
        _again(end_across_block, call_pk)
    for call_pk in stores.deserted().values_list("pk", flat=True):
        _again(_deserted, call_pk)
    return True


def _again(act: Callable[[int], None], call_pk: int) -> None:
    try:
        act(call_pk)
    except Exception as error:
        logger.warning("A call could not be looked after, another try follows: %s", error)


def _rows(rows: QuerySet[CallParticipant], call_pk: int) -> set[Any]:
    return set(rows.filter(call_id=call_pk).values_list("user_id", flat=True))


@retried
def _missed(call_pk: int) -> None:
    with changing(call_pk, reason=Reason.MISSED) as change:
        for pk in _rows(stores.unanswered(), call_pk):
            depart(change, change.rows[pk], State.MISSED, "missed")


@retried
def _vanished(call_pk: int) -> None:
    with changing(call_pk, reason=Reason.DISCONNECTED) as change:
        for pk in _rows(stores.unrenewed(), call_pk):
            depart(change, change.rows[pk], State.LEFT, "disconnected")


@retried
def _may_not(call_pk: int) -> None:
    with changing(call_pk) as change:
        for pk in _rows(stores.strangers(), call_pk):
            put_out(change, change.rows[pk])


@retried
def _deserted(call_pk: int) -> None:
    with changing(call_pk, reason=Reason.DISCONNECTED) as change:
        if not change.present():
            change.end(Reason.DISCONNECTED)


@retried
def end_across_block(call_pk: int) -> None:
    """Ends the call of two people between whom there is a block."""
    with changing(call_pk) as change:
        change.end(Reason.HANGUP)


@retried
def leave(call_pk: int, user_pk: Any) -> None:
    """Takes somebody out of a call who is about to be no more."""
    with changing(call_pk) as change:
        row = change.rows.get(user_pk)
        if row is not None:
            depart(change, row, State.LEFT, "left")


def put_out_of_room(room_pk: int) -> None:
    """Takes those out of the call of a room who are no members of it any more."""
    call = Call.objects.filter(room_id=room_pk, live_in__isnull=False).first()
    if call is not None:
        _may_not(call.pk)
