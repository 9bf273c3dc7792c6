"""What the dashboard shows: cheap on a large database too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Count, Sum
from django.utils import timezone

from mana.messaging import stores as messaging
from mana.messaging.models import Attachment, Message, Room
from mana.messaging.timeline import database
from mana.moderation.models import AuditEntry, Report
from mana.realtime.models import Node, Session
from mana.realtime.stores import living_nodes

#: The newest events that are looked at for the last minute's: the time has no index, the order has.
LOOKED_AT = 60_000


def numbers() -> dict[str, Any]:
    """Everything as it is now."""
    now = timezone.now()
    latest = messaging.latest_sequence()
    rooms = Room.objects.using(database()).filter(deleted_at=None)
    totals = rooms.aggregate(messages=Sum("message_count"))
    last_minute = Message.objects.using(database()).filter(
        sequence__gt=latest - LOOKED_AT, created_at__gte=now - timedelta(minutes=1), kind=Message.Kind.MESSAGE
    )
    # What a node that died has left behind is no socket any more.
    open_sockets = Session.objects.filter(node__in=living_nodes())
    return {
        "nodes": living_nodes().count(),
        "sessions": open_sockets.count(),
        "users_online": open_sockets.values("user_id").distinct().count(),
        "rooms": rooms.count(),
        "messages": totals["messages"] or 0,
        "events": latest,
        "messages_per_minute": last_minute.count(),
        "attachment_bytes": Attachment.objects.aggregate(total=Sum("size"))["total"] or 0,
        "open_reports": Report.objects.filter(status=Report.Status.OPEN).count(),
        "audited_today": AuditEntry.objects.filter(at__gte=now - timedelta(days=1)).count(),
    }


def nodes() -> list[dict[str, Any]]:
    """The processes that serve sockets, and how many each."""
    grouped = Session.objects.values("node_id").annotate(count=Count("pk"))
    counts = dict(grouped.values_list("node_id", "count"))
    living = set(living_nodes().values_list("pk", flat=True))
    return [
        {
            "id": node.pk,
            "started_at": node.started_at,
            "seen_at": node.seen_at,
            "sessions": counts.get(node.pk, 0),
            "lives": node.pk in living,
        }
        for node in Node.objects.order_by("started_at")[:100]
    ]
