"""Files of messages, and rooms' avatars: taken in, and given to those who may have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any
from uuid import UUID

from django.core.files.base import ContentFile, File
from django.db import transaction
from django.db.models import Sum

from mana.conf import settings
from mana.messaging import files, images, metadata, stores
from mana.messaging.models import Attachment, Membership, Room
from mana.messaging.policies import policy
from mana.messaging.services.acting import acting_in, readable_message
from mana.messaging.services.asynchronous import reading
from mana.messaging.services.people import as_person
from mana.messaging.services.rooms import RoomResult, update_room
from mana.messaging.timeline import change, database
from mana.protocol import ErrorCode, ManaError


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way in."""

    file: IO[bytes] | File[Any]
    name: str
    size: int


def upload(user: Any, file: Upload) -> Attachment:
    """Stores a file that a message can carry later.

    Raises ``ManaError``: ``too_large`` for too many bytes or pixels, or a full quota; ``invalid`` for an empty file, a
    damaged image, or a content type that ``ATTACHMENT_TYPES`` does not allow.
    """
    person = as_person(user)
    if file.size == 0:
        raise ManaError(ErrorCode.INVALID, "The file is empty.")
    if file.size > settings.ATTACHMENT_MAX_SIZE:
        raise ManaError(
            ErrorCode.TOO_LARGE, f"The file has {file.size} bytes; {settings.ATTACHMENT_MAX_SIZE} are allowed."
        )
    content_type = files.content_type_of(file.file)
    if not files.is_allowed(content_type):
        raise ManaError(ErrorCode.INVALID, f"Files of type {content_type} are not taken.")
    _check_quota(person.pk, file.size)
    picture, content = None, file.file
    if content_type in images.FORMATS:
        picture = images.examine(file.file, content_type, longest=settings.THUMBNAIL_SIZE)
        if settings.STRIP_IMAGE_METADATA:
            content = ContentFile(metadata.stripped(file.file, content_type))
    stored = files.save(content)
    thumbnail = ""
    try:
        if picture is not None:
            thumbnail = files.save_bytes(picture.thumbnail).name
        with transaction.atomic(using=database()):
            made = Attachment.objects.using(database()).create(
                owner_id=person.pk,
                name=files.clean_name(file.name),
                content_type=content_type,
                size=stored.size,
                width=picture.width if picture else None,
                height=picture.height if picture else None,
                sha256=stored.sha256,
                file=stored.name,
                thumbnail=thumbnail,
            )
            _check_quota(person.pk, 0)  # others may have come in meanwhile
    except BaseException:
        files.discard(filter(None, (stored.name, thumbnail)))  # of a file without a row, nobody would ever know
        raise
    return made


def used_bytes(user_pk: Any) -> int:
    """Bytes of all attachments of a user."""
    total = Attachment.objects.using(database()).filter(owner_id=user_pk).aggregate(total=Sum("size"))["total"]
    return total or 0


def _check_quota(user_pk: Any, size: int) -> None:
    quota = settings.ATTACHMENT_QUOTA
    if quota and used_bytes(user_pk) + size > quota:
        raise ManaError(ErrorCode.TOO_LARGE, f"Your attachments have {quota} bytes together at most.")


def attachment(attachment_id: UUID, user: Any) -> Attachment:
    """A file that a user may have: their own, or one of a message that they may read.

    Raises ``ManaError`` with ``not_found`` for every other.
    """
    person = as_person(user)
    missing = ManaError(ErrorCode.NOT_FOUND, f"There is no attachment {str(attachment_id)!r}.")
    found = Attachment.objects.using(database()).filter(pk=attachment_id).first()
    if found is None:
        raise missing
    if found.message_id is None:
        if found.owner_id != person.pk:
            raise missing
        return found
    try:
        readable_message(found.message_id, person)
    except ManaError:
        raise missing from None
    return found


def discard_upload(attachment_id: UUID, user: Any) -> None:
    """Removes a file that no message carries yet. Raises ``ManaError``: ``not_found``, ``conflict``."""
    person = as_person(user)
    found = attachment(attachment_id, person)
    rows = Attachment.objects.using(database()).filter(pk=found.pk, owner_id=person.pk, message_id__isnull=True)
    deleted, _ = rows.delete()
    if not deleted:
        raise ManaError(ErrorCode.CONFLICT, "A message carries this file: delete the message.")
    transaction.on_commit(lambda: files.discard(filter(None, (found.file, found.thumbnail))), using=database())


def set_avatar(room_key: str, actor: Any, file: Upload | None) -> RoomResult:
    """Gives a room a picture, or takes it away. Raises ``ManaError`` like ``upload`` and ``update_room``."""
    person = as_person(actor)
    with change() as timeline:  # before any work is done for a stranger
        room, role = acting_in(timeline, room_key, person)
        policy().may_change_room(person, room, role)
    name = ""
    if file is not None:
        if file.size > settings.AVATAR_MAX_BYTES:
            raise ManaError(
                ErrorCode.TOO_LARGE, f"The picture has {file.size} bytes; {settings.AVATAR_MAX_BYTES} are allowed."
            )
        content_type = files.content_type_of(file.file)
        if content_type not in images.FORMATS:
            raise ManaError(ErrorCode.INVALID, "An avatar is a PNG, JPEG, GIF or WebP picture.")
        name = files.save_bytes(images.avatar(file.file, content_type)).name
    try:
        return update_room(room_key, person, avatar=name)
    except BaseException:
        files.discard([name] if name else [])
        raise


def avatar_of(room_key: str, user: Any) -> tuple[Room, str]:
    """A room and the name of its picture, for those who may know of the room.

    Raises ``ManaError`` with ``not_found``.
    """
    person = as_person(user)
    room = stores.room_by_key(room_key)
    row = stores.membership(room, person, using=database()) if room is not None else None
    known = row is not None and row.state in (Membership.State.JOINED, Membership.State.INVITED)
    if room is None or not (known or not room.is_private):
        raise stores.not_in_room(None, room_key)
    if not room.avatar:
        raise ManaError(ErrorCode.NOT_FOUND, "This room has no avatar.")
    return room, room.avatar


aattachment = reading(attachment)
