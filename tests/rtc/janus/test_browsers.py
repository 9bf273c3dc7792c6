"""People with browsers whose group's call goes through Janus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.calls.talker import Talker, Talkers, talk_with_a_latecomer
from tests.rtc.janus.conftest import janus_environment
from tests.rtc.janus.instance import Janus
from tests.support import databases
from tests.support.instances import instance
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

#: Large enough for Chromium to send three layers of it: of 135, 270 and 540 lines.
LARGE = {"width": 960, "height": 540, "frameRate": 10}


@pytest.fixture(scope="module")
def nodes(janus: Janus) -> Iterator[tuple[Server, Server]]:
    """Two nodes on one database, one Redis and one Janus."""
    janus.start()
    environment = {**janus_environment(janus), "MANA_RTC_RESUME_TIMEOUT": "30"}
    with (
        instance("redis") as redis,
        databases.fresh("sqlite") as url,
        serving(url, **environment, CHANNEL_LAYER_URL=redis.url) as one,
        serving(url, **environment, CHANNEL_LAYER_URL=redis.url) as other,
    ):
        yield one, other
        for node in (one, other):
            assert "Traceback" not in node.log, node.log[-4000:]


def sees_lines(talker: Talker, other: Talker, lines: int, *, wish: int) -> None:
    """Shows somebody's picture so large (pixels), and waits until it comes with so many lines."""
    talker.do("lab.last.setVisible(new Map([[args[0], { camera: args[1] }]]))", other.id, wish)
    picture = f"{other.id} camera"
    talker.until(
        lambda: talker.inbound().get(picture, {}).get("frameHeight") == lines, f"the picture has {lines} lines"
    )
    talker.sees(other)


def test_three_at_two_nodes_talk_through_janus(talkers: Talkers, nodes: tuple[Server, Server]) -> None:
    """Who joins late sees who is muted; a camera's layers are the ones that are asked for; who is removed is gone."""
    (alice,) = talkers(nodes[0], video=LARGE)
    people = [alice, *talkers(nodes[1], nodes[1])]
    bob, carol = people[1:]
    talk_with_a_latecomer(people)

    for wish, lines in ((90, 135), (300, 270), (720, 540), (90, 135)):
        sees_lines(bob, alice, lines, wish=wish)

    alice.do("await lab.last.remove(args[0])", carol.id)
    carol.ended("removed")
    alice.until(lambda: set(alice.inbound()) == {f"{bob.id} camera", f"{bob.id} microphone"}, "she is gone")
    alice.sees(bob)
    alice.do("await lab.last.hangUp({ everybody: true })")
    bob.ended("hangup")
