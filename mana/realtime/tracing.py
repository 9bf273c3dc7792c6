"""Where tracing is told what happens. Who traces registers a ``Tracer``; without one it costs a look at ``tracer``.

A socket is no request: the handshake is one span, each frame begins a trace of its own that is linked to it, and the
announcement of what a frame caused carries the trace to the nodes that deliver it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mana.protocol import ClientFrame
    from mana.realtime.announcements import Announcement
    from mana.realtime.session import Session


class ConnectionTrace(Protocol):
    """One socket, as long as it is open."""

    def opened(self, session: Session) -> None:
        """The handshake is over, and the session was let in."""

    def refused(self, code: str) -> None:
        """The handshake is over, and the client was turned away."""

    async def handle(
        self, dispatch: Callable[[Session, ClientFrame], Awaitable[None]], session: Session, frame: ClientFrame
    ) -> None:
        """Awaits ``dispatch(session, frame)``."""


class CommitTrace(Protocol):
    """A transaction of the writer that stores messages of traced frames."""

    def done(self, results: Sequence[Any], announcements: Sequence[Announcement]) -> None:
        """It is over; ``results`` are those of the batch, in its order, and the acks are on their way."""


class Tracer(Protocol):
    """What is told of what happens. Called in the event loop; it must not block and not raise."""

    def connecting(self) -> ConnectionTrace:
        """A handshake begins."""

    def taken_over(self) -> Any:
        """The frame that is being handled now is answered later, by whoever gets this; ``None`` if it is not traced."""

    def refusing(self, code: str) -> None:
        """The frame that is being handled now is answered with an error."""

    def committing(self, frames: Sequence[Any]) -> CommitTrace | None:
        """Messages are about to be committed; ``frames`` are what ``taken_over`` gave for each."""

    def stamp(self, announcements: Sequence[Announcement]) -> None:
        """Announcements leave code that may be traced."""

    def delivering(self, announcement: Announcement, receivers: int) -> None:
        """A stamped announcement is queued for sessions of this process."""

    def delivered(self) -> None:
        """What was queued in this turn of the event loop was handed to the sockets."""


tracer: Tracer | None = None
