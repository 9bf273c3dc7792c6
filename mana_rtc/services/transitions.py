"""The one place where a call changes state: under the lock of its row, with its effects after the commit.

ringing -> accepted -> ended. Who is in a call decides: it is accepted when somebody other than the caller joins, and
over when nobody is left who could talk to anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from mana import signals
from mana.accounts.live import send_signal, tell
from mana.accounts.stores import Person, people
from mana.messaging.models import Room
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import CallEnded, CallEvent
from mana_rtc.counters import counters
from mana_rtc.models import PRESENT, Call, CallParticipant
from mana_rtc.presenting import call_fields, member_of
from mana_rtc.services.missed import notify_missed
from mana_rtc.stores import no_call

State, Reason = CallParticipant.State, Call.Reason


class Leg(NamedTuple):
    """The connection that somebody is in a call with: empty for calls that code makes, without a socket."""

    session_id: str = ""
    device_id: str = ""


NO_LEG = Leg()


class Change:
    """A call and its participants, locked, and what is to be told of it after the commit."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.rows: dict[Any, CallParticipant] = {row.user_id: row for row in call.participants.order_by("pk")}
        self._dirty: dict[Any, CallParticipant] = {}
        self._told: list[tuple[CallEvent, str]] = []
        self._missed: list[Any] = []
        #: Those who are told: in the call or rung, before or after.
        self._concerned = self.present()
        self._was_over = self.is_over
        self._people: dict[Any, Person] = {}

    # -- Looking -----------------------------------------------------------------------------------------------------

    @property
    def is_direct(self) -> bool:
        """Whether it is a call between two people."""
        return bool(self.call.room.room_type == Room.Type.DIRECT)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return bool(self.call.state == Call.State.ENDED)

    def present(self) -> set[Any]:
        """Those who are in the call or rung."""
        return {pk for pk, row in self.rows.items() if row.state in PRESENT}

    def joined(self) -> list[CallParticipant]:
        """Those who are in it."""
        return [row for row in self.rows.values() if row.state == State.JOINED]

    def person(self, pk: Any) -> Person:
        """A participant as others see them."""
        if pk not in self._people:
            self._people |= people([pk, *self.rows])
        found = self._people.get(pk)
        return found if found is not None else Person(pk, str(pk), "", "")

    # -- Changing ----------------------------------------------------------------------------------------------------

    def ring(self, user_pks: list[Any], *, busy: set[Any]) -> None:
        """Rings at people; the busy are only noted."""
        rows = [
            CallParticipant(
                call=self.call, user_id=pk, state=State.BUSY if pk in busy else State.RINGING, rung_at=Now()
            )
            for pk in user_pks
        ]
        CallParticipant.objects.bulk_create(rows)
        self.rows |= {row.user_id: row for row in CallParticipant.objects.filter(call=self.call)}
        self._concerned |= self.present()
        self._missed += [row.user_id for row in rows if row.state == State.BUSY]

    def join(self, person: Person, leg: Leg, *, camera: bool) -> CallParticipant:
        """Lets somebody in, with a connection. Raises ``ManaError`` if they are in another call."""
        row = self.rows.get(person.pk)
        is_new = row is None
        if row is None:
            row = self.rows[person.pk] = CallParticipant(call=self.call, user_id=person.pk)
        row.state, row.busy_as = State.JOINED, row.seat_key()
        row.session_id, row.device_id = leg
        row.seen_at = Now()
        row.joined_at, row.left_at = timezone.now(), None
        row.is_muted, row.has_camera, row.shares_screen, row.pinned = False, camera, False, ""
        row.is_recording = False
        try:
            with transaction.atomic():
                row.save(force_insert=is_new)
        except IntegrityError:
            raise ManaError(ErrorCode.CONFLICT, "You are in another call.") from None
        self._concerned.add(person.pk)
        if self.call.state == Call.State.RINGING and person.pk != self.call.started_by_id:
            self.call.state, self.call.answered_at = Call.State.ACCEPTED, timezone.now()
        return row

    def move(self, row: CallParticipant, leg: Leg) -> None:
        """Has somebody go on with another connection."""
        row.session_id, row.device_id = leg
        row.seen_at = Now()
        self.touch(row)

    def touch(self, row: CallParticipant) -> None:
        """Has a changed row stored."""
        self._dirty[row.user_id] = row

    def depart(self, row: CallParticipant, state: str) -> None:
        """Takes somebody out of the call, or has it ring at them no more."""
        if row.state not in PRESENT:
            return
        if row.state == State.JOINED:
            row.left_at = timezone.now()
        elif state == State.MISSED:
            self._missed.append(row.user_id)
        row.state, row.busy_as, row.shares_screen, row.is_recording = state, None, False, False
        self.touch(row)

    def end(self, reason: str) -> None:
        """Ends the call for all. Once."""
        if self.is_over:
            return
        for row in list(self.rows.values()):
            if row.state in PRESENT:
                self.depart(row, State.LEFT if row.state == State.JOINED else State.MISSED)
        self.call.state, self.call.reason, self.call.live_in = Call.State.ENDED, reason, None
        self.call.ended_at = timezone.now()

    def settle(self, reason: str) -> None:
        """Ends the call if nobody is left who could talk to anybody; ``reason`` says why somebody went."""
        if self.is_over:
            return
        joined = {row.user_id for row in self.joined()}
        ringing = self.present() - joined
        if self.call.state == Call.State.RINGING:
            # A large room is not rung: its caller waits for whoever comes.
            states = {row.state for pk, row in self.rows.items() if pk != self.call.started_by_id}
            if self.call.started_by_id not in joined:
                self.end(reason)
            elif not ringing and states:
                self.end(next((one for one in (State.REJECTED, State.BUSY, State.MISSED) if one in states), reason))
        elif len(joined) < (2 if self.is_direct else 1):
            self.end(reason)

    def forget(self, pk: Any) -> None:
        """Tells somebody nothing of this change."""
        self._concerned.discard(pk)

    # -- Telling -----------------------------------------------------------------------------------------------------

    def tell(self, kind: type[Any], pk: Any, *, origin: str = "", **fields: Any) -> None:
        """Has everybody in the call, or rung until now, told of what somebody did; ``origin`` is not told."""
        self._told.append((kind(**call_fields(self.call), **self.stamp(pk), **fields), origin))

    def stamp(self, pk: Any) -> dict[str, Any]:
        """What the server says of who did something."""
        if pk is None:
            return {}
        person, row = self.person(pk), self.rows.get(pk)
        return {
            "from_": person.user_id,
            "username": person.username,
            "session_id": (row.session_id or None) if row is not None else None,
            "device_id": (row.device_id or None) if row is not None else None,
        }

    def members(self) -> list[Any]:
        """Those who are in the call or rung, as they are shown."""
        return [member_of(row, self.person(pk)) for pk, row in self.rows.items() if row.state in PRESENT]

    def store(self, *, by: Any = None, began: bool = False) -> None:
        """Writes what changed, and has it told after the commit."""
        for row in self._dirty.values():
            row.save()
        call = self.call
        Call.objects.filter(pk=call.pk).update(
            state=call.state,
            reason=call.reason,
            live_in=call.live_in,
            answered_at=call.answered_at,
            ended_at=call.ended_at,
        )
        concerned = [self.person(pk).user_id for pk in sorted(self._concerned, key=str)]
        for frame, origin in self._told:
            tell(concerned, frame, origin=origin)
        if began:
            send_signal(signals.call_started, Call, call=call)
            transaction.on_commit(counters.started)
        if self.is_over and not self._was_over:
            tell(concerned, CallEnded(**call_fields(call), **self.stamp(by), reason=str(call.reason)))
            send_signal(signals.call_ended, Call, call=call)
            transaction.on_commit(partial(counters.ended, str(call.reason)))
        if self._missed:
            transaction.on_commit(partial(notify_missed, call, list(self._missed)))


@contextmanager
def changing(call_pk: int, *, reason: str = Reason.HANGUP, by: Any = None) -> Iterator[Change]:
    """A call under its lock, for one transition. ``by`` is who makes it, ``reason`` what the call then may end with."""
    with transaction.atomic():
        # An UPDATE locks the row on every database, SQLite included.
        if not Call.objects.filter(pk=call_pk).update(version=F("version") + 1):
            raise no_call()
        change = Change(Call.objects.select_related("room", "started_by").get(pk=call_pk))
        yield change
        change.settle(reason)
        change.store(by=by)
