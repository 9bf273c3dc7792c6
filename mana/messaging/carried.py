"""What messages carry, checked in one go for a batch: whom they mention, and which files they bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from mana.accounts.stores import resolve
from mana.conf import settings
from mana.messaging.drafts import Draft
from mana.messaging.extras import EVERYBODY, extra_json
from mana.messaging.models import Attachment, Membership, Room
from mana.messaging.policies import MessagingPolicy
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import AttachmentInfo


class Carried:
    """The members and files that drafts name. Costs nothing for drafts that name none."""

    def __init__(self, drafts: Sequence[Draft], using: str) -> None:
        self._using = using
        self._taken: set[UUID] = set()
        ids = {one for draft in drafts for one in draft.attachments}
        self._files: Mapping[Any, Attachment] = Attachment.objects.using(using).in_bulk(list(ids)) if ids else {}
        names = {name for draft in drafts for name in draft.mentions} - {EVERYBODY}
        self._people = resolve(names) if names else {}

    def check(self, draft: Draft, room: Room, role: str, rules: MessagingPolicy) -> None:
        """Sets the draft's ``extra_json``. Raises ``ManaError`` for what its sender may not bring or mention."""
        encrypted = draft.sealed is not None
        if not draft.mentions and not draft.attachments:
            draft.extra_json = extra_json([], [], encrypted=encrypted)
            return
        mentions = self._mentions(draft, room, role, rules)
        files = self._attachments(draft)
        draft.extra_json = extra_json(mentions, [attachment_info(one) for one in files], encrypted=encrypted)
        self._taken.update(draft.attachments)

    def _mentions(self, draft: Draft, room: Room, role: str, rules: MessagingPolicy) -> list[str]:
        mentions = list(dict.fromkeys(draft.mentions))
        if len(mentions) > settings.MENTIONS_MAX:
            raise ManaError(ErrorCode.INVALID, f"A message may mention {settings.MENTIONS_MAX} people.")
        if EVERYBODY in mentions:
            rules.may_mention_all(draft.sender, room, role)
        wanted = {name for name in mentions if name != EVERYBODY}
        if wanted:
            members = Membership.objects.using(self._using).filter(
                room_id=room.pk,
                state=Membership.State.JOINED,
                user_id__in=[self._people[name].pk for name in wanted if name in self._people],
            )
            if members.count() < len(wanted):
                raise ManaError(ErrorCode.INVALID, "A message may mention only members of its room.")
        return mentions

    def _attachments(self, draft: Draft) -> list[Attachment]:
        ids = list(dict.fromkeys(draft.attachments))
        if len(ids) > settings.ATTACHMENTS_MAX:
            raise ManaError(ErrorCode.INVALID, f"A message may carry {settings.ATTACHMENTS_MAX} attachments.")
        files = []
        for one in ids:
            file = self._files.get(one)
            # Another's file looks as if it did not exist.
            if file is None or file.owner_id != draft.sender.pk:
                raise ManaError(ErrorCode.NOT_FOUND, f"There is no attachment {str(one)!r}.")
            if file.message_id is not None or one in self._taken:
                raise ManaError(ErrorCode.CONFLICT, f"The attachment {str(one)!r} belongs to another message.")
            files.append(file)
        return files


def attachment_info(file: Attachment) -> AttachmentInfo:
    """A file as its message tells of it."""
    return AttachmentInfo(
        id=str(file.pk),
        name=file.name,
        content_type=file.content_type,
        size=file.size,
        width=file.width,
        height=file.height,
        thumbnail=bool(file.thumbnail),
    )
