"""What an attacker may do to bytes, ids, keys and order: a typed error, no change, bounded cost."""

import itertools
import time
from dataclasses import replace

import pytest

from mana_e2ee.core import (
    AccountKey,
    Address,
    DeviceList,
    DeviceRecord,
    DowngradeRefused,
    DuplicateMessage,
    E2EEError,
    GroupSession,
    InvalidKey,
    InvalidMessage,
    InvalidSignature,
    KemPreKey,
    MembershipLog,
    NoSession,
    OneTimePreKey,
    PreKeyBundle,
    Publication,
    SignedPreKey,
    TooManySkipped,
    UnknownPreKey,
    UnsupportedVersion,
    UntrustedIdentity,
    accept_device_list,
    decrypt,
    process_prekey_bundle,
)
from mana_e2ee.core import keys as typed_keys
from mana_e2ee.core import primitives as p
from mana_e2ee.core.encoding import Reader
from mana_e2ee.core.envelope import HEADER, HEADER_SIZE, HandshakeBlock, parse
from mana_e2ee.core.handshake import ResponderKeys, initiate, respond
from mana_e2ee.core.ratchet import Ratchet
from mana_e2ee.core.ratchet_state import dump, load
from mana_e2ee.core.sender_keys import ReceiverKey, SenderKey

from .parties import DAY, NOW, Party, contents, pair, party, refused, talking

SPACED = itertools.count(0, 4_000)  # moments far enough apart that the throttle never answers first


def first_message(suites: tuple[int, ...]) -> tuple[Party, Party, bytes]:
    alice, bob = pair(suites=suites)
    alice.start(bob)
    return alice, bob, alice.send(bob, b"x")


def later_message(suites: tuple[int, ...]) -> tuple[Party, Party, bytes]:
    alice, bob = talking(suites=suites)
    return alice, bob, alice.send(bob, b"x")


@pytest.mark.parametrize("bit", [0x01, 0x80])
@pytest.mark.parametrize("make", [first_message, later_message])
@pytest.mark.parametrize("suites", [(1,), (1, 2)])
def test_every_flipped_byte_is_refused_and_changes_nothing(suites, make, bit):
    alice, bob, message = make(suites)
    before = contents(bob.store)
    seen = set()
    for position in range(len(message)):
        broken = bytearray(message)
        broken[position] ^= bit
        with pytest.raises(E2EEError) as caught:
            bob.read(alice, bytes(broken), now=NOW + next(SPACED))
        seen.add(type(caught.value))
        assert contents(bob.store) == before, position
    assert {UnsupportedVersion, InvalidMessage} < seen
    assert seen <= {
        UnsupportedVersion,
        InvalidMessage,
        InvalidKey,
        InvalidSignature,
        NoSession,
        TooManySkipped,
        UnknownPreKey,
        DuplicateMessage,
    }
    assert bob.read(alice, message, now=NOW + next(SPACED)) == b"x"


@pytest.mark.parametrize("make", [first_message, later_message])
def test_every_length_is_refused(make):
    alice, bob, message = make((1, 2))
    before = contents(bob.store)
    for length in range(len(message)):
        with pytest.raises((InvalidMessage, InvalidKey)):
            bob.read(alice, message[:length], now=NOW + next(SPACED))
    for extra in (b"\0", bytes(1_000), bytes(70_000)):
        with pytest.raises(InvalidMessage):
            bob.read(alice, message + extra, now=NOW + next(SPACED))
    assert contents(bob.store) == before


@pytest.mark.parametrize("kind", [0, 3, 4, 5, 6, 255])
def test_other_types_are_not_pairwise_messages(kind):
    alice, bob, message = later_message((1, 2))
    with refused(InvalidMessage, bob.store):
        bob.read(alice, bytes((1, kind)) + message[2:])


def test_a_first_message_turned_into_a_later_one_and_back_is_refused():
    alice, bob, message = first_message((1,))
    with refused(NoSession, bob.store):
        bob.read(alice, b"\1\1" + message[2:])
    bob.read(alice, message)
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, b"\1\1" + message[2:])
    second = alice.send(bob, b"y")
    with refused(InvalidMessage, bob.store):
        bob.read(alice, b"\1\1" + second[2:])
    answer = bob.send(alice, b"z")
    with refused(InvalidMessage, alice.store):
        alice.read(bob, b"\1\2" + answer[2:])


def test_a_message_spoofed_from_another_address_is_refused():
    alice, bob = talking()
    carol = party("carol")
    carol.start(bob)
    bob.read(carol, carol.send(bob, b"hello"))
    message = alice.send(bob, b"x")
    with refused(NoSession, bob.store):
        bob.read(carol, message)
    mallory = party("mallory")
    mallory.start(bob)
    first = mallory.send(bob, b"I am dave")
    with refused(InvalidSignature, bob.store):
        decrypt(bob.store, Address("dave", "phone"), first, now=NOW)
    with refused(InvalidSignature, bob.store):
        decrypt(bob.store, Address("mallory", "tablet"), first, now=NOW)
    with refused(UntrustedIdentity, bob.store):
        bob.read(alice, first)


def test_a_message_for_another_device_is_refused():
    alice, bob = pair()
    tablet = party("bob", "tablet")
    alice.start(bob)
    message = alice.send(bob, b"x")
    with refused(InvalidMessage, tablet.store):
        tablet.read(alice, message)


def test_a_message_is_not_read_on_another_session():
    alice, bob = talking()
    old = alice.send(bob, b"old")
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"new"))
    alice.read(bob, bob.send(alice, b"answer"))
    new = alice.send(bob, b"newer")
    for one, other in ((old, new), (new, old)):
        with refused(InvalidMessage, bob.store):
            bob.read(alice, one[:2] + other[2:18] + one[18:])


def test_a_message_is_not_read_back_by_its_sender():
    alice, bob = talking()
    message = alice.send(bob, b"x")
    with refused(InvalidMessage, alice.store):
        alice.read(bob, message)


@pytest.mark.parametrize("part", ["signed_prekey", "kem_prekey", "one_time", "record"])
def test_a_bundle_with_another_devices_part_is_refused(part):
    alice, bob = pair()
    mallory = party("mallory")
    bundle, other = bob.claim(), mallory.claim()
    swapped = replace(bundle, **{part: getattr(other, part)})
    if part == "one_time":
        process_prekey_bundle(alice.store, bob.address, swapped, now=NOW)
        with refused(InvalidMessage, bob.store):  # unsigned, but in the transcript
            bob.read(alice, alice.send(bob, b"x"))
        return
    with refused(UntrustedIdentity if part == "record" else InvalidSignature, alice.store):
        process_prekey_bundle(alice.store, bob.address, swapped, now=NOW)


@pytest.mark.parametrize("part", ["signed_prekey", "kem_prekey"])
def test_a_signed_prekey_under_another_id_is_refused(part):
    alice, bob = pair()
    bundle = bob.claim()
    key = getattr(bundle, part)
    with refused(InvalidSignature, alice.store):
        process_prekey_bundle(alice.store, bob.address, replace(bundle, **{part: replace(key, id=key.id + 1)}), now=NOW)


def test_a_one_time_prekey_under_another_id_does_not_agree():
    alice, bob = pair()
    bundle = bob.claim()
    wrong = replace(bundle, one_time=replace(bundle.one_time, id=bundle.one_time.id + 1))
    process_prekey_bundle(alice.store, bob.address, wrong, now=NOW)
    with refused(InvalidMessage, bob.store):
        bob.read(alice, alice.send(bob, b"x"))


def test_every_flipped_byte_of_a_bundle_is_refused():
    alice, bob = pair(suites=(1, 2))
    data = bob.claim().to_bytes()
    one_time_at = len(data) - 37
    for position in range(one_time_at):
        broken = bytearray(data)
        broken[position] ^= 1
        with pytest.raises(E2EEError):
            process_prekey_bundle(alice.store, bob.address, PreKeyBundle.from_bytes(bytes(broken)), now=NOW)
    for length in range(0, len(data), 11):
        with pytest.raises(E2EEError):
            PreKeyBundle.from_bytes(data[:length])
    with pytest.raises(InvalidMessage):
        PreKeyBundle.from_bytes(data + b"\0")
    assert contents(alice.store)["session"] == []


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 255])
def test_a_key_with_another_type_byte_is_refused(kind):
    bob = party("bob")
    record = bob.device.record
    examples = {
        typed_keys.ED25519: record.signing_key,
        typed_keys.X25519: record.dh_key,
        typed_keys.MLKEM768: bob.publication.kem_prekey.public,
    }
    for own, key in examples.items():
        assert typed_keys.decode(own, typed_keys.encode(own, key)) == key
        for wanted in examples:
            if wanted != own or kind != own:
                with pytest.raises(InvalidKey):
                    typed_keys.decode(wanted, bytes((kind,)) + key if wanted == own else bytes((own,)) + key)
        for wrong in (key[:-1], key + b"\0", b""):
            with pytest.raises(InvalidKey):
                typed_keys.decode(own, bytes((own,)) + wrong)


def test_an_ml_kem_key_above_the_modulus_is_refused():
    with pytest.raises(InvalidKey):
        typed_keys.decode(typed_keys.MLKEM768, b"\3" + b"\xff" * 1_184)


def test_a_ratchet_key_of_small_order_is_refused():
    alice, bob, message = later_message((1,))
    for u in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 1):
        with refused(InvalidKey, bob.store):
            bob.read(alice, message[:18] + u.to_bytes(32, "little") + message[50:], now=NOW + next(SPACED))


NEUTRAL = (1).to_bytes(32, "little")  # the point of order 1, under which one signature fits every message
FITS_ALL = NEUTRAL + bytes(32)


def test_objects_made_by_hand_are_checked_like_those_that_were_read():
    """An application that builds records from JSON, and not from their bytes, gets the same refusals."""
    p.verify(NEUTRAL, FITS_ALL, b"any message at all")  # the library sees nothing wrong in it
    alice, bob = pair()
    bundle = bob.claim()
    forged = replace(bundle.record, signing_key=NEUTRAL, signature=FITS_ALL)
    account = AccountKey.generate()
    devices = DeviceList.create(account, "bob", [bob.device.record])
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    group = GroupSession(alice.store, log)
    key = group.rotate(now=NOW)
    with refused(InvalidKey, alice.store):
        process_prekey_bundle(alice.store, bob.address, replace(bundle, record=forged), now=NOW)
    with refused(InvalidKey, alice.store):
        process_prekey_bundle(
            alice.store, bob.address, replace(bundle, record=resigned(bob, dh_key=bytes(32))), now=NOW
        )
    with refused(InvalidKey, alice.store):
        accept_device_list(alice.store, replace(devices, account=NEUTRAL, signature=FITS_ALL))
    with refused(InvalidKey, alice.store):
        group.receive_key(alice.address, replace(key, id=bytes(16), signing_key=NEUTRAL))
    for part in ("signed_prekey", "one_time"):
        low = replace(getattr(bundle, part), public=bytes(32))
        if part == "signed_prekey":
            with bob.store.transaction() as tx:
                seed = tx.get("device", b"")[-64:-32]
            low = replace(low, signature=p.sign(seed, SignedPreKey.covered(bob.address, low.id, low.public)))
        with refused(InvalidKey, alice.store):
            process_prekey_bundle(alice.store, bob.address, replace(bundle, **{part: low}), now=NOW)


def test_a_forged_first_message_costs_no_one_time_prekey():
    alice, bob, message = first_message((1, 2))
    broken = message[:-1] + bytes((message[-1] ^ 1,))
    with refused(InvalidMessage, bob.store):
        bob.read(alice, broken)
    assert len(contents(bob.store)["one_time"]) == 4
    bob.read(alice, message)
    assert len(contents(bob.store)["one_time"]) == 3


def resigned(device: Party, **changes: object) -> DeviceRecord:
    with device.store.transaction() as tx:
        seed = tx.get("device", b"")[-64:-32]
    return replace(device.device.record, **changes).signed_with(seed)


def test_a_first_message_in_a_weaker_suite_than_the_records_is_refused():
    alice, bob = pair()
    bundle = bob.claim()
    weaker = replace(bundle, record=resigned(bob, suites=(1,)), kem_prekey=None)
    process_prekey_bundle(alice.store, bob.address, weaker, now=NOW)
    message = alice.send(bob, b"x")
    assert message[HEADER_SIZE] == 1
    with refused(DowngradeRefused, bob.store):
        bob.read(alice, message)


def test_the_suites_of_a_record_cannot_be_stripped_on_the_way():
    bob = party("bob")
    stripped = replace(bob.device.record, suites=(1,))
    with pytest.raises(InvalidSignature):
        stripped.verify()
    for suites in (b"", b"\2\1", b"\1\1", bytes(range(1, 18))):
        data = bob.device.record.to_bytes()
        at = 1 + len(bob.address.to_bytes()) + 8
        with pytest.raises(InvalidMessage):
            DeviceRecord.from_bytes(data[:at] + bytes((len(suites),)) + suites + data[at + 3 :])


def test_a_record_may_list_sixteen_suites():
    bob = party("bob")
    record = resigned(bob, suites=tuple(range(1, 17)))
    assert DeviceRecord.from_bytes(record.to_bytes()).verify() == record


@pytest.mark.parametrize("suites", [(1,), (1, 2)])
@pytest.mark.parametrize("one_time", [True, False])
def test_a_bundle_and_a_block_come_back_as_they_were(suites, one_time):
    alice, bob = pair(suites=suites)
    bundle = bob.claim(one_time=one_time)
    assert PreKeyBundle.from_bytes(bundle.to_bytes()) == bundle
    process_prekey_bundle(alice.store, bob.address, bundle, now=NOW)
    message = parse(alice.address, alice.send(bob, b"x"))
    assert message.header.kind == 2
    assert message.block.to_bytes() == message.prefix[HEADER_SIZE:]
    assert (message.block.one_time_id, message.block.kem_id) == (int(one_time), len(suites) - 1)


@pytest.mark.parametrize(
    ("suite", "ids"),
    [(1, (0, 0, 0)), (1, (1, 0, 1)), (2, (1, 0, 0)), (2, (0, 0, 1)), (3, (1, 0, 1)), (0, (1, 0, 0))],
)
def test_a_block_whose_ids_do_not_fit_its_suite_is_refused(suite, ids):
    _, _, message = first_message((1, 2))
    block = parse(Address("alice", "phone"), message).block
    changed = replace(block, suite=suite, signed_prekey_id=ids[0], one_time_id=ids[1], kem_id=ids[2]).to_bytes()
    with pytest.raises(InvalidMessage):
        HandshakeBlock.read(Address("alice", "phone"), Reader(changed))


def test_prekeys_with_the_id_zero_are_refused():
    bob = party("bob")
    publication = bob.publication
    for kind, key in (
        (SignedPreKey, publication.signed_prekey),
        (KemPreKey, publication.kem_prekey),
        (OneTimePreKey, publication.one_time[0]),
    ):
        with pytest.raises(InvalidMessage):
            kind.from_bytes(replace(key, id=0).to_bytes())
        assert kind.from_bytes(key.to_bytes()) == key


def test_a_directory_can_check_an_upload():
    bob, mallory = party("bob"), party("mallory")
    publication = bob.publication
    publication.verify()
    for broken in (
        replace(publication, signed_prekey=mallory.publication.signed_prekey),
        replace(publication, kem_prekey=mallory.publication.kem_prekey),
        replace(publication, record=replace(publication.record, created=1)),
        replace(publication, one_time=(publication.one_time[0], publication.one_time[0])),
    ):
        with pytest.raises(InvalidSignature):
            broken.verify()
    assert isinstance(publication, Publication)


def test_a_responder_that_is_given_other_keys_gets_another_secret():
    alice, bob, message = first_message((1, 2))
    block = parse(alice.address, message).block
    others = ResponderKeys(p.x25519_private(), p.x25519_private(), None, p.kem_private())
    secrets = {respond(bob.device.record, others, block).secret for _ in range(2)}
    assert len(secrets) == 1
    with pytest.raises(InvalidSignature):
        respond(bob.device.record, others, replace(block, record=replace(block.record, created=1)))


# Bounds


def test_a_message_may_skip_a_thousand_keys_and_not_one_more():
    alice, bob = talking()
    messages = [alice.send(bob, b"x") for _ in range(1_002)]
    with refused(TooManySkipped, bob.store):
        bob.read(alice, messages[1_001])
    assert bob.read(alice, messages[1_000]) == b"x"
    assert bob.read(alice, messages[0]) == b"x"


def test_a_new_chain_may_leave_a_thousand_keys_of_the_last_and_not_one_more():
    for lost, fine in ((1_000, True), (1_001, False)):
        alice, bob = talking()
        bob.read(alice, alice.send(bob, b"a"))
        last = [alice.send(bob, b"lost") for _ in range(lost)][-1]
        alice.read(bob, bob.send(alice, b"b"))
        message = alice.send(bob, b"c")
        if fine:
            assert bob.read(alice, message) == b"c"
            assert bob.read(alice, last) == b"lost"
        else:
            with refused(TooManySkipped, bob.store):
                bob.read(alice, message)


def test_two_thousand_skipped_keys_are_kept_first_in_first_out():
    alice, bob = talking()
    messages = [alice.send(bob, str(index).encode()) for index in range(3_003)]
    for index in (1_000, 2_001, 3_002):
        bob.read(alice, messages[index])
    with bob.store.transaction() as tx:
        ratchet = load(tx.scan("session")[0][1])
    assert len(ratchet.skipped) == 2_000
    assert load(dump(ratchet)) == ratchet
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, messages[999])
    assert bob.read(alice, messages[1_001]) == b"1001"
    assert bob.read(alice, messages[3_001]) == b"3001"


def test_skipped_keys_expire_after_thirty_days():
    alice, bob = talking()
    messages = [alice.send(bob, b"x") for _ in range(6)]
    bob.read(alice, messages[2])
    assert bob.read(alice, messages[0], now=NOW + 30 * DAY) == b"x"
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, messages[1], now=NOW + 30 * DAY + 1)
    bob.read(alice, messages[4], now=NOW + 30 * DAY + 1)
    with bob.store.transaction() as tx:
        skipped = load(tx.scan("session")[0][1]).skipped
    assert [number for _, number in skipped] == [3]


def test_a_forgery_is_refused_after_bounded_work(monkeypatch):
    alice, bob = talking()
    header = HEADER.pack(1, 1, alice.send(bob, b"x")[2:18], p.x25519_public(p.x25519_private()), 1_000, 1_000)
    calls = {"hmac": 0, "dh": 0}
    hmac, dh = p.hmac_sha256, p.x25519

    def counted_hmac(key, data):
        calls["hmac"] += 1
        return hmac(key, data)

    def counted_dh(private, public):
        calls["dh"] += 1
        return dh(private, public)

    monkeypatch.setattr(p, "hmac_sha256", counted_hmac)
    monkeypatch.setattr(p, "x25519", counted_dh)
    started = time.process_time()
    with refused(InvalidMessage, bob.store):
        bob.read(alice, header + bytes(48))
    assert time.process_time() - started < 1
    assert calls["dh"] == 1
    assert calls["hmac"] == 2 * 1_001
    calls.update(hmac=0, dh=0)
    far = HEADER.pack(1, 1, header[2:18], header[18:50], 0, 2**31 - 1)
    with refused(TooManySkipped, bob.store):
        bob.read(alice, far + bytes(48))
    assert calls["hmac"] == 0


def test_ended_chains_are_remembered_up_to_a_bound():
    alice, bob = talking()
    old = []
    for _ in range(40):
        old.append(alice.send(bob, b"x"))
        bob.read(alice, old[-1])
        alice.read(bob, bob.send(alice, b"y"))
    bob.read(alice, alice.send(bob, b"last"))
    with bob.store.transaction() as tx:
        assert len(load(tx.scan("session")[0][1]).past) == 32
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, old[10])
    with refused(InvalidMessage, bob.store):  # forgotten, and still not readable
        bob.read(alice, old[2])


def test_the_first_chain_of_a_session_follows_none():
    alice, bob = pair()
    alice.start(bob)
    with alice.store.transaction() as tx:
        row, state = tx.scan("session")[0]
        ratchet = load(state)
        ratchet.previous = 5_000  # says nothing: the other side has no chain that could have gaps
        tx.put("session", row, dump(ratchet))
    assert bob.read(alice, alice.send(bob, b"x")) == b"x"
    assert alice.read(bob, bob.send(alice, b"y")) == b"y"
    for device in (alice, bob):
        with device.store.transaction() as tx:
            assert load(tx.scan("session")[0][1]).past == []


def test_a_stored_session_comes_back_as_it_was():
    alice, bob = talking()
    with bob.store.transaction() as tx:
        ratchet = load(tx.scan("session")[0][1])
    ratchet.skipped = {(bytes([index]) * 32, 2**31 - 1 - index): (bytes(32), 2**40 + index) for index in range(3)}
    ratchet.past = [bytes([index]) * 32 for index in range(32)]
    assert load(dump(ratchet)) == ratchet
    assert alice.address != bob.address


def test_a_chain_ends_before_its_counter_does():
    alice, bob = talking()
    alice.read(bob, bob.send(alice, b"x"))
    with alice.store.transaction() as tx:
        key, row = tx.scan("session")[0]
        ratchet = load(row)
        ratchet.sent = 2**31 - 1
        tx.put("session", key, dump(ratchet))
    with refused(NoSession, alice.store):
        alice.send(bob, b"one too many")


def test_a_session_that_has_received_nothing_cannot_send():
    alice, bob, message = first_message((1,))
    block = parse(alice.address, message).block
    agreement = respond(bob.device.record, ResponderKeys(p.x25519_private(), p.x25519_private(), None, None), block)
    with pytest.raises(NoSession):
        Ratchet.for_responder(agreement, p.x25519_private()).encrypt(b"x")


def test_a_stored_session_of_another_format_is_not_read():
    alice, _ = talking()
    with alice.store.transaction() as tx:
        row = tx.scan("session")[0][1]
    with pytest.raises(UnsupportedVersion):
        load(b"\x09" + row[1:])
    with pytest.raises(InvalidMessage):
        load(row + b"\0")


def test_no_secret_is_printed():
    alice, bob = talking()
    from mana_e2ee.core.device import own_identity

    with alice.store.transaction() as tx:
        own = own_identity(tx)
    shown = repr(own) + repr(alice.device) + repr(bob.publication)
    assert own.signing_seed.hex() not in shown
    assert repr(own.signing_seed) not in shown
    assert repr(own.dh_private) not in shown
    with alice.store.transaction() as tx:
        ratchet = load(tx.scan("session")[0][1])
    for secret in (ratchet.root, ratchet.own_private, ratchet.sending):
        assert repr(secret) not in repr(ratchet)
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    distribution = GroupSession(alice.store, log).rotate(now=NOW)
    with alice.store.transaction() as tx:
        sender = SenderKey.from_bytes(tx.scan("group_own")[0][1])
    receiver = ReceiverKey(1, 1, 0, distribution.chain, distribution.signing_key)
    responder = ResponderKeys(own.dh_private, own.dh_private, None, None)
    agreement = initiate(own.record, own.dh_private, bob.claim())
    received = decrypt(bob.store, alice.address, alice.send(bob, b"secret text"), now=NOW)
    shown = repr([sender, receiver, distribution, responder, agreement, received])
    for secret in (sender.chain, sender.seed, own.dh_private, agreement.secret, b"secret text"):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_a_crash_before_the_state_is_written_loses_nothing_and_reuses_nothing(monkeypatch):
    alice, bob = talking()
    message = alice.send(bob, b"x")
    from mana_e2ee.core import sessions

    def crash(*_):
        raise RuntimeError

    monkeypatch.setattr(sessions, "keep", crash)
    before = contents(bob.store)
    with pytest.raises(RuntimeError):
        bob.read(alice, message)
    assert contents(bob.store) == before
    monkeypatch.undo()
    assert bob.read(alice, message) == b"x"


def test_an_exchange_that_gives_zero_is_refused():
    private = p.x25519_load(p.x25519_private())
    with pytest.raises(InvalidKey):
        p.x25519(private, bytes(32))


def test_an_ed25519_key_that_is_no_point_verifies_nothing():
    message = b"x"
    signature = p.sign(p.ed25519_private(), message)
    with pytest.raises(InvalidSignature):
        p.verify((2).to_bytes(32, "little"), signature, message)
    with pytest.raises(InvalidSignature):
        p.verify(p.ed25519_public(p.ed25519_private()), signature[:-1], message)
