"""Syndace's x3dh and doubleratchet against ours, in both roles, over random schedules.

MANA_E2EE_SCHEDULES sets the number of schedules (10000 for the long run).
"""

import os
import random

import pytest

from mana_e2ee.core import Address, DuplicateMessage, InvalidMessage, primitives
from mana_e2ee.core.device import own_identity
from mana_e2ee.core.envelope import parse
from mana_e2ee.core.handshake import HANDSHAKE_LABEL, Agreement, ResponderKeys, initiate, respond
from mana_e2ee.core.ratchet import Ratchet
from tests.support.services import require

from .parties import NOW, party

require("syndace")

import doubleratchet  # noqa: E402
import x3dh  # noqa: E402

from . import syndace  # noqa: E402

SCHEDULES = int(os.environ.get("MANA_E2EE_SCHEDULES", "300"))
SENDER = Address("alice", "phone")


def agreement_and_prekey() -> tuple[Agreement, bytes]:
    """A real handshake of suite 1, and the private signed prekey of its responder."""
    alice, bob = party("alice", suites=(1,), one_time=1), party("bob", suites=(1,), one_time=1)
    with alice.store.transaction() as tx:
        own = own_identity(tx)
    agreement = initiate(own.record, own.dh_private, bob.claim())
    with bob.store.transaction() as tx:
        signed_prekey = tx.scan("signed_prekey")[0][1][16:]
    return agreement, signed_prekey


@pytest.fixture(scope="module")
def handshakes() -> list[tuple[Agreement, bytes]]:
    return [agreement_and_prekey() for _ in range(8)]


class Ours:
    """A bare Ratchet with the verbs of TheirRatchet."""

    def __init__(self, ratchet: Ratchet) -> None:
        self.ratchet = ratchet

    def encrypt(self, plaintext: bytes) -> bytes:
        return self.ratchet.encrypt(plaintext)

    def decrypt(self, data: bytes) -> bytes:
        return self.ratchet.decrypt(parse(SENDER, data), NOW)[0]


class Theirs:
    def __init__(self, ratchet: syndace.TheirRatchet) -> None:
        self.ratchet = ratchet

    def encrypt(self, plaintext: bytes) -> bytes:
        return self.ratchet.encrypt(plaintext)

    def decrypt(self, data: bytes) -> bytes:
        return self.ratchet.decrypt(parse(SENDER, data))


def begin(agreement: Agreement, signed_prekey: bytes, *, we_start: bool) -> tuple[Ours, Theirs]:
    """Both ends after the first message."""
    public = primitives.x25519_public(signed_prekey)
    if we_start:
        ours = Ratchet.for_initiator(agreement, public, now=NOW)
        theirs = syndace.TheirRatchet(agreement.transcript, agreement.session_id)
        first = parse(SENDER, ours.encrypt(b"first"))
        assert theirs.accept(agreement.secret, signed_prekey, first) == b"first"
        return Ours(ours), Theirs(theirs)
    ours = Ratchet.for_responder(agreement, signed_prekey)
    block = agreement.block.to_bytes()
    theirs = syndace.TheirRatchet(agreement.transcript, agreement.session_id, block)
    first = parse(SENDER, theirs.start(agreement.secret, public, b"first"))
    assert ours.decrypt(first, NOW) == (b"first", True)
    return Ours(ours), Theirs(theirs)


def schedule(agreement: Agreement, signed_prekey: bytes, seed: int) -> int:
    rng = random.Random(seed)
    ends = begin(agreement, signed_prekey, we_start=rng.random() < 0.5)
    boxes: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]] = ([], [])
    read = 0
    for _ in range(rng.randrange(6, 20)):
        side = rng.randrange(2)
        if rng.random() < 0.6:
            plaintext = rng.randbytes(rng.choice([0, 5, 40]))
            boxes[1 - side].append((plaintext, ends[side].encrypt(plaintext)))
        elif boxes[side]:
            plaintext, message = boxes[side].pop(rng.randrange(len(boxes[side])))
            if rng.random() < 0.1:
                continue  # lost
            if rng.random() < 0.2:
                broken = message[:-1] + bytes((message[-1] ^ 1,))
                with pytest.raises((InvalidMessage, doubleratchet.AuthenticationFailedException)):
                    ends[side].decrypt(broken)
            assert ends[side].decrypt(message) == plaintext
            read += 1
            if side == 0:
                with pytest.raises(DuplicateMessage):
                    ends[0].decrypt(message)
    for side, box in enumerate(boxes):
        rng.shuffle(box)
        for plaintext, message in box:
            assert ends[side].decrypt(message) == plaintext
            read += 1
    return read


def test_random_schedules_with_syndaces_double_ratchet(handshakes):
    read = sum(schedule(*handshakes[seed % len(handshakes)], seed) for seed in range(SCHEDULES))
    print(f"{SCHEDULES} schedules, {read} messages read")
    assert read > 4 * SCHEDULES


def private_parts(store) -> tuple[bytes, bytes, list[bytes]]:
    with store.transaction() as tx:
        own = own_identity(tx)
        return own.dh_private, tx.scan("signed_prekey")[0][1][16:], [row for _, row in tx.scan("one_time")]


def info_of(agreement: Agreement) -> bytes:
    return HANDSHAKE_LABEL + bytes((agreement.block.suite,)) + agreement.transcript


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_syndaces_x3dh_as_the_responder_gets_our_secret(seed, one_time):
    alice, bob = party("alice", suites=(1,), one_time=1), party("bob", suites=(1,), one_time=1)
    with alice.store.transaction() as tx:
        own = own_identity(tx)
    bundle = bob.claim(one_time=one_time)
    agreement = initiate(own.record, own.dh_private, bundle)
    identity, signed_prekey, keys = private_parts(bob.store)
    state = syndace.x3dh_state(identity=identity, signed_prekey=signed_prekey, one_time=keys, info=info_of(agreement))
    header = x3dh.Header(
        identity_key=own.record.dh_key,
        ephemeral_key=agreement.block.ephemeral,
        pre_key=bundle.one_time.public if bundle.one_time else None,
        signed_pre_key=bundle.signed_prekey.public,
    )
    secret, _, _ = syndace.run(state.get_shared_secret_passive(header, require_pre_key=one_time))
    assert secret == agreement.secret


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_syndaces_x3dh_as_the_initiator_gets_our_secret(seed, one_time, monkeypatch):
    alice, bob = party("alice", suites=(1,), one_time=1), party("bob", suites=(1,), one_time=1)
    with alice.store.transaction() as tx:
        own = own_identity(tx)
    bundle = bob.claim(one_time=one_time)
    ephemeral = primitives.random_bytes(32)
    monkeypatch.setattr(primitives, "random_source", lambda length: ephemeral)
    block = initiate(own.record, own.dh_private, bundle).block
    monkeypatch.undo()
    identity, signed_prekey, keys = private_parts(bob.store)
    answer = respond(
        bob.device.record, ResponderKeys(identity, signed_prekey, keys[0] if one_time else None, None), block
    )
    their_responder = syndace.x3dh_state(
        identity=identity, signed_prekey=signed_prekey, one_time=keys if one_time else [], info=b"x" * 8
    )
    initiator = syndace.x3dh_state(
        identity=own.dh_private, signed_prekey=signed_prekey, one_time=[], info=info_of(answer)
    )
    import x3dh.base_state

    class Secrets:
        """Their only draw is the ephemeral key, which our responder has seen in the block."""

        choice = staticmethod(lambda options: options[0])
        token_bytes = staticmethod(lambda length: ephemeral)

    monkeypatch.setattr(x3dh.base_state, "secrets", Secrets)
    secret, _, header = syndace.run(
        initiator.get_shared_secret_active(their_responder.bundle, require_pre_key=one_time)
    )
    assert header.ephemeral_key == block.ephemeral
    assert secret == answer.secret
