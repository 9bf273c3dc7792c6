"""Requests made from the served OpenAPI document: no server error, and no answer that it does not describe.

Each operation gets people, a room and a message of its own, so that what one request destroys no other misses.
``MANA_TEST_EXAMPLES=200`` makes it thorough; the default keeps it below a minute.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.e2ee_server.clients import Person
from tests.security.test_routes import operations as routes
from tests.support.client import Account
from tests.support.server import Server
from tests.support.staff import REVIEWER, allow

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own dependencies
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

EXAMPLES = int(os.environ.get("MANA_TEST_EXAMPLES", "3"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """The served document."""
    return dict(httpx.get(f"{server.http}/api/schema/", params={"format": "json"}, timeout=60).json())


@pytest.fixture(scope="module")
def reviewer(server: Server) -> str:
    """The access token of somebody who may work on reports."""
    made = Account(server)
    allow(made, *REVIEWER)
    return made.access


def _scene(server: Server) -> tuple[Account, dict[str, str]]:
    """Somebody who owns a room with a message, and what path parameters may be."""
    owner, member = Account(server), Account(server)
    room = owner.room(member)
    message = owner.post(f"rooms/{room}/messages", payload={"text": "x"}, ack_id="scene")["id"]
    file = owner.http.post("/api/attachments", files={"file": ("x.txt", b"data", "text/plain")}).json()
    invite = owner.post(f"rooms/{room}/invites")
    invited_to = member.room()
    member.post(f"rooms/{invited_to}/invitations", user_ids=[owner.id])
    owner.get("sync", cursor=0, device_id="phone")
    Person(owner, "phone")
    Person(member, "tablet")
    return owner, {
        "room_id": room,
        "user_id": member.id,
        "message_id": message,
        "attachment_id": file["id"],
        "invite_id": str(invite["id"]),
        "token": invite["token"],
        "device_id": "phone",
        "emoji": "👍",
        "report_id": str(member.post("reports", user_id=owner.id, reason="spam")["id"]),
    }


def _with_real_ids(document: dict[str, Any], method: str, path: str, ids: dict[str, str]) -> dict[str, Any]:
    """The document of one operation, whose path parameters are often those of the scene."""
    operation = dict(document["paths"][path][method])
    parameters = []
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path" and parameter["name"] in ids:
            real: Any = ids[parameter["name"]]
            real = int(real) if parameter["schema"].get("type") == "integer" else real
            parameters.append({**parameter, "schema": {"anyOf": [{"enum": [real]}, parameter["schema"]]}})
        else:
            parameters.append(parameter)
    return {**document, "paths": {path: {method: {**operation, "parameters": parameters}}}}


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, operations in document["paths"].items():
        for method in operations:
            if method in ("get", "post", "put", "patch", "delete") and path != "/api/schema/":
                yield method, path


def test_every_route_is_in_the_document(document: dict[str, Any]) -> None:
    # Avatars are files, at addresses that clients are given as `avatar_url`.
    others = (" api/schema/", " api/avatars/{name}")
    served = {one for one in routes() if " api/" in one and not one.endswith(others)}
    assert {f"{method.upper()} {path[1:]}" for method, path in _operations(document)} == served


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    without = [
        f"{method} {path}"
        for method, path in _operations(document)
        for content in document["paths"][path][method].get("requestBody", {}).get("content", {}).items()
        if content[0] == "application/json" and "examples" not in content[1]
    ]
    assert not without


def test_every_operation_answers_as_it_says(server: Server, document: dict[str, Any], reviewer: str) -> None:
    operations = list(_operations(document))
    assert len(operations) > 60
    failures = []
    scene = None
    for method, path in operations:
        # What was only read is still as it was.
        scene = scene or _scene(server)
        try:
            _try_out(server, document, method, path, scene, reviewer if path.startswith("/api/moderation/") else "")
        except BaseExceptionGroup as group:
            failures.append(f"{method} {path}: {group.exceptions[0]}")
        except AssertionError as failure:
            failures.append(f"{method} {path}: {failure}")
        if method != "get":
            scene = None
            close_accounts()
    assert not failures, "\n\n".join(failures)


def close_accounts() -> None:
    """Leaves no connection open for people who are not needed any more."""
    while Account.opened:
        Account.opened.pop().close()


def _try_out(
    server: Server,
    document: dict[str, Any],
    method: str,
    path: str,
    scene: tuple[Account, dict[str, str]],
    other_token: str = "",
) -> None:
    owner, ids = scene
    schema = schemathesis.openapi.from_dict(_with_real_ids(document, method, path, ids))
    schema.config.update(base_url=server.http)
    (result,) = schema.get_all_operations()
    operation = result.ok()
    headers = {"Authorization": f"Bearer {other_token or owner.access}"}
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=modes[0]) | operation.as_strategy(generation_mode=modes[1]))
    def run(case: Any) -> None:
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hypothesis: of patterns that match nothing
        run()
