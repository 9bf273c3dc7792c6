"""A ratchet's state as bytes, for stores. This form is local to the Python stores and never sent."""

from .encoding import Reader, lp, u8, u32, u64
from .errors import UnsupportedVersion
from .limits import MAX_PAST_CHAINS, MAX_STORED_KEYS
from .ratchet import Ratchet, Skipped

_FORMAT = 1
_BLOCK_LIMIT = 4_096


def dump(ratchet: Ratchet) -> bytes:
    """The state, secrets included: about 350 bytes, and 48 for each skipped key."""
    parts = [
        u8(_FORMAT),
        ratchet.session_id,
        ratchet.transcript,
        ratchet.root,
        ratchet.own_private,
        ratchet.own_public,
        ratchet.previous_public,
        lp(ratchet.their_public or b""),
        lp(ratchet.sending or b""),
        lp(ratchet.receiving or b""),
        u32(ratchet.sent),
        u32(ratchet.received),
        u32(ratchet.previous),
        lp(ratchet.block),
        u64(ratchet.initiated),
        lp(b"".join(ratchet.past)),
    ]
    chains: dict[bytes, int] = {}
    entries: list[bytes] = []
    for (ratchet_key, number), (message_key, stored) in ratchet.skipped.items():
        chain = chains.setdefault(ratchet_key, len(chains))
        entries.append(u32(chain) + u32(number) + message_key + u64(stored))
    parts += [lp(b"".join(chains)), lp(b"".join(entries))]
    return b"".join(parts)


def load(data: bytes) -> Ratchet:
    """The inverse of `dump`. Raises UnsupportedVersion or InvalidMessage on bytes that it did not write."""
    reader = Reader(data)
    if reader.u8() != _FORMAT:
        raise UnsupportedVersion("the stored session has an unknown format")
    ratchet = Ratchet(
        session_id=reader.take(16),
        transcript=reader.take(32),
        root=reader.take(32),
        own_private=reader.take(32),
        own_public=reader.take(32),
        previous_public=reader.take(32),
        their_public=reader.lp(32) or None,
        sending=reader.lp(32) or None,
        receiving=reader.lp(32) or None,
        sent=reader.u32(),
        received=reader.u32(),
        previous=reader.u32(),
        block=reader.lp(_BLOCK_LIMIT),
        initiated=reader.u64(),
    )
    ratchet.past = _split(reader.lp(32 * MAX_PAST_CHAINS), 32)
    chains = _split(reader.lp(32 * MAX_STORED_KEYS), 32)
    skipped: Skipped = {}
    for entry in _split(reader.lp(48 * MAX_STORED_KEYS), 48):
        key = (chains[int.from_bytes(entry[:4], "big")], int.from_bytes(entry[4:8], "big"))
        skipped[key] = (entry[8:40], int.from_bytes(entry[40:], "big"))
    ratchet.skipped = skipped
    reader.end()
    return ratchet


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
