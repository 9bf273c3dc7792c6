"""The business's own tables. They know nothing of django-mana but the id of a message."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Item(models.Model):
    """Something that ``seller`` sells, as long as there is any."""

    name = models.CharField(max_length=100)
    stock = models.PositiveIntegerField(default=0)
    seller = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """What ``customer`` ordered. ``message_id`` is the message that told the seller."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="orders")
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    message_id = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"order {self.pk}"
