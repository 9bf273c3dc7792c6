"""Two people with browsers that may use relays only: their call goes through coturn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rtc.calls.talker import Talkers
from tests.rtc.turn.instance import SECRET, Coturn
from tests.support import databases
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

#: What kind of address the way begins with that is used, and which kinds were found here.
_WAYS = """
const report = new Map();
for (const peer of lab.last.peers) for (const one of (await peer.getStats()).values()) report.set(one.id, one);
const all = [...report.values()];
const used = all.filter((one) => one.type === "transport").map((one) => report.get(one.selectedCandidatePairId));
return {
  used: used.map((pair) => report.get(pair.localCandidateId).candidateType),
  found: [...new Set(all.filter((one) => one.type === "local-candidate").map((one) => one.candidateType))],
};
"""


@pytest.fixture(scope="module")
def relaying(coturn: Coturn) -> Iterator[Server]:
    """A node whose people are told of coturn, and to use nothing else."""
    with (
        databases.fresh("sqlite") as url,
        serving(
            url,
            MANA_RTC_ADDRESSES="127.0.0.1",
            MANA_TURN_SERVERS=coturn.url,
            MANA_TURN_SECRET=SECRET,
            MANA_ICE_TRANSPORT_POLICY="relay",
        ) as running,
    ):
        yield running
        assert "Traceback" not in running.log, running.log[-4000:]


def test_two_browsers_that_may_use_relays_only_see_each_other(
    talkers: Talkers, relaying: Server, coturn: Coturn
) -> None:
    alice, bob = talkers(relaying, relaying, peerPatience=60_000)
    alice.start(to=bob.id)
    bob.answer()
    alice.sees(bob)
    bob.sees(alice)
    for one in (alice, bob):
        assert one.state["via"] == "peer"
        assert one.do(_WAYS) == {"used": ["relay"], "found": ["relay"]}
        assert f":{one.id}>" in coturn.log
    alice.hang_up()
    bob.ended("hangup")
