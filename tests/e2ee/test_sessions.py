"""Sessions: start, talk, cross, archive, repeat."""

import itertools
import random

import pytest

from mana_e2ee.core import (
    DowngradeRefused,
    DuplicateMessage,
    InvalidMessage,
    NoSession,
    Publication,
    UnknownPreKey,
    UnsupportedVersion,
    UntrustedIdentity,
    decrypt,
    encrypt,
    encrypt_many,
    forget,
    has_session,
    identity,
    pending,
    process_prekey_bundle,
    trust_identity,
)
from mana_e2ee.core.ratchet_state import load

from .parties import DAY, NOW, contents, pair, party, refused, talking

SUITES = [(1,), (1, 2), (2,)]


@pytest.mark.parametrize("suites", SUITES)
@pytest.mark.parametrize("one_time", [True, False])
def test_a_first_message_carries_everything_that_the_other_side_needs(suites, one_time):
    alice, bob = pair(suites=suites)
    session_id = alice.start(bob, one_time=one_time)
    message = alice.send(bob, b"hello")
    received = decrypt(bob.store, alice.address, message, now=NOW)
    assert received.plaintext == b"hello"
    assert received.session_id == session_id
    assert received.address == alice.address
    assert message[0] == 1
    assert message[1] == 2
    assert message[58] == max(suites)
    assert len(message) <= 1_400


def test_both_sides_know_each_other_afterwards():
    alice, bob = talking()
    assert identity(bob.store, alice.address) == alice.device.record
    assert identity(alice.store, bob.address) == bob.device.record
    assert identity(alice.store, party("carol").address) is None


def test_first_messages_are_sent_until_an_answer_comes():
    alice, bob = pair()
    alice.start(bob)
    first, second = alice.send(bob, b"1"), alice.send(bob, b"2")
    assert (first[1], second[1]) == (2, 2)
    assert bob.read(alice, second) == b"2"
    answer = bob.send(alice, b"3")
    assert answer[1] == 1
    assert alice.read(bob, answer) == b"3"
    third = alice.send(bob, b"4")
    assert third[1] == 1
    assert bob.read(alice, third) == b"4"
    assert bob.read(alice, first) == b"1"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_messages_may_arrive_in_any_order(order):
    alice, bob = talking()
    messages = [alice.send(bob, bytes([index])) for index in range(4)]
    for index in order:
        assert bob.read(alice, messages[index]) == bytes([index])
    for message in messages:
        with refused(DuplicateMessage, bob.store):
            bob.read(alice, message)


def test_a_long_conversation_with_losses_and_delays():
    rng = random.Random(7)
    alice, bob = talking()
    waiting = {alice.address: [], bob.address: []}
    for turn in range(300):
        sender, receiver = (alice, bob) if rng.random() < 0.5 else (bob, alice)
        text = str(turn).encode()
        waiting[receiver.address].append((sender, receiver, text, sender.send(receiver, text)))
        for box in waiting.values():
            rng.shuffle(box)
            while box and rng.random() < 0.4:
                source, target, expected, message = box.pop()
                if rng.random() < 0.9:
                    assert target.read(source, message) == expected


def test_a_one_time_prekey_serves_one_session():
    alice, bob = pair()
    carol = party("carol")
    bundle = bob.claim()
    process_prekey_bundle(alice.store, bob.address, bundle, now=NOW)
    process_prekey_bundle(carol.store, bob.address, bundle, now=NOW)
    assert bob.read(alice, alice.send(bob, b"first")) == b"first"
    with refused(UnknownPreKey, bob.store):
        bob.read(carol, carol.send(bob, b"second"))


@pytest.mark.parametrize("one_time", [True, False])
def test_a_first_message_is_not_accepted_again_when_its_session_is_gone(one_time):
    alice, bob = pair()
    alice.start(bob, one_time=one_time)
    message = alice.send(bob, b"hello")
    bob.read(alice, message)
    with bob.store.transaction() as tx:
        for table in ("session", "active", "archived"):
            for key, _ in tx.scan(table):
                tx.delete(table, key)
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, message)


def test_who_started_at_the_same_time_ends_on_one_session():
    for _ in range(8):
        alice, bob = pair()
        ours, theirs = alice.start(bob), bob.start(alice)
        to_bob, to_alice = alice.send(bob, b"a"), bob.send(alice, b"b")
        assert alice.read(bob, to_alice) == b"b"
        assert bob.read(alice, to_bob) == b"a"
        again_to_bob, again_to_alice = alice.send(bob, b"c"), bob.send(alice, b"d")
        assert again_to_bob[2:18] == again_to_alice[2:18] == min(ours, theirs)
        assert bob.read(alice, again_to_bob) == b"c"
        assert alice.read(bob, again_to_alice) == b"d"


def test_a_new_start_replaces_a_session_and_the_old_one_still_receives():
    alice, bob = talking()
    bob.read(alice, alice.send(bob, b"a chain that bob knows"))
    late = alice.send(bob, b"late")
    fresh = alice.start(bob)
    message = alice.send(bob, b"new")
    assert message[2:18] == fresh
    assert bob.read(alice, message) == b"new"
    assert bob.send(alice, b"answer")[2:18] == fresh
    assert bob.read(alice, late) == b"late"
    assert bob.send(alice, b"answer")[2:18] == fresh


def test_who_is_answered_on_an_archived_session_returns_to_it():
    alice, bob = talking()
    old = bob.send(alice, b"?")[2:18]
    alice.start(bob)  # whose first message is lost
    reply = bob.read(alice, _on(alice, bob, old, b"from the old session"))
    assert reply == b"from the old session"
    assert alice.read(bob, bob.send(alice, b"on the old one")) == b"on the old one"
    assert alice.send(bob, b"x")[2:18] == old


def test_a_late_message_with_a_new_ratchet_key_moves_both_sides_to_its_session():
    alice, bob = talking()
    late = alice.send(bob, b"late")
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"new"))
    bob.read(alice, late)
    answer = bob.send(alice, b"answer")
    assert answer[2:18] == late[2:18]
    alice.read(bob, answer)
    assert alice.send(bob, b"x")[2:18] == late[2:18]


def _on(sender, receiver, session_id, plaintext):
    """A message on a given session of the sender, whichever is active."""
    key = receiver.address.to_bytes()
    with sender.store.transaction() as tx:
        active = tx.get("active", key)
        tx.put("active", key, session_id)
    message = sender.send(receiver, plaintext)
    with sender.store.transaction() as tx:
        tx.put("active", key, active)
    return message


def test_five_sessions_are_kept_for_receiving_and_none_for_more_than_thirty_days():
    alice, bob = pair(one_time=20)
    late = []
    for index in range(8):
        alice.start(bob, now=NOW + index)
        bob.read(alice, alice.send(bob, b"hello", now=NOW + index), now=NOW + index)
        late.append(alice.send(bob, b"late", now=NOW + index))
    assert len(contents(bob.store)["session"]) == 6
    assert len(contents(alice.store)["session"]) == 6
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, late[1], now=NOW + 8)
    assert bob.read(alice, late[2], now=NOW + 8) == b"late"
    assert bob.read(alice, late[3], now=NOW + 4 + 30 * DAY) == b"late"
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, late[4], now=NOW + 6 + 30 * DAY)
    assert bob.read(alice, late[7], now=NOW + 90 * DAY) == b"late"


def test_old_archived_sessions_are_deleted_when_another_is_archived():
    alice, bob = pair(one_time=20)
    for day in (0, 1, 40):
        alice.start(bob, now=NOW + day * DAY)
    assert len(contents(alice.store)["session"]) == 2


def test_a_session_that_nobody_answers_is_given_up_after_thirty_days():
    alice, bob = pair()
    alice.start(bob)
    alice.send(bob, b"anyone?", now=NOW + 30 * DAY)
    assert has_session(alice.store, bob.address, now=NOW + 30 * DAY)
    assert not has_session(alice.store, bob.address, now=NOW + 30 * DAY + 1)
    with refused(NoSession, alice.store):
        alice.send(bob, b"anyone?", now=NOW + 30 * DAY + 1)


def test_an_abandoned_start_does_not_win_over_a_new_one():
    while True:
        alice, bob = pair()
        ours, theirs = alice.start(bob), bob.start(alice, now=NOW + 31 * DAY)
        if ours < theirs:
            break
    alice.read(bob, bob.send(alice, b"hello", now=NOW + 31 * DAY), now=NOW + 31 * DAY)
    assert alice.send(bob, b"yes", now=NOW + 31 * DAY)[2:18] == theirs


def test_nothing_is_sent_without_a_session():
    alice, bob = pair()
    assert not has_session(alice.store, bob.address, now=NOW)
    with refused(NoSession, alice.store):
        alice.send(bob, b"hello")


def test_an_unknown_session_is_named_as_such():
    alice, bob = talking()
    carol = party("carol")
    with refused(NoSession, carol.store):
        carol.read(alice, alice.send(bob, b"not for carol"))


def test_a_changed_identity_is_refused_until_the_user_agrees():
    alice, bob = talking()
    impostor = party("bob")
    with refused(UntrustedIdentity, alice.store):
        alice.start(impostor)
    impostor.start(alice)
    message = impostor.send(alice, b"it is me")
    with refused(UntrustedIdentity, alice.store):
        alice.read(bob, message)
    trust_identity(alice.store, impostor.device.record)
    assert not has_session(alice.store, bob.address)
    assert alice.read(impostor, message) == b"it is me"


def test_trusting_the_same_identity_again_keeps_its_sessions():
    alice, bob = talking()
    trust_identity(alice.store, bob.device.record)
    assert has_session(alice.store, bob.address)


def test_a_bundle_for_another_address_is_refused():
    alice, bob = pair()
    carol = party("carol")
    with refused(UntrustedIdentity, alice.store):
        process_prekey_bundle(alice.store, bob.address, carol.claim(), now=NOW)


def test_a_device_has_no_session_with_itself():
    alice, _ = pair()
    with refused(UntrustedIdentity, alice.store):
        alice.start(alice)


def test_suite_two_is_not_given_up_when_both_records_list_it():
    alice, bob = pair()
    publication = bob.publication
    stripped = Publication(publication.record, publication.signed_prekey, None, publication.one_time)
    with refused(DowngradeRefused, alice.store):
        process_prekey_bundle(alice.store, bob.address, stripped.bundle(None), now=NOW)


def test_an_older_record_of_a_known_device_is_refused():
    alice, bob = talking()
    own = bob.device.record
    with bob.store.transaction() as tx:
        seed = tx.get("device", b"")[-64:-32]
    from dataclasses import replace

    older = replace(own, suites=(1,), created=own.created - 1).signed_with(seed)
    bundle = replace(bob.claim(), record=older, kem_prekey=None)
    with refused(DowngradeRefused, alice.store):
        process_prekey_bundle(alice.store, bob.address, bundle, now=NOW)


def test_devices_without_a_common_suite_do_not_talk():
    alice, bob = party("alice", suites=(1,)), party("bob", suites=(2,))
    with refused(UnsupportedVersion, alice.store):
        alice.start(bob)


def test_a_device_of_suite_one_and_one_of_both_use_suite_one():
    alice, bob = party("alice", suites=(1,)), party("bob")
    alice.start(bob)
    message = alice.send(bob, b"hello")
    assert message[58] == 1
    assert bob.read(alice, message) == b"hello"


def test_plaintexts_wait_in_the_store_until_they_are_forgotten():
    alice, bob = talking()
    message = alice.send(bob, b"keep me")
    received = decrypt(bob.store, alice.address, message, now=NOW)
    assert received in pending(bob.store)
    forget(bob.store, received)
    assert received not in pending(bob.store)
    assert [item.plaintext for item in pending(bob.store)] == [b"hello"]


@pytest.mark.parametrize("length", [0, 1, 31, 32, 1_023, 1_024, 65_535])
def test_every_allowed_length_arrives(length):
    alice, bob = talking()
    assert bob.read(alice, alice.send(bob, b"x" * length)) == b"x" * length


def test_a_plaintext_that_is_too_long_is_refused():
    alice, bob = talking()
    with refused(InvalidMessage, alice.store):
        alice.send(bob, b"x" * 65_536)


def test_the_overhead_of_a_message_is_at_most_80_bytes():
    alice, bob = talking()
    assert len(alice.send(bob, b"x" * 31)) - 31 == 75
    assert len(alice.send(bob, b"x" * 1_023)) - 1_023 == 75


def test_a_fan_out_is_one_transaction_for_all_or_none():
    alice, bob, carol = party("alice"), party("bob"), party("carol")
    alice.start(bob)
    with refused(NoSession, alice.store):
        encrypt_many(alice.store, [bob.address, carol.address], b"x", now=NOW)
    alice.start(carol)
    messages = encrypt_many(alice.store, [bob.address, carol.address], b"x", now=NOW)
    assert list(messages) == [bob.address, carol.address]
    assert bob.read(alice, messages[bob.address]) == b"x"
    assert carol.read(alice, messages[carol.address]) == b"x"
    again = encrypt_many(alice.store, [bob.address, bob.address], b"y", now=NOW)
    assert bob.read(alice, again[bob.address]) == b"y"
    assert encrypt_many(alice.store, [], b"z", now=NOW) == {}


def test_encrypt_uses_the_system_clock_when_it_is_given_no_time():
    alice, bob = pair()
    process_prekey_bundle(alice.store, bob.address, bob.claim())
    assert decrypt(bob.store, alice.address, encrypt(alice.store, bob.address, b"now")).plaintext == b"now"


def _session(owner, other):
    """The only session of `owner` with `other`."""
    with owner.store.transaction() as tx:
        rows = tx.scan("session", other.address.to_bytes())
    assert len(rows) == 1
    return load(rows[0][1])


def test_archiving_for_one_address_leaves_the_others_alone():
    alice, bob = party("alice"), party("bob", one_time=20)
    peers = [party(user, one_time=20) for user in ("carol", "dave")]
    late = []
    for peer in peers:
        for index in range(6):
            alice.start(peer, now=NOW + index)
            message = alice.send(peer, b"x", now=NOW + index)
            late.append((peer, message))
    for index in range(6):
        alice.start(bob, now=NOW + 10 + index)
    assert len(contents(alice.store)["archived"]) == 15
    assert len(contents(alice.store)["session"]) == 18
    for peer, message in late:
        assert peer.read(alice, message) == b"x"
    bob.start(alice)
    assert len(contents(bob.store)["archived"]) == 0
    for index in range(3):
        bob.start(alice, now=NOW + 31 * DAY + index)
    assert len(contents(bob.store)["archived"]) == len(contents(bob.store)["session"]) - 1 == 3


def test_an_archived_session_goes_with_its_mark():
    alice, bob = pair(one_time=20)
    for index in range(9):
        alice.start(bob, now=NOW + index)
    rows = contents(alice.store)
    assert len(rows["archived"]) == 5
    assert {key for key, _ in rows["archived"]} < {key for key, _ in rows["session"]}


def test_an_archived_session_lives_for_thirty_days_to_the_second():
    for later, kept in ((30 * DAY, 3), (30 * DAY + 1, 2)):
        alice, bob = pair(one_time=20)
        alice.start(bob)
        alice.start(bob)
        alice.start(bob, now=NOW + later)
        assert len(contents(alice.store)["session"]) == kept


def test_a_late_message_of_a_known_chain_does_not_revive_its_session():
    alice, bob = talking()
    skipped, known = alice.send(bob, b"skipped"), alice.send(bob, b"known")
    bob.read(alice, known)
    fresh = alice.start(bob)
    bob.read(alice, alice.send(bob, b"new"))
    assert bob.read(alice, skipped) == b"skipped"
    assert bob.send(alice, b"answer")[2:18] == fresh


def test_exactly_the_skipped_keys_are_stored():
    alice, bob = talking()
    bob.read(alice, alice.send(bob, b"a"))
    alice.read(bob, bob.send(alice, b"b"))
    bob.read(alice, alice.send(bob, b"c"))
    assert _session(bob, alice).skipped == {}
    lost = [alice.send(bob, b"lost") for _ in range(3)]
    alice.read(bob, bob.send(alice, b"d"))
    first, second = alice.send(bob, b"e"), alice.send(bob, b"f")
    bob.read(alice, second)
    keys = [(message[18:50], int.from_bytes(message[54:58], "big")) for message in (*lost, first)]
    assert list(_session(bob, alice).skipped) == keys


def test_a_first_message_may_come_after_others_of_its_chain():
    alice, bob = pair()
    alice.start(bob)
    messages = [alice.send(bob, str(index).encode()) for index in range(3)]
    assert bob.read(alice, messages[2]) == b"2"
    assert [number for _, number in _session(bob, alice).skipped] == [0, 1]
    assert bob.read(alice, messages[0]) == b"0"
    assert bob.read(alice, messages[1]) == b"1"


def test_forgetting_an_identity_forgets_all_of_it_and_nothing_else():
    alice, bob = talking()
    carol = party("carol")
    alice.start(carol)
    alice.start(bob)
    trust_identity(alice.store, party("bob").device.record)
    rows, key = contents(alice.store), carol.address.to_bytes()
    assert [row for row, _ in rows["session"]] == [row for row, _ in rows["session"] if row.startswith(key)]
    assert len(rows["session"]) == 1
    assert [row for row, _ in rows["active"]] == [key]
    assert rows["archived"] == []
    assert len(rows["identity"]) == 2


def test_a_revived_session_is_no_longer_archived():
    alice, bob = talking()
    old = alice.send(bob, b"with a new ratchet key")
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"new"))
    bob.read(alice, old)
    answer = bob.send(alice, b"answer")
    assert answer[2:18] == old[2:18]
    alice.read(bob, answer)
    marked = [key[-16:] for key, _ in contents(bob.store)["archived"]]
    assert len(marked) == 1
    assert old[2:18] not in marked
    later = alice.send(bob, b"much later", now=NOW + 60 * DAY)
    assert later[2:18] == old[2:18]
    assert bob.read(alice, later, now=NOW + 60 * DAY) == b"much later"
