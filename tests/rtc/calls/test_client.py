"""The browser client of calls in Chromium: which way media takes, what it survives, and its encryption."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.calls.talker import Talker, Talkers, room_of, talk_with_a_latecomer
from tests.support import databases
from tests.support.instances import instance
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

NODE = {
    "MANA_RTC_ADDRESSES": "127.0.0.1",
    "MANA_RTC_RESUME_TIMEOUT": "30",
    "MANA_PRESENCE_LEASE": "2",
    "MANA_PRESENCE_GRACE": "0.2",
}


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Server, Server]]:
    """Two nodes on one database and one Redis."""
    with (
        instance("redis") as redis,
        databases.fresh("sqlite") as url,
        serving(url, **NODE, CHANNEL_LAYER_URL=redis.url) as one,
        serving(url, **NODE, CHANNEL_LAYER_URL=redis.url) as other,
    ):
        yield one, other


def acquainted(talkers: list[Talker]) -> None:
    """Each can seal keys for each other."""
    for at, one in enumerate(talkers):
        for other in talkers[at + 1 :]:
            bundle = other.do("return lab.keys.bundle()")
            one.do("await lab.keys.meet(...args)", other.id, bundle)
            back = one.do("return lab.keys.bundle()")
            other.do("await lab.keys.meet(...args)", one.id, back)


def test_two_talk_through_the_server_if_they_want_to(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    alice, bob = talkers(nodes[0], nodes[0])
    alice.do(
        "window.qualities = []; lab.calls.on('current', (call) => call?.on('quality', (one) => qualities.push(one)))"
    )
    alice.start(to=bob.id, media="sfu")
    bob.answer()
    alice.sees(bob)
    bob.sees(alice)
    assert {alice.state["via"], bob.state["via"]} == {"sfu"}
    heard = alice.until(
        lambda: [one for one in alice.do("return qualities") if one["user_id"] == bob.id], "the quality is measured"
    )
    assert heard[0]["level"] in ("good", "fair", "poor")
    bob.hang_up()
    alice.ended("hangup")


def test_without_a_way_from_peer_to_peer_both_go_through_the_server(
    talkers: Talkers, nodes: tuple[Server, Server]
) -> None:
    alice, bob = talkers(nodes[0], nodes[0], peerPatience=1500)
    for one in (alice, bob):
        one.do("RTCPeerConnection.prototype.addIceCandidate = async () => {}")
    alice.start(to=bob.id)
    bob.answer()
    alice.until(lambda: alice.state["via"] == bob.state["via"] == "sfu", "both use the server")
    alice.sees(bob)
    bob.sees(alice)
    alice.hang_up()
    bob.ended("hangup")


def test_a_killed_node_takes_no_call_from_peer_to_peer_with_it(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    """Media goes on while one of two nodes is dead, and signaling comes back with it."""
    alice, bob = talkers(*nodes)
    bob.caller.browser.allow_absent_server()
    alice.start(to=bob.id)
    bob.answer()
    alice.sees(bob)
    bob.sees(alice)
    nodes[1].kill()
    try:
        bob.until(lambda: not bob.state["online"], "the node is missed")
        alice.sees(bob)
        bob.sees(alice)
        assert bob.state["state"] == "connected"
    finally:
        nodes[1].start()
    bob.do("lab.client.retryNow()")
    bob.until(lambda: bob.state["online"], "signaling is back")
    bob.do("await lab.calls.current.setMicrophone(false)")
    alice.until(lambda: alice.do("return lab.last.members.get(args[0]).muted", bob.id), "the other side hears of it")
    alice.sees(bob)
    alice.hang_up()
    bob.ended("hangup")


def test_a_media_server_that_comes_back_is_joined_again(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    """The node that serves their media is killed: once it is there again so is the picture, by itself."""
    alice, bob = talkers(nodes[0], nodes[0])
    for one in (alice, bob):
        one.caller.browser.allow_absent_server()
    alice.start(to=bob.id, media="sfu")
    bob.answer()
    alice.sees(bob)
    nodes[0].kill()
    alice.until(lambda: not alice.state["online"], "the node is missed")
    nodes[0].start()
    for one in (alice, bob):
        one.do("lab.client.retryNow()")
        one.until(lambda one=one: one.state["online"], "signaling is back")
    # Within five seconds, where two cores have not two browsers and the tests' other servers to run as well.
    alice.sees(bob, more=3, seconds=15)
    bob.sees(alice, more=3, seconds=15)
    alice.hang_up()
    bob.ended("hangup")


def test_three_see_each_other_and_who_has_left_is_gone(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    """The one who mutes and shares is seen so by who joins late; a moderator mutes and removes."""
    people = talkers(nodes[0], nodes[0], nodes[0])
    alice, bob, carol = people
    talk_with_a_latecomer(people)
    layers = alice.until(
        lambda: alice.do(
            """
            const found = [];
            for (const peer of lab.last.peers)
              for (const one of (await peer.getStats()).values())
                if (one.type === "outbound-rtp" && one.rid) found.push(one.rid);
            return found.sort();
            """
        ),
        "the camera is sent",
    )
    assert layers == ["f", "h", "q"]
    for one in (bob, carol):  # nobody looks at Alice any more: her camera is sent in no layer above the lowest
        one.do("lab.last.setVisible(new Map([[args[0], { camera: 90 }]]))", alice.id)
    alice.until(
        lambda: (
            alice.do(
                """
            for (const peer of lab.last.peers)
              for (const sender of peer.getSenders()) {
                const { encodings } = sender.getParameters();
                if (encodings.length === 3) return encodings.map((one) => one.active);
              }
            """
            )
            == [True, False, False]
        ),
        "what nobody watches is not sent",
    )
    alice.do("await lab.last.mute(args[0])", carol.id)
    carol.until(lambda: not carol.do("return lab.last.microphone"), "a moderator mutes")
    alice.do("await lab.last.remove(args[0])", carol.id)
    carol.ended("removed")
    alice.until(lambda: set(alice.inbound()) == {f"{bob.id} camera", f"{bob.id} microphone"}, "she is gone")
    alice.do("await lab.last.hangUp({ everybody: true })")
    bob.ended("hangup")


def test_encrypted_media_is_decoded_by_who_has_the_key_alone(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    """Carol is in the call and gets every packet; until Alice seals a key for her she sees nothing of it."""
    people = talkers(nodes[0], nodes[0], nodes[0])
    alice, bob, carol = people
    acquainted([alice, bob])
    acquainted([bob, carol])
    alice.start(room_id=room_of(people), encrypted=True)
    bob.answer()
    carol.answer()
    alice.sees(bob)
    bob.sees(alice, carol)
    picture = f"{alice.id} camera"
    carol.until(lambda: carol.inbound().get(picture, {}).get("packetsReceived", 0) > 100, "packets come to Carol")
    carol.sees(bob)
    assert carol.frames(picture) == 0
    assert carol.do("return lab.last.members.get(args[0]).opens", alice.id) is False
    acquainted([alice, carol])
    bob.hang_up()  # whoever comes or goes, all get new keys
    carol.sees(alice)
    alice.sees(carol)
    bob.ended("hangup")


def test_encrypted_media_goes_from_peer_to_peer_as_well(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    alice, bob = talkers(nodes[0], nodes[0])
    acquainted([alice, bob])
    alice.start(to=bob.id, encrypted=True)
    bob.answer()
    alice.sees(bob)
    bob.sees(alice)
    assert alice.state["via"] == "peer"
    assert bob.do("return lab.last.encrypted && lab.last.members.get(args[0]).opens", alice.id) is True
    alice.hang_up()
    bob.ended("hangup")
