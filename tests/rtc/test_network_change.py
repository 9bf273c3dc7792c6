"""A caller's machine gets another address in the middle of a call.

The machine is in two networks, as a telephone is in that of the house and that of the street, and the one that carries
the call goes away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.rtc.caller import Caller, last_statistics
from tests.rtc.namespace import Namespace
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

#: Sockets that belong to no network, so that the system's default route decides. With its other policy, a socket for
#: each network, Chromium notices that one is gone after two seconds only: so long its NetworkChangeNotifier waits on
#: Linux.
ROAMING = "--webrtc-ip-handling-policy=default_public_interface_only"
#: Notes every 20 ms whether another picture was decoded, until it is asked for.
WATCH = """
    const [id] = args;
    const marks = (window.lab.marks = []);
    let before = 0;
    window.lab.watch = setInterval(async () => {
      const report = await call.receiving.getStats(call.media.get(id));
      const { framesDecoded } = [...report.values()].find((one) => one.type === "inbound-rtp");
      if (framesDecoded > before) marks.push(performance.now());
      before = framesDecoded;
    }, 20);
"""
LONGEST = """
    const { marks } = window.lab;
    return Math.max(...marks.slice(1).map((mark, index) => mark - marks[index])) / 1000;
"""


def address(server: Server, caller: Caller, half: str) -> str:
    """Where the server sends to a caller at the moment."""
    return str(last_statistics(server)[caller.participant][half]["address"]).partition(":")[0]


@contextlib.contextmanager
def moving_machine() -> Iterator[Namespace]:
    """A machine with a network that changes."""
    made = Namespace().start()
    try:
        yield made
    finally:
        made.stop()


#: Changes of which one must go well: the machine itself may stand still for a moment.
ATTEMPTS = 3


def test_media_is_back_within_a_second() -> None:
    """In both directions, on the same DTLS session, with new ICE credentials."""
    longest: list[float] = []
    for _ in range(ATTEMPTS):
        longest.append(max(gaps_at_a_change()))
        if longest[-1] <= 1.0:
            break
    assert min(longest) <= 1.0, longest


def gaps_at_a_change() -> list[float]:
    """Seconds for which each of two people saw no new picture of the other, when one of them changed networks."""
    with (
        moving_machine() as namespace,
        databases.fresh("sqlite") as url,
        serving(url, LOG_LEVEL="DEBUG", MANA_RTC_ADDRESSES=namespace.host, MANA_RTC_ACCELERATION="true") as server,
    ):
        namespace.offers(server.port)
        accounts = [Account(server) for _ in range(2)]
        room = accounts[0].room(accounts[1])
        people: list[Caller] = []
        try:
            people.append(Caller(server, accounts[0], ROAMING, service=namespace.chromedriver()))
            people.append(Caller(server, accounts[1]))
            for one in people:
                one.join(room)
                one.publish(640, 360, audio=False)
            for one in people:
                one.sees(1, frames=30)
                one.do(WATCH, one.tracks(kind="video")[0]["id"])
            mobile, _ = people
            hands = server.log.count("is connected")
            assert hands >= 4
            (before,) = {address(server, mobile, half) for half in ("publish", "subscribe")}
            for one in people:
                one.do("window.lab.marks.splice(0, window.lab.marks.length - 1)")
            namespace.leave(before)
            mobile.do("await call.restart()")
            for one in people:
                count = len(one.do("return window.lab.marks"))
                one.until(
                    lambda one=one, count=count: len(one.do("return window.lab.marks")) > count + 30, "it goes on"
                )
            gaps = [float(one.do(LONGEST)) for one in people]
            assert server.log.count("is connected") == hands
            (after,) = {address(server, mobile, half) for half in ("publish", "subscribe")}
            assert {before, after} == {f"{network}.2" for network in namespace.networks}
        finally:
            errors = [error for one in people for error in one.browser.errors()]
            for one in people:
                one.close()
    assert not errors
    return gaps
