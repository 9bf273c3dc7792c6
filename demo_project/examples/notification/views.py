"""A page that sends notifications and shows them come in."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import TemplateView

from mana import notifications


@method_decorator(ensure_csrf_cookie, name="dispatch")
class NotificationView(LoginRequiredMixin, TemplateView):
    """``POST title=...&to=me`` tells oneself; ``to=all`` tells every active user, for staff only."""

    template_name = "notification/page.html"

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Sends."""
        title = request.POST.get("title", "").strip()
        if not title:
            messages.error(request, "A notification needs a title.")
        elif request.POST.get("to") != "all":
            notifications.send(request.user, title, data={"action": "open", "page": request.path}, kind="example")
        elif getattr(request.user, "is_staff", False):
            count = notifications.broadcast(title, kind="example")
            messages.success(request, f"{count} people were told.")
        else:
            messages.error(request, "Only staff tells everybody.")
        return redirect("examples:notification")
