"""The order of all events, rooms, who is in them, and how one gets in."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField
from mana.messaging.ids import new_invite_token, new_room_key


class Stream(models.Model):
    """The order of all events. Whoever gives out sequences holds this row's lock until they are committed.

    Streams are the unit of sharding; there is one, with primary key 1.
    """

    DEFAULT_PK = 1

    sequence = models.BigIntegerField(default=0)

    class Meta:
        db_table = table("stream")

    def __str__(self) -> str:
        return f"stream {self.pk} at {self.sequence}"


class Room(models.Model):
    """A conversation. ``last_index``, ``last_sequence`` and the counts change only under the stream's lock."""

    class Type(models.TextChoices):
        DIRECT = "direct", "direct"
        GROUP = "group", "group"
        CHANNEL = "channel", "channel"

    key = ExactCharField("id on the wire", max_length=128, unique=True, default=new_room_key)
    room_type = models.CharField("type", max_length=10, choices=Type.choices, default=Type.GROUP)
    name = models.CharField(max_length=255, blank=True)
    topic = models.CharField(max_length=500, blank=True)
    is_private = models.BooleanField("private", default=True, help_text="Joined by invitation only.")
    shares_history = models.BooleanField(default=False, help_text="Who joins may read what was written before.")
    direct_key = ExactCharField(max_length=255, unique=True, null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="mana_rooms_created",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_index = models.BigIntegerField(default=0, editable=False)
    last_sequence = models.BigIntegerField(default=0, editable=False, db_index=True)
    message_count = models.BigIntegerField(default=0, editable=False)
    member_count = models.IntegerField(default=0, editable=False)
    avatar = models.CharField("stored avatar", max_length=200, blank=True, editable=False)
    is_frozen = models.BooleanField("frozen", default=False, help_text="Only owners and admins write.")
    slow_mode = models.PositiveIntegerField(default=0, help_text="Seconds between two messages of a member.")
    retention_days = models.PositiveIntegerField(default=0, help_text="Older events are pruned; 0 keeps them.")
    retention_count = models.PositiveIntegerField(default=0, help_text="Events kept at the most; 0 keeps all.")
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        db_table = table("room")

    def __str__(self) -> str:
        return self.name or ("direct room" if self.direct_key else self.key)

    def direct_user_ids(self) -> list[str]:
        """The wire ids of the two people of a direct room; otherwise empty."""
        return self.direct_key.split(DIRECT_SEPARATOR) if self.direct_key else []


#: Between the two wire ids in ``Room.direct_key``; it occurs in none, since ids are printable.
DIRECT_SEPARATOR = "\n"


class Membership(models.Model):
    """A user in a room. They may read the events ``first_index`` to ``last_index``, the latter open while they are in.

    ``first_index`` is empty until the event of their joining has its place in the order. Unread is the room's
    ``message_count`` minus ``read_count``.
    """

    class Role(models.TextChoices):
        OWNER = "owner", "owner"
        ADMIN = "admin", "admin"
        MODERATOR = "moderator", "moderator"
        MEMBER = "member", "member"

    class Notifications(models.TextChoices):
        DEFAULT = "default", "as the user chose for all rooms"
        ALL = "all", "all"
        MENTIONS = "mentions", "mentions"
        NONE = "none", "none"

    class State(models.TextChoices):
        JOINED = "joined", "joined"
        INVITED = "invited", "invited"
        LEFT = "left", "left"
        BANNED = "banned", "banned"

    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="memberships", db_constraint=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.CASCADE,
        related_name="mana_memberships",
    )
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    state = models.CharField(max_length=10, choices=State.choices, default=State.JOINED)
    created_at = models.DateTimeField(auto_now_add=True)
    joined_sequence = models.BigIntegerField(default=0, editable=False)
    first_index = models.BigIntegerField(null=True, blank=True, editable=False)
    last_index = models.BigIntegerField(null=True, blank=True, editable=False)
    delivered_index = models.BigIntegerField(default=0, editable=False)
    delivered_sequence = models.BigIntegerField(default=0, editable=False)
    read_index = models.BigIntegerField(default=0, editable=False)
    read_sequence = models.BigIntegerField(default=0, editable=False)
    read_count = models.BigIntegerField(default=0, editable=False)
    muted_until = models.DateTimeField(null=True, blank=True, help_text="Until then the member can't write.")
    last_message_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="Kept in slow mode only.")
    is_archived = models.BooleanField("archived", default=False)
    is_pinned = models.BooleanField("pinned", default=False)
    notifications = models.CharField(max_length=8, choices=Notifications.choices, default=Notifications.DEFAULT)
    silenced_until = models.DateTimeField(null=True, blank=True, help_text="Until then nothing notifies.")

    class Meta:
        db_table = table("membership")
        constraints = [models.UniqueConstraint(fields=["room", "user"], name=table("member_of_room"))]
        indexes = [models.Index(fields=["user", "state"], name=table("member_user_state"))]

    def __str__(self) -> str:
        return f"{self.user} in {self.room}"

    def is_muted(self, now: datetime) -> bool:
        """Whether a moderator keeps the member from writing."""
        return self.muted_until is not None and self.muted_until > now

    def can_read(self, index: int) -> bool:
        """Whether an event of the room lies in what the person may read."""
        if self.first_index is None or index < self.first_index:
            return False
        return self.last_index is None or index <= self.last_index


class Invite(models.Model):
    """A link that lets people into a room. Whoever has the token may join, while it lasts."""

    token = ExactCharField(max_length=64, unique=True, default=new_invite_token, editable=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="invites", db_constraint=False)
    created_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True)
    max_uses = models.PositiveIntegerField(default=0, help_text="0: any number.")
    uses = models.PositiveIntegerField(default=0, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        db_table = table("invite")

    def __str__(self) -> str:
        return f"invite to {self.room}"

    def is_open(self, now: datetime) -> bool:
        """Whether it still lets people in."""
        used_up = bool(self.max_uses) and self.uses >= self.max_uses
        return self.revoked_at is None and not used_up and (self.expires_at is None or self.expires_at > now)
