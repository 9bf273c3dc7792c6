"""vectors.json is current, and what it says of keys holds in Python. The twin: js/vectors.mjs."""

import hashlib
import json
from pathlib import Path

import pytest

from mana_e2ee.core import InvalidKey
from mana_e2ee.core import keys as keys_module

from .make_vectors import CIPHERTEXTS, VECTORS, make, render

VENDOR = Path(keys_module.__file__).parent.parent / "static/mana_e2ee/vendor"


def test_the_vectors_are_what_the_script_makes():
    ciphertexts = json.loads(CIPHERTEXTS.read_text())
    before = dict(ciphertexts)
    assert render(make(ciphertexts)) == VECTORS.read_text()
    assert ciphertexts == before


@pytest.mark.parametrize("kind", ["ed25519", "x25519"])
def test_keys_of_small_order_and_keys_that_are_not_canonical_are_refused(kind):
    refused = json.loads(VECTORS.read_text())["refused_keys"][kind]
    assert len(refused) == len(set(refused)) == 48
    code = {"ed25519": keys_module.ED25519, "x25519": keys_module.X25519}[kind]
    for key in refused:
        with pytest.raises(InvalidKey):
            keys_module.decode(code, bytes((code,)) + bytes.fromhex(key))


def test_the_vendored_library_is_the_pinned_one():
    expected, name = (VENDOR / "noble-ml-kem.sha256").read_text().split()
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == expected
    assert "Paul Miller" in (VENDOR / "LICENSE-noble").read_text()
