"""A group's call, as its people see it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.demo.calls.person import Person
from tests.support.client import Account
from tests.support.server import Server

pytestmark = pytest.mark.slow

Enter = Callable[[Account], Person]


def test_a_group_talks_and_who_joins_late_sees_who_is_muted_and_shares(enter_call: Enter, call_server: Server) -> None:
    ann, ben, carol = (Account(call_server) for _ in range(3))
    room = ann.room(ben, carol)
    one, two, three = (enter_call(account) for account in (ann, ben, carol))
    one.open_room(room)
    three.open_room(room)
    one.click("call-video")
    two.click("ring-answer-video")
    three.click("ring-decline")
    for person in (one, two):
        person.connected()
        assert person.via == "sfu"
        person.one("call-secure")
    one.sees(f"{ben.id} camera")
    two.sees(f"{ann.id} camera")
    one.click("call-mute")
    two.prepare_screen()
    two.click("call-screen")
    one.sees(f"{ben.id} camera", f"{ben.id} screen")

    three.shows("call-banner", "Call in progress")
    three.click("call-join")
    three.connected()
    three.sees(f"{ann.id} camera", f"{ben.id} camera", f"{ben.id} screen")
    three.one("tile-muted")
    muted = three.run(
        "return [...document.querySelectorAll('[data-testid=tile]')]"
        ".filter((one) => !one.querySelector('[data-testid=tile-muted]').hidden).map((one) => one.dataset.userId)"
    )
    assert muted == [ann.id]
    three.until(
        lambda: three.run("return !!document.querySelector(`.tile.speaking[data-user-id='${arguments[0]}']`)", ben.id),
        "who speaks is highlighted",
    )
    layout = three.run("return document.querySelector('[data-testid=call-tiles]').dataset.layout")
    assert layout == "spotlight"  # the screen is large
    two.click("call-screen")
    three.sees(f"{ann.id} camera", f"{ben.id} camera")

    began = time.monotonic()
    answer = ann.http.delete(f"/api/rooms/{room}/members/{carol.id}")
    assert answer.status_code < 300, answer.text
    three.until(lambda: not three.all("call"), "who was removed from the room is out of the call")
    assert time.monotonic() - began < 3  # half a second or so; a busy machine takes longer
    one.until(lambda: set(one.frames) == {f"{ben.id} camera"}, "and no longer there for the others")

    one.click("call-settings")
    assert [person.text for person in one.all("call-person", user_id=ben.id)]
    one.click("call-end-all")
    one.click("confirm-yes")
    for person in (one, two):
        person.gone("call")
        found = person.rest_call()
        assert (found["state"], found["reason"]) == ("ended", "hangup")
