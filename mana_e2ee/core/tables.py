"""The tables that the core keeps in a store, with the shape of their keys and values.

device         b""                        own record, both private keys
counter        name                       u32, the last id given
signed_prekey  u32 id                     created u64 || replaced u64 (0 = current) || X25519 private 32
kem_prekey     u32 id                     created u64 || replaced u64 (0 = current) || ML-KEM seed 64
one_time       u32 id                     X25519 private 32
identity       address                    the DeviceRecord trusted for it
device_list    lp(user)                   the DeviceList accepted last
session        address || session id      a ratchet's state
active         address                    the session id that is sent on
archived       address || session id      since u64
handshake      session id                 u32 signed prekey id of a first message accepted once
inbox          SHA-256 of the message     address || session id || plaintext
asked          address                    u64, when we last sent it a retry request
answered       address                    u64, when we last answered its retry request || u64, when it was made
group_own      lp(group)                  our sender key
group_peer     lp(group) || address || distribution id    another device's sender key
"""

import time

from .stores.base import Transaction

DEVICE = "device"
COUNTER = "counter"
SIGNED_PREKEY = "signed_prekey"
KEM_PREKEY = "kem_prekey"
ONE_TIME = "one_time"
IDENTITY = "identity"
DEVICE_LIST = "device_list"
SESSION = "session"
ACTIVE = "active"
ARCHIVED = "archived"
HANDSHAKE = "handshake"
INBOX = "inbox"
ASKED = "asked"
ANSWERED = "answered"
GROUP_OWN = "group_own"
GROUP_PEER = "group_peer"


def clock(now: int | None) -> int:
    """Unix seconds: `now` when the caller gave it, else the system's clock."""
    return int(time.time()) if now is None else now


def next_id(tx: Transaction, counter: str) -> int:
    """1, 2, 3 ... per counter; an id is never given twice."""
    stored = tx.get(COUNTER, counter.encode())
    value = int.from_bytes(stored or b"", "big") + 1
    tx.put(COUNTER, counter.encode(), value.to_bytes(4, "big"))
    return value
