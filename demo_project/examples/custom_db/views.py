"""The shop's page."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.generic import TemplateView

from demo_project.examples.custom_db.models import Item, Order
from demo_project.examples.custom_db.services import SoldOut, place_order
from mana.protocol import ManaError


class OrdersView(LoginRequiredMixin, TemplateView):
    """What is sold, and what one has ordered. ``POST item=<id>`` orders."""

    template_name = "custom_db/orders.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The items, and the newest orders."""
        orders = Order.objects.filter(customer_id=self.request.user.pk).select_related("item__seller")
        return super().get_context_data(
            items=Item.objects.select_related("seller").order_by("name"), orders=orders.order_by("-pk")[:20], **kwargs
        )

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Orders, and says what came of it."""
        given = request.POST.get("item", "")
        item = get_object_or_404(Item.objects.select_related("seller"), pk=int(given) if given.isdecimal() else 0)
        try:
            order = place_order(request.user, item)
        except SoldOut:
            messages.error(request, f"{item.name} is sold out. Nothing was ordered, and nobody was told.")
        except ManaError as error:
            messages.error(request, f"{error.detail} Nothing was ordered.")
        else:
            messages.success(request, f"Order {order.pk} is placed, and {item.seller.get_username()} was told by chat.")
        return redirect("examples:orders")
