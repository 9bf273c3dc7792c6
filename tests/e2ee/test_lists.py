"""Device lists, membership, sender keys, retry requests."""

from dataclasses import replace

import pytest

from mana_e2ee.core import (
    AccountKey,
    Address,
    DeviceList,
    Distribution,
    DuplicateMessage,
    E2EEError,
    GroupSession,
    InvalidMessage,
    InvalidSignature,
    MembershipEntry,
    MembershipLog,
    NoSession,
    NotAMember,
    RetryRefused,
    RetryRequest,
    RotationNeeded,
    StaleDeviceList,
    Throttled,
    TooManySkipped,
    UnsupportedVersion,
    UntrustedIdentity,
    accept_device_list,
    answer_retry,
    has_session,
    pending,
    primitives,
    request_retry,
    trust_account,
    trust_identity,
)

from .parties import DAY, NOW, contents, pair, party, refused, talking


@pytest.fixture
def account():
    return AccountKey.generate()


def test_a_device_list_follows_the_one_before(account):
    alice, bob = talking()
    tablet = party("bob", "tablet")
    first = DeviceList.create(account, "bob", [bob.device.record])
    second = first.next(account, [tablet.device.record, bob.device.record])
    assert [device.address.device for device in second.devices] == ["phone", "tablet"]
    assert DeviceList.from_bytes(second.to_bytes()).verify() == second
    change = accept_device_list(alice.store, first)
    assert (change.added, change.removed) == ((bob.device.record,), ())
    change = accept_device_list(alice.store, second)
    assert (change.added, change.removed) == ((tablet.device.record,), ())
    assert accept_device_list(alice.store, second).added == ()
    third = second.next(account, [tablet.device.record])
    assert has_session(alice.store, bob.address)
    change = accept_device_list(alice.store, third)
    assert (change.added, change.removed) == ((), (bob.device.record,))
    assert not has_session(alice.store, bob.address)
    with refused(UntrustedIdentity, alice.store):
        alice.start(bob)
    alice.start(tablet)


def test_rollback_fork_and_gap_are_refused(account):
    alice, bob = pair()
    tablet = party("bob", "tablet")
    one = [bob.device.record]
    first = DeviceList.create(account, "bob", one)
    second = first.next(account, [*one, tablet.device.record])
    third = second.next(account, one)
    fork = first.next(account, [tablet.device.record])
    accept_device_list(alice.store, first)
    with refused(StaleDeviceList, alice.store):
        accept_device_list(alice.store, third)
    accept_device_list(alice.store, third, since=[second])
    for stale in (first, second, fork, fork.next(account, one), fork.next(account, one).next(account, one)):
        with refused(StaleDeviceList, alice.store):
            accept_device_list(alice.store, stale)


def test_the_lists_in_between_are_checked_among_themselves(account):
    alice, bob = pair()
    one = [bob.device.record]
    lists = [DeviceList.create(account, "bob", one)]
    for _ in range(4):
        lists.append(lists[-1].next(account, one))
    fork = lists[1].next(account, [party("bob", "tablet").device.record])
    accept_device_list(alice.store, lists[0])
    for since in (
        [lists[1], lists[3]],
        [lists[1], fork, lists[3]],
        [lists[2], lists[3]],
        [lists[3], lists[1]],
    ):
        with refused(StaleDeviceList, alice.store):
            accept_device_list(alice.store, lists[4], since=since)
    accept_device_list(alice.store, lists[4], since=lists[1:4])


def test_a_list_forgets_removed_devices_and_no_others(account):
    alice, bob = talking()
    tablet, carol = party("bob", "tablet"), party("carol")
    alice.start(tablet)
    alice.start(carol)
    alice.start(bob)
    accept_device_list(alice.store, DeviceList.create(account, "bob", [tablet.device.record]))
    rows = contents(alice.store)
    left = [carol.address.to_bytes(), tablet.address.to_bytes()]
    assert sorted(key for key, _ in rows["identity"]) == sorted(left)
    assert sorted(key for key, _ in rows["active"]) == sorted(left)
    assert sorted(key[:-16] for key, _ in rows["session"]) == sorted(left)
    assert rows["archived"] == []


def test_a_list_of_another_account_or_user_is_refused(account):
    alice, bob = pair()
    first = DeviceList.create(account, "bob", [bob.device.record])
    accept_device_list(alice.store, first)
    stranger = DeviceList.create(AccountKey.generate(), "bob", [bob.device.record])
    with refused(UntrustedIdentity, alice.store):
        accept_device_list(alice.store, stranger)
    carol = party("carol")
    of_carol = DeviceList.create(account, "carol", [carol.device.record])
    with refused(UntrustedIdentity, alice.store):
        accept_device_list(alice.store, first, since=[of_carol])
    with pytest.raises(InvalidSignature):
        first.next(AccountKey.generate(), [bob.device.record])
    assert account.seed.hex() not in repr(account)


def test_a_broken_device_list_is_refused(account):
    bob, tablet = party("bob"), party("bob", "tablet")
    carol = party("carol")
    devices = [bob.device.record, tablet.device.record]
    good = DeviceList.create(account, "bob", devices)
    with pytest.raises(InvalidMessage):
        DeviceList.create(account, "bob", [])
    with pytest.raises(InvalidMessage):
        DeviceList.create(account, "bob", [carol.device.record])
    with pytest.raises(InvalidMessage):
        DeviceList.create(account, "bob", [bob.device.record, bob.device.record])
    with pytest.raises(InvalidMessage):
        replace(good, devices=tuple(reversed(good.devices))).verify()
    many = [replace(bob.device.record, address=Address("bob", f"{i:03}")) for i in range(65)]
    with pytest.raises(InvalidMessage):
        DeviceList.create(account, "bob", many)
    sixty_four = [party("bob", f"{index:03}", suites=(1,), one_time=0).device.record for index in range(64)]
    full = DeviceList.create(account, "bob", sixty_four)
    assert DeviceList.from_bytes(full.to_bytes()).verify() == full
    unsigned = replace(bob.device.record, created=NOW + 1)
    with pytest.raises(InvalidSignature):
        DeviceList.create(account, "bob", [unsigned])
    for changed in (replace(good, epoch=2, previous=b"x" * 32), replace(good, account=AccountKey.generate().public)):
        with pytest.raises(InvalidSignature):
            changed.verify()


def test_a_device_with_new_keys_under_an_old_id_loses_its_sessions(account):
    alice, bob = talking()
    accept_device_list(alice.store, DeviceList.create(account, "bob", [bob.device.record]))
    again = party("bob", "phone")
    first = DeviceList.create(account, "bob", [bob.device.record])
    change = accept_device_list(alice.store, first.next(account, [again.device.record]))
    assert change.added == (again.device.record,)
    assert change.removed == (bob.device.record,)
    assert not has_session(alice.store, bob.address)


def test_a_list_drops_devices_that_were_trusted_before_it(account):
    alice, bob = talking()
    tablet = party("bob", "tablet")
    accept_device_list(alice.store, DeviceList.create(account, "bob", [tablet.device.record]))
    assert not has_session(alice.store, bob.address)


def test_a_new_account_key_is_trusted_with_its_list_and_with_nothing_else(account):
    alice, bob = talking()
    tablet = party("bob", "tablet")
    first = DeviceList.create(account, "bob", [bob.device.record, tablet.device.record])
    second = first.next(account, [bob.device.record])
    accept_device_list(alice.store, first)
    accept_device_list(alice.store, second)
    with refused(StaleDeviceList, alice.store):  # the user's agreement does not bring an older list back
        trust_account(alice.store, first)
    other = AccountKey.generate()
    renewed = DeviceList.create(other, "bob", [tablet.device.record])
    with refused(InvalidSignature, alice.store):
        trust_account(alice.store, replace(renewed, signature=second.signature))
    change = trust_account(alice.store, renewed)
    assert (change.added, change.removed) == ((tablet.device.record,), (bob.device.record,))
    assert not has_session(alice.store, bob.address)
    with refused(UntrustedIdentity, alice.store):
        accept_device_list(alice.store, second.next(account, [bob.device.record]))
    accept_device_list(alice.store, renewed.next(other, [tablet.device.record, bob.device.record]))
    carol = party("carol")
    trust_account(carol.store, first)
    accept_device_list(carol.store, second)


@pytest.mark.parametrize(("epoch", "previous"), [(0, bytes(32)), (0, b"x" * 32), (1, b"x" * 32), (2, bytes(32))])
def test_epochs_count_from_1_and_only_the_first_list_follows_none(account, epoch, previous):
    alice, bob = pair()
    odd = replace(DeviceList.create(account, "bob", [bob.device.record]), epoch=epoch, previous=previous)
    odd = replace(odd, signature=primitives.sign(account.seed, odd._signed()))
    with refused(InvalidMessage, alice.store):
        accept_device_list(alice.store, DeviceList.from_bytes(odd.to_bytes()))


# Groups


def group(*users):
    """The devices of a group's users, each with its own copy of the log, every sender key handed out."""
    members = [party(user) for user in users]
    founder = MembershipLog("g")
    entries = [founder.propose(members[0].store, add=users[0], now=NOW)]
    entries += [founder.propose(members[0].store, add=user, now=NOW) for user in users[1:]]
    sessions = []
    for member in members:
        log = MembershipLog.replay("g", [(entry, members[0].device.record) for entry in entries])
        sessions.append((member, GroupSession(member.store, log)))
    for member, session in sessions:
        key = Distribution.from_bytes(session.rotate(now=NOW).to_bytes())
        for other, receiver in sessions:
            if other is not member:
                receiver.receive_key(member.address, key)
    return sessions


def test_one_group_message_reaches_every_member_in_any_order():
    (alice, ours), (_, bobs), (_, carols) = group("alice", "bob", "carol")
    messages = [ours.encrypt(bytes([index]), now=NOW) for index in range(5)]
    for session in (bobs, carols):
        for index in (3, 0, 4, 1, 2):
            received = session.decrypt(alice.address, messages[index], now=NOW)
            assert received.plaintext == bytes([index])
        for message in messages:
            with refused(DuplicateMessage, session._store):
                session.decrypt(alice.address, message, now=NOW)
        assert len(pending(session._store)) == 5
    assert messages[0][:2] == b"\x01\x03"


def test_a_removal_a_week_or_a_thousand_messages_ask_for_a_new_key():
    (alice, ours), (bob, bobs), (carol, carols) = group("alice", "bob", "carol")
    ours.encrypt(b"x", now=NOW + 7 * DAY - 1)
    with refused(RotationNeeded, alice.store):
        ours.encrypt(b"x", now=NOW + 7 * DAY)
    for _ in range(1_000):
        bobs.encrypt(b"x", now=NOW)
    with refused(RotationNeeded, bob.store):
        bobs.encrypt(b"x", now=NOW)
    entry = ours.log.propose(alice.store, remove="carol", now=NOW)
    for session in (bobs, carols):
        session.log.append(MembershipEntry.from_bytes(entry.to_bytes()), alice.device.record)
    with refused(RotationNeeded, alice.store):
        ours.encrypt(b"x", now=NOW)
    with refused(NotAMember, carol.store):
        carols.encrypt(b"x", now=NOW)
    with refused(NotAMember, carol.store):
        carols.rotate(now=NOW)
    key = ours.rotate(now=NOW)
    bobs.receive_key(alice.address, key)
    message = ours.encrypt(b"without carol", now=NOW)
    assert bobs.decrypt(alice.address, message, now=NOW).plaintext == b"without carol"
    with refused(NoSession, carol.store):
        carols.decrypt(alice.address, message, now=NOW)
    with refused(NotAMember, bob.store):
        bobs.decrypt(carol.address, message, now=NOW)
    with refused(NotAMember, bob.store):
        bobs.receive_key(carol.address, key)


def test_who_joins_reads_from_then_on_and_nothing_before():
    (alice, ours), (_, bobs) = group("alice", "bob")
    before = ours.encrypt(b"before", now=NOW)
    dave = party("dave")
    ours.log.propose(alice.store, add="dave", now=NOW)
    daves = GroupSession(dave.store, ours.log)
    with refused(NoSession, dave.store):
        daves.decrypt(alice.address, before, now=NOW)
    daves.receive_key(alice.address, ours.distribution(now=NOW))
    after = ours.encrypt(b"after", now=NOW)
    assert daves.decrypt(alice.address, after, now=NOW).plaintext == b"after"
    with refused(DuplicateMessage, dave.store):
        daves.decrypt(alice.address, before, now=NOW)
    assert bobs.decrypt(alice.address, before, now=NOW).plaintext == b"before"


def test_a_group_message_needs_a_sender_key_first():
    alice = party("alice")
    log = MembershipLog("g")
    log.propose(alice.store, add="alice", now=NOW)
    session = GroupSession(alice.store, log)
    with refused(RotationNeeded, alice.store):
        session.encrypt(b"x", now=NOW)
    with refused(RotationNeeded, alice.store):
        session.distribution(now=NOW)
    with refused(InvalidMessage, alice.store):
        session.encrypt(bytes(65_536), now=NOW)


def test_a_known_sender_key_is_never_rewound():
    (alice, ours), (bob, bobs) = group("alice", "bob")
    key = ours.distribution(now=NOW)
    message = ours.encrypt(b"x", now=NOW)
    bobs.decrypt(alice.address, message, now=NOW)
    bobs.receive_key(alice.address, key)
    with refused(DuplicateMessage, bob.store):
        bobs.decrypt(alice.address, message, now=NOW)


def test_five_sender_keys_are_kept_per_device():
    (alice, ours), (bob, bobs) = group("alice", "bob")
    late = [ours.encrypt(b"0", now=NOW)]
    for index in range(1, 12):  # the newest five, whatever the order of their random ids
        bobs.receive_key(alice.address, ours.rotate(now=NOW))
        late.append(ours.encrypt(str(index).encode(), now=NOW))
    for message in late[:7]:
        with refused(NoSession, bob.store):
            bobs.decrypt(alice.address, message, now=NOW)
    for index in range(7, 12):
        assert bobs.decrypt(alice.address, late[index], now=NOW).plaintext == str(index).encode()


def test_a_removed_device_neither_writes_to_a_group_nor_reads_on(account):
    """A thief with a device that its user has removed keeps no sender key that is still in use, on any side."""
    (alice, ours), (bob, bobs), (carol, carols) = group("alice", "bob", "carol")
    alice.start(bob)
    late = bobs.encrypt(b"from the thief", now=NOW)
    tablet = party("bob", "tablet")
    accept_device_list(alice.store, DeviceList.create(account, "bob", [tablet.device.record]))
    with refused(NoSession, alice.store):
        ours.decrypt(bob.address, late, now=NOW)
    with refused(UntrustedIdentity, alice.store):
        ours.receive_key(bob.address, bobs.rotate(now=NOW))
    with refused(RotationNeeded, alice.store):
        ours.encrypt(b"x", now=NOW)
    assert ours.decrypt(carol.address, carols.encrypt(b"1", now=NOW), now=NOW).plaintext == b"1"
    carols.receive_key(alice.address, ours.rotate(now=NOW))
    message = ours.encrypt(b"without the thief", now=NOW)
    assert carols.decrypt(alice.address, message, now=NOW).plaintext == b"without the thief"
    with refused(NoSession, bob.store):
        bobs.decrypt(alice.address, message, now=NOW)
    daves = GroupSession(tablet.store, bobs.log)
    ours.receive_key(tablet.address, daves.rotate(now=NOW))
    assert ours.decrypt(tablet.address, daves.encrypt(b"2", now=NOW), now=NOW).plaintext == b"2"


def test_a_device_that_comes_back_with_other_keys_starts_its_groups_anew():
    (alice, ours), (bob, bobs) = group("alice", "bob")
    alice.start(bob)
    again = party("bob", "phone")
    trust_identity(alice.store, bob.device.record)
    ours.encrypt(b"the same keys change nothing", now=NOW)
    trust_identity(alice.store, again.device.record)
    with refused(RotationNeeded, alice.store):
        ours.encrypt(b"x", now=NOW)
    with refused(NoSession, alice.store):
        ours.decrypt(bob.address, bobs.encrypt(b"x", now=NOW), now=NOW)


def test_each_device_has_its_own_five_sender_keys():
    (alice, ours), (bob, bobs), (carol, carols) = group("alice", "bob", "carol")
    messages = []
    for _ in range(4):
        for device, session in ((bob, bobs), (carol, carols)):
            ours.receive_key(device.address, session.rotate(now=NOW))
            messages.append((device, session.encrypt(b"x", now=NOW)))
    for device, message in messages:
        assert ours.decrypt(device.address, message, now=NOW).plaintext == b"x"
    assert alice.address not in {bob.address, carol.address}


def test_a_sender_key_that_is_too_old_is_not_handed_out():
    (_, ours), _ = group("alice", "bob")
    ours.distribution(now=NOW + 7 * DAY - 1)
    with pytest.raises(RotationNeeded):
        ours.distribution(now=NOW + 7 * DAY)


def test_failures_in_a_group_slow_their_sender_down_and_nobody_else():
    (alice, ours), (bob, bobs), (carol, carols) = group("alice", "bob", "carol")
    good, others = bobs.encrypt(b"good", now=NOW), carols.encrypt(b"from carol", now=NOW)
    for _ in range(16):
        with refused(InvalidSignature, alice.store):
            ours.decrypt(bob.address, good[:-1] + bytes([good[-1] ^ 1]), now=NOW)
    with refused(Throttled, alice.store):
        ours.decrypt(bob.address, good, now=NOW)
    assert ours.decrypt(carol.address, others, now=NOW).plaintext == b"from carol"
    assert ours.decrypt(bob.address, good, now=NOW + 1).plaintext == b"good"


def test_every_byte_of_a_group_message_counts():
    (alice, ours), (_, bobs) = group("alice", "bob")
    message = ours.encrypt(b"x", now=NOW)
    seen = set()
    for turn in range(2 * len(message)):
        broken = bytearray(message)
        broken[turn // 2] ^= (1, 0x80)[turn % 2]
        with pytest.raises(E2EEError) as caught:
            bobs.decrypt(alice.address, bytes(broken), now=NOW + turn * 4_000)
        seen.add(type(caught.value))
    assert seen == {UnsupportedVersion, InvalidMessage, NoSession, InvalidSignature}
    for length in (0, 1, 2, 21, 22, 60, len(message) - 1):
        with pytest.raises(InvalidMessage):
            bobs.decrypt(alice.address, message[:length], now=NOW + DAY * (length + 1) * 50)
    assert bobs.decrypt(alice.address, message, now=NOW + 9_000 * DAY).plaintext == b"x"


def test_a_group_message_of_another_sender_or_group_does_not_verify():
    (alice, ours), (bob, bobs), (carol, carols) = group("alice", "bob", "carol")
    message = ours.encrypt(b"x", now=NOW)
    carols.receive_key(bob.address, ours.distribution(now=NOW))
    with refused(InvalidSignature, carol.store):
        carols.decrypt(bob.address, carols and message, now=NOW)
    with pytest.raises(InvalidMessage):
        bobs.receive_key(alice.address, replace(ours.distribution(now=NOW), group="other"))
    assert ours.distribution(now=NOW).chain.hex() not in repr(ours.distribution(now=NOW))


def test_skipped_group_keys_are_bounded_and_expire(monkeypatch):
    (alice, ours), (bob, bobs) = group("alice", "bob")
    with alice.store.transaction() as tx:
        row = tx.scan("group_own")[0]
    messages = [ours.encrypt(b"x", now=NOW) for _ in range(1_000)]
    with refused(RotationNeeded, alice.store):
        ours.distribution(now=NOW)
    monkeypatch.setattr("mana_e2ee.core.groups.SENDER_KEY_MESSAGES", 9_000)
    messages += [ours.encrypt(b"x", now=NOW) for _ in range(3_000)]
    with refused(TooManySkipped, bob.store):
        bobs.decrypt(alice.address, messages[1_001], now=NOW)
    for index in (1_000, 2_001, 3_002):
        bobs.decrypt(alice.address, messages[index], now=NOW)
    with bob.store.transaction() as tx:
        stored = tx.scan("group_peer")[0][1]
    assert len(stored) == 84 + 2_000 * 44
    with refused(DuplicateMessage, bob.store):
        bobs.decrypt(alice.address, messages[999], now=NOW)
    assert bobs.decrypt(alice.address, messages[1_002], now=NOW + 30 * DAY).plaintext == b"x"
    with refused(DuplicateMessage, bob.store):
        bobs.decrypt(alice.address, messages[1_003], now=NOW + 30 * DAY + 1)
    assert row[0] == b"\0\0\0\x01g"


def test_broken_sender_keys_are_refused():
    (_, ours), _ = group("alice", "bob")
    data = ours.distribution(now=NOW).to_bytes()
    with pytest.raises(UnsupportedVersion):
        Distribution.from_bytes(b"\2" + data[1:])
    for broken in (b"\1\3" + data[2:], data[:-1], data + b"\0"):
        with pytest.raises(InvalidMessage):
            Distribution.from_bytes(broken)


def test_the_membership_log_refuses_what_does_not_follow():
    alice, bob = pair()
    log = MembershipLog("g")
    with pytest.raises(NotAMember):
        log.propose(alice.store, add="bob", now=NOW)
    first = log.propose(alice.store, add="alice", now=NOW)
    assert (log.members, log.epoch) == ({"alice"}, 1)
    for error, act in (
        (NotAMember, lambda: log.propose(bob.store, add="bob", now=NOW)),
        (NotAMember, lambda: log.propose(alice.store, add="alice", now=NOW)),
        (NotAMember, lambda: log.propose(alice.store, remove="bob", now=NOW)),
        (ValueError, lambda: log.propose(alice.store, now=NOW)),
        (ValueError, lambda: log.propose(alice.store, add="x", remove="y", now=NOW)),
        (InvalidMessage, lambda: log.append(first, alice.device.record)),
    ):
        with pytest.raises(error):
            act()
    other = MembershipLog.replay("g", [(first, alice.device.record)])
    entry = other.propose(alice.store, add="bob", now=NOW)
    third = other.propose(alice.store, add="carol", now=NOW)
    for broken, error in (
        (third, InvalidMessage),
        (replace(entry, group="h"), InvalidMessage),
        (replace(entry, previous=bytes(32)), InvalidMessage),
        (replace(entry, actor=bob.address), InvalidMessage),
        (replace(entry, action=3), NotAMember),
        (replace(entry, subject="mallory"), InvalidSignature),
        (replace(entry, created=1), InvalidSignature),
    ):
        with pytest.raises(error):
            log.append(broken, alice.device.record)
        assert (log.members, log.epoch) == ({"alice"}, 1)
    log.append(entry, alice.device.record)
    assert log.members == {"alice", "bob"}
    log.propose(bob.store, remove="bob", now=NOW)
    assert (log.members, log.last_removal) == ({"alice"}, 3)
    data = entry.to_bytes()
    for broken_bytes in (data[:-1], data + b"\0"):
        with pytest.raises(InvalidMessage):
            MembershipEntry.from_bytes(broken_bytes)
    with pytest.raises(UnsupportedVersion):
        MembershipEntry.from_bytes(b"\0" + data[1:])


# Retry requests


def test_a_failed_message_is_asked_for_and_sent_again_on_a_new_session():
    alice, bob = talking()
    message = alice.send(bob, b"lost")
    damaged = message[:-1] + bytes([message[-1] ^ 1])
    with refused(InvalidMessage, bob.store):
        bob.read(alice, damaged)
    request = request_retry(bob.store, alice.address, damaged, now=NOW)
    data = request.to_bytes()
    assert len(data) == 158
    again = RetryRequest.from_bytes(data)
    assert again == request
    assert answer_retry(alice.store, bob.address, again, now=NOW) == request.message_id
    alice.start(bob)
    assert bob.read(alice, alice.send(bob, b"lost")) == b"lost"


def test_a_device_that_lost_its_session_is_healed():
    alice, bob = talking()
    with bob.store.transaction() as tx:
        for table in ("session", "active"):
            for key, _ in tx.scan(table):
                tx.delete(table, key)
    message = alice.send(bob, b"lost")
    with refused(NoSession, bob.store):
        bob.read(alice, message)
    request = request_retry(bob.store, alice.address, message, now=NOW)
    answer_retry(alice.store, bob.address, request, now=NOW)
    alice.start(bob)
    assert bob.read(alice, alice.send(bob, b"lost")) == b"lost"
    assert alice.read(bob, bob.send(alice, b"thanks")) == b"thanks"


def test_one_retry_an_hour_per_pair_on_both_sides():
    alice, bob = talking()
    messages = [alice.send(bob, b"x") for _ in range(3)]
    first = request_retry(bob.store, alice.address, messages[0], now=NOW)
    with refused(RetryRefused, bob.store):
        request_retry(bob.store, alice.address, messages[1], now=NOW + 3_599)
    second = request_retry(bob.store, alice.address, messages[1], now=NOW + 3_600)
    answer_retry(alice.store, bob.address, first, now=NOW)
    with refused(RetryRefused, alice.store):
        answer_retry(alice.store, bob.address, second, now=NOW + 3_599)
    answer_retry(alice.store, bob.address, second, now=NOW + 3_600)


def test_a_retry_request_is_answered_once_however_often_it_is_delivered():
    alice, bob = talking()
    message = alice.send(bob, b"x")
    request = request_retry(bob.store, alice.address, message, now=NOW)
    later = request_retry(bob.store, alice.address, message, now=NOW + 3_600)
    assert answer_retry(alice.store, bob.address, later, now=NOW + 3_600) == request.message_id
    for replayed in (later, request):
        with refused(RetryRefused, alice.store):
            answer_retry(alice.store, bob.address, replayed, now=NOW + 7_200)
    newer = request_retry(bob.store, alice.address, message, now=NOW + 7_200)
    assert answer_retry(alice.store, bob.address, newer, now=NOW + 7_200) == request.message_id


def test_a_retry_request_names_a_message_that_was_sent_lately():
    alice, bob = talking()
    carol = party("carol")
    first = alice.send(bob, b"1")
    request = request_retry(bob.store, alice.address, first, now=NOW)
    with bob.store.transaction() as tx:
        seed = tx.get("device", b"")[-64:-32]

    def signed(**changes):
        from mana_e2ee.core import primitives

        changed = replace(request, **changes)
        return replace(changed, signature=primitives.sign(seed, changed.signed(bob.address, alice.address)))

    for changes in (
        {"session_id": bytes(16)},
        {"ratchet_key": bytes(32)},
        {"number": request.number + 1},
        {"created": NOW - 7 * DAY - 1},
        {"created": NOW + 301},
    ):
        with refused(RetryRefused, alice.store):
            answer_retry(alice.store, bob.address, signed(**changes), now=NOW)
    for changes in ({"session_id": bytes(16)}, {"message_id": bytes(32)}, {"number": 1}, {"created": 1}):
        with refused(InvalidSignature, alice.store):
            answer_retry(alice.store, bob.address, replace(request, **changes), now=NOW)
    with refused(UntrustedIdentity, alice.store):
        answer_retry(alice.store, carol.address, request, now=NOW)
    bob.read(alice, first)
    alice.read(bob, bob.send(alice, b"a new ratchet key"))
    old_chain = alice.send(bob, b"2")
    assert bob.read(alice, old_chain) == b"2"
    with refused(RetryRefused, alice.store):
        answer_retry(alice.store, bob.address, signed(number=1, created=NOW), now=NOW)
    assert answer_retry(alice.store, bob.address, signed(created=NOW + 300), now=NOW) == request.message_id


def test_asking_and_answering_are_counted_apart_and_per_device():
    alice, bob = talking()
    carol = party("carol")
    alice.start(carol)
    ours, theirs = alice.send(bob, b"x"), bob.send(alice, b"y")
    to_carol = alice.send(carol, b"z")
    carol.read(alice, to_carol)
    from_bob = request_retry(bob.store, alice.address, ours, now=NOW)
    answer_retry(alice.store, bob.address, from_bob, now=NOW)
    from_alice = request_retry(alice.store, bob.address, theirs, now=NOW)
    answer_retry(bob.store, alice.address, from_alice, now=NOW)
    from_carol = request_retry(carol.store, alice.address, to_carol, now=NOW)
    answer_retry(alice.store, carol.address, from_carol, now=NOW)
    assert [key for key, _ in contents(alice.store)["asked"]] == [bob.address.to_bytes()]
    assert len(contents(alice.store)["answered"]) == 2
    with refused(RetryRefused, bob.store):
        request_retry(bob.store, alice.address, ours, now=NOW)
    with refused(RetryRefused, alice.store):
        answer_retry(alice.store, bob.address, from_bob, now=NOW)


def test_a_retry_may_name_an_archived_session_and_is_a_week_old_at_most():
    alice, bob = talking()
    message = alice.send(bob, b"x")
    request = request_retry(bob.store, alice.address, message, now=NOW)
    alice.start(bob)
    with refused(RetryRefused, alice.store):
        answer_retry(alice.store, bob.address, request, now=NOW + 7 * DAY + 1)
    assert answer_retry(alice.store, bob.address, request, now=NOW + 7 * DAY) == request.message_id


def test_broken_retry_requests_are_refused():
    alice, bob = talking()
    message = alice.send(bob, b"1")
    data = request_retry(bob.store, alice.address, message, now=NOW).to_bytes()
    with pytest.raises(UnsupportedVersion):
        RetryRequest.from_bytes(b"\2" + data[1:])
    for broken in (b"\1\1" + data[2:], data[:-1], data + b"\0"):
        with pytest.raises(InvalidMessage):
            RetryRequest.from_bytes(broken)
    with refused(InvalidMessage, bob.store):
        request_retry(bob.store, alice.address, b"\1\1short", now=NOW + DAY)
