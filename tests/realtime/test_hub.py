"""The hub puts events in their one order, whatever way they come, and lets nobody slow it down."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest
from django.db import OperationalError

from mana.protocol import ErrorCode
from mana.realtime import credentials, source, stores
from mana.realtime import hub as hubs
from mana.realtime.announcements import Announcement, Revoked
from mana.realtime.consumer import ManaConsumer
from mana.realtime.credentials import Credential
from mana.realtime.hub import Hub
from mana.realtime.identity import Handshake, Identity
from mana.realtime.models import Revocation
from mana.realtime.session import ARRAY_BYTES, Session
from mana.realtime.source import Subscription

GAP_TIMEOUT = 0.05
BUDGET = 4096


class FakeSource:
    """Stands in for the database: what is committed, and who is in which room."""

    def __init__(self) -> None:
        self.events: dict[int, Announcement] = {}
        self.members: dict[str, list[Subscription]] = {}
        self.unfinished: list[Announcement] = []
        self.latest = 0
        self.reads: list[tuple[int, int]] = []
        self.failures = 0
        self.reading = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        # What the accounts would say.
        self.ended: set[str] = set()
        self.hints: list[Revocation] = []
        self.disabled: list[str] = []
        self.failing_verifications = 0
        self.verifications = 0
        self.verifying_may_end = threading.Event()
        self.verifying_may_end.set()

    def ended_credentials(self, credentials: Sequence[Credential]) -> dict[int, int]:
        self.verifications += 1
        assert self.verifying_may_end.wait(10)
        if self.failing_verifications:
            self.failing_verifications -= 1
            raise ConnectionError("The database is away.")
        return {place: 4009 for place, one in enumerate(credentials) if one.identity.sign_in_id in self.ended}

    async def verified(self, times: int) -> None:
        async with asyncio.timeout(10):
            while self.verifications < times:
                await asyncio.sleep(0.01)

    def latest_sequence(self) -> int:
        return max(self.events, default=self.latest)

    def events_between(self, first: int, last: int) -> list[Announcement]:
        self.reads.append((first, last))
        if self.failures:
            self.failures -= 1
            raise ConnectionError("The database is away.")
        return [self.events[number] for number in range(first, last + 1) if number in self.events]

    def subscriptions(self, user_pk: Any, device_id: str | None) -> list[Subscription]:
        found = list(self.members.get(str(user_pk), ()))
        self.reading.set()
        assert self.may_answer.wait(10)
        return found

    def presences(self, user_pks: Iterable[Any]) -> list[Any]:
        return []

    def recover(self) -> list[Announcement]:
        found, self.unfinished = self.unfinished, []
        return found


class NoPresence:
    """Presence is not what is tested here."""

    async def run(self) -> None: ...
    async def stop(self) -> None: ...
    def came(self, session: Session) -> None: ...
    def went(self, session: Session) -> None: ...


class Peer:
    """The server's side of a socket: what was written to it, and whether it takes more."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closed: int | None = None
        self.takes = asyncio.Event()
        self.takes.set()
        self.breaks = False
        self._changed = asyncio.Event()

    async def send(self, event: dict[str, Any]) -> None:
        if self.breaks:
            raise ConnectionResetError
        if event["type"] != "websocket.close":
            await self.takes.wait()
        if "text" in event:
            self.texts.append(event["text"])
        elif event["type"] == "websocket.close":
            self.closed = event["code"]
        self._changed.set()

    @property
    def frames(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for text in self.texts:
            frame = json.loads(text)
            found += frame if isinstance(frame, list) else [frame]
        return found

    @property
    def sequences(self) -> list[int]:
        return [frame["sequence"] for frame in self.frames if "sequence" in frame]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def fake(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterable[FakeSource]:
    settings.MANA = {"GAP_TIMEOUT": GAP_TIMEOUT, "REPAIR_INTERVAL": 0.1, "SESSION_BUFFER_BYTES": BUDGET}
    settings.MANA["REVOCATION_INTERVAL"] = 0.1
    before, made = source._source, FakeSource()
    source.register(made)
    monkeypatch.setattr(credentials, "_verifier", made.ended_credentials)
    monkeypatch.setattr(stores, "recent_revocations", lambda seconds: list(made.hints))
    monkeypatch.setattr(stores, "sessions_of_disabled_users", lambda node_id: list(made.disabled))
    monkeypatch.setattr(stores, "forget_revocations", lambda seconds: None)
    yield made
    source._source = before


@pytest.fixture
async def hub(fake: FakeSource) -> AsyncIterator[Hub]:
    made = hubs.current()
    made.presence = NoPresence()  # type: ignore[assignment]
    await made.start()
    yield made
    await made.stop()


async def enter(
    hub: Hub, user: str, *rooms: str, arrays: bool = False, since: int = 0, sign_in: str | None = None
) -> tuple[Session, Peer]:
    """A session of a member of rooms, and its peer."""
    peer = Peer()
    identity = Identity(user, user, user, sign_in_id=sign_in)
    session = Session(hub, identity, None, peer.send, arrays=arrays)
    fake = source.get()
    assert isinstance(fake, FakeSource)
    fake.members[user] = [Subscription(room, since) for room in rooms]
    await hub.add(session)
    return session, peer


def event(sequence: int, room: str = "room", text: str = "", **details: Any) -> Announcement:
    return Announcement(sequence, room, json.dumps({"sequence": sequence, "room": room, "text": text}), **details)


async def turn() -> None:
    """Lets the hub's flush of this turn of the event loop happen."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


# -- Order -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
async def test_events_arrive_once_and_in_order_however_they_come(hub: Hub, seed: int) -> None:
    _, peer = await enter(hub, "ann", "room")
    shuffled = [event(number) for number in range(1, 101)] * 3
    random.Random(seed).shuffle(shuffled)
    for start in range(0, len(shuffled), 7):
        hub.receive(shuffled[start : start + 7])
        await turn()
    await peer.until(lambda: len(peer.sequences) >= 100)
    assert peer.sequences == list(range(1, 101))


async def test_what_is_a_moment_late_is_waited_for(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", "room")
    hub.receive([event(2), event(3)])
    await turn()
    assert peer.frames == []
    hub.receive([event(1)])
    await turn()
    assert peer.sequences == [1, 2, 3]
    assert fake.reads == []


async def test_a_gap_is_read_from_the_database(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", "room")
    fake.events = {number: event(number) for number in range(1, 1301)}
    hub.receive([event(1), event(1300)])
    await turn()
    assert peer.sequences == [1]
    await peer.until(lambda: 1300 in peer.sequences)
    assert peer.sequences == list(range(1, 1301))


async def test_events_that_nobody_announced_are_found(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", "room")
    fake.events = {1: event(1), 2: event(2)}
    await peer.until(lambda: len(peer.sequences) == 2)
    assert peer.sequences == [1, 2]


async def test_what_a_crash_left_unfinished_is_announced(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", "room")
    fake.events = {1: event(1)}
    fake.unfinished = [event(1)]
    await peer.until(lambda: peer.sequences)
    await turn()
    assert peer.sequences == [1]


async def test_a_database_that_is_away_is_asked_again(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", "room")
    fake.failures = 2
    fake.events = {number: event(number) for number in (1, 2, 3)}
    hub.receive([event(3)])
    await peer.until(lambda: len(peer.sequences) == 3)
    assert peer.sequences == [1, 2, 3]


async def test_an_event_that_was_deleted_stops_nothing(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", "room")
    fake.events = {number: event(number) for number in (1, 3, 6)}
    hub.receive([event(1), event(6)])
    await peer.until(lambda: 6 in peer.sequences)
    hub.receive([event(7)])
    await turn()
    assert peer.sequences == [1, 3, 6, 7]


async def test_a_hub_that_starts_late_begins_where_the_database_stands(fake: FakeSource) -> None:
    fake.latest = 41
    hub = hubs.current()
    hub.presence = NoPresence()  # type: ignore[assignment]
    hub.receive([event(42), event(40)])  # it came while the hub was still starting
    await hub.start()
    try:
        _, peer = await enter(hub, "ann", "room")
        hub.receive([event(41), event(43)])
        await turn()
        assert peer.sequences == [43]
    finally:
        await hub.stop()


async def test_a_hub_that_could_not_start_starts_once(fake: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, asked = hubs.current(), []

    def latest() -> int:
        asked.append(True)
        if len(asked) < 3:
            raise OperationalError("too many clients")
        return 41

    monkeypatch.setattr(hub, "presence", NoPresence())
    monkeypatch.setattr(fake, "latest_sequence", latest)
    try:
        for _ in range(2):
            with pytest.raises(OperationalError):
                await hub.start()
        await hub.start()
        assert hub.latest_sequence == 41
    finally:
        await hub.stop()


async def test_who_was_never_let_in_never_went(hub: Hub, fake: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    went: list[Session] = []
    monkeypatch.setattr(hub.presence, "went", went.append)
    session, _ = await enter(hub, "ann")
    hub.remove(session)
    assert went == [session]

    def fails(*arguments: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(fake, "subscriptions", fails)
    other = Session(hub, Identity("bob", "bob", "bob"), None, Peer().send, arrays=False)
    with pytest.raises(OperationalError):
        await hub.add(other)
    hub.remove(other)
    assert went == [session]


async def test_rooms_of_one_turn_are_merged_in_the_order_of_all_events(hub: Hub) -> None:
    _, both = await enter(hub, "ann", "a", "b", arrays=True)
    _, one = await enter(hub, "bob", "b", arrays=True)
    hub.receive([event(number, "ab"[number % 2]) for number in range(1, 11)])
    await turn()
    assert both.sequences == list(range(1, 11))
    assert one.sequences == [1, 3, 5, 7, 9]
    assert len(both.texts) == len(one.texts) == 1


async def test_what_is_not_stored_keeps_its_place_beside_the_messages_of_its_room(hub: Hub) -> None:
    _, peer = await enter(hub, "ann", "a", "b")
    hub.receive([event(1, "a"), event(2, "b"), event(0, "a", "read up to 1"), event(3, "a")])
    await turn()
    assert [frame["sequence"] for frame in peer.frames if frame["room"] == "a"] == [1, 0, 3]


# -- Who gets what -----------------------------------------------------------------------------------------------------


async def test_people_are_in_a_room_exactly_from_their_joining_to_their_leaving(hub: Hub) -> None:
    _, ann = await enter(hub, "ann", "room")
    _, bob = await enter(hub, "bob")
    hub.receive(
        [
            event(1),
            event(2, joined=["bob"]),
            event(3),
            event(4, left=["bob"]),
            event(5),
            event(6, joined=["bob"]),
            event(7),
        ]
    )
    await turn()
    assert ann.sequences == [1, 2, 3, 4, 5, 6, 7]
    assert bob.sequences == [2, 3, 4, 6, 7]


async def test_who_joined_with_an_event_still_to_come_begins_there(hub: Hub) -> None:
    hub.receive([event(1)])
    _, peer = await enter(hub, "ann", "room", since=3)
    hub.receive([event(2), event(3, joined=["ann"]), event(4)])
    await turn()
    assert peer.sequences == [3, 4]


async def test_who_is_still_to_come_in_sees_the_others_type(hub: Hub) -> None:
    hub.receive([event(1)])
    _, peer = await enter(hub, "ann", "room", since=3)
    hub.receive([event(0)])
    await turn()
    hub.receive([event(2), event(3, joined=["ann"]), event(0)])
    await turn()
    assert peer.sequences == [0, 3, 0]


@pytest.mark.parametrize(("change", "expected"), [("joined", [1, 2]), ("left", [])])
async def test_a_membership_that_changes_while_one_connects_counts(
    hub: Hub, fake: FakeSource, change: str, expected: list[int]
) -> None:
    rooms = ("room",) if change == "left" else ()
    fake.may_answer.clear()
    connecting = asyncio.create_task(enter(hub, "ann", *rooms))
    await asyncio.to_thread(fake.reading.wait, 10)
    hub.receive([event(1, **{change: ["ann"]})])
    fake.may_answer.set()
    _, peer = await connecting
    hub.receive([event(2)])
    await turn()
    assert peer.sequences == expected


async def test_the_welcome_comes_before_everything(hub: Hub, fake: FakeSource, settings: Any) -> None:
    settings.MANA = {**settings.MANA, "AUTHENTICATORS": [f"{__name__}.authenticate_as_ann"]}
    peer, fate = Peer(), asyncio.Queue[dict[str, Any]]()
    fate.put_nowait({"type": "websocket.connect"})
    fake.may_answer.clear()
    serving = asyncio.create_task(ManaConsumer()({"type": "websocket", "headers": []}, fate.get, peer.send))
    await asyncio.to_thread(fake.reading.wait, 10)
    hub.receive([event(1, joined=["ann"]), event(2), Announcement(0, "", '{"type":"notification"}', users=["ann"])])
    await turn()
    fake.may_answer.set()
    await peer.until(lambda: any(frame.get("type") == "welcome" for frame in peer.frames))
    fate.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await serving
    assert peer.frames[0]["type"] == "welcome"


def authenticate_as_ann(handshake: Handshake) -> Identity:
    return Identity("ann", "ann", "ann")


async def test_the_sending_session_is_left_out_and_its_user_sees_the_ack_id(hub: Hub) -> None:
    phone, on_phone = await enter(hub, "ann", "room")
    _, on_laptop = await enter(hub, "ann", "room")
    _, of_bob = await enter(hub, "bob", "room")
    hub.receive([event(1, origin=phone.id, sender="ann", ack_id='"mine"'), event(2)])
    await turn()
    assert on_phone.sequences == [2]
    assert [frame.get("ack_id") for frame in on_laptop.frames] == ['"mine"', None]
    assert [frame.get("ack_id") for frame in of_bob.frames] == [None, None]


async def test_frames_for_users_reach_their_sessions_only(hub: Hub) -> None:
    sending, here = await enter(hub, "ann", "room")
    _, there = await enter(hub, "ann")
    _, other = await enter(hub, "bob", "room")
    hub.receive([Announcement(0, "", '{"for":"ann"}', users=["ann", "nobody"], origin=sending.id)])
    await turn()
    assert (here.frames, there.frames, other.frames) == ([], [{"for": "ann"}], [])


async def test_a_hint_closes_the_sessions_whose_credentials_ended(hub: Hub, fake: FakeSource) -> None:
    _, stolen = await enter(hub, "ann", sign_in="stolen")
    _, own = await enter(hub, "ann", sign_in="own")
    _, other = await enter(hub, "bob", sign_in="stolen")
    fake.ended = {"stolen"}
    hub.receive([Announcement(0, "", "", users=["ann"], revoked=Revoked())])
    await stolen.until(lambda: stolen.closed)
    assert (stolen.closed, stolen.frames[-1]["code"]) == (4009, ErrorCode.REVOKED.value)
    assert (own.closed, other.closed) == (None, None)


async def test_a_hint_that_the_layer_lost_is_read_from_the_database(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", sign_in="stolen")
    fake.ended = {"stolen"}
    fake.hints = [Revocation(pk=1, user_id="ann")]
    await peer.until(lambda: peer.closed)


async def test_a_hint_that_was_there_a_moment_before_the_end_counts_a_moment_later(hub: Hub, fake: FakeSource) -> None:
    _, peer = await enter(hub, "ann", sign_in="stolen")
    fake.hints = [Revocation(pk=1, user_id="ann")]
    await fake.verified(1)
    fake.ended = {"stolen"}
    await peer.until(lambda: peer.closed)


async def test_a_session_that_opens_while_its_credentials_end_is_closed(hub: Hub, fake: FakeSource) -> None:
    hub.receive([Announcement(0, "", "", users=["ann"], revoked=Revoked())])
    fake.ended = {"stolen"}
    _, peer = await enter(hub, "ann", sign_in="stolen")
    await peer.until(lambda: peer.closed)


async def test_a_database_that_is_away_closes_nobody_and_puts_the_question_off(hub: Hub, fake: FakeSource) -> None:
    _, stolen = await enter(hub, "ann", sign_in="stolen")
    _, own = await enter(hub, "ann", sign_in="own")
    fake.failing_verifications, fake.ended = 2, {"stolen"}
    hub.receive([Announcement(0, "", "", users=["ann"], revoked=Revoked())])
    await stolen.until(lambda: stolen.closed)
    assert own.closed is None


async def test_after_a_long_pause_everybody_is_looked_at(
    hub: Hub, fake: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, peer = await enter(hub, "ann", sign_in="stolen")
    fake.ended = {"stolen"}
    monkeypatch.setattr("mana.realtime.revoker.WINDOW", 0.001)
    await peer.until(lambda: peer.closed)


async def test_disabled_users_are_found_though_nobody_says_so(hub: Hub, fake: FakeSource) -> None:
    session, peer = await enter(hub, "ann", sign_in="disabled")
    fake.ended, fake.disabled = {"disabled"}, [session.id]
    await peer.until(lambda: peer.closed)


async def test_a_renewal_during_the_verification_counts(hub: Hub, fake: FakeSource) -> None:
    session, peer = await enter(hub, "ann", sign_in="old")
    fake.ended = {"old"}
    fake.verifying_may_end.clear()
    hub.receive([Announcement(0, "", "", users=["ann"], revoked=Revoked())])
    await fake.verified(1)
    session.identity = Identity("ann", "ann", "ann", sign_in_id="new")
    hub.receive([Announcement(0, "", "", users=["ann"], revoked=Revoked())])
    fake.verifying_may_end.set()
    await fake.verified(2)
    assert peer.closed is None


async def test_the_process_has_a_budget_too_and_who_waits_for_the_most_is_closed_first(hub: Hub, settings: Any) -> None:
    settings.MANA = {**settings.MANA, "SESSION_BUFFER_BYTES": 2**30, "PROCESS_BUFFER_BYTES": 2**20}
    _, much = await enter(hub, "ann", "room", "loud")
    _, little = await enter(hub, "bob", "room")
    for peer in (much, little):
        peer.takes.clear()
    hub.receive([event(1), event(2, "loud", "x" * 2**20)])
    await turn()
    hub.receive([event(3, text="x" * 2**16), event(4, "loud", "x" * 2**20)])
    await turn()
    await much.until(lambda: much.closed)
    assert (much.closed, little.closed) == (4008, None)
    hub._shed()  # its socket has not ended yet
    assert (hub.slow_closes, little.closed) == (1, None)
    little.takes.set()
    await little.until(lambda: little.sequences == [1, 3])


async def test_one_session_is_disconnected(hub: Hub) -> None:
    session, peer = await enter(hub, "ann")
    _, other = await enter(hub, "ann")
    hub.receive([Announcement(0, "", "", revoked=Revoked(session.id))])
    await peer.until(lambda: peer.closed)
    assert (peer.closed, other.closed) == (4009, None)


async def test_a_session_that_is_gone_gets_nothing_and_leaves_nothing(hub: Hub) -> None:
    session, peer = await enter(hub, "ann", "room")
    hub.remove(session)
    hub.remove(session)
    hub.receive([event(1), event(2, joined=["ann"])])
    await turn()
    assert peer.frames == []
    assert not hub.rooms
    assert not hub.users
    assert not hub.sessions


# -- Texts -------------------------------------------------------------------------------------------------------------


async def test_all_receivers_are_given_the_very_same_text(hub: Hub) -> None:
    peers = [(await enter(hub, name, "room", arrays=True))[1] for name in ("ann", "bob", "carol")]
    hub.receive([event(1), event(2)])
    await turn()
    assert len({id(peer.texts[0]) for peer in peers}) == 1


async def test_one_frame_is_an_object_and_several_are_arrays_of_bounded_size(hub: Hub) -> None:
    _, arrays = await enter(hub, "ann", "room", arrays=True)
    _, objects = await enter(hub, "bob", "room")
    hub.receive([event(1)])
    await turn()
    assert isinstance(json.loads(arrays.texts.pop()), dict)
    objects.texts.clear()
    hub.receive([event(number, text="x" * 40_000) for number in range(2, 12)] + [event(12, text="x" * 300_000)])
    await turn()
    assert arrays.sequences == objects.sequences == list(range(2, 13))
    assert len(arrays.texts) == 5
    assert all(len(text) <= ARRAY_BYTES + 10 for text in arrays.texts[:-1])
    assert [type(json.loads(text)) for text in objects.texts] == [dict] * 11


# -- Slow and broken readers -------------------------------------------------------------------------------------------


async def test_a_reader_who_pauses_gets_everything_in_order(hub: Hub) -> None:
    session, slow = await enter(hub, "ann", "room", "other")
    _, quick = await enter(hub, "bob", "room", "other")
    slow.takes.clear()
    for number in range(1, 31):
        hub.receive([event(number, random.choice(("room", "other")))])
        await turn()
    assert quick.sequences == list(range(1, 31))
    assert slow.sequences == []
    slow.takes.set()
    await slow.until(lambda: len(slow.sequences) == 30)
    assert slow.sequences == list(range(1, 31))
    assert not session.closing


async def test_a_reader_who_does_not_catch_up_is_told_and_closed(hub: Hub) -> None:
    session, slow = await enter(hub, "ann", "room")
    _, quick = await enter(hub, "bob", "room")
    slow.takes.clear()
    for number in range(1, 201):
        hub.receive([event(number, text="x" * 100)])
        await turn()
    assert session.closing
    assert hub.slow_closes == 1
    assert session._queued + sum(len(item) for item in session._outbox if isinstance(item, str)) < BUDGET
    assert quick.sequences == list(range(1, 201))
    slow.takes.set()
    await slow.until(lambda: slow.closed)
    assert slow.closed == 4008
    assert slow.frames[-1]["type"] == "error"
    assert slow.frames[-1]["code"] == ErrorCode.TOO_SLOW.value
    seen = slow.sequences
    assert seen == list(range(1, len(seen) + 1)), "what arrived before the close has no gap"


async def test_a_reader_who_never_reads_again_is_closed_all_the_same(hub: Hub) -> None:
    _, stuck = await enter(hub, "ann", "room")
    stuck.takes.clear()
    for number in range(1, 101):
        hub.receive([event(number, text="x" * 100)])
        await turn()
    await stuck.until(lambda: stuck.closed)
    assert stuck.closed == 4008


async def test_a_broken_connection_is_nobody_elses_problem(hub: Hub) -> None:
    _, broken = await enter(hub, "ann", "room")
    _, whole = await enter(hub, "bob", "room")
    broken.breaks = True
    for number in (1, 2):
        hub.receive([event(number)])
        await turn()
    assert whole.sequences == [1, 2]


# -- Bounds ------------------------------------------------------------------------------------------------------------


async def test_a_gap_that_can_not_be_read_does_not_fill_the_memory(hub: Hub, fake: FakeSource) -> None:
    fake.failures = 10**9
    _, peer = await enter(hub, "ann", "room")
    for start in range(2, 25_002, 1000):
        hub.receive([event(number) for number in range(start, start + 1000)])
    assert len(hub._held) <= 20_000
    fake.events = {number: event(number) for number in range(1, 25_002)}
    fake.failures = 0
    await peer.until(lambda: hub.latest_sequence == 25_001)
    assert peer.sequences == list(range(1, 25_002))
