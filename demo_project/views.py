"""The demo's pages: signing up and in, and the messenger, which is a static page over the public API."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth import login
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import FormView, TemplateView

from demo_project.forms import SignUpForm


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class MessengerView(LoginRequiredMixin, TemplateView):
    """The messenger. mana.js reads the CSRF cookie, so the page makes sure that there is one."""

    template_name = "demo/messenger.html"
    login_url = reverse_lazy("login")
    extra_context = {"encryption": apps.is_installed("mana_e2ee")}


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class MediaLabView(LoginRequiredMixin, TemplateView):
    """A bare page that publishes and receives media through the SFU, for trying it out and for the tests."""

    template_name = "rtc_lab/lab.html"
    login_url = reverse_lazy("login")


class SignInView(LoginView):
    """Signs in with Django's own form."""

    template_name = "demo/login.html"
    next_page = "home"
    redirect_authenticated_user = True


class SignUpView(FormView):  # type: ignore[type-arg]
    """Makes an account and signs in with it."""

    template_name = "demo/signup.html"
    form_class = SignUpForm
    success_url = reverse_lazy("home")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Sends those who are signed in to the messenger."""
        if request.user.is_authenticated:
            return redirect("home")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: SignUpForm) -> HttpResponse:
        """Signs the new user in."""
        login(self.request, form.user, backend="django.contrib.auth.backends.ModelBackend")
        return super().form_valid(form)
