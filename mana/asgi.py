"""An ASGI application in one call::

# project/asgi.py
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from mana.asgi import get_asgi_application

application = get_asgi_application()
"""

from __future__ import annotations

from typing import Any

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application as get_django_application


def get_asgi_application(*, http: Any = None, websocket_urlpatterns: list[Any] | None = None) -> ProtocolTypeRouter:
    """Django for HTTP and mana for WebSockets, with origins and authentication checked by mana's consumer.

    ``http`` replaces Django's own application, for example to serve static files; ``websocket_urlpatterns`` are tried
    before mana's. Python's search for garbage is told to be rare (``GC_THRESHOLD``).
    """
    http = http or get_django_application()  # sets Django up: only after it may models be imported
    from mana.garbage import look_rarely
    from mana.routing import websocket_urlpatterns as own

    look_rarely()
    return ProtocolTypeRouter({"http": http, "websocket": URLRouter([*(websocket_urlpatterns or []), *own])})
