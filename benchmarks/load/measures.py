"""The loads. What counts is what reaches others, not a server's echo to the sender.

Each keeps a number of messages outstanding, so that a server gets as much as it can take and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.load.dialects import ACK_MARK, MARK, SECOND_MARK, Seat
from benchmarks.load.fleet import Client, Fleet
from benchmarks.load.websocket import client_frame
from benchmarks.load.window import Window

#: Bytes of a text, mark included.
TEXT_SIZE = 200


def one_sender(fleet: Fleet, window: Window, *, outstanding: int) -> dict[str, float]:
    """One client of one room sends; the next message goes when the oldest has reached everybody."""
    room = fleet.rooms[0]
    sender = room[0]
    receivers = len(room) - 1
    frame = client_frame(fleet.dialect.say(sender.seat, "@" + "x" * (TEXT_SIZE - 1), ""))
    completed = 0

    def on_texts(client: Client, texts: list[bytes]) -> None:
        nonlocal completed
        if client is sender:
            return  # the tutorial's echo
        for text in texts:
            window.count += text.count(MARK)
        while window.count >= (completed + 1) * receivers:
            completed += 1
            sender.send(frame)

    for _ in range(outstanding):
        sender.send(frame)
    fleet.run(on_texts, window.over)
    return window.result


def everybody(fleet: Fleet, window: Window, *, outstanding: int) -> dict[str, float]:
    """Both clients of every room send; a client's next message goes when its last has reached the other."""
    marks = (MARK, SECOND_MARK)
    frames = {
        client: client_frame(
            fleet.dialect.say(client.seat, marks[client.position].decode() + "x" * (TEXT_SIZE - 1), "")
        )
        for client in fleet.clients
    }

    def on_texts(client: Client, texts: list[bytes]) -> None:
        other = fleet.rooms[client.room][1 - client.position]
        for text in texts:
            arrived = text.count(marks[other.position])
            window.count += arrived
            for _ in range(arrived):
                other.send(frames[other])

    for client, frame in frames.items():
        for _ in range(outstanding):
            client.send(frame)
    fleet.run(on_texts, window.over)
    return window.result


def stored(fleet: Fleet, window: Window, *, outstanding: int) -> dict[str, float]:
    """Everybody sends messages to be stored; the next goes when one is acked. Acks are counted."""
    run_id = f"{time.time_ns():x}"
    text = "@" + "x" * (TEXT_SIZE - 1)
    number = 0

    def send(client: Client) -> None:
        nonlocal number
        number += 1
        client.send(client_frame(fleet.dialect.say(client.seat, text, f"~{run_id}-{number}")))

    def on_texts(client: Client, texts: list[bytes]) -> None:
        for text in texts:
            acked = text.count(ACK_MARK)
            window.count += acked
            for _ in range(acked):
                send(client)

    for _ in range(outstanding):
        for client in fleet.clients:
            send(client)
    fleet.run(on_texts, window.over)
    return window.result


def latency(fleet: Fleet, window: Window, *, rate: float) -> dict[str, float]:
    """One client sends ``rate`` messages per second, whatever comes back; how long each delivery took."""
    room = fleet.rooms[0]
    sender = room[0]
    sent: list[float] = []
    taken: list[float] = []
    begin = time.perf_counter()

    def on_texts(client: Client, texts: list[bytes]) -> None:
        now = time.perf_counter()
        for text in texts:
            position = text.find(MARK)
            while position >= 0:
                window.count += 1
                if window.counting:
                    taken.append(now - sent[int(text[position + 1 : position + 8])])
                position = text.find(MARK, position + 1)

    def tick() -> bool:
        now = time.perf_counter()
        while now >= begin + len(sent) / rate:
            text = f"@{len(sent):07d}".ljust(TEXT_SIZE, "x")
            # What waited for this loop counts as well: the time is the one at which it should have been sent.
            sent.append(begin + len(sent) / rate)
            sender.send(client_frame(fleet.dialect.say(sender.seat, text, "")))
        return window.over()

    fleet.run(on_texts, tick, timeout=0.001)
    taken.sort()
    if not taken:
        raise RuntimeError("nothing was delivered")
    return {
        **window.result,
        "p50": taken[len(taken) // 2] * 1000,
        "p99": taken[len(taken) * 99 // 100] * 1000,
    }


LOADS: dict[str, Callable[..., dict[str, float]]] = {
    "one_sender": one_sender,
    "everybody": everybody,
    "stored": stored,
    "latency": latency,
}


def seats(rooms: list[dict[str, Any]]) -> list[list[Seat]]:
    """The seats of a specification."""
    return [[Seat(room["room"], token) for token in room["tokens"]] for room in rooms]
