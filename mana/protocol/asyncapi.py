"""The AsyncAPI 3 document of the WebSocket, made from the Structs that decode and encode it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

from mana.protocol.client import CLIENT_FRAMES
from mana.protocol.codec import frame_type
from mana.protocol.errors import TEXTS
from mana.protocol.server import SERVER_FRAMES

_REF = "#/components/schemas/{name}"


def document(*, title: str, version: str, path: str = "/ws") -> dict[str, Any]:
    """An AsyncAPI 3.0 document as a dict that ``json`` can write."""
    received, received_schemas = _messages(CLIENT_FRAMES)
    sent, sent_schemas = _messages(SERVER_FRAMES)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": version,
            "description": (
                "Text frames of JSON. A client sends one object per frame; a client that offered the subprotocol "
                "`mana.v1` may also be sent an array of objects.\n\nError codes:\n\n"
                + "\n".join(f"- `{code}`: {text}" for code, text in TEXTS.items())
            ),
            "license": {"name": "BSD-3-Clause"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": path,
                "description": "One WebSocket per session.",
                "messages": {**received, **sent},
                "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "receive": {
                "action": "receive",
                "channel": {"$ref": "#/channels/socket"},
                "summary": "Frames that a client sends.",
                "messages": [{"$ref": f"#/channels/socket/messages/{name}"} for name in received],
            },
            "send": {
                "action": "send",
                "channel": {"$ref": "#/channels/socket"},
                "summary": "Frames that the server sends.",
                "messages": [{"$ref": f"#/channels/socket/messages/{name}"} for name in sent],
            },
        },
        "components": {"schemas": {**received_schemas, **sent_schemas}},
    }


def _messages(frames: Iterable[type[msgspec.Struct]]) -> tuple[dict[str, Any], dict[str, Any]]:
    frames = sorted(frames, key=frame_type)
    refs, schemas = msgspec.json.schema_components(frames, schema_hook=_schema_of_raw, ref_template=_REF)
    messages = {
        frame.__name__: {
            "name": frame_type(frame),
            "title": frame.__name__,
            "summary": inspect.getdoc(frame) or "",
            "payload": ref,
        }
        for frame, ref in zip(frames, refs, strict=True)
    }
    return messages, schemas


def _schema_of_raw(type_: type) -> dict[str, Any]:
    if type_ is msgspec.Raw:
        return {"description": "Any JSON value."}
    raise NotImplementedError(f"no JSON schema for {type_!r}")
