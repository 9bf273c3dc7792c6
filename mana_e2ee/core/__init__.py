"""The protocol core: Signal's published protocols over `cryptography`, without Django and without I/O of its
own.

docs/e2ee-protocol.md has every byte, docs/e2ee-threat-model.md what it protects and what not. It is not
audited.
"""

from .attachment import Attachment, AttachmentSealer
from .backup import Backup, RecoveryKey
from .device import Device
from .device_list import AccountKey, DeviceList
from .errors import (
    DowngradeRefused,
    DuplicateMessage,
    E2EEError,
    InvalidKey,
    InvalidMessage,
    InvalidSignature,
    NoSession,
    NotAMember,
    RetryRefused,
    RotationNeeded,
    StaleDeviceList,
    Throttled,
    TooManySkipped,
    UnknownPreKey,
    UnsupportedVersion,
    UntrustedIdentity,
)
from .groups import GroupSession
from .membership import MembershipEntry, MembershipLog
from .records import (
    Address,
    DeviceRecord,
    KemPreKey,
    OneTimePreKey,
    PreKeyBundle,
    Publication,
    SignedPreKey,
)
from .retry import RetryRequest, answer_retry, request_retry
from .safety_number import SafetyNumber
from .sender_keys import Distribution
from .sessions import (
    Received,
    decrypt,
    encrypt,
    encrypt_many,
    forget,
    has_session,
    pending,
    process_prekey_bundle,
)
from .stores import MemoryStore, SQLiteStore, Store, Transaction
from .trust import DeviceListChange, accept_device_list, identity, trust_account, trust_identity

__all__ = [
    "AccountKey",
    "Address",
    "Attachment",
    "AttachmentSealer",
    "Backup",
    "Device",
    "DeviceList",
    "DeviceListChange",
    "DeviceRecord",
    "Distribution",
    "DowngradeRefused",
    "DuplicateMessage",
    "E2EEError",
    "GroupSession",
    "InvalidKey",
    "InvalidMessage",
    "InvalidSignature",
    "KemPreKey",
    "MembershipEntry",
    "MembershipLog",
    "MemoryStore",
    "NoSession",
    "NotAMember",
    "OneTimePreKey",
    "PreKeyBundle",
    "Publication",
    "Received",
    "RecoveryKey",
    "RetryRefused",
    "RetryRequest",
    "RotationNeeded",
    "SQLiteStore",
    "SafetyNumber",
    "SignedPreKey",
    "StaleDeviceList",
    "Store",
    "Throttled",
    "TooManySkipped",
    "Transaction",
    "UnknownPreKey",
    "UnsupportedVersion",
    "UntrustedIdentity",
    "accept_device_list",
    "answer_retry",
    "decrypt",
    "encrypt",
    "encrypt_many",
    "forget",
    "has_session",
    "identity",
    "pending",
    "process_prekey_bundle",
    "request_retry",
    "trust_account",
    "trust_identity",
]
