"""Two devices under a hostile network and careless clients, driven by hypothesis.

Whatever the order: nothing decrypts twice, what decrypts is what was sent, no (key, nonce) seals two
messages, a refusal changes no stored byte, and the stored keys stay bounded. A client that goes back to an
old state may break the first three for itself, never for the other side. MANA_E2EE_SCHEDULES sets the number
of runs.
"""

import os
import random
from collections import Counter

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mana_e2ee.core import (
    DuplicateMessage,
    E2EEError,
    NoSession,
    Throttled,
    UnknownPreKey,
    decrypt,
    encrypt,
    has_session,
    primitives,
    process_prekey_bundle,
)
from mana_e2ee.core.limits import MAX_ARCHIVED, MAX_STORED_KEYS
from mana_e2ee.core.ratchet_state import load

from .parties import DAY, NOW, Party, contents, contents_of, party

RUNS = int(os.environ.get("MANA_E2EE_SCHEDULES", "60"))

sides = st.sampled_from(["alice", "bob"])
OTHER = {"alice": "bob", "bob": "alice"}


class Devices(RuleBasedStateMachine):
    """`sent` are messages on the wire, which may be delivered at any time, any number of times, or never."""

    sent = Bundle("sent")
    suites: tuple[int, ...] = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self._before = primitives.seal, primitives.random_source
        draws = random.Random(11)
        primitives.seal, primitives.random_source = self.watched_seal, draws.randbytes
        self._seal = self._before[0]
        self.sealed: dict[bytes, bytes] = {}
        self.restored: set[str] = set()
        self.kept: dict[str, dict[str, list[tuple[bytes, bytes]]]] = {}
        self.parties: dict[str, Party] = {
            user: party(user, suites=self.suites, one_time=2) for user in ("alice", "bob")
        }
        self.plaintexts: dict[bytes, bytes] = {}
        self.read: Counter[bytes] = Counter()
        self.counter = 0

    def teardown(self) -> None:
        primitives.seal, primitives.random_source = self._before

    def watched_seal(self, key_and_nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """No key and nonce seals two messages; only a client that restored an old state can break that."""
        sealed = plaintext + associated
        before = self.sealed.setdefault(key_and_nonce, sealed)
        assert before == sealed or self.restored
        return self._seal(key_and_nonce, plaintext, associated)

    @rule(side=sides, one_time=st.booleans())
    def start(self, side: str, one_time: bool) -> None:
        own, other = self.parties[side], self.parties[OTHER[side]]
        process_prekey_bundle(own.store, other.address, other.claim(one_time=one_time), now=self.now)

    @rule(target=sent, side=sides)
    def send(self, side: str):
        own, other = self.parties[side], self.parties[OTHER[side]]
        if not has_session(own.store, other.address, now=self.now):
            with pytest.raises(NoSession):
                encrypt(own.store, other.address, b"x", now=self.now)
            return multiple()
        self.counter += 1
        plaintext = f"{side} {self.counter}".encode()
        message = encrypt(own.store, other.address, plaintext, now=self.now)
        assert message not in self.plaintexts or self.restored
        self.plaintexts[message] = plaintext
        return (side, message)

    @rule(target=sent, side=sides, count=st.integers(2, 40))
    def send_many(self, side: str, count: int):
        made = [self.send(side) for _ in range(count)]
        return multiple(*(item for item in made if isinstance(item, tuple)))

    @rule(item=sent)
    def deliver(self, item: tuple[str, bytes]) -> None:
        """Or duplicate: the same message may be drawn again."""
        side, message = item
        own, other = self.parties[OTHER[side]], self.parties[side]
        before = contents(own.store)
        try:
            received = decrypt(own.store, other.address, message, now=self.now)
        except (DuplicateMessage, NoSession, UnknownPreKey, Throttled):
            assert contents(own.store) == before
        except E2EEError:
            assert contents(own.store) == before
            assert self.restored, "a message that was sent does not authenticate"
        else:
            assert received.plaintext == self.plaintexts[message]
            self.read[message] += 1
            assert self.read[message] == 1 or OTHER[side] in self.restored

    @rule(item=sent, where=st.integers(0, 2_000), flip=st.integers(1, 255))
    def forge(self, item: tuple[str, bytes], where: int, flip: int) -> None:
        side, message = item
        own, other = self.parties[OTHER[side]], self.parties[side]
        broken = bytearray(message)
        broken[where % len(message)] ^= flip
        before = contents(own.store)
        with pytest.raises(E2EEError):
            decrypt(own.store, other.address, bytes(broken), now=self.now)
        assert contents(own.store) == before
        self.now += 3_600  # or the throttle would answer everything

    @rule(item=sent)
    def reflect(self, item: tuple[str, bytes]) -> None:
        """A message back to its own sender."""
        side, message = item
        own, other = self.parties[side], self.parties[OTHER[side]]
        before = contents(own.store)
        with pytest.raises(E2EEError):
            decrypt(own.store, other.address, message, now=self.now)
        assert contents(own.store) == before

    @rule(side=sides)
    def crash_before_persisting(self, side: str) -> None:
        """The message of a transaction that was not written never leaves: its key serves the next one."""
        own, other = self.parties[side], self.parties[OTHER[side]]
        if not has_session(own.store, other.address, now=self.now):
            return
        before = contents(own.store)
        sealed = dict(self.sealed)

        class Crash(BaseException):
            pass

        original = type(own.store).transaction

        def crashing(store):
            import contextlib

            @contextlib.contextmanager
            def block():
                with original(store) as tx:
                    yield tx
                    raise Crash

            return block()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(own.store), "transaction", crashing)
            with pytest.raises(Crash):
                encrypt(own.store, other.address, b"never sent", now=self.now)
        self.sealed = sealed
        assert contents(own.store) == before

    @rule(side=sides, days=st.integers(1, 3))
    def rotate_and_refill(self, side: str, days: int) -> None:
        self.now += days * DAY
        own = self.parties[side]
        rotated = own.device.rotate(now=self.now)
        if rotated is not None:
            own.publication = rotated
        own.one_time += own.device.publish_bundle(one_time=1).one_time

    @rule(side=sides)
    def keep_a_copy(self, side: str) -> None:
        self.kept[side] = contents(self.parties[side].store)

    @rule(side=sides)
    def restore_the_copy(self, side: str) -> None:
        """What no client may do: bring back an old state."""
        if side not in self.kept:
            return
        self.restored.add(side)
        with self.parties[side].store.transaction() as tx:
            for table, rows in contents_of(tx).items():
                for key, _ in rows:
                    tx.delete(table, key)
                for key, value in self.kept[side][table]:
                    tx.put(table, key, value)

    @invariant()
    def stored_keys_are_bounded(self) -> None:
        for own in self.parties.values():
            with own.store.transaction() as tx:
                rows = tx.scan("session")
                assert len(rows) <= MAX_ARCHIVED + 1
                assert all(len(load(row).skipped) <= MAX_STORED_KEYS for _, row in rows)


class PostQuantumDevices(Devices):
    suites = (1, 2)


@pytest.mark.parametrize("machine", [Devices, PostQuantumDevices])
def test_devices(machine: type[Devices]) -> None:
    profile = settings(
        max_examples=RUNS,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    hypothesis.stateful.run_state_machine_as_test(machine, settings=profile)
