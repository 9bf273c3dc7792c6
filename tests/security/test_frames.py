"""Who may send which frame: every type against twelve kinds of people, as ``frames.md`` says.

A frame that is refused changes no row and reaches nobody, and whoever may not read the room hears nothing of it.
A type without a line in the table fails.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets

from mana.protocol.codec import KNOWN_TYPES
from tests.rtc.media.sdps import CHROMIUM_OFFER
from tests.security import table
from tests.security.database import Watched
from tests.security.devices import PHONE, Calls
from tests.security.people import INSIDE, KINDS, LIMITS, NOBODY, People
from tests.security.scenes import SECRET, Scenes, filled
from tests.support import databases
from tests.support.client import Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

TABLE = Path(__file__).with_name("frames.md")
ROOM = {"room_id": "{room}"}
JOINED_CALL = {"type": "ready", "room_id": "{room}"}
#: After these the rooms are no longer what the next one should find.
SPENDING = ("join", "leave", "message_delete")
#: These need a device by name, with keys.
ENCRYPTION = ("key_exchange", "prekey_refill", "get_prekey_bundle", "encrypted_fanout", "encrypted_ack")
SDP = {"sdp": CHROMIUM_OFFER.replace("{", "").replace("}", "")}

ACCEPT = {"type": "call_accept", "call_id": "{call}"}
DIRECT = {"room_id": "{direct}", "to": "{target}"}
FOREIGN = {"room_id": "{foreign}", "to": "{target}"}
SEALED = {"{target}": {PHONE: "{sealed}"}}
CONTROL = {"control": True, "payloads": SEALED, "epochs": {"{target}": 1}}

#: The frames of the table. Where there are several, those before the last prepare it. ``{marker}`` is heard by those
#: whom it reaches, and so is ``{sealed}``. Where there is a ``{call}``, the target calls the room;
#: where there is a ``{direct_call}``, them.
FRAMES: dict[str, list[dict[str, Any]]] = {
    "ping": [{"type": "ping"}],
    "auth with one's token": [{"type": "auth", "token": "{own_token}"}],
    "auth with another's token": [{"type": "auth", "token": "{target_token}"}],
    "join the room": [{"type": "join", **ROOM}],
    "join a public room": [{"type": "join", "room_id": "{public}"}],
    "join a new room": [{"type": "join", "room_id": "new-{number}"}],
    "join others' direct room": [{"type": "join", "room_id": "{foreign}"}],
    "leave the room": [{"type": "leave", **ROOM}],
    "leave their direct room": [{"type": "leave", "room_id": "{direct}"}],
    "message to the room": [{"type": "message", **ROOM, "payload": "{marker}"}],
    "message to a channel": [{"type": "message", "room_id": "{channel}", "payload": "{marker}"}],
    "message to a public room": [{"type": "message", "room_id": "{public}", "payload": "{marker}"}],
    "message to a person": [{"type": "message", "to": "{target}", "payload": "{marker}"}],
    "message in their direct room": [{"type": "message", "room_id": "{direct}", "payload": "{marker}"}],
    "message in others' direct room": [{"type": "message", "room_id": "{foreign}", "payload": "{marker}"}],
    "message to everybody": [{"type": "message", **ROOM, "payload": "{marker}", "mentions": ["@all"]}],
    "message without a word to a new person": [{"type": "message", "to": "{newcomer}", "payload": ""}],
    "message quoting another room": [
        {"type": "message", "room_id": "{direct}", "payload": "{marker}", "reply_to": "{foreign_letter}"}
    ],
    "message with the owner's file": [
        {"type": "message", "room_id": "{direct}", "payload": "{marker}", "attachments": ["{file}"]}
    ],
    "message_edit of one's own": [{"type": "message_edit", "message_id": "{own}", "payload": "{marker}"}],
    "message_edit of another's": [{"type": "message_edit", "message_id": "{message}", "payload": "{marker}"}],
    "message_edit in their direct room": [{"type": "message_edit", "message_id": "{letter}", "payload": "{marker}"}],
    "message_edit of the other's there": [{"type": "message_edit", "message_id": "{answer}", "payload": "{marker}"}],
    "message_delete of one's own": [{"type": "message_delete", "message_id": "{own}"}],
    "message_delete of another's": [{"type": "message_delete", "message_id": "{message}"}],
    "message_delete for oneself": [{"type": "message_delete", "message_id": "{message}", "scope": "me"}],
    "message_delete in their direct room": [{"type": "message_delete", "message_id": "{letter}"}],
    "message_delete of the other's there": [{"type": "message_delete", "message_id": "{answer}"}],
    "reaction": [{"type": "reaction", "message_id": "{message}", "emoji": "👍"}],
    "reaction in their direct room": [{"type": "reaction", "message_id": "{answer}", "emoji": "👍"}],
    "reaction in others' direct room": [{"type": "reaction", "message_id": "{foreign_letter}", "emoji": "👍"}],
    "typing in the room": [{"type": "typing", **ROOM, "payload": "{marker}"}],
    "typing to a person": [{"type": "typing", "to": "{target}", "payload": "{marker}"}],
    "typing in their direct room": [{"type": "typing", "room_id": "{direct}", "payload": "{marker}"}],
    "typing in others' direct room": [{"type": "typing", "room_id": "{foreign}", "payload": "{marker}"}],
    "receipt in the room": [{"type": "receipt", **ROOM, "sequence": "{sequence}", "status": "read"}],
    "receipt in others' direct room": [
        {"type": "receipt", "room_id": "{foreign}", "sequence": "{sequence}", "status": "read"}
    ],
    "sync_request": [{"type": "sync_request", "cursor": 0, "limit": 500}],
    "history of the room": [{"type": "history", **ROOM}],
    "history of others' direct room": [{"type": "history", "room_id": "{foreign}"}],
    "ready": [{"type": "ready", **ROOM}],
    "ready in others' direct room": [{"type": "ready", "room_id": "{foreign}"}],
    "ready in their direct room": [{"type": "ready", "room_id": "{direct}"}],
    "ready in their call": [{**ACCEPT, "call_id": "{direct_call}"}, {"type": "ready", "room_id": "{direct}"}],
    "ready to come back": [{"type": "ready", **ROOM, "payload": {"resume": "guessed"}}],
    "ready to leave": [{"type": "ready", **ROOM, "payload": False}],
    "sfu_offer": [{"type": "sfu_offer", **ROOM, **SDP}],
    "sfu_offer in the call": [JOINED_CALL, {"type": "sfu_offer", **ROOM, **SDP}],
    "sfu_answer": [{"type": "sfu_answer", **ROOM, **SDP, "payload": {"number": 1}}],
    "sfu_answer in the call": [JOINED_CALL, {"type": "sfu_answer", **ROOM, **SDP, "payload": {"number": 77}}],
    "sfu_candidate": [{"type": "sfu_candidate", **ROOM, "candidate": {}}],
    "sfu_candidate in the call": [JOINED_CALL, {"type": "sfu_candidate", **ROOM, "candidate": {}}],
    "subscribe": [{"type": "subscribe", **ROOM, "payload": {"tracks": {}}}],
    "subscribe in the call": [JOINED_CALL, {"type": "subscribe", **ROOM, "payload": {"tracks": {}}}],
    "ice_restart": [{"type": "ice_restart", **ROOM}],
    "ice_restart in the call": [JOINED_CALL, {"type": "ice_restart", **ROOM}],
    "network_change": [{"type": "network_change", **ROOM}],
    "network_change in the call": [JOINED_CALL, {"type": "network_change", **ROOM}],
    "call_start to a person": [{"type": "call_start", "to": "{target}", "payload": "{marker}"}],
    "call_start in the room": [{"type": "call_start", **ROOM, "payload": "{marker}"}],
    "call_start in their direct room": [{"type": "call_start", "room_id": "{direct}", "payload": "{marker}"}],
    "call_start in others' direct room": [{"type": "call_start", "room_id": "{foreign}", "payload": "{marker}"}],
    "call_start where one goes on": [{"type": "call_start", **ROOM, "call_id": "{call} again"}],
    "call_accept": [ACCEPT],
    "call_reject": [{**ACCEPT, "type": "call_reject"}],
    "call_end": [ACCEPT, {**ACCEPT, "type": "call_end"}],
    "call_end by the room": [ACCEPT, {**ACCEPT, "type": "call_end", "call_id": None, **ROOM}],
    "call_end without being in it": [{**ACCEPT, "type": "call_end"}],
    "call_end for everybody": [{**ACCEPT, "type": "call_end", "payload": {"everybody": True}}],
    "call_end for another": [{**ACCEPT, "type": "call_end", "to": "{target}"}],
    "offer": [{"type": "offer", **ROOM, "to": "{target}", **SDP, "payload": "{marker}"}],
    "offer in their direct room": [{"type": "offer", **DIRECT, **SDP, "payload": "{marker}"}],
    "offer in others' direct room": [{"type": "offer", **FOREIGN, **SDP, "payload": "{marker}"}],
    "offer to who is not in the room": [{"type": "offer", **ROOM, "to": "{newcomer}", **SDP}],
    "answer": [{"type": "answer", **ROOM, "to": "{target}", **SDP, "payload": "{marker}"}],
    "answer in their direct room": [{"type": "answer", **DIRECT, **SDP, "payload": "{marker}"}],
    "answer in others' direct room": [{"type": "answer", **FOREIGN, **SDP, "payload": "{marker}"}],
    "candidate": [{"type": "candidate", **ROOM, "to": "{target}", "candidate": "{marker}"}],
    "candidate in their direct room": [{"type": "candidate", **DIRECT, "candidate": "{marker}"}],
    "candidate in others' direct room": [{"type": "candidate", **FOREIGN, "candidate": "{marker}"}],
    # The target's call was begun without a device, which could get a key.
    "call_key": [ACCEPT, {"type": "call_key", **ROOM, "call_id": "{call}", "payloads": {"{target}": "a key"}}],
    "call_key without being in the call": [
        {"type": "call_key", **ROOM, "call_id": "{call}", "payloads": {"{target}": "{marker}"}}
    ],
    "mute": [ACCEPT, {"type": "mute", **ROOM, "payload": True}],
    "mute without being in the call": [{"type": "mute", **ROOM, "payload": True, "call_id": "{call}"}],
    "mute of another": [ACCEPT, {"type": "mute", **ROOM, "to": "{target}", "payload": True}],
    "camera_toggle": [ACCEPT, {"type": "camera_toggle", **ROOM, "payload": True}],
    "screen_share_start": [ACCEPT, {"type": "screen_share_start", **ROOM}],
    "screen_share_stop": [ACCEPT, {"type": "screen_share_stop", **ROOM}],
    "pin": [ACCEPT, {"type": "pin", **ROOM, "payload": "{target}"}],
    "ice_servers": [{"type": "ice_servers"}],
    "key_exchange": [{"type": "key_exchange", "payload": "{keys}"}],
    "key_exchange with another's keys": [{"type": "key_exchange", "payload": "{target_keys}"}],
    "prekey_refill": [{"type": "prekey_refill", "payload": {"one_time": "{refill}"}}],
    "get_prekey_bundle": [{"type": "get_prekey_bundle", "to": "{target}"}],
    "encrypted_fanout to a person": [
        {"type": "encrypted_fanout", "to": "{target}", "payloads": SEALED, "epochs": "{epochs_of_two}"}
    ],
    "encrypted_fanout to the room": [
        {"type": "encrypted_fanout", **ROOM, "payloads": "{sealed_all}", "epochs": "{epochs}"}
    ],
    "encrypted_fanout in others' direct room": [
        {"type": "encrypted_fanout", "room_id": "{foreign}", "payloads": SEALED, "epochs": "{epochs_of_two}"}
    ],
    "encrypted_fanout for control": [{"type": "encrypted_fanout", **CONTROL, "to": "{target}"}],
    "encrypted_fanout for control in the room": [{"type": "encrypted_fanout", **CONTROL, **ROOM}],
    "encrypted_fanout for control in others' direct room": [
        {"type": "encrypted_fanout", **CONTROL, "room_id": "{foreign}"}
    ],
    "encrypted_ack": [{"type": "encrypted_ack", "message_ids": ["{message}"]}],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node with media on loopback, where much is tried."""
    with databases.fresh("sqlite") as url, serving(url, MANA_RTC_ADDRESSES="127.0.0.1", **LIMITS) as running:
        yield running
        assert "Traceback" not in running.log, running.log[-4000:]


def test_every_type_of_frame_has_a_line_for_everybody() -> None:
    expected = table.read(TABLE)
    assert list(expected) == list(FRAMES)
    assert {frames[-1]["type"] for frames in FRAMES.values()} == KNOWN_TYPES
    assert all(tuple(row) == KINDS for row in expected.values())


async def test_everybody_may_send_what_the_table_says_and_nothing_else(server: Server) -> None:
    expected = table.read(TABLE)
    seen: dict[str, table.Row] = {}
    refused_markers: set[str] = set()
    allowed_markers: set[str] = set()
    people = People(server)
    scenes = Scenes(people)
    with Watched(server.database_url) as database, Calls(people) as calls:
        async with people.target.socket(device_id=PHONE) as witness:
            for name, frames in FRAMES.items():
                seen[name] = {}
                for kind in KINDS:
                    marker = f"<{name}/{kind}>"
                    cell, text = marker, str(frames)
                    names: dict[str, Any] = {**scenes.names(kind), "marker": marker}
                    if "{call}" in text:
                        names["call"] = calls.start(names["room"])
                    if "{direct_call}" in text:  # whom they have blocked the target cannot call
                        names["direct_call"] = "none" if kind == "blocked" else calls.start(names["direct"])
                    if frames[-1]["type"] in ENCRYPTION:
                        names |= scenes.encrypted(kind)
                        marker = names["sealed"]
                    sent = filled(frames, names)
                    before = [database.content()]
                    device: dict[str, Any] = {"device_id": PHONE} if frames[-1]["type"] in ENCRYPTION else {}
                    socket = Socket(server, headers=people.headers(kind), **device)
                    try:
                        outcome, heard = (
                            await attempt(socket, sent, partial(look, database, before)),
                            socket.received,
                        )
                    except TimeoutError:
                        raise AssertionError(f"{cell} was not answered, but told {socket.received}") from None
                    seen[name][kind] = outcome
                    changed = [table for table, rows in database.content().items() if rows != before[-1][table]]
                    if outcome == "ok":
                        if ("{marker}" in text or "{sealed" in text) and "public" not in text:
                            allowed_markers.add(marker)
                        if changed and sent[-1]["type"] in SPENDING:
                            scenes.used_up(kind)
                    else:
                        refused_markers.add(marker)
                        assert not changed, f"{cell} was refused with {outcome}, and changed {changed}."
                    if "call}" in text or (changed and frames[-1]["type"] == "call_start"):
                        calls.over(kind)
                    if kind not in INSIDE and "{direct_call}" not in text:  # what that call is about is theirs to know
                        assert SECRET not in json.dumps(heard), f"{cell} was told what only members may hear."
                    if kind in NOBODY:
                        assert [frame["type"] for frame in heard] == ["error"], f"{cell} was told {heard}."
            await witness.silence()
            reached = json.dumps(witness.received) + database.notifications()
    assert not table.differences(expected, seen), "\n" + table.differences(expected, seen)
    assert not [marker for marker in refused_markers if marker in reached]
    # And the witness does hear what is said to them.
    assert not [marker for marker in allowed_markers if marker not in reached]


def look(database: Watched, looks: list[dict[str, int]]) -> None:
    """Remembers what there is."""
    looks.append(database.content())


async def attempt(socket: Socket, frames: list[dict[str, Any]], prepared: Callable[[], None]) -> str:
    """Connects and sends the frames: how the last was answered, ``ok`` or the error's code.

    ``prepared`` is called when those before it are answered.
    """
    await socket.connect()
    *preparing, last = ({**frame, "ack_id": secrets.token_hex(8)} for frame in frames)
    with contextlib.suppress(websockets.ConnectionClosed):  # who is not let in may be out already
        for frame in preparing or [last]:
            await socket.send(**frame)
    first = await socket.expect()
    if first["type"] == "error":
        assert await socket.closed() == 4001
        return str(first["code"])
    if preparing:
        for frame in preparing:
            await socket.expect(ack_id=frame["ack_id"])
        prepared()
        await socket.send(**last)
    answer = await socket.expect(ack_id=last["ack_id"])
    await socket.silence()  # the session goes on, whatever it was told
    await socket.connection.close()
    return str(answer["code"]) if answer["type"] == "error" else "ok"
