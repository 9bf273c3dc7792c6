"""Who gets in, by which proof, from where, and for how long."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import httpx
import pytest
import websockets

from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


async def _refused(socket: Socket) -> tuple[str, int]:
    """The code of the error frame, and the close code after it."""
    await socket.connect()
    error = await socket.expect("error")
    return error["code"], await socket.closed()


async def test_welcome_tells_who_one_is_and_what_one_may_send(alice: Account) -> None:
    async with alice.socket(device_id="my-phone") as socket:
        welcome = socket.welcome
    assert welcome["user_id"] == alice.id
    assert welcome["username"] == alice.username
    assert welcome["protocol"] == "mana.v1"
    assert welcome["limits"]["max_message_size"] == 65536
    assert {"message", "join", "sync_request"} <= set(welcome["features"])
    assert welcome["session_id"]
    assert welcome["server_time"].endswith("Z")


@pytest.mark.parametrize("path", ["/ws", "/ws/"])
async def test_the_address_has_a_slash_or_not(server: Server, alice: Account, path: str) -> None:
    url = f"ws://127.0.0.1:{server.port}{path}"
    async with websockets.connect(url, additional_headers={"Authorization": f"Bearer {alice.access}"}) as socket:
        assert json.loads(await socket.recv())["type"] == "welcome"


async def test_a_bearer_subprotocol_proves_and_is_never_echoed(server: Server, alice: Account) -> None:
    socket = Socket(server, subprotocols=["mana.v1", f"bearer.{alice.access}"])
    async with socket:
        assert socket.welcome["user_id"] == alice.id
        assert socket.connection.subprotocol == "mana.v1"


@pytest.mark.parametrize(("offered", "chosen"), [(["mana.v1"], "mana.v1"), (["mana"], "mana"), (["other"], None)])
async def test_the_known_subprotocol_is_echoed(
    server: Server, alice: Account, offered: list[str], chosen: str | None
) -> None:
    headers = {"Authorization": f"Bearer {alice.access}"}
    async with Socket(server, subprotocols=offered, headers=headers) as socket:
        assert socket.connection.subprotocol == chosen


async def test_a_ticket_is_good_for_one_use(server: Server, alice: Account) -> None:
    issued = alice.post("auth/ticket")
    assert issued["expires_in"] == 30
    async with Socket(server, ticket=issued["ticket"]) as socket:
        assert socket.welcome["user_id"] == alice.id
    assert await _refused(Socket(server, ticket=issued["ticket"])) == ("unauthenticated", 4001)


async def test_of_many_who_use_one_ticket_at_once_one_gets_in(server: Server, alice: Account) -> None:
    ticket = alice.post("auth/ticket")["ticket"]

    async def try_it() -> str:
        socket = Socket(server, ticket=ticket)
        await socket.connect()
        first = await socket.expect()
        await socket.connection.close()
        return str(first["type"])

    outcomes = await asyncio.gather(*(try_it() for _ in range(8)))
    assert outcomes.count("welcome") == 1


async def test_a_first_auth_frame_proves(server: Server, alice: Account) -> None:
    socket = Socket(server)
    await socket.connect()
    await socket.send("auth", token=alice.access)
    assert (await socket.expect("welcome"))["user_id"] == alice.id
    await socket.connection.close()


@pytest.mark.parametrize(
    "first",
    ['{"type":"auth","token":"nonsense"}', '{"type":"join","room_id":"x"}', "nonsense", "[]", '{"type":"auth"}'],
)
async def test_any_other_first_frame_is_refused(server: Server, first: str) -> None:
    socket = Socket(server)
    await socket.connect()
    await socket.connection.send(first)
    assert (await socket.expect("error"))["code"] != ""
    assert await socket.closed() == 4001


async def test_a_token_in_the_address_is_refused_unless_allowed(
    server: Server, open_server: Server, alice: Account
) -> None:
    assert await _refused(Socket(server, token=alice.access)) == ("unauthenticated", 4001)
    there = Account(open_server)
    async with Socket(open_server, token=there.access) as socket:
        assert socket.welcome["user_id"] == there.id


async def test_with_authentication_on_nobody_names_themselves(server: Server) -> None:
    socket = Socket(server, user_id="alice", username="Alice")
    await socket.connect()
    await socket.send("join", room_id="x")
    assert (await socket.expect("error"))["code"] == "unauthenticated"
    assert await socket.closed() == 4001


async def test_a_guest_cannot_take_the_id_of_an_account(open_server: Server) -> None:
    owner = Account(open_server)
    code, close = await _refused(Socket(open_server, user_id=owner.id))
    assert (code, close) == ("forbidden", 4001)


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer "}])
async def test_a_bad_token_is_refused(server: Server, headers: dict[str, str]) -> None:
    assert await _refused(Socket(server, headers=headers)) == ("unauthenticated", 4001)


async def test_a_refresh_token_opens_no_socket(server: Server, alice: Account) -> None:
    code, _ = await _refused(Socket(server, headers={"Authorization": f"Bearer {alice.refresh}"}))
    assert code == "unauthenticated"


async def test_logout_ends_the_token_and_its_sockets(server: Server, alice: Account) -> None:
    other = httpx.post(
        f"{server.http}/api/auth/token", json={"username": alice.username, "password": alice.password}
    ).json()
    async with alice.socket() as here, Socket(server, headers={"Authorization": f"Bearer {other['access']}"}) as there:
        alice.post("auth/logout")
        assert (await here.expect("error"))["code"] == "revoked"
        assert await here.closed() == 4009
        await there.request("ping")  # another sign-in goes on
    assert alice.http.get("/api/me").json()["code"] == "revoked"
    assert await _refused(alice.socket()) == ("revoked", 4001)


async def test_an_origin_must_be_the_own_host(server: Server, alice: Account) -> None:
    bearer = {"Authorization": f"Bearer {alice.access}"}
    own = {**bearer, "Origin": server.http}
    async with Socket(server, headers=own):
        pass
    for origin in ("http://evil.example", f"http://127.0.0.1:{server.port + 1}", "null", "https://127.0.0.1"):
        assert await _refused(Socket(server, headers={**bearer, "Origin": origin})) == ("origin_forbidden", 4003)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eDp5"}])
async def test_a_cookie_without_an_origin_proves_nothing(server: Server, headers: dict[str, str]) -> None:
    code, close = await _refused(Socket(server, headers={"Cookie": "sessionid=anything", **headers}))
    assert (code, close) == ("origin_forbidden", 4003)


async def test_a_device_id_must_be_printable(alice: Account) -> None:
    assert (await _refused(alice.socket(device_id="a" * 65)))[1] == 4003
    assert (await _refused(alice.socket(device_id="ü")))[1] == 4003


@pytest.fixture(scope="module")
def short_lived() -> Iterator[Server]:
    """A node whose access tokens live for eight seconds, and which waits half a second for credentials."""
    with databases.fresh("sqlite") as url, serving(url, TEST_TOKEN_SECONDS="8", MANA_AUTH_TIMEOUT="0.5") as server:
        yield server


async def test_without_credentials_the_socket_closes_in_time(short_lived: Server) -> None:
    began = time.monotonic()
    assert await _refused(Socket(short_lived)) == ("unauthenticated", 4001)
    assert time.monotonic() - began < 5


async def test_a_session_ends_with_its_token_unless_it_is_renewed(short_lived: Server) -> None:
    stranger, account = Account(short_lived), Account(short_lived)
    async with account.socket() as expiring, account.socket() as renewed:
        assert (await renewed.refusal("auth", token=stranger.access))["code"] == "forbidden"
        newer = account.post("auth/token/refresh", refresh=account.refresh)
        await asyncio.sleep(3)  # so that the renewed token outlives the first
        newest = account.post("auth/token/refresh", refresh=newer["refresh"])
        await renewed.request("auth", token=newest["access"])
        assert (await expiring.expect("error"))["code"] == "token_expired"
        assert await expiring.closed() == 4001
        await renewed.request("ping")
    assert await _refused(account.socket()) == ("token_expired", 4001)


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_both_servers_serve_it(kind: str) -> None:
    with databases.fresh("sqlite") as url, serving(url, kind=kind) as server:
        one, other = Account(server), Account(server)
        room = one.room(other)
        async with one.socket(arrays=True) as a, other.socket() as b:
            await a.request("message", room_id=room, payload=kind)
            assert (await b.expect("message"))["payload"] == kind
            await a.connection.send(" " * 65537)
            assert (await a.error())["code"] == "too_large"
            assert await a.closed() == 1009
        assert "Traceback" not in server.log
