"""Who is online. Presence is a lease: a node that stops renewing it takes its users offline.

Sockets come and go in bursts, so rows are written in bulk by one task, and a user who is back within
``PRESENCE_GRACE`` was never away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from msgspec import structs

from mana.conf import settings
from mana.protocol import PresenceEvent, encode
from mana.realtime import source, stores
from mana.realtime.announcements import Announcement
from mana.realtime.models import Session as SessionRow
from mana.realtime.policies import EVERYBODY, Audience, presence_policy
from mana.realtime.wire import timestamp

if TYPE_CHECKING:
    from mana.realtime.hub import Hub
    from mana.realtime.session import Session

logger = logging.getLogger("mana.presence")

#: Seconds in which comings and goings are gathered before they are written.
GATHER = 0.1


class Presence:
    """Writes a hub's sessions to the database and announces who came and went."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._opened: dict[str, SessionRow] = {}
        self._closed: dict[str, tuple[float, Any]] = {}
        #: Whose coming is stored and not yet announced, and those who may be gone and have not been looked at.
        self._arrived: set[Any] = set()
        self._left: set[Any] = set()
        self._wake = asyncio.Event()
        self._registered = False

    def came(self, session: Session) -> None:
        """A session opened."""
        self._opened[session.id] = SessionRow(
            id=session.id,
            node_id=self._hub.node_id,
            user_id=session.identity.user_pk,
            device_id=session.device_id,
            connected_at=timezone.now(),
        )
        self._wake.set()

    def went(self, session: Session) -> None:
        """A session closed."""
        due = self._hub.loop.time() + settings.PRESENCE_GRACE
        self._closed[session.id] = (due, session.identity.user_pk)
        self._wake.set()

    async def run(self) -> None:
        """Serves until cancelled."""
        renew_at = 0.0
        while True:
            now = self._hub.loop.time()
            try:
                if now >= renew_at:
                    await self._renew()
                    renew_at = now + settings.PRESENCE_LEASE / 4
                await self._look()
            except Exception as error:
                logger.warning("Presence could not be written, another try follows: %s", error)
                await asyncio.sleep(1)
                continue
            try:
                async with asyncio.timeout(self._pause(renew_at)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
            await asyncio.sleep(GATHER)

    async def _look(self) -> None:
        await self._store_opened()
        await self._forget_closed()
        await self._announce_left()
        await self._announce_arrived()

    async def stop(self) -> None:
        """Gives this node's lease up. Others bury it after ``PRESENCE_GRACE``, and with it those who did not come
        back."""
        try:
            await self._hub.database.run(stores.retire_node, self._hub.node_id)
        except Exception as error:
            logger.warning("The node was not signed off: %s", error)

    def _pause(self, renew_at: float) -> float:
        due = min((due for due, _ in self._closed.values()), default=renew_at)
        return max(GATHER, min(due, renew_at) - self._hub.loop.time())

    async def _renew(self) -> None:
        run = self._hub.database.run
        if not self._registered:
            self._left |= await run(stores.begin_node, self._hub.node_id)
        elif not await run(stores.renew_node, self._hub.node_id):
            for session in self._hub.sessions.values():
                if session.id not in self._opened:
                    self.came(session)
        self._registered = True
        for node_id in await run(stores.dead_nodes):
            self._left |= await run(stores.bury_node, node_id)

    async def _store_opened(self) -> None:
        opened = dict(self._opened)
        if not opened:
            return
        run, users = self._hub.database.run, {row.user_id for row in opened.values()}
        # Asked on both sides of the writing: before it, another node may be just about to say that they are gone; after
        # it, of two that store at once each finds the other's.
        online_before = await run(stores.online_users, users, except_sessions=list(opened))
        await run(stores.add_sessions, list(opened.values()))
        for session_id in opened:
            self._opened.pop(session_id, None)
        self._arrived |= users - online_before
        if online_before:
            self._arrived |= online_before - await run(stores.online_users, online_before, except_sessions=list(opened))

    async def _forget_closed(self) -> None:
        now = self._hub.loop.time()
        due = {key: value for key, value in self._closed.items() if value[0] <= now}
        if not due:
            return
        await self._hub.database.run(stores.remove_sessions, list(due))
        for session_id in due:
            del self._closed[session_id]
        self._left |= {pk for _, pk in due.values()}

    async def _announce_left(self) -> None:
        users, run = set(self._left), self._hub.database.run
        if not users:
            return
        gone = users - await run(stores.online_users, users)
        if gone:
            at = await run(stores.mark_last_seen, gone)
            await self._announce(gone, online=False, at=at)
            # Who came at another node meanwhile was announced there before this.
            self._arrived |= await run(stores.online_users, gone)
        self._left -= users

    async def _announce_arrived(self) -> None:
        users = set(self._arrived)
        await self._announce(users, online=True)
        self._arrived -= users

    async def _announce(self, users: set[Any], *, online: bool, at: datetime | None = None) -> None:
        if users:
            self._hub.announce(await self._hub.database.run(announcements_of, list(users), online=online, at=at))


def announcements_of(
    user_pks: list[Any], *, online: bool, at: datetime | None = None, audience: Audience | None = None
) -> list[Announcement]:
    """Presence frames of users for those who may see them; with ``audience`` for these, whatever they may see.

    One for each room where it is announced, and one without a room for those who follow the user and are in none of
    these rooms.
    """
    rules = presence_policy()
    audiences = rules.audiences(user_pks) if audience is None else {}
    followers = rules.followers(user_pks)
    announcements = []
    for presence in source.get().presences(user_pks):
        seen_by = audience or audiences.get(presence.user_pk, EVERYBODY)
        if seen_by.only is not None and not seen_by.only:
            continue
        frame = PresenceEvent(
            user_id=presence.user_id,
            username=presence.username,
            online=online,
            last_seen=timestamp(at) if at else None,
        )
        for room in presence.rooms:
            text = encode(structs.replace(frame, room_id=room)).decode()
            announcements.append(Announcement(0, room, text, users=seen_by.only or [], hidden_from=seen_by.hidden_from))
        following = _following(followers.get(presence.user_pk, ()), seen_by)
        if following:
            announcements.append(Announcement(0, "", encode(frame).decode(), users=following, but_rooms=presence.rooms))
    return announcements


def _following(followers: Collection[str], seen_by: Audience) -> list[str]:
    if seen_by.only is not None and seen_by.anywhere:
        return seen_by.only
    allowed = set(followers).difference(seen_by.hidden_from)
    return sorted(allowed if seen_by.only is None else allowed.intersection(seen_by.only))


def tell_of(user_pk: Any, audience: Audience | None = None, *, hidden: bool = False) -> None:
    """Tells those who may see it, or ``audience``, whether a user is online; with ``hidden``, that they are not.

    For when it changes who may see whom. Call it after the commit.
    """
    from mana.realtime.announce import announce

    online = not hidden and user_pk in stores.online_users([user_pk])
    announce(announcements_of([user_pk], online=online, audience=audience))
