"""Seats in calls, over a media server that answers when the test says."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import override_settings

from mana.protocol import ManaError
from mana.protocol.server import ReadyEvent
from mana_rtc.seats import Seat, Seats
from mana_rtc.sfu.backend import Event, Joined, ParticipantInfo, ParticipantLeft, SfuError


class _Backend:
    """Answers ``resume`` when it is told to."""

    def __init__(self, tell: Any) -> None:
        self.tell = tell
        self.resuming = asyncio.Event()
        self.answer: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        return Joined(participants=[], tracks=[])

    async def resume(self, room: str, participant: str) -> Joined:
        self.resuming.set()
        return await self.answer


def backend(tell: Any) -> _Backend:
    """What ``RTC_BACKEND`` names here."""
    return _Backend(tell)


def _session(name: str) -> Any:
    sent: list[Any] = []
    return SimpleNamespace(id=name, user_id="1", username="ann", rooms={"room"}, sent=sent, send=sent.append)


def _left(seat: Seat) -> Event:
    gone = ParticipantInfo(id="other", user_id="2", username="ben")
    return ParticipantLeft(room="room", to=[seat.participant], participant=gone, reason="left")


def _told(session: Any) -> list[Any]:
    return [frame.payload["left"] for frame in session.sent if isinstance(frame, ReadyEvent)]


@pytest.mark.parametrize("comes_back", [True, False])
async def test_what_happens_while_a_seat_is_taken_again_is_told_to_the_session_that_has_it_then(
    comes_back: bool,
) -> None:
    before, after = _session("before"), _session("after")
    hub = SimpleNamespace(loop=asyncio.get_running_loop(), sessions={"before": before, "after": after})
    with override_settings(MANA={"RTC_BACKEND": "tests.rtc.test_seats.backend"}):
        seats = Seats(hub)  # type: ignore[arg-type]  # a hub as far as seats need one
        seat, _ = await seats.take(before, "room")
        seats.opened(seat)
        media: Any = seats.backend
        resuming = asyncio.create_task(seats.resume(after, "room", seat.token))
        await media.resuming.wait()
        media.tell(_left(seat))
        await asyncio.sleep(0)  # which is what it takes from a media server's thread
        await asyncio.sleep(0)
        if comes_back:
            media.answer.set_result(Joined(participants=[], tracks=[]))
            again, _ = await resuming
            seats.opened(again)
        else:
            media.answer.set_exception(SfuError("gone"))
            with pytest.raises(ManaError):
                await resuming
        await seats.stop()
    assert (_told(before), _told(after)) == (([], ["other"]) if comes_back else (["other"], []))
