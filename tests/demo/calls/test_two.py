"""Calls between two people, as they see them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.demo.calls.person import Person
from tests.support.client import Account
from tests.support.server import Server

pytestmark = pytest.mark.slow

Enter = Callable[[Account], Person]


@pytest.fixture
def ann(call_server: Server) -> Account:
    """Who calls."""
    return Account(call_server)


@pytest.fixture
def ben(call_server: Server) -> Account:
    """Who is called."""
    return Account(call_server)


@pytest.fixture
def room(ann: Account, ben: Account) -> str:
    """The chat of both."""
    return str(ann.post("rooms", room_type="direct", members=[ben.id])["id"])


def calling(enter_call: Enter, ann: Account, ben: Account, room: str) -> tuple[Person, Person]:
    """Ann in the chat, and Ben somewhere in the messenger."""
    one, two = enter_call(ann), enter_call(ben)
    one.open_room(room)
    return one, two


def test_two_see_each_other_from_peer_to_peer_until_one_hangs_up(
    enter_call: Enter, ann: Account, ben: Account, room: str
) -> None:
    one, two = calling(enter_call, ann, ben, room)
    one.click("call-video")
    one.shows("call-status", "Ringing")
    assert two.text("ring-name") == ann.username
    two.click("ring-answer-video")
    for person in (one, two):
        person.connected()
        assert person.via == "peer"
        person.one("call-secure")
    one.sees(f"{ben.id} camera")
    two.sees(f"{ann.id} camera")
    two.one("tile-quality")

    one.click("call-mute")
    two.one("tile-muted")
    one.click("call-camera")
    two.until(lambda: two.frames == {}, "the camera is off")
    one.click("call-camera")
    two.sees(f"{ann.id} camera")
    one.click("call-mute")
    two.gone("tile-muted")

    one.prepare_screen()
    one.click("call-screen")
    two.sees(f"{ann.id} camera", f"{ann.id} screen")
    one.click("call-screen")
    two.sees(f"{ann.id} camera")

    one.click("call-minimise")
    one.send("I write while I talk")
    one.click("call-return")
    two.click("call-hang-up")
    for person in (one, two):
        person.gone("call")
        found = person.rest_call()
        assert (found["state"], found["reason"], found["video"]) == ("ended", "hangup", True)
    one.until(lambda: any("Video call" in row for row in one.rows()), "the chat has a row of the call")
    one.click("menu")
    one.click("calls")
    one.shows("history-call", ben.username)


def test_ringing_stops_on_the_other_device_when_one_answers(
    enter_call: Enter, ann: Account, ben: Account, room: str
) -> None:
    one, phone = calling(enter_call, ann, ben, room)
    desk = enter_call(ben)
    one.click("call-voice")
    phone.one("ring")
    desk.click("ring-answer")
    desk.shows("toast", "this device can't do that")  # it is not linked, and the call is encrypted
    phone.click("ring-answer")
    desk.gone("ring")
    one.connected()
    phone.connected()
    assert not desk.all("call")
    one.click("call-hang-up")
    phone.gone("call")


def test_a_call_is_declined_is_cancelled_is_missed(enter_call: Enter, ann: Account, ben: Account, room: str) -> None:
    one, two = calling(enter_call, ann, ben, room)
    one.click("call-voice")
    two.click("ring-decline")
    one.shows("toast", "declined")
    one.gone("call")
    one.shows("call-row", "declined")

    one.click("call-again")
    two.one("ring")
    one.click("call-hang-up")
    two.gone("ring")
    two.shows("toast", "Missed call")

    one.click("call-voice")
    two.one("ring")
    two.gone("ring")  # nobody answers for as long as it rings
    one.shows("toast", "Nobody answered")
    one.gone("call")
    two.open_room(room)
    two.shows("call-row", "Missed voice call")
    outcomes = [(call["reason"], call["own_state"]) for call in two.rest("rtc/calls")["results"]]
    assert outcomes == [("missed", "missed"), ("hangup", "missed"), ("rejected", "rejected")]


def test_who_is_in_a_call_is_busy_for_others(
    enter_call: Enter, ann: Account, ben: Account, room: str, call_server: Server
) -> None:
    carol = Account(call_server)
    other = carol.post("rooms", room_type="direct", members=[ben.id])["id"]
    one, two = calling(enter_call, ann, ben, room)
    three = enter_call(carol)
    three.open_room(other)
    one.click("call-voice")
    two.click("ring-answer")
    one.connected()
    two.connected()
    three.click("call-voice")
    three.shows("toast", "is in another call")
    three.gone("call")
    assert not two.all("ring")
    assert two.call_state == "connected"


def test_who_is_blocked_is_out_at_once(enter_call: Enter, ann: Account, ben: Account, room: str) -> None:
    one, two = calling(enter_call, ann, ben, room)
    one.click("call-voice")
    two.click("ring-answer")
    one.connected()
    two.connected()
    for person in (one, two):
        person.allow_refusals("/api/e2ee/bundles/")  # what is asked for in this moment
    began = time.monotonic()
    ben.post("blocks", user_id=ann.id)
    one.until(lambda: not one.all("call"), "the call is over")
    assert time.monotonic() - began < 3  # half a second or so; a busy machine takes longer
    two.gone("call")


@pytest.mark.parametrize(
    ("exception", "code", "text"),
    [("NotAllowedError", "permission_denied", "are blocked"), ("NotFoundError", "no_device", "were found")],
)
def test_who_has_no_microphone_is_told_and_still_hears(
    enter_call: Enter, ann: Account, ben: Account, room: str, exception: str, code: str, text: str
) -> None:
    one, two = calling(enter_call, ann, ben, room)
    two.refuse_devices(exception)
    one.click("call-video")
    two.click("ring-answer-video")
    two.connected()
    two.shows("call-notice", text, source="microphone camera", code=code)
    one.one("tile-muted")  # Ben, who can't be heard
    two.sees(f"{ann.id} camera")
    assert one.frames == {}
