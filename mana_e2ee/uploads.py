"""What clients upload, taken apart and checked with the core's own functions.

The shapes are closed: a field that is not named here is refused, so that a client that sends a private key beside a
public one learns of it and the server keeps nothing. No refusal repeats what was sent.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct

from mana.accounts.stores import Person
from mana.protocol import ErrorCode, ManaError
from mana_e2ee.core import (
    Address,
    DeviceList,
    DeviceRecord,
    E2EEError,
    KemPreKey,
    OneTimePreKey,
    Publication,
    RetryRequest,
    SignedPreKey,
)
from mana_e2ee.core import envelope as envelopes
from mana_e2ee.core.limits import VERSION
from mana_e2ee.core.records import SUITE_PQXDH
from mana_e2ee.core.sender_keys import GroupMessage

T = TypeVar("T")

#: One-time prekeys of one upload.
ONE_TIME_AT_ONCE = 200
#: Version, type, salt and the tag of an empty last chunk.
SMALLEST_BACKUP = 2 + 32 + 16
Text = Annotated[str, Meta(min_length=4, max_length=4096)]
OneTimeKeys = Annotated[list[Annotated[str, Meta(min_length=4, max_length=64)]], Meta(max_length=ONE_TIME_AT_ONCE)]


class Bundle(Struct, forbid_unknown_fields=True):
    """A device's public keys, each in base64."""

    record: Text
    signed_prekey: Text
    kem_prekey: Text | None = None
    one_time: OneTimeKeys = []


class Refill(Struct, forbid_unknown_fields=True):
    """New one-time prekeys, each in base64."""

    one_time: Annotated[OneTimeKeys, Meta(min_length=1)]


class ListUpload(Struct, forbid_unknown_fields=True):
    """A signed device list in base64: up to 64 records of 1 KiB."""

    device_list: Annotated[str, Meta(min_length=4, max_length=96 * 1024)]


class BackupUpload(Struct, forbid_unknown_fields=True):
    """A sealed backup in base64."""

    backup: Annotated[str, Meta(min_length=4)]


def shaped(payload: Any, shape: type[T]) -> T:
    """The payload as a struct. Raises ``ManaError``."""
    try:
        return msgspec.convert(payload, shape)
    except msgspec.ValidationError as error:
        raise ManaError(ErrorCode.INVALID, f"{error}.") from None


@contextmanager
def checking(what: str) -> Iterator[None]:
    """Turns the core's refusals into the protocol's; ``details.error`` is the core's code."""
    try:
        yield
    except E2EEError as error:
        _refuse(what, str(error), error.code)


def _refuse(what: str, why: str, code: str = "invalid_message") -> NoReturn:
    raise ManaError(ErrorCode.INVALID, f"{what}: {why}.", details={"error": code})


def unpacked(text: str, what: str) -> bytes:
    """The bytes of base64 text in the one form that it may have. Raises ``ManaError``."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or packed(data) != text:
        _refuse(what, "not base64 with padding")
    return data


def packed(data: bytes | memoryview) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(bytes(data)).decode()


def publication(payload: Any, person: Person, device_id: str) -> Publication:
    """A device's upload, every key and signature of it checked. Raises ``ManaError``."""
    upload = shaped(payload, Bundle)
    with checking("record"):
        record = DeviceRecord.from_bytes(unpacked(upload.record, "record"))
    if record.address != Address(person.user_id, device_id):
        _refuse("record", "it is of another device or user", "untrusted_identity")
    with checking("signed_prekey"):
        signed_prekey = SignedPreKey.from_bytes(unpacked(upload.signed_prekey, "signed_prekey"))
    kem_prekey = None
    if upload.kem_prekey is not None:
        with checking("kem_prekey"):
            kem_prekey = KemPreKey.from_bytes(unpacked(upload.kem_prekey, "kem_prekey"))
    if SUITE_PQXDH in record.suites and kem_prekey is None:
        _refuse("kem_prekey", "the record lists a suite that needs one", "downgrade_refused")
    made = Publication(record, signed_prekey, kem_prekey, one_time_keys(upload.one_time))
    with checking("payload"):
        made.verify()
    return made


def one_time_keys(texts: list[str]) -> tuple[OneTimePreKey, ...]:
    """One-time prekeys, ascending. Raises ``ManaError`` for two with the same id or the same key."""
    keys = []
    for text in texts:
        with checking("one_time"):
            keys.append(OneTimePreKey.from_bytes(unpacked(text, "one_time")))
    if len({key.id for key in keys}) < len(keys) or len({key.public for key in keys}) < len(keys):
        _refuse("one_time", "two of the keys are the same, or have the same id")
    return tuple(sorted(keys, key=lambda key: key.id))


def device_list(payload: Any, person: Person) -> DeviceList:
    """A device list, every signature of it checked. Raises ``ManaError``."""
    upload = shaped(payload, ListUpload)
    with checking("device_list"):
        made = DeviceList.from_bytes(unpacked(upload.device_list, "device_list"))
        if made.user != person.user_id:
            _refuse("device_list", "it is of another user", "untrusted_identity")
        return made.verify()


def backup(payload: Any) -> bytes:
    """A sealed backup, as far as one can tell without its key: a backup in the clear is stopped here."""
    data = unpacked(shaped(payload, BackupUpload).backup, "backup")
    if data[:2] != bytes((VERSION, envelopes.BACKUP)) or len(data) < SMALLEST_BACKUP:
        _refuse("backup", "not a sealed backup")
    return data


def pairwise(text: Any, sender: Address, *, control: bool = False) -> bytes:
    """A ciphertext for one device, as far as one can tell without its key. Raises ``ManaError`` for anything else.

    A client that sends a plaintext by mistake is stopped here. Retry requests, which are signed and not encrypted, are
    for control only.
    """
    if not isinstance(text, str):
        _refuse("payloads", "a ciphertext is base64 text")
    data = unpacked(text, "payloads")
    with checking("payloads"):
        if control and data[1:2] == bytes((envelopes.RETRY_REQUEST,)):
            RetryRequest.from_bytes(data)
        else:
            envelopes.parse(sender, data)
    return data


def claimed_record(sender: Address, data: bytes) -> DeviceRecord | None:
    """Who a first message says that it is from; ``None`` for other messages. ``data`` was checked before."""
    if data[1] != envelopes.FIRST_MESSAGE:
        return None
    block = envelopes.parse(sender, data).block
    return block.record if block is not None else None


def group(text: str) -> bytes:
    """One ciphertext for all devices, as far as one can tell. Raises ``ManaError`` for anything else."""
    data = unpacked(text, "payload")
    with checking("payload"):
        GroupMessage.parse(data)
    return data
