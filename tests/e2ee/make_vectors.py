"""Writes vectors.json, which Python and JavaScript both check: `python -m tests.e2ee.make_vectors`.

With --check it writes nothing, and exits with 1 when the file is not what it would write. Randomness is
replaced by SHA-256 over a label and a counter, so the file is the same on every run. `cryptography` cannot
encapsulate from a seed: the KEM ciphertexts were made once and are kept in kem_ciphertexts.json
(--new-ciphertexts makes others).
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mana_e2ee.core import (
    AccountKey,
    Address,
    Attachment,
    Backup,
    Device,
    DeviceList,
    GroupSession,
    MembershipLog,
    MemoryStore,
    RecoveryKey,
    SafetyNumber,
    decrypt,
    encrypt,
    process_prekey_bundle,
    request_retry,
)
from mana_e2ee.core import primitives as p
from mana_e2ee.core.envelope import bucket
from mana_e2ee.core.ratchet import kdf_chain, kdf_root, message_secret

HERE = Path(__file__).parent
VECTORS = HERE / "vectors.json"
CIPHERTEXTS = HERE / "kem_ciphertexts.json"
NOW = 1_800_000_000


class Draws:
    """Deterministic bytes, and a record of what was drawn, in order."""

    def __init__(self, label: str, ciphertexts: dict[str, str]) -> None:
        self._label = label
        self._ciphertexts = ciphertexts
        self.drawn: list[str] = []
        self.encapsulated: list[dict[str, str]] = []
        self._seeds: dict[bytes, bytes] = {}

    def random(self, length: int) -> bytes:
        blocks = b"".join(
            hashlib.sha256(f"{self._label}/{len(self.drawn)}/{block}".encode()).digest()
            for block in range(-(-length // 32))
        )
        value = blocks[:length]
        self.drawn.append(value.hex())
        if length == p.KEM_SEED_SIZE:
            self._seeds[p.kem_public(value)] = value
        return value

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        name = hashlib.sha256(self._label.encode() + public).hexdigest()
        if name not in self._ciphertexts:
            self._ciphertexts[name] = p.kem_load_public(public).encapsulate()[1].hex()
        ciphertext = bytes.fromhex(self._ciphertexts[name])
        secret = p.decapsulate(self._seeds[public], ciphertext)
        self.encapsulated.append({"ciphertext": ciphertext.hex(), "secret": secret.hex()})
        return secret, ciphertext


@contextmanager
def fixed(label: str, ciphertexts: dict[str, str]) -> Iterator[Draws]:
    draws = Draws(label, ciphertexts)
    before = p.random_source, p.encapsulate_source
    p.random_source, p.encapsulate_source = draws.random, draws.encapsulate
    try:
        yield draws
    finally:
        p.random_source, p.encapsulate_source = before


def _device(user: str, suites: tuple[int, ...]) -> tuple[MemoryStore, Device]:
    store = MemoryStore()
    return store, Device.generate(store, Address(user, "phone"), suites=suites, now=NOW)


def conversation(suites: tuple[int, ...], one_time: bool, ciphertexts: dict[str, str]) -> dict[str, Any]:
    """Two devices, a handshake and nine messages with a skip and four ratchet steps, every byte of them."""
    label = f"conversation {suites} {one_time}"
    with fixed(label, ciphertexts) as draws:
        alice_store, alice = _device("alice", suites)
        bob_store, bob = _device("bob", suites)
        publication = bob.publish_bundle(one_time=1)
        bundle = publication.bundle(publication.one_time[0] if one_time else None)
        setup = len(draws.drawn)
        session_id = process_prekey_bundle(alice_store, bob.address, bundle, now=NOW)
        with alice_store.transaction() as tx:
            from mana_e2ee.core.sessions import active_session

            ratchet = active_session(tx, bob.address)
        assert ratchet is not None
        steps: list[dict[str, Any]] = []

        def send(sender: str, text: bytes) -> int:
            store, to = (alice_store, bob.address) if sender == "alice" else (bob_store, alice.address)
            message = encrypt(store, to, text, now=NOW)
            steps.append({"do": "encrypt", "by": sender, "plaintext": text.hex(), "message": message.hex()})
            return len(steps) - 1

        def read(reader: str, index: int) -> None:
            store, source = (alice_store, bob.address) if reader == "alice" else (bob_store, alice.address)
            received = decrypt(store, source, bytes.fromhex(steps[index]["message"]), now=NOW)
            assert received.plaintext.hex() == steps[index]["plaintext"]
            steps.append({"do": "decrypt", "by": reader, "step": index})

        first, skipped, third = (send("alice", text) for text in (b"hello", b"skipped", "träume".encode()))
        read("bob", third)
        read("bob", first)
        answer = send("bob", b"x" * 100)
        read("alice", answer)
        fourth = send("alice", b"")
        lost = send("alice", b"never arrives")
        read("bob", fourth)
        again = send("bob", bytes(range(256)) * 8)
        read("alice", again)
        last = send("alice", b"after the lost one")
        read("bob", last)
        read("bob", skipped)
        read("bob", lost)
        return {
            "suites": list(suites),
            "draws": {"setup": draws.drawn[:setup], "after": draws.drawn[setup:]},
            "encapsulated": draws.encapsulated,
            "alice_record": alice.record.to_bytes().hex(),
            "bundle": bundle.to_bytes().hex(),
            "transcript": ratchet.transcript.hex(),
            "session_id": session_id.hex(),
            "root": ratchet.root.hex(),
            "sending": (ratchet.sending or b"").hex(),
            "steps": steps,
        }


def kdfs() -> dict[str, Any]:
    root, chain = kdf_root(bytes(32), b"\1" * 32)
    following, message_key = kdf_chain(chain)
    return {
        "root_in": bytes(32).hex(),
        "dh": (b"\1" * 32).hex(),
        "root": root.hex(),
        "chain": chain.hex(),
        "next_chain": following.hex(),
        "message_key": message_key.hex(),
        "key_and_nonce": message_secret(message_key).hex(),
    }


def lists(ciphertexts: dict[str, str]) -> dict[str, Any]:
    with fixed("lists", ciphertexts) as draws:
        account = AccountKey.generate()
        _, one = _device("bob", (1, 2))
        _, two = _device("bob", (1,))
        tablet = replace(two.record, address=Address("bob", "tablet"))
        with two._store.transaction() as tx:
            seed = (tx.get("device", b"") or b"")[-64:-32]
        tablet = tablet.signed_with(seed)
        first = DeviceList.create(account, "bob", [one.record])
        second = first.next(account, [tablet, one.record])
        return {
            "account_seed": draws.drawn[0],
            "tablet_seed": seed.hex(),
            "first": first.to_bytes().hex(),
            "first_hash": first.hash().hex(),
            "second": second.to_bytes().hex(),
            "second_hash": second.hash().hex(),
        }


def groups(ciphertexts: dict[str, str]) -> dict[str, Any]:
    with fixed("groups", ciphertexts) as draws:
        store, alice = _device("alice", (1,))
        setup = len(draws.drawn)
        log = MembershipLog("team")
        entries = [log.propose(store, add="alice", now=NOW), log.propose(store, add="bob", now=NOW)]
        session = GroupSession(store, log)
        distribution = session.rotate(now=NOW)
        texts = [b"one", b"two", "drei ☂".encode()]
        messages = [session.encrypt(text, now=NOW) for text in texts]
        return {
            "draws": {"setup": draws.drawn[:setup], "after": draws.drawn[setup:]},
            "record": alice.record.to_bytes().hex(),
            "entries": [entry.to_bytes().hex() for entry in entries],
            "hashes": [entry.hash().hex() for entry in entries],
            "distribution": distribution.to_bytes().hex(),
            "plaintexts": [text.hex() for text in texts],
            "messages": [message.hex() for message in messages],
        }


def files(ciphertexts: dict[str, str]) -> dict[str, Any]:
    with fixed("files", ciphertexts) as draws:
        rows = []
        for size in (0, 5, 65_536, 65_537):
            plaintext = bytes(index % 251 for index in range(size))
            pointer, ciphertext = Attachment.encrypt(plaintext)
            rows.append(
                {
                    "key": pointer.key.hex(),
                    "size": size,
                    "pointer": pointer.to_bytes().hex(),
                    "ciphertext_start": ciphertext[:48].hex(),
                }
            )
        recovery = RecoveryKey.generate()
        backup = Backup.seal(recovery, b"history")
        return {
            "attachments": rows,
            "recovery_key": recovery.key.hex(),
            "recovery_text": recovery.text,
            "salt": draws.drawn[-1],
            "backup_plaintext": b"history".hex(),
            "backup": backup.hex(),
        }


def retry(ciphertexts: dict[str, str]) -> dict[str, Any]:
    with fixed("retry", ciphertexts) as draws:
        store, alice = _device("alice", (1,))
        bob_store, bob = _device("bob", (1,))
        process_prekey_bundle(store, bob.address, bob.publish_bundle(one_time=0).bundle(None), now=NOW)
        message = encrypt(store, bob.address, b"lost", now=NOW)
        request = request_retry(bob_store, alice.address, message, now=NOW)
        return {
            "draws": draws.drawn,
            "bob_record": bob.record.to_bytes().hex(),
            "message": message.hex(),
            "request": request.to_bytes().hex(),
        }


def safety_numbers() -> list[dict[str, str]]:
    signal = (
        "+14152222222",
        "0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868",
        "+14153333333",
        "05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b",
    )
    ours = ("alice", "01" + "11" * 32, "bob", "01" + "22" * 32)
    rows = []
    for local_id, local_key, remote_id, remote_key in (signal, ours):
        number = SafetyNumber.of_keys(local_id, bytes.fromhex(local_key), remote_id, bytes.fromhex(remote_key))
        rows.append(
            {
                "local_id": local_id,
                "local_key": local_key,
                "remote_id": remote_id,
                "remote_key": remote_key,
                "digits": number.digits,
                "qr": number.qr.hex(),
            }
        )
    return rows


def refused_keys() -> dict[str, list[str]]:
    """Raw keys that must be refused: of small order, or y or u >= p, with and without the top bit."""
    prime = 2**255 - 19
    order8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
    small_y = [0, 1, prime - 1, order8, prime - order8]
    small_u = [
        0,
        1,
        prime - 1,
        *((1 + y) * pow(1 - y, -1, prime) % prime for y in (order8, prime - order8)),
    ]
    high = [*range(prime, 2**255)]

    def encoded(values: list[int]) -> list[str]:
        return [(value + top).to_bytes(32, "little").hex() for value in values for top in (0, 2**255)]

    return {"ed25519": encoded(small_y + high), "x25519": encoded(small_u + high)}


def make(ciphertexts: dict[str, str]) -> dict[str, Any]:
    return {
        "note": "Made by tests/e2ee/make_vectors.py. All bytes are in hex.",
        "kdf": kdfs(),
        "buckets": [[length, bucket(length)] for length in (0, 31, 32, 100, 1_023, 1_024, 2_047, 65_535)],
        "refused_keys": refused_keys(),
        "safety_numbers": safety_numbers(),
        "conversations": [
            conversation(suites, one_time, ciphertexts) for suites in ((1,), (1, 2)) for one_time in (False, True)
        ],
        "lists": lists(ciphertexts),
        "groups": groups(ciphertexts),
        "files": files(ciphertexts),
        "retry": retry(ciphertexts),
    }


def render(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    renew = "--new-ciphertexts" in arguments
    kept: dict[str, str] = {} if renew else json.loads(CIPHERTEXTS.read_text())
    known = set(kept)
    text = render(make(kept))
    if set(kept) != known and not renew:
        print("KEM ciphertexts are missing: run with --new-ciphertexts")
        return 1
    if "--check" in arguments:
        current = VECTORS.read_text() == text
        print("vectors.json is current" if current else "vectors.json is out of date")
        return 0 if current else 1
    CIPHERTEXTS.write_text(render(kept))
    VECTORS.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
