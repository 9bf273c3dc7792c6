"""Who belongs to a room: two people, or whoever the signed membership log of a group says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mana_e2ee.client.contents import Json, b64, control, unb64
from mana_e2ee.client.context import Context
from mana_e2ee.client.controls import Controls
from mana_e2ee.client.directory import Directory, Recipient
from mana_e2ee.client.errors import InvalidContent, UnknownMember
from mana_e2ee.core import (
    Address,
    DeviceRecord,
    E2EEError,
    InvalidSignature,
    MembershipEntry,
    MembershipLog,
    NotAMember,
)
from mana_e2ee.core.membership import ADD, REMOVE

DIRECT = "direct"


class Groups:
    """Rooms and their members."""

    def __init__(self, context: Context, directory: Directory, controls: Controls) -> None:
        self._context = context
        self._directory = directory
        self._controls = controls
        self._logs: dict[str, MembershipLog] = {}

    # -- Rooms -------------------------------------------------------------------------------------------------------

    async def room(self, room_id: str) -> Json:
        """``type`` and, of a direct room, ``peer``; what was learnt first stays."""
        known = self._context.journal.fact(f"room/{room_id}")
        if known is None:
            found = await self._context.mana.rest.get(f"rooms/{room_id}")
            known = {"type": found["room_type"]}
            if found["room_type"] == DIRECT:
                own = self._context.address.user
                known["peer"] = next((one for one in found["members"] if one != own), own)
            self._context.journal.keep(f"room/{room_id}", known)
        return dict(known)

    async def direct(self, user_id: str) -> str:
        """The id of the direct room with a user, made if need be."""
        found = await self._context.mana.rest.post("rooms", room_type=DIRECT, members=[user_id])
        room_id = str(found["id"])
        known = await self.room(room_id)
        if known != {**known, "type": DIRECT, "peer": user_id}:
            raise UnknownMember(room_id, [str(known.get("peer"))])
        return room_id

    def is_encrypted(self, room_id: str) -> bool:
        """Whether anything encrypted was ever sent or accepted in the room."""
        return bool(self._context.journal.fact(f"encrypted/{room_id}", False))

    async def members(self, room_id: str, recipients: Sequence[Recipient]) -> MembershipLog:
        """Checks those whom the server names, and gives the members that count.

        Founds the log of a group that has none; appends that somebody is gone. Raises ``UnknownMember`` or
        ``NotAMember``.
        """
        named = {one.user_id for one in recipients}
        known = await self.room(room_id)
        if known["type"] == DIRECT:
            log = self._pair(room_id, known["peer"])
        else:
            found = self.log(room_id)
            if found is None:
                found = await self._found(room_id)
            log = found
        if self._context.address.user not in log.members:
            raise NotAMember("we were removed from this group")
        if named - log.members:
            self._context.notify("unknown_member", room_id=room_id, users=sorted(named - log.members))
            raise UnknownMember(room_id, named - log.members)
        if known["type"] != DIRECT and log.members - named:
            gone = log.members - await self._members_at_server(room_id)
            if gone:
                await self._change(room_id, remove=sorted(gone))
                return self._need_log(room_id)
        return log

    def group(self, room_id: str, known: Json) -> MembershipLog | None:
        """The members of a room as this device knows them; of a group without a log ``None``."""
        return self._pair(room_id, known["peer"]) if known["type"] == DIRECT else self.log(room_id)

    def _pair(self, room_id: str, peer: str) -> MembershipLog:
        log = MembershipLog(room_id)
        log.members = {self._context.address.user, peer}
        return log

    # -- The log -----------------------------------------------------------------------------------------------------

    def log(self, room_id: str) -> MembershipLog | None:
        """The membership log of a group, as far as it was accepted."""
        if room_id not in self._logs:
            stored = self._context.journal.fact(f"log/{room_id}")
            if stored is None:
                return None
            self._logs[room_id] = replayed(room_id, *unpacked(stored))
        return self._logs[room_id]

    def _need_log(self, room_id: str) -> MembershipLog:
        log = self.log(room_id)
        assert log is not None
        return log

    def position(self, room_id: str) -> Json | None:
        """The ``log`` of a content: the last entry that is known."""
        log = self.log(room_id)
        return None if log is None else {"sequence": log.epoch, "hash": b64(log.entries[-1].hash())}

    def is_behind(self, room_id: str, position: Json) -> bool:
        """Whether a sender knows another log, or one that goes further."""
        log = self.log(room_id)
        sequence = position["sequence"]
        if log is None or sequence > log.epoch:
            return True
        return bool(sequence < 1) or log.entries[sequence - 1].hash() != unb64(position["hash"])

    async def _found(self, room_id: str) -> MembershipLog:
        own = self._context.address.user
        log = MembershipLog(room_id)
        log.propose(self._context.store, add=own)
        for user_id in sorted(await self._members_at_server(room_id) - {own}):
            log.propose(self._context.store, add=user_id)
        self._save(room_id, log, [self._context.device.record])
        await self.share(room_id)
        return log

    async def _change(self, room_id: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        log = self._need_log(room_id)
        for user_id in add:
            if user_id not in log.members:
                log.propose(self._context.store, add=user_id)
        for user_id in remove:
            if user_id in log.members:
                log.propose(self._context.store, remove=user_id)
        self._save(room_id, log, [*self._records(room_id), self._context.device.record])
        await self.share(room_id)

    async def add(self, room_id: str, user_id: str) -> None:
        """Brings somebody into a group, at the server and in the log."""
        await self._context.mana.rest.post(f"rooms/{room_id}/members", user_ids=[user_id])
        await self.admit(room_id, user_id)

    async def admit(self, room_id: str, user_id: str) -> None:
        """Lets somebody in who is in the room already, according to the server."""
        self._directory.forget_rooms([room_id])
        if self.log(room_id) is None:
            await self._found(room_id)
        await self._change(room_id, add=[user_id])

    async def remove(self, room_id: str, user_id: str) -> None:
        """Takes somebody out of a group, at the server and in the log."""
        await self._context.mana.rest.delete(f"rooms/{room_id}/members/{user_id}")
        self._directory.forget_rooms([room_id])
        if self.log(room_id) is not None:
            await self._change(room_id, remove=[user_id])

    async def share(self, room_id: str, to: Iterable[Address] | None = None) -> None:
        """Sends the log to devices; without names to all in the room that it lets in."""
        log = self.log(room_id)
        if log is None:
            return
        if to is None:
            recipients = await self._directory.recipients(room_id)
            to = [Address(one.user_id, device) for one in recipients for device in one.device_ids]
        entries = [b64(entry.to_bytes()) for entry in log.entries]
        records = [b64(record.to_bytes()) for record in self._records(room_id)]
        plaintext = control("log", room=room_id, entries=entries, records=records)
        await self._controls.send(plaintext, [one for one in to if one.user in log.members], room_id=room_id)

    async def receive(self, room_id: str, sender: Address, plaintext: Json) -> bool:
        """Takes a log that ``sender`` gives, if it may; whether it changed ours. Raises ``InvalidContent``."""
        entries, records = unpacked(plaintext)
        own, mine = self._context.address.user, self.log(room_id)
        try:
            theirs = replayed(room_id, entries, records)
        except E2EEError as error:
            raise InvalidContent(f"the membership log does not hold: {error}") from None
        if mine is None:
            if not {sender.user, own} <= theirs.members:
                raise InvalidContent("the membership log is of others")
            self._save(room_id, theirs, records)
            return True
        if sender.user not in mine.members:
            raise InvalidContent("the membership log comes from somebody who is not a member")
        common = common_length(mine.entries, entries)
        if common == len(entries):
            return False
        if common < len(mine.entries) and not wins(entries[common], mine.entries[common]):
            return False
        await self._check_actors(room_id, entries[common:], records)
        lost = [entry for entry in mine.entries[common:] if entry.actor == self._context.address]
        self._save(room_id, theirs, [*self._records(room_id), *records])
        again = [entry for entry in lost if (entry.subject in theirs.members) is (entry.action == REMOVE)]
        if again and own in theirs.members:
            await self._change(
                room_id,
                add=[entry.subject for entry in again if entry.action == ADD],
                remove=[entry.subject for entry in again if entry.action == REMOVE and entry.subject != own],
            )
        return True

    async def _check_actors(
        self, room_id: str, entries: Iterable[MembershipEntry], records: Iterable[DeviceRecord]
    ) -> None:
        """New entries count only if their makers are devices that their users vouch for now."""
        before = self._records(room_id)
        for entry in entries:
            record = record_of(entry, records)
            if record in before:
                continue
            await self._directory.refresh(entry.actor.user)
            current = self._directory.current(entry.actor.user)
            if current is None or record not in current.devices:
                raise InvalidContent("an entry of the membership log is of a device that nobody vouches for")

    async def _members_at_server(self, room_id: str) -> set[str]:
        found: set[str] = set()
        path: str | None = f"rooms/{room_id}/members"
        query: dict[str, Any] = {}
        while path is not None:
            page = await self._context.mana.rest.get(path, **query)
            found |= {one["user_id"] for one in page["results"]}
            query = dict(_query(page["next"]))
            path = path if query else None
        return found

    def restore(self, room_id: str, stored: Json) -> None:
        """Takes a log that a device of our own has had, where there is none yet. Raises ``InvalidContent``."""
        if self.log(room_id) is None:
            entries, records = unpacked(stored)
            try:
                self._save(room_id, replayed(room_id, entries, records), records)
            except E2EEError as error:
                raise InvalidContent(f"the membership log does not hold: {error}") from None

    def _records(self, room_id: str) -> list[DeviceRecord]:
        stored = self._context.journal.fact(f"log/{room_id}")
        return [] if stored is None else unpacked(stored)[1]

    def _save(self, room_id: str, log: MembershipLog, records: Iterable[DeviceRecord]) -> None:
        needed: list[str] = []
        for entry in log.entries:
            data = b64(record_of(entry, records).to_bytes())
            if data not in needed:
                needed.append(data)
        entries = [b64(entry.to_bytes()) for entry in log.entries]
        self._context.journal.keep(f"log/{room_id}", {"entries": entries, "records": needed})
        self._logs[room_id] = log
        self._context.notify("group_changed", room_id=room_id)


def unpacked(plaintext: Json) -> tuple[list[MembershipEntry], list[DeviceRecord]]:
    """Entries and records of a ``log``. Raises ``InvalidContent``."""
    try:
        entries = [MembershipEntry.from_bytes(unb64(one)) for one in plaintext["entries"]]
        records = [DeviceRecord.from_bytes(unb64(one)) for one in plaintext["records"]]
    except (E2EEError, KeyError, TypeError) as error:
        raise InvalidContent(f"no membership log: {error}") from None
    if not entries:
        raise InvalidContent("an empty membership log")
    return entries, records


def record_of(entry: MembershipEntry, records: Iterable[DeviceRecord]) -> DeviceRecord:
    """The record that has signed an entry; one device id may have had several. Raises ``InvalidSignature``."""
    from mana_e2ee.core import primitives

    for record in records:
        if record.address == entry.actor:
            try:
                record.verify()
                primitives.verify(record.signing_key, entry.signature, entry.signed())
            except InvalidSignature:
                continue
            return record
    raise InvalidSignature("an entry is not signed by the device that it names")


def replayed(room_id: str, entries: Iterable[MembershipEntry], records: Sequence[DeviceRecord]) -> MembershipLog:
    """A log, every entry of it checked."""
    return MembershipLog.replay(room_id, ((entry, record_of(entry, records)) for entry in entries))


def common_length(mine: Sequence[MembershipEntry], theirs: Sequence[MembershipEntry]) -> int:
    """How many entries two logs begin with in common."""
    length = 0
    for one, other in zip(mine, theirs, strict=False):
        if one.hash() != other.hash():
            break
        length += 1
    return length


def wins(new: MembershipEntry, old: MembershipEntry) -> bool:
    """Whether an entry takes the place of another after the same predecessor; the same on every device."""
    new_removes = new.action == REMOVE and new.subject == old.actor.user
    old_removes = old.action == REMOVE and old.subject == new.actor.user
    if new_removes != old_removes:
        return new_removes
    return (new.created, new.hash()) < (old.created, old.hash())


def _query(link: str | None) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl, urlsplit

    return parse_qsl(urlsplit(link).query) if link else []
