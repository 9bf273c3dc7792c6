"""Web Push (RFC 8030) with VAPID (RFC 8292), for browsers that are closed. Needs ``pip install django-mana[push]``.

Make a key once with ``vapid --gen``, or ``manage.py mana_push_key``, and set ``MANA["WEB_PUSH_PRIVATE_KEY"]`` and
``WEB_PUSH_CONTACT``. The page subscribes with the public key that ``GET /api/push/key`` gives.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.utils import timezone
from py_vapid import Vapid
from py_vapid.utils import b64urlencode
from pywebpush import WebPushException, webpush

from mana.conf import settings
from mana.notifications import stores
from mana.notifications.models import Notification, PushSubscription
from mana.realtime.origins import is_allowed
from mana.realtime.wire import timestamp

logger = logging.getLogger("mana.push")

#: Seconds that a push service has to answer, and that it keeps a push for a browser that is closed.
TIMEOUT = 10
TIME_TO_LIVE = 24 * 3600
#: Bytes that a push may carry are 4096 with the encryption's overhead; longer texts are cut.
BODY_LENGTH = 500
#: Answers that mean: this browser is gone.
GONE = (404, 410)


class _NoRedirects(requests.Session):
    """A push service that sends us elsewhere would choose what our server talks to."""

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Without following redirects."""
        kwargs["allow_redirects"] = False
        return super().request(*args, **kwargs)


class WebPush:
    """Pushes to the browsers of a user through the services that they named."""

    def __init__(self) -> None:
        self._key = private_key()
        self._session = _NoRedirects()

    def reaches(self, user_pks: Collection[Any]) -> set[Any]:
        """Users who have subscribed a browser."""
        return stores.subscribed(user_pks)

    def push(self, notification: Notification) -> None:
        """Pushes to all browsers; those that are gone are forgotten."""
        text = json.dumps(
            {
                "id": str(notification.pk),
                "title": notification.title,
                "body": notification.body[:BODY_LENGTH],
                "kind": notification.kind,
                "data": notification.data if len(notification.data_json) < BODY_LENGTH else None,
                "timestamp": timestamp(notification.created_at),
            }
        )
        for row in stores.subscriptions(notification.user_id):
            self._push_to(row, text)

    def _push_to(self, row: PushSubscription, text: str) -> None:
        if not may_be_called(row.endpoint):
            return  # the list of services became shorter
        claims: dict[str, str | int] = {"sub": settings.WEB_PUSH_CONTACT}
        try:
            webpush(
                {"endpoint": row.endpoint, "keys": {"p256dh": row.p256dh, "auth": row.auth}},
                data=text,
                vapid_private_key=self._key,
                vapid_claims=claims,
                ttl=TIME_TO_LIVE,
                timeout=TIMEOUT,
                requests_session=self._session,
            )
        except WebPushException as error:
            if getattr(error.response, "status_code", None) in GONE:
                row.delete()
            else:
                logger.warning("A push service refused: %s", error)
        except requests.RequestException as error:
            logger.warning("A push service could not be reached: %s", error)
        else:
            row.used_at = timezone.now()
            row.save(update_fields=["used_at"])


def may_be_called(endpoint: str) -> bool:
    """Whether an endpoint belongs to a push service of ``MANA["WEB_PUSH_SERVICES"]``."""
    parts = urlsplit(endpoint)
    if "@" in parts.netloc or not settings.WEB_PUSH_SERVICES:
        return False
    return is_allowed(f"{parts.scheme}://{parts.netloc}", "", settings.WEB_PUSH_SERVICES)


def private_key() -> Vapid:
    """The key of ``MANA["WEB_PUSH_PRIVATE_KEY"]``."""
    return (
        Vapid.from_file(settings.WEB_PUSH_PRIVATE_KEY)
        if settings.WEB_PUSH_PRIVATE_KEY.endswith(".pem")
        else Vapid.from_string(settings.WEB_PUSH_PRIVATE_KEY)
    )


def public_key() -> str:
    """The public key as a browser's ``applicationServerKey``."""
    raw = private_key().public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return str(b64urlencode(raw))
