"""The shop in the admin."""

from django.contrib import admin

from demo_project.examples.custom_db.models import Item, Order


@admin.register(Item)
class ItemAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What is sold."""

    list_display = ["name", "stock", "seller"]
    list_select_related = ["seller"]
    autocomplete_fields = ["seller"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What was ordered."""

    list_display = ["pk", "item", "customer", "created_at"]
    list_select_related = ["item", "customer"]
    autocomplete_fields = ["customer"]
    readonly_fields = ["message_id"]
