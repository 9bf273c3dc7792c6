"""Sessions between two devices: start one from a bundle, encrypt, decrypt (Sesame 3.2 to 3.4).

Every function is one transaction. `encrypt` has persisted the advanced state before it returns; `decrypt`
persists state and plaintext together. Nothing that raises has written anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from . import primitives, ratchet_state, tables, trust
from .device import own_identity, responder_keys
from .encoding import Reader, u32, u64
from .envelope import Message, parse
from .errors import DuplicateMessage, InvalidMessage, NoSession, UntrustedIdentity
from .handshake import initiate, respond
from .limits import ARCHIVE_AGE, MAX_ARCHIVED, PENDING_AGE
from .ratchet import Ratchet
from .records import Address, PreKeyBundle
from .stores.base import Store, Transaction
from .tables import clock
from .throttle import guarded


@dataclass(frozen=True, slots=True)
class Received:
    """A decrypted message. `id` is the SHA-256 of its bytes: the store keeps it there until `forget`."""

    id: bytes
    address: Address
    session_id: bytes
    plaintext: bytes

    def __repr__(self) -> str:
        return f"Received({self.id.hex()}, {self.address}, {len(self.plaintext)} bytes)"


def process_prekey_bundle(store: Store, address: Address, bundle: PreKeyBundle, *, now: int | None = None) -> bytes:
    """Starts a session with `address`, which is then the one sent on; returns its id (16 bytes).

    Raises UntrustedIdentity, InvalidSignature, InvalidKey, UnsupportedVersion or DowngradeRefused.
    """
    moment = clock(now)
    with store.transaction() as tx:
        own = own_identity(tx)
        if bundle.record.address != address:
            raise UntrustedIdentity(f"the bundle is of {bundle.record.address}, not of {address}")
        trust.check(tx, bundle.record)
        agreement = initiate(own.record, own.dh_private, bundle)
        ratchet = Ratchet.for_initiator(agreement, bundle.signed_prekey.public, now=moment)
        trust.pin(tx, bundle.record)
        _save(tx, address, ratchet)
        _activate(tx, address, ratchet.session_id, moment)
        return ratchet.session_id


def encrypt(store: Store, address: Address, plaintext: bytes, *, now: int | None = None) -> bytes:
    """The message to send. Raises NoSession (claim a bundle first), or InvalidMessage above 65,535 bytes."""
    return encrypt_many(store, [address], plaintext, now=now)[address]


def encrypt_many(
    store: Store, addresses: Iterable[Address], plaintext: bytes, *, now: int | None = None
) -> dict[Address, bytes]:
    """One message for each address, in one transaction: a fan-out waits for the disk once.

    Raises NoSession when one of them has no session, or InvalidMessage; then none is encrypted.
    """
    moment = clock(now)
    messages: dict[Address, bytes] = {}
    with store.transaction() as tx:
        for address in addresses:
            ratchet = active_session(tx, address)
            if ratchet is None or not _may_send(ratchet, moment):
                raise NoSession(f"there is no session to send on with {address}")
            messages[address] = ratchet.encrypt(plaintext)
            _save(tx, address, ratchet)
    return messages


def has_session(store: Store, address: Address, *, now: int | None = None) -> bool:
    """Whether `encrypt` would find a session."""
    with store.transaction() as tx:
        ratchet = active_session(tx, address)
        return ratchet is not None and _may_send(ratchet, clock(now))


def decrypt(store: Store, address: Address, message: bytes, *, now: int | None = None) -> Received:
    """Decrypts a message that the transport says is from `address`, and keeps the plaintext until `forget`.

    Raises Throttled, UnsupportedVersion, InvalidMessage, InvalidKey, InvalidSignature, UntrustedIdentity,
    NoSession, UnknownPreKey, DowngradeRefused, DuplicateMessage or TooManySkipped.
    """
    moment = clock(now)
    with guarded(store, address, moment):
        parsed = parse(address, message)
        with store.transaction() as tx:
            session_id, plaintext = _decrypt(tx, address, parsed, moment)
            received = Received(primitives.sha256(message), address, session_id, plaintext)
            keep(tx, received)
            return received


def keep(tx: Transaction, received: Received) -> None:
    """Puts a plaintext into the inbox, in the transaction that advanced the state."""
    row = received.address.to_bytes() + received.session_id + received.plaintext
    tx.put(tables.INBOX, received.id, row)


def pending(store: Store) -> list[Received]:
    """Messages that were decrypted but not forgotten: what a crash between decrypting and showing left
    behind.
    """
    found: list[Received] = []
    with store.transaction() as tx:
        for key, row in tx.scan(tables.INBOX):
            reader = Reader(row)
            address = Address.read(reader)
            found.append(Received(key, address, reader.take(16), reader.rest()))
    return found


def forget(store: Store, received: Received) -> None:
    """The application has the plaintext: drops it from the store."""
    with store.transaction() as tx:
        tx.delete(tables.INBOX, received.id)


def _decrypt(tx: Transaction, address: Address, message: Message, now: int) -> tuple[bytes, bytes]:
    session_id = message.header.session_id
    ratchet = find_session(tx, address, session_id, now)
    if ratchet is None:
        return session_id, _accept(tx, address, message, now)
    plaintext, stepped = ratchet.decrypt(message, now)
    _save(tx, address, ratchet)
    if stepped and tx.get(tables.ACTIVE, address.to_bytes()) != session_id:
        # The other side sends on this one: answer on it (Sesame 3.4).
        _activate(tx, address, session_id, now)
    return session_id, plaintext


def _accept(tx: Transaction, address: Address, message: Message, now: int) -> bytes:
    """A first message of a session not known: the responder's side of the handshake."""
    block, session_id = message.block, message.header.session_id
    if block is None:
        raise NoSession(f"there is no such session with {address}")
    if tx.get(tables.HANDSHAKE, session_id) is not None:
        raise DuplicateMessage("the handshake was accepted before, and its session is gone")
    own = own_identity(tx)
    trust.check(tx, block.record)
    private = responder_keys(tx, own, block.signed_prekey_id, block.one_time_id, block.kem_id)
    agreement = respond(own.record, private, block)
    if agreement.session_id != session_id:
        raise InvalidMessage("the first message names another session than its handshake gives")
    ratchet = Ratchet.for_responder(agreement, private.signed_prekey)
    plaintext, _ = ratchet.decrypt(message, now)

    active = active_session(tx, address)
    trust.pin(tx, block.record)
    tx.put(tables.HANDSHAKE, session_id, u32(block.signed_prekey_id))
    if block.one_time_id:
        tx.delete(tables.ONE_TIME, u32(block.one_time_id))
    _save(tx, address, ratchet)
    if active is not None and _may_send(active, now) and active.pending and active.session_id < session_id:
        # Both sides started at once: the lower session id wins, on both sides.
        _archive(tx, address, session_id, now)
    else:
        _activate(tx, address, session_id, now)
    return plaintext


def active_session(tx: Transaction, address: Address) -> Ratchet | None:
    """The session that is sent on."""
    session_id = tx.get(tables.ACTIVE, address.to_bytes())
    stored = None if session_id is None else tx.get(tables.SESSION, address.to_bytes() + session_id)
    return None if stored is None else ratchet_state.load(stored)


def find_session(tx: Transaction, address: Address, session_id: bytes, now: int) -> Ratchet | None:
    """The active session or an archived one of at most 30 days."""
    key = address.to_bytes() + session_id
    since = tx.get(tables.ARCHIVED, key)
    if since is not None and int.from_bytes(since, "big") + ARCHIVE_AGE < now:
        return None
    stored = tx.get(tables.SESSION, key)
    return None if stored is None else ratchet_state.load(stored)


def _may_send(ratchet: Ratchet, now: int) -> bool:
    """A session that we initiated and nobody answered is given up after 30 days."""
    return not ratchet.pending or ratchet.initiated + PENDING_AGE >= now


def _save(tx: Transaction, address: Address, ratchet: Ratchet) -> None:
    tx.put(tables.SESSION, address.to_bytes() + ratchet.session_id, ratchet_state.dump(ratchet))


def _activate(tx: Transaction, address: Address, session_id: bytes, now: int) -> None:
    """Makes a session the one sent on; the one before it becomes receive-only."""
    key = address.to_bytes()
    before = tx.get(tables.ACTIVE, key)
    tx.delete(tables.ARCHIVED, key + session_id)
    tx.put(tables.ACTIVE, key, session_id)
    if before is not None and before != session_id:
        _archive(tx, address, before, now)


def _archive(tx: Transaction, address: Address, session_id: bytes, now: int) -> None:
    """Keeps a session for receiving only: five at most, the oldest go, none longer than 30 days."""
    key = address.to_bytes()
    tx.put(tables.ARCHIVED, key + session_id, u64(now))
    archived = sorted(
        ((int.from_bytes(since, "big"), row) for row, since in tx.scan(tables.ARCHIVED, key)), reverse=True
    )
    for place, (since, row) in enumerate(archived):
        if place >= MAX_ARCHIVED or since + ARCHIVE_AGE < now:
            tx.delete(tables.ARCHIVED, row)
            tx.delete(tables.SESSION, row)
