"""Logs that machines can read, and that nobody can steal anything from."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import httpx
import pytest
from django.test import AsyncClient, Client

from mana.accounts.stores import Person
from mana.messaging.drafts import Draft
from mana.messaging.writer import Writer
from mana.observability.logging import ContextFilter, JSONFormatter, ScrubbingFormatter, ScrubFilter
from mana.observability.scrub import scrub
from mana.realtime import context
from mana.realtime import hub as hubs
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import serving

CANARY = "payload-canary-90210"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_whole_day_leaves_no_secret_in_the_logs(kind: str) -> None:
    environment = {"LOG_FORMAT": "json", "LOG_LEVEL": "DEBUG", "MANA_ALLOW_QUERY_TOKEN": "true"}
    with databases.fresh("sqlite") as url, serving(url, kind=kind, **environment) as server:
        alice, bob = Account(server), Account(server)
        ticket = alice.post("auth/ticket")["ticket"]
        secrets = [CANARY, alice.access, alice.refresh, alice.password, bob.password, ticket, "wrong-password-canary"]
        wrong = {"username": alice.username, "password": "wrong-password-canary"}
        assert alice.http.post("/api/auth/token", json=wrong).status_code == 401
        assert httpx.get(f"{server.http}/api/me?token={alice.access}&ticket={ticket}").status_code == 401
        room = alice.room(bob)
        async with Socket(server, ticket=ticket) as a, Socket(server, token=bob.access) as b:
            await a.request("message", room_id=room, payload={"text": CANARY})
            await b.expect("message")
            await a.refusal("message", room_id="nowhere", payload=CANARY)
            await a.connection.send('{"type": "message", "payload": "' + CANARY)
            await a.error()
            await a.refusal("typing", room_id=room, payload={"deep": [[[[CANARY]]]]}, to=[CANARY])
        used = Socket(server, ticket=ticket)
        await used.connect()
        assert await used.closed() == 4001
        offered = Socket(server, subprotocols=["mana.v1", f"bearer.{alice.access}"])
        await offered.connect()
        await offered.expect("welcome")
        await offered.connection.close()
        alice.post("auth/logout", refresh=alice.refresh)
        await asyncio.sleep(0.2)
        log = server.log
    assert "/api/auth/token" in log  # the access log is there
    for secret in secrets:
        assert secret not in log, secret
        assert secret[:24] not in log, secret
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert lines
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET /ws?ticket=abc&device_id=x", "GET /ws?ticket=[scrubbed]&device_id=x"),
        ("GET /ws?device_id=x&token=abc.def HTTP/1.1", "GET /ws?device_id=x&token=[scrubbed] HTTP/1.1"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: bearer [scrubbed]"),
        ("['mana.v1', 'bearer.abc.def']", "['mana.v1', 'bearer.[scrubbed]']"),
        (f"the token {JWT} is bad", "the token [scrubbed] is bad"),
        ('{"password": "a\\"b", "username": "x"}', '{"password": [scrubbed], "username": "x"}'),
        ("{'payload': {'text': 'hi'}}", "{'payload': [scrubbed]"),
        ("redis://user:hunter2@host:6379/0", "redis://user:[scrubbed]@host:6379/0"),
        ("redis://:hunter2@host", "redis://:[scrubbed]@host"),
        ("Cookie: sessionid=abc; csrftoken=def", "Cookie: sessionid=[scrubbed]; csrftoken=[scrubbed]"),
        ("DETAIL:  Failing row contains (1, hello, x).\nmore", "DETAIL:  Failing row contains ([scrubbed])."),
        ("rate_limited, code=4008, tokens=3", "rate_limited, code=4008, tokens=3"),
        ("3 announcements were not published", "3 announcements were not published"),
    ],
)
def test_secrets_are_told_by_what_is_around_them(text: str, clean: str) -> None:
    assert scrub(text) == clean


def logged(formatter: logging.Formatter, *filters: logging.Filter, **kwargs: Any) -> str:
    """What a handler writes of one record, with a secret in its message, its arguments and its exception."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    for one in filters:
        handler.addFilter(one)
    logger = logging.Logger("mana.test")  # noqa: LOG001  one that nobody else has
    logger.addHandler(handler)
    try:
        raise ValueError(f"Bearer {CANARY}")
    except ValueError:
        logger.exception("GET /ws?ticket=%s", CANARY, **kwargs)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("formatter", "filters"),
    [
        (JSONFormatter(), ()),
        (ScrubbingFormatter("%(levelname)s %(message)s"), ()),
        (logging.Formatter("%(message)s"), (ScrubFilter(),)),
    ],
)
def test_messages_arguments_and_exceptions_are_scrubbed(
    formatter: logging.Formatter, filters: tuple[logging.Filter, ...]
) -> None:
    text = logged(formatter, *filters)
    assert CANARY not in text
    assert "ValueError" in text
    assert "/ws?ticket=[scrubbed]" in text


def test_a_record_says_where_it_comes_from() -> None:
    tokens = context.session_id.set("the-session"), context.request_id.set("the-request")
    try:
        entry = json.loads(logged(JSONFormatter(), extra={"count": 3, "url": f"/?token={CANARY}", "thing": object()}))
        text = logged(logging.Formatter("%(session)s %(request)s %(trace_id)s|"), ContextFilter(), ScrubFilter())
    finally:
        context.session_id.reset(tokens[0])
        context.request_id.reset(tokens[1])
    assert (entry["session"], entry["request"], entry["count"]) == ("the-session", "the-request", 3)
    assert entry["url"] == "/?token=[scrubbed]"
    assert "thing" not in entry
    assert "ValueError" in entry["exception"]
    assert text.startswith("the-session the-request |")


@pytest.mark.django_db(transaction=True)
async def test_the_writer_belongs_to_no_session_though_one_has_woken_it() -> None:
    hub = hubs.current()
    token = context.session_id.set("the-session")
    told: asyncio.Future[str] = hub.loop.create_future()
    draft = Draft(room_key="nowhere", sender=Person(1, "1", "x", ""), payload_json="1")
    try:
        hub.extension(Writer).submit(draft, lambda result: told.set_result(context.session_id.get()))
        assert await told == ""
    finally:
        context.session_id.reset(token)
        await hub.stop()


async def test_every_answer_has_the_id_of_its_request() -> None:
    given = await AsyncClient().get("/health/live", headers={"X-Request-ID": "from-the-proxy"})
    made = await AsyncClient().get("/health/live", headers={"X-Request-ID": "no\tgood"})
    assert given.headers["X-Request-ID"] == "from-the-proxy"
    assert made.headers["X-Request-ID"] not in ("", "no\tgood")


def test_every_answer_of_a_synchronous_server_too() -> None:
    assert Client().get("/health/live", headers={"X-Request-ID": "given"}).headers["X-Request-ID"] == "given"
