"""Encrypted files: the server keeps octets, the message has the key."""

from __future__ import annotations

from typing import Any

from mana.client import ManaClient, Refused
from mana.protocol import ErrorCode
from mana_e2ee.client.contents import Json, b64, checked_file, unb64
from mana_e2ee.core import Attachment

TRIES = 3


class Files:
    """Upload and download."""

    def __init__(self, mana: ManaClient) -> None:
        self._mana = mana

    async def upload(self, name: str, data: bytes, content_type: str, **more: Any) -> Json:
        """Encrypts a file under a key of its own and uploads it; what a content says of it."""
        for attempt in range(1, TRIES + 1):
            pointer, ciphertext = Attachment.encrypt(data)
            try:
                made = await self._mana.rest.upload("file", ciphertext)
            except Refused as refused:
                # One ciphertext in some millions begins like a picture, and is refused as a damaged one.
                if refused.code != ErrorCode.INVALID or attempt == TRIES:
                    raise
                continue
            return {
                "id": made["id"],
                "pointer": b64(pointer.to_bytes()),
                "name": name,
                "type": content_type,
                "size": len(data),
                **more,
            }
        raise AssertionError("the last attempt has returned or raised")

    async def download(self, file: Any) -> bytes:
        """The file that a content describes. Raises ``InvalidContent``, or ``InvalidMessage`` if a byte is wrong."""
        described = checked_file(file)
        pointer = Attachment.from_bytes(unb64(described["pointer"]))
        return pointer.decrypt(await self._mana.rest.download(described["id"]))
