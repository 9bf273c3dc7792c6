"""The ASGI application, put together as in the tutorial."""

from __future__ import annotations

import os

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.baseline.settings")

http = get_asgi_application()

from benchmarks.baseline.consumers import (  # noqa: E402  after Django is set up
    ChatConsumer,
    StoringChatConsumer,
    StoringConsumer,
)

websocket_urlpatterns = [
    re_path(r"ws/chat/(?P<room_name>[\w-]+)/$", ChatConsumer.as_asgi()),
    re_path(r"ws/stored/(?P<room_name>[\w-]+)/$", StoringConsumer.as_asgi()),
    re_path(r"ws/storedchat/(?P<room_name>[\w-]+)/$", StoringChatConsumer.as_asgi()),
]
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
