"""Who is in a group: a chain of entries, each signed by the device that made it and naming the hash of the
one before.

    entry = version u8 || lp(group) || sequence u64 || previous 32 || action u8 || lp(subject user)
            || lp(actor user) || lp(actor device) || created u64 || signature 64
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from . import primitives
from .device import own_identity
from .encoding import Reader, fields, lp, name, u8, u64
from .errors import InvalidMessage, NotAMember
from .limits import VERSION
from .records import Address, DeviceRecord, check_version
from .stores.base import Store
from .tables import clock

MEMBERSHIP_LABEL = b"Mana-E2EE v1 membership"
ADD = 1
REMOVE = 2


@dataclass(frozen=True, slots=True)
class MembershipEntry:
    """`subject` is the user added or removed, `actor` the device that says so."""

    group: str
    sequence: int
    previous: bytes
    action: int
    subject: str
    actor: Address
    created: int
    signature: bytes = b""

    def _body(self) -> bytes:
        return (
            u8(VERSION)
            + lp(name(self.group))
            + u64(self.sequence)
            + self.previous
            + u8(self.action)
            + lp(name(self.subject))
            + self.actor.to_bytes()
            + u64(self.created)
        )

    def signed(self) -> bytes:
        """What the signature covers: lp(label) || lp(all before the signature)."""
        return fields(MEMBERSHIP_LABEL, self._body())

    def hash(self) -> bytes:
        return primitives.sha256(self.signed())

    def to_bytes(self) -> bytes:
        return self._body() + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        check_version(reader.u8())
        entry = cls(
            group=reader.name(),
            sequence=reader.u64(),
            previous=reader.take(32),
            action=reader.u8(),
            subject=reader.name(),
            actor=Address.read(reader),
            created=reader.u64(),
            signature=reader.take(primitives.SIGNATURE_SIZE),
        )
        reader.end()
        return entry


class MembershipLog:
    """The members after the entries accepted so far. The first entry adds its own actor's user.

    Any member may add a user, or remove one; an application with roles checks them before `append`.
    """

    def __init__(self, group: str) -> None:
        name(group)
        self.group = group
        self.entries: list[MembershipEntry] = []
        self.members: set[str] = set()
        self.last_removal = 0

    @classmethod
    def replay(cls, group: str, entries: Iterable[tuple[MembershipEntry, DeviceRecord]]) -> Self:
        """The log rebuilt from its entries, each with the record of the device that must have signed it."""
        log = cls(group)
        for entry, record in entries:
            log.append(entry, record)
        return log

    @property
    def epoch(self) -> int:
        """The sequence of the last entry; 0 when there is none."""
        return len(self.entries)

    def propose(
        self, store: Store, *, add: str | None = None, remove: str | None = None, now: int | None = None
    ) -> MembershipEntry:
        """An entry signed by this device, appended. Name one user to add or to remove."""
        subject = add if remove is None else remove
        if subject is None or (add is not None and remove is not None):
            raise ValueError("name one user, to add or to remove")
        with store.transaction() as tx:
            own = own_identity(tx)
        entry = MembershipEntry(
            group=self.group,
            sequence=self.epoch + 1,
            previous=self.entries[-1].hash() if self.entries else bytes(32),
            action=ADD if remove is None else REMOVE,
            subject=subject,
            actor=own.record.address,
            created=clock(now),
        )
        entry = replace(entry, signature=primitives.sign(own.signing_seed, entry.signed()))
        self.append(entry, own.record)
        return entry

    def append(self, entry: MembershipEntry, record: DeviceRecord) -> None:
        """Accepts the next entry. `record` is the trusted record of its actor.

        Raises InvalidMessage (does not follow), NotAMember (not allowed), InvalidSignature; the log is then
        unchanged.
        """
        previous = self.entries[-1].hash() if self.entries else bytes(32)
        follows = entry.sequence == self.epoch + 1 and entry.previous == previous
        if entry.group != self.group or not follows or entry.actor != record.address:
            raise InvalidMessage("the entry does not follow the log")
        founding = not self.entries and entry.action == ADD and entry.subject == entry.actor.user
        allowed = entry.actor.user in self.members and (
            (entry.action == ADD and entry.subject not in self.members)
            or (entry.action == REMOVE and entry.subject in self.members)
        )
        if not founding and not allowed:
            raise NotAMember(f"{entry.actor} may not do that")
        primitives.verify(record.signing_key, entry.signature, entry.signed())
        self.entries.append(entry)
        if entry.action == ADD:
            self.members.add(entry.subject)
        else:
            self.members.discard(entry.subject)
            self.last_removal = entry.sequence
