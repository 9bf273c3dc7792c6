"""People with browsers at two nodes, and media workers: a call outlives what is killed under it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.calls.talker import Talker, Talkers, room_of
from tests.rtc.workers.cluster import Cluster, signals, worker_of
from tests.rtc.workers.fronts import Front, Fronts
from tests.support.services import require

pytestmark = pytest.mark.slow

#: Seconds for which pictures may stand still when a media worker is killed.
GOAL = 5
#: Kills of which one must go so well: the machine itself may stand still for a moment.
ATTEMPTS = 3


@pytest.fixture(scope="module")
def fronts(workers_cluster: Cluster) -> Iterator[tuple[Front, Front]]:
    """Addresses of the two nodes."""
    require("nginx")
    made = Fronts(*workers_cluster.nodes)
    try:
        made.start()
        yield made.addresses
    finally:
        made.close()


def see_each_other(people: list[Talker]) -> None:
    """Waits until everybody's pictures of all others move."""
    for one in people:
        one.sees(*(other for other in people if other is not one))


def test_three_at_two_nodes_outlive_their_media_worker_and_one_of_the_nodes(
    talkers: Talkers, workers_cluster: Cluster, fronts: tuple[Front, Front]
) -> None:
    cluster = workers_cluster
    cluster.staff()
    people = talkers(fronts[0], fronts[1], fronts[1])
    alice, bob, carol = people
    for one in people:
        one.caller.browser.allow_absent_server()
    room = room_of(people)
    alice.start(room_id=room)
    bob.answer()
    carol.answer()
    see_each_other(people)
    call = alice.state["id"]

    longest: list[float] = []
    for _ in range(ATTEMPTS):
        cluster.staff()
        for one in people:
            one.watch()
        worker_of(cluster, room).kill()
        see_each_other(people)
        stops = [one.longest_stop() for one in people]
        assert min(stops) > 0
        longest.append(max(stops))
        if longest[-1] <= GOAL:
            break
    assert min(longest) <= GOAL, longest

    for one in people:
        one.do("window.before = { peers: lab.last.peers, session: lab.client.welcome.session_id }")
    cluster.nodes[1].kill()
    try:
        for one in (bob, carol):
            one.until(
                lambda one=one: one.do("return lab.last.online && lab.client.welcome.session_id !== before.session"),
                "signaling is back, at the other node",
            )
        bob.do("await lab.calls.current.setMicrophone(false)")
        for one in (alice, carol):
            one.until(
                lambda one=one: one.do("return lab.last.members.get(args[0]).muted", bob.id), "the others hear of it"
            )
        see_each_other(people)
        for one in people:
            state = one.state
            assert (state["id"], state["state"]) == (call, "connected")
            assert one.do("return lab.last.peers.every((peer) => before.peers.includes(peer))")
    finally:
        cluster.nodes[1].start()
    alice.do("await lab.last.hangUp({ everybody: true })")
    for one in people:
        one.ended("hangup")
    assert signals(cluster, call) == ["started", "ended hangup"]
