"""What a node does about hints that credentials may have ended: see ``revocation``.

It asks the accounts whether what each session was opened with still holds. A hint by itself closes nobody (but a
session that it names), and may come late, twice or for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from mana.conf import settings
from mana.protocol import CloseCode, ErrorCode
from mana.realtime import credentials, stores
from mana.realtime.announcements import Announcement
from mana.realtime.credentials import Credential

if TYPE_CHECKING:
    from mana.realtime.hub import Hub
    from mana.realtime.session import Session

logger = logging.getLogger("mana.revocation")

#: Seconds for which nodes look at a hint. A node that could not read for half as long looks at everybody.
WINDOW = 60.0
#: How often a node acts on a hint that it reads. The second time catches what was committed just after its hint, as
#: Django's own logout does it.
LOOKS = 2
#: Sessions that are verified by one call.
CHUNK = 500
#: Looking for disabled users takes at most this share of a database thread's time.
SWEEP_SHARE = 0.02


class Revoker:
    """Verifies the sessions of a hub when a hint says so."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._looks: dict[int, int] = {}
        self._hinted: dict[str, float] = {}
        self._pending: set[str] = set()
        self._verifying: asyncio.Task[None] | None = None
        self._read_at = hub.loop.time()
        self._sweep_at = self._forget_at = 0.0
        self.closed = 0

    def take(self, hint: Announcement) -> None:
        """A hint came by."""
        assert hint.revoked is not None
        self._take(hint.users, hint.revoked.session_id)

    def opened(self, session: Session) -> None:
        """A session is open. Its credentials were read before; a hint may have come by meanwhile."""
        if session.user_id in self._hinted:
            self._verify_soon([session.user_id])

    async def run(self) -> None:
        """Reads hints from the database until cancelled."""
        while True:
            await asyncio.sleep(settings.REVOCATION_INTERVAL)
            try:
                await self._read()
                await self._sweep()
            except Exception as error:
                logger.warning("Revocations could not be read, another try follows: %s", error)

    async def _read(self) -> None:
        asked_at = self._hub.loop.time()
        hints = await self._hub.database.run(stores.recent_revocations, WINDOW)
        for hint in hints:
            looks = self._looks.get(hint.pk, 0)
            if looks < LOOKS:
                self._looks[hint.pk] = looks + 1
                self._take([hint.user_id] if hint.user_id else [], hint.session_id)
        known = {hint.pk for hint in hints}
        self._looks = {pk: looks for pk, looks in self._looks.items() if pk in known}
        self._hinted = {user: at for user, at in self._hinted.items() if at > asked_at - WINDOW}
        if asked_at - self._read_at > WINDOW / 2:
            self._verify_soon(list(self._hub.users))
        elif self._pending:
            self._verify_soon(())
        self._read_at = asked_at
        if asked_at >= self._forget_at:
            self._forget_at = asked_at + WINDOW
            await self._hub.database.run(stores.forget_revocations, 2 * WINDOW)

    async def _sweep(self) -> None:
        """Looks for users who were disabled by an UPDATE, which tells nobody."""
        now = self._hub.loop.time()
        if now < self._sweep_at:
            return
        disabled = await self._hub.database.run(stores.sessions_of_disabled_users, self._hub.node_id)
        took = self._hub.loop.time() - now
        self._sweep_at = now + took / SWEEP_SHARE
        self._verify_soon({session.user_id for key in disabled if (session := self._hub.sessions.get(key)) is not None})

    def _take(self, user_ids: Iterable[str], session_id: str) -> None:
        session = self._hub.sessions.get(session_id)
        if session is not None:
            self._close(session, CloseCode.SIGNED_OUT)
        now = self._hub.loop.time()
        for user_id in user_ids:
            self._hinted[user_id] = now
        self._verify_soon([user_id for user_id in user_ids if user_id in self._hub.users])

    def _verify_soon(self, user_ids: Iterable[str]) -> None:
        self._pending.update(user_ids)
        if self._pending and (self._verifying is None or self._verifying.done()):
            self._verifying = self._hub.loop.create_task(self._verify(), name="mana-verify")

    async def _verify(self) -> None:
        while self._pending:
            chosen = list(islice(self._pending, CHUNK))
            self._pending.difference_update(chosen)
            sessions = [session for user_id in chosen for session in self._hub.users.get(user_id, ())]
            try:
                for start in range(0, len(sessions), CHUNK):
                    await self._verify_sessions(sessions[start : start + CHUNK])
            except Exception as error:
                logger.warning("%d users could not be verified, another try follows: %s", len(chosen), error)
                self._pending.update(chosen)
                return  # the next reading of hints begins again

    async def _verify_sessions(self, sessions: list[Session]) -> None:
        # A device is known once the session has been let in.
        asked = [
            Credential(session.identity, session.named_device if session.latecomings is None else None)
            for session in sessions
        ]
        for position, code in (await self._hub.database.run(credentials.ended, asked)).items():
            session = sessions[position]
            if session.identity is asked[position].identity:  # and not renewed meanwhile
                self._close(session, code)

    def _close(self, session: Session, code: int) -> None:
        if not session.closing:
            self.closed += 1
            session.close(code, ErrorCode.REVOKED)
