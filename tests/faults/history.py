"""What each client of a run sent, was acked and received, and whether that fits the database at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass
class ClientHistory:
    """One client's side. Events are frames of type ``message``; each list is in the order of happening."""

    user_id: str
    #: ack_id -> payload of everything it tried to send
    sent: dict[str, Any] = field(default_factory=dict)
    #: ack_id -> every ack that it was given
    acked: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: events that it took up, less those whose sequence it had handled; of its own it may know by the ack only
    handled: list[dict[str, Any]] = field(default_factory=list)
    #: sequences that arrived live on each of its connections
    live: list[list[int]] = field(default_factory=list)


def tally(clients: list[ClientHistory], stored: list[dict[str, Any]]) -> tuple[int, int]:
    """How often a message was lost (acked and not stored, or stored and not received) and doubled."""
    messages = [event for event in stored if event["kind"] == "message"]
    counts = Counter((event["sender"], event["ack_id"]) for event in messages)
    everything = {event["sequence"] for event in messages}
    lost, doubled = 0, sum(count - 1 for count in counts.values())
    for client in clients:
        own = {ack["sequence"] for acks in client.acked.values() for ack in acks}
        handled = [event["sequence"] for event in client.handled]
        lost += sum((client.user_id, ack_id) not in counts for ack_id in client.acked)
        lost += len(everything - own - set(handled))
        doubled += len(handled) - len(set(handled))
    return lost, doubled


def problems(clients: list[ClientHistory], stored: list[dict[str, Any]]) -> list[str]:
    """What was lost, doubled, invented or out of order. ``stored`` are the events that all of the clients may see."""
    found: list[str] = []
    messages = [event for event in stored if event["kind"] == "message"]
    by_ack = {(event["sender"], event["ack_id"]): event for event in messages}
    for key, count in Counter((event["sender"], event["ack_id"]) for event in messages).items():
        if count > 1:
            found.append(f"{key} is stored {count} times")
    known = {(client.user_id, ack_id) for client in clients for ack_id in client.sent}
    found += [f"{key} is stored but nobody sent it" for key in by_ack.keys() - known]
    for client in clients:
        found += [f"client {client.user_id}: {text}" for text in _of_client(client, by_ack, messages)]
    return found


def _of_client(client: ClientHistory, by_ack: dict[Any, dict[str, Any]], messages: list[dict[str, Any]]) -> list[str]:
    found = [f"no ack for {ack_id}" for ack_id in client.sent.keys() - client.acked.keys()]
    for ack_id, acks in client.acked.items():
        event = by_ack.get((client.user_id, ack_id))
        if event is None:
            found.append(f"{ack_id} was acked and is not stored")
        elif event["payload"] != client.sent[ack_id]:
            found.append(f"{ack_id} is stored as {event['payload']!r}")
        elif any((ack["sequence"], ack["index"]) != (event["sequence"], event["index"]) for ack in acks):
            found.append(f"{ack_id} is stored at {event['sequence']} and was acked as {acks}")
    handled = [event["sequence"] for event in client.handled]
    if handled != sorted(handled):
        found.append("events were handled out of order")
    found += [f"event {number} was handled twice" for number, count in Counter(handled).items() if count > 1]
    acked = {ack["sequence"] for acks in client.acked.values() for ack in acks}
    missed = {event["sequence"] for event in messages} - acked - set(handled)
    if missed:
        found.append(f"events {sorted(missed)[:10]} and so on ({len(missed)}) never arrived")
    payloads = {event["sequence"]: event["payload"] for event in messages}
    found += [
        f"event {event['sequence']} arrived as {event['payload']!r}"
        for event in client.handled
        if payloads.get(event["sequence"]) != event["payload"]
    ]
    for number, live in enumerate(client.live):
        if any(earlier >= later for earlier, later in pairwise(live)):
            found.append(f"connection {number} brought events twice or out of order")
    return found
