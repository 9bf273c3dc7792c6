"""Safety numbers, files, backups, stores, throttling: the parts that stand beside the sessions."""

import base64
import multiprocessing
import sqlite3
import threading

import pytest

from mana_e2ee.core import (
    AccountKey,
    Address,
    Attachment,
    AttachmentSealer,
    Backup,
    Device,
    InvalidKey,
    InvalidMessage,
    MemoryStore,
    NoSession,
    RecoveryKey,
    SafetyNumber,
    SQLiteStore,
    Throttled,
    UnsupportedVersion,
    decrypt,
)
from mana_e2ee.core.encoding import Reader, name
from mana_e2ee.core.envelope import bucket, pad, unpad
from mana_e2ee.core.throttle import Throttle, throttle_of

from .parties import DAY, NOW, contents, pair, party, refused, talking

# libsignal's NumericFingerprintGeneratorTest.
ALICE_KEY = bytes.fromhex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868")
BOB_KEY = bytes.fromhex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b")
DIGITS = "300354477692869396892869876765458257569162576843440918079131"
ALICE_QR = bytes.fromhex(
    "080112220a201e301a0353dce3dbe7684cb8336e85136cdc0ee96219494ada305d62a7bd61df"
    "1a220a20d62cbf73a11592015b6b9f1682ac306fea3aaf3885b84d12bca631e9d4fb3a4d"
)


def test_the_safety_number_is_signals():
    alice = SafetyNumber.of_keys("+14152222222", ALICE_KEY, "+14153333333", BOB_KEY)
    bob = SafetyNumber.of_keys("+14153333333", BOB_KEY, "+14152222222", ALICE_KEY)
    assert alice.digits == bob.digits == DIGITS
    assert alice.qr == ALICE_QR
    assert alice.matches_qr(bob.qr)
    assert bob.matches_qr(alice.qr)
    assert not alice.matches_qr(alice.qr)
    assert alice.display.split() == [DIGITS[start : start + 5] for start in range(0, 60, 5)]


def test_another_account_key_gives_another_safety_number():
    one, two, three = (AccountKey.generate().public for _ in range(3))
    first = SafetyNumber.of_accounts("alice", one, "bob", two)
    assert first.digits == SafetyNumber.of_accounts("bob", two, "alice", one).digits
    assert first.digits != SafetyNumber.of_accounts("alice", one, "bob", three).digits
    assert not first.matches_qr(SafetyNumber.of_accounts("bob", three, "alice", one).qr)


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4, 5, 38, 39, 40, 41])
def test_a_code_of_another_shape_is_not_compared(position):
    alice = SafetyNumber(ALICE_QR[6:38], ALICE_QR[42:])
    broken = bytearray(ALICE_QR)
    broken[position] ^= 1
    for scanned in (bytes(broken), ALICE_QR + b"\0", ALICE_QR[:-1], b""):
        with pytest.raises(InvalidMessage):
            alice.matches_qr(scanned)


CHUNK = 65_536


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_file_comes_back(size):
    plaintext = bytes(range(256)) * (size // 256) + bytes(size % 256)
    pointer, ciphertext = Attachment.encrypt(plaintext)
    assert len(ciphertext) == size + 16 * max(1, -(-size // CHUNK))
    assert Attachment.from_bytes(pointer.to_bytes()) == pointer
    assert len(pointer.to_bytes()) == 73
    assert pointer.decrypt(ciphertext) == plaintext
    assert pointer.key.hex() not in repr(pointer)


def test_a_file_may_be_streamed_in_pieces_of_any_size():
    plaintext = bytes(100) * 2_000
    sealer = AttachmentSealer(plaintext[start : start + 777] for start in range(0, len(plaintext), 777))
    ciphertext = b"".join(sealer)
    pieces = (ciphertext[start : start + 10_001] for start in range(0, len(ciphertext), 10_001))
    assert b"".join(sealer.pointer.open(pieces)) == plaintext


def test_a_changed_file_is_refused():
    plaintext = bytes(2 * CHUNK + 5)
    pointer, ciphertext = Attachment.encrypt(plaintext)
    sealed = CHUNK + 16
    swapped = ciphertext[sealed : 2 * sealed] + ciphertext[:sealed] + ciphertext[2 * sealed :]
    other, _ = Attachment.encrypt(plaintext)
    changes = [
        ciphertext[:sealed],
        ciphertext[: 2 * sealed],
        ciphertext[sealed:],
        ciphertext + b"\0",
        ciphertext + ciphertext[-21:],
        swapped,
        b"",
    ]
    for position in (0, sealed - 1, sealed, len(ciphertext) - 1):
        flipped = bytearray(ciphertext)
        flipped[position] ^= 0x80
        changes.append(bytes(flipped))
    for changed in changes:
        with pytest.raises(InvalidMessage):
            pointer.decrypt(changed)
    with pytest.raises(InvalidMessage):
        other.decrypt(ciphertext)
    for size, digest in ((1, pointer.digest), (pointer.size, bytes(32))):
        with pytest.raises(InvalidMessage):
            Attachment(pointer.key, size, digest).decrypt(ciphertext)


def test_a_broken_pointer_is_refused():
    data = Attachment.encrypt(b"x")[0].to_bytes()
    with pytest.raises(UnsupportedVersion):
        Attachment.from_bytes(b"\2" + data[1:])
    for broken in (data[:-1], data + b"\0"):
        with pytest.raises(InvalidMessage):
            Attachment.from_bytes(broken)


def test_the_number_of_chunks_is_bounded(monkeypatch):
    pointer, ciphertext = Attachment.encrypt(bytes(3 * CHUNK))
    monkeypatch.setattr("mana_e2ee.core.chunks.MAX_CHUNKS", 2)
    with pytest.raises(InvalidMessage):
        Attachment.encrypt(bytes(3 * CHUNK))
    with pytest.raises(InvalidMessage):
        pointer.decrypt(ciphertext)
    assert Attachment.encrypt(bytes(2 * CHUNK))[0].size == 2 * CHUNK


def test_a_backup_opens_with_its_recovery_key_only():
    recovery = RecoveryKey.generate()
    for plaintext in (b"", b"history", bytes(3 * CHUNK)):
        backup = Backup.seal(recovery, plaintext)
        assert backup[:2] == b"\x01\x06"
        assert Backup.open(RecoveryKey.from_text(recovery.text), backup) == plaintext
        with pytest.raises(InvalidMessage):
            Backup.open(RecoveryKey.generate(), backup)
    backup = Backup.seal(recovery, b"history")
    for position in range(len(backup)):
        flipped = bytearray(backup)
        flipped[position] ^= 1
        with pytest.raises(UnsupportedVersion if position == 0 else InvalidMessage):
            Backup.open(recovery, bytes(flipped))
        with pytest.raises(InvalidMessage):
            Backup.open(recovery, backup[:position])
    assert Backup.seal(recovery, b"history") != backup


def test_a_recovery_key_survives_typing_and_notices_mistakes():
    recovery = RecoveryKey(bytes(range(32)))
    assert recovery.text == "aaaq-eaye-auda-ocaj-bifq-ydio-b4ib-ceqt-cqkr-mfyy-denb-wha5-dyps-ymtg"
    assert RecoveryKey.from_text(recovery.text.upper().replace("-", " ")) == recovery
    assert "aaaq" not in repr(recovery)
    for wrong in ("", "aaaq", recovery.text[:-1], "b" + recovery.text[1:], recovery.text + "-aaaa", "1" * 56):
        with pytest.raises(InvalidKey):
            RecoveryKey.from_text(wrong)
    thirty = base64.b32encode(bytes(30)).decode()
    with pytest.raises(InvalidKey):
        RecoveryKey.from_text(thirty)


@pytest.mark.parametrize(
    ("length", "padded"),
    [
        (0, 32),
        (31, 32),
        (32, 64),
        (63, 64),
        (64, 128),
        (255, 256),
        (1_023, 1_024),
        (1_024, 2_048),
        (65_535, 65_536),
    ],
)
def test_padding_goes_up_to_the_bucket(length, padded):
    assert bucket(length) == len(pad(b"x" * length)) == padded
    assert unpad(pad(b"x" * length)) == b"x" * length
    assert unpad(pad(b"\x80" * length)) == b"\x80" * length
    assert unpad(pad(bytes(length))) == bytes(length)


@pytest.mark.parametrize(
    "padded", [b"", bytes(32), b"x" * 32, b"\x80" + bytes(62), b"x\x80" + bytes(62), b"x\x80" + b"X" * 30]
)
def test_padding_that_pad_did_not_write_is_refused(padded):
    with pytest.raises(InvalidMessage):
        unpad(padded)


def test_ids_have_1_to_255_bytes():
    assert name("é" * 127) == "é".encode() * 127
    assert name("x" * 255) == b"x" * 255
    for wrong in ("", "x" * 256, "\ud800"):
        with pytest.raises(InvalidMessage):
            name(wrong)
    for wrong in (b"\0\0\0\0", b"\0\0\0\2\xc3\x28", b"\0\0\1\0" + bytes(256), b"\0\0\0\5x"):
        with pytest.raises(InvalidMessage):
            Reader(wrong).name()


def test_numbers_of_eight_bytes_stop_where_javascript_stops():
    assert Reader((2**53 - 1).to_bytes(8, "big")).u64() == 2**53 - 1
    with pytest.raises(InvalidMessage):
        Reader((2**53).to_bytes(8, "big")).u64()


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def sqlite_store(path):
    return SQLiteStore(path / "e2ee.db")


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = sqlite_store(tmp_path)
    yield opened
    opened.close()


def test_a_transaction_is_written_as_a_whole_or_not_at_all(store):
    with store.transaction() as tx:
        tx.put("t", b"a", b"1")
        tx.put("t", b"b", b"2")
    with pytest.raises(RuntimeError), store.transaction() as tx:  # noqa: PT012
        tx.put("t", b"a", b"changed")
        tx.delete("t", b"b")
        tx.put("u", b"c", b"3")
        assert tx.get("t", b"a") == b"changed"
        assert tx.get("t", b"b") is None
        raise RuntimeError
    with store.transaction() as tx:
        assert tx.scan("t") == [(b"a", b"1"), (b"b", b"2")]
        assert tx.scan("u") == []
        tx.delete("t", b"not there")
        tx.put("t", b"a", b"")
        assert tx.get("t", b"a") == b""


def test_a_scan_finds_a_prefix_in_order(store):
    keys = [b"", b"\x00", b"X", b"Y", b"a", b"a\x00", b"ab", b"ad", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"]
    with store.transaction() as tx:
        for key in reversed(keys):
            tx.put("t", key, b"v" + key)
        for prefix in (b"", b"X", b"a", b"ab", b"a\xff", b"\xff", b"\xff\xff", b"c"):
            expected = sorted((key, b"v" + key) for key in keys if key.startswith(prefix))
            assert tx.scan("t", prefix) == expected
        tx.delete("t", b"a")
        assert [key for key, _ in tx.scan("t", b"a")] == [b"a\x00", b"ab", b"ad", b"a\xff", b"a\xff\xff"]


def test_a_device_lives_in_its_file(tmp_path):
    first = sqlite_store(tmp_path)
    alice, bob = party("alice", store=first), party("bob")
    bob.start(alice)
    assert alice.read(bob, bob.send(alice, b"one")) == b"one"
    first.close()
    assert (tmp_path / "e2ee.db").stat().st_mode & 0o777 == 0o600
    again = sqlite_store(tmp_path)
    assert Device.load(again).record == alice.device.record
    assert decrypt(again, bob.address, bob.send(alice, b"two"), now=NOW).plaintext == b"two"
    again.close()


def _hammer(path, address, count, queue):
    opened = SQLiteStore(path)
    from mana_e2ee.core import encrypt

    queue.put([encrypt(opened, address, b"x", now=NOW) for _ in range(count)])
    opened.close()


def test_two_processes_on_one_file_never_use_a_message_key_twice(tmp_path):
    opened = sqlite_store(tmp_path)
    alice, bob = party("alice", store=opened), party("bob")
    alice.start(bob)
    opened.close()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_hammer, args=(tmp_path / "e2ee.db", bob.address, 40, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    messages = [message for _ in workers for message in queue.get(timeout=60)]
    for worker in workers:
        worker.join(60)
    assert sorted(int.from_bytes(message[54:58], "big") for message in messages) == list(range(80))
    assert all(bob.read(alice, message) == b"x" for message in messages)


def test_threads_on_one_store_never_use_a_message_key_twice(store):
    alice, bob = party("alice", store=store), party("bob")
    alice.start(bob)
    messages = []

    def work():
        messages.extend(alice.send(bob, b"x") for _ in range(40))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int.from_bytes(message[54:58], "big") for message in messages) == list(range(160))


def test_failures_in_a_row_are_slowed_down():
    alice, bob = talking()
    good = alice.send(bob, b"good")
    bad = good[:-1] + bytes([good[-1] ^ 1])
    for _ in range(16):
        with refused(InvalidMessage, bob.store):
            bob.read(alice, bad)
    with refused(Throttled, bob.store):
        bob.read(alice, good)
    with pytest.raises(Throttled) as caught:
        bob.read(alice, good)
    assert caught.value.retry_after == 1
    assert bob.read(alice, good, now=NOW + 1) == b"good"
    for _ in range(16):  # a success has ended the row: sixteen more may fail before the next wait
        with refused(InvalidMessage, bob.store):
            bob.read(alice, bad[:40], now=NOW + 1)
    with refused(Throttled, bob.store):
        bob.read(alice, bad, now=NOW + 1)


def test_one_address_is_slowed_down_and_not_the_others():
    alice, bob = talking()
    carol = party("carol")
    carol.start(bob)
    hello = carol.send(bob, b"hello")
    bad = alice.send(bob, b"x")[:-1] + b"?"
    for _ in range(16):
        with refused(InvalidMessage, bob.store):
            bob.read(alice, bad)
    with refused(Throttled, bob.store):
        bob.read(alice, bad)
    assert bob.read(carol, hello) == b"hello"


def test_the_wait_doubles_up_to_an_hour_and_is_per_address():
    throttle, address = Throttle(), Address("mallory", "phone")
    now = NOW
    for expected in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 3_600, 3_600):
        for _ in range(16 if expected == 1 else 1):
            throttle.failed(address, now)
        with pytest.raises(Throttled) as caught:
            throttle.check(address, now)
        assert caught.value.retry_after == expected
        throttle.check(Address("alice", "phone"), now)
        throttle.check(address, now - DAY)
        now += expected
        throttle.check(address, now)


def test_the_throttle_remembers_a_bounded_number_of_addresses(monkeypatch):
    monkeypatch.setattr("mana_e2ee.core.throttle.THROTTLE_ADDRESSES", 3)
    throttle = Throttle()
    for index in range(5):
        for _ in range(16):
            throttle.failed(Address("u", str(index)), NOW)
    for index in range(2):
        throttle.check(Address("u", str(index)), NOW)
    for index in range(2, 5):
        with pytest.raises(Throttled):
            throttle.check(Address("u", str(index)), NOW)


def test_duplicates_and_unknown_sessions_do_not_count_as_failures():
    alice, bob = talking()
    carol = party("carol")
    message = alice.send(bob, b"x")
    for _ in range(20):
        with pytest.raises(NoSession):
            carol.read(alice, message)
    throttle_of(carol.store).check(alice.address, NOW)


def test_prekeys_are_rotated_after_seven_days_and_old_ones_kept_for_thirty():
    alice, bob = pair()
    old = bob.claim()
    assert bob.device.rotate(now=NOW + 7 * DAY - 1) is None
    rotated = bob.device.rotate(now=NOW + 7 * DAY)
    assert rotated.signed_prekey.id == 2
    assert rotated.kem_prekey.id == 2
    assert rotated.one_time == ()
    rotated.verify()
    assert bob.device.rotate(now=NOW + 8 * DAY) is None
    from mana_e2ee.core import UnknownPreKey, process_prekey_bundle

    process_prekey_bundle(alice.store, bob.address, old, now=NOW)
    message = alice.send(bob, b"late")
    assert bob.device.rotate(now=NOW + 36 * DAY).signed_prekey.id == 3
    assert bob.read(alice, message, now=NOW + 36 * DAY) == b"late"
    with bob.store.transaction() as tx:
        assert len(tx.scan("handshake")) == 1
    carol = party("carol")
    process_prekey_bundle(carol.store, bob.address, old, now=NOW)
    late = carol.send(bob, b"too late")
    assert bob.device.rotate(now=NOW + 37 * DAY) is None
    with bob.store.transaction() as tx:
        assert [int.from_bytes(key, "big") for key, _ in tx.scan("signed_prekey")] == [2, 3]
        assert [int.from_bytes(key, "big") for key, _ in tx.scan("kem_prekey")] == [2, 3]
        assert tx.scan("handshake") == []
    with refused(UnknownPreKey, bob.store):
        bob.read(carol, late, now=NOW + 37 * DAY)


def test_rotation_may_be_forced_and_needs_no_kem_in_suite_one():
    bob = party("bob", suites=(1,))
    rotated = bob.device.rotate(force=True, now=NOW)
    assert rotated.signed_prekey.id == 2
    assert rotated.kem_prekey is None


def test_handshakes_of_prekeys_that_are_still_kept_are_remembered():
    alice, bob = pair()
    carol = party("carol")
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"on the first prekey"))
    bob.publication = bob.device.rotate(now=NOW + 7 * DAY)
    carol.start(bob)
    bob.read(carol, carol.send(bob, b"on the second"))
    bob.device.rotate(now=NOW + 14 * DAY)
    bob.device.rotate(now=NOW + 37 * DAY)
    with bob.store.transaction() as tx:
        assert [row for _, row in tx.scan("handshake")] == [(2).to_bytes(4, "big")]


def test_one_time_prekeys_are_refilled_below_25_and_ids_are_never_reused():
    bob = party("bob", one_time=3)
    assert [key.id for key in bob.publication.one_time] == [1, 2, 3]
    assert bob.device.refill(25) == ()
    refill = bob.device.refill(24)
    assert [key.id for key in refill] == list(range(4, 80))
    assert len(bob.device.publish_bundle().one_time) == 100
    assert len(bob.device.refill(0)) == 100
    assert len(bob.device.refill(-(10**9))) == 100  # as a directory might say


def test_the_number_of_private_one_time_prekeys_is_bounded(monkeypatch):
    monkeypatch.setattr("mana_e2ee.core.device.MAX_ONE_TIME_KEPT", 5)
    bob = party("bob", one_time=8)
    with bob.store.transaction() as tx:
        assert [int.from_bytes(key, "big") for key, _ in tx.scan("one_time")] == [4, 5, 6, 7, 8]


def test_a_device_speaks_known_suites_only():
    for suites in ((), (3,), (1, 2, 3), (0,)):
        with pytest.raises(ValueError, match="suites"):
            party("bob", suites=suites)
    assert party("bob", suites=(2, 1, 2)).device.record.suites == (1, 2)


def test_a_loaded_device_goes_on_where_it_stopped():
    bob = party("bob", one_time=2)
    again = Device.load(bob.store)
    assert [key.id for key in again.publish_bundle(one_time=2).one_time] == [3, 4]
    assert again.rotate(now=NOW + 7 * DAY).signed_prekey.id == 2


@pytest.mark.parametrize("suites", [(1,), (1, 2)])
def test_a_handshake_is_forgotten_with_its_signed_prekey(suites):
    alice, bob = pair(suites=suites)
    alice.start(bob)
    bob.read(alice, alice.send(bob, b"x"))
    bob.device.rotate(now=NOW + 7 * DAY)
    assert len(contents(bob.store)["handshake"]) == 1
    bob.device.rotate(now=NOW + 37 * DAY)
    assert contents(bob.store)["handshake"] == []


def test_a_file_store_is_durable_and_overwrites_what_it_deletes(tmp_path):
    store = sqlite_store(tmp_path)
    values = [store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS]
    assert dict(zip(PRAGMAS, values, strict=True)) == PRAGMAS
    store.close()


def test_a_file_store_waits_for_another_process_as_long_as_it_is_told(tmp_path):
    first = sqlite_store(tmp_path)
    second = SQLiteStore(tmp_path / "e2ee.db", timeout=0.05)
    assert second._connection.execute("PRAGMA busy_timeout").fetchone()[0] == 50  # milliseconds
    with first.transaction() as tx:
        tx.put("t", b"a", b"1")
        with pytest.raises(sqlite3.OperationalError, match="locked"), second.transaction():
            pass
    with second.transaction() as tx:
        assert tx.get("t", b"a") == b"1"
    first.close()
    second.close()


def test_a_store_holds_one_device():
    bob = party("bob")
    with pytest.raises(ValueError, match="already"):
        Device.generate(bob.store, Address("bob", "other"))
    with pytest.raises(LookupError):
        Device.load(MemoryStore())


def test_a_commit_that_fails_leaves_nothing_open(tmp_path):
    opened = sqlite_store(tmp_path)
    with pytest.raises(sqlite3.ProgrammingError), opened.transaction() as tx:  # noqa: PT012
        tx.put("t", b"a", b"1")
        opened.close()
    again = sqlite_store(tmp_path)
    with again.transaction() as tx:
        assert tx.get("t", b"a") is None
    again.close()
