"""The AsyncAPI document: valid, complete, current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.management import call_command

from mana.protocol import CLIENT_FRAMES, SERVER_FRAMES, frame_type

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def document(tmp_path: Path) -> Any:
    """What the command writes."""
    path = tmp_path / "asyncapi.json"
    call_command("mana_asyncapi", output=str(path))
    return json.loads(path.read_text())


def test_it_has_the_shape_of_asyncapi_3(document: Any) -> None:
    schema = json.loads((Path(__file__).parent / "asyncapi-3.0.0-core.json").read_text())
    jsonschema.Draft7Validator(schema).validate(document)


def test_every_schema_in_it_is_a_json_schema(document: Any) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere(document: Any) -> None:
    def follow(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                target = document
                for step in node["$ref"].removeprefix("#/").split("/"):
                    target = target[step]
            for value in node.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:
                follow(value)

    follow(document)


def test_every_frame_is_in_it(document: Any) -> None:
    messages = document["channels"]["socket"]["messages"]
    for operation, frames in (("receive", CLIENT_FRAMES), ("send", SERVER_FRAMES)):
        names = [ref["$ref"].rsplit("/", 1)[1] for ref in document["operations"][operation]["messages"]]
        assert {messages[name]["name"] for name in names} == {frame_type(frame) for frame in frames}


def test_it_accepts_a_frame_and_refuses_a_wrong_one(document: Any) -> None:
    schema = {"$ref": "#/components/schemas/SendMessage", "components": document["components"]}
    jsonschema.validate({"type": "message", "room_id": "r", "payload": [1]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"type": "message", "room_id": 7, "payload": 1}, schema)


def test_the_copy_in_docs_is_current(document: Any) -> None:
    assert json.loads((ROOT / "docs/asyncapi.json").read_text()) == document
