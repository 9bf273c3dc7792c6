"""Public keys, signed device lists, and ciphertext on its way. Nothing here is secret from whoever runs the server."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField


class Device(models.Model):
    """What one device has published. The bytes are those of docs/e2ee-protocol.md.

    ``one_time_top`` is the highest id of a one-time prekey that was ever uploaded: ids are never used again.
    ``is_listed`` says whether the user's current device list names it; only then do others learn of it.
    """

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_e2ee_devices"
    )
    device_id = ExactCharField(max_length=64)
    record = models.BinaryField()
    signed_prekey = models.BinaryField()
    signed_prekey_id = models.BigIntegerField()
    kem_prekey = models.BinaryField(null=True)
    kem_prekey_id = models.BigIntegerField(default=0)
    one_time_top = models.BigIntegerField(default=0)
    is_listed = models.BooleanField("in the device list", default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField("keys last uploaded")

    class Meta:
        db_table = table("e2ee_device")
        constraints = [models.UniqueConstraint(fields=["user", "device_id"], name=table("e2ee_device_of_user"))]

    def __str__(self) -> str:
        return str(self.device_id)


class OneTimePreKey(models.Model):
    """A public key for one handshake. Once ``claimed_at`` is set nobody gets it again."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="one_time_prekeys", db_index=False)
    key_id = models.BigIntegerField()
    data = models.BinaryField()
    claimed_at = models.DateTimeField(null=True)

    class Meta:
        db_table = table("e2ee_one_time")
        verbose_name = "one-time prekey"
        constraints = [models.UniqueConstraint(fields=["device", "key_id"], name=table("e2ee_one_time_id"))]
        indexes = [models.Index(fields=["device", "claimed_at", "key_id"], name=table("e2ee_one_time_free"))]

    def __str__(self) -> str:
        return f"one-time prekey {self.key_id} of {self.device_id}"


class Claim(models.Model):
    """A claim of bundles and its answer, for as long as it may be asked again."""

    requester = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    claim_id = ExactCharField(max_length=64)
    target = ExactCharField("user and device that it is for", max_length=200)
    answer = models.TextField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = table("e2ee_claim")
        constraints = [models.UniqueConstraint(fields=["requester", "claim_id"], name=table("e2ee_claim_once"))]

    def __str__(self) -> str:
        return f"claim {self.pk}"


class DeviceList(models.Model):
    """A user's devices as their account key has signed them. The one with the highest epoch counts; the others let
    those who know an older one follow."""

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_device_lists", db_index=False
    )
    epoch = models.BigIntegerField()
    data = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = table("e2ee_device_list")
        constraints = [models.UniqueConstraint(fields=["user", "epoch"], name=table("e2ee_device_list_epoch"))]

    def __str__(self) -> str:
        return f"device list {self.epoch}"


class Backup(models.Model):
    """A user's backup, sealed under a recovery key that the server never sees."""

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_e2ee_backup"
    )
    data = models.BinaryField()
    size = models.IntegerField("bytes")
    updated_at = models.DateTimeField()

    class Meta:
        db_table = table("e2ee_backup")

    def __str__(self) -> str:
        return f"backup {self.pk}"


class Envelope(models.Model):
    """The ciphertext of one event for one device, until the device acks it. Empty ``body``: ``SharedBody`` has it."""

    event_id = models.UUIDField()
    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="envelopes", db_constraint=False, db_index=False
    )
    sender = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    body = models.BinaryField()
    size = models.IntegerField("bytes")
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = table("e2ee_envelope")
        constraints = [models.UniqueConstraint(fields=["event_id", "device"], name=table("e2ee_envelope_once"))]
        indexes = [models.Index(fields=["device", "id"], name=table("e2ee_envelope_queue"))]

    def __str__(self) -> str:
        return f"envelope {self.pk}"


class SharedBody(models.Model):
    """One ciphertext for all devices of an event (sender keys), while any of them waits for it."""

    event_id = models.UUIDField(primary_key=True, editable=False)
    body = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = table("e2ee_shared_body")
        verbose_name_plural = "shared bodies"

    def __str__(self) -> str:
        return f"body {self.event_id}"
