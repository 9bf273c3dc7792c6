"""What the twelve kinds of people have beside accounts: a device with keys each, and the target's calls."""

from __future__ import annotations

import base64
from types import TracebackType
from typing import Any

from mana_e2ee.core import DeviceList
from tests.e2ee_server.clients import Person, b64, keys_of
from tests.faults.processes import scripts
from tests.security.people import INSIDE, KNOWN, People

#: The id of everybody's one device.
PHONE = "phone"


class Devices:
    """A phone of everybody's, which knows those of the target and of the members. Made before anybody is blocked."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._target = Person(people.target, PHONE)
        self._known = {kind: Person(people[kind], PHONE) for kind in KNOWN}
        self._keys = {
            kind: keys_of(one.phones[0].device.publish_bundle(one_time=0)) for kind, one in self._known.items()
        }
        self._lists = {kind: following(one) for kind, one in self._known.items()}
        for kind, one in self._known.items():
            others = [self._known[inside] for inside in INSIDE if inside != kind]
            one.phones[0].claim(self._target, *others)

    def names(self, kind: str) -> dict[str, Any]:
        """``keys`` are somebody's own as they are published, ``target_keys`` the target's; ``refill`` is fresh.

        ``sealed`` is a new ciphertext for the target; ``sealed_all`` are those for everybody in the room.
        """
        known = kind if kind in KNOWN else "room owner"
        person, members = self._known[known], [self._known[inside] for inside in INSIDE]
        phone, target = person.phones[0], self._target.phones[0]
        sealed = phone.sealed("dear", target)
        others = [one.phones[0] for one in members if one is not person]
        return {
            "keys": self._keys[known],
            "target_keys": keys_of(target.device.publish_bundle(one_time=0)),
            "refill": [b64(key.to_bytes()) for key in phone.device.publish_bundle(one_time=1).one_time],
            "device_list": self._lists[known],
            "sealed": sealed[self._people.target.id][PHONE],
            "sealed_all": {**sealed, **phone.sealed("all", *others)},
            "epochs": {one.account.id: 1 for one in (self._target, *members)},
            "epochs_of_two": {self._people.target.id: 1, person.account.id: 1},
        }


class Calls:
    """The target's calls, which they start in a process of the project."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._scripts = scripts(people.server.database_url)

    def __enter__(self) -> Calls:
        self._script = self._scripts.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scripts.__exit__(kind, error, traceback)

    def start(self, room: str) -> str:
        """The id of a new call that rings at everybody in a room."""
        return self._script.run(call, room, self._people.target.id)

    def over(self, kind: str) -> None:
        """What the target has started, or somebody of a kind, is over."""
        for one in (self._people.target, self._people[kind]):
            for live in one.get("rtc/calls", live=True)["results"]:
                if live["outgoing"]:
                    one.post(f"rtc/calls/{live['id']}/end", everybody=True)


def call(room: str, user: str) -> str:
    """In a process of the project: the user calls the room."""
    from django.contrib.auth.models import User

    from mana_rtc import services
    from tests.security.scenes import SECRET

    return str(services.start(room, User.objects.get(pk=user), payload={"audio": True, "about": SECRET}).key)


def following(person: Person) -> str:
    """Somebody's next device list, which they have not published."""
    assert person.list is not None
    following: DeviceList = person.list.next(person.key, [phone.device.record for phone in person.phones])
    return base64.b64encode(following.to_bytes()).decode()
