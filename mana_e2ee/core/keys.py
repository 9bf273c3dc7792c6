"""Public keys with a type byte, and the keys that must be refused.

The encodings have disjoint ranges (X3DH 2.5, PQXDH 2.5): 01 Ed25519, 02 X25519, 03 ML-KEM-768. Ed25519 and
X25519 keys are never converted into each other.

`cryptography`, Chromium and noble's default accept Ed25519 keys of small order, under which one signature
verifies for many messages. They are refused here, as is every y >= p (RFC 8032, 5.1.3), and for X25519 every
u >= p and every u of small order (RFC 7748, 6.1).
"""

from . import primitives
from .encoding import check_bytes
from .errors import InvalidKey

ED25519 = 1
X25519 = 2
MLKEM768 = 3

TYPED_SIZE = 33  # of an Ed25519 or X25519 key with its type byte
_SIZES = {ED25519: 32, X25519: 32, MLKEM768: primitives.KEM_PUBLIC_SIZE}

_P = 2**255 - 19
_SIGN_BIT = 1 << 255

# y of the points of order 1, 2, 4 and 8: no key may have one, with either sign of x.
_ED25519_SMALL_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)

# u of the points of order 1, 2, 4 and 8, on the curve and on its twist.
_X25519_SMALL_U = frozenset(
    {
        0,
        1,
        _P - 1,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    }
)


def check_ed25519(key: bytes) -> bytes:
    """The 32 bytes unchanged, or InvalidKey when y is not canonical or the point is of small order."""
    y = int.from_bytes(key, "little") & ~_SIGN_BIT
    if y >= _P or y in _ED25519_SMALL_Y:
        raise InvalidKey("the Ed25519 key is not canonical, or of small order")
    return key


def check_x25519(key: bytes) -> bytes:
    """The 32 bytes unchanged, or InvalidKey when u is not canonical or of small order."""
    u = int.from_bytes(key, "little")
    if u >= _P or u in _X25519_SMALL_U:
        raise InvalidKey("the X25519 key is not canonical, or of small order")
    return key


def encode(kind: int, key: bytes) -> bytes:
    """The type byte, then the key: 33 bytes, or 1,185 for ML-KEM-768."""
    return bytes((kind,)) + key


def decode(kind: int, encoded: bytes) -> bytes:
    """The key without its type byte. Raises InvalidKey on another type, a wrong length or a key on a block
    list.
    """
    if len(check_bytes(encoded)) != _SIZES[kind] + 1:
        raise InvalidKey(f"a key has {len(encoded)} bytes instead of {_SIZES[kind] + 1}")
    if encoded[0] != kind:
        raise InvalidKey(f"a key has type {encoded[0]} instead of {kind}")
    key = encoded[1:]
    if kind == ED25519:
        return check_ed25519(key)
    if kind == X25519:
        return check_x25519(key)
    primitives.kem_load_public(key)
    return key
