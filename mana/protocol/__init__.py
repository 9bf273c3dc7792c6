"""The wire protocol ``mana.v1``: typed frames, error codes and the codec. Knows nothing of Django or of sockets."""

from mana.protocol import client, server
from mana.protocol.client import (
    CLIENT_FRAMES,
    ClientFrame,
    EncryptedFanout,
    SendMessage,
    Signal,
    SyncRequest,
)
from mana.protocol.codec import decode, encode, frame_type
from mana.protocol.errors import TEXTS, CloseCode, ErrorCode, ManaError
from mana.protocol.server import (
    SERVER_FRAMES,
    AckMessage,
    CallEvent,
    DeviceSyncBatch,
    ErrorFrame,
    Message,
    Notification,
    PresenceEvent,
    ServerFrame,
)

#: The WebSocket subprotocol (RFC 6455 section 1.9) whose clients may be sent arrays of frames.
SUBPROTOCOL = "mana.v1"

__all__ = [
    "CLIENT_FRAMES",
    "SERVER_FRAMES",
    "SUBPROTOCOL",
    "TEXTS",
    "AckMessage",
    "CallEvent",
    "ClientFrame",
    "CloseCode",
    "DeviceSyncBatch",
    "EncryptedFanout",
    "ErrorCode",
    "ErrorFrame",
    "ManaError",
    "Message",
    "Notification",
    "PresenceEvent",
    "SendMessage",
    "ServerFrame",
    "Signal",
    "SyncRequest",
    "client",
    "decode",
    "encode",
    "frame_type",
    "server",
]
