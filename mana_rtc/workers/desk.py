"""What a worker knows of nodes: who of its participants is whose, and what each node has not seen yet.

A node that is silent for ``RTC_RESUME_TIMEOUT`` is gone: its people had that long to come back at another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from mana_rtc.workers.messages import Answer, Sender, SfuEvent, Sync, Synced, ToNode
from mana_rtc.workers.streams import Outbox

logger = logging.getLogger("mana.rtc.workers")

#: Answers that are kept for commands that come again.
ANSWERS = 4096
#: Comparisons in a row in which a node must not know somebody who is here, before they are let out.
STRIKES = 3


@dataclass(eq=False)
class Client:
    """A node."""

    sender: Sender
    outbox: Outbox
    heard_at: float
    #: (room, participant) -> comparisons in a row in which the node did not name them.
    strikes: dict[tuple[str, str], int] = field(default_factory=dict)


class Desk:
    """``post`` sends to a node's channel; ``let_out`` is called with the room, id and reason of whom no node knows."""

    def __init__(
        self, worker: str, post: Callable[[str, ToNode], None], let_out: Callable[[str, str, str], None]
    ) -> None:
        self.worker = worker
        self._post = post
        self._let_out = let_out
        self._clients: dict[str, Client] = {}
        self._owners: dict[tuple[str, str], Client] = {}
        self._answers: OrderedDict[str, Answer | None] = OrderedDict()
        self._loop = asyncio.get_running_loop()

    # -- Nodes --------------------------------------------------------------------------------------------------------

    def client(self, sender: Sender) -> Client:
        """The node that sent something."""
        found = self._clients.get(sender.node)
        if found is None:
            found = Client(sender, self._outbox(sender), self._loop.time())
            self._clients[sender.node] = found
        elif found.outbox.stream != sender.stream:  # it had let go of us, or lost too much, and begins anew
            found.outbox = self._outbox(sender)
        found.sender = sender
        found.heard_at = self._loop.time()
        return found

    def _outbox(self, sender: Sender) -> Outbox:
        return Outbox(self.worker, sender.stream, lambda batch: self._to(sender.node, batch))

    def _to(self, node: str, message: ToNode) -> None:
        client = self._clients.get(node)
        if client is not None:
            self._post(client.sender.channel, message)

    def compare(self, sync: Sync) -> None:
        """Takes a node's view of who is here, and tells it who is not."""
        client = self.client(sync.sender)
        client.outbox.seen(sync.seen, self._loop.time())
        named = {(room, one) for room, ones in sync.rooms.items() for one in ones}
        missing = [key for key in named if self._owners.get(key) is not client]
        for key in [key for key, owner in self._owners.items() if owner is client]:
            strikes = client.strikes[key] = 0 if key in named else client.strikes.get(key, 0) + 1
            if strikes >= STRIKES:
                self._let_out(*key, "left")
        self._post(
            client.sender.channel,
            Synced(
                worker=self.worker,
                stream=client.outbox.stream,
                serial=sync.serial,
                missing=missing,
                oldest=client.outbox.oldest,
                newest=client.outbox.newest,
            ),
        )

    def forget_silent(self, timeout: float) -> None:
        """Lets the people of nodes out that were not heard for so long."""
        now = self._loop.time()
        for node, client in list(self._clients.items()):
            if now - client.heard_at >= timeout:
                for key in [key for key, owner in self._owners.items() if owner is client]:
                    self._let_out(*key, "disconnected")
                del self._clients[node]

    # -- Participants -------------------------------------------------------------------------------------------------

    def own(self, room: str, participant: str, client: Client) -> None:
        """From now on a participant is at this node."""
        before = self._owners.get((room, participant))
        if before is not None:
            before.strikes.pop((room, participant), None)
        self._owners[room, participant] = client

    def owns(self, room: str, participant: str, client: Client) -> bool:
        """Whether a participant is at this node."""
        return self._owners.get((room, participant)) is client

    def disown(self, room: str, participant: str) -> None:
        """Somebody is out."""
        owner = self._owners.pop((room, participant), None)
        if owner is not None:
            owner.strikes.pop((room, participant), None)

    def tell(self, event: SfuEvent) -> None:
        """Hands an event to the nodes of those whom it is for; what one turn of the loop brings goes together."""
        by_client: dict[str, tuple[Client, list[str]]] = {}
        for participant in event.to:
            owner = self._owners.get((event.room, participant))
            if owner is not None:
                by_client.setdefault(owner.sender.node, (owner, []))[1].append(participant)
        for client, to in by_client.values():
            outbox = client.outbox
            if outbox.add(msgspec.structs.replace(event, to=to)):
                self._loop.call_soon(self._flush, outbox)

    def _flush(self, outbox: Outbox) -> None:
        outbox.flush(self._loop.time())

    # -- Answers ------------------------------------------------------------------------------------------------------

    def is_new(self, command: str, client: Client) -> bool:
        """Whether a command came for the first time. One that was answered already is answered again."""
        if command in self._answers:
            answer = self._answers[command]
            if answer is not None:
                self._post(client.sender.channel, answer)
            return False
        self._answers[command] = None
        while len(self._answers) > ANSWERS:
            self._answers.popitem(last=False)
        return True

    def answer(self, client: Client, answer: Answer) -> None:
        """Answers a command."""
        self._answers[answer.id] = answer
        self._post(client.sender.channel, answer)
