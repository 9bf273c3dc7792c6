"""Who knows whom. A contact has two rows, one of each side; a request and a block have one."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField


class Contact(models.Model):
    """``person`` is a contact of ``user``, who may call them something else. The other side has a row of its own."""

    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_contacts")
    person = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_contact_of"
    )
    nickname = models.CharField(max_length=100, blank=True)
    is_favourite = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = table("contact")
        constraints = [models.UniqueConstraint(fields=["user", "person"], name=table("contact_once"))]

    def __str__(self) -> str:
        return f"{self.person} of {self.user}"


class ContactRequest(models.Model):
    """``user`` asks ``person`` to become contacts. Between two people there is one at a time: ``pair`` names them."""

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_requests_made"
    )
    person = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_requests_received"
    )
    pair = ExactCharField(max_length=200, unique=True, editable=False)
    message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = table("contact_request")

    def __str__(self) -> str:
        return f"{self.user} asks {self.person}"


class Block(models.Model):
    """``user`` wants nothing to do with ``person``. It counts in both directions."""

    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_blocks")
    person = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_blocked_by"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = table("block")
        constraints = [models.UniqueConstraint(fields=["user", "person"], name=table("block_once"))]

    def __str__(self) -> str:
        return f"{self.user} blocks {self.person}"
