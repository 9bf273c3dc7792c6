"""A person with the browser client of calls (mana_rtc/calls.js), on the lab's page."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.rtc.caller import Caller

SMALL = {"width": 320, "height": 180, "frameRate": 10}
_INBOUND = """
const found = {};
for (const peer of lab.last?.peers ?? []) {
  for (const one of (await peer.getStats()).values()) {
    if (one.type !== "inbound-rtp") continue;
    const { framesDecoded = 0, packetsReceived = 0, frameHeight = 0 } = one;
    const counted = { framesDecoded, packetsReceived, frameHeight };
    for (const member of lab.last.members.values())
      for (const [source, track] of Object.entries(member.media))
        if (track.id === one.trackIdentifier) found[`${member.user_id} ${source}`] = counted;
  }
}
return found;
"""
#: Notes for how long each picture of the others has stood still at most, by looking ten times a second.
_WATCH = """
const inbound = async () => { INBOUND };
const watch = (lab.watch = { moved: {}, frames: {}, longest: {} });
const look = async () => {
  const now = performance.now();
  const found = await inbound();
  for (const [picture, moved] of Object.entries(watch.moved))
    watch.longest[picture] = Math.max(watch.longest[picture], now - moved);
  for (const [picture, { framesDecoded }] of Object.entries(found)) {
    if (!picture.endsWith("camera") || framesDecoded === watch.frames[picture] || !framesDecoded) continue;
    watch.frames[picture] = framesDecoded;
    watch.moved[picture] = now;
    watch.longest[picture] ??= 0;
  }
  if (lab.watch === watch) setTimeout(look, 100);
};
await look();
"""


def room_of(talkers: list[Talker]) -> str:
    """A group of them."""
    accounts = [one.caller.account for one in talkers]
    return accounts[0].room(*accounts[1:])


def talk_with_a_latecomer(people: list[Talker]) -> str:
    """A call of three in a group of theirs: the second is muted before the third comes, who sees it. The room."""
    alice, bob, carol = people
    room = room_of(people)
    alice.start(room_id=room)
    bob.answer()
    bob.do("await lab.calls.current.setMicrophone(false)")
    carol.answer()
    for one in people:
        one.sees(*(other for other in people if other is not one))
    assert carol.do("return lab.last.members.get(args[0]).muted", bob.id) is True
    return room


class Talker:
    """Drives a ``Caller``'s page."""

    def __init__(self, caller: Caller, **options: Any) -> None:
        self.caller = caller
        self.id = caller.account.id
        caller.do("await lab.useCalls(args[0])", {"video": SMALL, **options})

    def do(self, script: str, *arguments: Any) -> Any:
        """The result of an async function's body in the page."""
        return self.caller.do(script, *arguments)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """Waits until something is so; its value."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"Not in {seconds} s: {what}\n{self.state} {self.inbound()}")
            time.sleep(0.05)

    def start(self, **what: Any) -> None:
        """Calls somebody or a room."""
        self.do("await lab.calls.start({ video: true, ...args[0] })", what)

    def answer(self) -> None:
        """Answers what rings, with video."""
        self.until(lambda: self.do("return lab.calls.ringing.size"), "it rings")
        self.do("await [...lab.calls.ringing.values()][0].answer({ video: true })")

    def hang_up(self) -> None:
        """Leaves the call."""
        self.do("await lab.calls.current.hangUp()")

    @property
    def state(self) -> dict[str, Any]:
        """State, path and reason of the last call."""
        return dict(
            self.do(
                "const { state, via, reason, online, id } = lab.last ?? {}; return { state, via, reason, online, id }"
            )
        )

    def inbound(self) -> dict[str, dict[str, int]]:
        """What is received, by user and source."""
        return dict(self.do(_INBOUND))

    def frames(self, picture: str) -> int:
        """How many frames of a picture ("<user id> camera") were decoded."""
        return self.inbound().get(picture, {}).get("framesDecoded", 0)

    def sees(self, *others: Talker, more: int = 10, seconds: float = 30) -> None:
        """Waits until the pictures of others move."""
        before = {other.id: self.frames(f"{other.id} camera") for other in others}

        def moved() -> bool:
            # Connections that were made anew count from 0.
            now = {one: self.frames(f"{one} camera") for one in before}
            return all(now[one] >= (before[one] if now[one] >= before[one] else 0) + more for one in before)

        self.until(moved, f"{len(others)} pictures move", seconds)

    def watch(self) -> None:
        """From now on it is noted for how long pictures stand still."""
        self.do(_WATCH.replace("INBOUND", _INBOUND))

    def longest_stop(self) -> float:
        """Seconds for which a picture of the others stood still at most, since ``watch``."""
        return float(max(self.do("return Object.values(lab.watch.longest)"))) / 1000

    def ended(self, reason: str) -> None:
        """Waits until the call is over, for a reason."""
        self.until(lambda: self.state["state"] == "ended", "the call is over")
        assert self.state["reason"] == reason


Talkers = Callable[..., list[Talker]]
