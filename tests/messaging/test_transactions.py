"""Services inside the caller's own transaction: with it or not at all, and told of after it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.faults import audit
from tests.faults.processes import Scripts, all_at_once, is_over, scripts
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@dataclass
class Project:
    """A server and two task workers on one database."""

    url: str
    server: Server
    workers: Scripts

    def people(self, count: int = 2) -> list[Account]:
        """New accounts."""
        return [Account(self.server) for _ in range(count)]


@pytest.fixture(params=databases.KINDS, scope="module")
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    with databases.fresh(request.param) as url, serving(url) as server, scripts(url, 2) as workers:
        yield Project(url, server, workers)


without_sqlite = pytest.mark.parametrize("project", ["postgres", "mariadb"], indirect=True)


async def test_a_rolled_back_message_is_neither_stored_nor_announced(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with bob.socket() as b:
        await in_worker(project, send_in_transaction, room, alice.id, "never", "roll back")
        await in_worker(project, send_in_transaction, room, alice.id, "next")
        message = await b.expect("message")
        kept = await b.silence()
    assert (message["payload"], message["index"]) == ("next", 2)
    assert not [frame for frame in kept if frame["type"] == "message"]
    assert [one["payload"] for one in bob.get(f"rooms/{room}/messages")["results"] if one["type"] == "message"] == [
        "next"
    ]
    assert await in_worker(project, business_rows, room) == ["next"]


async def test_a_committed_message_is_announced_after_the_commit_and_has_its_place(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with bob.socket() as b:
        project.workers.begin()
        holding = project.workers.start(send_and_hold, room, alice.id, "at last")
        await in_worker(project, all_at_once)
        assert not [frame for frame in await b.silence() if frame["type"] == "message"]
        project.workers.end()
        before, after = await asyncio.wrap_future(holding)
        message = await b.expect("message")
    assert before == [None, None]
    assert after == [message["sequence"], message["index"]]
    assert message["payload"] == "at last"
    assert await in_worker(project, business_rows, room) == ["at last"]


@without_sqlite
async def test_an_open_transaction_holds_nobody_up(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        project.workers.begin()
        holding = project.workers.start(send_and_hold, room, alice.id, "later")
        await in_worker(project, all_at_once)
        try:
            await b.request("message", room_id=room, payload="sooner")
        finally:
            project.workers.end()
            await asyncio.wrap_future(holding)
        assert [(await a.expect("message"))["payload"] for _ in range(2)] == ["sooner", "later"]


async def test_savepoints_decide_message_by_message(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with bob.socket() as b:
        await in_worker(project, send_around_savepoints, room, alice.id)
        payloads = [(await b.expect("message"))["payload"] for _ in range(3)]
        kept = await b.silence()
    assert payloads == ["before", "kept", "after"]
    assert not [frame for frame in kept if frame["type"] == "message"]


async def test_an_ack_id_counts_once_within_and_across_transactions(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    ids = await in_worker(project, send_twice_in_transaction, room, alice.id)
    again = alice.post(f"rooms/{room}/messages", payload="again", ack_id="mine")
    assert len(ids) == 1
    assert [again["id"]] == ids
    assert again["payload"] == "first"


async def test_two_open_transactions_with_one_ack_id_store_one_message(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    project.workers.begin()
    holding = project.workers.start(send_and_hold, room, alice.id, "one", "the same")
    await in_worker(project, all_at_once)
    second = project.workers.start(send_in_transaction, room, alice.id, "other", "", "the same")
    with pytest.raises(TimeoutError):  # it waits to learn what becomes of the first
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(second)), 0.5)
    project.workers.end()
    await asyncio.wrap_future(holding)
    assert await asyncio.wrap_future(second) == "one"


async def test_a_refusal_leaves_the_transaction_usable(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room()
    assert await in_worker(project, send_where_one_is_not_a_member, room, bob.id) == "not_found"
    assert await in_worker(project, business_rows, room) == ["without the message"]


async def test_a_crash_between_commit_and_place_is_healed_by_a_node(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with bob.socket() as b:
        with scripts(project.url) as doomed, pytest.raises(BrokenProcessPool):
            doomed.run(send_and_crash, room, alice.id, "out of the ashes")
        message = await b.expect("message")
        await in_worker(project, send_in_transaction, room, alice.id, "next")
        following = await b.expect("message")
    assert message["payload"] == "out of the ashes"
    assert (message["index"], following["index"]) == (2, 3)


async def test_who_joins_in_a_transaction_is_in_from_that_event_on(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(is_private=False)
    alice.post(f"rooms/{room}/messages", payload="before")
    async with alice.socket() as a, bob.socket() as b:
        await in_worker(project, join_in_transaction, room, bob.id, "roll back")
        assert (await b.refusal("history", room_id=room))["code"] == "not_a_member"
        await in_worker(project, join_in_transaction, room, bob.id)
        live = [await b.expect("room"), await b.expect("message")]
        seen = [await a.expect("room"), await a.expect("message")]
        sync = await synced(b)
        await b.send("history", room_id=room)
        history = (await b.expect("history"))["messages"]
    assert [event["index"] for event in live] == [3, 4]
    assert live[0]["action"] == "joined"
    assert live[1]["payload"] == "hello"
    assert seen == live
    assert sync == history
    assert [event["sequence"] for event in sync] == [event["sequence"] for event in live]


async def test_who_leaves_in_a_transaction_is_out_after_that_event(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with bob.socket() as b:
        await in_worker(project, leave_in_transaction, room, bob.id, "roll back")
        alice.post(f"rooms/{room}/messages", payload="still here")
        assert (await b.expect("message"))["payload"] == "still here"
        await in_worker(project, leave_in_transaction, room, bob.id)
        left = await b.expect("room", action="left")
        alice.post(f"rooms/{room}/messages", payload="without bob")
        kept = await b.silence()
        sync = await synced(b)
        await b.send("history", room_id=room)
        history = (await b.expect("history"))["messages"]
    assert not [frame for frame in kept if frame["type"] == "message"]
    assert [event["index"] for event in sync] == [1, 2, left["index"]] == [1, 2, 3]
    assert history == sync


async def test_a_room_made_in_a_transaction_arrives_with_its_first_message(project: Project) -> None:
    alice, bob = project.people()
    async with bob.socket() as b:
        key = uuid4().hex
        await in_worker(project, create_in_transaction, key, alice.id, bob.id, "roll back")
        await in_worker(project, create_in_transaction, key, alice.id, bob.id)
        created, message = await b.expect("room"), await b.expect("message")
        await b.request("message", room_id=key, payload="thanks")
    assert (created["action"], created["room_id"], created["index"]) == ("created", key, 1)
    assert (message["room_id"], message["index"]) == (key, 2)


async def test_signals_come_once_and_after_the_commit(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(is_private=False)
    heard = await in_worker(project, listen_to_transactions, room, alice.id, bob.id)
    assert heard == [
        ("user_joined", bob.username, "committed"),
        ("message_stored", "committed message", "committed"),
        ("message_sent", "committed message", "committed"),
    ]


async def test_a_failing_receiver_fails_no_message(project: Project) -> None:
    alice, bob = project.people()
    room = alice.room(bob)
    async with bob.socket() as b:
        assert await in_worker(project, send_past_a_failing_receiver, room, alice.id) == ["heard", "heard"]
        while (await b.expect("message"))["payload"] != "with others":
            pass


async def test_all_is_well_in_the_end(project: Project) -> None:
    assert await in_worker(project, audit.problems) == []


@pytest.mark.parametrize("order", ["join then leave", "leave then join"])
def test_a_change_after_one_that_has_no_place_yet_wins(order: str) -> None:
    """A crash left a change of membership without a place; before a node finds it, the user changes their mind."""
    with databases.fresh("sqlite") as url, scripts(url) as process:
        member, reads_to_the_end, problems = process.run(change_ones_mind, order)
    assert member == reads_to_the_end == (order == "leave then join")
    assert problems == []


# -- Helpers -----------------------------------------------------------------------------------------------------------


async def in_worker(project: Project, function: Any, *arguments: Any) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(project.workers.start(function, *arguments)), 60)


async def synced(socket: Any) -> list[dict[str, Any]]:
    await socket.send("sync_request", cursor=0)
    batch = await socket.expect("message_sync")
    assert not batch["has_more"]
    return list(batch["messages"])


# -- In the workers ----------------------------------------------------------------------------------------------------


class RollBack(Exception):
    """Ends a transaction that is not to be committed."""


def _end(how: str) -> None:
    if how == "roll back":
        raise RollBack


def _user(pk: str) -> Any:
    from django.contrib.auth.models import User

    return User.objects.get(pk=pk)


def _business_row(room: str, text: str) -> None:
    from django.contrib.auth.models import Group

    Group.objects.create(name=f"{room} {text}")


def business_rows(room: str) -> list[str]:
    from django.contrib.auth.models import Group

    names = Group.objects.filter(name__startswith=room).order_by("pk").values_list("name", flat=True)
    return [name.removeprefix(f"{room} ") for name in names]


def send_in_transaction(room: str, user: str, text: str, end: str = "", ack_id: str | None = None) -> str:
    from contextlib import suppress

    from django.db import transaction

    from mana.messaging import services

    event = None
    with suppress(RollBack), transaction.atomic():
        _business_row(room, text)
        event = services.send(room, _user(user), text, ack_id=ack_id)
        _end(end)
    return str(event.payload) if event is not None else ""


def send_and_hold(room: str, user: str, text: str, ack_id: str | None = None) -> tuple[list[Any], list[Any]]:
    """Its place while the transaction is open, which it is from the meeting to the end, and its place afterwards."""
    from django.db import transaction

    from mana.messaging import services

    with transaction.atomic():
        _business_row(room, text)
        event = services.send(room, _user(user), text, ack_id=ack_id)
        before = [event.sequence, event.index]
        all_at_once()
        assert is_over(wait=30)
    return before, [event.sequence, event.index]


def send_around_savepoints(room: str, user: str) -> None:
    from contextlib import suppress

    from django.db import transaction

    from mana.messaging import services

    sender = _user(user)
    with transaction.atomic():
        services.send(room, sender, "before")
        with suppress(RollBack), transaction.atomic():
            services.send(room, sender, "taken back")
            raise RollBack
        with transaction.atomic():
            services.send(room, sender, "kept")
        services.send(room, sender, "after")
    with suppress(RollBack), transaction.atomic():
        with transaction.atomic():
            services.send(room, sender, "kept inside, lost outside")
        raise RollBack


def send_twice_in_transaction(room: str, user: str) -> list[str]:
    from django.db import transaction

    from mana.messaging import services

    with transaction.atomic():
        first = services.send(room, _user(user), "first", ack_id="mine")
        second = services.send(room, _user(user), "second", ack_id="mine")
    third = services.send(room, _user(user), "third", ack_id="mine")
    return list({str(event.pk) for event in (first, second, third)})


def send_where_one_is_not_a_member(room: str, user: str) -> str:
    from django.db import transaction

    from mana.messaging import services
    from mana.protocol import ManaError

    code = ""
    with transaction.atomic():
        try:
            services.send(room, _user(user), "let me in")
        except ManaError as error:
            code = str(error.code.value)
        _business_row(room, "without the message")
    return code


def send_and_crash(room: str, user: str, text: str) -> None:
    import os

    from django.db import transaction

    from mana.messaging import services

    with transaction.atomic():
        transaction.on_commit(lambda: os._exit(9))
        services.send(room, _user(user), text)


def join_in_transaction(room: str, user: str, end: str = "") -> None:
    from contextlib import suppress

    from django.db import transaction

    from mana.messaging import services

    with suppress(RollBack), transaction.atomic():
        services.join(room, _user(user))
        services.send(room, _user(user), "hello")
        _end(end)


def leave_in_transaction(room: str, user: str, end: str = "") -> None:
    from contextlib import suppress

    from django.db import transaction

    from mana.messaging import services

    with suppress(RollBack), transaction.atomic():
        services.leave(room, _user(user))
        _end(end)


def create_in_transaction(key: str, owner: str, member: str, end: str = "") -> None:
    from contextlib import suppress

    from django.db import transaction

    from mana.messaging import services

    with suppress(RollBack), transaction.atomic():
        room = services.create_room(_user(owner), key=key, members=[_user(member)]).room
        services.send(room, _user(owner), "welcome")
        _end(end)


def listen_to_transactions(room: str, member: str, newcomer: str) -> list[tuple[str, str, str]]:
    """What was heard of a rolled-back and of a committed transaction: signal, subject, state of the transaction."""
    from contextlib import ExitStack, suppress

    from django.db import connection, transaction

    from mana import signals
    from mana.messaging import services

    heard: list[tuple[str, str, str]] = []

    def hear(name: str) -> Any:
        def receiver(**said: Any) -> None:
            subject = said["user"].username if "user" in said else said["message"].payload
            heard.append((name, subject, "open" if connection.in_atomic_block else "committed"))

        return receiver

    with ExitStack() as stack:
        for name in ("message_stored", "message_sent", "user_joined"):
            signal, receiver = getattr(signals, name), hear(name)
            signal.connect(receiver)
            stack.callback(signal.disconnect, receiver)
        for end in ("roll back", ""):
            with suppress(RollBack), transaction.atomic():
                services.join(room, _user(newcomer))
                services.send(room, _user(member), f"{'rolled back' if end else 'committed'} message")
                assert heard == []
                _end(end)
    return heard


def send_past_a_failing_receiver(room: str, user: str) -> list[str]:
    from contextlib import nullcontext

    from django.db import transaction

    from mana import signals
    from mana.messaging import services

    heard = []

    def fail(**said: Any) -> None:
        raise LookupError("This receiver always fails.")

    def hear(**said: Any) -> None:
        heard.append("heard")

    for receiver in (fail, hear):
        signals.message_stored.connect(receiver)
    try:
        # Who gives a message its place tells; on a busy machine that is a node now and then, which then hears alone.
        for text, way in (("alone", nullcontext), ("with others", transaction.atomic)):
            told = len(heard)
            for _ in range(10):
                with way():
                    services.send(room, _user(user), text)
                if len(heard) > told:
                    break
    finally:
        for receiver in (fail, hear):
            signals.message_stored.disconnect(receiver)
    return heard


def change_ones_mind(order: str) -> tuple[bool, bool, list[str]]:
    """Whether a user is a member, whether they may read what is written now, and what is wrong."""
    from contextlib import suppress

    from django.contrib.auth.models import User
    from django.db import transaction

    from mana.messaging import services
    from mana.messaging.models import Membership
    from mana.messaging.sequencer import sequence_pending

    owner, user = (User.objects.create(username=name) for name in ("owner", "user"))
    room = services.create_room(owner, is_private=False).room
    acts = {"join": services.join, "leave": services.leave}
    unfinished, final = order.split(" then ")
    if unfinished == "leave":
        services.join(room.key, user)

    def crash() -> None:
        raise RollBack

    with suppress(RollBack), transaction.atomic():
        transaction.on_commit(crash)  # what follows the commit does not happen
        acts[unfinished](room.key, user)
    acts[final](room.key, user)
    sequence_pending()
    last = services.send(room, owner, "now")
    row = Membership.objects.get(room=room, user=user)
    seen = services.sync(user, 0).cursor
    return row.state == Membership.State.JOINED, seen == last.sequence, audit.problems()
