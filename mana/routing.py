"""WebSocket routes for a project's ``URLRouter``."""

from django.urls import re_path

from mana.realtime.consumer import ManaConsumer

websocket_urlpatterns = [re_path(r"^ws/?$", ManaConsumer.as_asgi())]
