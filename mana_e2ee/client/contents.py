"""What plaintexts say: contents of messages, control messages, sealed things. docs/e2ee-clients.md has every field."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from mana_e2ee.client.errors import InvalidContent
from mana_e2ee.core import Address

VERSION = 1
MAX_PLAINTEXT = 32_768
MAX_DEPTH = 64

Json = dict[str, Any]

_ID = re.compile(r"[0-9a-f]{32}")


def b64(data: bytes) -> str:
    """Bytes as base64 text."""
    return base64.b64encode(data).decode()


def unb64(text: Any) -> bytes:
    """Base64 text as bytes. Raises ``InvalidContent``."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise InvalidContent("not base64") from None


def encode(plaintext: Mapping[str, Any]) -> bytes:
    """A plaintext as bytes. Raises ``InvalidContent`` for what is too long."""
    data = json.dumps(plaintext, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if len(data) > MAX_PLAINTEXT:
        raise InvalidContent(f"it has {len(data)} bytes; {MAX_PLAINTEXT} are allowed")
    return data


def decode(data: bytes) -> Json:
    """Bytes as a plaintext. Raises ``InvalidContent``."""
    try:
        plaintext = json.loads(data)
        if _is_deeper(plaintext, MAX_DEPTH):
            raise InvalidContent("too many things in each other")
        # Python reads what it, or a browser, can't write down again: half a surrogate pair, an infinite number.
        json.dumps(plaintext, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise InvalidContent("not JSON") from None
    if not isinstance(plaintext, dict):
        raise InvalidContent("not an object")
    if plaintext.get("v") != VERSION:
        raise InvalidContent("written by a newer version")
    return plaintext


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects lie in each other more than ``most`` deep."""
    level = [value]
    for _ in range(most + 1):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return False
        level = inner
    return True


def content(kind: str, room_id: str, sender: Address, *, content_id: str | None = None, **fields: Any) -> Json:
    """A content of this device's, checked."""
    made = {
        "v": VERSION,
        "kind": kind,
        "room": room_id,
        "from": sender.user,
        "device": sender.device,
        "id": content_id or uuid4().hex,
        "at": int(time.time()),
        **{name: value for name, value in fields.items() if value not in (None, [])},
    }
    return checked_content(made, room_id, sender)


def checked_content(plaintext: Json, room_id: str, sender: Address) -> Json:
    """The content, if it is one of this room and sender. Raises ``InvalidContent``."""
    if plaintext.get("room") != room_id:
        raise InvalidContent("it belongs to another room")
    if (plaintext.get("from"), plaintext.get("device")) != (sender.user, sender.device):
        raise InvalidContent("it is of another sender than the frame")
    _need(plaintext, "id", str)
    if not _ID.fullmatch(plaintext["id"]):
        raise InvalidContent("its id is not 32 hex digits")
    _need(plaintext, "at", int)
    check = _KINDS.get(_need(plaintext, "kind", str))
    if check is None:
        raise InvalidContent("written by a newer version")
    check(plaintext)
    if "log" in plaintext:
        log = _need(plaintext, "log", dict)
        _need(log, "sequence", int)
        unb64(log.get("hash"))
    return plaintext


def reference(value: Any) -> tuple[str, str]:
    """(user, content id) of a ref. Raises ``InvalidContent``."""
    if not isinstance(value, dict) or not isinstance(value.get("from"), str) or not isinstance(value.get("id"), str):
        raise InvalidContent("not a reference to a content")
    return value["from"], value["id"]


def control(name: str, /, **fields: Any) -> Json:
    """A control message."""
    return {"v": VERSION, "control": name, **fields}


def sealed(purpose: str, context: str, data: Any) -> bytes:
    """What ``seal`` encrypts; bytes as ``{"base64": ...}``."""
    value = {"base64": b64(data)} if isinstance(data, bytes) else data
    return encode({"v": VERSION, "sealed": purpose, "context": context, "data": value})


def unsealed(data: bytes, purpose: str, context: str) -> Any:
    """What was sealed for just this purpose and context. Raises ``InvalidContent``."""
    plaintext = decode(data)
    if plaintext.get("sealed") != purpose or plaintext.get("context") != context:
        raise InvalidContent("it was sealed for something else")
    value = plaintext.get("data")
    if isinstance(value, dict) and set(value) == {"base64"}:
        return unb64(value["base64"])
    return value


def _need(plaintext: Json, name: str, kind: type) -> Any:
    value = plaintext.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise InvalidContent(f"`{name}` is missing or wrong")
    return value


def _text(plaintext: Json) -> None:
    text = _need(plaintext, "text", str)
    if "reply_to" in plaintext:
        reference(plaintext["reply_to"])
    if "reply_plain" in plaintext and len(_need(plaintext, "reply_plain", str)) > 64:
        raise InvalidContent("`reply_plain` is wrong")
    _mentions(plaintext)
    files = plaintext.get("attachments", [])
    if not isinstance(files, list) or len(files) > 32:
        raise InvalidContent("`attachments` is wrong")
    for file in files:
        checked_file(file)
    if not text and not files:
        raise InvalidContent("it says nothing")


def checked_file(file: Any) -> Json:
    """A description of an encrypted file. Raises ``InvalidContent``."""
    if not isinstance(file, dict):
        raise InvalidContent("not a file")
    for name, kind in (("id", str), ("name", str), ("type", str), ("size", int)):
        _need(file, name, kind)
    if len(unb64(file.get("pointer"))) != 73:
        raise InvalidContent("not a pointer to a file")
    return file


def _mentions(plaintext: Json) -> None:
    mentions = plaintext.get("mentions", [])
    if not isinstance(mentions, list) or not all(isinstance(one, str) for one in mentions):
        raise InvalidContent("`mentions` is wrong")


def _edit(plaintext: Json) -> None:
    reference(plaintext.get("target"))
    _need(plaintext, "text", str)
    _mentions(plaintext)


def _delete(plaintext: Json) -> None:
    reference(plaintext.get("target"))


def _reaction(plaintext: Json) -> None:
    reference(plaintext.get("target"))
    if not 1 <= len(_need(plaintext, "emoji", str)) <= 64:
        raise InvalidContent("`emoji` is wrong")


def _custom(plaintext: Json) -> None:
    if "data" not in plaintext:
        raise InvalidContent("`data` is missing")


_KINDS = {"text": _text, "edit": _edit, "delete": _delete, "reaction": _reaction, "custom": _custom}
