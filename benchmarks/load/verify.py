"""Reads what the loads only count: whether each client gets each message exactly once and in order."""

from __future__ import annotations

import json
from collections import defaultdict

from benchmarks.load.fleet import Client, Fleet
from benchmarks.load.measures import TEXT_SIZE
from benchmarks.load.websocket import client_frame

#: Messages of one sender, and how many of them are on their way at a time.
MESSAGES, OUTSTANDING = 64, 8


class WrongAnswer(Exception):
    """A server lost, repeated, reordered or invented something."""


def deliveries(fleet: Fleet, *, senders: int) -> None:
    """The first ``senders`` clients of each room send; all who should get a message get it once and in order."""
    got: dict[Client, dict[str, list[int]]] = {client: defaultdict(list) for client in fleet.clients}
    missing = 0
    for room in fleet.rooms:
        missing += MESSAGES * senders * (len(room) - (not fleet.dialect.echoes))
    sent: dict[Client, int] = defaultdict(int)
    speakers = {client for room in fleet.rooms for client in room[:senders]}

    def send(client: Client) -> None:
        text = f"@{client.room}.{client.position}.{sent[client]}.".ljust(TEXT_SIZE, "x")
        sent[client] += 1
        client.send(client_frame(fleet.dialect.say(client.seat, text, "")))

    def on_texts(client: Client, texts: list[bytes]) -> None:
        nonlocal missing
        for text in texts:
            for said in fleet.dialect.texts(json.loads(text)):
                room, position, number, _ = said.removeprefix("@").split(".")
                if int(room) != client.room:
                    raise WrongAnswer(f"room {client.room} got a message of room {room}")
                got[client][position].append(int(number))
                missing -= 1
                speaker = fleet.rooms[client.room][int(position)]
                if client is _pacemaker(fleet, speaker) and sent[speaker] < MESSAGES:
                    send(speaker)

    for speaker in speakers:
        for _ in range(OUTSTANDING):
            send(speaker)
    fleet.run(on_texts, lambda: missing <= 0)
    fleet.settle()
    everything = list(range(MESSAGES))
    for client, by_speaker in got.items():
        expected = {
            str(speaker.position): everything
            for speaker in fleet.rooms[client.room][:senders]
            if speaker is not client or fleet.dialect.echoes
        }
        if dict(by_speaker) != expected:
            raise WrongAnswer(f"client {client.position} of room {client.room} got {dict(by_speaker)}")


def _pacemaker(fleet: Fleet, speaker: Client) -> Client:
    """The client whose receiving a message lets the speaker send its next: the last of the room."""
    room = fleet.rooms[speaker.room]
    return room[-1] if room[-1] is not speaker else room[-2]


def acks(fleet: Fleet, *, per_client: int = 10) -> None:
    """Everybody stores messages: one ack for each, no sequence twice, and where others are told, each message once."""
    acked: dict[str, int] = {}
    told: dict[str, int] = defaultdict(int)
    wanted = per_client * len(fleet.clients)

    def on_texts(client: Client, texts: list[bytes]) -> None:
        for text in texts:
            content = json.loads(text)
            for ack_id, sequence in fleet.dialect.acks(content):
                if ack_id in acked or not ack_id.startswith(f"~v-{client.room}.{client.position}."):
                    raise WrongAnswer(f"ack {ack_id!r} came twice or to the wrong client")
                acked[ack_id] = sequence
            for said in fleet.dialect.texts(content):
                told[said.rstrip("x")] += 1

    for client in fleet.clients:
        for number in range(per_client):
            name = f"{client.room}.{client.position}.{number}."
            text = f"@{name}".ljust(TEXT_SIZE, "x")
            client.send(client_frame(fleet.dialect.say(client.seat, text, f"~v-{name}")))
    fleet.run(on_texts, lambda: len(acked) >= wanted)
    fleet.settle()
    if len(acked) != wanted or len(set(acked.values())) != wanted:
        raise WrongAnswer(f"{wanted} messages got {len(acked)} acks and {len(set(acked.values()))} places")
    if not fleet.dialect.echoes and (len(told) != wanted or set(told.values()) != {1}):
        raise WrongAnswer(f"{wanted} messages were told {sum(told.values())} times, {len(told)} of them")
