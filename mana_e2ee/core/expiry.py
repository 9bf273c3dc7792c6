"""Deletes what has outlived its age although nothing arrived since: forward secrecy must not wait for a peer.

The Double Ratchet specification (8.2) asks for skipped keys to go after a while, Sesame (3.2) for old sessions.
Receiving does it for the session it touches; `Device.rotate`, called daily, does it for all.
"""

from . import ratchet_state, tables
from .limits import ARCHIVE_AGE
from .sender_keys import ReceiverKey
from .stores.base import Transaction


def sweep(tx: Transaction, now: int) -> None:
    """Drops archived sessions, skipped keys and skipped group keys of more than 30 days."""
    for row, since in tx.scan(tables.ARCHIVED):
        if int.from_bytes(since, "big") + ARCHIVE_AGE < now:
            tx.delete(tables.ARCHIVED, row)
            tx.delete(tables.SESSION, row)
    for row, state in tx.scan(tables.SESSION):
        ratchet = ratchet_state.load(state)
        if ratchet.drop_old(now):
            tx.put(tables.SESSION, row, ratchet_state.dump(ratchet))
    for row, state in tx.scan(tables.GROUP_PEER):
        key = ReceiverKey.from_bytes(state)
        if key.drop_old(now):
            tx.put(tables.GROUP_PEER, row, key.to_bytes())
