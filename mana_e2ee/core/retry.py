"""Repair: a receiver that cannot decrypt asks the sender, with its signature, to start over and send again.

    request = version u8 || type 05 || message id 32 || session id 16 || ratchet key 32 || N u32
              || created u64 || signature 64                                            158 bytes

The signature is the requester's Ed25519 over lp(label) || lp(requester) || lp(sender) || lp(all before it),
where requester and sender are addresses.
"""

from dataclasses import dataclass, replace
from typing import Self

from . import primitives, tables, trust
from .device import own_identity
from .encoding import Reader, fields, u8, u32, u64
from .envelope import RETRY_REQUEST, parse
from .errors import InvalidMessage, RetryRefused, UntrustedIdentity
from .limits import CLOCK_SKEW, RETRY_AGE, RETRY_INTERVAL, VERSION
from .ratchet import Ratchet
from .records import Address, check_version
from .sessions import find_session
from .stores.base import Store
from .tables import clock

RETRY_LABEL = b"Mana-E2EE v1 retry request"


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """Names the message that could not be read. `message_id` is the SHA-256 of its bytes."""

    message_id: bytes
    session_id: bytes
    ratchet_key: bytes
    number: int
    created: int
    signature: bytes = b""

    def _body(self) -> bytes:
        return (
            u8(VERSION)
            + u8(RETRY_REQUEST)
            + self.message_id
            + self.session_id
            + self.ratchet_key
            + u32(self.number)
            + u64(self.created)
        )

    def signed(self, requester: Address, sender: Address) -> bytes:
        """What the signature covers."""
        return fields(RETRY_LABEL, requester.to_bytes(), sender.to_bytes(), self._body())

    def to_bytes(self) -> bytes:
        return self._body() + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        check_version(reader.u8())
        if reader.u8() != RETRY_REQUEST:
            raise InvalidMessage("not a retry request")
        request = cls(
            message_id=reader.take(32),
            session_id=reader.take(16),
            ratchet_key=reader.take(32),
            number=reader.u32(),
            created=reader.u64(),
            signature=reader.take(primitives.SIGNATURE_SIZE),
        )
        reader.end()
        return request


def request_retry(store: Store, address: Address, message: bytes, *, now: int | None = None) -> RetryRequest:
    """The request to send to `address` after its `message` failed to decrypt.

    Raises RetryRefused when one was made for this address within the hour, or whatever `parse` raises.
    """
    moment = clock(now)
    header = parse(address, message).header
    with store.transaction() as tx:
        asked = tx.get(tables.ASKED, address.to_bytes())
        if asked is not None:
            _check_hour(int.from_bytes(asked, "big"), moment)
        tx.put(tables.ASKED, address.to_bytes(), u64(moment))
        own = own_identity(tx)
        request = RetryRequest(primitives.sha256(message), header.session_id, header.ratchet_key, header.number, moment)
        signature = primitives.sign(own.signing_seed, request.signed(own.record.address, address))
        return replace(request, signature=signature)


def answer_retry(store: Store, address: Address, request: RetryRequest, *, now: int | None = None) -> bytes:
    """Checks a request from `address`; returns the id of the message to send again.

    The caller then claims a new bundle, processes it, and encrypts the message anew: `process_prekey_bundle`
    archives the broken session. Raises UntrustedIdentity, InvalidSignature, or RetryRefused (not a message
    that we sent on that session, too old, from the future, within the hour of the last, or made no later than
    the last: a request is answered once, however often it is delivered).
    """
    moment = clock(now)
    with store.transaction() as tx:
        record = trust.pinned(tx, address)
        if record is None:
            raise UntrustedIdentity(f"there is no known identity for {address}")
        own = own_identity(tx)
        primitives.verify(record.signing_key, request.signature, request.signed(address, own.record.address))
        if not moment - RETRY_AGE <= request.created <= moment + CLOCK_SKEW:
            raise RetryRefused("the request is too old, or from the future")
        ratchet = find_session(tx, address, request.session_id, moment)
        if ratchet is None or not _was_sent(ratchet, request):
            raise RetryRefused("the request names no message that we sent")
        answered = tx.get(tables.ANSWERED, address.to_bytes())
        if answered is not None:
            _check_hour(int.from_bytes(answered[:8], "big"), moment)
            if request.created <= int.from_bytes(answered[8:], "big"):
                raise RetryRefused("the request is no newer than the one answered last")
        tx.put(tables.ANSWERED, address.to_bytes(), u64(moment) + u64(request.created))
        return request.message_id


def _was_sent(ratchet: Ratchet, request: RetryRequest) -> bool:
    """Whether our current or last sending chain of the session has the message that the request names."""
    if request.ratchet_key == ratchet.own_public:
        return request.number < ratchet.sent
    return request.ratchet_key == ratchet.previous_public and request.number < ratchet.previous


def _check_hour(last: int, now: int) -> None:
    if last <= now < last + RETRY_INTERVAL:  # or else the clock was set back
        raise RetryRefused("there was a retry with this device within the hour")
