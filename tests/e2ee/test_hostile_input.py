"""Everything that reads bytes from outside, given anything: the typed error, no change, bounded time and memory.

The twin for JavaScript: js/hostile.test.mjs.
"""

import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from mana_e2ee.core import (
    AccountKey,
    Address,
    Attachment,
    Backup,
    DeviceList,
    DeviceRecord,
    Distribution,
    E2EEError,
    GroupSession,
    InvalidKey,
    InvalidMessage,
    KemPreKey,
    MembershipEntry,
    MembershipLog,
    NoSession,
    NotAMember,
    OneTimePreKey,
    PreKeyBundle,
    RecoveryKey,
    RetryRequest,
    SafetyNumber,
    SignedPreKey,
    StaleDeviceList,
    TooManySkipped,
    UnsupportedVersion,
    accept_device_list,
    answer_retry,
    decrypt,
    encrypt,
    primitives,
    request_retry,
)
from mana_e2ee.core import keys as typed_keys
from mana_e2ee.core.envelope import HEADER, MAX_MESSAGE, pad, parse
from mana_e2ee.core.sender_keys import GROUP_HEADER, MAX_GROUP_MESSAGE, GroupMessage, SenderKey

from .parties import NOW, contents, party, refused, talking

ALICE = Address("alice", "phone")
RECOVERY = RecoveryKey(bytes(range(32)))
NOT_BYTES = ["text", "", None, 7, 1.5, [1, 2], (1,), {}, bytearray(60), memoryview(bytes(60)), object()]


def valid() -> dict[str, tuple[Callable[[bytes], object], bytes]]:
    """Every reader of the core with bytes that it accepts."""
    alice, bob = talking()
    first_alice, first_bob = party("alice"), party("bob")
    first_alice.start(first_bob)
    account = AccountKey.generate()
    log = MembershipLog("g")
    entry = log.propose(alice.store, add="alice", now=NOW)
    group = GroupSession(alice.store, log)
    distribution = group.rotate(now=NOW)
    message = alice.send(bob, b"x")
    publication = bob.publication
    safety = SafetyNumber(bytes(32), bytes(range(32)))
    return {
        "message": (lambda data: parse(ALICE, data), message),
        "first message": (lambda data: parse(ALICE, data), first_alice.send(first_bob, b"x")),
        "group message": (GroupMessage.parse, group.encrypt(b"x", now=NOW)),
        "bundle": (PreKeyBundle.from_bytes, bob.claim().to_bytes()),
        "record": (DeviceRecord.from_bytes, bob.device.record.to_bytes()),
        "signed prekey": (SignedPreKey.from_bytes, publication.signed_prekey.to_bytes()),
        "KEM prekey": (KemPreKey.from_bytes, publication.kem_prekey.to_bytes()),
        "one-time prekey": (OneTimePreKey.from_bytes, publication.one_time[0].to_bytes()),
        "device list": (DeviceList.from_bytes, DeviceList.create(account, "bob", [bob.device.record]).to_bytes()),
        "membership entry": (MembershipEntry.from_bytes, entry.to_bytes()),
        "sender key": (Distribution.from_bytes, distribution.to_bytes()),
        "retry request": (RetryRequest.from_bytes, request_retry(bob.store, ALICE, message, now=NOW).to_bytes()),
        "pointer": (Attachment.from_bytes, Attachment.encrypt(b"x")[0].to_bytes()),
        "backup": (lambda data: Backup.open(RECOVERY, data), Backup.seal(RECOVERY, b"x")),
        "safety number": (safety.matches_qr, safety.qr),
    }


READERS = valid()


@pytest.fixture(params=READERS)
def reader(request):
    return READERS[request.param]


def test_every_reader_refuses_what_is_not_bytes(reader):
    read, data = reader
    read(data)
    for wrong in (*NOT_BYTES, bytearray(data), list(data), data.hex()):
        with pytest.raises(InvalidMessage):
            read(wrong)


def test_every_reader_refuses_every_other_length(reader):
    read, data = reader
    for length in range(len(data)):
        with pytest.raises((InvalidMessage, InvalidKey)):
            read(data[:length])


def test_every_reader_gives_its_own_errors_only(reader):
    """Flipped, overwritten, cut, spliced and random bytes: accepted, or an E2EEError, and never another."""
    read, data = reader
    rng = random.Random(len(data))
    extremes = [
        b"\xff",
        b"\0",
        b"\x80",
        b"\x7f",
        b"\xff" * 4,
        b"\0" * 4,
        b"\x80\0\0\0",
        b"\xff" * 8,
        b"\x7f" + b"\xff" * 3,
    ]
    refusals = 0
    for _ in range(1_500):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(broken) + 1)
            piece = rng.choice([*extremes, rng.randbytes(rng.randrange(1, 40))])
            match rng.randrange(4):
                case 0:
                    broken[at : at + len(piece)] = piece
                case 1:
                    broken[at:at] = piece
                case 2:
                    del broken[at : at + rng.randrange(1, 40)]
                case _:
                    start = rng.randrange(len(data))
                    broken[at : at + 40] = data[start : start + 40]
        try:
            read(bytes(broken))
        except E2EEError:
            refusals += 1
    assert refusals > 300
    for _ in range(300):
        with pytest.raises(E2EEError):
            read(b"\1" + rng.randbytes(rng.randrange(300)))


def test_every_flipped_bit_of_what_is_signed_is_refused():
    """The records that are kept or acted on: reading or verifying one refuses each of its bits but none changes."""
    alice, bob = talking()
    account = AccountKey.generate()
    devices = DeviceList.create(account, "bob", [bob.device.record])
    log = MembershipLog("g")
    entry = log.propose(alice.store, add="alice", now=NOW)
    lost = alice.send(bob, b"lost")
    request = request_retry(bob.store, ALICE, lost, now=NOW)

    def follow(data: bytes) -> None:
        MembershipLog("g").append(MembershipEntry.from_bytes(data), alice.device.record)

    acts = [
        (devices.to_bytes(), lambda data: accept_device_list(alice.store, DeviceList.from_bytes(data))),
        (bob.device.record.to_bytes(), lambda data: DeviceRecord.from_bytes(data).verify()),
        (entry.to_bytes(), follow),
        (
            request.to_bytes(),
            lambda data: answer_retry(alice.store, bob.address, RetryRequest.from_bytes(data), now=NOW),
        ),
    ]
    before = contents(alice.store)
    for data, act in acts:
        for position in range(8 * len(data)):
            broken = bytearray(data)
            broken[position // 8] ^= 1 << position % 8
            with pytest.raises(E2EEError):
                act(bytes(broken))
        assert contents(alice.store) == before
    for data, act in acts:
        act(data)


@pytest.mark.parametrize("wrong", NOT_BYTES, ids=range(len(NOT_BYTES)))
def test_what_is_not_bytes_is_neither_sent_nor_read(wrong):
    alice, bob = talking()
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    group = GroupSession(alice.store, log)
    group.rotate(now=NOW)
    with refused(InvalidMessage, alice.store, bob.store):
        encrypt(alice.store, bob.address, wrong, now=NOW)
    with refused(InvalidMessage, alice.store, bob.store):
        decrypt(bob.store, alice.address, wrong, now=NOW)
    with refused(InvalidMessage, alice.store):
        group.encrypt(wrong, now=NOW)
    with refused(InvalidMessage, alice.store):
        group.decrypt(ALICE, wrong, now=NOW)
    with refused(InvalidMessage, bob.store):
        request_retry(bob.store, alice.address, wrong, now=NOW)
    pointer, _ = Attachment.encrypt(b"x")
    for act in (pad, Attachment.encrypt, pointer.decrypt, lambda value: Backup.seal(RECOVERY, value)):
        with pytest.raises(InvalidMessage):
            act(wrong)
    for kind in (typed_keys.ED25519, typed_keys.X25519, typed_keys.MLKEM768):
        with pytest.raises(InvalidMessage):
            typed_keys.decode(kind, wrong)


@pytest.mark.parametrize("wrong", [None, 7, b"bob", "", "x" * 256, "\udc80"], ids=range(6))
def test_an_id_that_is_not_1_to_255_bytes_of_text_names_nobody(wrong):
    alice, bob = talking()
    message = bob.send(alice, b"x")
    for address in (Address(wrong, "phone"), Address("bob", wrong)):
        with refused(InvalidMessage, alice.store):
            encrypt(alice.store, address, b"x", now=NOW)
        with refused(InvalidMessage, alice.store):
            decrypt(alice.store, address, message, now=NOW)
    with pytest.raises(InvalidMessage):
        MembershipLog(wrong)


@pytest.mark.parametrize("wrong", ["\N{KELVIN SIGN}" * 56, "aaaq" * 14, "", "é", b"aaaq", None, 5], ids=range(7))
def test_a_recovery_key_is_56_ascii_letters(wrong):
    with pytest.raises(InvalidKey):
        RecoveryKey.from_text(wrong)


def test_letters_that_only_become_ascii_in_another_case_do_not_count():
    """The dotless i is `I` in upper case and the Kelvin sign is `k` in lower case: one of two languages took them."""
    key = RecoveryKey(bytes(range(1, 64, 2)))
    for letter, lookalike in (
        ("i", "\N{LATIN SMALL LETTER DOTLESS I}"),
        ("k", "\N{KELVIN SIGN}"),
        ("s", "\N{LATIN SMALL LETTER LONG S}"),
    ):
        assert letter in key.text
        with pytest.raises(InvalidKey):
            RecoveryKey.from_text(key.text.replace(letter, lookalike))


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize(("previous", "number"), [(2**31, 0), (0, 2**31), (2**32 - 1, 2**32 - 1)])
def test_counters_above_the_limit_are_malformed(kind, previous, number):
    alice, bob = talking()
    message = alice.send(bob, b"x")
    header = HEADER.pack(1, kind, message[2:18], message[18:50], previous, number)
    with refused(InvalidMessage, bob.store):
        decrypt(bob.store, alice.address, header + message[58:], now=NOW)


def test_counters_up_to_the_limit_are_read():
    alice, bob = talking()
    message = alice.send(bob, b"x")
    fresh = primitives.x25519_public(primitives.x25519_private())
    for key, previous, number in ((message[18:50], 0, 2**31 - 1), (fresh, 2**31 - 1, 0), (fresh, 0, 2**31 - 1)):
        header = HEADER.pack(1, 1, message[2:18], key, previous, number)
        with refused(TooManySkipped, bob.store):
            decrypt(bob.store, alice.address, header + message[58:], now=NOW)


def test_a_sender_key_at_the_end_of_its_counter_is_refused_and_never_overflows():
    alice, bob = talking()
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    log.propose(alice.store, add="bob", now=NOW)
    ours, theirs = GroupSession(alice.store, log), GroupSession(bob.store, log)
    ours.rotate(now=NOW)
    with alice.store.transaction() as tx:
        key = SenderKey.from_bytes(tx.scan("group_own")[0][1])
    key.iteration = 2**31 - 1
    theirs.receive_key(ALICE, Distribution.from_bytes(key.distribution("g").to_bytes()))
    last = key.encrypt("g", ALICE, pad(b"last"))
    assert theirs.decrypt(ALICE, last, now=NOW).plaintext == b"last"
    beyond = key.encrypt("g", ALICE, pad(b"one more"))
    with refused(InvalidMessage, bob.store):
        theirs.decrypt(ALICE, beyond, now=NOW)
    with pytest.raises(InvalidMessage):
        Distribution.from_bytes(key.distribution("g").to_bytes())
    at = GROUP_HEADER.size
    with refused(InvalidMessage, bob.store):
        theirs.decrypt(ALICE, last[: at - 4] + b"\xff" * 4 + last[at:], now=NOW)


def test_a_huge_message_is_refused_before_anything_of_it_is_copied():
    alice, bob = talking()
    message = alice.send(bob, b"x")
    huge = message[:58] + bytes(16_000_000)
    first = b"\1\2" + huge[2:]
    group = b"\1\3" + huge[2:]
    bundle = b"\1" + (2**32 - 1).to_bytes(4, "big") + huge
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    session = GroupSession(bob.store, log)
    acts = [
        lambda: decrypt(bob.store, alice.address, huge, now=NOW),
        lambda: decrypt(bob.store, alice.address, first, now=NOW),
        lambda: session.decrypt(ALICE, group, now=NOW),
        lambda: PreKeyBundle.from_bytes(bundle),
        lambda: DeviceList.from_bytes(bundle),
    ]
    for act in acts:
        tracemalloc.start()
        started = time.process_time()
        with pytest.raises(InvalidMessage):
            act()
        elapsed = time.process_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000
        assert elapsed < 2


def test_the_longest_messages_are_not_longer_than_the_limit():
    alice, bob = party("alice"), party("bob")
    alice.start(bob)
    longest = alice.send(bob, bytes(65_535))
    assert len(longest) <= MAX_MESSAGE < len(longest) + 15  # 14 more suites would still fit
    assert bob.read(alice, longest) == bytes(65_535)
    taken = parse(ALICE, longest)
    record = replace(taken.block.record, suites=tuple(range(1, 17)))
    sixteen = longest[:58] + replace(taken.block, record=record).to_bytes() + taken.ciphertext
    assert len(sixteen) == MAX_MESSAGE
    assert parse(ALICE, sixteen).block.record == record
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    group = GroupSession(alice.store, log)
    group.rotate(now=NOW)
    longest = group.encrypt(bytes(65_535), now=NOW)
    assert len(longest) == MAX_GROUP_MESSAGE
    GroupMessage.parse(longest)
    for read, data in ((GroupMessage.parse, longest), (lambda data: parse(ALICE, data), bytes(MAX_MESSAGE))):
        with pytest.raises((InvalidMessage, UnsupportedVersion)):
            read(data + b"\0")


def test_a_pointer_bounds_what_its_reader_holds():
    """A peer whose file is longer than it says is refused as soon as that shows, not at the end of the stream."""
    pointer, ciphertext = Attachment.encrypt(bytes(5 * 65_536))
    asked = []

    def stream():
        for start in range(0, len(ciphertext), 65_552):
            asked.append(start)
            yield ciphertext[start : start + 65_552]

    lying = replace(pointer, size=65_536)
    with pytest.raises(InvalidMessage):
        b"".join(lying.open(stream()))
    assert len(asked) <= 3


def test_things_out_of_order_are_refused_and_change_nothing():
    alice, bob = talking()
    account = AccountKey.generate()
    lists = [DeviceList.create(account, "bob", [bob.device.record])]
    for _ in range(2):
        lists.append(lists[-1].next(account, [bob.device.record]))
    log = MembershipLog("g")
    entries = [log.propose(alice.store, add=user, now=NOW) for user in ("alice", "bob", "carol")]
    group = GroupSession(alice.store, log)
    key = group.rotate(now=NOW)
    message = group.encrypt(b"x", now=NOW)

    theirs = GroupSession(bob.store, MembershipLog("g"))
    for entry in entries[1:]:
        with pytest.raises(InvalidMessage):
            theirs.log.append(entry, alice.device.record)
    with refused(NotAMember, bob.store):
        theirs.receive_key(ALICE, key)
    with refused(NotAMember, bob.store):
        theirs.decrypt(ALICE, message, now=NOW)
    theirs.log.append(entries[0], alice.device.record)
    with refused(NoSession, bob.store):
        theirs.decrypt(ALICE, message, now=NOW)
    theirs.receive_key(ALICE, key)
    assert theirs.decrypt(ALICE, message, now=NOW).plaintext == b"x"
    accept_device_list(alice.store, lists[0])
    with refused(StaleDeviceList, alice.store):
        accept_device_list(alice.store, lists[2])
    accept_device_list(alice.store, lists[1])
    accept_device_list(alice.store, lists[2])
