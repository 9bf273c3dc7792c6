"""WebSocket frames to services. Who sends, and from which device, says the connection."""

from __future__ import annotations

import logging
from functools import partial

from mana.accounts.services import resolve
from mana.messaging.drafts import Draft, checked_ack_id, parse_message_id
from mana.messaging.handlers import ack_of, direct_room_with, person_of
from mana.messaging.hooks import approve, has_hooks
from mana.messaging.sealed import NO_PAYLOAD
from mana.messaging.sequencer import Result
from mana.messaging.writer import Writer
from mana.protocol import EncryptedFanout, ErrorCode, ManaError
from mana.protocol.client import EncryptedAck, GetPrekeyBundle, KeyExchange, PrekeyRefill
from mana.protocol.server import PrekeyBundle
from mana.realtime.dispatch import Answer, handles
from mana.realtime.hub import Hub
from mana.realtime.session import Session, error_frame
from mana_e2ee.core import Address
from mana_e2ee.counters import counters
from mana_e2ee.fanout import Fanout, Parcels
from mana_e2ee.services import claims, delivery, directory

logger = logging.getLogger("mana.e2ee")


@handles(KeyExchange)
async def key_exchange(session: Session, frame: KeyExchange) -> None:
    """Publishes this device's public keys, or rotates them."""
    await session.hub.database.run(directory.publish, person_of(session), _device(session), frame.payload)


@handles(PrekeyRefill)
async def prekey_refill(session: Session, frame: PrekeyRefill) -> None:
    """Adds one-time prekeys."""
    await session.hub.database.run(directory.refill, person_of(session), _device(session), frame.payload)


@handles(GetPrekeyBundle)
async def get_prekey_bundle(session: Session, frame: GetPrekeyBundle) -> PrekeyBundle:
    """Claims the bundles of a user's devices, or of one of them."""
    run = session.hub.database.run
    other = (await run(resolve, [frame.to])).get(frame.to)
    if other is None:
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no user {frame.to[:64]!r}.")
    answer = await run(
        claims.claim,
        person_of(session),
        other,
        device_id=frame.device_id,
        claim_id=frame.ack_id,
        own_device_id=session.named_device,
    )
    return PrekeyBundle(
        user_id=answer.user_id,
        bundles=answer.bundles,
        epoch=answer.epoch,
        device_list=answer.device_list,
        ack_id=frame.ack_id,
    )


@handles(EncryptedFanout)
async def encrypted_fanout(session: Session, frame: EncryptedFanout) -> Answer | None:
    """Hands an encrypted message to the writer, like any other; or something for control to the devices named."""
    sender = Address(session.user_id, _device(session))
    parcels = Parcels.of(frame, sender)
    if frame.control:
        await session.until_in_flight(0)
        pks = await delivery.acontrol(person_of(session), parcels, frame.epochs, room_key=frame.room_id, to=frame.to)
        _trim(session, pks)
        return None
    if frame.room_id is None and frame.to is None:
        raise ManaError(ErrorCode.INVALID, "The frame needs `room_id` or `to`.")
    room_key = frame.room_id or await direct_room_with(session, frame.to or "")
    fanout = Fanout(person_of(session), parcels, frame.epochs)
    draft = Draft(
        room_key=room_key,
        sender=person_of(session),
        payload_json=NO_PAYLOAD,
        ack_id=checked_ack_id(frame.ack_id),
        device_id=session.device_id,
        session_id=session.id,
        attachments=[parse_message_id(one) for one in frame.attachments],
        sealed=fanout,
    )
    if has_hooks():
        await session.hub.database.run_once(approve, draft)
        draft.payload_json = NO_PAYLOAD  # whatever a receiver made of it: there is nothing in the open
    session.hub.extension(Writer).submit(draft, partial(_answer, session, frame.ack_id, fanout))
    session.in_flight += 1
    return Answer.LATER


def _answer(session: Session, ack_id: str | None, fanout: Fanout, result: Result) -> None:
    session.answered()
    if isinstance(result, ManaError):
        session.send(
            error_frame(
                result.code, result.detail, retry_after=result.retry_after, ack_id=ack_id, details=result.details
            )
        )
        return
    if ack_id is not None:
        session.send(ack_of(ack_id, result))
    if not result.duplicate:
        counters.fanouts += 1
        counters.envelopes += len(fanout.device_pks)
        _trim(session, fanout.device_pks)


def _trim(session: Session, device_pks: list[int]) -> None:
    if device_pks:
        session.hub.in_background(_trimmed(session.hub, device_pks))


async def _trimmed(hub: Hub, device_pks: list[int]) -> None:
    try:
        await hub.database.run(delivery.trim, device_pks)
    except Exception as error:
        logger.warning("Queues of devices were not looked at, the next message does it: %s", error)


@handles(EncryptedAck)
async def encrypted_ack(session: Session, frame: EncryptedAck) -> None:
    """Forgets the ciphertext of messages that this device has decrypted and kept."""
    await session.hub.database.run(delivery.ack, person_of(session), _device(session), frame.message_ids)


def _device(session: Session) -> str:
    if session.named_device is None:
        raise ManaError(ErrorCode.INVALID, "Encryption needs a device: connect with ?device_id=.")
    return session.named_device
