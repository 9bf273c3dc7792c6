"""Frames that must arrive: each is sent again, with its ``ack_id``, until the server has answered it. No I/O.

Sending one twice is harmless, since the server takes each ``ack_id`` once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mana.client.errors import Refused
from mana.client.state import State

WINDOW = 32  # frames under way at once, unless the server allows fewer
PAUSE = 1.0  # seconds to wait when the server asks for patience without saying how long
TRIES = 5  # refusals that name no time to wait, until a frame counts as failed

Frame = dict[str, Any]


class Entry:
    """A frame on its way."""

    def __init__(self, frame: Frame, answer: asyncio.Future[Frame]) -> None:
        self.frame = frame
        self.answer = answer
        self.under_way = False
        self.tries = 0


class Outbox:
    """``send`` hands a frame to the connection and says whether there was one."""

    def __init__(self, state: State, send: Callable[[Frame], bool]) -> None:
        self._state = state
        self._send = send
        self._entries: dict[str, Entry] = {}
        self._online = False
        self._window = WINDOW
        self._pause: asyncio.TimerHandle | None = None

    def adopt(self) -> None:
        """Takes over what a process before this one has not got an ack for."""
        for ack_id, frame in self._state.unsent.items():
            if ack_id not in self._entries:
                self._entries[ack_id] = _entry(frame)

    def add(self, frame: Frame) -> asyncio.Future[Frame]:
        """Queues a frame with an ``ack_id``; resolves with its ack, or fails with ``Refused``."""
        ack_id = frame["ack_id"]
        if ack_id in self._entries:
            return self._entries[ack_id].answer
        entry = self._entries[ack_id] = _entry(frame)
        self._state.unsent[ack_id] = frame
        self._state.save()
        self.pump()
        return entry.answer

    def __contains__(self, ack_id: str) -> bool:
        return ack_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def online(self, window: int | None) -> None:
        """Frames may be sent, so many at once."""
        self._online = True
        self._window = max(1, min(window or WINDOW, WINDOW))
        self.pump()

    def offline(self) -> None:
        """What was under way has to be sent again."""
        self._online = False
        for entry in self._entries.values():
            entry.under_way = False

    def pump(self) -> None:
        """Sends what waits, in order, as far as the window allows."""
        if not self._online or self._pause is not None:
            return
        free = self._window - sum(entry.under_way for entry in self._entries.values())
        for entry in self._entries.values():
            if free <= 0:
                return
            if not entry.under_way:
                if not self._send(entry.frame):
                    return
                entry.under_way = True
                free -= 1

    def acked(self, frame: Frame) -> bool:
        """Whether an ack was for one of these."""
        entry = self._entries.get(frame.get("ack_id", ""))
        if entry is None:
            return False
        self._forget(entry)
        if not entry.answer.done():
            entry.answer.set_result(frame)
        self.pump()
        return True

    def refused(self, error: Refused, ack_id: str) -> bool:
        """Whether a refusal was for one of these. It is sent again if time alone may help."""
        entry = self._entries.get(ack_id)
        if entry is None:
            return False
        entry.under_way = False
        entry.tries += error.retry_after is None
        if error.is_temporary and entry.tries < TRIES:
            self._wait(error.retry_after if error.retry_after is not None else PAUSE)
            return True
        self._forget(entry)
        if not entry.answer.done():
            entry.answer.set_exception(error)
        self.pump()
        return True

    def abandon(self, error: Exception) -> None:
        """Nothing will be sent any more, by this process."""
        self._online = False
        if self._pause is not None:
            self._pause.cancel()
        for entry in self._entries.values():
            if not entry.answer.done():
                entry.answer.set_exception(error)
        self._entries.clear()

    def _wait(self, seconds: float) -> None:
        if self._pause is None:
            self._pause = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self.pump()

    def _forget(self, entry: Entry) -> None:
        ack_id = entry.frame["ack_id"]
        del self._entries[ack_id]
        self._state.unsent.pop(ack_id, None)
        self._state.save()


def _entry(frame: Frame) -> Entry:
    answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
    # Who sent it may not wait for it, and then nobody wants to read of an exception that nobody took.
    answer.add_done_callback(lambda future: future.cancelled() or future.exception())
    return Entry(frame, answer)
