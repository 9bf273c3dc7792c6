"""What mana keeps of a user beside the project's own user model."""

from __future__ import annotations

import uuid

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField


class Profile(models.Model):
    """How a user appears to others. Made when first needed: users of an existing site have none at first.

    ``guest_id`` is the name that a guest gave itself where ``ENABLE_AUTH`` is off; it is the guest's id on the wire.
    ``verified_email`` and ``verified_phone`` are what the user has shown to be theirs: another address is not verified.
    Where ``last_seen_to`` or ``direct_messages_from`` is empty, the setting of that name counts.
    """

    class Seen(models.TextChoices):
        EVERYONE = "everyone", "everyone"
        CONTACTS = "contacts", "contacts"
        NOBODY = "nobody", "nobody"

    class Writers(models.TextChoices):
        EVERYONE = "everyone", "everyone"
        CONTACTS = "contacts", "contacts"

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="mana_profile",
    )
    display_name = models.CharField(max_length=100, blank=True)
    about = models.CharField(max_length=500, blank=True)
    avatar = models.CharField(max_length=200, blank=True, editable=False, help_text="Name in the storage.")
    status_text = models.CharField(max_length=140, blank=True)
    status_emoji = models.CharField(max_length=32, blank=True)
    status_expires_at = models.DateTimeField(null=True, blank=True)
    phone = models.CharField(max_length=16, blank=True)
    verified_email = models.CharField(max_length=320, blank=True, editable=False, help_text="As it is compared.")
    verified_phone = models.CharField(max_length=16, blank=True, editable=False)
    last_seen_to = models.CharField("online and last seen is shown to", max_length=10, choices=Seen.choices, blank=True)
    direct_messages_from = models.CharField(max_length=10, choices=Writers.choices, blank=True)
    find_by_email = models.BooleanField(default=False, help_text="Who knows the address finds the account.")
    find_by_phone = models.BooleanField(default=False, help_text="Who knows the number finds the account.")
    guest_id = ExactCharField(max_length=128, unique=True, null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = table("profile")
        permissions = [
            ("create_room", "Can create rooms"),
            ("join_room", "Can join rooms"),
            ("delete_room", "Can delete rooms"),
            ("send_message", "Can send messages"),
            ("start_call", "Can start calls"),
            ("end_call", "Can end calls of others"),
        ]

    def __str__(self) -> str:
        return self.display_name or self.user.get_username()


class Identifier(models.Model):
    """Something that only one account may have, in the form in which it is compared (``mana.accounts.names``).

    The database keeps it unique, whoever writes at the same time, which the project's user model need not do.
    """

    class Kind(models.TextChoices):
        USERNAME = "username", "username"
        EMAIL = "email", "e-mail address"
        PHONE = "phone", "phone number"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    key = ExactCharField(max_length=320)
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_identifiers")

    class Meta:
        db_table = table("identifier")
        constraints = [
            models.UniqueConstraint(fields=["kind", "key"], name=table("identifier_once")),
            models.UniqueConstraint(fields=["user", "kind"], name=table("identifier_of_user")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class SearchName(models.Model):
    """By what a user is found: their name as it is compared, in a column that has an index on every database."""

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="mana_search_name",
    )
    key = ExactCharField(max_length=320, db_index=True)

    class Meta:
        db_table = table("search_name")

    def __str__(self) -> str:
        return str(self.key)


class GivenPermission(models.Model):
    """A permission that a role got when it was set up. It is given once, so that taking it away lasts."""

    role = models.CharField(max_length=20)
    codename = models.CharField(max_length=50)

    class Meta:
        db_table = table("given_permission")
        constraints = [models.UniqueConstraint(fields=["role", "codename"], name=table("given_once"))]

    def __str__(self) -> str:
        return f"{self.role}: {self.codename}"


class Device(models.Model):
    """One of a user's clients. ``cursor`` is how far in the order of events it has come."""

    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_devices")
    device_id = ExactCharField(max_length=64)
    name = models.CharField(max_length=100, blank=True)
    platform = models.CharField(max_length=100, blank=True)
    cursor = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField()

    class Meta:
        db_table = table("device")
        constraints = [
            models.UniqueConstraint(fields=["user", "device_id"], name=table("device_of_user")),
        ]

        indexes = [models.Index(fields=["platform"], name=table("device_platform"))]

    def __str__(self) -> str:
        return self.name or self.device_id


class SignIn(models.Model):
    """A sign-in with a password. All tokens that come from it carry its id, and die with it.

    One with a ``session_key`` is a browser's Django session, which dies with it as well.
    ``device_id`` is the device that it was made for, or that first connected with it; the tokens die with that as well.
    ``refresh_jti`` names the one refresh token that is valid now; an older one that turns up again was stolen.
    ``fingerprint`` is of the password that it holds with; another password ends it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_sign_ins")
    refresh_jti = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    refreshed_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=128, blank=True, editable=False)
    device_id = ExactCharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=200, blank=True)
    session_key = ExactCharField(max_length=64, blank=True, editable=False, db_index=True)
    address = models.GenericIPAddressField(null=True, blank=True)

    class Meta:
        db_table = table("sign_in")
        verbose_name = "sign-in"
        indexes = [models.Index(fields=["user", "device_id"], name=table("sign_in_of_device"))]

    def __str__(self) -> str:
        return f"sign-in of {self.created_at:%Y-%m-%d %H:%M}" if self.created_at else "sign-in"


class Ticket(models.Model):
    """A pass for one WebSocket handshake. Only its SHA-256 is stored."""

    digest = models.CharField(primary_key=True, max_length=64, editable=False)
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    sign_in = models.ForeignKey(SignIn, on_delete=models.CASCADE, null=True, related_name="+")
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = table("ticket")

    def __str__(self) -> str:
        return f"ticket of {self.user_id}"
