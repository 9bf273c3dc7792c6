"""Python and JavaScript read each other: in Node and in headless Chromium, in both roles, in any order.

MANA_E2EE_SCHEDULES sets how many random schedules each bridge runs (10000 for the long run).
"""

import json
import os
import random
import subprocess
from collections.abc import Iterator

import pytest

from mana_e2ee.core import (
    AccountKey,
    Attachment,
    Backup,
    DeviceList,
    DeviceRecord,
    Distribution,
    GroupSession,
    InvalidMessage,
    MembershipLog,
    PreKeyBundle,
    RecoveryKey,
    RetryRequest,
    answer_retry,
    process_prekey_bundle,
    request_retry,
)
from tests.support import services

from .javascript import ROOT, ChromiumBridge, JsParty, NodeBridge, Refused, checked, served
from .make_vectors import VECTORS
from .parties import NOW, Party, party

SCHEDULES = int(os.environ.get("MANA_E2EE_SCHEDULES", "40"))


@pytest.fixture(scope="module")
def node() -> Iterator[NodeBridge]:
    bridge = NodeBridge()
    yield bridge
    bridge.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[ChromiumBridge]:
    with served() as base:
        bridge = ChromiumBridge(base)
        yield bridge
        bridge.close()


@pytest.fixture(params=["node", "chromium"])
def bridge(request):
    return request.getfixturevalue(request.param)


def connect(ours: Party, theirs: JsParty, *, we_start: bool, one_time: bool = True) -> None:
    if we_start:
        bundle = PreKeyBundle.from_bytes(theirs.claim(one_time=one_time))
        process_prekey_bundle(ours.store, theirs.address, bundle, now=NOW)
    else:
        theirs.start(ours.address, ours.claim(one_time=one_time).to_bytes())


def schedule(bridge, seed: int) -> int:
    """One random conversation; returns the number of messages read."""
    rng = random.Random(seed)
    suites = rng.choice([(1,), (1, 2), (1, 2)])
    ours = party("alice", suites=suites, one_time=1)
    theirs = JsParty(bridge, "bob", suites=suites)
    we_start = rng.random() < 0.5
    connect(ours, theirs, we_start=we_start, one_time=rng.random() < 0.7)
    if rng.random() < 0.15:
        connect(ours, theirs, we_start=not we_start)
        we_start = None
    to_them: list[tuple[bytes, bytes]] = []
    to_us: list[tuple[bytes, bytes]] = []
    we_can, they_can = we_start is not False, we_start is not True
    read = 0

    def text() -> bytes:
        return rng.randbytes(rng.choice([0, 1, 31, 32, 100, 700]))

    for round_number in range(4):
        last = round_number == 3
        if we_can:
            for _ in range(rng.randrange(1, 4)):
                plaintext = text()
                to_them.append((plaintext, ours_send(ours, theirs, plaintext)))
        rng.shuffle(to_them)
        held = [] if last else to_them[: rng.randrange(len(to_them) + 1)]
        now_read = to_them[len(held) :]
        to_them = held
        replay = bool(now_read) and rng.random() < 0.3
        commands = [{"op": "decrypt", **theirs.to(ours.address, message=message)} for _, message in now_read]
        if replay:
            commands.append(commands[0])
        they_can = they_can or bool(now_read)
        answers = [text() for _ in range(rng.randrange(1, 4))] if they_can else []
        commands += [{"op": "encrypt", **theirs.to(ours.address, plaintext=answer)} for answer in answers]
        results = bridge.call("batch", commands=commands)["results"]
        for (plaintext, _), result in zip(now_read, results, strict=False):
            assert bytes.fromhex(checked(result)["plaintext"]) == plaintext
        if replay:
            assert results[len(now_read)] == {"error": "duplicate_message"}
        read += len(now_read)
        for answer, result in zip(answers, results[len(results) - len(answers) :], strict=True):
            to_us.append((answer, bytes.fromhex(checked(result)["message"])))
        rng.shuffle(to_us)
        while to_us and (last or rng.random() < 0.7):
            plaintext, message = to_us.pop()
            if rng.random() < 0.1:
                broken = message[:-1] + bytes([message[-1] ^ 1])
                with pytest.raises(InvalidMessage):
                    ours.read(theirs, broken)
            assert ours.read(theirs, message) == plaintext
            we_can, read = True, read + 1
    theirs.drop()
    return read


def ours_send(ours: Party, theirs: JsParty, plaintext: bytes) -> bytes:
    return ours.send(theirs, plaintext)  # type: ignore[arg-type]


def test_random_schedules(bridge):
    read = sum(schedule(bridge, seed) for seed in range(SCHEDULES))
    print(f"{SCHEDULES} schedules, {read} messages read")
    assert read > 5 * SCHEDULES


@pytest.mark.parametrize("suites", [(1,), (1, 2)])
@pytest.mark.parametrize("we_start", [True, False])
def test_every_byte_of_a_first_message_counts_in_javascript(node, suites, we_start):
    ours, theirs = party("alice", suites=suites), JsParty(node, "bob", suites=suites)
    connect(ours, theirs, we_start=True)
    message = ours_send(ours, theirs, b"x")
    if not we_start:
        theirs.read(ours.address, message)
        message = ours_send(ours, theirs, b"y")
    commands = []
    for position in range(0, len(message), 1 if suites == (1,) else 7):
        broken = bytearray(message)
        broken[position] ^= 1
        command = theirs.to(ours.address, message=bytes(broken))
        commands.append({"op": "decrypt", **command, "now": NOW + position * 4_000})
    results = node.call("batch", commands=commands)["results"]
    codes = {result.get("error") for result in results}
    assert codes <= {
        *([] if we_start else ["duplicate_message"]),  # N flipped to a number that was read
        "unsupported_version",
        "invalid_message",
        "invalid_key",
        "invalid_signature",
        "unknown_prekey",
        "downgrade_refused",
        "no_session",
        "too_many_skipped",
    }
    assert {"unsupported_version", "invalid_message"} <= codes
    answer = checked(node.call("decrypt", **{**theirs.to(ours.address, message=message), "now": NOW + 10**8}))
    assert bytes.fromhex(answer["plaintext"]) == (b"x" if we_start else b"y")


def test_the_refusals_have_the_same_codes(bridge):
    ours, theirs = party("alice"), JsParty(bridge, "bob")
    carol = JsParty(bridge, "carol")
    with pytest.raises(Refused, match="no_session"):
        theirs.send(ours.address, b"x")
    with pytest.raises(Refused, match="untrusted_identity"):
        theirs.start(ours.address, carol.claim())
    with pytest.raises(Refused, match="untrusted_identity"):
        theirs.start(theirs.address, theirs.claim())
    bundle = ours.claim()
    stripped = PreKeyBundle(bundle.record, bundle.signed_prekey, None, bundle.one_time)
    with pytest.raises(Refused, match="downgrade_refused"):
        theirs.start(ours.address, stripped.to_bytes())
    theirs.start(ours.address, bundle.to_bytes())
    carol.start(ours.address, bundle.to_bytes())
    first = theirs.send(ours.address, b"x")
    assert ours.read(theirs, first) == b"x"
    with pytest.raises(Refused, match="no_session"):
        carol.read(ours.address, ours_send(ours, theirs, b"y"))
    with pytest.raises(Refused, match="invalid_message"):
        theirs.send(ours.address, bytes(65_536))
    messages = [ours_send(ours, theirs, b"z") for _ in range(1_003)]
    with pytest.raises(Refused, match="too_many_skipped"):
        theirs.read(ours.address, messages[1_002])
    assert theirs.read(ours.address, messages[999]) == b"z"
    assert theirs.call("pending")["count"] == 1
    for _ in range(16):
        with pytest.raises(Refused, match="invalid_message"):
            theirs.read(ours.address, messages[1_001][:-1] + b"?")
    with pytest.raises(Refused, match="throttled"):
        theirs.read(ours.address, messages[1_001])
    impostor = party("alice")
    with pytest.raises(Refused, match="untrusted_identity"):
        theirs.start(ours.address, impostor.claim().to_bytes())


def test_device_lists_groups_files_backups_and_retries_cross_over(bridge):
    ours, theirs = party("alice"), JsParty(bridge, "bob")
    account = AccountKey.generate()
    first = DeviceList.create(account, "alice", [ours.device.record])
    second = first.next(account, [ours.device.record, party("alice", "tablet").device.record])
    assert theirs.call("acceptList", list=first.to_bytes()) == {"added": 1, "removed": 0}
    assert theirs.call("acceptList", list=second.to_bytes()) == {"added": 1, "removed": 0}
    with pytest.raises(Refused, match="stale_device_list"):
        theirs.call("acceptList", list=first.to_bytes())

    log = MembershipLog("g")
    entries = [log.propose(ours.store, add=user, now=NOW) for user in ("alice", "bob")]
    record = ours.device.record.to_bytes().hex()
    theirs.call("group", group="g", entries=[[entry.to_bytes().hex(), record] for entry in entries])
    session = GroupSession(ours.store, log)
    here = {"user": "alice", "device": "phone"}
    theirs.call("groupReceive", group="g", key=session.rotate(now=NOW).to_bytes(), **here)
    key = Distribution.from_bytes(bytes.fromhex(theirs.call("groupRotate", group="g", now=NOW)["key"]))
    session.receive_key(theirs.address, key)
    for index in range(3):
        message = session.encrypt(bytes([index]), now=NOW)
        answer = theirs.call("groupDecrypt", group="g", message=message, now=NOW, **here)
        assert bytes.fromhex(answer["plaintext"]) == bytes([index])
        sent = theirs.call("groupEncrypt", group="g", plaintext=bytes([index]), now=NOW)["message"]
        assert session.decrypt(theirs.address, bytes.fromhex(sent), now=NOW).plaintext == bytes([index])

    plaintext, recovery = bytes(range(256)) * 600, RecoveryKey.generate()
    pointer, ciphertext = Attachment.encrypt(plaintext)
    opened = theirs.call(
        "open",
        pointer=pointer.to_bytes(),
        ciphertext=ciphertext,
        backup=Backup.seal(recovery, plaintext),
        recovery=recovery.text,
    )
    assert opened["file"] == opened["plaintext"] == plaintext.hex()
    sealed = theirs.call("seal", plaintext=plaintext, recovery=recovery.text)
    pointer = Attachment.from_bytes(bytes.fromhex(sealed["pointer"]))
    assert pointer.decrypt(bytes.fromhex(sealed["ciphertext"])) == plaintext
    assert Backup.open(recovery, bytes.fromhex(sealed["backup"])) == plaintext

    connect(ours, theirs, we_start=True)
    lost = ours_send(ours, theirs, b"lost")
    asked = bytes.fromhex(theirs.call("requestRetry", message=lost, now=NOW, **here)["request"])
    assert answer_retry(ours.store, theirs.address, RetryRequest.from_bytes(asked), now=NOW)
    connect(ours, theirs, we_start=False)
    lost = theirs.send(ours.address, b"lost")
    ours.read(theirs, lost)
    request = request_retry(ours.store, theirs.address, lost, now=NOW).to_bytes()
    assert theirs.call("answerRetry", request=request, now=NOW, **here)["messageId"]
    assert DeviceRecord.from_bytes(theirs.record).verify().address == theirs.address


def run_node_tests(name: str) -> int:
    """Runs one file of Node tests; the number that passed. A test that failed or was skipped is a failure here."""
    result = subprocess.run(
        [*services.node(), "--test-reporter=tap", "--test", f"tests/e2ee/js/{name}.test.mjs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    passed = [line for line in result.stdout.splitlines() if line.startswith("ok ")]
    assert not [line for line in passed if "# SKIP" in line]
    return len(passed)


def test_the_vectors_hold_in_node():
    assert run_node_tests("vectors") == 4


def test_hostile_input_is_refused_in_node():
    assert run_node_tests("hostile") == 19


def test_the_primitives_agree_with_nobles():
    services.require("noble")
    assert run_node_tests("noble") == 4


def test_hostile_input_is_refused_in_chromium(chromium):
    result = chromium.run(
        "const done = arguments[0];"
        'import("/tests/e2ee/js/hostile.mjs").then(async ({ checks }) => {'
        "  const passed = [];"
        "  for (const [name, check] of Object.entries(checks)) { await check(); passed.push(name); }"
        "  return passed;"
        "}).then(done, (error) => done(String(error.stack ?? error)));"
    )
    assert isinstance(result, list), result
    assert len(result) == 17


def test_the_vectors_hold_in_chromium(chromium):
    compared = chromium.run(
        "const done = arguments[0];"
        'import("/tests/e2ee/js/vectors.mjs").then((module) => module.checkVectors('
        f"{json.dumps(json.loads(VECTORS.read_text()))}"
        ")).then(done, (error) => done(String(error.stack ?? error)));"
    )
    assert isinstance(compared, int), compared
    assert compared > 200


def test_chromium_uses_its_own_kem_and_nobles_reads_the_same_bytes(chromium):
    assert chromium.call("useNoble", always=False)["native"] is True
    ours, native = party("alice", one_time=4), JsParty(chromium, "bob")
    connect(ours, native, we_start=True)
    assert native.read(ours.address, ours_send(ours, native, b"to the native one")) == b"to the native one"
    connect(ours, native, we_start=False)
    assert ours.read(native, native.send(ours.address, b"from the native one")) == b"from the native one"
    try:
        assert chromium.call("useNoble", always=True)["native"] is False
        fallback = JsParty(chromium, "carol")
        connect(ours, fallback, we_start=True)
        assert fallback.read(ours.address, ours_send(ours, fallback, b"to noble")) == b"to noble"
        connect(ours, fallback, we_start=False)
        assert ours.read(fallback, fallback.send(ours.address, b"from noble")) == b"from noble"
    finally:
        chromium.call("useNoble", always=False)


def test_no_private_key_in_indexeddb_can_be_exported(chromium):
    ours, theirs = party("alice"), JsParty(chromium, "bob", database="extractable")
    connect(ours, theirs, we_start=True)
    assert theirs.read(ours.address, ours_send(ours, theirs, b"x")) == b"x"
    answer = theirs.call("extractable")
    assert answer["keys"] >= 5
    assert answer["extractable"] == 0


def test_two_tabs_on_one_store_never_use_a_message_key_twice(chromium):
    ours, theirs = party("alice"), JsParty(chromium, "bob", database="tabs")
    connect(ours, theirs, we_start=False)
    driver = chromium.driver
    first = driver.current_window_handle
    start = (
        "window.result = undefined;"
        'import("/tests/e2ee/js/peer.mjs").then(async (peer) => {'
        '  await peer.handle({ op: "load", id: "tab", database: "tabs" });'
        "  window.result = await peer.handle("
        f'    {{ op: "manyEncrypts", id: "tab", count: 50, user: "alice", device: "phone", now: {NOW} }});'
        "});"
    )
    driver.switch_to.new_window("tab")
    driver.get(driver.execute_script("return arguments[0]", f"{chromium._base}/tests/e2ee/js/page.html"))
    second = driver.current_window_handle
    messages = []
    try:
        for handle in (first, second):
            driver.switch_to.window(handle)
            driver.execute_script(start)
        for handle in (first, second):
            driver.switch_to.window(handle)
            result = driver.execute_async_script(
                "const done = arguments[0];"
                "const wait = () => window.result ? done(window.result) : setTimeout(wait, 20); wait();"
            )
            messages += checked(result)["messages"]
    finally:
        driver.switch_to.window(second)
        driver.close()
        driver.switch_to.window(first)
    numbers = [int(message[108:116], 16) for message in messages]
    assert sorted(numbers) == list(range(100))
    assert all(ours.read(theirs, bytes.fromhex(message)) == bytes(4) for message in messages)
