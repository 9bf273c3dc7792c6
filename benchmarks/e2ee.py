"""What the encryption core does in a second, beside its goals and Syndace's libraries: `python -m
benchmarks.e2ee`.

One process, one core, plaintexts of 100 bytes; each figure is the best of five rounds, ours and theirs in
turns, so that both see the same machine. Seconds are of the process's own CPU time, so that a busy machine
does not count against either, except where a row says otherwise and in Chromium. `--chromium` adds the
browser twin, `--seconds` sets the length of a round, `--runs` repeats the whole and takes the medians, `--write`
puts the table into RESULTS.md.

Syndace's libraries run with the parts they recommend (AES-256-CBC with HMAC, HKDF and HMAC with SHA-256) and
without a store, so the figures beside theirs are of our bare ratchet and handshake; figures with our stores
stand below.
"""

import argparse
import datetime
import importlib.metadata
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from benchmarks.machine import busy, machine
from benchmarks.results import RESULTS, write_section
from mana_e2ee.core import (
    Address,
    Device,
    MemoryStore,
    PreKeyBundle,
    Publication,
    SQLiteStore,
    Store,
    decrypt,
    encrypt,
    forget,
    process_prekey_bundle,
)
from mana_e2ee.core.device import own_identity, responder_keys
from mana_e2ee.core.envelope import parse
from mana_e2ee.core.handshake import initiate, respond
from mana_e2ee.core.ratchet import Ratchet

T = TypeVar("T")
Clock = Callable[[], float]
NOW = 1_800_000_000
PLAINTEXT = bytes(100)
ROUNDS = 5
HEADING = "## The encryption core"
ALICE, BOB = Address("alice", "phone"), Address("bob", "phone")


class Row(NamedTuple):
    """One line of the table. `goal` and `value` are rates or sizes; `at_most` tells which way the goal
    points.
    """

    what: str
    value: float
    unit: str
    goal: float | None = None
    theirs: float | None = None
    at_most: bool = False


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Syndace's API is asynchronous without ever waiting: one step runs it to its end."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise RuntimeError("the coroutine waits")


def rate(work: Callable[[], object], seconds: float, clock: Clock) -> float:
    """How often `work` runs in a second of `clock`."""
    count, start = 0, clock()
    while (spent := clock() - start) < seconds:
        for _ in range(10):
            work()
        count += 10
    return count / spent


def best(works: list[Callable[[], object]], seconds: float, clock: Clock = time.process_time) -> list[float]:
    """The best rate of each, measured in turns."""
    found = [0.0] * len(works)
    for _ in range(ROUNDS):
        for index, work in enumerate(works):
            found[index] = max(found[index], rate(work, seconds, clock))
    return found


# Ours


def device(store: Store, address: Address, *, one_time: int = 0) -> tuple[Device, Publication]:
    made = Device.generate(store, address, now=NOW)
    return made, made.publish_bundle(one_time=one_time)


def ratchets() -> tuple[Ratchet, Ratchet]:
    """Two ends of a session of suite 2 that have heard each other."""
    alice, bob = MemoryStore(), MemoryStore()
    device(alice, ALICE)
    made, publication = device(bob, BOB)
    with alice.transaction() as tx:
        own = own_identity(tx)
    agreement = initiate(own.record, own.dh_private, publication.bundle(None))
    with bob.transaction() as tx:
        keys = responder_keys(tx, own_identity(tx), 1, 0, 1)
    ours = Ratchet.for_initiator(agreement, publication.signed_prekey.public, now=NOW)
    theirs = Ratchet.for_responder(respond(made.record, keys, agreement.block), keys.signed_prekey)
    theirs.decrypt(parse(ALICE, ours.encrypt(PLAINTEXT)), NOW)
    ours.decrypt(parse(BOB, theirs.encrypt(PLAINTEXT)), NOW)
    return ours, theirs


def our_pair() -> Callable[[], object]:
    ours, theirs = ratchets()
    return lambda: theirs.decrypt(parse(ALICE, ours.encrypt(PLAINTEXT)), NOW)


def our_turn() -> Callable[[], object]:
    """One message with a ratchet step; the two ends take turns."""
    ends = list(ratchets())

    def turn() -> None:
        ends[1].decrypt(parse(ALICE, ends[0].encrypt(PLAINTEXT)), NOW)
        ends.reverse()

    return turn


def our_initiator() -> Callable[[], object]:
    alice, bob = MemoryStore(), MemoryStore()
    device(alice, ALICE)
    _, publication = device(bob, BOB, one_time=1)
    bundle = publication.bundle(publication.one_time[0]).to_bytes()
    with alice.transaction() as tx:
        own = own_identity(tx)
    return lambda: initiate(own.record, own.dh_private, PreKeyBundle.from_bytes(bundle))


def our_responder() -> Callable[[], object]:
    alice, bob = MemoryStore(), MemoryStore()
    device(alice, ALICE)
    made, publication = device(bob, BOB, one_time=1)
    process_prekey_bundle(alice, BOB, publication.bundle(publication.one_time[0]), now=NOW)
    message = encrypt(alice, BOB, PLAINTEXT, now=NOW)
    with bob.transaction() as tx:
        keys = responder_keys(tx, own_identity(tx), 1, 1, 1)

    def answer() -> None:
        block = parse(ALICE, message).block
        assert block is not None
        respond(made.record, keys, block)

    return answer


def stored_pair(alice: Store, bob: Store) -> Callable[[], object]:
    """Through two stores, the plaintext kept and then forgotten."""
    device(alice, ALICE)
    _, publication = device(bob, BOB)
    process_prekey_bundle(alice, BOB, publication.bundle(None), now=NOW)
    decrypt(bob, ALICE, encrypt(alice, BOB, PLAINTEXT, now=NOW), now=NOW)
    decrypt(alice, BOB, encrypt(bob, ALICE, PLAINTEXT, now=NOW), now=NOW)

    def pair() -> None:
        forget(bob, decrypt(bob, ALICE, encrypt(alice, BOB, PLAINTEXT, now=NOW), now=NOW))

    return pair


def skipped_milliseconds() -> float:
    """One message that skips 1,000, through a store that keeps their keys."""
    found = float("inf")
    for _ in range(ROUNDS):
        alice, bob = MemoryStore(), MemoryStore()
        stored_pair(alice, bob)
        messages = [encrypt(alice, BOB, PLAINTEXT, now=NOW) for _ in range(1_001)]
        start = time.process_time()
        decrypt(bob, ALICE, messages[-1], now=NOW)
        found = min(found, time.process_time() - start)
    return 1_000 * found


def sizes() -> tuple[int, int]:
    """(overhead of a message without its padding, bytes of a first message with an empty plaintext)."""
    alice, bob = MemoryStore(), MemoryStore()
    device(alice, ALICE)
    _, publication = device(bob, BOB, one_time=1)
    process_prekey_bundle(alice, BOB, publication.bundle(publication.one_time[0]), now=NOW)
    first = encrypt(alice, BOB, b"", now=NOW)
    decrypt(bob, ALICE, first, now=NOW)
    return len(encrypt(bob, ALICE, bytes(1_023), now=NOW)) - 1_023, len(first)


# Syndace's


def their_ratchets() -> tuple[Any, Any]:
    import doubleratchet
    from doubleratchet.recommended import (
        HashFunction,
        aead_aes_hmac,
        diffie_hellman_ratchet_curve25519,
        kdf_hkdf,
        kdf_separate_hmacs,
    )

    class Root(kdf_hkdf.KDF):
        @staticmethod
        def _get_hash_function() -> HashFunction:
            return HashFunction.SHA_256

        @staticmethod
        def _get_info() -> bytes:
            return b"benchmark root"

    class Chain(kdf_separate_hmacs.KDF):
        @staticmethod
        def _get_hash_function() -> HashFunction:
            return HashFunction.SHA_256

    class Aead(aead_aes_hmac.AEAD):
        @staticmethod
        def _get_hash_function() -> HashFunction:
            return HashFunction.SHA_256

        @staticmethod
        def _get_info() -> bytes:
            return b"benchmark message"

    class DoubleRatchet(doubleratchet.DoubleRatchet):
        @staticmethod
        def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
            numbers = (header.previous_sending_chain_length, header.sending_chain_length)
            return associated_data + header.ratchet_pub + b"".join(n.to_bytes(4, "big") for n in numbers)

    options: dict[str, Any] = {
        "diffie_hellman_ratchet_class": diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet,
        "root_chain_kdf": Root,
        "message_chain_kdf": Chain,
        "message_chain_constant": b"\x02\x01",
        "dos_protection_threshold": 1_000,
        "max_num_skipped_message_keys": 2_000,
        "aead": Aead,
        "shared_secret": bytes(32),
        "associated_data": bytes(32),
    }
    private = bytes(range(32))
    ratchet = diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet
    one, first = run(
        DoubleRatchet.encrypt_initial_message(
            **options, recipient_ratchet_pub=ratchet._derive_pub(private), message=PLAINTEXT
        )
    )
    two, _ = run(DoubleRatchet.decrypt_initial_message(**options, own_ratchet_priv=private, message=first))
    return one, two


def their_pair() -> Callable[[], object]:
    one, two = their_ratchets()
    data = bytes(32)
    return lambda: run(two.decrypt_message(run(one.encrypt_message(PLAINTEXT, data)), data))


def their_turn() -> Callable[[], object]:
    ends = list(their_ratchets())
    data = bytes(32)
    ends.reverse()

    def turn() -> None:
        run(ends[1].decrypt_message(run(ends[0].encrypt_message(PLAINTEXT, data)), data))
        ends.reverse()

    return turn


def their_handshakes() -> tuple[Callable[[], object], Callable[[], object]]:
    import x3dh
    from x3dh.crypto_provider import HashFunction

    class State(x3dh.BaseState):
        @staticmethod
        def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
            return b"\x02" + pub

    def state() -> State:
        return State.create(x3dh.IdentityKeyFormat.CURVE_25519, HashFunction.SHA_256, b"benchmark")

    one, two = state(), state()
    two.generate_pre_keys(1)
    bundle = two.bundle
    _, _, header = run(one.get_shared_secret_active(bundle))
    return (
        lambda: run(one.get_shared_secret_active(bundle)),
        lambda: run(two.get_shared_secret_passive(header)),
    )


# The table


def chromium_rates(count: int = 2_000) -> tuple[float, float, float]:
    """Encrypts a second: in memory, with IndexedDB that waits for the disk, the same in fan-outs of 50."""
    from tests.e2ee.javascript import ChromiumBridge, JsParty, served
    from tests.e2ee.parties import party

    with served() as base:
        bridge = ChromiumBridge(base)
        try:
            found = []
            for database, number in ((None, count), ("benchmark", count // 4)):
                ours, theirs = party("alice"), JsParty(bridge, "bob", database=database)
                theirs.start(ours.address, ours.claim().to_bytes())
                ours.read(theirs, theirs.send(ours.address, b"x"))  # type: ignore[arg-type]
                theirs.read(ours.address, ours.send(theirs, b"y"))  # type: ignore[arg-type]
                to = {"user": "alice", "device": "phone", "now": NOW, "size": 100}
                spent = min(theirs.call("timeEncrypts", count=number, **to)["milliseconds"] for _ in range(3))
                found.append(1_000 * number / spent)
            spent = min(theirs.call("timeFanOuts", count=10, width=50, **to)["milliseconds"] for _ in range(3))
            return found[0], found[1], 1_000 * 500 / spent
        finally:
            bridge.close()


def measure(seconds: float, *, chromium: bool) -> list[Row]:
    pairs = best([our_pair(), their_pair()], seconds)
    turns = best([our_turn(), their_turn()], seconds)
    active, passive = their_handshakes()
    starts = best([our_initiator(), active], seconds)
    answers = best([our_responder(), passive], seconds)
    overhead, first = sizes()
    with tempfile.TemporaryDirectory() as folder:
        disks = [SQLiteStore(Path(folder) / name) for name in ("a", "b")]
        on_disk = best([stored_pair(disks[0], disks[1])], seconds, time.perf_counter)
        for disk in disks:
            disk.close()
    in_memory = best([stored_pair(MemoryStore(), MemoryStore())], seconds)
    rows = [
        Row("one-way pairs (encrypt and decrypt)", pairs[0], "/s", 15_000, pairs[1]),
        Row("the same, times Syndace's", pairs[0] / pairs[1], "x", 2.5),
        Row("ping-pong, a ratchet step each message", turns[0], "/s", 3_500, turns[1]),
        Row("PQXDH initiator (Syndace: X3DH)", starts[0], "/s", 600, starts[1]),
        Row("PQXDH responder (Syndace: X3DH)", answers[0], "/s", 1_000, answers[1]),
        Row("overhead of a message, without padding", overhead, "bytes", 80, at_most=True),
        Row("first message of suite 2, empty plaintext", first, "bytes", 1_400, at_most=True),
        Row("a message that skips 1,000 keys", skipped_milliseconds(), "ms", 15, at_most=True),
        Row("one-way pairs through MemoryStore", in_memory[0], "/s"),
        Row("one-way pairs through SQLiteStore (fsync, by the clock)", on_disk[0], "/s"),
    ]
    if chromium:
        memory, disk, wide = chromium_rates()
        rows.append(Row("Chromium, encrypts in memory", memory, "/s", 1_500))
        rows.append(Row("Chromium, the same in IndexedDB (strict)", disk, "/s"))
        rows.append(Row("Chromium, IndexedDB, in fan-outs of 50", wide, "/s"))
    return rows


def met(row: Row) -> bool:
    """Whether the goal is reached; rows without one always are."""
    if row.goal is None:
        return True
    return row.value <= row.goal if row.at_most else row.value >= row.goal


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""

    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"

    lines = ["| what | ours | unit | goal | met | Syndace | ratio |", "|---|---:|---|---:|---|---:|---:|"]
    for row in rows:
        ratio = f"{row.value / row.theirs:.2f}x" if row.theirs else ""
        goal = "" if row.goal is None else f"{'<=' if row.at_most else '>='} {row.goal:,g}"
        yes = "" if row.goal is None else "yes" if met(row) else "NO"
        lines.append(
            f"| {row.what} | {shown(row.value)} | {row.unit} | {goal} | {yes} | {shown(row.theirs)} | {ratio} |"
        )
    return "\n".join(lines)


def medians(runs: list[list[Row]]) -> list[Row]:
    """Row by row: the median of ours, and of Syndace's; a ratio is the median of the ratios."""
    found = []
    for rows in zip(*runs, strict=True):
        theirs = [row.theirs for row in rows if row.theirs is not None]
        middle = statistics.median(theirs) if theirs else None
        found.append(rows[0]._replace(value=statistics.median(row.value for row in rows), theirs=middle))
    return found


def versions(*, chromium: bool) -> str:
    packages = ("cryptography", "DoubleRatchet", "X3DH")
    found = [
        f"CPython {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in packages),
    ]
    if chromium:
        browser = shutil.which("chromium") or "chromium"
        shown = subprocess.run([browser, "--version"], capture_output=True, text=True, check=False).stdout
        found.append(" ".join(shown.split()[:2]))
    return ", ".join(found)


def section(rows: list[Row], head: str) -> str:
    notes = (
        "Plaintexts of 100 bytes. Rates are per second of the process's own CPU time, except SQLiteStore's and "
        "Chromium's, which\nare by the clock and suffer from a busy machine. Ours and Syndace's are measured in turns. "
        "Syndace's libraries have no\nstore, so the figures beside theirs are of our bare ratchet and handshake; "
        "theirs is X3DH, ours PQXDH, which adds\nML-KEM-768."
    )
    return f"{HEADING}\n\n{head}\n\n{table(rows)}\n\n{notes}\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--chromium", action="store_true", help="measure the browser twin too")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one round")
    parser.add_argument("--runs", type=int, default=1, help="repeat everything, and take the medians")
    parser.add_argument("--write", action="store_true", help=f"write the section of {RESULTS.name}")
    options = parser.parse_args(arguments)
    began, load = datetime.datetime.now(datetime.UTC), busy()
    rows = medians([measure(options.seconds, chromium=options.chromium) for _ in range(options.runs)])
    head = "\n".join(
        (
            f"- Machine: {machine()}; {load} at the start, {busy()} at the end",
            f"- Versions: {versions(chromium=options.chromium)}",
            f"- Runs: {options.runs}, of which the medians; in each the best of {ROUNDS} rounds of {options.seconds} s",
            f"- Date: {began:%Y-%m-%d %H:%M} UTC",
            f"- Command: `{shlex.join(['python', '-m', 'benchmarks.e2ee', *arguments])}`",
        )
    )
    print(section(rows, head))
    if options.write:
        write_section(HEADING, section(rows, head))
    return 0 if all(met(row) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
