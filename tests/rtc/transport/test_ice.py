"""ICE-lite without sockets: who is answered, who is believed, where is sent to."""

from __future__ import annotations

from mana_rtc.transport import ice, stun
from mana_rtc.transport.ice import CONSENT_TIMEOUT, MAX_PATHS, Generation, IceLite


class Wire:
    """A path that keeps what is sent."""

    def __init__(self, port: int) -> None:
        self.address = ("192.0.2.1", port)
        self.last_seen = float("-inf")
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True

    @property
    def kinds(self) -> list[int]:
        return [stun.parse(data).kind for data in self.sent]

    def last_check(self) -> stun.Message:
        """The last check that was sent this way."""
        return next(message for message in map(stun.parse, reversed(self.sent)) if message.kind == stun.BINDING_REQUEST)


def agent() -> IceLite:
    """One whose peer's description is known."""
    made = IceLite(0.0)
    describe(made.current, "them1")
    return made


def describe(generation: Generation, ufrag: str) -> None:
    generation.remote_ufrag, generation.remote_pwd = ufrag, f"the password of {ufrag} is long"


def check(
    generation: Generation, *, nominate: bool = False, password: str = "", controlled: bool = False
) -> stun.Message:
    """A peer's request."""
    attributes = {stun.USERNAME: f"{generation.ufrag}:{generation.remote_ufrag}".encode()}
    if nominate:
        attributes[stun.USE_CANDIDATE] = b""
    if controlled:
        attributes[stun.ICE_CONTROLLED] = bytes(8)
    return stun.parse(stun.build(stun.BINDING_REQUEST, b"x" * 12, attributes, password or generation.pwd))


def answer(request: stun.Message, password: str) -> stun.Message:
    return stun.parse(stun.binding_response(request.transaction, ("127.0.0.1", 1), password))


def test_only_who_knows_the_password_is_answered() -> None:
    one, wire = agent(), Wire(1)
    assert not one.request(check(one.current, password="guess"), wire, 1.0)
    assert not one.request(check(ice.new_generation()), wire, 1.0)
    stranger = Generation(one.current.ufrag, one.current.pwd, "other", "")
    assert not one.request(check(stranger), wire, 1.0)
    assert wire.sent == []
    assert one.paths == []
    assert one.request(check(one.current), wire, 1.0)
    assert wire.kinds == [stun.BINDING_RESPONSE]
    assert one.selected is None


def test_the_nominated_path_is_selected() -> None:
    one, first, second = agent(), Wire(1), Wire(2)
    one.request(check(one.current), first, 1.0)
    one.request(check(one.current, nominate=True), second, 1.0)
    assert one.selected is second


def test_a_peer_must_be_the_controlling_one() -> None:
    one, wire = agent(), Wire(1)
    one.request(check(one.current, nominate=True, controlled=True), wire, 1.0)
    assert wire.kinds == [stun.BINDING_ERROR]
    assert one.selected is None
    wires = [Wire(port) for port in range(2, 100)]
    for moment, other in enumerate(wires):
        one.request(check(one.current, controlled=True), other, float(moment))
    assert len(one.paths) == MAX_PATHS, "also theirs are counted, and closed with the peer"
    assert sum(other.closed for other in (wire, *wires)) == 99 - MAX_PATHS


def test_a_new_address_is_believed_after_it_answered() -> None:
    """Whoever knows the password could name somebody else's address, and have media sent there."""
    one, old, new = agent(), Wire(1), Wire(2)
    one.request(check(one.current, nominate=True), old, 1.0)
    one.established = True
    one.request(check(one.current, nominate=True), new, 2.0)
    assert one.selected is old
    ours = new.last_check()
    assert not one.response(answer(ours, "guess"), new, 2.0)
    assert not one.response(answer(ours, one.current.remote_pwd), old, 2.0)  # from elsewhere
    assert one.selected is old
    assert one.response(answer(ours, one.current.remote_pwd), new, 2.03)
    assert one.selected is new
    assert 0.02 < one.round_trip < 0.04
    assert not one.response(answer(ours, one.current.remote_pwd), new, 2.05)  # once only


def test_validation_is_tried_again() -> None:
    one, old, new = agent(), Wire(1), Wire(2)
    one.request(check(one.current, nominate=True), old, 1.0)
    one.established = True
    one.request(check(one.current, nominate=True), new, 2.0)
    for step in range(10):
        one.tick(2.0 + step * 0.05)
    assert new.kinds.count(stun.BINDING_REQUEST) >= 4
    one.response(answer(new.last_check(), one.current.remote_pwd), new, 2.6)
    assert one.selected is new


def test_a_restart_keeps_the_old_credentials_until_the_new_are_used() -> None:
    one, wire = agent(), Wire(1)
    first = one.current
    one.request(check(first, nominate=True), wire, 1.0)
    one.established = True
    second = one.restart()
    assert one.restart() is not second  # the one in between was never used
    second = one.current
    describe(second, "them2")
    assert one.request(check(first, nominate=True), wire, 2.0)
    assert one.previous is first
    assert one.request(check(second, nominate=True), wire, 3.0)
    assert one.previous is None
    assert not one.request(check(first), wire, 4.0)
    assert one.selected is wire


def test_consent_is_asked_for_and_expires() -> None:
    one, wire = agent(), Wire(1)
    one.request(check(one.current, nominate=True), wire, 0.0)
    now = 0.0
    for step in range(400):
        now = step * 0.1
        one.tick(now)
        if now < 10 and wire.kinds[-1] == stun.BINDING_REQUEST:
            one.response(answer(wire.last_check(), one.current.remote_pwd), wire, now)
    assert wire.kinds.count(stun.BINDING_REQUEST) >= 8
    assert one.may_send(10 + CONSENT_TIMEOUT - 6)
    assert not one.may_send(now + 1)


def test_addresses_are_bounded() -> None:
    one = agent()
    wires = [Wire(port) for port in range(100)]
    for moment, wire in enumerate(wires):
        one.request(check(one.current, nominate=moment == 0), wire, float(moment))
    assert len(one.paths) == MAX_PATHS
    assert one.selected is wires[0]  # never thrown away
    assert sum(wire.closed for wire in wires) == 100 - MAX_PATHS


def test_checks_of_ours_are_bounded() -> None:
    one, old = agent(), Wire(0)
    one.request(check(one.current, nominate=True), old, 0.0)
    one.established = True
    for step in range(1000):
        one.request(check(one.current, nominate=True), Wire(step), step * 0.06)
    assert len(one._checks) <= ice.MAX_CHECKS
