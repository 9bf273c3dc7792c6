"""What one turn of the event loop brings to one room, encoded once for all its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mana.realtime.announcements import Announcement
from mana.realtime.session import arrays
from mana.realtime.transport import text_frame

if TYPE_CHECKING:
    from mana.realtime.session import Session


class Tick:
    """The announcements of a room (or for a user) between two flushes, in order.

    Nearly all sessions get the same text, made once; the sending session and the sender's other devices get their own.
    """

    __slots__ = (
        "_announcements",
        "_arrays",
        "_common_packed",
        "_common_texts",
        "_frames",
        "_origins",
        "_per_device",
        "_senders",
        "size",
    )

    def __init__(self, announcements: list[Announcement]) -> None:
        self._announcements = announcements
        self._frames = [announcement.frame for announcement in announcements]
        self._origins = {a.origin for a in announcements if a.origin}
        self._senders = {a.sender for a in announcements if a.ack_id}
        self._per_device = any(a.payloads for a in announcements)
        self._arrays: list[str] | None = None
        #: What the last session got that got nothing of its own.
        self._common_texts: list[str] | None = None
        self._common_packed: list[bytes] = []
        self.size = sum(map(len, self._frames))
        if self._per_device:
            self.size += sum(max(map(len, a.payloads.values()), default=0) for a in announcements)

    def texts(self, session: Session) -> list[str]:
        """The WebSocket messages for a session that gets nothing else in this flush."""
        frames = self.frames(session)
        if not session.arrays:
            return frames
        if frames is not self._frames:
            return arrays(frames) if frames else []
        if self._arrays is None:
            self._arrays = arrays(frames)
        return self._arrays

    def packed(self, session: Session) -> list[bytes]:
        """``texts`` as they go to the socket."""
        texts = self.texts(session)
        if texts is not self._common_texts:
            if texts is not self._arrays and texts is not self._frames:
                return [text_frame(text) for text in texts]
            self._common_texts = texts
            self._common_packed = [text_frame(text) for text in texts]
        return self._common_packed

    def frames(self, session: Session) -> list[str]:
        """The frames for a session; not to be changed."""
        if session.id not in self._origins and session.user_id not in self._senders and not self._per_device:
            return self._frames
        return [frame for _, frame in self.sequenced_frames(session)]

    def sequenced_frames(self, session: Session) -> list[tuple[int, str]]:
        """The frames for a session, each with its sequence (0 for what has none)."""
        return [
            (a.sequence, a.frame_for(session.user_id, session.device_id))
            for a in self._announcements
            if a.origin != session.id
        ]
