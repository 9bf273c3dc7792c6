"""Forward secrecy does not wait for the next message: `rotate`, called daily, drops what is too old."""

import pytest

from mana_e2ee.core import DuplicateMessage, GroupSession, MembershipLog, NoSession, SQLiteStore
from mana_e2ee.core.ratchet_state import load
from mana_e2ee.core.sender_keys import ReceiverKey

from .parties import DAY, NOW, contents, pair, party, refused, talking


def skipped_of(device) -> list[int]:
    return [number for _, row in contents(device.store)["session"] for _, number in load(row).skipped]


def test_skipped_keys_of_an_idle_session_go_after_thirty_days():
    alice, bob = talking()
    messages = [alice.send(bob, bytes([index])) for index in range(4)]
    bob.read(alice, messages[1])
    bob.read(alice, messages[3], now=NOW + DAY)
    first, second = skipped_of(bob)
    bob.device.rotate(now=NOW + 30 * DAY)
    assert skipped_of(bob) == [first, second]
    bob.device.rotate(now=NOW + 30 * DAY + 1)
    assert skipped_of(bob) == [second]
    assert bob.read(alice, messages[2], now=NOW + 31 * DAY) == b"\2"
    with refused(DuplicateMessage, bob.store):
        bob.read(alice, messages[0], now=NOW + 31 * DAY)
    bob.device.rotate(now=NOW + 90 * DAY)
    assert skipped_of(bob) == []
    assert bob.read(alice, alice.send(bob, b"still talking"), now=NOW + 90 * DAY) == b"still talking"


def test_archived_sessions_go_after_thirty_days_though_no_other_is_archived():
    alice, bob = pair(one_time=9)
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"x"))
    late = alice.send(bob, b"late")
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"x"))
    for device in (alice, bob):
        device.device.rotate(now=NOW + 30 * DAY)
        assert len(contents(device.store)["session"]) == 2
        device.device.rotate(now=NOW + 30 * DAY + 1)
        assert len(contents(device.store)["session"]) == 1
        assert contents(device.store)["archived"] == []
    with pytest.raises((DuplicateMessage, NoSession)):
        bob.read(alice, late, now=NOW)
    assert bob.read(alice, alice.send(bob, b"on the active one"), now=NOW + 31 * DAY) == b"on the active one"


def group_of(alice, bob):
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    log.propose(alice.store, add="bob", now=NOW)
    ours, theirs = GroupSession(alice.store, log), GroupSession(bob.store, log)
    theirs.receive_key(alice.address, ours.rotate(now=NOW))
    return ours, theirs


def skipped_in_group(device) -> list[int]:
    return [number for _, row in contents(device.store)["group_peer"] for number in ReceiverKey.from_bytes(row).skipped]


def test_skipped_group_keys_go_after_thirty_days_with_a_message_or_without():
    alice, bob = pair()
    ours, theirs = group_of(alice, bob)
    messages = [ours.encrypt(bytes([index]), now=NOW) for index in range(6)]
    theirs.decrypt(alice.address, messages[1], now=NOW)
    theirs.decrypt(alice.address, messages[3], now=NOW + DAY)
    bob.device.rotate(now=NOW + 30 * DAY)
    assert skipped_in_group(bob) == [0, 2]
    bob.device.rotate(now=NOW + 30 * DAY + 1)
    assert skipped_in_group(bob) == [2]
    theirs.decrypt(alice.address, messages[5], now=NOW + 31 * DAY)
    assert skipped_in_group(bob) == [2, 4]
    theirs.decrypt(alice.address, messages[4], now=NOW + 31 * DAY + 1)
    assert skipped_in_group(bob) == []


def test_a_day_on_which_nothing_is_too_old_changes_nothing(tmp_path):
    store = SQLiteStore(tmp_path / "e2ee.db")
    alice, bob = party("alice"), party("bob", store=store)
    alice.start(bob)
    messages = [alice.send(bob, b"x") for _ in range(3)]
    bob.read(alice, messages[2])
    before = contents(store)
    assert bob.device.rotate(now=NOW + DAY) is None
    assert contents(store) == before
    store.close()
