"""Two transactions of an application that bring the same person into a room, on every database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction

from mana import accounts
from mana.messaging import services
from mana.messaging.models import Membership, Message, Room
from mana.protocol import ManaError

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


class Scene:
    """A room of ann's, and bob, who is not in it."""

    def __init__(self) -> None:
        self.ann, self.bob = (accounts.register(username=name, password="a-long-one-7") for name in ("ann", "bob"))
        self.room = services.create_room(self.ann, name="Kitchen", is_private=False).room
        services.send(self.room, self.ann, "before")

    def bob_in_room(self) -> Membership:
        """Bob's row."""
        return Membership.objects.get(room=self.room, user=self.bob)


@pytest.fixture
def scene() -> Scene:
    """A fresh one."""
    return Scene()


def _while_another_waits(first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
    """Runs ``first`` in a transaction that commits only after another one has begun ``second``; what went wrong."""
    began, problems = threading.Event(), []

    def other() -> None:
        try:
            with transaction.atomic():
                if connection.vendor != "sqlite":  # which lets only one write, from the beginning on
                    Room.objects.count()  # what REPEATABLE READ sees from now on has nothing of the first
                began.set()
                second()
        except Exception as error:
            problems.append(error)
        finally:
            began.set()
            connections.close_all()

    with transaction.atomic():
        first()
        thread = threading.Thread(target=other)
        thread.start()
        if connection.vendor != "sqlite":
            assert began.wait(20)
    thread.join(60)
    assert not thread.is_alive()
    return problems


@pytest.mark.parametrize("came", ["never", "left"])
@pytest.mark.parametrize("way", ["add", "join", "link"])
def test_who_is_brought_in_twice_at_once_is_in_once(scene: Scene, came: str, way: str) -> None:
    if came == "left":
        services.join(scene.room.key, scene.bob)
        services.leave(scene.room.key, scene.bob)
    link = services.create_invite(scene.room.key, scene.ann).token
    ways: dict[str, Callable[[], Any]] = {
        "add": lambda: services.add_members(scene.room.key, scene.ann, [scene.bob]),
        "join": lambda: services.join(scene.room.key, scene.bob),
        "link": lambda: services.accept_invite(link, scene.bob),
    }
    assert _while_another_waits(ways["add"], ways[way]) == []
    row = scene.bob_in_room()
    assert (row.state, row.last_index) == ("joined", None)
    joined = Message.objects.filter(room=scene.room, payload_json__contains='"joined"').order_by("index").last()
    assert joined is not None
    assert row.first_index == joined.index
    assert Room.objects.get(pk=scene.room.pk).member_count == 2
    services.send(scene.room.key, scene.bob, "hello")
    assert services.history(scene.room.key, scene.bob).indexes[0] == row.first_index


def test_invitations_and_bans_at_once_do_not_fail_each_other(scene: Scene) -> None:
    def invite() -> None:
        services.invite(scene.room.key, scene.ann, [scene.bob])

    def ban() -> None:
        services.ban(scene.room.key, scene.ann, scene.bob)

    assert _while_another_waits(invite, invite) == []
    assert scene.bob_in_room().state == "invited"
    assert _while_another_waits(ban, ban) == []
    assert scene.bob_in_room().state == "banned"


def test_who_was_banned_meanwhile_does_not_get_in(scene: Scene) -> None:
    problems = _while_another_waits(
        lambda: services.ban(scene.room.key, scene.ann, scene.bob),
        lambda: services.join(scene.room.key, scene.bob),
    )
    assert [type(problem) for problem in problems] == [ManaError]
    assert scene.bob_in_room().state == "banned"


def test_two_transactions_let_many_in_without_waiting_for_each_other_for_ever(scene: Scene) -> None:
    people = [accounts.register(username=f"person{number}", password="a-long-one-7") for number in range(6)]
    problems = _while_another_waits(
        lambda: services.add_members(scene.room.key, scene.ann, people),
        lambda: services.add_members(scene.room.key, scene.ann, people[::-1]),
    )
    assert problems == []
    assert Room.objects.get(pk=scene.room.pk).member_count == 7
