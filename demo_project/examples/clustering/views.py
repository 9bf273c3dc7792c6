"""Which nodes there are, and which of them serves whom."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import Count
from django.http import HttpRequest, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import TemplateView

from mana.realtime.models import Session
from mana.realtime.stores import living_nodes


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class ClusteringView(LoginRequiredMixin, TemplateView):
    """A chat, and below it the nodes."""

    template_name = "clustering/page.html"


@never_cache
@login_required
def nodes(request: HttpRequest) -> JsonResponse:
    """``{"nodes": [{"id", "sockets"}], "mine": {session id: node id}}``: who is alive, and one's own sockets."""
    alive = living_nodes().annotate(sockets=Count("sessions")).order_by("pk").values("pk", "sockets")
    who: Any = request.user
    mine = Session.objects.filter(user=who).values_list("pk", "node_id")
    return JsonResponse({"nodes": [{"id": row["pk"], "sockets": row["sockets"]} for row in alive], "mine": dict(mine)})
