"""The use case: an order, the stock and the message are stored together, or none of them is."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F

from demo_project.examples.custom_db.models import Item, Order
from mana import messages


class SoldOut(Exception):
    """There is nothing left."""


def place_order(customer: Any, item: Item) -> Order:
    """Orders one of ``item`` and tells its seller by a direct message, all in one transaction.

    Raises ``SoldOut``, or ``mana.protocol.ManaError`` where the customer may not write to the seller. Then there is
    neither an order nor a message, and the stock is as it was.
    """
    with transaction.atomic():
        order = Order.objects.create(item=item, customer=customer)
        text = f"Order {order.pk}: {item.name}"
        message = messages.send_direct(customer, item.seller, {"text": text, "order": order.pk})
        Order.objects.filter(pk=order.pk).update(message_id=message.pk)
        # The message is written already, and leaves no trace when this finds that somebody else was faster.
        if not Item.objects.filter(pk=item.pk, stock__gt=0).update(stock=F("stock") - 1):
            raise SoldOut(item.name)
    order.message_id = message.pk
    return order
