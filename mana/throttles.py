"""How often something may be tried over REST. The counts live in Django's default cache, shared where that is."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from django.core.cache import cache

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.realtime.addresses import client_address


class Throttle:
    """At most so many attempts per key in a sliding window; the rate is the setting ``MANA[setting]``."""

    #: Seconds since the epoch.
    timer = staticmethod(time.time)

    def __init__(self, setting: str) -> None:
        self._setting = setting

    def check(self, key: str) -> None:
        """Raises ``ManaError`` with ``rate_limited`` if the attempts are used up."""
        rate = getattr(settings, self._setting)
        if rate is None:
            return
        count, seconds = rate
        attempts = self._attempts(key, seconds)
        if len(attempts) >= count:
            raise ManaError(ErrorCode.RATE_LIMITED, retry_after=max(1.0, round(attempts[0] + seconds - self.timer())))

    def count(self, key: str) -> None:
        """Counts an attempt."""
        rate = getattr(settings, self._setting)
        if rate is None:
            return
        count, seconds = rate
        cache.set(self._cache_key(key), [*self._attempts(key, seconds), self.timer()][-count:], seconds)

    def take(self, key: str) -> None:
        """Checks and counts."""
        self.check(key)
        self.count(key)

    def forget(self, key: str) -> None:
        """Gives all attempts back."""
        cache.delete(self._cache_key(key))

    def _attempts(self, key: str, seconds: int) -> list[float]:
        since = self.timer() - seconds
        return [moment for moment in cache.get(self._cache_key(key), []) if moment > since]

    def _cache_key(self, key: str) -> str:
        # Keys come from outside: any length, any characters.
        return f"mana-throttle-{self._setting}-{hashlib.sha256(key.encode()).hexdigest()}"


def address_of(request: Any) -> str:
    """The network address that a request counts for; of IPv6 the network of 64 bits, which one household has."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(request.META.get("REMOTE_ADDR"), forwarded, settings.TRUSTED_PROXIES)
