"""Rooms and messages that the twelve kinds of people act on: fresh ones as soon as somebody has changed something."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import count
from typing import Any

from tests.security.devices import Devices
from tests.security.people import CAME, KNOWN, People
from tests.support.client import Account

#: Said where only members hear it, after the banned one was banned.
SECRET = "the-treasure-is-below-the-oak"
#: Messages that everybody writes to the target before some of them are blocked.
DIRECT_MESSAGES = 20


class Scenes:
    """``names(kind)`` gives what the braces in a frame or an address stand for when somebody of a kind sends it."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._numbers = count()
        target = people.target
        self._direct = {kind: direct_room(one, target) for kind, one in people.accounts.items()}
        self._letters: dict[str, list[str]] = defaultdict(list)
        self._answers: dict[str, str] = {}
        for kind, one in people.accounts.items():
            for number in range(DIRECT_MESSAGES):
                self._letters[kind].append(one.post(f"rooms/{self._direct[kind]}/messages", payload=number)["id"])
            self._answers[kind] = target.post(f"rooms/{self._direct[kind]}/messages", payload="dear")["id"]
        other = Account(people.server)
        self._newcomer = Account(people.server).id
        self._foreign = direct_room(other, target)
        self._foreign_letter = target.post(f"rooms/{self._foreign}/messages", payload=SECRET)["id"]
        self._devices = Devices(people)
        people.block()
        self._scene: dict[str, Any] | None = None

    def used_up(self, kind: str) -> None:
        """Somebody changed something: the next one gets other rooms, and they another letter."""
        self._scene = None
        self._letters[kind].pop()

    def encrypted(self, kind: str) -> dict[str, Any]:
        """What ``Devices.names`` says, for those whose frames and bodies have keys or ciphertext."""
        return self._devices.names(kind)

    def names(self, kind: str) -> dict[str, str]:
        """What there is now. ``own`` is a message in the room that somebody wrote themselves, of those who were never
        in it the target's; ``letter`` and ``answer`` are theirs and the target's in their direct room."""
        if self._scene is None:
            self._scene = self._make()
        scene, account = self._scene, self._people[kind]
        known = kind if kind in KNOWN else "room owner"
        return {
            **scene["names"],
            "own": scene["written"].get(known, scene["names"]["message"]),
            "direct": self._direct[known],
            "letter": self._letters[known][-1],
            "answer": self._answers[known],
            "foreign": self._foreign,
            "foreign_letter": self._foreign_letter,
            "target": self._people.target.id,
            "newcomer": self._newcomer,
            "self": account.id,
            "own_token": account.access if kind in KNOWN else "nonsense",
            "target_token": self._people.target.access if kind in KNOWN else "nonsense",
            "number": str(next(self._numbers)),
        }

    def _make(self) -> dict[str, Any]:
        people, owner, target = self._people, self._people["room owner"], self._people.target
        members = [people[kind] for kind in CAME if kind != "room owner"]
        room = owner.room(*members, target)
        owner.http.patch(
            f"/api/rooms/{room}/members/{people['room moderator'].id}", json={"role": "moderator"}
        ).raise_for_status()
        written = {kind: people[kind].post(f"rooms/{room}/messages", payload="mine")["id"] for kind in CAME}
        public = owner.post("rooms", name="Public", is_private=False)["id"]
        channel = owner.room(*members, target, room_type="channel")
        for one in (room, public, channel):
            owner.post(f"rooms/{one}/bans", user_id=people["banned"].id)
        message = target.post(f"rooms/{room}/messages", payload=SECRET)
        file = owner.http.post("/api/attachments", files={"file": ("x.txt", SECRET.encode(), "text/plain")}).json()
        return {
            "names": {
                "room": room,
                "public": public,
                "channel": channel,
                "message": message["id"],
                "sequence": str(message["sequence"]),
                "file": file["id"],
            },
            "written": written,
        }


def direct_room(one: Account, other: Account) -> str:
    """The direct room of two people."""
    return str(one.post("rooms", room_type="direct", members=[other.id])["id"])


def filled(template: Any, names: Mapping[str, Any]) -> Any:
    """A template with names for braces: ``"{room}"``. A text that is nothing but a number's name becomes a number, one
    that is nothing but the name of a list or an object becomes that."""
    if isinstance(template, dict):
        return {filled(key, names): filled(value, names) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, names) for value in template]
    if not isinstance(template, str) or "{" not in template:
        return template
    whole = names.get(template[1:-1])
    if isinstance(whole, dict | list):
        return whole
    text = template.format_map(names)
    return int(text) if template == "{sequence}" else text
